"""Check the members of a definition's steps and parameters that no API call has: SageMaker's own part of the document.

Source: https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_COMMON = frozenset({"Name", "Type", "Arguments", "DisplayName", "Description", "DependsOn"})
_JOB = _COMMON | {"CacheConfig", "RetryPolicies"}
_MEMBERS: Mapping[str, Collection[str]] = {
    "Processing": _JOB | {"PropertyFiles"},
    "Training": _JOB,
    "Transform": _JOB,
    "Tuning": _JOB,
    "Model": _COMMON | {"RetryPolicies"},
    "RegisterModel": _COMMON | {"RetryPolicies"},
    "Condition": _COMMON,
    "Callback": _COMMON | {"CacheConfig", "SqsQueueUrl", "OutputParameters"},
    "Lambda": _COMMON | {"CacheConfig", "FunctionArn", "OutputParameters"},
    "Fail": _COMMON,
}
_REQUIRED: Mapping[str, Collection[str]] = {
    "Callback": ("SqsQueueUrl", "OutputParameters"),
    "Lambda": ("FunctionArn", "OutputParameters"),
}
_ARGUMENTS: Mapping[str, Collection[str]] = {
    "Condition": ("Conditions", "IfSteps", "ElseSteps"),
    "Fail": ("ErrorMessage",),
}
_COMPARISONS = ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
_CONDITIONS: Mapping[str, Collection[str]] = {
    **dict.fromkeys(_COMPARISONS, ("Type", "LeftValue", "RightValue")),
    "In": ("Type", "QueryValue", "Values"),
    "Not": ("Type", "Condition"),
    "Or": ("Type", "Conditions"),
}
# https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
_CALL_ERRORS = ("Step.SERVICE_FAULT", "Step.THROTTLING")
_JOB_ERRORS = (*_CALL_ERRORS, "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT", "SageMaker.JOB_INTERNAL_ERROR")
_RETRIED: Mapping[str, Collection[str]] = {
    **dict.fromkeys(("Processing", "Training", "Transform"), _JOB_ERRORS),
    "Tuning": _JOB_ERRORS[:-1],
    **dict.fromkeys(("Model", "RegisterModel"), _CALL_ERRORS),
}
_DURATION = re.compile(r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?", re.IGNORECASE)
_PYTHON = {"String": str, "Integer": int, "Float": (int, float), "Boolean": bool}


def parameter_problems(parameter: Json) -> Iterator[str]:
    """What SageMaker would refuse of one parameter, a sentence each."""
    name, kind, default = parameter["Name"], parameter["Type"], parameter.get("DefaultValue")
    if kind not in _PYTHON:
        yield f"parameter {name}: type {kind!r} is none of {sorted(_PYTHON)}"
    elif default is not None and not _is_a(default, kind):
        yield f"parameter {name}: its default must be a {kind}, got {default!r}"
    choices = parameter.get("EnumValues")
    if choices is not None and default is not None and default not in choices:
        yield f"parameter {name}: its default must be one of {choices}, got {default!r}"


def step_problems(step: Json) -> Iterator[str]:
    """What SageMaker would refuse of one step beside its job's request, a sentence each."""
    kind = step["Type"]
    if kind not in _MEMBERS:
        yield f"type {kind!r} is none of {sorted(_MEMBERS)}"
        return
    yield from (f"member {name} is not known in a {kind} step" for name in sorted(step.keys() - _MEMBERS[kind]))
    yield from (f"member {name} is missing" for name in _REQUIRED.get(kind, ()) if name not in step)
    if kind in _ARGUMENTS and set(step["Arguments"]) != set(_ARGUMENTS[kind]):
        yield f"a {kind} step has the arguments {sorted(_ARGUMENTS[kind])}, got {sorted(step['Arguments'])}"
    elif kind == "Condition":
        for condition in step["Arguments"]["Conditions"]:
            yield from _condition_problems(condition)
    for output in step.get("OutputParameters", []):
        if output.get("OutputType") not in _PYTHON or not output.get("OutputName"):
            yield f"output {output} needs an OutputName and an OutputType of {sorted(_PYTHON)}"
    if cache := step.get("CacheConfig"):
        if not isinstance(cache.get("Enabled"), bool):
            yield f"CacheConfig.Enabled must be true or false, got {cache.get('Enabled')!r}"
        if not _DURATION.fullmatch(cache.get("ExpireAfter", "P1D")):
            yield f"CacheConfig.ExpireAfter must be an ISO 8601 duration such as P30D, got {cache['ExpireAfter']!r}"
    for policy in step.get("RetryPolicies", []) if kind in _RETRIED else []:
        yield from _retry_problems(kind, policy)


def _condition_problems(condition: Json) -> Iterator[str]:
    kind = str(condition.get("Type"))
    if kind not in _CONDITIONS:
        yield f"condition {kind!r} is none of {sorted(_CONDITIONS)}"
    elif set(condition) != set(_CONDITIONS[kind]):
        yield f"a condition {kind} has the members {sorted(_CONDITIONS[kind])}, got {sorted(condition)}"
    else:
        inner = condition.get("Conditions", [condition["Condition"]] if kind == "Not" else [])
        for each in inner:
            yield from _condition_problems(each)


def _retry_problems(kind: str, policy: Json) -> Iterator[str]:
    if refused := sorted(set(policy["ExceptionType"]) - set(_RETRIED[kind])):
        yield f"a {kind} step cannot retry {refused}; it can retry {sorted(_RETRIED[kind])}"
    if not 1 <= policy.get("IntervalSeconds", 1) <= 43_200:
        yield f"RetryPolicies.IntervalSeconds must be from 1 to 43200, got {policy['IntervalSeconds']}"
    if not 1 <= policy.get("MaxAttempts", 1) <= 20:
        yield f"RetryPolicies.MaxAttempts must be from 1 to 20, got {policy['MaxAttempts']}"


def _is_a(value: Any, kind: str) -> bool:
    return isinstance(value, _PYTHON[kind]) and (kind == "Boolean") == isinstance(value, bool)  # type: ignore[arg-type]

"""What AWS refuses in a pipeline definition, fault by fault.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html (conditions do not nest, one
step lies in one branch), https://github.com/aws/sagemaker-python-sdk/issues/3565 (nothing depends on a Condition step),
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html and pipelines-caching.html. A Fail step is
terminal: the SDK gives it no properties.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines import conditions
from dual_pipeline_local.sagemaker.pipelines.cache import CACHED_TYPES, expiry_s
from dual_pipeline_local.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    Reference,
    expressions,
    fault,
    function_of,
)
from dual_pipeline_local.sagemaker.pipelines.parameters import output_faults
from dual_pipeline_local.sagemaker.pipelines.retries import SIGNS
from dual_pipeline_local.sagemaker.pipelines.step import Step

VERSION = "2020-12-01"
RETRIED_TYPES = frozenset({"Model", "Processing", "RegisterModel", "Training", "Transform", "Tuning"})
STEP_TYPES = ("Callback", "Condition", "Fail", "Lambda", *sorted(RETRIED_TYPES))
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_TOP = {"Version", "Metadata", "MlflowConfig", "Parameters", "PipelineExperimentConfig", "Steps"}
_STEP = {"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"}
_STEP_OF_TYPE: Mapping[str, set[str]] = {
    "Processing": {"PropertyFiles"},
    "Callback": {"SqsQueueUrl", "OutputParameters"},
    "Lambda": {"FunctionArn", "OutputParameters"},
}
_LONGEST = {"DisplayName": 82, "Description": 3_072}
_RETRY_LIMITS = {"IntervalSeconds": 43_200, "MaxAttempts": 20, "ExpireAfterMin": 14_400}


def top_faults(document: Any) -> Iterator[str]:
    """Faults of the definition's frame, without which nothing else can be looked at."""
    if not isinstance(document, dict):
        yield "it is not a JSON object"
        return
    if document.get("Version") != VERSION:
        yield f"Version must be {VERSION}, got {document.get('Version')!r}"
    for name in sorted(set(document) - _TOP):
        yield f"unknown property {name}"
    if not isinstance(document.get("Steps"), list) or not document["Steps"]:
        yield "Steps must be a list of at least one step"
    if not isinstance(document.get("Parameters", []), list):
        yield "Parameters must be a list"
    if document.get("MlflowConfig") is not None:
        yield "MlflowConfig is not modelled by the local emulator, see docs/emulator.md"


def experiment_faults(config: Any, parameters: Mapping[str, Record]) -> Iterator[str]:
    """Faults of PipelineExperimentConfig."""
    if config is None:
        return
    if not isinstance(config, dict) or not config or set(config) - {"ExperimentName", "TrialName"}:
        yield "PipelineExperimentConfig takes ExperimentName and TrialName"
        return
    for name, value in config.items():
        if not isinstance(value, str) and not function_of(value):
            yield f"{name} of PipelineExperimentConfig must be a string or an expression"
    for name, argument in expressions(config):
        found = fault(name, argument)
        if found or (name == "Get" and (found := _dangling(argument, {}, parameters))):
            yield f"PipelineExperimentConfig: {found}"


def step_faults(steps: list[Step]) -> Iterator[str]:
    """Faults of each step by itself."""
    names = [step.name for step in steps]
    conditions_named = {step.name for step in steps if step.type == "Condition"}
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"step name {name} is not unique"
    for step in steps:
        if not isinstance(step.source.get("Name"), str) or not _NAME.fullmatch(step.name):
            yield f"step name {step.name!r} must match {_NAME.pattern}"
        if step.type not in STEP_TYPES:
            yield f"step {step.name} of type {step.type} is not modelled by the local emulator, see docs/emulator.md"
            continue
        if not isinstance(step.source.get("Arguments"), dict):
            yield f"step {step.name} has no Arguments"
        if step.type == "Condition" and step.branch and step.branch.condition in conditions_named:
            yield f"Condition step {step.name} lies in Condition step {step.branch.condition}: conditions do not nest"
        yield from (f"step {step.name}: {found}" for found in _property_faults(step))
        yield from (f"step {step.name}: {found}" for found in _FORMS.get(step.type, _no_faults)(step))


def reference_faults(steps: list[Step], parameters: Mapping[str, Record]) -> Iterator[str]:
    """Faults of what steps say about each other and about parameters."""
    by_name = {step.name: step for step in steps}
    for step in steps:
        for name in step.source.get("DependsOn", []):
            if name not in by_name:
                yield f"step {step.name} depends on {name}, which does not exist"
            elif by_name[name].type in _NO_DEPENDENTS:
                kind = by_name[name].type
                yield f"step {step.name} depends on {name}: a {kind} step cannot be depended on"
        for name, argument in expressions(step.arguments):
            found = fault(name, argument)
            if found or (name == "Get" and (found := _dangling(argument, by_name, parameters))):
                yield f"step {step.name}: {found}"


def _property_faults(step: Step) -> Iterator[str]:
    allowed = _STEP | _STEP_OF_TYPE.get(step.type, set())
    allowed |= {"RetryPolicies"} if step.type in RETRIED_TYPES else set()
    allowed |= {"CacheConfig"} if step.type in CACHED_TYPES else set()
    if unknown := set(step.source) - allowed:
        yield f"properties that a {step.type} step cannot have: {sorted(unknown)}"
    for member, longest in _LONGEST.items():
        if member in step.source and not _is_text(step.source[member], longest):
            yield f"{member} must be a string of at most {longest} characters"
    needs = step.source.get("DependsOn", [])
    if not isinstance(needs, list):
        yield "DependsOn must be a list of step names"
    elif any(not isinstance(name, str) for name in needs):
        yield "DependsOn with run conditions is not modelled by the local emulator"
    if "CacheConfig" in allowed and "CacheConfig" in step.source:
        yield from _cache_faults(step.source["CacheConfig"])
    if "RetryPolicies" in allowed:
        yield from _retry_faults(step.source.get("RetryPolicies", []))


def _cache_faults(config: Any) -> Iterator[str]:
    if (
        not isinstance(config, dict)
        or set(config) - {"Enabled", "ExpireAfter"}
        or not isinstance(config.get("Enabled"), bool)
    ):
        yield "CacheConfig takes Enabled (true or false) and ExpireAfter"
    elif config["Enabled"] or "ExpireAfter" in config:
        try:
            expiry_s(str(config.get("ExpireAfter")))
        except ValueError as error:
            yield str(error)


def _retry_faults(policies: Any) -> Iterator[str]:
    if not isinstance(policies, list) or not all(isinstance(policy, dict) for policy in policies):
        yield "RetryPolicies must be a list of policies"
        return
    for policy in policies:
        if unknown := set(policy) - {"ExceptionType", "BackoffRate", *_RETRY_LIMITS}:
            yield f"a retry policy has unknown properties {sorted(unknown)}"
        kinds = policy.get("ExceptionType")
        if not isinstance(kinds, list) or not kinds or not all(kind in SIGNS for kind in kinds):
            yield f"ExceptionType of a retry policy must list some of {', '.join(SIGNS)}, got {kinds!r}"
        if not _is_number(policy.get("BackoffRate", 2.0)):
            yield f"BackoffRate of a retry policy must be a number that is not negative, got {policy['BackoffRate']!r}"
        for member, most in _RETRY_LIMITS.items():
            value = policy.get(member, 0)
            if not isinstance(value, int) or not _is_number(value) or value > most:
                yield f"{member} of a retry policy must be an integer from 0 to {most}, got {value!r}"


def _condition_faults(step: Step) -> Iterator[str]:
    tests = step.arguments.get("Conditions")
    if not isinstance(tests, list) or not tests:
        yield "no Conditions"
        return
    if unknown := set(step.arguments) - {"Conditions"}:
        yield f"unknown arguments {sorted(unknown)}"
    yield from (found for found in map(conditions.fault, tests) if found)


def _fail_faults(step: Step) -> Iterator[str]:
    message = step.arguments.get("ErrorMessage")
    if set(step.arguments) != {"ErrorMessage"} or not (_is_string(message) or function_of(message)):
        yield "a Fail step takes ErrorMessage, a string or an expression"


def _processing_faults(step: Step) -> Iterator[str]:
    names = {output.get("OutputName") for output in _outputs(step)}
    for file in step.source.get("PropertyFiles", []):
        if set(file) != {"PropertyFileName", "OutputName", "FilePath"} or not all(map(_is_string, file.values())):
            yield "a PropertyFile takes PropertyFileName, OutputName and FilePath, each a string"
        elif file["OutputName"] not in names:
            yield f"PropertyFile {file['PropertyFileName']} names the unknown output {file['OutputName']}"


def _callback_faults(step: Step) -> Iterator[str]:
    if not _is_text(step.source.get("SqsQueueUrl"), 256) or not step.source["SqsQueueUrl"]:
        yield "SqsQueueUrl must be the URL of a queue, of at most 256 characters"
    yield from output_faults(step.source.get("OutputParameters", []))


def _lambda_faults(step: Step) -> Iterator[str]:
    if not _is_text(step.source.get("FunctionArn"), 256) or not step.source["FunctionArn"]:
        yield "FunctionArn must be the ARN of a function, of at most 256 characters"
    for name, value in step.arguments.items():
        if value is None or (isinstance(value, dict | list) and not function_of(value)):
            yield f"argument {name} of a Lambda step must be a string, a number or a boolean, nothing nested"
    yield from output_faults(step.source.get("OutputParameters", []))


def _no_faults(_step: Step) -> Iterator[str]:
    return iter(())


_FORMS: Mapping[str, Callable[[Step], Iterator[str]]] = {
    "Callback": _callback_faults,
    "Condition": _condition_faults,
    "Fail": _fail_faults,
    "Lambda": _lambda_faults,
    "Processing": _processing_faults,
}
_NO_DEPENDENTS = frozenset({"Condition", "Fail"})
# the calls whose answers are the properties of a step of each type
_DESCRIBED: Mapping[str, tuple[str, ...]] = {
    "Model": ("DescribeModel",),
    "Processing": ("DescribeProcessingJob",),
    "RegisterModel": ("DescribeModelPackage",),
    "Training": ("DescribeTrainingJob",),
    "Transform": ("DescribeTransformJob",),
    "Tuning": ("DescribeHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob"),
}


def _dangling(argument: Any, steps: Mapping[str, Step], parameters: Mapping[str, Record]) -> str | None:
    reference = Reference.parse(argument)
    known: Mapping[str, Any] = {
        "Parameters": parameters,
        "Execution": dict.fromkeys(EXECUTION_VARIABLES),
        "Steps": steps,
    }
    if reference.name not in known[reference.root] or (
        reference.root == "Steps" and not _has(steps[reference.name], reference.path)
    ):
        return f"Get of {reference.text}, which does not exist"
    return None


def _has(step: Step, path: tuple[str | int, ...]) -> bool:
    """Whether a step has such a property, as far as its definition can tell."""
    match step.type, *path:
        case "Processing", "PropertyFiles", *names:
            return names in [[file["PropertyFileName"]] for file in step.source.get("PropertyFiles", [])]
        case "Processing", "ProcessingOutputConfig", "Outputs", str(name), *_:
            return name in {output.get("OutputName") for output in _outputs(step)}
        case "Callback" | "Lambda", "OutputParameters", name:
            return name in {output["OutputName"] for output in step.source.get("OutputParameters", [])}
        case "Condition", "Outcome":
            return True
        case _, str(member), *_:
            return any(member in api.output_members(operation) for operation in _DESCRIBED.get(step.type, ()))
    return False


def _outputs(step: Step) -> list[Record]:
    outputs: list[Record] = step.arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return outputs


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0

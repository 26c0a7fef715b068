"""What CreateStateMachine and UpdateStateMachine refuse, beyond ministack's check that JSONata parses.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html and the page of each
integration; required permissions of `.sync`: https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from . import iam, integrations
from .errors import ApiError

MAX_DEFINITION: Final = 1_048_576
_TYPES: Final = ("Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
_JSONPATH_FIELDS: Final = (
    "InputPath",
    "OutputPath",
    "ResultPath",
    "Parameters",
    "ResultSelector",
    "TimeoutSecondsPath",
)
_JSONATA_FIELDS: Final = ("Arguments", "Output")
_MANAGED_RULES: Final[Mapping[str, str]] = {
    "createTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "createProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "createTransformJob": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "createHyperParameterTuningJob": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "startExecution": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}


def problem(text: Any, *, kind: str | None = None) -> str | None:
    """The first reason to refuse the definition, as `SCHEMA_VALIDATION_FAILED: ... at /States/X`, or None.

    `kind` is STANDARD or EXPRESS where it is known.
    """
    if not isinstance(text, str) or len(text.encode()) > MAX_DEFINITION:
        return f"MAX_DEFINITION_SIZE_EXCEEDED: a definition is a text of at most {MAX_DEFINITION} bytes"
    try:
        definition = json.loads(text)
    except ValueError as error:
        return f"INVALID_JSON_DESCRIPTION: {error}"
    if not isinstance(definition, dict):
        return "INVALID_JSON_DESCRIPTION: a definition is a JSON object"
    found = next(_machine_problems(definition, "", definition.get("QueryLanguage", "JSONPath"), kind), None)
    return f"SCHEMA_VALIDATION_FAILED: {found}" if found else None


def tasks(machine: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Task state with its path, those in Parallel branches and Map processors included."""
    for name, state in machine.get("States", {}).items():
        where = f"{path}/States/{name}"
        if state.get("Type") == "Task":
            yield where, state
        for at, inner in _inner_machines(state, where):
            yield from tasks(inner, at)


def check_role(definition: str, role_arn: str, *, machine_arn: str, region: str, account: str) -> None:
    """Raise unless Step Functions may assume the role and the role may have the managed rules that `.sync` needs."""
    if not iam.trusts(role_arn, integrations.SERVICE, context={"aws:SourceArn": machine_arn}):
        raise ApiError(
            "AccessDeniedException",
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume "
            f"the provided role: {role_arn}",
        )
    caller = iam.Caller(arn=role_arn, account=account, region=region)
    for _, state in tasks(json.loads(definition)):
        resource = str(state.get("Resource", ""))
        rule = _MANAGED_RULES.get(resource.rpartition(":")[2].removesuffix(".sync").removesuffix(":2"))
        if rule is None or ".sync" not in resource:
            continue
        for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
            if not iam.is_allowed(caller, action, f"arn:aws:events:{region}:{account}:rule/{rule}"):
                raise ApiError(
                    "AccessDeniedException",
                    f"'{role_arn}' is not authorized to create managed-rule. ({action} on {rule})",
                )


def _machine_problems(machine: Mapping[str, Any], path: str, language: str, kind: str | None) -> Iterator[str]:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        yield f"These fields are required: [States] at {path or '/'}"
        return
    if machine.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {machine.get('StartAt')} at {path}/StartAt"
    for name, state in states.items():
        yield from _state_problems(name, state, states, f"{path}/States/{name}", language, kind)


def _state_problems(
    name: str, state: Mapping[str, Any], states: Mapping[str, Any], path: str, language: str, kind: str | None
) -> Iterator[str]:
    if len(name) > 80:
        yield f"State name exceeds 80 characters at {path}"
    if state.get("Type") not in _TYPES:
        yield f"The value {state.get('Type')!r} is not a state type at {path}/Type"
        return
    mine = state.get("QueryLanguage", language)
    for field in _JSONPATH_FIELDS if mine == "JSONata" else _JSONATA_FIELDS:
        if field in state:
            yield f"The field {field!r} is not supported when the query language is {mine} at {path}/{field}"
    if state["Type"] not in ("Choice", "Succeed", "Fail") and ("Next" in state) == bool(state.get("End")):
        yield f"A state needs either Next or End at {path}"
    for where, target in _targets(state):
        if target not in states:
            yield f"MISSING_TRANSITION_TARGET: Missing '{where}' target: {target} at {path}"
    yield from _error_problems(state, path)
    if state["Type"] == "Task":
        yield from _task_problems(state, path, mine, kind)
    for at, inner in _inner_machines(state, path):
        yield from _machine_problems(inner, at, mine, kind)


def _targets(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "Next" in state:
        yield "Next", state["Next"]
    if "Default" in state:
        yield "Default", state["Default"]
    for field in ("Choices", "Catch"):
        for branch in state.get(field, []):
            yield f"{field}.Next", branch.get("Next")


def _error_problems(state: Mapping[str, Any], path: str) -> Iterator[str]:
    for field in ("Retry", "Catch"):
        handlers = state.get(field, [])
        for index, handler in enumerate(handlers):
            names = handler.get("ErrorEquals") or []
            if not names:
                yield f"The field 'ErrorEquals' must not be empty at {path}/{field}/{index}"
            if "States.ALL" in names and (len(names) > 1 or index < len(handlers) - 1):
                yield f"'States.ALL' must be alone and last at {path}/{field}/{index}/ErrorEquals"


def _task_problems(state: Mapping[str, Any], path: str, language: str, kind: str | None) -> Iterator[str]:
    resource = str(state.get("Resource", ""))
    if resource.startswith("arn:aws:lambda:"):
        return
    try:
        integration = integrations.parse(resource)
    except ValueError as error:
        yield f"{error} at {path}/Resource"
        return
    if kind == "EXPRESS" and integration.pattern:
        yield f"Express state machine does not support '{resource}' at {path}/Resource"
    arguments = state.get("Arguments" if language == "JSONata" else "Parameters")
    if integration.pattern == integrations.CALLBACK and "Task.Token" not in json.dumps(arguments):
        yield f"The task token is not passed on by the arguments at {path}"
    if isinstance(arguments, dict):
        literal = {name.removesuffix(".$") if language == "JSONPath" else name: arguments[name] for name in arguments}
        for text in integrations.unknown_arguments(integration, literal):
            yield f"{text} at {path}"


def _inner_machines(state: Mapping[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, branch in enumerate(state.get("Branches", [])):
        yield f"{path}/Branches/{index}", branch
    for field in ("ItemProcessor", "Iterator"):
        if field in state:
            yield f"{path}/{field}", state[field]

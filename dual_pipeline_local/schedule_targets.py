"""What a schedule may start, and how: any operation of an AWS service, or one of the templated targets.

Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html and
managing-targets-templated.html (targets), managing-schedule-context-attributes.html (words in an input).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import botocore
import botocore.session

from . import integrations, sessions
from .errors import ApiError

SERVICE: Final = "scheduler.amazonaws.com"

# Read-only operations are no targets.
_READS: Final = (
    "get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read", "lookup", "discover",
    "validate", "batchGet", "batchDescribe", "batchRead", "transactGet", "adminGet", "adminList", "testMigration",
    "retrieve", "testConnection", "translateDocument", "isAuthorized", "invokeModel",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of a service: its name in botocore, the operation and its parameters."""

    service: str
    name: str
    parameters: Mapping[str, Any]

    def call(self, role: str, *, group_arn: str) -> None:
        """Make the call as the role, on behalf of a schedule of the group."""
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
        client = sessions.client(role, self.service, service=SERVICE, source_arn=group_arn)
        getattr(client, botocore.xform_name(self.name))(**self.parameters)


def operation_of(target: Mapping[str, Any], words: Mapping[str, str]) -> Operation:
    """The call that a target stands for; `words` replace `<aws.scheduler....>` in its input.

    Raises ValidationException for a target that Scheduler does not have or an input that it does not take.
    """
    arn = str(target["Arn"])
    given = re.sub(r"<aws\.scheduler\.[a-z-]+>", lambda match: words.get(match.group(), match.group()), _input(target))
    if match := re.fullmatch(r"arn:aws:scheduler:::aws-sdk:([a-z0-9]+):([a-zA-Z0-9]+)", arn):
        return _universal(match[1], match[2], given)
    for pattern, make in _TEMPLATED.items():
        if re.fullmatch(rf"arn:aws:{pattern}", arn):
            return make(arn, target, given)
    raise _invalid(f"Provided Arn is not in correct format or not a target that the emulator has: {arn}")


def _input(target: Mapping[str, Any]) -> str:
    return str(target.get("Input") or "{}")


def _universal(service: str, action: str, given: str) -> Operation:
    if action.startswith(_READS):
        raise _invalid(f"{service}:{action} only reads and is no target of a schedule")
    try:
        found = integrations.parse(f"arn:aws:states:::aws-sdk:{service}:{action}")
        parameters = json.loads(given)
    except ValueError as error:
        raise _invalid(f"Invalid target arn:aws:scheduler:::aws-sdk:{service}:{action}: {error}") from error
    if not isinstance(parameters, dict):
        raise _invalid("Invalid Input: the parameters of a universal target are a JSON object")
    shape = botocore.session.get_session().get_service_model(found.service.boto).operation_model(found.operation)
    # Services spell their members with small or capital first letters, inputs always with capital ones.
    names: list[str] = list(shape.input_shape.members) if shape.input_shape else []
    members: dict[str, str] = {name[:1].upper() + name[1:]: name for name in names}
    return Operation(
        service=found.service.boto,
        name=found.operation,
        parameters={members.get(str(key), str(key)): value for key, value in parameters.items()},
    )


def _start_execution(arn: str, _target: Mapping[str, Any], given: str) -> Operation:
    return Operation(
        service="stepfunctions", name="StartExecution", parameters={"stateMachineArn": arn, "input": given}
    )


def _put_events(arn: str, target: Mapping[str, Any], given: str) -> Operation:
    if not (event := target.get("EventBridgeParameters")):
        raise _invalid("EventBridgeParameters are required for an event bus")
    entry = {"EventBusName": arn, "Source": event["Source"], "DetailType": event["DetailType"], "Detail": given}
    return Operation(service="events", name="PutEvents", parameters={"Entries": [entry]})


def _start_pipeline(arn: str, target: Mapping[str, Any], _given: str) -> Operation:
    parameters = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
    return Operation(
        service="sagemaker",
        name="StartPipelineExecution",
        parameters={"PipelineName": arn, **({"PipelineParameters": parameters} if parameters else {})},
    )


def _publish(arn: str, _target: Mapping[str, Any], given: str) -> Operation:
    return Operation(service="sns", name="Publish", parameters={"TopicArn": arn, "Message": given})


_TEMPLATED: Final[dict[str, Callable[[str, Mapping[str, Any], str], Operation]]] = {
    r"states:[^:]+:\d+:stateMachine:.+": _start_execution,
    r"events:[^:]+:\d+:event-bus/.+": _put_events,
    r"sagemaker:[^:]+:\d+:pipeline/.+": _start_pipeline,
    r"sns:[^:]+:\d+:.+": _publish,
}


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)

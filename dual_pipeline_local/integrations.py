"""Service integrations of Step Functions tasks: which exist, and what one call sends, answers and is refused with.

A call is a real request to the emulator's endpoint, signed with the state machine's role: IAM, the service's own checks
and the shape of the answer are the same as for any other client.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html (patterns per service) and
supported-services-awssdk.html (names of parameters and errors: those of the AWS SDK for Java 2).
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import botocore
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from . import sessions
from .errors import ApiError

SERVICE: Final = "states.amazonaws.com"
CALLBACK: Final = "waitForTaskToken"
_SYNC: Final = ("", "sync")
_PLAIN: Final = ("",)
_WITH_CALLBACK: Final = ("", CALLBACK)


class TaskError(Exception):
    """A task that failed with an error name of AWS and its cause."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


@dataclass(frozen=True)
class Service:
    """A service as Step Functions names it: botocore's name, the prefix of its errors and of its general error."""

    boto: str
    prefix: str
    general: str


_SDK: Final[Mapping[str, Service]] = {
    name: Service(boto, prefix, f"{prefix}Exception")
    for name, boto, prefix in (
        ("applicationautoscaling", "application-autoscaling", "ApplicationAutoScaling"),
        ("cloudwatch", "cloudwatch", "CloudWatch"),
        ("cloudwatchlogs", "logs", "CloudWatchLogs"),
        ("dynamodb", "dynamodb", "DynamoDb"),
        ("ecr", "ecr", "Ecr"),
        ("eventbridge", "events", "EventBridge"),
        ("glue", "glue", "Glue"),
        ("lambda", "lambda", "Lambda"),
        ("s3", "s3", "S3"),
        ("sagemaker", "sagemaker", "SageMaker"),
        ("sagemakerruntime", "sagemaker-runtime", "SageMakerRuntime"),
        ("scheduler", "scheduler", "Scheduler"),
        ("secretsmanager", "secretsmanager", "SecretsManager"),
        ("sfn", "stepfunctions", "Sfn"),
        ("sns", "sns", "Sns"),
        ("sqs", "sqs", "Sqs"),
        ("ssm", "ssm", "Ssm"),
        ("sts", "sts", "Sts"),
    )
}

_OPTIMISED: Final[Mapping[str, tuple[Service, Mapping[str, tuple[str, ...]]]]] = {
    "sagemaker": (
        Service("sagemaker", "SageMaker", "AmazonSageMakerException"),
        {
            "createTrainingJob": _SYNC,
            "createTransformJob": _SYNC,
            "createProcessingJob": _SYNC,
            "createHyperParameterTuningJob": _SYNC,
            "createModel": _PLAIN,
            "createEndpointConfig": _PLAIN,
            "createEndpoint": _PLAIN,
            "updateEndpoint": _PLAIN,
        },
    ),
    "glue": (Service("glue", "Glue", "AWSGlueException"), {"startJobRun": _SYNC}),
    "dynamodb": (
        Service("dynamodb", "DynamoDB", "AmazonDynamoDBException"),
        dict.fromkeys(("getItem", "putItem", "updateItem", "deleteItem"), _PLAIN),
    ),
    "sns": (Service("sns", "SNS", "AmazonSNSException"), {"publish": _WITH_CALLBACK}),
    "sqs": (Service("sqs", "SQS", "AmazonSQSException"), {"sendMessage": _WITH_CALLBACK}),
    "events": (Service("events", "EventBridge", "AmazonEventBridgeException"), {"putEvents": _WITH_CALLBACK}),
    "states": (
        Service("stepfunctions", "StepFunctions", "AWSStepFunctionsException"),
        {"startExecution": ("", "sync", "sync:2", CALLBACK)},
    ),
    "lambda": (Service("lambda", "Lambda", "AWSLambdaException"), {"invoke": _WITH_CALLBACK}),
}

# optimised integrations take an object where the API takes a JSON string
_JSON_TEXT: Final = {"publish": "Message", "sendMessage": "MessageBody", "startExecution": "Input", "invoke": "Payload"}


@dataclass(frozen=True)
class Integration:
    """One task resource, taken apart."""

    resource: str
    service: Service
    action: str
    pattern: str
    sdk: bool

    @property
    def operation(self) -> str:
        return self.action[0].upper() + self.action[1:]


@functools.cache
def parse(resource: str) -> Integration:
    """Take a task's Resource apart; raises ValueError for one that AWS or the emulator does not have."""
    match = re.fullmatch(
        r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>[a-z0-9]+):(?P<action>[A-Za-z0-9]+)"
        r"(?:\.(?P<pattern>sync|sync:2|waitForTaskToken))?",
        resource,
    )
    if match is None:
        raise ValueError(f"The resource provided {resource} is not recognized")
    name, action, pattern = match["service"], match["action"], match["pattern"] or ""
    sdk = match["sdk"] is not None
    if sdk:
        service, patterns = _SDK.get(name), tuple(_WITH_CALLBACK)
    else:
        service, actions = _OPTIMISED.get(name, (None, {}))
        patterns = actions.get(action, ())
    if service is None:
        raise ValueError(f"The resource provided {resource} is not recognized by the emulator: service {name}")
    integration = Integration(resource=resource, service=service, action=action, pattern=pattern, sdk=sdk)
    if pattern not in patterns:
        raise ValueError(f"The resource provided {resource} is not recognized: no {action} with this pattern")
    if not action[0].islower() or integration.operation not in _model(service.boto).operation_names:
        raise ValueError(f"The resource provided {resource} is not recognized: no action {action}")
    return integration


def unknown_arguments(integration: Integration, arguments: Mapping[str, Any]) -> list[str]:
    """Problems AWS reports when it checks a task's literal arguments against the service's model."""
    shape = _model(integration.service.boto).operation_model(integration.operation).input_shape
    if shape is None:
        return [f"The field {name!r} is not supported by Step Functions" for name in arguments]
    names = {_member_name(name, integration.sdk): name for name in shape.members}
    problems = [f"The field {name!r} is not supported by Step Functions" for name in arguments if name not in names]
    given = {names[name] for name in arguments if name in names}
    problems += [
        f"The field {_member_name(name, integration.sdk)!r} is required but was missing"
        for name in shape.required_members
        if name not in given and not shape.members[name].metadata.get("idempotencyToken")
    ]
    return problems


def call(integration: Integration, arguments: Any, *, role: str, machine: str) -> dict[str, Any]:
    """Call the service as the state machine's role and answer as Step Functions shapes it. Raises TaskError."""
    if not isinstance(arguments, Mapping):
        raise TaskError("States.Runtime", f"The arguments of {integration.resource} are not an object")
    prepared = dict(arguments)
    if not integration.sdk:
        _write_json_text(integration.action, prepared)
    response = request(integration, integration.operation, prepared, role=role, machine=machine)
    if integration.action == "invoke" and not integration.sdk:
        return _lambda_result(response)
    if integration.action == "putEvents" and not integration.sdk and response.get("FailedEntryCount"):
        raise TaskError("EventBridge.FailedEntry", json.dumps(response))
    return response


def request(
    integration: Integration, operation: str, arguments: Mapping[str, Any], *, role: str, machine: str
) -> dict[str, Any]:
    """Call any operation of the integration's service with its naming of members and errors. Raises TaskError."""
    service = integration.service
    model = _model(service.boto).operation_model(operation)
    try:
        client = sessions.client(role, service.boto, service=SERVICE, source_arn=machine)
        parameters = _to_api(arguments, model.input_shape, integration.sdk, "Arguments")
        if isinstance(source := parameters.get("CopySource"), str):
            # S3 wants it percent-encoded, which botocore does by itself with what it is given.
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
            path, mark, version = source.partition("?versionId=")
            parameters["CopySource"] = unquote(path) + mark + version
        response = getattr(client, botocore.xform_name(operation))(**parameters)
        response.pop("ResponseMetadata", None)
        result: dict[str, Any] = _from_api(response, model.output_shape, integration.sdk)
    except ApiError as error:
        raise TaskError("States.Permissions", error.message) from error
    except (ParamValidationError, ValueError) as error:
        cause = f"The Parameters '{json.dumps(arguments)}' could not be used to start the Task: [{error}]"
        raise TaskError("States.Runtime", cause) from error
    except ClientError as error:
        raise _task_error(integration, error) from error
    except BotoCoreError as error:
        raise TaskError(f"{service.prefix}.SdkClientException", str(error)) from error
    return result


def _write_json_text(action: str, arguments: dict[str, Any]) -> None:
    if action == "putEvents":
        arguments["Entries"] = [
            {**entry, "Detail": _text(entry["Detail"])} if "Detail" in entry else entry
            for entry in arguments.get("Entries", [])
        ]
    member = _JSON_TEXT.get(action)
    for name in [name for name in arguments if member and name == member]:
        arguments[name] = _text(arguments[name])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _lambda_result(response: dict[str, Any]) -> dict[str, Any]:
    payload = response.get("Payload") or "null"
    try:
        parsed = json.loads(payload)
    except ValueError:
        parsed = payload
    if response.get("FunctionError"):
        name = parsed.get("errorType", "Lambda.Unknown") if isinstance(parsed, dict) else "Lambda.Unknown"
        raise TaskError(str(name), payload)
    return {**response, "Payload": parsed}


def _task_error(integration: Integration, error: ClientError) -> TaskError:
    service = integration.service
    code = str(error.response["Error"].get("Code", ""))
    message = str(error.response["Error"].get("Message", ""))
    metadata = error.response.get("ResponseMetadata", {})
    status, request_id = metadata.get("HTTPStatusCode", 400), metadata.get("RequestId", "")
    name = _modelled_error(service.boto, _HEAD_CODES.get(code, code))
    if integration.sdk:
        cause = f"{message} (Service: {service.prefix}, Status Code: {status}, Request ID: {request_id})"
    else:
        cause = (
            f"{message} (Service: {service.prefix}; Status Code: {status}; Error Code: {code}; "
            f"Request ID: {request_id}; Proxy: null)"
        )
    return TaskError(f"{service.prefix}.{name or service.general}", cause)


# a HEAD answer has no body, so botocore reports its status
_HEAD_CODES: Final = {"404": "NoSuchKey"}


def _modelled_error(boto: str, code: str) -> str | None:
    """The exception class the SDK has for an error code; None for a code the service does not model."""
    for shape in _model(boto).error_shapes:
        if code in (shape.error_code, shape.name):
            stem = re.sub(r"Fault$", "", shape.name)
            stem = stem[0].upper() + stem[1:]
            return stem if stem.endswith("Exception") else f"{stem}Exception"
    return None


@functools.cache
def _model(boto: str) -> Any:
    return botocore.session.Session().get_service_model(boto)


@functools.cache
def _member_name(name: str, sdk: bool) -> str:
    """A member as Step Functions spells it: the Java SDK 2 lowers acronyms, optimised integrations do not."""
    if name == "NULL" and sdk:
        return "Nul"
    if sdk:
        name = re.sub(r"[A-Z]{2,}(?=[A-Z][a-z])|[A-Z]{2,}", lambda run: run[0][0] + run[0][1:].lower(), name)
        name = re.sub(r"^E[Tt]ag$", "ETag", name)
    return name[0].upper() + name[1:]


def _to_api(value: Any, shape: Any, sdk: bool, path: str) -> Any:
    kind = shape.type_name if shape is not None else "structure"
    if kind == "structure" and isinstance(value, Mapping):
        names = {_member_name(name, sdk): name for name in shape.members} if shape is not None else {}
        if unknown := sorted(set(value) - set(names)):
            raise ValueError(f"The field {unknown[0]!r} is not supported by Step Functions at {path}")
        return {
            names[name]: _to_api(item, shape.members[names[name]], sdk, f"{path}.{name}")
            for name, item in value.items()
            if item is not None
        }
    if kind == "list" and isinstance(value, list):
        return [_to_api(item, shape.member, sdk, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind == "map" and isinstance(value, Mapping):
        return {key: _to_api(item, shape.value, sdk, f"{path}.{key}") for key, item in value.items()}
    if kind == "blob":
        return _text(value).encode()
    if kind in ("integer", "long") and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _from_api(value: Any, shape: Any, sdk: bool) -> Any:
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, Mapping):
        kind = shape.type_name if shape is not None else "map"
        if kind == "structure":
            return {
                _member_name(name, sdk): _from_api(item, shape.members.get(name), sdk) for name, item in value.items()
            }
        return {name: _from_api(item, getattr(shape, "value", None), sdk) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_api(item, getattr(shape, "member", None), sdk) for item in value]
    if isinstance(value, datetime):
        return _instant(value) if sdk else int(value.timestamp() * 1000)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


def _instant(moment: datetime) -> str:
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")

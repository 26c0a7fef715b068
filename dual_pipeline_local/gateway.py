"""The HTTP side: services added to ministack's gateway, and the count of calls that IAM could not be asked about."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from . import ecr, iam, ministack, resources, stepfunctions
from .errors import ApiError
from .sagemaker.pipelines import tokens as callback_tokens

Response = tuple[int, dict[str, str], bytes]
Headers = Mapping[str, str]

_INVOCATION: Final = re.compile(r"/endpoints/(?P<name>[^/]+)/(?P<how>[a-z-]*invocations[a-z-]*)/?")
_INVOCATIONS: Final = {
    "invocations": "InvokeEndpoint",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
    "invocations-bidirectional-stream": "InvokeEndpointWithBidirectionalStream",
    "async-invocations": "InvokeEndpointAsync",
}
VARIANT_HEADER: Final = "x-Amzn-Invoked-Production-Variant"


class UnmappedCalls:
    """Calls that reached a service without an IAM action: allowed unchecked, so a run with any proves little."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[str] = []

    def add(self, call: str) -> None:
        with self._lock:
            self._calls.append(call)

    def list(self) -> list[str]:
        with self._lock:
            return [*self._calls]


unmapped = UnmappedCalls()


def add_service(name: str, *, target_prefix: str, iam_prefix: str, call: Callable[..., Response]) -> None:
    """Serve `name` (its signing name) by `call(method, path, headers, body)`, authorized like ministack's own services.

    The call runs on a thread of its own, so it may call back into the server.
    """
    app = ministack.load("app")

    async def handle(method: str, path: str, headers: Headers, body: bytes, _query: Mapping[str, Any]) -> Response:
        run: Callable[..., Awaitable[Response]] = ministack.load("core.concurrency").run_reentrant
        return await run(_answer, call, method, path, headers, body)

    app.SERVICE_REGISTRY[name] = {"module": name}
    app.SERVICE_HANDLERS[name] = handle
    patterns = {"target_prefixes": [target_prefix], "host_patterns": [rf"{re.escape(name)}\."]}
    ministack.load("core.router").SERVICE_PATTERNS[name] = patterns
    ministack.load("core.iam_actions").SERVICE_TO_IAM_NAMESPACE[name] = iam_prefix


def replace_service(name: str, *, call: Callable[..., Response], resource: Callable[..., str]) -> None:
    """Serve `name`, which ministack has too, by `call(method, path, headers, body, query)`.

    IAM is asked about what `resource(method, path, query, body, region=, account=)` names.
    """

    async def handle(method: str, path: str, headers: Headers, body: bytes, query: Mapping[str, Any]) -> Response:
        run: Callable[..., Awaitable[Response]] = ministack.load("core.concurrency").run_reentrant
        return await run(_answer, call, method, path, headers, body, query)

    ministack.load("app").SERVICE_HANDLERS[name] = handle
    _resources[name] = resource


_resources: dict[str, Callable[..., str]] = {}


def hook_authorization() -> None:
    """Teach ministack's gateway the actions and resources of the added services, and count what it cannot map."""
    app = ministack.load("app")
    pin_origin = app.pin_request_origin
    # loopback stands for TLS, so that aws:SecureTransport is true as it is for every client that reaches AWS
    app.pin_request_origin = lambda address, _secure: pin_origin(address, True)
    fix_type = app.fix_success_content_type
    # what a model answers keeps its type; ministack takes it for the envelope of the service's JSON protocol
    app.fix_success_content_type = lambda service, status, headers: (
        None if VARIANT_HEADER in headers else fix_type(service, status, headers)
    )
    actions = ministack.load("core.iam_actions")
    known_action, known_resource = actions.extract_iam_action, actions.extract_resource_arn
    known_context = actions.request_tag_context
    known_s3_context = actions.s3_service_context

    def context_of(service: str, action: str, body: bytes, query: Mapping[str, Any]) -> dict[str, Any]:
        request = _values(body, query)
        keys: dict[str, Any] = {**resources.condition_keys(action, request)}
        if service == "dynamodb" and (leading := _leading_keys(request)):
            keys["dynamodb:leadingkeys"] = leading
        return {**known_context(service, action, body, query), **keys}

    def action_of(service: str, method: str, path: str, headers: Headers, body: bytes, query: Any) -> str | None:
        if service == "sagemaker" and (invoked := invocation(path)):
            return f"sagemaker:{invoked[1]}"
        action: str | None = known_action(service, method, path, headers, body, query)
        if action is None:
            unmapped.add(f"{service} {method} {path} {headers.get('x-amz-target', '')}".rstrip())
        return action

    def resource_of(
        service: str, method: str, path: str, headers: Headers, body: bytes, query: Any, region: str, account: str
    ) -> str:
        if service in _resources:
            return _resources[service](method, path, query, body, region=region, account=account)
        if service == "sagemaker":
            operation, request = _call(path, headers, body)
            if operation.startswith("SendPipelineExecutionStep"):
                return callback_tokens.EXECUTIONS.get(str(request.get("CallbackToken")), "*")
            return resources.sagemaker_resource(operation, request, region=region, account=account)
        if service == "ecr":
            return ecr.repository_arn(_values(body, query), region=region, account=account)
        if service == "monitoring":
            action = str(known_action(service, method, path, headers, body, query))
            if named := resources.alarm_resources(action, _values(body, query), region=region, account=account):
                # the gateway asks about one resource: the first that is denied, or any
                return next((arn for arn in named if not iam.is_allowed(caller(), action, arn)), named[0])
        if service == "application-autoscaling":
            return resources.autoscaling_resource(region=region, account=account)
        if service == "monitoring" and (name := resources.alarm_name(_values(body, query))):
            return f"arn:aws:cloudwatch:{region}:{account}:alarm:{name}"
        if service == "states" and operation_of(headers).startswith("SendTask"):
            _, request = _call(path, headers, body)
            token = str(request.get("taskToken", ""))
            return stepfunctions.machine_of_token(token) or "*"
        found: str = known_resource(service, method, path, headers, body, query, region, account)
        return found

    actions.extract_iam_action, actions.extract_resource_arn = action_of, resource_of
    actions.request_tag_context = context_of
    actions.s3_service_context = lambda action, query, path="", headers=None: {
        **known_s3_context(action, query, path, headers),
        **resources.s3_write_conditions(action, headers or {}),
    }


def caller() -> iam.Caller:
    """Who sent the request that is being served."""
    responses = ministack.load("core.responses")
    arn = ministack.load("core.iam_evaluator").caller_arn()
    return iam.Caller(arn=arn, account=responses.get_account_id(), region=responses.get_region())


def operation_of(headers: Headers) -> str:
    return headers.get("x-amz-target", "").rpartition(".")[2]


def json_body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", f"request body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError("SerializationException", "request body is not a JSON object")
    return value


def json_answer(result: Mapping[str, object]) -> Response:
    body = json.dumps(result, default=_timestamp).encode()
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, body


def authorize_sagemaker(who: iam.Caller, operation: str, request: Mapping[str, Any]) -> None:
    """The checks a SageMaker call needs beyond its own action: tags, second resources and iam:PassRole."""
    where = {"region": who.region, "account": who.account}
    resource = resources.sagemaker_resource(operation, request, **where)
    for action, checked in resources.sagemaker_extra_checks(operation, request, resource, **where):
        iam.authorize(who, action, checked)
    role = resources.passed_role(operation, request)
    if role:
        iam.check_pass_role(who, role, "sagemaker.amazonaws.com")


def invocation(path: str) -> tuple[str, str] | None:
    """The endpoint's name and the operation, from the path of a call of the SageMaker runtime."""
    match = _INVOCATION.fullmatch(path)
    operation = _INVOCATIONS.get(match["how"]) if match else None
    return (unquote(match["name"]), operation) if match and operation else None


def _leading_keys(request: Mapping[str, Any]) -> list[str]:
    try:
        return resources.leading_keys(request, _hash_key)
    except (AttributeError, TypeError):  # not of DynamoDB's shape, which DynamoDB will say
        return []


def _hash_key(table: str, index: str | None) -> str | None:
    """The partition key's name of a table or of one of its indexes."""
    found = ministack.load("services.dynamodb")._tables.get(table) or {}
    indexes = [*(found.get("GlobalSecondaryIndexes") or []), *(found.get("LocalSecondaryIndexes") or [])]
    schemas = [item["KeySchema"] for item in indexes if item.get("IndexName") == index] or [found.get("KeySchema", [])]
    return next((str(key["AttributeName"]) for key in schemas[0] if key.get("KeyType") == "HASH"), None)


def _values(body: bytes, query: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request in the JSON or the Query protocol."""
    if body.startswith(b"{"):
        try:
            return json_body(body)
        except ApiError:
            return {}
    return {name: value[0] if isinstance(value, list) and value else value for name, value in query.items()}


def _call(path: str, headers: Headers, body: bytes) -> tuple[str, dict[str, Any]]:
    if invoked := invocation(path):
        return "InvokeEndpoint", {"EndpointName": invoked[0]}
    try:
        return operation_of(headers), json_body(body)
    except ApiError:
        return operation_of(headers), {}


def _answer(call: Callable[..., Response], *request: Any) -> Response:
    try:
        return call(*request)
    except ApiError as error:
        answer: Response = ministack.load("core.responses").error_response_json(error.code, error.message, error.status)
        return answer


def _timestamp(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} has no place in a JSON answer")

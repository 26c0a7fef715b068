"""Everything the emulator adds to ministack, installed once before the server starts."""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import (
    autoscaling,
    cloudformation,
    cloudwatch,
    ecr,
    eventbridge,
    gateway,
    glue,
    jsonata_clock,
    ministack,
    s3,
    scheduler,
    settings,
    stepfunctions,
    template_schema,
)
from .errors import ApiError
from .sagemaker.endpoints.invocation import CUSTOM_ATTRIBUTES, Invocation

if TYPE_CHECKING:
    from .sagemaker.service import SageMaker

_sagemaker: SageMaker | None = None
_making = threading.Lock()
_stoppers: list[Callable[[], None]] = []


def install() -> None:
    """Check ministack, then add services, integrations, resource types and authorization to it."""
    ministack.verify()
    template_schema.verify()
    gateway.hook_authorization()
    gateway.add_service("sagemaker", target_prefix="SageMaker.", iam_prefix="sagemaker", call=_serve_sagemaker)
    gateway.add_service(
        "application-autoscaling",
        target_prefix="AnyScaleFrontendService.",
        iam_prefix="application-autoscaling",
        call=autoscaling.serve,
    )
    autoscaling.install(autoscaling.Endpoints(_describe_endpoint, _resize))
    eventbridge.install()
    scheduler.install()
    s3.install()
    stepfunctions.install()
    jsonata_clock.install()
    glue.install()
    cloudformation.install(exists=lambda arn: sagemaker().exists(arn))
    cloudwatch.install()
    ecr.install()
    _stoppers.append(glue.stop_all)
    _stoppers.append(cloudwatch.stop)
    atexit.register(stop)


def sagemaker() -> SageMaker:
    """The one SageMaker of this process."""
    global _sagemaker
    with _making:
        if _sagemaker is None:
            from .sagemaker.service import SageMaker

            now = settings.current()
            _sagemaker = SageMaker(work=now.work, time_scale=now.time_scale)
            _stoppers.append(_sagemaker.stop_all)
        return _sagemaker


def stop() -> None:
    """End every job and endpoint process."""
    while _stoppers:
        _stoppers.pop()()


def _serve_sagemaker(_method: str, path: str, headers: gateway.Headers, body: bytes) -> gateway.Response:
    who = gateway.caller()
    if invoked := gateway.invocation(path):
        _refuse_absent(invoked[1], headers)
        if len(body) > _MAX_INVOCATION:
            raise ApiError("ValidationError", f"Body has {len(body)} bytes, more than the limit of {_MAX_INVOCATION}")
        status, answer, answered = sagemaker().invoke_endpoint(invoked[0], _invocation(headers, body), who)
        return status, answered, answer
    operation, request = gateway.operation_of(headers), gateway.json_body(body)
    gateway.authorize_sagemaker(who, operation, request)
    result: dict[str, Any] = sagemaker().call(operation, request, who)
    return gateway.json_answer(result)


def _describe_endpoint(name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = sagemaker().call("DescribeEndpoint", {"EndpointName": name}, gateway.caller())
    except ApiError:
        return None
    return found


def _resize(endpoint: str, variant: str, count: int) -> None:
    change = {"VariantName": variant, "DesiredInstanceCount": count}
    request = {"EndpointName": endpoint, "DesiredWeightsAndCapacities": [change]}
    sagemaker().call("UpdateEndpointWeightsAndCapacities", request, gateway.caller())


def _invocation(headers: gateway.Headers, body: bytes) -> Invocation:
    inference_id = headers.get(_INFERENCE_ID)
    if inference_id is not None and not re.fullmatch(r"\S[ -~]{0,63}", inference_id):
        raise ApiError(
            "ValidationError", f"InferenceId must be 1 to 64 printable characters, the first no space: {inference_id!r}"
        )
    for member, header in _LIMITED_HEADERS.items():
        value = headers.get(header, "")
        if len(value) > _LONGEST_HEADER or not value.isascii():
            raise ApiError(
                "ValidationError", f"{member} must be at most {_LONGEST_HEADER} characters of ASCII, got {len(value)}"
            )
    return Invocation(
        body,
        content_type=headers.get("content-type") or "application/octet-stream",
        accept=headers.get("accept") or headers.get("x-amzn-sagemaker-accept") or "*/*",
        inference_id=inference_id,
        custom_attributes=headers.get(CUSTOM_ATTRIBUTES.lower()),
    )


def _refuse_absent(operation: str, headers: gateway.Headers) -> None:
    absent = [] if operation == "InvokeEndpoint" else [operation]
    absent += [name for name, header in _ABSENT_HEADERS.items() if header in headers]
    if absent:
        raise ApiError(
            "ValidationError",
            f"sagemaker-runtime: {absent[0]} is not modelled by the local emulator, see docs/emulator.md",
        )


# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html (Body)
_MAX_INVOCATION = 6_291_456

_INFERENCE_ID = "x-amzn-sagemaker-inference-id"

# botocore's model of InvokeEndpoint
_LONGEST_HEADER = 1024
_LIMITED_HEADERS = {
    "ContentType": "content-type",
    "Accept": "accept",
    "CustomAttributes": CUSTOM_ATTRIBUTES.lower(),
}

_ABSENT_HEADERS = {
    name: f"x-amzn-sagemaker-{header}"
    for name, header in (
        ("TargetVariant", "target-variant"),
        ("TargetModel", "target-model"),
        ("TargetContainerHostname", "target-container-hostname"),
        ("InferenceComponentName", "inference-component"),
        ("EnableExplanations", "enable-explanations"),
        ("SessionId", "session-id"),
    )
}

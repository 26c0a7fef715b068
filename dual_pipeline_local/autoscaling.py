"""Application Auto Scaling for SageMaker variants: policies are only kept, a capacity outside the bounds is moved.

Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import botocore.session
from botocore.validate import ParamValidator

from . import gateway
from .errors import ApiError

_Key = tuple[str, str, str]
_NAMESPACE: Final = "sagemaker"
_DIMENSIONS: Final = ("sagemaker:variant:DesiredInstanceCount",)

_lock = threading.Lock()
_targets: dict[_Key, dict[str, Any]] = {}
_policies: dict[tuple[str, _Key], dict[str, Any]] = {}
_model: Any = botocore.session.Session().get_service_model("application-autoscaling")


class Endpoints(NamedTuple):
    """What DescribeEndpoint says of one by its name, or None, and how a variant of it gets so many instances."""

    describe: Callable[[str], Mapping[str, Any] | None]
    resize: Callable[[str, str, int], None]


_endpoints: Endpoints | None = None


def install(endpoints: Endpoints) -> None:
    """Let bounds move these endpoints."""
    global _endpoints
    _endpoints = endpoints


def serve(_method: str, _path: str, headers: gateway.Headers, body: bytes) -> gateway.Response:
    """Answer one call over HTTP."""
    return gateway.json_answer(call(gateway.operation_of(headers), gateway.json_body(body)))


def call(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one operation on a request checked against the service's model."""
    handler = _OPERATIONS.get(operation)
    if handler is None:
        raise ApiError("UnsupportedOperation", f"the emulator does not support application-autoscaling:{operation}")
    shape = _model.operation_model(operation).input_shape
    report = ParamValidator().validate(dict(request), shape)
    if report.has_errors():
        raise ApiError("ValidationException", report.generate_report())
    if request["ServiceNamespace"] != _NAMESPACE:
        raise ApiError(
            "ValidationException", f"the emulator scales only {_NAMESPACE}, got {request['ServiceNamespace']}"
        )
    if operation == "RegisterScalableTarget":
        return _register(request)
    with _lock:
        return handler(request)


def _register(request: Mapping[str, Any]) -> dict[str, Any]:
    """Register a variant that there is, and move its capacity if it lies outside the bounds, whether given or kept."""
    named = re.fullmatch(r"endpoint/([^/]+)/variant/([^/]+)", str(request["ResourceId"]))
    if named is None:
        raise ApiError(
            "ValidationException", f"ResourceId must be endpoint/<name>/variant/<name>, got {request['ResourceId']}"
        )
    endpoint, variant = named.groups()
    found = (_endpoints.describe(endpoint) if _endpoints else None) or {}
    counts = {each["VariantName"]: each["DesiredInstanceCount"] for each in found.get("ProductionVariants", [])}
    if variant not in counts:
        raise ApiError("ValidationException", f"No SageMaker endpoint variant found for {request['ResourceId']}")
    with _lock:
        answer = register(request)
        target = _targets[_key(request)]
    wanted = max(target["MinCapacity"], min(counts[variant], target["MaxCapacity"]))
    if _endpoints and wanted != counts[variant]:
        # One that moves is left alone; the service would look again later.
        with suppress(ApiError):
            _endpoints.resize(endpoint, variant, wanted)
    return answer


def register(request: Mapping[str, Any]) -> dict[str, Any]:
    """RegisterScalableTarget: new, or an update that keeps what the request leaves out."""
    key = _key(request)
    known = _targets.get(key)
    lowest, highest = (request.get(name, (known or {}).get(name)) for name in ("MinCapacity", "MaxCapacity"))
    if lowest is None or highest is None:
        raise ApiError("ValidationException", "MinCapacity and MaxCapacity are required for a new scalable target")
    if not 0 <= lowest <= highest:
        raise ApiError(
            "ValidationException", f"Maximum capacity cannot be less than minimum capacity: {lowest}, {highest}"
        )
    arn = (known or {}).get("ScalableTargetARN") or _arn("scalable-target", uuid.uuid4().hex[:30])
    _targets[key] = {
        **(known or {"CreationTime": time.time(), "RoleARN": _service_role()}),
        **{name: value for name, value in request.items() if name != "Tags"},
        "MinCapacity": lowest,
        "MaxCapacity": highest,
        "ScalableTargetARN": arn,
    }
    return {"ScalableTargetARN": arn}


def deregister(request: Mapping[str, Any]) -> dict[str, Any]:
    """DeregisterScalableTarget, and the policies that hang on it."""
    key = _key(request)
    if _targets.pop(key, None) is None:
        raise ApiError("ObjectNotFoundException", f"No scalable target found for {_describe(key)}")
    for policy in [policy for policy in _policies if policy[1] == key]:
        del _policies[policy]
    return {}


def describe(request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeScalableTargets."""
    wanted = request.get("ResourceIds")
    dimension = request.get("ScalableDimension")
    return {
        "ScalableTargets": [
            target
            for target in _targets.values()
            if (not wanted or target["ResourceId"] in wanted) and dimension in (None, target["ScalableDimension"])
        ]
    }


def put_policy(request: Mapping[str, Any]) -> dict[str, Any]:
    """PutScalingPolicy on a registered target."""
    key = _key(request)
    if key not in _targets:
        raise ApiError("ObjectNotFoundException", f"No scalable target registered for {_describe(key)}")
    known = _policies.get((request["PolicyName"], key), {})
    name = f"{uuid.uuid4()}:resource/sagemaker/{request['ResourceId']}:policyName/{request['PolicyName']}"
    arn = known.get("PolicyARN") or _arn("scalingPolicy", name, service="autoscaling")
    policy = {"CreationTime": time.time(), **known, **request, "PolicyARN": arn, "Alarms": []}
    _policies[request["PolicyName"], key] = policy
    return {"PolicyARN": arn, "Alarms": []}


def delete_policy(request: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteScalingPolicy."""
    if _policies.pop((request["PolicyName"], _key(request)), None) is None:
        raise ApiError("ObjectNotFoundException", f"No scaling policy found: {request['PolicyName']}")
    return {}


def describe_policies(request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeScalingPolicies."""
    names, resource = request.get("PolicyNames"), request.get("ResourceId")
    return {
        "ScalingPolicies": [
            policy
            for policy in _policies.values()
            if (not names or policy["PolicyName"] in names) and resource in (None, policy["ResourceId"])
        ]
    }


_OPERATIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "RegisterScalableTarget": register,
    "DeregisterScalableTarget": deregister,
    "DescribeScalableTargets": describe,
    "PutScalingPolicy": put_policy,
    "DeleteScalingPolicy": delete_policy,
    "DescribeScalingPolicies": describe_policies,
}


def _key(request: Mapping[str, Any]) -> _Key:
    dimension = request["ScalableDimension"]
    if dimension not in _DIMENSIONS:
        raise ApiError(
            "ValidationException", f"Unsupported service namespace, resource type or scalable dimension: {dimension}"
        )
    return request["ServiceNamespace"], request["ResourceId"], dimension


def _describe(key: _Key) -> str:
    return f"service namespace: {key[0]}, resource ID: {key[1]}, scalable dimension: {key[2]}"


def _arn(kind: str, name: str, *, service: str = "application-autoscaling") -> str:
    who = gateway.caller()
    separator = ":" if service == "autoscaling" else "/"
    return f"arn:aws:{service}:{who.region}:{who.account}:{kind}{separator}{name}"


def _service_role() -> str:
    role = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
    return (
        f"arn:aws:iam::{gateway.caller().account}:role/{role}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    )

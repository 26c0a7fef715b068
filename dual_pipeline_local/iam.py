"""Who may do what: authorization of calls that do not arrive over HTTP, and iam:PassRole.

Calls over HTTP are authorized by the gateway (ministack's evaluator: identity policies, permissions boundary, session
policies, resource policies, explicit deny). The functions here ask the same evaluator for the same answer about a
principal named by its ARN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import ministack, settings
from .errors import ApiError


@dataclass(frozen=True)
class Caller:
    """Who calls: the ARN of a role, an assumed role, a user or the account's root."""

    arn: str
    account: str
    region: str


def role_name(role_arn: str) -> str:
    """The name of a role from its ARN or from an assumed role's ARN."""
    if match := re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/(?:.*/)?([^/]+)", role_arn):
        return match[1]
    if match := re.fullmatch(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/([^/]+)/[^/]+", role_arn):
        return match[1]
    raise ApiError("ValidationException", f"Invalid role ARN: {role_arn}")


def find_role(role_arn: str) -> dict[str, Any] | None:
    """The stored role of that ARN, or None."""
    name = role_name(role_arn)
    account = role_arn.split(":")[4]
    role: dict[str, Any] | None = ministack.load("services.iam")._roles.get_scoped(account, None, name)
    return role


def authorize(caller: Caller, action: str, resource: str, *, context: Mapping[str, str] | None = None) -> None:
    """Raise AccessDeniedException unless the caller's policies allow `action` on `resource`."""
    evaluator = ministack.load("core.iam_evaluator")
    policies, limits = _policies(caller)
    if policies is None:
        return
    request = evaluator.EvalContext(
        principal_arn=principal_arn(caller),
        principal_type="User" if ":user/" in caller.arn else "AssumedRole",
        principal_account=caller.account,
        action=action,
        resource_arn=resource,
        region=caller.region,
        secure_transport=True,
        service_context={key.lower(): value for key, value in (context or {}).items()},
    )
    result = evaluator.evaluate(request, policies, *limits)
    service = action.partition(":")[0]
    found = evaluator._resource_policy(service, resource)
    if found is not None:
        result = evaluator.combine_resource_policy(result, request, *found, required=service == "kms", limits=limits)
    if result.decision == "Allow":
        return
    reason = (
        "with an explicit deny in an identity-based policy"
        if result.decision == "Deny"
        else f"because no identity-based policy allows the {action} action"
    )
    raise ApiError(
        "AccessDeniedException",
        f"User: {request.principal_arn} is not authorized to perform: {action} on resource: {resource} {reason}",
        403,
    )


def is_allowed(caller: Caller, action: str, resource: str, *, context: Mapping[str, str] | None = None) -> bool:
    """Whether `authorize` would let the call pass."""
    try:
        authorize(caller, action, resource, context=context)
    except ApiError:
        return False
    return True


def check_pass_role(caller: Caller, role_arn: str, service: str) -> None:
    """Raise unless the caller may pass the role to the service and the role's trust policy admits the service."""
    authorize(caller, "iam:PassRole", role_arn, context={"iam:PassedToService": service})
    if not trusts(role_arn, service):
        raise ApiError(
            "ValidationException",
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{service}' to assume the role.",
        )


def trusts(role_arn: str, service: str, *, context: Mapping[str, str] | None = None) -> bool:
    """Whether the role exists and its trust policy lets the service principal assume it.

    aws:SourceAccount is the role's account; aws:SourceArn some resource of the service there unless `context` names it.
    """
    role = find_role(role_arn)
    if role is None:
        return False
    evaluator = ministack.load("core.iam_evaluator")
    account = role_arn.split(":")[4]
    region = settings.current().region
    keys = {
        "aws:SourceAccount": account,
        "aws:SourceArn": f"arn:aws:{service.partition('.')[0]}:{region}:{account}:any/any",
        **(context or {}),
    }
    request = evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=region,
        secure_transport=True,
        service_context={key.lower(): value for key, value in keys.items()},
    )
    decision: str = evaluator.evaluate_resource_policy(
        _with_resource(role["AssumeRolePolicyDocument"]), request, service=service
    ).decision
    return decision == "Allow"


def service_may(principal: str, action: str, resource: str, *, source_arn: str | None) -> bool:
    """Whether the resource's own policy lets the service principal call `action`.

    It acts on behalf of `source_arn`, or says nothing of its source.
    """
    evaluator = ministack.load("core.iam_evaluator")
    found = evaluator._resource_policy(action.partition(":")[0], resource)
    if not found:
        return False
    account = resource.split(":")[4]
    request = evaluator.EvalContext(
        principal_arn=principal,
        principal_type="Service",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=resource.split(":")[3],
        secure_transport=True,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": account} if source_arn else {},
    )
    decision: str = evaluator.evaluate_resource_policy(found[0], request, service=principal).decision
    return decision == "Allow"


def _with_resource(document: Any) -> dict[str, Any]:
    """A trust policy as a resource policy: its statements name no Resource."""
    parsed = json.loads(document) if isinstance(document, str) else document
    statements = parsed.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    return {**parsed, "Statement": [{"Resource": "*", **statement} for statement in statements]}


def _policies(caller: Caller) -> tuple[list[Any] | None, list[Any]]:
    """The identity policies of a principal (None: root, everything) and the limits on them."""
    evaluator, iam = ministack.load("core.iam_evaluator"), ministack.load("services.iam")
    if caller.arn.endswith(":root"):
        return None, []
    if ":user/" in caller.arn:
        name = caller.arn.rsplit("/", 1)[-1]
        return (
            evaluator._gather_user_policies(name, caller.account),
            evaluator._permissions_boundary(iam._users, name, caller.account),
        )
    name = role_name(caller.arn)
    return (
        evaluator._gather_role_policies(name, caller.account),
        evaluator._permissions_boundary(iam._roles, name, caller.account),
    )


def principal_arn(caller: Caller) -> str:
    """Who AWS says has called: a role never calls itself, a session of it does."""
    if ":role/" not in caller.arn:
        return caller.arn
    return f"arn:aws:sts::{caller.account}:assumed-role/{role_name(caller.arn)}/local"

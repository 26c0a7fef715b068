"""Delivery of EventBridge rules and schedules: with the target's role, or by the target's resource policy.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html (roles of targets) and
eb-use-resource-based.html (SNS, SQS). ministack matches events and renders input; it delivers without asking IAM.
"""

from __future__ import annotations

import json
import logging
import uuid
from contextvars import ContextVar
from typing import Any

from . import iam, ministack
from .errors import ApiError

# ministack swallows what a delivery raises; this carries it past
_failure: ContextVar[ApiError | None] = ContextVar("failure", default=None)
_log = logging.getLogger("dual_pipeline_local.eventbridge")


def install() -> None:
    """Put authorization and dead-letter queues between ministack's rules and their targets."""
    service = ministack.load("services.eventbridge")
    deliver = service._invoke_target

    def invoke_target(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        scheduled = "Target" in rule
        principal = "scheduler.amazonaws.com" if scheduled else "events.amazonaws.com"
        try:
            _authorize(target, rule, principal)
            failure = _failure.set(None)
            try:
                deliver(target, event, rule, view)
                if refusal := _failure.get():
                    raise refusal
            finally:
                _failure.reset(failure)
        except ApiError as error:
            _log.error("delivery refused: rule %s, target %s: %s", rule.get("Name"), target.get("Arn"), error)
            _dead_letter(target, event, rule, error)

    def start_execution(arn: str, payload: str) -> None:
        machines = ministack.load("services.stepfunctions")
        name = f"{uuid.uuid4()}_{uuid.uuid4()}"
        status, _, body = machines._start_execution({"stateMachineArn": arn, "input": payload, "name": name})
        if status >= 400:
            answer = json.loads(body)
            _failure.set(ApiError(answer.get("__type", "InternalError"), answer.get("message", ""), status))

    service._invoke_target = invoke_target
    service._dispatch_to_stepfunctions = start_execution


def _authorize(target: dict[str, Any], rule: dict[str, Any], principal: str) -> None:
    arn = str(target.get("Arn", ""))
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    role = target.get("RoleArn")
    if role or service == "states":
        _authorize_role(str(role or ""), service, arn, rule, principal)
    elif service in ("sns", "sqs"):
        _authorize_service(service, arn, rule, principal)


def _authorize_role(role: str, service: str, arn: str, rule: dict[str, Any], principal: str) -> None:
    action = {"states": "states:StartExecution", "sns": "sns:Publish", "sqs": "sqs:SendMessage"}.get(service)
    if action is None:
        raise ApiError("InvalidTarget", f"targets of {service} with a role are not supported by the emulator")
    if not role or not iam.trusts(role, principal, context={"aws:SourceArn": str(rule.get("Arn", ""))}):
        raise ApiError("NO_PERMISSIONS", f"{principal} cannot assume the role {role or '(none)'}", 403)
    region, account = arn.split(":")[3:5]
    iam.authorize(iam.Caller(arn=role, account=account, region=region), action, arn)


def _authorize_service(service: str, arn: str, rule: dict[str, Any], principal: str) -> None:
    """The topic's or queue's policy must let the service principal in; to a topic it does not say for whom it acts."""
    action = {"sns": "sns:Publish", "sqs": "sqs:SendMessage"}[service]
    if not iam.service_may(principal, action, arn, source_arn=None if service == "sns" else str(rule.get("Arn", ""))):
        raise ApiError("NO_PERMISSIONS", f"the policy of {arn} does not let {principal} call {action}", 403)


def _dead_letter(target: dict[str, Any], event: Any, rule: dict[str, Any], error: ApiError) -> None:
    """Send the event to the target's dead-letter queue, if it has one that lets EventBridge in."""
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue:
        return
    if not iam.service_may("events.amazonaws.com", "sqs:SendMessage", queue, source_arn=str(rule.get("Arn", ""))):
        _log.error("event lost: the policy of %s does not let events.amazonaws.com send to it", queue)
        return
    service = ministack.load("services.eventbridge")
    body = json.dumps({"event": event, "ERROR_CODE": error.code, "ERROR_MESSAGE": error.message}, default=str)
    service._dispatch_to_sqs(ministack.load("core.arn").parse_arn(queue), body)

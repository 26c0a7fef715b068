"""EventBridge Scheduler: groups, schedules, and the clock that starts their targets with their roles.

Source: https://docs.aws.amazon.com/scheduler/latest/APIReference/
"""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from . import gateway, iam, schedule_expressions, schedule_targets, sessions
from .clock import CLOCK
from .errors import ApiError
from .sagemaker.api import check_shape, epoch

DEFAULT_GROUP: Final = "default"
_RETRY_POLICY: Final = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
_LONGEST_PAUSE: Final = timedelta(minutes=5)
# a thread cannot wait for centuries at once
_LONGEST_WAIT_S: Final = 1.0  # a clock that was moved is noticed within it

Record = dict[str, Any]
Deliver = Callable[[Mapping[str, Any], Mapping[str, str], str], None]

_model: Any = botocore.session.Session().get_service_model("scheduler")
_log = logging.getLogger("dual_pipeline_local.scheduler")


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One start of a schedule's target, tried until it succeeds or its retry policy is spent."""

    group: str
    schedule: str
    due: datetime
    id_: str
    attempt: int = 1


class Scheduler:
    """The schedules of one account and region; `run` starts what is due, `now` tells the time.

    Due is a schedule to the second; AWS promises the minute.
    """

    def __init__(self, *, deliver: Deliver, now: Callable[[], datetime] = CLOCK.now) -> None:
        self._deliver = deliver
        self._now = now
        self._changed = threading.Condition(threading.RLock())
        self._groups: dict[str, Record] = {}
        self._schedules: dict[tuple[str, str], Record] = {}
        self._due: dict[tuple[str, str], datetime] = {}
        self._operations: dict[str, Callable[[Record, iam.Caller], Record]] = {
            "CreateScheduleGroup": self._create_group,
            "GetScheduleGroup": lambda request, who: dict(self._group(request.get("Name"), who)),
            "DeleteScheduleGroup": self._delete_group,
            "ListScheduleGroups": self._list_groups,
            "CreateSchedule": self._create,
            "UpdateSchedule": self._update,
            "GetSchedule": lambda request, _who: dict(self._schedule(request)),
            "DeleteSchedule": self._delete,
            "ListSchedules": self._list,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": lambda request, _who: {"Tags": self._tagged(request)["Tags"]},
        }

    def call(self, operation: str, request: Mapping[str, Any], who: iam.Caller) -> Record:
        """Run one operation on a request checked against the service's model."""
        handler = self._operations.get(operation)
        if handler is None:
            raise ApiError("ValidationException", f"the emulator does not support scheduler:{operation}")
        check_shape(_model.operation_model(operation).input_shape, dict(request))
        with self._changed:
            answer = handler(dict(request), who)
            self._changed.notify_all()
        members = _model.operation_model(operation).output_shape.members
        return {name: value for name, value in answer.items() if name in members and value is not None}

    def run(self) -> None:
        """Start what is due, for ever."""
        while True:
            with self._changed:
                self._changed.wait(self._pause())
                started = self.take_due()
            for invocation, schedule in started:
                threading.Thread(target=self._invoke, args=(invocation, schedule), daemon=True).start()

    def take_due(self) -> list[tuple[Invocation, Record]]:
        """The invocations that are due now; each is taken once."""
        with self._changed:
            now = self._now()
            taken = []
            for (group, name), due in sorted(self._due.items(), key=lambda item: item[1]):
                if due <= now:
                    schedule = self._schedules[group, name]
                    taken.append((Invocation(group=group, schedule=name, due=due, id_=str(uuid.uuid4())), schedule))
                    self._plan((group, name), after=max(now, due + timedelta(seconds=1)))
            return taken

    def attempt(self, invocation: Invocation, schedule: Record) -> Invocation | None:
        """Try once; None when it succeeded or was given up, else the next try."""
        target, policy = schedule["Target"], {**_RETRY_POLICY, **schedule["Target"].get("RetryPolicy", {})}
        words = {
            "<aws.scheduler.schedule-arn>": schedule["Arn"],
            "<aws.scheduler.scheduled-time>": _stamp(invocation.due),
            "<aws.scheduler.execution-id>": invocation.id_,
            "<aws.scheduler.attempt-number>": str(invocation.attempt),
        }
        group_arn = str(self._groups.get(invocation.group, {}).get("Arn", ""))
        try:
            self._deliver(target, words, group_arn)
        except (ApiError, BotoCoreError, ClientError) as error:
            _log.warning("schedule %s, attempt %d: %s", schedule["Arn"], invocation.attempt, error)
            spent = (
                "MaximumRetryAttempts"
                if invocation.attempt > policy["MaximumRetryAttempts"]
                else "MaximumEventAgeInSeconds"
                if self._now() - invocation.due >= timedelta(seconds=policy["MaximumEventAgeInSeconds"])
                else None
            )
            if spent is None:
                return replace(invocation, attempt=invocation.attempt + 1)
            _bury(schedule, invocation, error, condition=spent, group_arn=group_arn)
        self._complete(invocation, schedule)
        return None

    def _invoke(self, invocation: Invocation, schedule: Record) -> None:
        following: Invocation | None = invocation
        while following is not None:
            following = self.attempt(following, schedule)
            if following is not None:
                threading.Event().wait(min(_LONGEST_PAUSE, timedelta(seconds=2 ** (following.attempt - 2))).seconds)

    def _pause(self) -> float | None:
        if not self._due:
            return None
        return min(max(0.0, (min(self._due.values()) - self._now()).total_seconds()), _LONGEST_WAIT_S)

    def _plan(self, key: tuple[str, str], *, after: datetime) -> None:
        """Note when the schedule is due next, at or after an instant; a disabled or ended one never is."""
        schedule = self._schedules[key]
        start = _time(schedule.get("StartDate")) or schedule["CreationDate"]
        due = schedule_expressions.parse(
            schedule["ScheduleExpression"], timezone=schedule["ScheduleExpressionTimezone"], start=start
        )(max(after, start) if not _once(schedule) else after)
        end = _time(schedule.get("EndDate"))
        if due is None or schedule["State"] != "ENABLED" or (end is not None and due > end and not _once(schedule)):
            self._due.pop(key, None)
        else:
            self._due[key] = due

    def _complete(self, invocation: Invocation, schedule: Record) -> None:
        """Delete a schedule after its last invocation, if it asks for that."""
        key = (invocation.group, invocation.schedule)
        with self._changed:
            if (
                schedule["ActionAfterCompletion"] == "DELETE"
                and self._schedules.get(key) is schedule
                and key not in self._due
            ):
                del self._schedules[key]

    def _create(self, request: Record, who: iam.Caller) -> Record:
        key = _key(request)
        group = self._group(key[0], who)
        if key in self._schedules:
            raise ApiError("ConflictException", f"Schedule {key[1]} already exists.", 409)
        now = self._now()
        arn = f"{_base(who)}:schedule/{group['Name']}/{key[1]}"
        return self._put(key, request, {"Arn": arn, "CreationDate": now, "LastModificationDate": now}, who)

    def _update(self, request: Record, who: iam.Caller) -> Record:
        known = self._schedule(request)
        kept = {name: known[name] for name in ("Arn", "CreationDate")}
        return self._put(_key(request), request, {**kept, "LastModificationDate": self._now()}, who)

    def _put(self, key: tuple[str, str], request: Record, kept: Record, who: iam.Caller) -> Record:
        if request["FlexibleTimeWindow"]["Mode"] != "OFF":
            raise ApiError("ValidationException", "the emulator has no flexible time windows: set Mode to OFF")
        schedule = {
            "ScheduleExpressionTimezone": "UTC",
            "State": "ENABLED",
            "ActionAfterCompletion": "NONE",
            **{name: value for name, value in request.items() if name != "ClientToken"},
            **kept,
            "GroupName": key[0],
        }
        target = schedule["Target"]
        schedule["Target"] = {**target, "RetryPolicy": {**_RETRY_POLICY, **target.get("RetryPolicy", {})}}
        schedule_expressions.parse(
            schedule["ScheduleExpression"],
            timezone=schedule["ScheduleExpressionTimezone"],
            start=schedule["CreationDate"],
        )
        schedule_targets.operation_of(target, {})
        iam.authorize(who, "iam:PassRole", target["RoleArn"], context={"iam:PassedToService": schedule_targets.SERVICE})
        group_arn = str(self._groups[key[0]]["Arn"])
        if not iam.trusts(target["RoleArn"], schedule_targets.SERVICE, context={"aws:SourceArn": group_arn}):
            raise ApiError(
                "ValidationException",
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
            )
        self._schedules[key] = schedule
        # a moment that has passed is due at once
        self._plan(key, after=datetime.min.replace(tzinfo=UTC) if _once(schedule) else schedule["LastModificationDate"])
        return {"ScheduleArn": schedule["Arn"]}

    def _delete(self, request: Record, _who: iam.Caller) -> Record:
        self._schedule(request)
        del self._schedules[_key(request)]
        self._due.pop(_key(request), None)
        return {}

    def _list(self, request: Record, _who: iam.Caller) -> Record:
        found = [
            {**schedule, "Target": {"Arn": schedule["Target"]["Arn"]}}
            for (group, name), schedule in sorted(self._schedules.items())
            if request.get("GroupName") in (None, group)
            and name.startswith(request.get("NamePrefix", ""))
            and request.get("State") in (None, schedule["State"])
        ]
        members = _model.shape_for("ScheduleSummary").members
        return _page("Schedules", [{name: item[name] for name in members if name in item} for item in found], request)

    def _create_group(self, request: Record, who: iam.Caller) -> Record:
        name = request["Name"]
        if name in self._groups or name == DEFAULT_GROUP:
            raise ApiError("ConflictException", f"Schedule group {name} already exists.", 409)
        self._add_group(name, who)["Tags"] = request.get("Tags", [])
        return {"ScheduleGroupArn": self._groups[name]["Arn"]}

    def _delete_group(self, request: Record, who: iam.Caller) -> Record:
        if request["Name"] == DEFAULT_GROUP:
            raise ApiError("ValidationException", "The default schedule group cannot be deleted.")
        name = self._group(request["Name"], who)["Name"]
        for key in [key for key in self._schedules if key[0] == name]:
            del self._schedules[key]
            self._due.pop(key, None)
        del self._groups[name]
        return {}

    def _list_groups(self, request: Record, who: iam.Caller) -> Record:
        self._group(DEFAULT_GROUP, who)
        prefix = request.get("NamePrefix", "")
        members = _model.shape_for("ScheduleGroupSummary").members
        found = [
            {member: group[member] for member in members}
            for name, group in sorted(self._groups.items())
            if name.startswith(prefix)
        ]
        return _page("ScheduleGroups", found, request)

    def _group(self, name: str | None, who: iam.Caller) -> Record:
        name = name or DEFAULT_GROUP
        if name == DEFAULT_GROUP and name not in self._groups:
            return self._add_group(name, who)
        if name not in self._groups:
            raise ApiError("ResourceNotFoundException", f"Schedule group {name} does not exist.", 404)
        return self._groups[name]

    def _add_group(self, name: str, who: iam.Caller) -> Record:
        now = self._now()
        group = {"Name": name, "Arn": f"{_base(who)}:schedule-group/{name}", "State": "ACTIVE", "Tags": []}
        self._groups[name] = {**group, "CreationDate": now, "LastModificationDate": now}
        return self._groups[name]

    def _tag(self, request: Record, who: iam.Caller) -> Record:
        given = request["Tags"]
        self._untag({"ResourceArn": request["ResourceArn"], "TagKeys": [tag["Key"] for tag in given]}, who)
        self._tagged(request)["Tags"] += given
        return {}

    def _untag(self, request: Record, _who: iam.Caller) -> Record:
        group = self._tagged(request)
        group["Tags"] = [tag for tag in group["Tags"] if tag["Key"] not in request["TagKeys"]]
        return {}

    def _tagged(self, request: Mapping[str, Any]) -> Record:
        found = [group for group in self._groups.values() if group["Arn"] == request["ResourceArn"]]
        if not found:
            raise ApiError("ResourceNotFoundException", f"Schedule group {request['ResourceArn']} does not exist.", 404)
        return found[0]

    def _schedule(self, request: Mapping[str, Any]) -> Record:
        key = _key(request)
        if key not in self._schedules:
            raise ApiError("ResourceNotFoundException", f"Schedule {key[1]} does not exist.", 404)
        return self._schedules[key]


def deliver(target: Mapping[str, Any], words: Mapping[str, str], group_arn: str) -> None:
    """Call the target's operation as its role."""
    schedule_targets.operation_of(target, words).call(target["RoleArn"], group_arn=group_arn)


def request_of(method: str, path: str, query: Mapping[str, Any], body: bytes) -> tuple[str, Record]:
    """The operation and the parameters of a request in the REST protocol, by the service's model."""
    for name in _model.operation_names:
        operation = _model.operation_model(name)
        uri = re.sub(r"\{(\w+)\}", r"(?P<\1>.+)", operation.http["requestUri"])  # ARNs have slashes
        match = re.fullmatch(uri, path)
        if operation.http["method"] != method or match is None:
            continue
        members = operation.input_shape.members
        named = {member.serialization.get("name", key): key for key, member in members.items()}
        placed = {named[key]: unquote(value) for key, value in match.groupdict().items()}
        asked = {named[key]: _asked(members[named[key]], value) for key, value in query.items() if key in named}
        return name, {**(gateway.json_body(body) if body else {}), **asked, **placed}
    raise ApiError("UnknownOperationException", f"scheduler has no {method} {path}", 404)


def resource_of(method: str, path: str, query: Mapping[str, Any], body: bytes, *, region: str, account: str) -> str:
    """The ARN that IAM checks a call on; lists have none.

    Source: Service Authorization Reference, "... for Amazon EventBridge Scheduler".
    """
    base = f"arn:aws:scheduler:{region}:{account}"
    try:
        operation, request = request_of(method, path, query, body)
    except ApiError:
        return "*"
    if operation.startswith("List"):
        return "*"
    if operation.endswith("Group"):
        return f"{base}:schedule-group/{request['Name']}"
    return f"{base}:schedule/{'/'.join(_key(request))}" if "Name" in request else str(request.get("ResourceArn", "*"))


def install() -> None:
    """Serve Scheduler instead of ministack's, which neither asks IAM for the target's role nor retries."""
    scheduler = Scheduler(deliver=deliver)

    def serve(method: str, path: str, _headers: gateway.Headers, body: bytes, query: Mapping[str, Any]) -> Any:
        operation, request = request_of(method, path, query, body)
        answer = scheduler.call(operation, request, gateway.caller())
        return 200, {"Content-Type": "application/json"}, json.dumps(answer, default=datetime.timestamp).encode()

    gateway.replace_service("scheduler", call=serve, resource=resource_of)
    threading.Thread(target=scheduler.run, daemon=True, name="scheduler").start()


def _bury(schedule: Record, invocation: Invocation, error: Exception, *, condition: str, group_arn: str) -> None:
    """Send what could not be delivered to the schedule's dead-letter queue, with its role.

    Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
    """
    target = schedule["Target"]
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue:
        _log.error("schedule %s is given up: %s", schedule["Arn"], error)
        return
    code, message = _error(error)
    attributes = {
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        "EXECUTION_ID": invocation.id_,
        "EXHAUSTED_RETRY_CONDITION": condition,
        "RETRY_ATTEMPTS": str(invocation.attempt - 1),
        "SCHEDULED_TIME": _stamp(invocation.due),
        "SCHEDULE_ARN": schedule["Arn"],
        "TARGET_ARN": target["Arn"],
    }
    account, name = queue.split(":")[4:6]
    try:
        sqs = sessions.client(target["RoleArn"], "sqs", service=schedule_targets.SERVICE, source_arn=group_arn)
        url = f"{sqs.meta.endpoint_url}/{account}/{name}"
        sqs.send_message(
            QueueUrl=url,
            MessageBody=target.get("Input") or "{}",
            MessageAttributes={k: {"DataType": "String", "StringValue": v or "-"} for k, v in attributes.items()},
        )
    except (ApiError, BotoCoreError, ClientError) as refusal:
        _log.error("schedule %s is given up, its dead-letter queue too: %s", schedule["Arn"], refusal)


def _error(error: Exception) -> tuple[str, str]:
    if isinstance(error, ClientError):
        return error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    return (error.code, error.message) if isinstance(error, ApiError) else (type(error).__name__, str(error))


def _page(name: str, items: list[Record], request: Record) -> Record:
    token = request.get("NextToken", "0")
    if not re.fullmatch(r"[0-9]{1,9}", token):
        raise ApiError("ValidationException", f"Invalid NextToken {token}.")
    first = int(token)
    last = first + request.get("MaxResults", 100)
    return {name: items[first:last], "NextToken": str(last) if last < len(items) else None}


def _once(schedule: Record) -> bool:
    return str(schedule["ScheduleExpression"]).startswith("at(")


def _key(request: Mapping[str, Any]) -> tuple[str, str]:
    return request.get("GroupName") or DEFAULT_GROUP, request["Name"]


def _base(who: iam.Caller) -> str:
    return f"arn:aws:scheduler:{who.region}:{who.account}"


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(epoch(value), UTC)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _asked(shape: Any, value: Any) -> Any:
    """A parameter of a query as its shape has it; text that is no number is left for the model to refuse."""
    values = value if isinstance(value, list) else [value]
    if shape.type_name == "list":
        return values
    return int(values[0]) if shape.type_name == "integer" and values[0].isdecimal() else values[0]

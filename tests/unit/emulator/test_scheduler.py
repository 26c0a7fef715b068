"""EventBridge Scheduler in the emulator: when schedules are due, what they start, and what becomes of failures."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest

from dual_pipeline_local import iam, schedule_expressions, schedule_targets, scheduler
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.scheduler import Scheduler

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WHO = iam.Caller(arn="arn:aws:iam::123456789012:root", account="123456789012", region="eu-west-1")
DELETE = "arn:aws:scheduler:::aws-sdk:sagemaker:deletePipeline"
ROLE = "arn:aws:iam::123456789012:role/janitor"


class Clock:
    """A time that only tests move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """IAM agrees to everything: it is asked in the tests with a server."""
    monkeypatch.setattr(iam, "trusts", lambda *_, **__: True)


def planned(clock: Clock, deliver: Callable[..., None] = lambda *_: None, **schedule: Any) -> Scheduler:
    """A scheduler with one schedule named `one`."""
    found = Scheduler(deliver=deliver, now=clock)
    target = {"Arn": DELETE, "RoleArn": ROLE, "Input": '{"PipelineName": "p"}', **schedule.pop("Target", {})}
    request = {"Name": "one", "FlexibleTimeWindow": {"Mode": "OFF"}, **schedule, "Target": target}
    found.call("CreateSchedule", request, WHO)
    return found


def due_times(found: Scheduler, clock: Clock, *, minutes: int) -> list[datetime]:
    """What falls due in the next minutes, looked at every ten seconds."""
    times = []
    for _ in range(minutes * 6):
        times += [invocation.due for invocation, _ in found.take_due()]
        clock.pass_(seconds=10)
    return times


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("at(2026-03-02T12:00:00)", "UTC", NOON),
        ("at(2026-03-02T14:30:00)", "Europe/Berlin", NOON + timedelta(hours=1, minutes=30)),
        ("at(2026-03-02T11:59:59)", "UTC", None),
        ("rate(5 minutes)", "UTC", NOON),
        ("rate(1 day)", "UTC", NOON),
        ("cron(15 12 * * ? *)", "UTC", NOON + timedelta(minutes=15)),
        ("cron(0 12 * * ? *)", "UTC", NOON),
        ("cron(0 9 ? * MON-FRI *)", "America/New_York", NOON + timedelta(hours=2)),
        ("cron(0 0 L * ? 2026)", "UTC", datetime(2026, 3, 31, tzinfo=UTC)),
        ("cron(0 0 * * ? 2025)", "UTC", None),
        ("cron(0/15 9-17 ? JAN,mar 2#1 *)", "UTC", NOON),
    ],
)
def test_expressions(expression: str, timezone: str, expected: datetime | None) -> None:
    """One-time, rate and cron expressions are due when AWS's documentation says, in their time zone."""
    assert expected == schedule_expressions.parse(expression, timezone=timezone, start=NOON)(NOON)


@pytest.mark.parametrize(
    "expression",
    [
        "at(tomorrow)",
        "rate(0 minutes)",
        "rate(5 weeks)",
        "rate(99999999999999999 days)",
        "cron(0 12 * * *)",
        "cron(0 12 1 * 1 *)",
        "cron(0 12 ? * ? *)",
        "cron(60 12 * * ? *)",
        "cron(0 12 32 * ? *)",
        "cron(0 12 ? FOO MON *)",
        "now",
    ],
)
def test_bad_expressions_are_refused(expression: str) -> None:
    """An expression that AWS does not have is no schedule."""
    with pytest.raises(ApiError, match="Invalid Schedule Expression"):
        schedule_expressions.parse(expression, timezone="UTC", start=NOON)


def test_unknown_time_zones_are_refused() -> None:
    """A time zone is one of IANA's."""
    with pytest.raises(ApiError, match="Timezone Mars/Olympus"):
        schedule_expressions.parse("rate(1 day)", timezone="Mars/Olympus", start=NOON)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("schedule", "offsets"),
    [
        ({"ScheduleExpression": "at(2026-03-02T12:02:00)"}, [2]),
        ({"ScheduleExpression": "at(2026-03-02T11:00:00)"}, [-60]),
        ({"ScheduleExpression": "rate(2 minutes)"}, [0, 2, 4]),
        ({"ScheduleExpression": "rate(2 minutes)", "StartDate": (NOON + timedelta(minutes=1)).timestamp()}, [1, 3, 5]),
        ({"ScheduleExpression": "rate(2 minutes)", "EndDate": (NOON + timedelta(minutes=3)).timestamp()}, [0, 2]),
        ({"ScheduleExpression": "cron(*/3 * * * ? *)"}, [0, 3]),
        ({"ScheduleExpression": "rate(1 minute)", "State": "DISABLED"}, []),
    ],
)
def test_each_time_is_taken_once(clock: Clock, schedule: dict[str, Any], offsets: list[int]) -> None:
    """A schedule starts its target once per time it is due, between its dates, unless it is disabled."""
    found = planned(clock, **schedule)
    assert [NOON + timedelta(minutes=offset) for offset in offsets] == due_times(found, clock, minutes=6)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("far", ["at(9999-12-31T23:59:59)", "rate(999999999 days)"])
def test_a_schedule_of_a_far_day_holds_no_other_up(clock: Clock, far: str) -> None:
    """The clock goes on beside one that is due after centuries, or never again."""
    started: SimpleQueue[Any] = SimpleQueue()
    found = planned(clock, lambda target, *_: started.put(target["Input"]), ScheduleExpression=far)
    found.take_due()
    threading.Thread(target=found.run, daemon=True).start()
    target = {"Arn": DELETE, "RoleArn": ROLE, "Input": '{"PipelineName": "near"}'}
    request = {"Name": "near", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    time.sleep(0.1)  # until the clock waits for the far one
    found.call("CreateSchedule", {**request, "ScheduleExpression": "at(2026-03-02T12:00:00)"}, WHO)
    assert '{"PipelineName": "near"}' == started.get(timeout=5)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Name": "a b"}, "Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expr"),
        (
            {"Name": "n" * 65},
            "at 'name' failed to satisfy constraint: Member must have length less than or equal to 64",
        ),
        (
            {"State": "MAYBE"},
            "Value 'MAYBE' at 'state' failed to satisfy constraint: Member must satisfy enum value set",
        ),
        ({"Target": {"RetryPolicy": {"MaximumRetryAttempts": 186}}}, "must have value less than or equal to 185"),
        ({"Colour": "red"}, "Unknown member 'Colour'"),
    ],
)
def test_requests_are_held_to_the_model(clock: Clock, change: dict[str, Any], complaint: str) -> None:
    """Patterns, lengths, enums and ranges, as AWS does."""
    with pytest.raises(ApiError, match=re.escape(complaint)):
        planned(clock, ScheduleExpression="rate(1 day)", **change)


def test_an_invented_token_of_a_page_is_refused(clock: Clock) -> None:
    """Only the service's own tokens go on."""
    with pytest.raises(ApiError, match="Invalid NextToken garbage"):
        Scheduler(deliver=lambda *_: None, now=clock).call("ListSchedules", {"NextToken": "garbage"}, WHO)


def test_a_tagged_group_is_named_by_its_arn() -> None:
    """The server hands paths over decoded, slashes in ARNs included; a query's lists stay lists."""
    arn = "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/g"
    body = b'{"Tags": [{"Key": "a", "Value": "b"}]}'
    tagged = scheduler.request_of("POST", f"/tags/{arn}", {}, body)
    assert ("TagResource", {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]}) == tagged
    untagged = scheduler.request_of("DELETE", f"/tags/{arn}", {"TagKeys": ["a", "b"]}, b"")
    assert ("UntagResource", {"ResourceArn": arn, "TagKeys": ["a", "b"]}) == untagged


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(("action", "left"), [("DELETE", []), ("NONE", ["one"])])
def test_completed_schedules_are_deleted_if_they_ask(clock: Clock, action: str, left: list[str]) -> None:
    """ActionAfterCompletion DELETE removes a one-time schedule after its target was started."""
    found = planned(clock, ScheduleExpression="at(2026-03-02T12:00:00)", ActionAfterCompletion=action)
    (taken,) = found.take_due()
    assert found.attempt(*taken) is None
    assert left == [item["Name"] for item in found.call("ListSchedules", {}, WHO)["Schedules"]]


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("policy", "pause", "attempts"),
    [
        ({"MaximumRetryAttempts": 2}, 1, 3),
        ({"MaximumRetryAttempts": 0}, 1, 1),
        ({"MaximumEventAgeInSeconds": 60}, 25, 4),
    ],
)
def test_failures_are_retried(clock: Clock, policy: dict[str, int], pause: int, attempts: int) -> None:
    """A failing target is tried again until the retry policy is spent, by attempts or by age."""
    tried: list[Mapping[str, str]] = []

    def deliver(_target: object, words: Mapping[str, str], _group: str) -> None:
        tried.append(words)
        raise ApiError("ThrottlingException", "slow down")

    found = planned(clock, deliver, ScheduleExpression="at(2026-03-02T12:00:00)", Target={"RetryPolicy": policy})
    following: scheduler.Invocation | None
    ((following, schedule),) = found.take_due()
    while following is not None:
        following = found.attempt(following, schedule)
        clock.pass_(seconds=pause)
    assert [str(n) for n in range(1, attempts + 1)] == [words["<aws.scheduler.attempt-number>"] for words in tried]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Arn": DELETE, "Input": '{"PipelineName": "p"}'}, ("sagemaker", "DeletePipeline", {"PipelineName": "p"})),
        (
            {"Arn": "arn:aws:scheduler:::aws-sdk:sfn:startExecution", "Input": '{"StateMachineArn": "m"}'},
            ("stepfunctions", "StartExecution", {"stateMachineArn": "m"}),
        ),
        (
            {
                "Arn": "arn:aws:states:eu-west-1:123456789012:stateMachine:m",
                "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
            },
            (
                "stepfunctions",
                "StartExecution",
                {
                    "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:m",
                    "input": '{"at": "2026-03-02T12:00:00Z"}',
                },
            ),
        ),
        (
            {
                "Arn": "arn:aws:events:eu-west-1:123456789012:event-bus/default",
                "Input": '{"a": 1}',
                "EventBridgeParameters": {"Source": "mine", "DetailType": "Tick"},
            },
            (
                "events",
                "PutEvents",
                {
                    "Entries": [
                        {
                            "EventBusName": "arn:aws:events:eu-west-1:123456789012:event-bus/default",
                            "Source": "mine",
                            "DetailType": "Tick",
                            "Detail": '{"a": 1}',
                        }
                    ]
                },
            ),
        ),
    ],
)
def test_targets(target: dict[str, Any], expected: tuple[str, str, dict[str, Any]]) -> None:
    """Universal targets call any operation with its own parameters, templated ones their one operation."""
    words = {"<aws.scheduler.scheduled-time>": "2026-03-02T12:00:00Z"}
    found = schedule_targets.operation_of(target, words)
    assert expected == (found.service, found.name, found.parameters)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ({"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:describePipeline"}, "only reads"),
        ({"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEverything"}, "no action deleteEverything"),
        ({"Arn": DELETE, "Input": "[]"}, "JSON object"),
        ({"Arn": DELETE, "Input": "{"}, "Invalid target"),
        ({"Arn": "arn:aws:kinesis:eu-west-1:123456789012:stream/s"}, "not a target that the emulator has"),
    ],
)
def test_impossible_targets_are_refused(target: dict[str, Any], complaint: str) -> None:
    """What cannot be a target is refused when the schedule is created."""
    with pytest.raises(ApiError, match=complaint):
        schedule_targets.operation_of(target, {})


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "expected"),
    [
        ("POST", "/schedules/s", {}, b'{"GroupName": "g"}', "schedule/g/s"),
        ("GET", "/schedules/s", {"groupName": ["g"]}, b"", "schedule/g/s"),
        ("DELETE", "/schedules/s", {}, b"", "schedule/default/s"),
        ("POST", "/schedule-groups/g", {}, b"{}", "schedule-group/g"),
    ],
)
def test_iam_resources(method: str, path: str, query: dict[str, Any], body: bytes, expected: str) -> None:
    """IAM checks a schedule under its group, wherever the request names it."""
    found = scheduler.resource_of(method, path, query, body, region="eu-west-1", account="123456789012")
    assert f"arn:aws:scheduler:eu-west-1:123456789012:{expected}" == found


@pytest.mark.usefixtures("trusting")
def test_groups_take_their_schedules_with_them(clock: Clock) -> None:
    """A schedule lives in a group that exists, and goes with it."""
    found = Scheduler(deliver=lambda *_: None, now=clock)
    request = {
        "Name": "one",
        "GroupName": "g",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": DELETE, "RoleArn": ROLE},
    }
    with pytest.raises(ApiError, match="Schedule group g does not exist"):
        found.call("CreateSchedule", request, WHO)
    found.call("CreateScheduleGroup", {"Name": "g"}, WHO)
    found.call("CreateSchedule", request, WHO)
    found.call("DeleteScheduleGroup", {"Name": "g"}, WHO)
    with pytest.raises(ApiError, match="Schedule one does not exist"):
        found.call("GetSchedule", {"Name": "one", "GroupName": "g"}, WHO)

"""Time that is moved forward over HTTP: what passes at once, and what does not."""

import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

import pytest

from dual_pipeline_local.clock import CLOCK_PATH
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator-clock")]

STATES = "states.amazonaws.com"
DAY = 24 * 3600


def clock(emulator: Any, body: bytes | None = None) -> Any:
    """What the clock answers; with a body it is moved."""
    with urllib.request.urlopen(emulator.settings.endpoint_url + CLOCK_PATH, body) as answer:
        return json.load(answer)


def forward(emulator: Any, seconds: float) -> Any:
    return clock(emulator, json.dumps({"forward_s": seconds}).encode())


def begun(emulator: Any, name: str, states: dict[str, Any], *allowed: dict[str, Any], **more: Any) -> str:
    """An execution that stands in the first of the states; its ARN."""
    role = emulator.role(name, STATES, *allowed)
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}
    client = emulator.client("stepfunctions")
    arn: str = client.start_execution(stateMachineArn=emulator.machine(name, role, definition))["executionArn"]
    assert until(lambda: len(emulator.history(arn)) >= 2)
    return arn


def test_a_wait_of_days_passes(emulator: Any) -> None:
    """A Wait state ends, `$millis` counts the days, and the history's times tell the same."""
    states = {
        "Begin": {"Type": "Pass", "Assign": {"began": "{% $millis() %}"}, "Next": "Sleep"},
        "Sleep": {"Type": "Wait", "Seconds": 20 * DAY, "Next": "Count"},
        "Count": {"Type": "Pass", "Output": "{% $millis() - $began %}", "End": True},
    }
    arn = begun(emulator, "sleeper", states)
    forward(emulator, 20 * DAY)
    described = emulator.ended(arn)
    assert int(described["output"]) >= 20 * DAY * 1000
    assert (described["stopDate"] - described["startDate"]).total_seconds() >= 20 * DAY


def test_a_task_that_waits_for_people_times_out(emulator: Any) -> None:
    """TimeoutSeconds of a waitForTaskToken passes, and its Catch goes on."""
    table = "waits"
    keys = [("pk", "HASH")]
    emulator.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    states = {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
            "Arguments": {
                "TableName": table,
                "Item": {"pk": {"S": "ask"}, "token": {"S": "{% $states.context.Task.Token %}"}},
            },
            "TimeoutSeconds": 3 * DAY,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
            "End": True,
        },
        "Late": {"Type": "Pass", "Output": "late", "End": True},
    }
    allowed = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": f"arn:aws:dynamodb:*:*:table/{table}"}
    arn = begun(emulator, "asker", states, allowed)
    assert until(lambda: any(event["type"] == "TaskSubmitted" for event in emulator.history(arn)))
    forward(emulator, 3 * DAY)
    assert "late" == json.loads(emulator.ended(arn)["output"])


def test_an_execution_outlives_its_own_deadline_no_longer(emulator: Any) -> None:
    """A machine's TimeoutSeconds passes too."""
    states = {"Sleep": {"Type": "Wait", "Seconds": 300 * DAY, "End": True}}
    arn = begun(emulator, "late", states, TimeoutSeconds=DAY)
    forward(emulator, DAY)
    assert "TIMED_OUT" == emulator.ended(arn)["status"]


def test_a_daily_schedule_falls_due(emulator: Any) -> None:
    """EventBridge Scheduler lives by the same clock."""
    sqs = emulator.client("sqs")
    url = sqs.create_queue(QueueName="days")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue}
    role = emulator.role("daily", "scheduler.amazonaws.com", allowed)
    emulator.client("scheduler").create_schedule(
        Name="daily",
        ScheduleExpression="rate(1 day)",
        StartDate=datetime.fromisoformat(clock(emulator)["now"]),
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
            "RoleArn": role,
            "Input": json.dumps({"QueueUrl": url, "MessageBody": "a day has passed"}),
        },
    )
    received = lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages", [])  # noqa: E731
    until(received, seconds=3)  # a rate may be due at its start
    forward(emulator, DAY + 60)
    assert "a day has passed" == until(received)[0]["Body"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"forward_s": -1}', "forward_s must be a number of seconds from 0 to"),
        (b'{"forward_s": "tomorrow"}', "got 'tomorrow'"),
        (b"{}", 'the body must be {"forward_s": <seconds>}'),
        (b"[]", 'the body must be {"forward_s": <seconds>}'),
    ],
)
def test_what_is_no_way_forward_is_refused(emulator: Any, body: bytes, told: str) -> None:
    """A mistake is answered with 400 and a sentence."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        clock(emulator, body)
    assert 400 == refused.value.code
    assert told in json.load(refused.value)["error"]

"""Schedules over HTTP: what they start, as whom, and where undeliverable ones go."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

SEND = "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
TEMPLATE = {
    "Resources": {
        "Group": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": "by-stack"}},
        "Daily": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Name": "daily",
                "GroupName": {"Ref": "Group"},
                "ScheduleExpression": "cron(0 3 * * ? *)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": SEND, "RoleArn": "", "Input": "{}"},
            },
        },
    },
    "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Daily", "Arn"]}}},
}


def queue(emulator: Any, name: str) -> tuple[str, str]:
    """A queue's address and ARN."""
    sqs = emulator.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def schedule(emulator: Any, name: str, role: str, target: dict[str, Any], **options: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    emulator.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=soon,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"RoleArn": role, "RetryPolicy": {"MaximumRetryAttempts": 0}, **target},
        **options,
    )


def received(emulator: Any, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        emulator.client("sqs")
        .receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=0)
        .get("Messages", [])
    )
    return found


def names(emulator: Any) -> list[str]:
    return [item["Name"] for item in emulator.client("scheduler").list_schedules()["Schedules"]]


def test_a_target_is_started_as_its_role(emulator: Any) -> None:
    """A one-time schedule makes its call with the target's role, then deletes itself."""
    url, arn = queue(emulator, "ticks")
    allow = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    role = emulator.role("ticker", "scheduler.amazonaws.com", allow)
    given = {"Arn": SEND, "Input": json.dumps({"QueueUrl": url, "MessageBody": "due"})}
    schedule(emulator, "tick", role, given, ActionAfterCompletion="DELETE")
    (message,) = until(lambda: received(emulator, url))
    assert "due" == message["Body"]
    assert until(lambda: not names(emulator))


def test_refused_targets_go_to_the_dead_letter_queue(emulator: Any) -> None:
    """What the role may not do ends in the dead-letter queue with AWS's attributes."""
    url, arn = queue(emulator, "lost")
    allow = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    role = emulator.role("loser", "scheduler.amazonaws.com", allow)
    target = "arn:aws:scheduler:::aws-sdk:sagemaker:deletePipeline"
    schedule(
        emulator,
        "forbidden",
        role,
        {"Arn": target, "Input": '{"PipelineName": "p"}', "DeadLetterConfig": {"Arn": arn}},
        ActionAfterCompletion="DELETE",
    )
    (message,) = until(lambda: received(emulator, url))
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert '{"PipelineName": "p"}' == message["Body"]
    assert (target, "AccessDeniedException", "0") == tuple(
        attributes[name] for name in ("TARGET_ARN", "ERROR_CODE", "RETRY_ATTEMPTS")
    )


def test_a_role_must_trust_scheduler(emulator: Any) -> None:
    """A role that does not let Scheduler in is refused when the schedule is created."""
    role = emulator.role("stranger", "sagemaker.amazonaws.com")
    with pytest.raises(ClientError, match="must allow AWS EventBridge Scheduler to assume the role"):
        schedule(emulator, "never", role, {"Arn": SEND, "Input": "{}"})


def test_stacks_have_groups_and_schedules(emulator: Any) -> None:
    """CloudFormation creates and deletes a group and a schedule in it."""
    template = json.loads(json.dumps(TEMPLATE))
    role = emulator.role("daily", "scheduler.amazonaws.com")
    template["Resources"]["Daily"]["Properties"]["Target"]["RoleArn"] = role
    cloudformation, scheduler = emulator.client("cloudformation"), emulator.client("scheduler")
    cloudformation.create_stack(StackName="schedules", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="schedules", WaiterConfig={"Delay": 1})
    found = scheduler.get_schedule(Name="daily", GroupName="by-stack")
    (output,) = cloudformation.describe_stacks(StackName="schedules")["Stacks"][0]["Outputs"]
    assert output["OutputValue"] == found["Arn"]
    assert "cron(0 3 * * ? *)" == found["ScheduleExpression"]
    cloudformation.delete_stack(StackName="schedules")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="schedules", WaiterConfig={"Delay": 1})
    assert ["default"] == [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]]


def test_every_call_has_an_action(emulator: Any) -> None:
    """IAM could be asked about every call of Scheduler above."""
    assert [] == emulator.unmapped()

"""Shared triggers for real: an alarm that begins to ring and goes on ringing, an inner loop with other code."""

import json
from typing import Any

import pytest

from dual_pipeline.triggers import Loop, triggers_definition
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

HERE = "eu-west-1:123456789012"
IDLE = {"QueryLanguage": "JSONata", "StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
STEP = {
    "Name": "Stop",
    "Type": "Fail",
    "Arguments": {"ErrorMessage": "not meant to run"},
}


class World:
    """Two projects whose outer loops only remember what started them, and the machine that starts them."""

    def __init__(self, emulator: Any) -> None:
        self.emulator = emulator
        role = emulator.role("idle", "states.amazonaws.com")
        self.loops = {name: emulator.machine(f"trig-{name}-outer-loop", role, IDLE) for name in ("a", "b")}
        loops = [
            Loop(
                project=name,
                machine_arn=arn,
                pipeline_arn=f"arn:aws:sagemaker:{HERE}:pipeline/trig-{name}",
                alarm=f"trig-{name}-drift",
                stack=f"Trig-{name.upper()}InnerLoop",
            )
            for name, arn in self.loops.items()
        ]
        allowed = [
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": [*self.loops.values()]},
            {
                "Effect": "Allow",
                "Action": "cloudwatch:DescribeAlarms",
                "Resource": f"arn:aws:cloudwatch:{HERE}:alarm:trig-*",
            },
            {
                "Effect": "Allow",
                "Action": "sagemaker:ListTags",
                "Resource": f"arn:aws:sagemaker:{HERE}:pipeline/trig-*",
            },
            {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"},
        ]
        runner = emulator.role("triggers", "states.amazonaws.com", *allowed)
        definition = triggers_definition(loops=loops, table_name="triggers")
        self.machine = emulator.machine("trig-triggers", runner, definition)
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        self.table = emulator.client("dynamodb")
        self.table.create_table(
            TableName="triggers",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        self.listen(runner)

    def listen(self, runner: str) -> None:
        """The rule that foundation has for alarms."""
        starter = self.emulator.role(
            "trig-starter",
            "events.amazonaws.com",
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": self.machine},
        )
        events = self.emulator.client("events")
        pattern = {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": ["trig-a-drift", "trig-b-drift"], "state": {"value": ["ALARM"]}},
        }
        events.put_rule(Name="trig-alarms", EventPattern=json.dumps(pattern))
        transformer = {"InputPathsMap": {}, "InputTemplate": '{"kind": "drift"}'}
        target = {"Id": "1", "Arn": self.machine, "RoleArn": starter, "InputTransformer": transformer}
        events.put_targets(Rule="trig-alarms", Targets=[target])

    def alarm(self, name: str, state: str) -> None:
        watch = self.emulator.client("cloudwatch")
        watch.put_metric_alarm(
            AlarmName=f"trig-{name}-drift",
            MetricName="Psi",
            Namespace="DualPipeline",
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0.2,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        watch.set_alarm_state(AlarmName=f"trig-{name}-drift", StateValue=state, StateReason="age moved")

    def started(self, name: str) -> list[dict[str, Any]]:
        """What a project's loop was started with."""
        states = self.emulator.client("stepfunctions")
        found = states.list_executions(stateMachineArn=self.loops[name])["executions"]
        inputs = [states.describe_execution(executionArn=each["executionArn"])["input"] for each in found]
        return [json.loads(each) for each in inputs]

    def deployed(self, name: str, *, code: str, trained: str | None) -> None:
        """Let the triggers hear that an inner loop was deployed with this code."""
        sagemaker = self.emulator.client("sagemaker")
        role = self.emulator.role(f"pipeline-{name}-{code}", "sagemaker.amazonaws.com")
        sagemaker.create_pipeline(
            PipelineName=f"trig-{name}",
            PipelineDefinition=json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": [STEP]}),
            ClientRequestToken=f"{name:x<32}",
            RoleArn=role,
            Tags=[{"Key": "dual-pipeline:code", "Value": code}],
        )
        if trained is not None:
            item = {"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": "LOCK#training"}, "trained_code": {"S": trained}}
            self.table.put_item(TableName="triggers", Item=item)
        stack = f"arn:aws:cloudformation:{HERE}:stack/Trig-{name.upper()}InnerLoop/0a1b"
        ended = self.emulator.execute(self.machine, {"kind": "code", "stack": stack})
        assert ended["status"] == "SUCCEEDED", ended


@pytest.fixture(scope="module")
def world(emulator: Any) -> World:
    """Both projects and their triggers."""
    return World(emulator)


def test_a_ringing_alarm_starts_and_starts_again(world: World) -> None:
    """The event of the alarm starts a run, and so does each later look while it rings; a silent one starts none."""
    world.alarm("b", "OK")
    world.alarm("a", "ALARM")
    until(lambda: world.started("a"))
    given = {"reason": "drift", "detail": "the alarm trig-a-drift rings: age moved", "source": None}
    world.emulator.execute(world.machine, {"kind": "drift"})
    assert world.started("a") == [given, given]
    assert world.started("b") == []
    world.alarm("a", "OK")
    world.emulator.execute(world.machine, {"kind": "drift"})
    assert len(world.started("a")) == 2


def test_new_code_starts_a_run(world: World) -> None:
    """An inner loop deployed with other code than the last judged model's starts a run, the same code starts none."""
    before = len(world.started("a"))
    world.deployed("a", code="same", trained="same/rules")
    assert len(world.started("a")) == before
    world.deployed("b", code="new", trained="old/rules")
    (given,) = world.started("b")
    assert given["reason"] == "code"

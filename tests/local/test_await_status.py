"""AwaitStatus in the emulator: however its events behave, a wait ends, and as soon as it can."""

import json
import time
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template

from dual_pipeline.asl import DYNAMODB_ERRORS, assign, catch, jsonata
from dual_pipeline.await_status import INITIAL, AwaitStatus
from dual_pipeline.resumer import Resumer, resumer_definition

pytestmark = pytest.mark.local

TABLE = "waits"
LONG_S, SHORT_S = 60, 1
STATES = "states.amazonaws.com"


def waiting_machine(*, deadline_s: int, slice_s: int) -> dict[str, Any]:
    """A machine that waits for an operation which is an item of the table, read as a Describe would be."""
    wait = AwaitStatus(
        name="Await",
        integration="aws-sdk:dynamodb:getItem",
        arguments={
            "TableName": TABLE,
            "Key": {"pk": {"S": jsonata("$states.context.Execution.Input.operation")}, "sk": {"S": "OPERATION"}},
            "ConsistentRead": True,
        },
        errors=DYNAMODB_ERRORS,
        key="$states.result.Item.pk.S",
        done="$states.result.Item.status.S in ['Succeeded', 'Failed']",
        observe="$states.result.Item.status.S",
        observed="status",
        deadline_s=deadline_s,
        slice_s=slice_s,
        table_name=TABLE,
        next_="Over",
        on_deadline="TooLate",
        catches=[catch(next_="Broken")],
    )
    # A deadline in seconds is far below what a project may configure; the slice must not grow to fit it.
    assert wait.waiting_s == slice_s
    ends = {name: {"Type": "Pass", "Output": name, "End": True} for name in ("Over", "TooLate", "Broken")}
    start = {"Start": assign(INITIAL, next_="Await")}
    return {"QueryLanguage": "JSONata", "StartAt": "Start", "States": start | dict(wait.fragment().states) | ends}


class Waits:
    """A table, the Express machine behind the rules of the template, and two machines that wait."""

    def __init__(self, emulator: Any) -> None:
        self.emulator = emulator
        self.table, self.states = emulator.client("dynamodb"), emulator.client("stepfunctions")
        self.events = emulator.client("events")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        self.table.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        everything = {"Effect": "Allow", "Action": ["dynamodb:*", "states:SendTaskSuccess"], "Resource": "*"}
        role = emulator.role("waiter", STATES, everything)
        self.resumer = emulator.machine("resumer", role, resumer_definition(TABLE), type="EXPRESS")
        self.patient = emulator.machine("patient", role, waiting_machine(deadline_s=LONG_S, slice_s=LONG_S))
        self.brisk = emulator.machine("brisk", role, waiting_machine(deadline_s=3 * SHORT_S, slice_s=SHORT_S))
        self._rule()

    def _rule(self) -> None:
        # PutEvents refuses sources of AWS, in the emulator as there: the template's rule listens to another source here.
        app = cdk.App(context={"@aws-cdk/core:enablePartitionLiterals": True})
        stack = cdk.Stack(app, "Stack", env=cdk.Environment(account="123456789012", region="eu-west-1"))
        table = dynamodb.Table.from_table_name(stack, "Table", TABLE)
        key = kms.Key.from_key_arn(stack, "Key", f"arn:aws:kms:eu-west-1:123456789012:key/{'0' * 36}")
        Resumer(stack, "Resumer", name="dev-resumer", ledger=table, key=key, prefix="dev-")
        role = self.emulator.role(
            "starter",
            "events.amazonaws.com",
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": self.resumer},
        )
        for number, rule in enumerate(Template.from_stack(stack).find_resources("AWS::Events::Rule").values()):
            pattern, (target,) = rule["Properties"]["EventPattern"], rule["Properties"]["Targets"]
            transformer = target["InputTransformer"]
            name = f"wake-{number}"
            self.events.put_rule(Name=name, EventPattern=json.dumps(pattern | {"source": ["test.sagemaker"]}))
            self.events.put_targets(
                Rule=name,
                Targets=[{"Id": "1", "Arn": self.resumer, "RoleArn": role, "InputTransformer": transformer}],
            )

    def operation(self, name: str, status: str) -> None:
        """Set what a Describe of the operation says."""
        item = {"pk": {"S": name}, "sk": {"S": "OPERATION"}, "status": {"S": status}}
        self.table.put_item(TableName=TABLE, Item=item)

    def event(self, name: str, status: str = "Succeeded") -> None:
        """Let the event say that the operation is over."""
        self.events.put_events(
            Entries=[
                {
                    "Source": "test.sagemaker",
                    "DetailType": "SageMaker Model Building Pipeline Execution Status Change",
                    "Detail": json.dumps(
                        {
                            "pipelineArn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/dev-census",
                            "pipelineExecutionArn": name,
                            "currentPipelineExecutionStatus": status,
                        }
                    ),
                }
            ]
        )

    def item(self, name: str) -> dict[str, Any]:
        key = {"pk": {"S": f"WAIT#{name}"}, "sk": {"S": "WAIT"}}
        found: dict[str, Any] = self.table.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item", {})
        return found

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def start(self, machine: str, name: str) -> str:
        given = json.dumps({"operation": name})
        arn: str = self.states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
        return arn

    def asleep(self, machine: str, name: str) -> str:
        """A machine whose token is stored."""
        arn = self.start(machine, name)
        self.until(lambda: "token" in self.item(name))
        return arn

    def looks(self, arn: str) -> int:
        return self.entered(arn).count("Await")

    def entered(self, arn: str) -> list[str]:
        found = (event.get("stateEnteredEventDetails", {}).get("name") for event in self.emulator.history(arn))
        return [name for name in found if name]

    def end(self, arn: str, *, seconds: float = 10) -> str:
        done = self.emulator.ended(arn, seconds=seconds)
        assert done["status"] == "SUCCEEDED", done
        end: str = json.loads(done["output"])
        return end


@pytest.fixture(scope="module")
def waits(emulator: Any) -> Waits:
    return Waits(emulator)


def test_an_operation_that_is_over_is_not_waited_for(waits: Waits) -> None:
    """A terminal status at the first look ends the wait without a token."""
    waits.operation("over", "Failed")
    arn = waits.start(waits.patient, "over")
    assert waits.end(arn) == "Over"
    assert waits.entered(arn) == ["Start", "Await", "AwaitDecide", "Over"]


def test_an_event_wakes_the_machine(waits: Waits) -> None:
    """The event resumes a sleeping machine at once, long before its slice is over."""
    waits.operation("on-time", "Executing")
    arn = waits.asleep(waits.patient, "on-time")
    waits.operation("on-time", "Succeeded")
    waits.event("on-time")
    assert waits.end(arn) == "Over"
    assert waits.looks(arn) == 2


def test_an_early_event_is_found_as_a_marker(waits: Waits) -> None:
    """An event that comes before the token is stored is not lost: the store fails and the machine looks again."""
    waits.operation("early", "Executing")
    waits.event("early")
    waits.until(lambda: "terminal" in waits.item("early"))
    arn = waits.start(waits.patient, "early")
    waits.until(lambda: "token" in waits.item("early"))
    assert waits.entered(arn)[3:5] == ["AwaitSleep", "AwaitConsume"], "a marker is worth one look, not a loop"
    waits.operation("early", "Succeeded")
    waits.event("early")
    assert waits.end(arn) == "Over"


def test_an_event_between_look_and_sleep_is_not_lost(waits: Waits) -> None:
    """The race itself: the operation ends and its event comes after the look and before the token."""
    waits.operation("race", "Executing")
    waits.event("race")
    waits.until(lambda: "terminal" in waits.item("race"))
    arn = waits.start(waits.patient, "race")
    waits.operation("race", "Succeeded")
    assert waits.end(arn) == "Over"


def test_a_lost_event_costs_a_slice(waits: Waits) -> None:
    """Without any event the machine looks for itself when its slice is over."""
    waits.operation("lost", "Executing")
    arn = waits.asleep(waits.brisk, "lost")
    waits.operation("lost", "Succeeded")
    assert waits.end(arn) == "Over"
    assert waits.looks(arn) == 2


def test_a_duplicated_event_changes_nothing(waits: Waits) -> None:
    """The second of two equal events finds no token and leaves a marker."""
    waits.operation("twice", "Executing")
    arn = waits.asleep(waits.patient, "twice")
    waits.operation("twice", "Succeeded")
    waits.event("twice")
    waits.event("twice")
    assert waits.end(arn) == "Over"
    waits.until(lambda: waits.item("twice").get("terminal") == {"S": "Succeeded"})
    assert "token" not in waits.item("twice")


def test_a_late_event_resumes_nobody(waits: Waits) -> None:
    """An event after the end of the wait ends quietly, and the Express machine with it."""
    waits.operation("late", "Executing")
    arn = waits.asleep(waits.brisk, "late")
    waits.operation("late", "Succeeded")
    assert waits.end(arn) == "Over"
    waits.event("late")
    waits.until(lambda: "terminal" in waits.item("late"))


def test_a_reordered_event_is_only_a_wake_up(waits: Waits) -> None:
    """An event of another status than the operation has now makes the machine look, not believe."""
    waits.operation("reordered", "Executing")
    arn = waits.asleep(waits.patient, "reordered")
    waits.event("reordered", "Failed")
    waits.until(lambda: waits.looks(arn) == 3 and "token" in waits.item("reordered"))
    assert waits.entered(arn)[3:8] == ["AwaitSleep", "Await", "AwaitDecide", "AwaitSleep", "AwaitConsume"]
    waits.operation("reordered", "Succeeded")
    waits.event("reordered")
    assert waits.end(arn) == "Over"


def test_an_event_without_end_wakes_nobody(waits: Waits) -> None:
    """A status that is not terminal starts nothing."""
    waits.operation("running", "Executing")
    arn = waits.asleep(waits.patient, "running")
    waits.event("running", "Executing")
    time.sleep(0.5)
    assert waits.looks(arn) == 1
    waits.operation("running", "Succeeded")
    waits.event("running")
    assert waits.end(arn) == "Over"


def test_a_deadline_ends_the_wait(waits: Waits) -> None:
    """An operation that never ends is given up at the deadline, a slice later at most."""
    waits.operation("never", "Executing")
    began = time.monotonic()
    arn = waits.start(waits.brisk, "never")
    assert waits.end(arn) == "TooLate"
    assert 3 * SHORT_S <= time.monotonic() - began < 6 * SHORT_S


def test_a_failed_look_is_caught(waits: Waits) -> None:
    """A look that cannot be made goes to the caller's catch."""
    arn = waits.start(waits.patient, "nowhere")
    assert waits.end(arn) == "Broken"

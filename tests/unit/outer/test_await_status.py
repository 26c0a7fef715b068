"""AwaitStatus' states field by field, and what a wait costs at the most."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from dual_pipeline.asl import SAGEMAKER_ERRORS, catch
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.resumer import SOURCES
from dual_pipeline_local import definitions
from synthesis import joined

# Entered, scheduled, started, succeeded, exited; entered, exited; and entered, scheduled, started, submitted, timed
# out, exited: the history events of one look, one decision and one sleep.
EVENTS_PER_ROUND = 5 + 2 + 6
MOST_EVENTS = 25_000


def wait(*, deadline_s: int = 3600, slice_s: int = 900) -> AwaitStatus:
    return AwaitStatus(
        name="AwaitIt",
        integration="aws-sdk:sagemaker:describePipelineExecution",
        arguments={"PipelineExecutionArn": "{% $arn %}"},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.PipelineExecutionArn",
        done="$states.result.PipelineExecutionStatus = 'Succeeded'",
        observe="$states.result.PipelineExecutionStatus",
        observed="status",
        deadline_s=deadline_s,
        slice_s=slice_s,
        table_name="ledger",
        next_="Next",
        on_deadline="TooLate",
        catches=[catch(next_="Broken")],
    )


@pytest.mark.parametrize(
    ("deadline_s", "slice_s", "waiting_s", "rounds"),
    [(3600, 900, 900, 5), (90_000, 900, 900, 101), (2_592_000, 900, 25_920, 101), (60, 900, 60, 2), (3, 1, 1, 4)],
)
def test_slices(deadline_s: int, slice_s: int, waiting_s: int, rounds: int) -> None:
    """A slice is as configured, but at least a hundredth of the deadline and never longer than it."""
    found = wait(deadline_s=deadline_s, slice_s=slice_s)
    assert (found.waiting_s, found.rounds) == (waiting_s, rounds)


def test_the_longest_wait_fits_the_history() -> None:
    """Four waits of a month without a single event stay far below the history's limit."""
    longest = wait(deadline_s=30 * 24 * 3600)
    assert 4 * longest.rounds * EVENTS_PER_ROUND < MOST_EVENTS / 4


def test_ends_are_asked_before_the_next_state() -> None:
    """What is over may lead somewhere by a condition, with variables; whatever it does not name goes to `next_`."""
    ends: Any = (("$status = 'Failed'", "Repair", {"broken": True}), ("$status = 'Odd'", "Ask", {}))
    decide: Any = replace(wait(), ends=ends).fragment().states["AwaitItDecide"]
    assert [
        {"Condition": "{% $waiting.over and $status = 'Failed' %}", "Next": "Repair", "Assign": {"broken": True}},
        {"Condition": "{% $waiting.over and $status = 'Odd' %}", "Next": "Ask"},
        {"Condition": "{% $waiting.over %}", "Next": "Next"},
        {"Condition": "{% $millis() - $waiting.since >= 3600000 %}", "Next": "TooLate"},
    ] == decide["Choices"]


def test_states() -> None:
    """The four states of a wait, as JSON."""
    retry = {"IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 5, "MaxDelaySeconds": 60, "JitterStrategy": "FULL"}
    ledger_errors = [
        f"DynamoDb.{name}Exception"
        for name in (
            "InternalServerError",
            "ProvisionedThroughputExceeded",
            "RequestLimitExceeded",
            "SdkClient",
            "Throttling",
            "TransactionConflict",
        )
    ]
    condition_failed = ["DynamoDb.ConditionalCheckFailedException"]
    broken = {"ErrorEquals": ["States.ALL"], "Next": "Broken"}
    key = {"pk": {"S": "{% 'WAIT#' & $waiting.key %}"}, "sk": {"S": "WAIT"}}
    expected: dict[str, Any] = {
        "AwaitIt": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:describePipelineExecution",
            "Arguments": {"PipelineExecutionArn": "{% $arn %}"},
            "TimeoutSeconds": 60,
            "Retry": [{"ErrorEquals": ["SageMaker.SageMakerException", "SageMaker.SdkClientException"], **retry}],
            "Catch": [broken],
            "Output": {},
            "Next": "AwaitItDecide",
            "Assign": {
                "waiting": {
                    "at": "AwaitIt",
                    "since": '{% $waiting.at = "AwaitIt" ? $waiting.since : $millis() %}',
                    "key": "{% $states.result.PipelineExecutionArn %}",
                    "over": "{% $states.result.PipelineExecutionStatus = 'Succeeded' %}",
                },
                "status": "{% $states.result.PipelineExecutionStatus %}",
            },
        },
        "AwaitItDecide": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $waiting.over %}", "Next": "Next"},
                {"Condition": "{% $millis() - $waiting.since >= 3600000 %}", "Next": "TooLate"},
            ],
            "Default": "AwaitItSleep",
        },
        "AwaitItSleep": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
            "Arguments": {
                "TableName": "ledger",
                "Item": {
                    **key,
                    "token": {"S": "{% $states.context.Task.Token %}"},
                    "execution": {"S": "{% $states.context.Execution.Id %}"},
                    "expires_at": {"N": "{% $string($floor($millis() / 1000) + 3456000) %}"},
                },
                "ConditionExpression": "attribute_not_exists(terminal)",
            },
            "TimeoutSeconds": 900,
            "Retry": [{"ErrorEquals": ledger_errors, **retry}],
            "Catch": [
                {"ErrorEquals": condition_failed, "Next": "AwaitItConsume"},
                {"ErrorEquals": ["States.Timeout"], "Next": "AwaitIt"},
                broken,
            ],
            "Output": {},
            "Next": "AwaitIt",
        },
        "AwaitItConsume": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:deleteItem",
            "Arguments": {"TableName": "ledger", "Key": key, "ConditionExpression": "attribute_exists(terminal)"},
            "TimeoutSeconds": 60,
            "Retry": [{"ErrorEquals": ledger_errors, **retry}],
            "Catch": [{"ErrorEquals": condition_failed, "Next": "AwaitIt"}, broken],
            "Output": {},
            "Next": "AwaitIt",
        },
    }
    assert json.loads(json.dumps(wait().fragment().states)) == expected


def test_the_events_carry_the_keys_that_describe_gives() -> None:
    """Each rule takes the operation's key from the field that holds what Describe calls by the same name."""
    assert {rule: source[3] for rule, source in SOURCES.items()} == {
        "PipelineOver": "pipelineExecutionArn",
        "PackageDecided": "ModelPackageArn",
        "EndpointSettled": "EndpointArn",
    }


def test_the_app_on_the_page_works() -> None:
    """The app in docs/await-status.md synthesizes, and Step Functions accepts both of its machines."""
    page = (Path(__file__).parents[3] / "docs" / "await-status.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    machines = Template.from_stack(scope["stack"]).find_resources("AWS::StepFunctions::StateMachine").values()
    texts = {
        each["Properties"]["StateMachineType"]: joined(each["Properties"]["DefinitionString"]) for each in machines
    }
    assert {"STANDARD", "EXPRESS"} == set(texts)
    # The partition is a token where no cdk.json says otherwise.
    texts = {kind: text.replace("arn:token:states", "arn:aws:states") for kind, text in texts.items()}
    assert [None, None] == [definitions.problem(text, kind=kind) for kind, text in texts.items()]


@pytest.mark.parametrize(
    ("row", "deadline_s", "lost"),
    [("1 hour", 3600, 14), ("10 hours", 36_000, 122), ("3 days", 259_200, 302), ("30 days", 2_592_000, 302)],
)
def test_the_costs_on_the_page(row: str, deadline_s: int, lost: int) -> None:
    """Without its event a wait takes a look, a decision and a sleep for each slice, then a look and a decision."""
    page = (Path(__file__).parents[3] / "docs" / "await-status.md").read_text()
    assert f"| {row} | 5; {lost} if its event is lost" in page
    slices = deadline_s // wait(deadline_s=deadline_s, slice_s=900).waiting_s
    assert 3 * slices + 2 == lost

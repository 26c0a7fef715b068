"""The machine for triggers that projects share: its states, and what it makes of alarms and stacks."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from dual_pipeline.triggers import Loop, triggers_definition
from dual_pipeline_local import definitions

HERE = "eu-west-1:111122223333"
Evaluate = Callable[..., Any]


def loop(project: str, stack: str) -> Loop:
    return Loop(
        project=project,
        machine_arn=f"arn:aws:states:{HERE}:stateMachine:dev-{project}-outer-loop",
        pipeline_arn=f"arn:aws:sagemaker:{HERE}:pipeline/dev-{project}",
        alarm=f"dev-{project}-drift",
        stack=stack,
    )


@pytest.fixture(scope="module")
def states() -> Any:
    """The states of an environment with two projects, one's name the beginning of the other's."""
    loops = [loop("census", "Dev-CensusInnerLoop"), loop("census-two", "Dev-CensusTwoInnerLoop")]
    definition = triggers_definition(loops=loops, table_name="ledger")
    return json.loads(json.dumps(definition))["States"]


def test_every_state_as_json(states: Any, snapshot: SnapshotAssertion) -> None:
    """Every state, field by field; Step Functions accepts them for an Express machine."""
    definition = {"QueryLanguage": "JSONata", "StartAt": "ReadInput", "TimeoutSeconds": 240, "States": states}
    assert definitions.problem(json.dumps(definition), kind="EXPRESS") is None
    assert states == snapshot(extension_class=JSONSnapshotExtension)


def test_ringing_alarms_start_their_projects(states: Any, evaluate: Evaluate) -> None:
    """Each ringing alarm starts its own project's loop with its reason in words."""
    result = {
        "MetricAlarms": [
            {"AlarmName": "dev-census-two-drift", "StateReason": "age moved"},
            {"AlarmName": "dev-census-drift", "StateReason": "several moved"},
        ]
    }
    starts = evaluate(states["FindRingingAlarms"]["Assign"]["starts"], result=result)
    assert [start["machine"].rpartition(":")[2] for start in starts] == [
        "dev-census-two-outer-loop",
        "dev-census-outer-loop",
    ]
    detail = "the alarm dev-census-two-drift rings: age moved"
    assert starts[0]["input"] == {"reason": "drift", "detail": detail, "source": None}


@pytest.mark.parametrize("result", [{}, {"MetricAlarms": []}])
def test_silence_starts_nothing(states: Any, evaluate: Evaluate, result: Any) -> None:
    """No ringing alarm, no run."""
    assert evaluate(states["FindRingingAlarms"]["Assign"]["starts"], result=result) == []


@pytest.mark.parametrize(
    ("stack", "machine"),
    [
        ("Dev-CensusInnerLoop", "dev-census-outer-loop"),
        ("Dev-CensusTwoInnerLoop", "dev-census-two-outer-loop"),
        ("Dev-CensusOuterLoop", ""),
        ("Other", ""),
    ],
)
def test_a_stack_is_known_by_its_name(states: Any, evaluate: Evaluate, stack: str, machine: str) -> None:
    """The stack of an update leads to its project's loop, any other to none."""
    given = {"kind": "code", "stack": f"arn:aws:cloudformation:{HERE}:stack/{stack}/0a1b"}
    found = evaluate(states["ReadInput"]["Assign"]["loop"], given=given)
    assert found["machine"].rpartition(":")[2] == machine


@pytest.mark.parametrize(
    ("trained", "code", "next_"),
    [("old/rules", "new", "StartRuns"), ("same/rules", "same", "Done"), ("", "new", "Done"), ("old/rules", "", "Done")],
)
def test_only_new_code_is_news(states: Any, evaluate: Evaluate, trained: str, code: str, next_: str) -> None:
    """A run starts where the last judged model came from other code, not before the first and not without a tag."""
    item = {"Item": {"trained_code": {"S": trained}}} if trained else {}
    variables = {"loop": {"machine": "m", "pipeline": "p", "pk": "PROJECT#census"}}
    known = evaluate(states["ReadTrained"]["Assign"]["trained"], result=item, variables=variables)
    (choice,) = states["IsNews"]["Choices"]
    taken = evaluate(choice["Condition"], variables={"trained": known, "code": code})
    assert (choice["Next"] if taken else states["IsNews"]["Default"]) == next_

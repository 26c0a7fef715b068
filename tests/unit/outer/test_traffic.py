"""Golden rows during the bake: how fast, how long at the most, and when it stops."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline.model_project import Rollout
from dual_pipeline.outer_loop.setting import Setting
from dual_pipeline.outer_loop.traffic import MOST_REQUESTS, Pace, traffic_definition
from dual_pipeline_local import definitions

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MOST_EVENTS = 25_000


def test_step_functions_accepts_it(setting: Setting, jsonata_problem: Any) -> None:
    """It is a valid Standard machine."""
    text = json.dumps(traffic_definition(setting))
    assert (None, None) == (definitions.problem(text, kind="STANDARD"), jsonata_problem(text))


@given(
    deadline_s=st.integers(min_value=600, max_value=8 * 3600),
    wait_s=st.integers(min_value=0, max_value=3600),
    strategy=st.sampled_from(["canary", "linear", "all-at-once"]),
    percent=st.integers(min_value=10, max_value=50),
)
def test_it_never_outgrows_its_history(deadline_s: int, wait_s: int, strategy: Any, percent: int) -> None:
    """However long a rollout may take, rounds and requests fit into one execution's history."""
    steps = -(-100 // percent) if strategy == "linear" else 1
    if deadline_s <= steps * wait_s or (strategy != "all-at-once" and wait_s < 180):
        return
    rollout = Rollout(
        strategy=strategy,
        instance_count=2,
        canary_percent=percent,
        wait=timedelta(seconds=wait_s),
        deadline=timedelta(seconds=deadline_s),
    )
    pace = Pace.of(rollout)
    assert pace.rounds * pace.round_s >= deadline_s
    assert 20 * pace.rounds + 10 * (MOST_REQUESTS + pace.requests) < MOST_EVENTS


@pytest.mark.parametrize(
    ("variants", "bakes"),
    [
        ([{"VariantStatus": [{"Status": "Baking"}]}], True),
        ([{"VariantStatus": [{"Status": "Creating"}, {"Status": "ActivatingTraffic"}]}], True),
        ([{"VariantStatus": [{"Status": "Creating"}]}], False),
        ([{}], False),
        (None, False),
    ],
)
def test_it_asks_only_while_traffic_shifts(setting: Setting, evaluate: Any, variants: Any, bakes: bool) -> None:
    """While the new fleet comes up golden rows would ask the old model."""
    states: Any = traffic_definition(setting)["States"]
    endpoint: dict[str, Any] = {"EndpointStatus": "Updating"}
    endpoint |= {} if variants is None else {"PendingDeploymentSummary": {"ProductionVariants": variants}}
    assert {"seen": "Updating", "bakes": bakes} == evaluate(states["LookAtEndpoint"]["Assign"], result=endpoint)


@pytest.mark.parametrize(
    ("seen", "left", "bakes", "asked", "next_"),
    [
        ("Updating", 5, True, 0, "AskGoldenRows"),
        ("Updating", 5, True, MOST_REQUESTS, "Pause"),
        ("Updating", 5, False, 0, "Pause"),
        ("Updating", 0, True, 0, "Done"),
        ("InService", 5, False, 0, "Done"),
        ("RollingBack", 5, True, 0, "Done"),
    ],
)
def test_it_ends_with_the_rollout(
    setting: Setting, evaluate: Any, seen: str, left: int, bakes: bool, asked: int, next_: str
) -> None:
    """No rollout, or no round left: it is done."""
    states: Any = traffic_definition(setting)["States"]
    state = states["GoesOn"]
    variables = {"seen": seen, "left": left, "bakes": bakes, "asked": asked}
    held = [rule["Next"] for rule in state["Choices"] if evaluate(rule["Condition"], variables=variables)]
    assert next_ == (held or [state["Default"]])[0]


def test_its_requests_are_known(setting: Setting, evaluate: Any) -> None:
    """What is captured of them counts for nothing, so each names itself; a failing answer is the alarms' business."""
    states: Any = traffic_definition(setting)["States"]
    inner: Any = states["AskGoldenRows"]["ItemProcessor"]["States"]
    asked = evaluate(
        inner["AskEndpoint"]["Arguments"],
        given=3,
        variables={"left": 7, "request": {"content_type": "text/csv", "accept": "application/json", "body": "1,2"}},
    )
    assert {
        "EndpointName": "dev-census",
        "ContentType": "text/csv",
        "Accept": "application/json",
        "Body": "1,2",
        "InferenceId": "golden-7-3",
    } == asked
    (catcher,) = inner["AskEndpoint"]["Catch"]
    assert (["States.ALL"], "Asked", "Succeed") == (catcher["ErrorEquals"], catcher["Next"], inner["Asked"]["Type"])

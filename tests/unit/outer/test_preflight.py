"""What has to hold before an endpoint is touched: each check's sentence, and that all are told together."""

import fnmatch
import json
from typing import Any

import pytest

from dual_pipeline.outer_loop.preflight import preflight_definition, preflight_statements
from dual_pipeline.outer_loop.setting import Setting
from dual_pipeline_local import definitions

GIVEN = {
    "image": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
    "digest": "sha256:aa",
    "model": "s3://artifact-bucket/census/executions/abc/model.tar.gz",
    "etag": "e1",
    "created": 1_795_168_800_000,
    "folder": "census/executions/abc/evaluate/evaluation/",
    "champion": "",
}
DIGEST = {"Images": [{"ImageId": {"ImageDigest": "sha256:aa"}}]}
HEAD = {"ETag": '"e1"', "LastModified": "2026-11-20T09:59:00Z"}


@pytest.fixture(scope="module")
def states(setting: Setting) -> dict[str, Any]:
    """Every state of every branch by name."""
    definition: Any = json.loads(json.dumps(preflight_definition(setting)))
    branches = definition["States"]["CheckAll"]["Branches"]
    return {name: state for branch in branches for name, state in branch["States"].items()}


def test_step_functions_accepts_it(setting: Setting, jsonata_problem: Any) -> None:
    """It is a valid Express machine."""
    text = json.dumps(preflight_definition(setting))
    assert (None, None) == (definitions.problem(text, kind="EXPRESS"), jsonata_problem(text))


@pytest.mark.parametrize(
    ("state", "result", "problem"),
    [
        ("CheckImage", DIGEST, None),
        ("CheckImage", {"Images": [], "Failures": [{}]}, "sagemaker-xgboost:3.2-0 does not exist any more"),
        (
            "CheckImage",
            {"Images": [{"ImageId": {"ImageDigest": "sha256:bb"}}]},
            "is sha256:bb now and was sha256:aa when the model was registered",
        ),
        ("CheckModel", HEAD, None),
        ("CheckModel", HEAD | {"ETag": '"e2"'}, "has the ETag e2 now and had e1 when it was registered"),
        (
            "CheckModel",
            HEAD | {"LastModified": "2026-11-20T10:00:01Z"},
            "was written anew at 2026-11-20T10:00:01Z, after its registration",
        ),
        ("CheckBaseline", {}, None),
        ("CheckAlarms", {"MetricAlarms": [{"AlarmName": n, "StateValue": "OK"} for n in ("errors", "latency")]}, None),
        (
            "CheckAlarms",
            {"MetricAlarms": [{"AlarmName": "errors", "StateValue": "OK"}]},
            "no rollback alarm latency exists, so nothing would send a bad model back: deploy the environment again",
        ),
        ("CheckAlarms", {"MetricAlarms": []}, "no rollback alarm errors, latency exists"),
    ],
)
def test_a_check(states: dict[str, Any], evaluate: Any, state: str, result: Any, problem: str | None) -> None:
    """What is as it was registered is no problem; anything else is one sentence with what was found."""
    found = evaluate(states[state]["Output"], given=GIVEN, result=result)["problems"]
    assert [] == found if problem is None else problem in found[0]


def test_ringing_alarms_are_named(states: dict[str, Any], evaluate: Any) -> None:
    """Whether a ringing alarm hinders is the caller's to say, so it is no problem by itself."""
    alarms = [{"AlarmName": "errors", "StateValue": "ALARM"}, {"AlarmName": "latency", "StateValue": "OK"}]
    found = evaluate(states["CheckAlarms"]["Output"], given=GIVEN, result={"MetricAlarms": alarms})
    assert {"ringing": ["errors"], "problems": []} == found


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("CheckAlarms", "the rollback alarms cannot be read: X.Denied no"),
        ("CheckImage", f"the image {GIVEN['image']} cannot be read: X.Denied no"),
        ("CheckModel", f"the model file {GIVEN['model']} cannot be read: X.Denied no"),
        ("CheckBaseline", "the drift baseline census/executions/abc/evaluate/evaluation/drift_baseline.json cannot be"),
        ("FindEndpoint", "the endpoint dev-census cannot be read: X.Denied no"),
        ("ReadEndpoint", "the endpoint dev-census cannot be read: X.Denied no"),
    ],
)
def test_what_cannot_be_read_is_a_problem(states: dict[str, Any], evaluate: Any, state: str, problem: str) -> None:
    """An answer that does not come is told with its error, and the other checks go on."""
    (catcher,) = states[state]["Catch"]
    assert "Succeed" == states[catcher["Next"]]["Type"]
    found = evaluate(catcher["Output"], given=GIVEN, error={"Error": "X.Denied", "Cause": "no"})
    assert found["problems"][0].startswith(problem)


@pytest.mark.parametrize(("champion", "config"), [("", "live"), ("champion-config", "champion-config")])
def test_the_way_back_is_the_champion(states: dict[str, Any], evaluate: Any, champion: str, config: str) -> None:
    """What serves after an aborted run may be another model: a refused rollout goes back to the champion's."""
    endpoint = {
        "EndpointStatus": "InService",
        "EndpointConfigName": "live",
        "ProductionVariants": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}],
    }
    read = evaluate(states["ReadEndpoint"]["Output"], given=GIVEN | {"champion": champion}, result=endpoint)
    assert {"status": "InService", "config": config, "live": "live", "count": 3, "problems": []} == read


def test_what_serves_is_a_way_back_too(states: dict[str, Any], evaluate: Any) -> None:
    """Where the champion's configuration is gone, the live one is the way back; where that is gone there is none."""
    (catcher,) = states["CheckWayBack"]["Catch"]
    error = {"Error": "SageMaker.SageMakerException", "Cause": "gone"}
    found = {"status": "InService", "live": "live", "count": 3, "problems": []}
    other = evaluate(catcher["Output"], given=found | {"config": "champion-config"}, error=error)
    assert ("live", []) == (other["config"], other["problems"])
    config, read = "live", found | {"config": "live"}
    lost = evaluate(catcher["Output"], given=read, error=error)
    assert lost["problems"] == [
        f"the endpoint configuration {config}, to which a refused rollout goes back, cannot be read: it must not be"
        " deleted while it serves: SageMaker.SageMakerException gone"
    ]


def test_everything_wrong_is_told_at_once(setting: Setting, evaluate: Any) -> None:
    """The branches' findings become one list of problems beside the endpoint as it is."""
    definition: Any = preflight_definition(setting)
    branches = [
        {"ringing": [], "problems": ["one"]},
        {"problems": []},
        {"problems": ["two"]},
        {"status": "InService", "config": "c", "count": 1, "problems": []},
    ]
    found = evaluate(definition["States"]["CheckAll"]["Output"], result=branches)
    assert {"ringing": [], "status": "InService", "config": "c", "count": 1, "problems": ["one", "two"]} == found


def test_it_only_reads(setting: Setting) -> None:
    """Its role may look at what it checks and change nothing."""
    actions = {action for statement in preflight_statements(setting) for action in statement.actions}
    reading = ("*:Describe*", "*:List*", "*:Get*", "*:BatchGet*", "kms:*")
    assert {a for a in actions if not any(fnmatch.fnmatchcase(a, pattern) for pattern in reading)} == set()

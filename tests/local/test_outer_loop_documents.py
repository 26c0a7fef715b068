"""What the jobs leave in S3, read by the shipped states in the emulator: only a document that can be read counts."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline.asl import assign
from dual_pipeline.outer_loop.definition import outer_loop_definition
from outer_loop import setting
from pipeline_code.census.project import CENSUS
from verdicts import verdict_document

pytestmark = pytest.mark.local

BUCKET = "documents"
SNAPSHOT = f"s3://{BUCKET}/documents/snapshots/1/"
STATES = "states.amazonaws.com"


Machine = Callable[..., str]


@pytest.fixture(scope="module")
def machine(emulator: Any) -> Machine:
    """Makes a machine of states as they ship, which starts with one of them and ends where they would go on."""
    places = replace(setting("documents"), account="123456789012", data_bucket=BUCKET, artifact_bucket=BUCKET)
    places = replace(places, project=replace(places.project, smoke_training=None))
    states: Any = outer_loop_definition(places)["States"]
    emulator.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    bucket = f"arn:aws:s3:::{BUCKET}"
    role = emulator.role(
        "reader",
        STATES,
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
        {"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*"},
    )

    def make(*names: str, ends: tuple[str, ...], **variables: object) -> str:
        start = {"Start": assign({"reason": "", **variables}, next_=names[0])}
        told = {"reason": "{% $reason %}"}
        passes = {name: {"Type": "Pass", "Output": {"next": name, **told}, "End": True} for name in ends}
        kept = {name: states[name] for name in names}
        definition = {"QueryLanguage": "JSONata", "StartAt": "Start", "States": start | kept | passes}
        arn: str = emulator.machine(names[0], role, definition)
        return arn

    return make


@pytest.fixture(scope="module")
def verdict(machine: Machine) -> str:
    """ReadVerdict, PublishQuality and GateData; the input names the run."""
    ends = ("ReadChampion", "ChooseQuarantine", "FreeLocks")
    given = {"runId": "{% $states.input.run %}", "snapshotUri": SNAPSHOT}
    return machine("ReadVerdict", "PublishQuality", "GateData", ends=ends, trigger={}, ingest={}, **given)


@pytest.fixture(scope="module")
def evaluation(machine: Machine) -> str:
    """ReadEvaluation, GateModel and IsRegistered; the input names the folder and what was registered."""
    given = {name: f"{{% $states.input.{name} %}}" for name in ("folder", "packageArn")}
    ends = ("RejectPackage", "FreeTrainingLock", "FreeLocks", "TakeReleaseLock")
    return machine("ReadEvaluation", "GateModel", "IsRegistered", ends=ends, outcome="", **given)


def document(run: str, **changes: Any) -> str:
    return json.dumps(verdict_document(CENSUS.ruleset, run_id=run, snapshot_uri=SNAPSHOT, **changes))


@pytest.mark.parametrize(
    ("run", "body", "next_", "reason"),
    [
        ("passes", document("passes"), "ReadChampion", ""),
        ("warns", "\n" + document("warns", verdict="warn"), "ReadChampion", ""),
        ("blocks", document("blocks", verdict="block", reasons=["é"]), "ChooseQuarantine", "its quality rules: é"),
        ("garbage", "{garbage", "FreeLocks", "ReadVerdict failed with States.QueryEvaluationError"),
        ("truncated", document("truncated")[:-20], "FreeLocks", "ReadVerdict failed with States.QueryEvaluationError"),
        ("empty", "", "FreeLocks", "ReadVerdict failed with States.QueryEvaluationError"),
        ("odd", document("odd", verdict="perhaps"), "FreeLocks", "verdict.json says neither pass, warn nor block"),
        ("list", "[1]", "FreeLocks", "verdict.json says neither pass, warn nor block"),
        ("stale", document("another"), "FreeLocks", "verdict.json is of another run"),
        ("forged", document("forged", broken=(0,)), "FreeLocks", "verdict.json does not block though a rule does"),
        ("short", document("short", rules=[]), "FreeLocks", "verdict.json lacks results of rules"),
        ("missing", None, "FreeLocks", "ReadVerdict failed with S3.NoSuchKeyException"),
    ],
)
def test_verdict(emulator: Any, verdict: str, run: str, body: str | None, next_: str, reason: str) -> None:
    """Training starts on a verdict that can be read and says so, and on nothing else."""
    if body is not None:
        key = f"documents/runs/{run}/verdict.json"
        emulator.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body.encode())
    done = emulator.execute(verdict, {"run": run})
    assert done["status"] == "SUCCEEDED", done
    output = json.loads(done["output"])
    assert output["next"] == next_
    assert reason in output["reason"]


@pytest.mark.parametrize("package", ["", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/documents/1"])
@pytest.mark.parametrize(
    ("run", "body", "reason"),
    [
        ("truncated", '{"gate": {"passed": true}', "ReadEvaluation failed with States.QueryEvaluationError"),
        ("empty", "", "ReadEvaluation failed with States.QueryEvaluationError"),
        ("missing", None, "ReadEvaluation failed with S3.NoSuchKeyException"),
    ],
)
def test_evaluation_that_cannot_be_read(
    emulator: Any, evaluation: str, package: str, run: str, body: str | None, reason: str
) -> None:
    """The run fails with the state's name, and a package that its execution registered is rejected first."""
    folder = f"documents/executions/{run}/evaluate/evaluation/"
    if body is not None:
        emulator.client("s3").put_object(Bucket=BUCKET, Key=f"{folder}evaluation.json", Body=body.encode())
    done = emulator.execute(evaluation, {"folder": folder, "packageArn": package})
    assert done["status"] == "SUCCEEDED", done
    output = json.loads(done["output"])
    assert output["next"] == ("RejectPackage" if package else "FreeLocks")
    assert reason in output["reason"]

"""What the jobs leave in S3, read by the shipped states in the emulator: only a document that can be read counts."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline.asl import assign
from dual_pipeline.environment import Environment
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.setting import Setting
from pipeline_code.census.project import CENSUS

pytestmark = pytest.mark.local

BUCKET = "documents"
STATES = "states.amazonaws.com"


@pytest.fixture(scope="module")
def machine(emulator: Any) -> str:
    """ReadVerdict and GateData as they ship, ending where they would go on."""
    environment = Environment(name="dev", region="eu-west-1", projects=(replace(CENSUS, name="documents"),))
    setting = Setting(
        environment=environment,
        project=environment.projects[0],
        partition="aws",
        account="123456789012",
        data_bucket=BUCKET,
        artifact_bucket=BUCKET,
        table_name="ledger",
        key_arn="arn:aws:kms:eu-west-1:123456789012:key/key",
        topic_arn="arn:aws:sns:eu-west-1:123456789012:topic",
        model_role_arn="arn:aws:iam::123456789012:role/model",
        rollback_alarms=("errors",),
    )
    states: Any = outer_loop_definition(setting)["States"]
    ends = {
        name: {"Type": "Pass", "Output": {"next": name, "reason": "{% $reason %}"}, "End": True}
        for name in ("ReadChampion", "ChooseQuarantine", "FreeLocks")
    }
    start = {"Start": assign({"runId": "{% $states.input.run %}", "reason": ""}, next_="ReadVerdict")}
    kept = {name: states[name] for name in ("ReadVerdict", "GateData")}
    emulator.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    bucket = f"arn:aws:s3:::{BUCKET}"
    role = emulator.role(
        "reader",
        STATES,
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
    )
    definition = {"QueryLanguage": "JSONata", "StartAt": "Start", "States": start | kept | ends}
    arn: str = emulator.machine("documents", role, definition)
    return arn


@pytest.mark.parametrize(
    ("run", "body", "next_", "reason"),
    [
        ("passes", '{"verdict": "pass", "reasons": []}', "ReadChampion", ""),
        ("warns", '\n{"verdict": "warn"}', "ReadChampion", ""),
        ("blocks", '{"verdict": "block", "reasons": ["é"]}', "ChooseQuarantine", "failed its quality rules: é"),
        ("garbage", "{garbage", "FreeLocks", "ReadVerdict failed with States.QueryEvaluationError"),
        ("empty", "", "FreeLocks", "ReadVerdict failed with States.QueryEvaluationError"),
        ("odd", '{"verdict": "perhaps"}', "FreeLocks", "verdict.json says neither pass, warn nor block"),
        ("list", "[1]", "FreeLocks", "verdict.json says neither pass, warn nor block"),
        ("missing", None, "FreeLocks", "ReadVerdict failed with S3.NoSuchKeyException"),
    ],
)
def test_verdict(emulator: Any, machine: str, run: str, body: str | None, next_: str, reason: str) -> None:
    """Training starts on a verdict that can be read and says so, and on nothing else."""
    if body is not None:
        key = f"documents/runs/{run}/verdict.json"
        emulator.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body.encode())
    done = emulator.execute(machine, {"run": run})
    assert done["status"] == "SUCCEEDED", done
    output = json.loads(done["output"])
    assert output["next"] == next_
    assert reason in output["reason"]

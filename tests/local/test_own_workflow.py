"""The example's workflow with the permissions that follow from it, run with a real XGBoost in the local AWS."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline.code_bundle import write_alone_bundle
from dual_pipeline.workflow import Workflow
from dual_pipeline.workflow_check import checked, filled
from dual_pipeline.workflow_permissions import statements_of
from snapshots import census, write_snapshot
from waiting import until

pytestmark = pytest.mark.local

ROOT = Path(__file__).parents[2]
EXAMPLE = Workflow(name="train-save", file="examples/train-and-save/workflow.json", step="alone")
BUCKET = "corner"
# How EventBridge names the executions that it starts.
BY_EVENTBRIDGE = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f_0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
PREFIX = "dev-census-train-save"
SNAPSHOT = {"snapshot_uri": f"s3://{BUCKET}/census/snapshots/by-hand/"}


@pytest.fixture(scope="module")
def machine(emulator: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Makes the example's machine, its hyperparameters changed, under the role that follows from the document."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    folder = tmp_path_factory.mktemp("folder")
    rows = write_snapshot(folder / "snapshot", census().slice(0, 2_000)) / "data" / "part-00000.parquet"
    s3.upload_file(str(rows), BUCKET, "census/snapshots/by-hand/data/part-00000.parquet")
    bundle = write_alone_bundle(ROOT / "pipeline_code" / "census", step="alone", folder=folder)
    s3.upload_file(str(bundle), BUCKET, f"code/{bundle.name}")
    objects = {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]}
    values = {
        "AccountId": "123456789012",
        "ArtifactBucket": BUCKET,
        "CodeFile": bundle.name,
        "CodeUri": f"s3://{BUCKET}/code/{bundle.name}",
        "CostCenter": "cc",
        "Environment": "dev",
        "KmsKeyArn": emulator.client("kms").create_key()["KeyMetadata"]["Arn"],
        "ModelRoleArn": emulator.role("model", "sagemaker.amazonaws.com", objects),
        "NamePrefix": PREFIX,
        "Partition": "aws",
        "Project": "census",
        "Region": "eu-west-1",
        "TrainingRoleArn": emulator.role("training", "sagemaker.amazonaws.com", objects),
        "XgboostImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1",
    }
    document = checked((ROOT / EXAMPLE.file).read_text(), workflow=EXAMPLE)
    granted = [
        {
            "Effect": "Allow",
            "Action": list(each.actions),
            "Resource": filled(list(each.resources), values),
            "Condition": dict(each.conditions),
        }
        for each in statements_of(document, workflow=EXAMPLE)
    ]
    role = emulator.role("workflow", "states.amazonaws.com", *granted)

    def make(name: str, **hyperparameters: str) -> str:
        definition = filled(document, values)
        definition["States"]["Train"]["Parameters"]["HyperParameters"] |= hyperparameters
        arn: str = emulator.machine(name, role, json.loads(json.dumps(definition)))
        return arn

    return make


def test_a_model_is_trained_and_saved(emulator: Any, machine: Callable[..., str]) -> None:
    """JSONPath, `.sync` and createModel do what they do on AWS, and what the role is given suffices."""
    arn = machine("trains", num_round="5")
    execution = emulator.client("stepfunctions").start_execution(
        stateMachineArn=arn, name=BY_EVENTBRIDGE, input=json.dumps(SNAPSHOT)
    )["executionArn"]
    ended = emulator.ended(execution, seconds=60)
    assert ended["status"] == "SUCCEEDED", ended
    sagemaker = emulator.client("sagemaker")
    name = json.loads(ended["output"])["name"]
    assert re.fullmatch(rf"{PREFIX}-[0-9a-f]{{32}}", name)
    job = sagemaker.describe_training_job(TrainingJobName=name)
    model = sagemaker.describe_model(ModelName=name)
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == model["PrimaryContainer"]["ModelDataUrl"]
    assert json.loads(ended["output"])["created"]["ModelArn"] == model["ModelArn"]
    assert [] == emulator.unmapped()


def test_a_stopped_execution_stops_its_job(emulator: Any, machine: Callable[..., str]) -> None:
    """Who stops the workflow pays for nothing further."""
    arn = machine("is-stopped", num_round="100000", early_stopping_rounds="100000")
    states, sagemaker = emulator.client("stepfunctions"), emulator.client("sagemaker")
    before = sagemaker.list_training_jobs(NameContains=PREFIX)["TrainingJobSummaries"]
    execution = states.start_execution(stateMachineArn=arn, input=json.dumps(SNAPSHOT))["executionArn"]

    def job() -> dict[str, Any]:
        jobs = sagemaker.list_training_jobs(NameContains=PREFIX)["TrainingJobSummaries"]
        names = {each["TrainingJobName"] for each in before}
        found = [each for each in jobs if each["TrainingJobName"] not in names]
        return dict(found[0]) if found else {"TrainingJobStatus": "None"}

    assert until(lambda: job()["TrainingJobStatus"] == "InProgress")
    states.stop_execution(executionArn=execution)
    assert until(lambda: job()["TrainingJobStatus"] == "Stopped")
    assert "ABORTED" == emulator.ended(execution)["status"]


def test_a_name_outside_its_own_is_denied(emulator: Any, machine: Callable[..., str]) -> None:
    """A workflow cannot make a job under another's name."""
    role = emulator.client("stepfunctions").describe_state_machine(stateMachineArn=machine("own"))["roleArn"]
    document = checked((ROOT / EXAMPLE.file).read_text(), workflow=EXAMPLE)
    definition = json.loads(json.dumps(document).replace("${NamePrefix}", "dev-census-train"))
    ended = emulator.execute(emulator.machine("foreign", role, definition), SNAPSHOT)
    assert ("FAILED", "SageMaker.AmazonSageMakerException") == (ended["status"], ended["error"])
    assert "dev-census-train-" in ended["cause"]

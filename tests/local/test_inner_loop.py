"""The inner loop with every optional step switched on, deployed from its own templates and run on census data.

One environment serves all tests; each starts executions of the deployed pipeline, as a data scientist would.
"""

import csv
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import Deployment, read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws
from environments import DEV
from everything import EVERYTHING
from pipeline_code.census.contract import FEATURES, LABEL, MISSING, NUMERIC, RENAMED
from stacks.stage import ROOT, EnvironmentStage
from synthesis import context, two_projects

pytestmark = [
    pytest.mark.local,
    pytest.mark.spark,
    pytest.mark.xdist_group("inner-loop"),
    pytest.mark.timeout(600),
]

PROJECT = "census-two"
JOBS = ("Preprocess", "Profile", "Train", "Tune", "Baseline", "Evaluate")
# Small enough for seconds; the gate's floors stand.
FAIR = [{"Name": "note", "Value": "the sample is fair"}]
QUICK = {"HyperNumRound": "40", "TuningMaxJobs": "2", "TuningMaxParallelJobs": "2"}


@dataclass(frozen=True)
class Loop:
    """The deployed pipeline, and clients of the AWS it is deployed into."""

    aws: LocalAws
    deployment: Deployment

    def start(self, snapshot: str, **parameters: str) -> str:
        """Start an execution; its ARN."""
        given = {"SnapshotUri": snapshot, **QUICK, **parameters}
        started = self.aws.client("sagemaker").start_pipeline_execution(
            PipelineName=self.deployment["PipelineName"],
            PipelineParameters=[{"Name": name, "Value": value} for name, value in given.items()],
        )
        arn: str = started["PipelineExecutionArn"]
        return arn

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        """Its steps by name."""
        pages = self.aws.client("sagemaker").get_paginator("list_pipeline_execution_steps")
        found = pages.paginate(PipelineExecutionArn=execution, SortOrder="Ascending")
        return {step["StepName"]: step for page in found for step in page["PipelineExecutionSteps"]}

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for its end, passing it at the external check, and describe it."""
        client, deadline = self.aws.client("sagemaker"), time.monotonic() + 300
        while time.monotonic() < deadline:
            described: dict[str, Any] = client.describe_pipeline_execution(PipelineExecutionArn=execution)
            if described["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                return described
            for message in self.asked():
                client.send_pipeline_execution_step_success(CallbackToken=message["token"], OutputParameters=FAIR)
            time.sleep(0.5)
        raise AssertionError(f"{execution} still runs: {self.steps(execution)}")

    def asked(self) -> list[dict[str, Any]]:
        """Messages that wait for the auditor, taken from the queue."""
        sqs = self.aws.client("sqs")
        queues = [url for url in sqs.list_queues().get("QueueUrls", []) if "DeadLetter" not in url]
        found = []
        for queue in (url for url in queues if "xternal" in url):
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def hits(self, execution: str) -> dict[str, bool]:
        """Of each job step whether the cache answered it."""
        return {name: "CacheHitResult" in step for name, step in self.steps(execution).items() if name in JOBS}

    def read(self, uri: str) -> bytes:
        """An object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put_snapshot(self, name: str, rows: list[dict[str, str]]) -> str:
        """Census rows as ingest would have typed them; the snapshot's URI."""
        columns: dict[str, list[Any]] = {
            column: [
                None if row[column] in MISSING else int(row[column]) if column in NUMERIC else row[column]
                for row in rows
            ]
            for column in FEATURES
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({**columns, LABEL: [row[LABEL] for row in rows]}), sink)
        prefix = f"{PROJECT}/snapshots/{name}"
        s3, bucket = self.aws.client("s3"), self.deployment["DataBucketName"]
        s3.put_object(Bucket=bucket, Key=f"{prefix}/data/part-00000.parquet", Body=sink.getvalue().to_pybytes())
        s3.put_object(Bucket=bucket, Key=f"{prefix}/manifest.json", Body=json.dumps({"rows": len(rows)}))
        return f"s3://{bucket}/{prefix}/"


def census_rows() -> list[dict[str, str]]:
    """A quarter of the census, trimmed and renamed."""
    with (ROOT / "data" / "census.csv").open() as file:
        rows = [{RENAMED.get(name, name): text.strip() for name, text in row.items()} for row in csv.DictReader(file)]
    return rows[::4]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """The environment `dev` with every step of the pipeline; each Spot job is interrupted once."""
    work = tmp_path_factory.mktemp("inner-loop")
    environment = replace(DEV, projects=(replace(EVERYTHING, name=PROJECT),))
    app = cdk.App(outdir=str(work / "cdk.out"), context=context())
    EnvironmentStage(app, "Dev", environment=environment, root=two_projects(work / "code"))
    app.synth()
    workplace = Workplace(folder=work / "local")
    command = [sys.executable, "-m", "dual_pipeline_cli", "local"]
    options = ["--work", str(workplace.folder)]
    up = subprocess.run(
        [*command, "up", "--app", str(work / "cdk.out"), *options],
        cwd=ROOT,
        env={**os.environ, "SAGEMAKER_SPOT_INTERRUPTIONS": "1"},
        capture_output=True,
        text=True,
    )
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        emulator = lifecycle.find(workplace)
        assert emulator is not None
        aws = LocalAws(emulator.settings)
        yield Loop(aws, read_deployment(aws, environment="dev", project=PROJECT))
    finally:
        subprocess.run([*command, "down", *options], cwd=ROOT, capture_output=True)


@pytest.fixture(scope="module")
def snapshot(loop: Loop) -> str:
    """A snapshot of a quarter of the census, and rows to score beside it."""
    rows = census_rows()
    lines = "".join(
        ",".join("" if row[name] in MISSING else row[name] for name in FEATURES) + "\n" for row in rows[:50]
    )
    key = f"{PROJECT}/scoring/rows.csv"
    loop.aws.client("s3").put_object(Bucket=loop.deployment["DataBucketName"], Key=key, Body=lines)
    return loop.put_snapshot("first", rows)


@pytest.fixture(scope="module")
def first(loop: Loop, snapshot: str) -> str:
    """The first execution, ended well."""
    execution = loop.start(snapshot)
    described = loop.ended(execution)
    failed = {name: step.get("FailureReason") for name, step in loop.steps(execution).items()}
    assert "Succeeded" == described["PipelineExecutionStatus"], failed
    return execution


def test_every_step_type_runs(loop: Loop, first: str) -> None:
    """Processing in three images, Training, Tuning, Condition, Callback, Lambda, Model, RegisterModel, Transform."""
    ran = {name: (next(iter(step["Metadata"])), step["StepStatus"]) for name, step in loop.steps(first).items()}
    assert {
        "CheckParameters": ("Condition", "Succeeded"),
        "Preprocess": ("ProcessingJob", "Succeeded"),
        "Profile": ("ProcessingJob", "Succeeded"),
        "Train": ("TrainingJob", "Succeeded"),
        "Tune": ("TuningJob", "Succeeded"),
        "Baseline": ("ProcessingJob", "Succeeded"),
        "Evaluate": ("ProcessingJob", "Succeeded"),
        "Gate": ("Condition", "Succeeded"),
        "ExternalCheck": ("Callback", "Succeeded"),
        "Decide": ("Lambda", "Succeeded"),
        "Register": ("RegisterModel", "Succeeded"),
        "CreateModel": ("Model", "Succeeded"),
        "Score": ("TransformJob", "Succeeded"),
    } == ran


def test_steps_run_side_by_side(loop: Loop, first: str) -> None:
    """Train, Tune and Baseline need nothing of each other and overlap in time."""
    steps = loop.steps(first)
    assert steps["Tune"]["StartTime"] < steps["Train"]["EndTime"]
    assert steps["Baseline"]["StartTime"] < steps["Train"]["EndTime"]


def test_spot_training_was_interrupted_and_resumed(loop: Loop, first: str) -> None:
    """The job went through an interruption, and all the same wrote a model."""
    name = loop.steps(first)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    job = loop.aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert "Interrupted" in [change["Status"] for change in job["SecondaryStatusTransitions"]]
    assert "Completed" == job["TrainingJobStatus"]


def test_the_package_remembers(loop: Loop, first: str) -> None:
    """Data, code, run, metrics, drift baseline, card and samples are all on the package, and what they name exists."""
    arn = loop.steps(first)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = loop.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    known = package["CustomerMetadataProperties"]
    assert {"run_id", "snapshot_uri", "execution_id", "reason", "definition_hash", "commit", "image"} <= known.keys()
    artifacts = loop.deployment["ArtifactBucketName"]
    for name in ("code_preprocess", "code_train", "code_evaluate", "code_baseline", "code_profile", "code_decide"):
        assert loop.read(f"s3://{artifacts}/{PROJECT}/code/{known[name]}")
    assert loop.read(f"s3://{artifacts}/{PROJECT}/code/{known['definition_hash']}.json")
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == card["model_overview"]["model_artifact"][0]
    for uri in (
        package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"],
        package["DriftCheckBaselines"]["ModelDataQuality"]["Statistics"]["S3Uri"],
        package["SamplePayloadUrl"],
        package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
    ):
        assert loop.read(uri)


def test_batch_scores_every_row(loop: Loop, first: str) -> None:
    """The transform answers each of the fifty rows."""
    name = loop.steps(first)["Score"]["Metadata"]["TransformJob"]["Arn"].rpartition("/")[2]
    job = loop.aws.client("sagemaker").describe_transform_job(TransformJobName=name)
    answer = loop.read(job["TransformOutput"]["S3OutputPath"].rstrip("/") + "/rows.csv.out")
    predictions = [value for line in answer.decode().splitlines() for value in json.loads(line)["predictions"]]
    assert 50 == len(predictions)


def test_the_same_again_is_taken_from_the_cache(loop: Loop, snapshot: str, first: str) -> None:
    """A second run on the same snapshot runs no job anew."""
    again = loop.start(snapshot)
    assert "Succeeded" == loop.ended(again)["PipelineExecutionStatus"]
    assert dict.fromkeys(JOBS, True) == loop.hits(again)


def test_another_champion_is_judged_anew(loop: Loop, snapshot: str, first: str) -> None:
    """Only Evaluate depends on the champion, and it says how the challenger compares."""
    execution_id = first.rpartition("/")[2]
    prefix = f"s3://{loop.deployment['ArtifactBucketName']}/{PROJECT}/executions"
    again = loop.start(snapshot, ChampionUri=f"{prefix}/{execution_id}/evaluate/model/model.tar.gz")
    assert "Succeeded" == loop.ended(again)["PipelineExecutionStatus"]
    assert {**dict.fromkeys(JOBS, True), "Evaluate": False} == loop.hits(again)
    report = json.loads(loop.read(f"{prefix}/{again.rpartition('/')[2]}/evaluate/evaluation/evaluation.json"))
    assert 0 == report["champion"]["auc_difference"]
    assert report["gate"]["passed"]


def test_other_train_code_trains_anew_and_what_follows(loop: Loop, snapshot: str, first: str, tmp_path: Path) -> None:
    """Preprocess, Profile and Baseline are taken from the cache; Train, Tune and Evaluate are not."""
    client = loop.aws.client("sagemaker")
    pipeline = client.describe_pipeline(PipelineName=loop.deployment["PipelineName"])
    definition: str = pipeline["PipelineDefinition"]
    train = next(step for step in json.loads(definition)["Steps"] if step["Name"] == "Train")
    channel = next(entry for entry in train["Arguments"]["InputDataConfig"] if entry["ChannelName"] == "code")
    uri: str = channel["DataSource"]["S3DataSource"]["S3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    loop.aws.client("s3").download_file(bucket, key, str(tmp_path / "old.tar.gz"))
    with tarfile.open(tmp_path / "old.tar.gz") as old:
        old.extractall(tmp_path / "code", filter="data")
    (tmp_path / "code" / "changed.py").write_text("")
    with tarfile.open(tmp_path / "new.tar.gz", "w:gz") as new:
        new.add(tmp_path / "code", arcname=".")
    name = key.rpartition("/")[2]
    loop.aws.client("s3").upload_file(str(tmp_path / "new.tar.gz"), bucket, key.replace(name, "changed.tar.gz"))
    changed = definition.replace(name, "changed.tar.gz")
    client.update_pipeline(PipelineName=pipeline["PipelineName"], PipelineDefinition=changed)
    try:
        again = loop.start(snapshot)
        assert "Succeeded" == loop.ended(again)["PipelineExecutionStatus"]
    finally:
        client.update_pipeline(PipelineName=pipeline["PipelineName"], PipelineDefinition=definition)
    assert {**dict.fromkeys(JOBS, False), "Preprocess": True, "Profile": True, "Baseline": True} == loop.hits(again)


def test_other_data_runs_everything_anew(loop: Loop, first: str) -> None:
    """Nothing is taken from the cache, and where every row says no, the empty class is named at the first step."""
    rows = [{**row, LABEL: "<=50K"} for row in census_rows()[:200]]
    execution = loop.start(loop.put_snapshot("one-class", rows))
    assert "Failed" == loop.ended(execution)["PipelineExecutionStatus"]
    steps = loop.steps(execution)
    assert not any(loop.hits(execution).values())
    assert "a classifier needs both" in steps["Preprocess"]["FailureReason"]
    assert "Train" not in steps


def test_parameters_are_refused_before_a_job_starts(loop: Loop, snapshot: str) -> None:
    """A wrong type or an instance of another class at the start; a value out of range by the pipeline's first step."""
    for name, value in (("HyperMaxDepth", "deep"), ("TrainingInstanceType", "ml.p4d.24xlarge"), ("Unknown", "1")):
        with pytest.raises(ClientError, match=name):
            loop.start(snapshot, **{name: value})
    execution = loop.start(snapshot, HyperEta="7")
    described = loop.ended(execution)
    assert "Failed" == described["PipelineExecutionStatus"]
    assert "HyperEta" in described["FailureReason"]
    assert {"CheckParameters", "BadParameters"} == loop.steps(execution).keys()


def test_an_auditor_may_refuse(loop: Loop, snapshot: str, first: str) -> None:
    """The step fails with the auditor's reason, nothing is registered, and a second answer is refused."""
    client = loop.aws.client("sagemaker")
    execution = loop.start(snapshot, MinAuc="0.87")
    deadline, asked = time.monotonic() + 120, []
    while not asked and time.monotonic() < deadline:
        asked = loop.asked()
        time.sleep(0.5)
    token = asked[0]["token"]
    client.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="the sample is not fair")
    assert "Failed" == loop.ended(execution)["PipelineExecutionStatus"]
    steps = loop.steps(execution)
    assert "the sample is not fair" in steps["ExternalCheck"]["FailureReason"]
    assert "Register" not in steps
    with pytest.raises(ClientError):
        client.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=FAIR)


def test_a_refused_model_fails_where_the_project_wants_it(loop: Loop, snapshot: str, first: str) -> None:
    """With `refused="fail"` the execution fails at the step Refused; the reasons stay in the report."""
    execution = loop.start(snapshot, MinAuc="0.999")
    described = loop.ended(execution)
    assert "Failed" == described["PipelineExecutionStatus"]
    assert "Failed" == loop.steps(execution)["Refused"]["StepStatus"]
    assert "did not pass its gate" in described["FailureReason"]


def test_failed_executions_are_retried_from_where_they_failed(loop: Loop, snapshot: str, first: str) -> None:
    """RetryPipelineExecution keeps what succeeded; here the auditor thinks better of it."""
    client = loop.aws.client("sagemaker")
    execution = loop.start(snapshot, MinAuc="0.86")
    deadline, asked = time.monotonic() + 120, []
    while not asked and time.monotonic() < deadline:
        asked = loop.asked()
        time.sleep(0.5)
    client.send_pipeline_execution_step_failure(CallbackToken=asked[0]["token"], FailureReason="come back later")
    loop.ended(execution)
    before = loop.steps(execution)["Evaluate"]["Metadata"]
    client.retry_pipeline_execution(PipelineExecutionArn=execution)
    assert "Succeeded" == loop.ended(execution)["PipelineExecutionStatus"]
    assert before == loop.steps(execution)["Evaluate"]["Metadata"]

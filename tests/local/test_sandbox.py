"""A data scientist's own copy of the inner loop, run and replayed in a local AWS with their own rights alone."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import Deployment, read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws
from pipeline_code.census import contract

pytestmark = [pytest.mark.local, pytest.mark.long]

ROOT = Path(__file__).parents[2]
ROWS = 6_000
COPY = "dev-census--ann-lee"
SPOT = "CENSUS = replace(CENSUS, training=Training(spot=True))"

Command = Callable[..., subprocess.CompletedProcess[str]]


def python(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, whose own constructs come first."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "constructs"), "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS with `dev` deployed, in which every Spot training is interrupted once."""
    workplace = Workplace(folder=tmp_path_factory.mktemp("local"))
    assembly = tmp_path_factory.mktemp("assembly") / "cdk.out"
    context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "environment": "dev"}
    synthesized = python(ROOT, "app.py", CDK_OUTDIR=str(assembly), CDK_CONTEXT_JSON=json.dumps(context))
    assert synthesized.returncode == 0, synthesized.stderr
    local = ("-m", "dual_pipeline_cli", "local")
    up = python(ROOT, *local, "up", "--app", assembly, "--work", workplace.folder, SAGEMAKER_SPOT_INTERRUPTIONS="1")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        emulator = lifecycle.find(workplace)
        assert emulator is not None
        yield LocalAws(emulator.settings)
    finally:
        python(ROOT, *local, "down", "--work", workplace.folder)


@pytest.fixture(scope="module")
def deployment(aws: LocalAws) -> Deployment:
    return read_deployment(aws, environment="dev", project="census")


@pytest.fixture(scope="module")
def ann(aws: LocalAws) -> dict[str, str]:
    """The credentials of a user who holds the data scientists' policy and nothing else."""
    iam = aws.client("iam")
    (policy,) = [
        each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"] if "DataScientists" in each["PolicyName"]
    ]
    iam.create_user(UserName="Ann.Lee")
    iam.attach_user_policy(UserName="Ann.Lee", PolicyArn=policy)
    key = iam.create_access_key(UserName="Ann.Lee")["AccessKey"]
    return {
        **aws.settings.endpoint_environment(),
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working tree of Ann's, whose training is on Spot capacity."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("pipeline_code", "constructs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "environments.py", root)
    project = root / "pipeline_code" / "census" / "project.py"
    imports = "from dataclasses import replace\n\nfrom dual_pipeline.model_project import Training\n\n"
    project.write_text(f"{project.read_text()}\n\n{imports}{SPOT}\n")
    compiled = python(root, "-m", "pipeline_code.compile")
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return root


@pytest.fixture(scope="module")
def command(checkout: Path, ann: dict[str, str]) -> Command:
    """The command line as Ann calls it in her working tree."""
    return lambda *arguments: python(checkout, "-m", "dual_pipeline_cli", *arguments, **ann)


@pytest.fixture(scope="module")
def snapshot(aws: LocalAws, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first rows of the census data as ingestion would leave them."""
    with (ROOT / "data" / "census.csv").open(newline="") as stream:
        rows = [row for row, _ in zip(csv.DictReader(stream, skipinitialspace=True), range(ROWS), strict=False)]
    names = {contract.RENAMED.get(raw, raw): raw for raw in rows[0]}
    columns = {
        name: [None if row[names[name]].strip() in contract.MISSING else row[names[name]].strip() for row in rows]
        for name in (*contract.FEATURES, contract.LABEL)
    }
    arrays = {
        name: pa.array([value and int(value) for value in values], pa.int64())
        if name in contract.NUMERIC
        else pa.array(values)
        for name, values in columns.items()
    }
    file = tmp_path_factory.mktemp("snapshot") / "part-00000.parquet"
    pq.write_table(pa.table(arrays), file)
    bucket, _ = deployment.raw_data
    s3 = aws.client("s3")
    s3.upload_file(str(file), bucket, "census/snapshots/first/data/part-00000.parquet")
    s3.put_object(Bucket=bucket, Key="census/snapshots/first/manifest.json", Body=b"{}")
    return f"s3://{bucket}/census/snapshots/first/"


@pytest.fixture(scope="module")
def started(command: Command, snapshot: str) -> str:
    """What a copy said that was made and run."""
    made = command("sandbox", "up", "--expires-in", "2h")
    assert (0, True) == (made.returncode, made.stdout.startswith(f"made {COPY}")), made.stdout + made.stderr
    budget = ("--parameter", "TuningMaxJobs=2", "--parameter", "HyperMaxDepth=4")
    ran = command("sandbox", "start", "--snapshot", snapshot, *budget)
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    return ran.stdout


def execution_of(said: str) -> str:
    return said.partition("execution: ")[2].split()[0]


def test_a_copy_runs_as_its_owner_started_it(aws: LocalAws, started: str) -> None:
    """The steps, the metrics and the place of the artifacts are told; parameters and tags are the owner's."""
    for word in ("Preprocess", "Train", "Tune", "Evaluate", "holdout: ", "auc", "gate: ", "/census/sandbox/"):
        assert word in started
    sagemaker = aws.client("sagemaker")
    arn = execution_of(started)
    pages = sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(PipelineExecutionArn=arn)
    assert {"Name": "HyperMaxDepth", "Value": "4"} in [each for page in pages for each in page["PipelineParameters"]]
    described = sagemaker.describe_pipeline(PipelineName=COPY)
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=described["PipelineArn"])["Tags"]}
    assert {"census", "dev"} <= set(tags.values())
    assert "dual-pipeline:expires" in tags


def test_a_copy_has_a_date_of_expiry(aws: LocalAws, command: Command, started: str) -> None:
    """A one-time schedule will delete the copy; bringing the copy up to date moves it."""
    scheduler = aws.client("scheduler")
    where = {"Name": COPY, "GroupName": "dev-census--sandbox"}
    before = scheduler.get_schedule(**where)
    assert "DELETE" == before["ActionAfterCompletion"]
    again = command("sandbox", "up", "--expires-in", "3d")
    assert again.stdout.startswith(f"updated {COPY}"), again.stdout + again.stderr
    assert before["ScheduleExpression"] < scheduler.get_schedule(**where)["ScheduleExpression"]
    assert "ann-lee" in command("sandbox", "list").stdout


def test_its_owner_may_touch_nothing_else(ann: dict[str, str], started: str, deployment: Deployment) -> None:
    """With the same rights neither production's pipeline can be started nor code be overwritten."""
    session = boto3.Session(ann["AWS_ACCESS_KEY_ID"], ann["AWS_SECRET_ACCESS_KEY"], region_name=ann["AWS_REGION"])

    def client(service: str) -> Any:
        make: Any = session.client
        return make(service, endpoint_url=ann["AWS_ENDPOINT_URL"])

    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:StartPipelineExecution"):
        client("sagemaker").start_pipeline_execution(PipelineName="dev-census")
    with pytest.raises(ClientError, match="AccessDenied"):
        client("s3").put_object(Bucket=deployment["ArtifactBucketName"], Key="census/code/x.zip", Body=b"")


def test_a_bad_parameter_starts_nothing(aws: LocalAws, command: Command, started: str) -> None:
    """A value of another type is refused in a sentence, and no execution is started."""
    refused = command("sandbox", "start", "--parameter", "HyperMaxDepth=deep")
    assert (2, "error: parameter HyperMaxDepth must be a whole number, got 'deep'\n") == (
        refused.returncode,
        refused.stderr,
    )
    found = aws.client("sagemaker").list_pipeline_executions(PipelineName=COPY)["PipelineExecutionSummaries"]
    assert [execution_of(started)] == [each["PipelineExecutionArn"] for each in found]


def test_a_stale_definition_is_refused(command: Command, checkout: Path, started: str) -> None:
    """Code that was changed without compiling makes no copy."""
    pipeline = checkout / "pipeline_code" / "census" / "pipeline.py"
    text = pipeline.read_text()
    pipeline.write_text(f"{text}\n# changed\n")
    try:
        refused = command("sandbox", "up")
    finally:
        pipeline.write_text(text)
    assert (2, True) == (refused.returncode, "run `make compile`" in refused.stderr)


def test_a_replay_gives_the_same_bytes(aws: LocalAws, command: Command, started: str) -> None:
    """A run whose Spot trainings were interrupted is repeated file by file, and leaves no pipeline behind."""
    sagemaker = aws.client("sagemaker")
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution_of(started))
    (train,) = [s["Metadata"] for s in steps["PipelineExecutionSteps"] if s["StepName"] == "Train"]
    job = sagemaker.describe_training_job(TrainingJobName=train["TrainingJob"]["Arn"].rpartition("/")[2])
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    replayed = command("replay", execution_of(started))
    assert 0 == replayed.returncode, replayed.stdout + replayed.stderr
    assert "files are the same" in replayed.stdout
    for name in ("Train", "Tune", "evaluation.json", "model.tar.gz"):
        assert name in replayed.stdout
    left = [each["PipelineName"] for each in sagemaker.list_pipelines()["PipelineSummaries"]]
    assert sorted(["dev-census", COPY]) == sorted(left)


def test_down_leaves_the_artifacts(aws: LocalAws, command: Command, started: str, deployment: Deployment) -> None:
    """A copy goes with its schedule; what its run wrote stays."""
    assert 0 == command("sandbox", "down").returncode
    assert [] == aws.client("scheduler").list_schedules(GroupName="dev-census--sandbox")["Schedules"]
    prefix = f"census/sandbox/{execution_of(started).rpartition('/')[2]}/"
    found = aws.client("s3").list_objects_v2(Bucket=deployment["ArtifactBucketName"], Prefix=prefix)
    assert found["KeyCount"]

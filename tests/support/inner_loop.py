"""The census pipeline with every optional step, deployed into a local AWS, and what a data scientist does with it."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import Deployment, read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws
from environments import DEV
from everything import EVERYTHING
from pipeline_code.census.contract import FEATURES
from snapshots import census
from stacks.stage import ROOT, EnvironmentStage
from synthesis import context, two_projects

PROJECT = "census-two"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
JOBS = ("Preprocess", "Profile", "Train", "Tune", "Baseline", "Evaluate")
FAIR = [{"Name": "note", "Value": "the sample is fair"}]
# Small enough for seconds; the gate's floors stand.
QUICK = {"HyperNumRound": "40", "TuningMaxJobs": "2", "TuningMaxParallelJobs": "2"}


@dataclass(frozen=True)
class Loop:
    """The deployed pipeline, clients of the AWS it is deployed into, and the folder of its emulator."""

    aws: LocalAws
    deployment: Deployment
    folder: Path

    def start(self, snapshot: str, *, only: Sequence[str] = (), source: str | None = None, **parameters: str) -> str:
        """Start an execution, perhaps `only` of some steps with the others taken from `source`; its ARN."""
        given = {"SnapshotUri": snapshot, **QUICK, **parameters}
        chosen = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": name} for name in only]}
        started = self.aws.client("sagemaker").start_pipeline_execution(
            PipelineName=self.deployment["PipelineName"],
            PipelineParameters=[{"Name": name, "Value": value} for name, value in given.items()],
            **({"SelectiveExecutionConfig": chosen} if only else {}),
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

    def succeeded(self, execution: str) -> dict[str, dict[str, Any]]:
        """Wait for its end, which is a good one; its steps."""
        status, steps = self.ended(execution)["PipelineExecutionStatus"], self.steps(execution)
        assert "Succeeded" == status, {name: step.get("FailureReason") for name, step in steps.items()}
        return steps

    def failed(self, execution: str) -> dict[str, dict[str, Any]]:
        """Wait for its end, which is a failure; its steps."""
        status, steps = self.ended(execution)["PipelineExecutionStatus"], self.steps(execution)
        assert "Failed" == status, steps
        return steps

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

    def question(self, *, within_s: float = 120) -> dict[str, Any]:
        """The next message to the auditor."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if asked := self.asked():
                return asked[0]
            time.sleep(0.5)
        raise AssertionError("nobody asked the auditor")

    def running(self, execution: str, *names: str, within_s: float = 120) -> None:
        """Wait until the jobs of these steps run."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            steps = self.steps(execution)
            if all("Metadata" in steps.get(name, {}) for name in names) and self.processes(execution):
                return
            time.sleep(0.2)
        raise AssertionError(f"{names} do not run: {self.steps(execution)}")

    def processes(self, execution: str) -> list[list[str]]:
        """Command lines of the processes that work for an execution: its id is in each job's name and so in its folder."""
        id_, found = execution.rpartition("/")[2], []
        for process in psutil.process_iter():
            try:
                told = " ".join([*process.cmdline(), process.cwd(), *process.environ().values()])
            except psutil.Error:
                continue
            if str(self.folder) in told and id_ in told:
                found.append(process.cmdline())
        return found

    def hits(self, execution: str) -> dict[str, bool]:
        """Of each job step whether the cache answered it."""
        return {name: "CacheHitResult" in step for name, step in self.steps(execution).items() if name in JOBS}

    def folder_of(self, execution: str, step: str) -> str:
        """The URI below which a step's outputs lie: those of the execution that ran it, if the cache answered."""
        source = self.steps(execution)[step].get("CacheHitResult", {}).get("SourcePipelineExecutionArn", execution)
        bucket = self.deployment["ArtifactBucketName"]
        return f"s3://{bucket}/{PROJECT}/executions/{source.rpartition('/')[2]}/{step.lower()}"

    def model_of(self, execution: str) -> str:
        """The URI of the model that Train wrote."""
        name = self.steps(execution)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
        job = self.aws.client("sagemaker").describe_training_job(TrainingJobName=name)
        uri: str = job["ModelArtifacts"]["S3ModelArtifacts"]
        return uri

    def read(self, uri: str) -> bytes:
        """An object."""
        bucket, key = _place(uri)
        body: bytes = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def write(self, uri: str, body: bytes) -> None:
        """Put an object."""
        bucket, key = _place(uri)
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def below(self, uri: str) -> list[str]:
        """Names of the objects below a folder."""
        bucket, key = _place(uri.rstrip("/") + "/")
        listed = self.aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return [entry["Key"].removeprefix(key) for entry in listed]

    def put_snapshot(self, name: str, *parts: pa.Table) -> str:
        """Census rows as ingest would have typed them; the snapshot's URI."""
        uri = f"s3://{self.deployment['DataBucketName']}/{PROJECT}/snapshots/{name}/"
        for number, part in enumerate(parts):
            sink = pa.BufferOutputStream()
            pq.write_table(part, sink)
            self.write(f"{uri}data/part-{number:05}.parquet", sink.getvalue().to_pybytes())
        self.write(f"{uri}manifest.json", json.dumps({"rows": sum(map(len, parts))}).encode())
        return uri

    def put_scoring(self, rows: pa.Table) -> None:
        """Rows for batch scoring, as a CSV file without a header."""
        cells = [["" if row[name] is None else str(row[name]) for name in FEATURES] for row in rows.to_pylist()]
        lines = "".join(",".join(line) + "\n" for line in cells)
        self.write(f"s3://{self.deployment['DataBucketName']}/{PROJECT}/scoring/rows.csv", lines.encode())

    @contextmanager
    def other_train_code(self, name: str, files: Mapping[str, str], *, steps: Sequence[str]) -> Iterator[None]:
        """Meanwhile these steps run Train's code with these files put over it."""
        client = self.aws.client("sagemaker")
        pipeline = client.describe_pipeline(PipelineName=self.deployment["PipelineName"])
        definition = json.loads(pipeline["PipelineDefinition"])
        for step in definition["Steps"]:
            if step["Name"] in steps:
                arguments = step["Arguments"]
                job = arguments.get("TrainingJobDefinition", arguments)
                (channel,) = (entry for entry in job["InputDataConfig"] if entry["ChannelName"] == "code")
                uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
                changed = uri.replace(uri.rpartition("/")[2], f"{name}.tar.gz")
                self.write(changed, _with_files(self.read(uri), files))
                told = json.dumps(step).replace(uri.rpartition("/")[2], f"{name}.tar.gz")
                step.clear()
                step.update(json.loads(told))
        update = {"PipelineName": pipeline["PipelineName"]}
        client.update_pipeline(**update, PipelineDefinition=json.dumps(definition))
        try:
            yield
        finally:
            client.update_pipeline(**update, PipelineDefinition=pipeline["PipelineDefinition"])


def quarter(number: int) -> pa.Table:
    """Every fourth row of the census, from this one on."""
    rows = census()
    return rows.take(list(range(number, len(rows), 4)))


@contextmanager
def deployed(work: Path) -> Iterator[Loop]:
    """The environment `dev` with every step of the pipeline; each Spot job is interrupted once."""
    environment = replace(DEV, projects=(replace(EVERYTHING, name=PROJECT),))
    app = cdk.App(outdir=str(work / "cdk.out"), context=context())
    EnvironmentStage(app, "Dev", environment=environment, commit=COMMIT, root=two_projects(work / "code"))
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
        yield Loop(aws, read_deployment(aws, environment="dev", project=PROJECT), workplace.folder)
    finally:
        subprocess.run([*command, "down", *options], cwd=ROOT, capture_output=True)


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _with_files(archive: bytes, files: Mapping[str, str]) -> bytes:
    """A tar.gz with these files put over its own."""
    changed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=changed, mode="w:gz") as new:
        for entry in old:
            if entry.name not in files:
                new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            new.addfile(entry, io.BytesIO(text.encode()))
    return changed.getvalue()

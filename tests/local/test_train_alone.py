"""Training jobs that a state machine starts itself: deployed by the CDK CLI into a local AWS, and really run there.

The smoke training, a project without an inner loop, and the workflow of examples/train-and-save.
"""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import Deployment, read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws
from local_shell import python
from pipeline_code.census import contract
from snapshots import census

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.spark]

ROOT = Path(__file__).parents[2]
ROWS = 2_000
SNAPSHOT = "census/snapshots/by-hand"


class Account:
    """The deployed environment: its clients, buckets and machines."""

    def __init__(self, aws: LocalAws, work: Path) -> None:
        self.aws, self.work = aws, work
        self.deployment: Deployment = read_deployment(aws, environment="dev", project="census")
        self.states = aws.client("stepfunctions")
        self.sagemaker = aws.client("sagemaker")
        self.s3 = aws.client("s3")
        self.data = self.deployment["DataBucketName"]
        self.snapshot = f"s3://{self.data}/{SNAPSHOT}/"

    def put(self, key: str, table: pa.Table) -> None:
        """Store rows as a file of the data bucket."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self.s3.put_object(Bucket=self.data, Key=key, Body=buffer.getvalue())

    def machine(self, name: str) -> dict[str, Any]:
        """A deployed machine."""
        (arn,) = [
            each["stateMachineArn"]
            for each in self.states.list_state_machines()["stateMachines"]
            if each["name"] == name
        ]
        found: dict[str, Any] = self.states.describe_state_machine(stateMachineArn=arn)
        return found

    def run(self, arn: str, name: str, given: object) -> dict[str, Any]:
        """Start a machine and describe its execution when it has ended."""
        execution = self.states.start_execution(stateMachineArn=arn, name=name, input=json.dumps(given))["executionArn"]
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            ended: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            if ended["status"] != "RUNNING":
                return ended
            time.sleep(0.1)
        raise AssertionError(f"{execution} still runs")

    @contextmanager
    def changed(self, name: str, change: Callable[[dict[str, Any]], object]) -> Iterator[str]:
        """A deployed machine with another definition for a while; no other machine may have its role."""
        machine = self.machine(name)
        definition = json.loads(machine["definition"])
        change(definition)
        arn: str = machine["stateMachineArn"]
        self.states.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))
        yield arn
        self.states.update_state_machine(stateMachineArn=arn, definition=machine["definition"])

    def from_checked_data(
        self, name: str, change: Callable[[dict[str, Any]], object] = bool, **variables: str
    ) -> dict[str, Any]:
        """Run the shipped outer loop's states, with a `change` of them, from where its data has passed its rules."""
        given = {"id": name, "runId": name, "snapshotUri": self.snapshot, "approval": {}, "outcome": "", "reason": ""}
        told = {each: f"{{% ${each} %}}" for each in ("outcome", "reason", "approval")}

        def cut(definition: dict[str, Any]) -> None:
            states = {each: definition["States"][each] for each in ("SmokeTrain", "TrainModel", "SaveModel")}
            states["Start"] = {"Type": "Pass", "Assign": given | variables, "Next": "SmokeTrain"}
            states["FreeLocks"] = {"Type": "Succeed", "Output": told}
            change(states)
            definition.update(StartAt="Start", States=states)

        with self.changed("dev-census-outer-loop", cut) as arn:
            ended = self.run(arn, name, {})
        assert ended["status"] == "SUCCEEDED", ended
        output: dict[str, Any] = json.loads(ended["output"])
        return output

    def names_in(self, uri: str) -> list[str]:
        """What an archive in S3 holds."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            return archive.getnames()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A local AWS with the environment deployed and a snapshot in it."""
    workplace = Workplace(folder=tmp_path_factory.mktemp("local"))
    assembly = tmp_path_factory.mktemp("assembly") / "cdk.out"
    context = json.dumps(json.loads((ROOT / "cdk.json").read_text())["context"])
    python("tests/support/alone_app.py", CDK_OUTDIR=str(assembly), CDK_CONTEXT_JSON=context)
    try:
        python("-m", "dual_pipeline_cli", "local", "up", "--app", assembly, "--work", workplace.folder)
        emulator = lifecycle.find(workplace)
        assert emulator is not None
        account = Account(LocalAws(emulator.settings), workplace.folder)
        account.put(f"{SNAPSHOT}/data/part-00000.parquet", census().slice(0, ROWS))
        account.put(f"{SNAPSHOT}/sample/part-00000.parquet", census().slice(0, ROWS))
        yield account
    finally:
        python("-m", "dual_pipeline_cli", "local", "down", "--work", workplace.folder)


def test_the_example_trains_and_saves_a_model(account: Account) -> None:
    """The example's workflow ends with a model of the real XGBoost, made under the roles of its own stack."""
    machine = account.machine("dev-census-train-save")
    assert json.loads(machine["definition"])["TimeoutSeconds"] == 7200
    ended = account.run(machine["stateMachineArn"], "first", {"snapshot_uri": account.snapshot})
    assert ended["status"] == "SUCCEEDED", ended
    name = json.loads(ended["output"])["name"]
    assert name.startswith("dev-census-train-save-")
    model = account.sagemaker.describe_model(ModelName=name)
    names = account.names_in(model["PrimaryContainer"]["ModelDataUrl"])
    assert {"model.json", "encoding.json"} <= set(names)


def test_a_name_is_taken_once(account: Account) -> None:
    """A job whose name an earlier one has is refused, as SageMaker refuses it, and the execution fails with that."""

    def fix_the_name(definition: dict[str, Any]) -> None:
        parameters = definition["States"]["Train"]["Parameters"]
        del parameters["TrainingJobName.$"]
        parameters["TrainingJobName"] = "dev-census-train-save-same"

    with account.changed("dev-census-train-save", fix_the_name) as arn:
        for name in ("one", "two"):
            ended = account.run(arn, name, {"snapshot_uri": account.snapshot})
    assert ("FAILED", "SageMaker.ResourceInUseException") == (ended["status"], ended["error"])


def test_a_project_without_an_inner_loop_saves_its_model(account: Account) -> None:
    """A smoke training on the sample, a training on the snapshot, and a model that is saved and not deployed."""
    output = account.from_checked_data("good")
    assert "released" == output["outcome"]
    assert (
        "the model dev-census-model-good-0-0 was trained and saved; none is deployed, for this project has no inner loop"
        == output["reason"]
    )
    job = account.sagemaker.describe_training_job(TrainingJobName="dev-census-train-good-0-0")
    smoke = account.sagemaker.describe_training_job(TrainingJobName="dev-census-smoke-good-0-0")
    assert ("Completed", "Completed") == (smoke["TrainingJobStatus"], job["TrainingJobStatus"])
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == output["approval"]["model"]
    assert ("5", "20") == (smoke["HyperParameters"]["num_round"], job["HyperParameters"]["num_round"])
    assert "/census/executions/smoke/dev-census-smoke-good-0-0/" in smoke["ModelArtifacts"]["S3ModelArtifacts"]
    model = account.sagemaker.describe_model(ModelName="dev-census-model-good-0-0")
    assert output["approval"]["model"] == model["PrimaryContainer"]["ModelDataUrl"]
    assert [] == account.sagemaker.list_endpoints()["Endpoints"]


def test_a_sample_that_cannot_be_learned_from_stops_the_run(account: Account) -> None:
    """The smoke training's own words are the run's, and nothing expensive has begun."""
    table = census().slice(0, ROWS)
    only = table.filter(pc.equal(table.column(contract.LABEL), contract.NEGATIVE))
    account.put("census/snapshots/one-sided/data/part-00000.parquet", only)
    account.put("census/snapshots/one-sided/sample/part-00000.parquet", only)
    uri = f"s3://{account.data}/census/snapshots/one-sided/"
    output = account.from_checked_data("bad", snapshotUri=uri)
    assert "failed" == output["outcome"]
    assert output["reason"].startswith("SmokeTrain failed with States.TaskFailed: AlgorithmError: ")
    assert "a classifier needs both values of income in every split" in output["reason"]
    names = [job["TrainingJobName"] for job in account.sagemaker.list_training_jobs()["TrainingJobSummaries"]]
    assert "dev-census-train-bad-0-0" not in names


def test_a_stopped_job_is_no_trained_model(account: Account) -> None:
    """A smoke training that takes too long ends the run, and would even if `.sync` did not fail for it."""

    def hurry(states: dict[str, Any]) -> None:
        states["SmokeTrain"]["Arguments"]["StoppingCondition"]["MaxRuntimeInSeconds"] = 1

    def only_look(states: dict[str, Any]) -> None:
        looked = {"TrainingJobName": "dev-census-smoke-late-0-0"}
        states["SmokeTrain"] |= {
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeTrainingJob",
            "Arguments": looked,
        }

    late = "SmokeTrain: the training job was stopped, for it took longer than 900 s (smoke_training.max_time)"
    for name, change in (("late", hurry), ("looked", only_look)):
        output = account.from_checked_data(name, change)
        assert ("failed", late) == (output["outcome"], output["reason"])


def test_a_missing_sample_is_named(account: Account) -> None:
    """Without a sample the job says which channel found nothing."""
    output = account.from_checked_data("none", snapshotUri=f"s3://{account.data}/census/snapshots/none/")
    assert "failed" == output["outcome"]
    assert "census/snapshots/none/sample/" in output["reason"]


def test_a_raw_file_becomes_a_saved_model(account: Account) -> None:
    """From an upload by the rule, ingest, quality and the smoke training to a model, as `dual-pipeline local run` does."""
    python("-m", "dual_pipeline_cli", "local", "run", "--data", ROOT / "data" / "census.csv", "--work", account.work)
    summary = json.loads((account.work / "summary.json").read_text())
    assert ("released", None, "") == (summary["outcome"], summary["prediction"], summary["endpoint_name"])
    assert summary["reason"].startswith("the model dev-census-model-")
    jobs = [job["TrainingJobName"] for job in account.sagemaker.list_training_jobs()["TrainingJobSummaries"]]
    model = summary["reason"].split()[2]
    assert {model.replace("-model-", f"-{kind}-") for kind in ("smoke", "train")} <= set(jobs)

"""The data scientist's commands against a running local AWS, as they are typed."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dual_pipeline_local import lifecycle
from dual_pipeline_local.lifecycle import Workplace

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

BUCKET = "corner"
GROUP = PIPELINE = "dev-demo"
PREPARE = """
import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--input-snapshot", type=Path, required=True)
parser.add_argument("--output-model", type=Path, required=True)
parser.add_argument("--times", type=int, required=True)
options = parser.parse_args()
value = int((options.input_snapshot / "value.txt").read_text()) * options.times
(options.output_model / "model.txt").write_text(str(value))
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with a project's code, from where commands reach the local AWS."""

    folder: Path
    execution: dict[str, Any]

    @property
    def execution_id(self) -> str:
        """The id of the pipeline's one execution."""
        return str(self.execution["PipelineExecutionArn"].rpartition("/")[2])

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call `dual-pipeline` here; there are no AWS settings but those of the local AWS."""
        return subprocess.run(
            [sys.executable, "-m", "dual_pipeline_cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "TERM": "dumb", "COLUMNS": "160"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _step(corner: Any, *, code: str) -> dict[str, Any]:
    """A cached Processing step that runs PREPARE."""
    snapshot = corner.processing_input("snapshot", {"Get": "Parameters.SnapshotUri"})
    folder = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}/out", {"Get": "Execution.PipelineExecutionId"}]}}
    root = "/opt/ml/processing"
    times = {"Std:Join": {"On": "", "Values": ["--times=", {"Get": "Parameters.Times"}]}}
    request = corner.processing(
        code,
        PREPARE,
        f"--input-snapshot={root}/input/snapshot",
        f"--output-model={root}/output/model",
        times,
        inputs=[snapshot],
        outputs=[corner.processing_output("model", folder)],
    )
    del request["ProcessingJobName"]
    return {
        "Name": "Prepare",
        "Type": "Processing",
        "Arguments": request,
        "CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"},
    }


def _register(code: str) -> dict[str, Any]:
    model = {"Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['model'].S3Output.S3Uri"}
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": GROUP,
            "InferenceSpecification": {
                "Containers": [{"Image": "x", "ModelDataUrl": model}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "CustomerMetadataProperties": {
                "snapshot_uri": {"Get": "Parameters.SnapshotUri"},
                "code_prepare": code,
            },
        },
    }


def _deploy(emulator: Any) -> None:
    """A stack that says what an environment's stacks say."""
    outputs = {
        "PipelineName": PIPELINE,
        "ModelPackageGroupName": GROUP,
        "LedgerTableName": "ledger",
        "ArtifactBucketName": BUCKET,
        "EndpointName": "dev-demo",
    }
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": "ledger",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        },
    }
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName="Dev-Demo",
        TemplateBody=json.dumps(
            {"Resources": {"Ledger": table}, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}
        ),
        Tags=[
            {"Key": "dual-pipeline:environment", "Value": "dev"},
            {"Key": "dual-pipeline:project", "Value": "demo"},
        ],
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        (stack,) = cloudformation.describe_stacks(StackName="Dev-Demo")["Stacks"]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return
        time.sleep(0.1)
    raise AssertionError(stack)


@pytest.fixture(scope="module")
def checkout(corner: Any, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A demo pipeline that has run once, and a checkout with the code of its step."""
    folder = tmp_path_factory.mktemp("checkout")
    code = folder / "pipeline_code" / "demo" / "prepare" / "__main__.py"
    code.parent.mkdir(parents=True)
    for package in (folder / "pipeline_code", folder / "pipeline_code" / "demo"):
        (package / "__init__.py").touch()
    code.write_text(PREPARE)
    workplace = Workplace(folder=folder / "build" / "local")
    workplace.folder.mkdir(parents=True)
    settings = corner.emulator.settings
    process = psutil.Process(corner.emulator.process.pid)
    lifecycle.Emulator(settings=settings, process=process, environment="dev").save(workplace)
    _deploy(corner.emulator)
    corner.sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    corner.put("snapshots/aaa/value.txt", "21")
    corner.put("snapshots/aaa/manifest.json", json.dumps({"rows": 1, "sources": []}))
    corner.pipeline(
        PIPELINE,
        _step(corner, code="one"),
        _register("one.py"),
        parameters=[
            {"Name": "SnapshotUri", "Type": "String"},
            {"Name": "Times", "Type": "Integer", "DefaultValue": 2},
        ],
    )
    execution = corner.execute(PIPELINE, SnapshotUri=f"s3://{BUCKET}/snapshots/aaa/")
    assert "Succeeded" == execution["PipelineExecutionStatus"], execution
    return Checkout(folder, execution)


def _plan(checkout: Checkout, *arguments: str) -> dict[str, Any]:
    ended = checkout.command("plan", "--local", "--json", *arguments)
    assert 0 == ended.returncode, ended.stderr
    (step,) = json.loads(ended.stdout)["steps"]
    found: dict[str, Any] = step
    return found


def test_step_gives_the_same_bytes_and_takes_edits(checkout: Checkout) -> None:
    """The step's process writes what the job wrote; another argument makes it differ."""
    ended = checkout.command("step", "prepare", "--from-run", checkout.execution_id, "--local")
    assert 0 == ended.returncode, ended.stderr
    assert "using the local AWS at http://127.0.0.1" in ended.stderr
    assert ("same" in ended.stdout, "differs" in ended.stdout) == (True, False), ended.stdout
    ended = checkout.command("step", "prepare", "--local", "--", "--times=3")
    assert "differs" in ended.stdout
    folder = checkout.folder / "build" / "steps" / checkout.execution_id / "prepare"
    assert ("63", "42") == tuple((folder / name / "model" / "model.txt").read_text() for name in ("output", "expected"))


def test_plan_foretells_what_then_happens(checkout: Checkout, corner: Any) -> None:
    """A hit names its run, a changed parameter its values; the next execution does just that."""
    hit, miss = _plan(checkout), _plan(checkout, "--parameter", "Times=3")
    assert ("hit", checkout.execution_id) == (hit["cache"], hit["run"])
    assert ("miss", ["argument --times 2 -> 3"]) == (miss["cache"], miss["reasons"])
    snapshot = f"s3://{BUCKET}/snapshots/aaa/"
    again, other = (corner.execute(PIPELINE, SnapshotUri=snapshot, Times=times) for times in ("2", "3"))
    hits = ["CacheHitResult" in corner.steps(execution)["Prepare"] for execution in (again, other)]
    assert [True, False] == hits


def test_lineage_tells_data_and_what_changed(checkout: Checkout, corner: Any) -> None:
    """A package leads to its snapshot and execution; code deployed since then is what would be different."""
    update = {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "SnapshotUri", "Type": "String"},
            {"Name": "Times", "Type": "Integer", "DefaultValue": 5},
        ],
        "Steps": [_step(corner, code="two"), _register("two.py")],
    }
    corner.sagemaker.update_pipeline(PipelineName=PIPELINE, PipelineDefinition=json.dumps(update), RoleArn=corner.role)
    ended = checkout.command("lineage", "1", "--local", "--json")
    assert 0 == ended.returncode, ended.stderr
    told = json.loads(ended.stdout)
    assert checkout.execution["PipelineExecutionArn"] == told["run"]["pipeline execution"]
    assert (f"s3://{BUCKET}/snapshots/aaa/", 1) == (told["data"]["snapshot"], told["data"]["rows"])
    assert [
        {"what": "code of prepare", "then": "one.py", "now": "two.py"},
        {"what": "parameter Times", "then": "2", "now": "5"},
    ] == told["today"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("step", "prepare", "--from-run", "nothing", "--local"), "pipeline dev-demo has no run 'nothing'"),
        (("plan", "--local", "--parameter", "Times=many"), "Times"),
        (("plan", "--local", "--env", "prod"), "no environment named 'prod'"),
        (("lineage", "--local"), "no endpoint dev-demo in the local AWS"),
    ],
)
def test_mistakes_are_one_sentence(checkout: Checkout, arguments: tuple[str, ...], sentence: str) -> None:
    """Whatever cannot be found ends with exit code 2 and no traceback."""
    ended = checkout.command(*arguments)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr

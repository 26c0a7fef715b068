"""Processing and training jobs through plain boto3."""

import io
import json
import tarfile
import time
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

COPY = """
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:3])
for file in source.rglob("*"):
    if file.is_file():
        (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        (target / file.relative_to(source)).write_bytes(file.read_bytes())
"""
TRAIN = """
import argparse, json, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--eta", type=float)
parser.add_argument("--name")
options = parser.parse_args()
seen = {name: value for name, value in os.environ.items() if name.startswith(("SM_", "TRAINING_", "AWS_"))}
seen |= {"eta": options.eta, "name": options.name, "here": os.listdir(".")}
seen["data"] = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "rows.csv").read_text()
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "extra.txt").write_text("extra")
for value in (0.5, 0.75):
    print(f"validation-auc: {value};")
"""


def test_processing_stages_inputs_and_outputs_byte_true(corner: Any) -> None:
    """Objects below a prefix reach the job's folder and what it writes reaches S3, names and bytes unchanged."""
    body = bytes(range(256)) * 3
    corner.put("in/a/one.bin", body)
    corner.put("in/a/deep/two words.bin", b"")
    corner.put("in/abc/other.bin", b"no")
    request = corner.processing(
        "copy",
        COPY,
        "/opt/ml/processing/input/data",
        "/opt/ml/processing/output/all",
        inputs=[corner.processing_input("data", "s3://corner/in/a/")],
        outputs=[corner.processing_output("all", "s3://corner/out/copy")],
    )
    assert "Completed" == corner.process(request)["ProcessingJobStatus"]
    assert body == corner.get("s3://corner/out/copy/one.bin")
    assert b"" == corner.get("s3://corner/out/copy/deep/two words.bin")
    keys = [item["Key"] for item in corner.s3.list_objects_v2(Bucket="corner", Prefix="out/copy")["Contents"]]
    assert ["out/copy/deep/two words.bin", "out/copy/one.bin"] == keys


def test_processing_sees_opt_ml_paths_rewritten(corner: Any) -> None:
    """Paths below /opt/ml in arguments, environment and configuration file lead to the job's own folder."""
    code = """
import json, os, pathlib, sys
target = pathlib.Path(sys.argv[1].removeprefix("--to="))
config = json.loads(pathlib.Path(os.environ["CONFIG"]).read_text())
(target / "seen.json").write_text(json.dumps({"config": config["ProcessingJobName"], "other": os.environ["OTHER"]}))
"""
    request = corner.processing(
        "rewritten",
        code,
        "--to=/opt/ml/processing/output/all",
        outputs=[corner.processing_output("all", "s3://corner/out/rewritten")],
        Environment={"CONFIG": "/opt/ml/config/processingjobconfig.json", "OTHER": "/opt/mlx"},
    )
    assert "Completed" == corner.process(request)["ProcessingJobStatus"]
    assert {"config": "rewritten", "other": "/opt/mlx"} == json.loads(corner.get("s3://corner/out/rewritten/seen.json"))


def test_a_raising_script_fails_the_job_with_its_exception(corner: Any) -> None:
    """FailureReason is typed and ends with the exception; no output is uploaded."""
    job = corner.process(corner.processing("raises", "raise ValueError('age is -3')"))
    assert "Failed" == job["ProcessingJobStatus"]
    assert job["FailureReason"].startswith("AlgorithmError: Traceback")
    assert job["FailureReason"].endswith("ValueError: age is -3, exit code: 1")


def test_a_failure_file_is_the_failure_reason(corner: Any) -> None:
    """What the job writes to its failure file is told in place of its log."""
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('no rows'); sys.exit(3)"
    job = corner.process(corner.processing("told", code, "/opt/ml/output/failure"))
    assert "AlgorithmError: no rows, exit code: 3" == job["FailureReason"]


def test_jobs_act_as_their_role_only(corner: Any) -> None:
    """The job's process holds the role's credentials, nothing of the server's, and none in network isolation."""
    code = """
import json, os, pathlib, sys
import boto3
found = {"keys": sorted(name for name in os.environ if name.startswith("AWS_") and "KEY" in name)}
if found["keys"]:
    found["arn"] = boto3.client("sts").get_caller_identity()["Arn"]
pathlib.Path(sys.argv[1], "found.json").write_text(json.dumps(found))
"""
    for name, network in (("open", {}), ("isolated", {"NetworkConfig": {"EnableNetworkIsolation": True}})):
        outputs = [corner.processing_output("all", f"s3://corner/out/{name}")]
        request = corner.processing(name, code, "/opt/ml/processing/output/all", outputs=outputs, **network)
        assert "Completed" == corner.process(request)["ProcessingJobStatus"]
    seen = json.loads(corner.get("s3://corner/out/open/found.json"))
    assert seen["arn"].startswith("arn:aws:sts::123456789012:assumed-role/scientist/")
    assert {"keys": []} == json.loads(corner.get("s3://corner/out/isolated/found.json"))


def test_inputs_a_role_may_not_read_fail_the_job(corner: Any) -> None:
    """Staging is done as the role: a bucket out of its reach ends in a ClientError that names bucket and role."""
    corner.emulator.client("s3").create_bucket(
        Bucket="others", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    corner.emulator.client("s3").put_object(Bucket="others", Key="x/secret", Body=b"1")
    inputs = [corner.processing_input("data", "s3://others/x/")]
    job = corner.process(corner.processing("greedy", COPY, inputs=inputs))
    assert job["FailureReason"].startswith("ClientError: Data download failed:")
    assert "AccessDenied" in job["FailureReason"]
    missing = [corner.processing_input("data", "s3://corner/nothing/")]
    job = corner.process(corner.processing("empty", COPY, inputs=missing))
    assert 'No S3 objects found under S3 URL "s3://corner/nothing/"' in job["FailureReason"]


def test_a_stopped_job_leaves_no_process(corner: Any) -> None:
    """StopProcessingJob ends the whole process group."""
    code = "import subprocess, sys; subprocess.run(['sleep', '4321'])"
    corner.sagemaker.create_processing_job(**corner.processing("endless", code))
    corner.wait_until(lambda: {"found": _sleepers("4321")}, lambda seen: bool(seen["found"]))
    corner.sagemaker.stop_processing_job(ProcessingJobName="endless")
    job = corner.wait_until(
        lambda: corner.sagemaker.describe_processing_job(ProcessingJobName="endless"),
        lambda found: found["ProcessingJobStatus"] == "Stopped",
    )
    assert [] == _sleepers("4321")
    with pytest.raises(ClientError, match="is in status Stopped"):
        corner.sagemaker.stop_processing_job(ProcessingJobName=job["ProcessingJobName"])


def test_training_in_script_mode(corner: Any) -> None:
    """A script gets argv and SM_* as the training toolkit sets them; model, output and metrics come back."""
    corner.put("rows/rows.csv", "1,2\n")
    request = corner.training(
        "scripted",
        TRAIN,
        {"eta": "0.3", "name": '"two words"'},
        channels=[corner.channel("train", "s3://corner/rows/")],
        AlgorithmSpecification={
            "TrainingImage": "x",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "validation:auc", "Regex": "validation-auc: ([0-9.]+);"}],
        },
    )
    job = corner.train(request)
    assert "Completed" == job["TrainingJobStatus"], job
    artifacts = "s3://corner/models/scripted/output/model.tar.gz"
    assert artifacts == job["ModelArtifacts"]["S3ModelArtifacts"]
    with tarfile.open(fileobj=io.BytesIO(corner.get(artifacts))) as tar:
        assert ["seen.json"] == tar.getnames()
        member = tar.extractfile("seen.json")
        assert member is not None
        seen = json.load(member)
    assert (0.3, "two words", "1,2\n", ["train.py"]) == (seen["eta"], seen["name"], seen["data"], seen["here"])
    assert '{"eta":0.3,"name":"two words"}' == seen["SM_HPS"]
    assert "0.3" == seen["SM_HP_ETA"]
    assert '["code","train"]' == seen["SM_CHANNELS"]
    assert seen["SM_MODEL_DIR"].endswith("/model")
    assert "scripted" == seen["TRAINING_JOB_NAME"]
    assert [("validation:auc", 0.75)] == [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]]
    with tarfile.open(fileobj=io.BytesIO(corner.get(artifacts.replace("model.tar.gz", "output.tar.gz")))) as tar:
        assert ["extra.txt"] == tar.getnames()
    assert ["Starting", "Downloading", "Training", "Uploading", "Completed"] == [
        step["Status"] for step in job["SecondaryStatusTransitions"]
    ]


def test_a_raising_training_script_is_told_as_the_toolkit_tells_it(corner: Any) -> None:
    """FailureReason carries error class, exit code, message and command."""
    job = corner.train(corner.training("broken", "raise KeyError('income')", {"eta": "1"}))
    assert "Failed" == job["TrainingJobStatus"]
    assert job["FailureReason"].startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Trace')
    assert 'KeyError: \'income\'"\nCommand "python3 train.py --eta 1", exit code: 1' in job["FailureReason"]


def test_a_training_job_over_its_time_is_killed(corner: Any) -> None:
    """MaxRuntimeInSeconds ends the job as MaxRuntimeExceeded, its model kept."""
    code = "import os, pathlib, time\npathlib.Path(os.environ['SM_MODEL_DIR'], 'm').write_text('1')\ntime.sleep(600)"
    began = time.monotonic()
    job = corner.train(corner.training("slow", code, {}, StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert ("Stopped", "MaxRuntimeExceeded") == (job["TrainingJobStatus"], job["SecondaryStatus"])
    assert time.monotonic() - began < 30
    assert corner.get(job["ModelArtifacts"]["S3ModelArtifacts"])


def test_checkpoints_come_back(corner: Any) -> None:
    """What one job leaves in the checkpoint folder the next one finds there."""
    code = """
import os, pathlib
folder = pathlib.Path(os.environ["CHECKPOINTS"])
(folder / str(len(list(folder.iterdir())))).write_text("x")
"""
    more = {
        "CheckpointConfig": {"S3Uri": "s3://corner/checkpoints/a"},
        "Environment": {"CHECKPOINTS": "/opt/ml/checkpoints"},
    }
    for name in ("first", "second"):
        assert "Completed" == corner.train(corner.training(name, code, {}, **more))["TrainingJobStatus"]
    assert b"x" == corner.get("s3://corner/checkpoints/a/1")


LOCAL_DISK = {
    "ClusterConfig": {
        "InstanceCount": 1,
        "InstanceType": "ml.g4dn.xlarge",
        "VolumeSizeInGB": 1,
        "VolumeKmsKeyId": "alias/volumes",
    }
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ProcessingJobName": "a_b"}, "Value 'a_b' at 'processingJobName' failed to satisfy constraint: Member must"),
        ({"Environment": {"1": "x"}}, "Value '1' at 'environment.1.key' failed to satisfy constraint: Member must"),
        ({"ProcessingResources": LOCAL_DISK}, "VolumeKmsKeyId can not be requested for instance type ml.g4dn.xlarge"),
        (
            {"AppSpecification": {"ImageUri": "x"}},
            "without AppSpecification.ContainerEntrypoint (an image's own) is not modelled by the local emulator, see",
        ),
    ],
)
def test_bad_requests_are_refused_before_anything_starts(corner: Any, change: dict[str, Any], message: str) -> None:
    """Faults of form are told in AWS's words, features that are absent by name."""
    with pytest.raises(ClientError) as refusal:
        corner.sagemaker.create_processing_job(**corner.processing("refused", "1", **change))
    assert "ValidationException" == refusal.value.response["Error"]["Code"]
    assert message in refusal.value.response["Error"]["Message"]


def test_job_names_are_unique(corner: Any) -> None:
    """A second job of a name is ResourceInUse, and lists page through all of them."""
    request = corner.processing("unique", "1")
    corner.process(request)
    with pytest.raises(corner.sagemaker.exceptions.ResourceInUse, match="must be unique"):
        corner.sagemaker.create_processing_job(**request)
    pages = corner.sagemaker.get_paginator("list_processing_jobs").paginate(
        PaginationConfig={"PageSize": 3}, StatusEquals="Completed", SortBy="Name"
    )
    names = [job["ProcessingJobName"] for page in pages for job in page["ProcessingJobSummaries"]]
    assert "unique" in names
    assert sorted(names) == names


def _sleepers(seconds: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["cmdline"] == ["sleep", seconds] and process.info["status"] != psutil.STATUS_ZOMBIE
    ]

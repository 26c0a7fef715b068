"""Managed Spot training: interruptions, checkpoints and limits of time."""

from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from sagemaker_bench import Bench

COUNT = """
import os, pathlib, time
folder = pathlib.Path(os.environ["CHECKPOINTS"])
done = len(list(folder.glob("*")))
print("begins at", done, flush=True)
for number in range(done, 4):
    (folder / str(number)).write_text("x")
    time.sleep(0.3)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model").write_text(str(done))
"""
SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}
CHECKPOINTS: dict[str, Any] = {
    "CheckpointConfig": {"S3Uri": "s3://b/checkpoints"},
    "Environment": {"CHECKPOINTS": "/opt/ml/checkpoints"},
}
ONCE = ["Starting", "Downloading", "Training"]


def _log(bench: Bench, name: str) -> list[str]:
    return (bench.work / "logs" / "TrainingJobs" / f"{name}.log").read_text().splitlines()


def test_an_interrupted_job_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    """Twice the process is killed after a checkpoint, a new instance finds all checkpoints, and the job completes."""
    bench = Bench(tmp_path, spot_interruptions=2)
    job = bench.run("Training", bench.training("spot", COUNT, **SPOT, **CHECKPOINTS))
    assert "Completed" == job["TrainingJobStatus"], job
    assert ["begins at 0", "begins at 1", "begins at 2"] == _log(bench, "spot")
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert [*ONCE, "Interrupted", *ONCE, "Interrupted", *ONCE, "Uploading", "Completed"] == statuses
    assert {f"s3://b/checkpoints/{number}" for number in range(4)} <= set(bench.objects)
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]


def test_files_to_be_ignored_are_no_checkpoints(tmp_path: Path) -> None:
    """What is still being written under `.sagemaker-ignore` is not uploaded, at an interruption nor at the end."""
    code = COUNT.replace(
        'write_text("x")', 'write_text("x")\n    (folder / f"{number}.sagemaker-ignore").touch()'
    ).replace('glob("*")', 'glob("?")')
    bench = Bench(tmp_path, spot_interruptions=1)
    job = bench.run("Training", bench.training("ignoring", code, **SPOT, **CHECKPOINTS))
    assert "Completed" == job["TrainingJobStatus"], job
    assert [f"s3://b/checkpoints/{number}" for number in range(4)] == sorted(
        uri for uri in bench.objects if uri.startswith("s3://b/checkpoints/")
    )


def test_a_job_without_checkpoints_starts_from_nothing(tmp_path: Path) -> None:
    """After an interruption nothing of the first instance is left."""
    code = """
import os, pathlib, time
left = pathlib.Path(os.environ["SM_MODEL_DIR"], "model")
print("exists", left.exists(), flush=True)
left.write_text("1")
time.sleep(1.5)
"""
    bench = Bench(tmp_path, spot_interruptions=1)
    assert "Completed" == bench.run("Training", bench.training("bare", code, **SPOT))["TrainingJobStatus"]
    assert ["exists False", "exists False"] == _log(bench, "bare")


def test_only_spot_jobs_are_interrupted(tmp_path: Path) -> None:
    """An on-demand job runs through."""
    bench = Bench(tmp_path, spot_interruptions=2)
    job = bench.run("Training", bench.training("on-demand", COUNT, **CHECKPOINTS))
    assert [*ONCE, "Uploading", "Completed"] == [step["Status"] for step in job["SecondaryStatusTransitions"]]


def test_a_job_that_waits_too_long_is_stopped(tmp_path: Path) -> None:
    """MaxWaitTimeInSeconds ends a Spot job as MaxWaitTimeExceeded, without a model."""
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}}
    bench = Bench(tmp_path)
    job = bench.run("Training", bench.training("late", "import time; time.sleep(600)", **(SPOT | limits)))
    assert ("Stopped", "MaxWaitTimeExceeded") == (job["TrainingJobStatus"], job["SecondaryStatus"])
    assert [*ONCE, "Stopping", "MaxWaitTimeExceeded"] == [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert "s3://b/models/late/output/model.tar.gz" not in bench.objects


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}},
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
        ),
        (
            {"EnableManagedSpotTraining": True},
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds",
        ),
        (
            {
                "ResourceConfig": {
                    "InstanceType": "ml.g5.xlarge",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 10,
                    "VolumeKmsKeyId": "alias/key",
                }
            },
            "VolumeKmsKeyId can not be requested for instance type ml.g5.xlarge, which has local storage that its "
            "hardware encrypts; leave VolumeKmsKeyId out or choose an instance type without local storage",
        ),
    ],
)
def test_training_jobs_are_refused_as_on_aws(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Waiting without Spot, Spot without waiting, and a volume key where the disk is local."""
    bench = Bench(tmp_path)
    with pytest.raises(ApiError) as refusal:
        bench.call("CreateTrainingJob", **bench.training("refused", "", **change))
    assert message == refusal.value.message

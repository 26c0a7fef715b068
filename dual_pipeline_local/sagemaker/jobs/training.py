"""Training jobs: script mode, or an entrypoint of the request's own.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import json
import math
import re
import shlex
import shutil
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.processes import ProcessResult
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped, algorithm_error, script_error
from dual_pipeline_local.sagemaker.jobs.instances import check_volume_key
from dual_pipeline_local.sagemaker.jobs.job import STAGING_ERRORS, Job, Jobs
from dual_pipeline_local.sagemaker.jobs.metric_definitions import check_metric_definitions, metric_definitions
from dual_pipeline_local.sagemaker.jobs.script_mode import Script, resource_config
from dual_pipeline_local.sagemaker.jobs.spot import Interruption, SpotClock

_TIMED_OUT = "MaxRuntimeExceeded"
_WAITED_OUT = "MaxWaitTimeExceeded"
_FINAL = ("Completed", "Failed", "Stopped", _TIMED_OUT, _WAITED_OUT)
_DEFAULT_TIMEOUT_S = 86_400
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
_NO_CHECKPOINT = ".sagemaker-ignore"


@dataclass(frozen=True)
class Attempt:
    """How the training process of one instance ended; `command` is script mode's."""

    result: ProcessResult
    command: str


class TrainingJobs(Jobs):
    """See module; each Spot job is interrupted `spot_interruptions` times."""

    kind = "Training"
    words = "Training"
    path = "training-job"

    def __init__(self, control: Control, *, spot_interruptions: int) -> None:
        super().__init__(control)
        self._spot_interruptions = spot_interruptions

    def refuse_unmodelled(self, request: Record) -> None:
        """See Jobs."""
        for member in _ABSENT:
            if request.get(member):
                raise not_modelled(f"CreateTrainingJob with {member}")
        algorithm = request["AlgorithmSpecification"]
        check_metric_definitions(algorithm)
        script = Script.of(request.get("HyperParameters", {}))
        if "ContainerEntrypoint" not in algorithm and not (script.program and script.submit_directory):
            raise not_modelled("CreateTrainingJob without script mode or ContainerEntrypoint (built-in algorithms)")
        if script.program and not script.program.endswith(".py"):
            raise not_modelled(f"CreateTrainingJob with sagemaker_program {script.program}, which is no .py file")
        _check_resources(request)
        for channel in request.get("InputDataConfig", []):
            _check_channel(channel, algorithm["TrainingInputMode"])
        _check_waiting(request)

    def started(self, request: Record, _caller: Caller) -> Record:
        """See Jobs."""
        output = request["OutputDataConfig"]["S3OutputPath"]
        artifacts = staging.join(output, request["TrainingJobName"], "output", "model.tar.gz")
        return {
            "StoppingCondition": {"MaxRuntimeInSeconds": _DEFAULT_TIMEOUT_S} | request.get("StoppingCondition", {}),
            "ModelArtifacts": {"S3ModelArtifacts": artifacts},
            **_moved({"SecondaryStatusTransitions": []}, "Starting", "Starting the training job"),
        }

    def execute(self, job: Job) -> Record:
        """Run until an attempt is not interrupted, collect metrics, pack and stage out."""
        record, container = job.record, job.container
        self.update(job, TrainingStartTime=api.now())
        clock = SpotClock.of(record)
        interruptions = self._spot_interruptions if record.get("EnableManagedSpotTraining") else 0
        attempt = self._attempt(job, clock, is_interrupted=interruptions > 0)
        while attempt.result.stopped and not job.stop.is_set():
            interruptions -= 1
            self.update(job, **_moved(record, "Interrupted", "The Spot instance was interrupted"))
            container.renew()
            self.update(job, **_moved(record, "Starting", "Starting the training job on another Spot instance"))
            attempt = self._attempt(job, clock, is_interrupted=interruptions > 0)
        result = attempt.result
        metrics = _metrics(metric_definitions(record["AlgorithmSpecification"]), container.log)
        if result.timed_out and clock.has_waited_out:
            self.update(job, **_moved(record, "Stopping", "Stopping the training job"), **metrics)
            return {"TrainingJobStatus": "Stopped", "SecondaryStatus": _WAITED_OUT}
        self.update(job, **_moved(record, "Uploading", "Uploading generated training model"), **metrics)
        self._pack(job, "output/data", "output.tar.gz")
        if result.stopped:
            raise JobStopped
        if result.exit_code not in (0, None):
            failure_file = container.ml / "output" / "failure"
            if attempt.command:
                raise script_error(result, failure_file, attempt.command)
            raise algorithm_error(result, failure_file)
        self._pack(job, "model", "model.tar.gz")
        if result.timed_out:
            return {"TrainingJobStatus": "Stopped", "SecondaryStatus": _TIMED_OUT}
        return {}

    def ended(self, job: Job, changes: Record) -> Record:
        """See Jobs."""
        status = str(changes["TrainingJobStatus"])
        secondary = str(changes.get("SecondaryStatus", status))
        now = api.now()
        seconds = max(1, round(now - job.record.get("TrainingStartTime", now)))
        message = str(changes.get("FailureReason", f"Training job {status.lower()}"))
        return {
            "TrainingEndTime": now,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
            **_moved(job.record, secondary, message),
        }

    def not_found(self, _name: str) -> ApiError:
        """AWS does not name a missing training job."""
        return invalid("Requested resource not found.")

    def _attempt(self, job: Job, clock: SpotClock, *, is_interrupted: bool) -> Attempt:
        """Stage in, train and save the checkpoints, once; an interruption looks like a stop that nobody asked for."""
        record, container = job.record, job.container
        self.update(job, **_moved(record, "Downloading", "Downloading input data"))
        for channel in record.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self.download(job, uri, container.folder(f"/opt/ml/input/data/{channel['ChannelName']}"))
        checkpoints: Record = record.get("CheckpointConfig", {})
        folder = container.folder(checkpoints.get("LocalPath", "/opt/ml/checkpoints")) if checkpoints else None
        if folder:
            self._restore(job, checkpoints["S3Uri"], folder)
        self._write_config(job)
        self.update(job, **_moved(record, "Training", "Training image download completed. Training in progress."))
        with clock.running(), Interruption(job.stop, folder, is_due=is_interrupted) as halt:
            attempt = self._train(job, stop=halt, timeout_s=clock.left_s)
        if folder:
            self.upload(job, folder, checkpoints["S3Uri"], ignored=_NO_CHECKPOINT)
        return attempt

    def _train(self, job: Job, *, stop: threading.Event, timeout_s: float) -> Attempt:
        record, container = job.record, job.container
        algorithm = record["AlgorithmSpecification"]
        environment = self.credentials(job, isolated=record.get("EnableNetworkIsolation", False))
        environment |= {"TRAINING_JOB_NAME": record["TrainingJobName"], "TRAINING_JOB_ARN": record["TrainingJobArn"]}
        environment |= record.get("Environment", {})
        for folder in ("model", "output/data", "output/intermediate", "code"):
            container.folder(f"/opt/ml/{folder}")
        if "ContainerEntrypoint" in algorithm:
            argv = [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]
            result = container.run(argv, environment=environment, cwd=container.ml, timeout_s=timeout_s, stop=stop)
            return Attempt(result, "")
        script = Script.of(record["HyperParameters"])
        code = self._unpack_code(job, script)
        argv = ["python3", script.program, *script.arguments()]
        variables = script.environment(
            job_name=record["TrainingJobName"],
            channels=_channels(record),
            instance=record["ResourceConfig"]["InstanceType"],
        )
        result = container.run(argv, environment=variables | environment, cwd=code, timeout_s=timeout_s, stop=stop)
        return Attempt(result, shlex.join(argv))

    def _unpack_code(self, job: Job, script: Script) -> Path:
        """/opt/ml/code filled from the submit directory: an archive or a folder, in a channel or in S3."""
        code = job.container.path("/opt/ml/code")
        source = script.submit_directory
        if source.startswith("s3://"):
            self.download(job, source, job.container.folder("/opt/ml/submit"))
            source = f"/opt/ml/submit/{source.rsplit('/', 1)[-1]}"
        path = Path(job.container.rewrite(source))
        if path.is_dir():
            shutil.copytree(path, code, dirs_exist_ok=True)
        else:
            try:
                staging.unpack(path, code)
            except ValueError as error:
                raise JobFailed(f"ClientError: sagemaker_submit_directory {source} is no folder and {error}") from error
        if not (code / script.program).is_file():
            raise JobFailed(f"ClientError: {script.program} is not in {source}")
        if (code / "requirements.txt").is_file():
            raise JobFailed("ClientError: installing requirements.txt is not modelled by the local emulator")
        return code

    def _restore(self, job: Job, uri: str, folder: Path) -> None:
        try:
            staging.download(self.s3(job), uri, folder)
        except staging.NothingStaged:
            return
        except STAGING_ERRORS as error:
            raise JobFailed(f"ClientError: Failed to download checkpoints from {uri} as {job.role}: {error}") from error

    def _pack(self, job: Job, folder: str, archive_name: str) -> None:
        """Upload a folder of /opt/ml as an archive beside the model artifacts; an empty output is left out."""
        source = job.container.folder(f"/opt/ml/{folder}")
        names = sorted(path.name for path in source.iterdir())
        if not names and archive_name != "model.tar.gz":
            return
        archive_path = job.container.ml.parent / archive_name
        with tarfile.open(archive_path, "w:gz", compresslevel=1) as archive:
            for name in names:
                archive.add(source / name, arcname=name)
        target: str = job.record["ModelArtifacts"]["S3ModelArtifacts"]
        self.upload(job, archive_path, target.rpartition("/")[0])

    def _write_config(self, job: Job) -> None:
        record, container = job.record, job.container
        folder = container.folder("/opt/ml/input/config")
        files = {
            "hyperparameters.json": record.get("HyperParameters", {}),
            "inputdataconfig.json": _channels(record),
            "resourceconfig.json": resource_config(record["ResourceConfig"]["InstanceType"]),
        }
        for name, content in files.items():
            (folder / name).write_text(container.rewrite(json.dumps(content)))


def _moved(record: Record, status: str, message: str) -> Record:
    """Members that change when a job moves on to another secondary status."""
    now = api.now()
    done = [step if "EndTime" in step else step | {"EndTime": now} for step in record["SecondaryStatusTransitions"]]
    step = {"Status": status, "StartTime": now, "StatusMessage": message}
    if status in _FINAL:
        step["EndTime"] = now
    return {"SecondaryStatus": status, "SecondaryStatusTransitions": [*done, step]}


def _metrics(definitions: list[Record], log: Path) -> Record:
    """The last number that each metric's regular expression finds in the log."""
    text = log.read_text(errors="replace") if definitions and log.exists() else ""
    found = []
    for definition in definitions:
        matches = (match[1] for match in re.finditer(definition["Regex"], text) if match.groups())
        values = [value for value in map(_number, matches) if math.isfinite(value)]
        if values:
            found.append({"MetricName": definition["Name"], "Value": values[-1], "Timestamp": api.now()})
    return {"FinalMetricDataList": found} if found else {}


def _number(text: str | None) -> float:
    """A number as a log has it; anything else is not a number."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _channels(record: Record) -> dict[str, dict[str, str]]:
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in record.get("InputDataConfig", [])
    }


def _check_waiting(request: Record) -> None:
    """Refuse a waiting time without Spot, and Spot without one; texts as AWS answers.

    Source: https://github.com/aws/sagemaker-python-sdk/issues/4140
    """
    stopping = request.get("StoppingCondition", {})
    waiting = stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if (waiting or 0) < stopping.get("MaxRuntimeInSeconds", _DEFAULT_TIMEOUT_S):
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
            )
    elif waiting is not None and "RetryStrategy" not in request:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )


def _check_resources(request: Record) -> None:
    resources = request.get("ResourceConfig", {})
    if "InstanceType" not in resources:
        raise not_modelled("CreateTrainingJob without ResourceConfig.InstanceType")
    if resources.get("InstanceCount", 1) != 1:
        raise not_modelled("CreateTrainingJob with ResourceConfig.InstanceCount other than 1")
    check_volume_key(resources)


def _check_channel(channel: Record, input_mode: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise not_modelled(f"CreateTrainingJob with channel {channel['ChannelName']} that has no S3DataSource")
    settings = {"InputMode": input_mode} | channel | source
    for name, modelled in _CHANNEL.items():
        if settings.get(name, modelled) != modelled:
            raise not_modelled(f"CreateTrainingJob with a channel of {name} {settings[name]}")


_CHANNEL = {
    "InputMode": "File",
    "CompressionType": "None",
    "RecordWrapperType": "None",
    "S3DataType": "S3Prefix",
    "S3DataDistributionType": "FullyReplicated",
}
_ABSENT = (
    "ServerlessJobConfig",
    "MlflowConfig",
    "ModelPackageConfig",
    "DebugRuleConfigurations",
    "SessionChainingConfig",
)

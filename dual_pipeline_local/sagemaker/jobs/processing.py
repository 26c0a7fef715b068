"""Processing jobs: any command over declared inputs and outputs.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import json

from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.jobs.container import HOST
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped, algorithm_error
from dual_pipeline_local.sagemaker.jobs.job import Job, Jobs

_ROOT = "/opt/ml/processing/"


class ProcessingJobs(Jobs):
    """See module."""

    kind = "Processing"
    default_timeout_s = 86_400

    def refuse_unmodelled(self, request: Record) -> None:
        """See Jobs."""
        if not request["AppSpecification"].get("ContainerEntrypoint"):
            raise not_modelled("CreateProcessingJob without AppSpecification.ContainerEntrypoint (an image's own)")
        if request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] != 1:
            raise not_modelled("CreateProcessingJob with ClusterConfig.InstanceCount other than 1")
        for entry in request.get("ProcessingInputs", []):
            source = entry.get("S3Input")
            if source is None:
                raise not_modelled(f"CreateProcessingJob with input {entry['InputName']} that has no S3Input")
            _refuse_other_than(source, "ProcessingInput", _INPUT)
            _check_path(source.get("LocalPath"), entry["InputName"])
        for entry in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
            target = entry.get("S3Output")
            if target is None:
                raise not_modelled(f"CreateProcessingJob with output {entry['OutputName']} that has no S3Output")
            _refuse_other_than(target, "ProcessingOutput", _OUTPUT)
            _check_path(target.get("LocalPath"), entry["OutputName"])

    def execute(self, job: Job) -> Record:
        """Stage in, run, stage out."""
        record, container = job.record, job.container
        self.update(job, ProcessingStartTime=api.now())
        for entry in record.get("ProcessingInputs", []):
            source = entry["S3Input"]
            self.download(job, source["S3Uri"], container.folder(source["LocalPath"]))
        outputs = [entry["S3Output"] for entry in record.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        for target in outputs:
            container.folder(target["LocalPath"])
        failure_file = container.folder("/opt/ml/output") / "failure"
        self._write_config(job)
        application = record["AppSpecification"]
        isolated = record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        result = container.run(
            [*application["ContainerEntrypoint"], *application.get("ContainerArguments", [])],
            environment=self.credentials(job, isolated=isolated) | record.get("Environment", {}),
            cwd=container.ml,
            timeout_s=record["StoppingCondition"]["MaxRuntimeInSeconds"],
            stop=job.stop,
        )
        if result.stopped:
            raise JobStopped
        if result.timed_out:
            raise JobFailed("ClientError: Job exceeded MaxRuntimeInSeconds and was stopped")
        if result.exit_code != 0:
            raise algorithm_error(result, failure_file)
        for target in outputs:
            self.upload(job, container.path(target["LocalPath"]), target["S3Uri"])
        return {}

    def ended(self, job: Job, _changes: Record) -> Record:
        """See Jobs."""
        message = job.container.ml / "output" / "message"
        told = {"ExitMessage": message.read_text(errors="replace")[:1024]} if message.is_file() else {}
        return {"ProcessingEndTime": api.now()} | told

    def _write_config(self, job: Job) -> None:
        record, folder = job.record, job.container.folder("/opt/ml/config")
        config = {name: record[name] for name in _CONFIG if name in record}
        (folder / "processingjobconfig.json").write_text(job.container.rewrite(json.dumps(config)))
        (folder / "resourceconfig.json").write_text(json.dumps({"current_host": HOST, "hosts": [HOST]}))


def _refuse_other_than(settings: Record, what: str, modelled: dict[str, set[str]]) -> None:
    for name, values in modelled.items():
        if name in settings and settings[name] not in values:
            raise not_modelled(f"{what} with {name} {settings[name]}")


def _check_path(path: str | None, name: str) -> None:
    if path is None or not path.startswith(_ROOT) or ".." in path.split("/"):
        raise invalid(f"LocalPath of {name} must be an absolute path below {_ROOT}, got {path}")


_INPUT = {
    "S3DataType": {"S3Prefix"},
    "S3InputMode": {"File"},
    "S3DataDistributionType": {"FullyReplicated"},
    "S3CompressionType": {"None"},
}
_OUTPUT = {"S3UploadMode": {"EndOfJob"}}
_CONFIG = (
    "ProcessingJobArn",
    "ProcessingJobName",
    "AppSpecification",
    "Environment",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "RoleArn",
    "StoppingCondition",
)

"""Processing jobs: any command over declared inputs and outputs, on one host or on several that share the inputs.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dual_pipeline_local import spark, staging
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.processes import ProcessResult
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.jobs.container import HOST, Container
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped, algorithm_error
from dual_pipeline_local.sagemaker.jobs.instances import check_volume_key
from dual_pipeline_local.sagemaker.jobs.job import Job, Jobs

_ROOT = "/opt/ml/processing/"
# https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html
_MESSAGE = "/opt/ml/output/message"
_SPARK_IMAGE = "/sagemaker-spark-processing"
_DEFAULT_TIMEOUT_S = 86_400


class ProcessingJobs(Jobs):
    """See module."""

    kind = "Processing"
    words = "Processing"
    path = "processing-job"

    def refuse_unmodelled(self, request: Record) -> None:
        """See Jobs."""
        if not request["AppSpecification"].get("ContainerEntrypoint"):
            raise not_modelled("CreateProcessingJob without AppSpecification.ContainerEntrypoint (an image's own)")
        cluster = request["ProcessingResources"]["ClusterConfig"]
        check_volume_key(cluster)
        if cluster["InstanceCount"] != 1 and _has_spark(request):
            raise not_modelled("CreateProcessingJob with the Spark image on more than one instance")
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

    def started(self, request: Record, _caller: Caller) -> Record:
        """See Jobs."""
        stopping = {"MaxRuntimeInSeconds": _DEFAULT_TIMEOUT_S} | request.get("StoppingCondition", {})
        return {"StoppingCondition": stopping}

    def execute(self, job: Job) -> Record:
        """Stage in, run every host, stage out; one host's failure stops the others."""
        record = job.record
        self.update(job, ProcessingStartTime=api.now())
        hosts = _hosts(job)
        for number, (host, container) in enumerate(hosts.items()):
            self._prepare(job, container, shard=(number, len(hosts)))
            _write(container, "resourceconfig.json", {"current_host": host, "hosts": list(hosts)})
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            results = dict(zip(hosts, pool.map(lambda host: self._run_host(job, hosts[host]), hosts), strict=True))
        for host, result in results.items():
            if result.exit_code not in (0, None):
                # Who says why by itself gets AWS's own words for the reason, which tell nothing of the log.
                if hosts[host].path(_MESSAGE).is_file():
                    raise JobFailed("AlgorithmError: See job logs for more information")
                raise algorithm_error(result, hosts[host].path("/opt/ml/output/failure"))
        if any(result.timed_out for result in results.values()):
            raise JobFailed("ClientError: Job exceeded MaxRuntimeInSeconds and was stopped")
        if any(result.stopped for result in results.values()):
            raise JobStopped
        for container in hosts.values():
            for target in _outputs(record):
                self.upload(job, container.path(target["LocalPath"]), target["S3Uri"])
        return {}

    def ended(self, job: Job, _changes: Record) -> Record:
        """See Jobs."""
        message = job.container.path(_MESSAGE)
        told = {"ExitMessage": message.read_bytes()[:1024].decode(errors="ignore")} if message.is_file() else {}
        return {"ProcessingEndTime": api.now()} | told

    def _prepare(self, job: Job, container: Container, *, shard: staging.Shard) -> None:
        """What a host finds below /opt/ml when its process begins."""
        record = job.record
        for entry in record.get("ProcessingInputs", []):
            source = entry["S3Input"]
            is_shared = source.get("S3DataDistributionType") == "ShardedByS3Key"
            folder = container.folder(source["LocalPath"])
            self.download(job, source["S3Uri"], folder, shard=shard if is_shared else staging.WHOLE)
        for target in _outputs(record):
            container.folder(target["LocalPath"])
        container.folder("/opt/ml/output")
        _write(container, "processingjobconfig.json", {name: record[name] for name in _CONFIG if name in record})
        if _has_spark(record):
            spark.install(container.root)

    def _run_host(self, job: Job, container: Container) -> ProcessResult:
        record = job.record
        application = record["AppSpecification"]
        isolated = record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        result = container.run(
            [*application["ContainerEntrypoint"], *application.get("ContainerArguments", [])],
            environment=self.credentials(job, isolated=isolated) | record.get("Environment", {}),
            cwd=container.ml,
            timeout_s=record["StoppingCondition"]["MaxRuntimeInSeconds"],
            stop=job.stop,
        )
        if result.exit_code != 0:
            job.stop.set()
        return result


def _hosts(job: Job) -> dict[str, Container]:
    """The containers by host: the job's own folder is the first one's, the others lie in it by name."""
    count = job.record["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
    first, log = job.container, job.container.log
    others = [f"algo-{number}" for number in range(2, count + 1)]
    return {HOST: first} | {
        name: Container(first.root / name, log=log.with_name(f"{log.stem}.{name}.log")) for name in others
    }


def _outputs(record: Record) -> list[Record]:
    return [entry["S3Output"] for entry in record.get("ProcessingOutputConfig", {}).get("Outputs", [])]


def _has_spark(request: Record) -> bool:
    return _SPARK_IMAGE in request["AppSpecification"]["ImageUri"]


def _write(container: Container, name: str, content: Record) -> None:
    path: Path = container.folder("/opt/ml/config") / name
    path.write_text(container.rewrite(json.dumps(content)))


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
    "S3DataDistributionType": {"FullyReplicated", "ShardedByS3Key"},
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

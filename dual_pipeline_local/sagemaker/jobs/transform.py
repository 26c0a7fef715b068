"""Transform jobs: a model's own server, asked about every record of the objects below a prefix.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

import http.client
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from dual_pipeline_local import staging
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped
from dual_pipeline_local.sagemaker.jobs.instances import check_volume_key
from dual_pipeline_local.sagemaker.jobs.job import STAGING_ERRORS, Job, Jobs
from dual_pipeline_local.sagemaker.model_server import Answer, ModelServer, ServerDown
from dual_pipeline_local.sagemaker.models import Models

_MB = 1024 * 1024
_DEFAULT_PAYLOAD_MB = 6
_MOST_PAYLOAD_MB = 100
_DEFAULT_TIMEOUT_S = 600
_DEFAULT_RETRIES = 3


class TransformJobs(Jobs):
    """See module."""

    kind = "Transform"
    words = "Transform"
    path = "transform-job"
    order = "Descending"

    def __init__(self, control: Control, *, models: Models) -> None:
        super().__init__(control)
        self._models = models

    def refuse_unmodelled(self, request: Record) -> None:
        """See Jobs."""
        source, target = request["TransformInput"], request["TransformOutput"]
        settings = {**source["DataSource"]["S3DataSource"], **source, **target, **request.get("DataProcessing", {})}
        for name, modelled in _MODELLED.items():
            if settings.get(name, next(iter(modelled))) not in modelled:
                raise not_modelled(f"CreateTransformJob with {name} {settings[name]}")
        for member in ("DataCaptureConfig", "ExperimentConfig"):
            if request.get(member):
                raise not_modelled(f"CreateTransformJob with {member}")
        payload, parallel = request.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MB), request.get("MaxConcurrentTransforms")
        if payload == 0:
            raise not_modelled("CreateTransformJob with MaxPayloadInMB 0 (chunked payloads)")
        if payload * (parallel or 1) > _MOST_PAYLOAD_MB:
            raise invalid(
                f"MaxPayloadInMB times MaxConcurrentTransforms must not exceed {_MOST_PAYLOAD_MB} MB, "
                f"got {payload} times {parallel or 1}"
            )
        check_volume_key(request["TransformResources"])

    def started(self, request: Record, caller: Caller) -> Record:
        """See Jobs; the model must exist."""
        model = self._models.container(request["ModelName"], caller)
        return {"RoleArn": model["ExecutionRoleArn"], "_model": model}

    def execute(self, job: Job) -> Record:
        """Stage in, start the model's server, ask it about each object, stage out those that went well."""
        record, root = job.record, job.container.root
        self.update(job, TransformStartTime=api.now())
        uri = record["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        objects = self.download(job, uri, root / "input")
        (root / "output").mkdir()
        server = self._server(job)
        released = threading.Event()
        threading.Thread(target=_stop_with, args=(job, server, released), daemon=True).start()
        failures = []
        try:
            server.wait_until_healthy()
            for file in objects:
                try:
                    transformed = _transform(record, server, file)
                except _RecordFailed as error:
                    failures.append(f"{error.kind}: {file.relative_to(root / 'input')}: {error}")
                else:
                    target = root / "output" / f"{file.relative_to(root / 'input')}.out"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(transformed)
        except ServerDown as error:
            if job.stop.is_set():
                raise JobStopped from error
            raise JobFailed(
                f"AlgorithmError: Model container failed to respond to ping; Ensure /ping endpoint is implemented and "
                f"responds with an HTTP 200 status code. {error}"
            ) from error
        finally:
            released.set()
            server.stop()
        if job.stop.is_set():
            raise JobStopped
        self.upload(job, root / "output", record["TransformOutput"]["S3OutputPath"])
        if failures:
            raise JobFailed(failures[0])
        return {}

    def ended(self, _job: Job, _changes: Record) -> Record:
        """See Jobs."""
        return {"TransformEndTime": api.now()}

    def _server(self, job: Job) -> ModelServer:
        record = job.record
        model = record["_model"]
        # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
        batch = {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(record.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MB)),
            "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD" if _is_single(record) else "MULTI_RECORD",
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(record.get("MaxConcurrentTransforms") or 1),
        }
        environment = {**model["Environment"], **batch, **record.get("Environment", {})}
        try:
            return ModelServer(
                model | {"Environment": environment},
                folder=job.container.root / "server",
                log=job.container.log,
                cloud=self._control.cloud,
            )
        except (ServerDown, staging.NothingStaged, *STAGING_ERRORS) as error:
            raise JobFailed(f"ClientError: The model of {record['ModelName']} does not start: {error}") from error


class _RecordFailed(Exception):
    """A record without a prediction; `kind` is the type of the job's FailureReason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _stop_with(job: Job, server: ModelServer, released: threading.Event) -> None:
    """End the server when the job is stopped, even in the middle of a request."""
    while not released.wait(0.05):
        if job.stop.is_set():
            server.stop()
            return


def _transform(record: Record, server: ModelServer, file: Path) -> bytes:
    """All predictions for one object."""
    source, target = record["TransformInput"], record["TransformOutput"]
    headers = {}
    if source.get("ContentType"):
        headers["Content-Type"] = source["ContentType"]
    if target.get("Accept"):
        headers["Accept"] = target["Accept"]
    end = b"\n" if target.get("AssembleWith") == "Line" else b""
    return b"".join(_ask(record, server, body, headers).body + end for body in _payloads(record, file.read_bytes()))


def _payloads(record: Record, content: bytes) -> Iterator[bytes]:
    """What is sent at once: the object, one line, or as many lines as fit."""
    most = record.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MB) * _MB
    if record["TransformInput"].get("SplitType", "None") == "None":
        yield _fitting(content, most)
        return
    batch: list[bytes] = []
    size = 0
    for line in content.removesuffix(b"\n").split(b"\n") if content else ():
        added = len(_fitting(line, most)) + 1
        if batch and (_is_single(record) or size + added > most):
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += added
    if batch:
        yield b"\n".join(batch)


def _fitting(payload: bytes, most: int) -> bytes:
    if len(payload) > most:
        raise _RecordFailed("ClientError", f"a record of {len(payload)} bytes exceeds MaxPayloadInMB {most // _MB}")
    return payload


def _ask(record: Record, server: ModelServer, body: bytes, headers: Record) -> Answer:
    """The model's answer; only failures of the server itself are worth another try."""
    client = record.get("ModelClientConfig", {})
    timeout_s = client.get("InvocationsTimeoutInSeconds", _DEFAULT_TIMEOUT_S)
    for _ in range(1 + client.get("InvocationsMaxRetries", _DEFAULT_RETRIES)):
        try:
            answer = server.invoke(body, headers, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException) as error:
            reason = f"Unable to get response from algorithm: {error!r}"
        else:
            if answer.status < HTTPStatus.BAD_REQUEST:
                return answer
            said = answer.body.decode(errors="replace")
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _RecordFailed("ClientError", f"{answer.status} Message: {said}")
            reason = f"Bad HTTP status received from algorithm: {answer.status} Message: {said}"
    raise _RecordFailed("AlgorithmError", reason)


def _is_single(record: Record) -> bool:
    return record.get("BatchStrategy") == "SingleRecord"


_MODELLED = {
    "S3DataType": ("S3Prefix",),
    "CompressionType": ("None",),
    "SplitType": ("None", "Line"),
    "InputFilter": ("$",),
    "OutputFilter": ("$",),
    "JoinSource": ("None",),
}

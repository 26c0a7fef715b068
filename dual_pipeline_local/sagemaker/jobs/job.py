"""The life of a job, whatever its kind: created, run in the background, described, listed, stopped, awaited."""

import json
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.jobs.container import Container
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped
from dual_pipeline_local.sagemaker.listing import Listing

STAGING_ERRORS = (OSError, ValueError, Boto3Error, ClientError, BotoCoreError, ApiError)
_TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass
class Job:
    """One job: its record as Describe answers it, its container (the first host's), and the wish to stop it."""

    record: Record
    container: Container
    caller: Caller
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def role(self) -> str:
        """The role that the job runs as."""
        role: str = self.record["RoleArn"]
        return role


class Jobs(ABC):
    """All jobs of one kind: `kind` as operations spell it, `words` as events do, `path` as ARNs do."""

    kind: ClassVar[str]
    words: ClassVar[str]
    path: ClassVar[str]
    order: ClassVar[str] = "Ascending"

    def __init__(self, control: Control) -> None:
        self._control = control
        self._jobs: dict[str, Job] = {}
        self._name, self._arn, self._status = f"{self.kind}JobName", f"{self.kind}JobArn", f"{self.kind}JobStatus"
        self._listing = Listing(
            operation=f"List{self.kind}Jobs", name=self._name, status=self._status, order=self.order
        )
        self.operations: Operations = {
            f"Create{self.kind}Job": self._create,
            f"Describe{self.kind}Job": self._describe,
            f"List{self.kind}Jobs": self._list,
            f"Stop{self.kind}Job": self._stop,
        }

    @abstractmethod
    def refuse_unmodelled(self, request: Record) -> None:
        """Refuse what AWS refuses, and by name what this emulator does not do, before anything starts."""

    @abstractmethod
    def execute(self, job: Job) -> Record:
        """Run the job to its good end and answer the members that change then; raises JobFailed or JobStopped."""

    @abstractmethod
    def ended(self, job: Job, changes: Record) -> Record:
        """Members that change when the job ends, whatever its end; `changes` are those already known."""

    def started(self, _request: Record, _caller: Caller) -> Record:
        """Members that a new job's record has beyond its request; Describe leaves out those it does not know."""
        return {}

    def launch(self, request: Record, caller: Caller, **more: object) -> Job:
        """Create a job from a checked request and run it in the background; `more` goes into its record."""
        self.refuse_unmodelled(request)
        name, now = request[self._name], api.now()
        job_arn = arn(caller, f"{self.path}/{name}")
        started = self.started(request, caller)
        with self._control.changed:
            if name in self._jobs:
                raise ApiError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a job with this name already "
                    f"exists ({job_arn})",
                )
            self._control.tag(job_arn, request)
            record = request | {
                self._arn: job_arn,
                self._status: "InProgress",
                "CreationTime": now,
                "LastModifiedTime": now,
            }
            job = self._jobs[name] = Job(record | started | more, self._container(name), caller)
        self._control.start(lambda: self._run(job), name=name)
        return job

    def halt(self, job: Job) -> bool:
        """Ask a running job to stop; False if it has ended or is stopping already."""
        with self._control.changed:
            if job.record[self._status] != "InProgress":
                return False
            self.change(job, **{self._status: "Stopping"})
        self._tell(job)
        job.stop.set()
        with self._control.changed:
            self._control.changed.notify_all()
        return True

    def find(self, job_arn: str) -> Job | None:
        """The job of that ARN."""
        return next((job for job in self._jobs.values() if job.record[self._arn] == job_arn), None)

    def is_terminal(self, job: Job) -> bool:
        """Whether the job has ended."""
        return job.record[self._status] in _TERMINAL

    def describe(self, job: Job) -> Record:
        """The job as Describe answers it."""
        return api.output(f"Describe{self.kind}Job", job.record)

    def stop_all(self) -> None:
        """Stop every job and wait until its processes are gone."""
        with self._control.changed:
            jobs = list(self._jobs.values())
            for job in jobs:
                job.stop.set()
            self._control.changed.notify_all()
        for job in jobs:
            job.done.wait(timeout=30)

    def change(self, job: Job, **changes: object) -> None:
        """Change a job's record and tell those who wait for it."""
        with self._control.changed:
            job.record |= {**changes, "LastModifiedTime": api.now()}
            self._control.changed.notify_all()

    def update(self, job: Job, **changes: object) -> None:
        """The same, and send the state change event."""
        self.change(job, **changes)
        self._tell(job)

    def download(self, job: Job, uri: str, folder: Path, *, shard: staging.Shard = staging.WHOLE) -> list[Path]:
        """Stage an input as the job's role, failing the job in AWS's words."""
        try:
            return staging.download(self.s3(job), uri, folder, shard=shard)
        except (staging.NothingStaged, *STAGING_ERRORS) as error:
            cause = "No objects found" if isinstance(error, staging.NothingStaged) else str(error)
            raise JobFailed(
                "ClientError: Data download failed:Failed to download data. No S3 objects found under S3 URL "
                f'"{uri}" given in input data source. Please ensure that the bucket exists in the selected region, '
                f'that objects exist under that S3 prefix, and that the role "{job.role}" has "s3:ListBucket" '
                f"permissions on its bucket. Error message from S3: {cause}"
            ) from error

    def upload(self, job: Job, path: Path, uri: str, *, ignored: str | None = None) -> list[str]:
        """Stage an output as the job's role, without files of the `ignored` suffix."""
        try:
            return staging.upload(self.s3(job), path, uri, ignored=ignored)
        except STAGING_ERRORS as error:
            raise JobFailed(f"ClientError: Failed to upload {path.name} to {uri} as {job.role}: {error}") from error

    def s3(self, job: Job) -> Any:
        """S3 as the job's role."""
        return self._control.cloud.client(job.role, "s3")

    def credentials(self, job: Job, *, isolated: bool) -> dict[str, str]:
        """The role's credentials for the job's process; none in network isolation."""
        return {} if isolated else dict(self._control.cloud.environment(job.role))

    def _create(self, request: Record, caller: Caller) -> Record:
        return {self._arn: self.launch(request, caller).record[self._arn]}

    def _container(self, name: str) -> Container:
        folder = self._control.work / "jobs" / self.path.removesuffix("-job") / name
        shutil.rmtree(folder, ignore_errors=True)
        return Container(folder, log=self._control.work / "logs" / f"{self.kind}Jobs" / f"{name}.log")

    def _run(self, job: Job) -> None:
        self.update(job)
        changes: Record
        try:
            changes = {self._status: "Completed"} | self.execute(job)
        except JobStopped:
            changes = {self._status: "Stopped"}
        except JobFailed as failure:
            changes = {self._status: "Failed", "FailureReason": str(failure)}
        except Exception as error:  # a defect here is the service's own error, and the job must end
            changes = {self._status: "Failed", "FailureReason": f"InternalServerError: {error!r}"}
        try:
            changes |= self.ended(job, changes)
            self._keep(job, job.record | changes)
            self.update(job, **changes)
        finally:
            job.done.set()

    def _tell(self, job: Job) -> None:
        with self._control.changed:
            detail = self._event(job.record)
        self._control.cloud.emit(f"SageMaker {self.words} Job State Change", detail, [job.record[self._arn]])

    def _keep(self, job: Job, record: Record) -> None:
        """The job as Describe answers it beside its files, for those who come after this process."""
        described = api.output(f"Describe{self.kind}Job", record)
        (job.container.root / "job.json").write_text(json.dumps(described, indent=1, sort_keys=True))

    def _describe(self, request: Record, _caller: Caller) -> Record:
        return self.describe(self._job(request))

    def _list(self, request: Record, _caller: Caller) -> Record:
        return self._listing.page(request, [job.record for job in self._jobs.values()])

    def _stop(self, request: Record, _caller: Caller) -> Record:
        job = self._job(request)
        if not self.halt(job):
            noun = self.path.replace("-", " ")
            raise api.invalid(f"The request was rejected because the {noun} is in status {job.record[self._status]}.")
        return {}

    def _job(self, request: Record) -> Job:
        try:
            return self._jobs[request[self._name]]
        except KeyError:
            raise self.not_found(request[self._name]) from None

    def not_found(self, name: str) -> ApiError:
        """AWS's answer for a job that does not exist."""
        return ApiError("ValidationException", f"Could not find requested job with name: {name}")

    def _event(self, record: Record) -> Record:
        described = api.output(f"Describe{self.kind}Job", record)
        times = {name: round(value * 1000) for name, value in described.items() if name.endswith("Time")}
        return described | times | {"Tags": dict(self._control.tags.get(record[self._arn], {}))}


def wait_for(control: Control, is_done: Callable[[], bool], timeout_s: float | None) -> bool:
    """Wait until a record has changed as wished; False when the time is over first."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with control.changed:
        while not is_done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            control.changed.wait(left)
    return True

"""Glue Spark jobs as real PySpark processes.

Script, libraries and the arguments named `--input_*` are fetched with the job role's credentials, `s3://` is mapped to
the fetched files by Hadoop's ViewFileSystemOverloadScheme, and what the job wrote below its `--output_*` arguments is
uploaded with the same credentials when it ends well. Job code is the same as on AWS, where Spark talks to S3.
Source: https://docs.aws.amazon.com/glue/latest/webapi/API_StartJobRun.html, API_JobRun.html and
https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from . import deequ, events, ministack, processes, sessions, settings, spark, staging
from .errors import ApiError

SERVICE: Final = "glue.amazonaws.com"
ENDED: Final = ("SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED")
_LOG_GROUP: Final = "/aws-glue/jobs/error"
_LOG_LINES: Final = 500
_IGNORED: Final = re.compile(r"^\..*\.crc$")
# read by Glue, not by the script
_OWN_ARGUMENTS: Final = ("--extra-py-files", "--conf", "--extra-jars", "--additional-python-modules")

# what who starts a local run may tell jobs
_PASSED: Final = ("QUALITY_ENGINE",)

_log = logging.getLogger("dual_pipeline_local.glue")
_lock = threading.RLock()
_running: dict[str, _Run] = {}


class JobFailed(Exception):
    """Why a run failed, in the words of its ErrorMessage."""


@dataclass(kw_only=True)
class _Run:
    """A run at work: its record in ministack, and how to stop it."""

    record: dict[str, Any]
    job: Mapping[str, Any]
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


def install() -> None:
    """Put real job runs in place of ministack's."""
    service = ministack.load("services.glue")
    service._create_job = _keeping_concurrency(service._create_job, lambda request: request)
    service._update_job = _keeping_concurrency(service._update_job, lambda request: request.get("JobUpdate", {}))
    service._start_job_run = _answering(_start)
    service._batch_stop_job_run = _answering(_batch_stop)


def stop_all() -> None:
    """End every running job."""
    with _lock:
        runs = [*_running.values()]
    for run in runs:
        run.stop.set()
    for run in runs:
        run.ended.wait(5)


def _answering(call: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[Mapping[str, Any]], Any]:
    def answer(request: Mapping[str, Any]) -> Any:
        responses = ministack.load("core.responses")
        try:
            return responses.json_response(call(request))
        except ApiError as error:
            return responses.error_response_json(error.code, error.message, error.status)

    return answer


def _keeping_concurrency(call: Callable[..., Any], fields: Callable[[Any], Mapping[str, Any]]) -> Callable[..., Any]:
    """ministack drops ExecutionProperty, which holds MaxConcurrentRuns."""

    def answer(request: Mapping[str, Any]) -> Any:
        result = call(request)
        name = request.get("Name") or request.get("JobName")
        job = ministack.load("services.glue")._jobs.get(name)
        if result[0] < 400 and job is not None:
            given = fields(request).get("ExecutionProperty")
            job["ExecutionProperty"] = given or job.get("ExecutionProperty") or {"MaxConcurrentRuns": 1}
        return result

    return answer


def _start(request: Mapping[str, Any]) -> dict[str, Any]:
    service = ministack.load("services.glue")
    name = str(request.get("JobName", ""))
    job = service._jobs.get(name)
    if job is None:
        raise ApiError("EntityNotFoundException", f"Failed to start job run due to missing metadata: {name}")
    command = job.get("Command", {})
    if command.get("Name") != "glueetl" or str(command.get("PythonVersion", "3")) != "3":
        raise ApiError("InvalidInputException", f"the emulator runs glueetl jobs of Python 3, got {command}")
    with _lock:
        active = [run for run in service._job_runs.get(name, []) if run["JobRunState"] not in ENDED]
        limit = int((job.get("ExecutionProperty") or {}).get("MaxConcurrentRuns", 1))
        if len(active) >= limit:
            raise ApiError("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}")
        run = _Run(record=_record(job, request), job=job)
        service._job_runs.setdefault(name, []).insert(0, run.record)
        _running[run.record["Id"]] = run
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_execute, run), daemon=True, name=f"glue-{name}").start()
    return {"JobRunId": run.record["Id"]}


def _record(job: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    arguments = {
        **job.get("DefaultArguments", {}),
        **request.get("Arguments", {}),
        **job.get("NonOverridableArguments", {}),
    }
    return {
        "Id": f"jr_{uuid.uuid4().hex}{uuid.uuid4().hex}",
        "Attempt": 0,
        "JobName": job["Name"],
        "StartedOn": now,
        "LastModifiedOn": now,
        "JobRunState": "STARTING",
        "Arguments": {name: str(value) for name, value in arguments.items()},
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": int(request.get("Timeout") or job.get("Timeout") or 480),
        "WorkerType": request.get("WorkerType") or job.get("WorkerType"),
        "NumberOfWorkers": request.get("NumberOfWorkers") or job.get("NumberOfWorkers"),
        "GlueVersion": job.get("GlueVersion"),
        "SecurityConfiguration": job.get("SecurityConfiguration") or None,
        "LogGroupName": "/aws-glue/jobs",
    }


def _batch_stop(request: Mapping[str, Any]) -> dict[str, Any]:
    stopped, errors = [], []
    for identifier in request.get("JobRunIds", []):
        key = {"JobName": request.get("JobName"), "JobRunId": identifier}
        with _lock:
            run = _running.get(identifier)
            if run:
                run.record["JobRunState"] = "STOPPING"
        if run:
            run.stop.set()
            stopped.append(key)
        else:
            detail = {"ErrorCode": "JobRunNotInStartedStateException", "ErrorMessage": "The job run is not running"}
            errors.append({**key, "ErrorDetail": detail})
    return {"SuccessfulSubmissions": stopped, "Errors": errors}


def _execute(run: _Run) -> None:
    """One run from its start to its last state."""
    record = run.record
    log = settings.current().logs / f"glue-{record['JobName']}-{record['Id'][3:19]}.log"
    folder = settings.current().work / "glue" / record["JobName"] / record["Id"]
    state, message = "FAILED", ""
    try:
        folder.mkdir(parents=True)
        state, message = _run_process(run, folder, log)
    except JobFailed as error:
        message = str(error)
    except (ApiError, ClientError, staging.NothingStaged, ValueError, OSError) as error:
        message = f"{type(error).__name__}: {error}"
    except Exception as error:
        _log.exception("glue run %s broke", record["Id"])
        message = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _publish_log(record, log)
        _end(run, state, message)


def _run_process(run: _Run, folder: Path, log: Path) -> tuple[str, str]:
    record = run.record
    role = _role_arn(str(run.job.get("Role", "")))
    s3 = sessions.client(role, "s3", service=SERVICE)
    workspace = _Workspace(folder)
    script = workspace.fetch(s3, str(run.job["Command"]["ScriptLocation"]))
    libraries = [workspace.fetch(s3, uri) for uri in _split(record["Arguments"].get("--extra-py-files", ""))]
    inputs = [uri for name, value in _s3_arguments(record, "--input_") for uri in _split(value)]
    outputs = [value for _, value in _s3_arguments(record, "--output_")]
    for uri in inputs:
        workspace.stage(s3, uri)
    for uri in outputs:
        workspace.place(uri)
    before = workspace.files()
    with _lock:
        if record["JobRunState"] == "STARTING":
            record.update(JobRunState="RUNNING", LastModifiedOn=time.time())
    result = processes.run_process(
        [sys.executable, str(script), *_script_arguments(record)],
        env=_environment(role, workspace, libraries),
        cwd=workspace.cwd,
        log=log,
        timeout_s=record["Timeout"] * 60,
        stop=run.stop,
    )
    if result.stopped:
        return "STOPPED", ""
    if result.timed_out:
        return "TIMEOUT", f"Job run exceeded its timeout of {record['Timeout']} minutes"
    if result.exit_code:
        return "FAILED", last_exception(log.read_text(errors="replace")) or f"exit code {result.exit_code}"
    _upload(s3, workspace, before, outputs)
    return "SUCCEEDED", ""


def _upload(s3: Any, workspace: _Workspace, before: dict[Path, tuple[int, int]], outputs: list[str]) -> None:
    """Upload what the job wrote, first what it wrote first; a write outside the declared outputs fails the run."""
    after = workspace.files()
    written = sorted((file for file, stamp in after.items() if before.get(file) != stamp), key=after.__getitem__)
    uris = [workspace.uri(file) for file in written]
    if strays := [uri for uri in uris if not any(_below(uri, output) for output in outputs)]:
        raise JobFailed(f"the job wrote outside its --output_* arguments: {', '.join(sorted(strays)[:3])}")
    for file, uri in zip(written, uris, strict=True):
        bucket, key = staging.parse(uri)
        s3.upload_file(str(file), bucket, key)


def last_exception(log: str) -> str:
    """The line that names the last Python exception in a log, else its last line."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    traces = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[traces[-1] + 1 :] if traces else []
    named = next((line for line in after if line[0] not in " \t"), "")
    return named or (lines[-1] if lines else "")


class _Workspace:
    """The files of one run: buckets as folders, the working directory, Spark's configuration."""

    def __init__(self, folder: Path) -> None:
        self.s3, self.cwd, self.code, self.conf = (folder / name for name in ("s3", "cwd", "code", "conf"))
        for path in (self.s3, self.cwd, self.code, self.conf):
            path.mkdir()

    def fetch(self, s3: Any, uri: str) -> Path:
        """A single object of the job's code."""
        file = self.code / uuid.uuid4().hex[:8] / uri.rpartition("/")[2]
        file.parent.mkdir()
        file.write_bytes(staging.read(s3, uri))
        return file

    def stage(self, s3: Any, uri: str) -> None:
        """An object, or all below a prefix; where nothing is, Spark finds no path, as on S3."""
        try:
            (self.place(uri) / uri.rpartition("/")[2]).write_bytes(staging.read(s3, uri))
        except (ClientError, IsADirectoryError):
            prefix = staging.join(uri, "")
            folder = self.place(prefix)
            try:
                staging.download(s3, prefix, folder)
            except staging.NothingStaged:
                folder.rmdir()

    def place(self, uri: str) -> Path:
        """The folder that stands for a prefix, or for the prefix around a single object."""
        bucket, key = staging.parse(uri)
        folder = self.s3 / bucket / (key if key.endswith("/") else key.rpartition("/")[0])
        if not folder.resolve().is_relative_to(self.s3.resolve()):
            raise ValueError(f"uri leaves its bucket: {uri}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def files(self) -> dict[Path, tuple[int, int]]:
        """Every file under the buckets with what tells whether it was written."""
        found = (path for path in sorted(self.s3.rglob("*")) if path.is_file() and not _IGNORED.match(path.name))
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    def uri(self, file: Path) -> str:
        return f"s3://{file.relative_to(self.s3).as_posix()}"

    def buckets(self) -> list[str]:
        return sorted(path.name for path in self.s3.iterdir())


def _environment(role: str, workspace: _Workspace, libraries: list[Path]) -> dict[str, str]:
    # `s3://bucket/...` is the bucket's folder; a bucket that no argument names does not exist
    options = {
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        "spark.hadoop.fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
        **{
            f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback": f"file://{workspace.s3 / bucket}"
            for bucket in workspace.buckets()
        },
        **deequ.spark_options(),
    }
    variables = spark.environment(workspace.conf, scratch=workspace.cwd, options=options)
    programs = [f"{variables['JAVA_HOME']}/bin", str(Path(sys.executable).parent), "/usr/bin", "/bin"]
    return {
        **sessions.environment_for_role(role, service=SERVICE),
        **variables,
        "HOME": str(workspace.cwd),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(programs),
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(str(library) for library in libraries),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(workspace.cwd),
    }


def _script_arguments(record: Mapping[str, Any]) -> Iterator[str]:
    """What a script finds in sys.argv: its own arguments and those Glue adds."""
    arguments = {"--JOB_NAME": record["JobName"], "--JOB_RUN_ID": record["Id"], **record["Arguments"]}
    for name, value in arguments.items():
        if name not in _OWN_ARGUMENTS:
            yield name
            yield value


def _s3_arguments(record: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in record["Arguments"].items()
        if name.startswith(prefix) and value.startswith("s3://")
    ]


def _split(uris: str) -> list[str]:
    return [uri.strip() for uri in uris.split(",") if uri.strip()]


def _below(uri: str, output: str) -> bool:
    return uri.startswith(output) if output.endswith("/") else uri == output or uri.startswith(f"{output}/")


def _role_arn(role: str) -> str:
    """Glue takes a role's name or its ARN."""
    return role if role.startswith("arn:") else f"arn:aws:iam::{settings.current().account}:role/{role}"


def _publish_log(record: Mapping[str, Any], log: Path) -> None:
    """The end of the log in CloudWatch Logs under the run's id, where the console shows it."""
    if not log.exists():
        return
    logs = sessions.root_client("logs")
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-_LOG_LINES:]
    now = int(time.time() * 1000)
    try:
        for call, name in ((logs.create_log_group, {}), (logs.create_log_stream, {"logStreamName": record["Id"]})):
            try:
                call(logGroupName=_LOG_GROUP, **name)
            except logs.exceptions.ResourceAlreadyExistsException:
                continue
        if lines:
            messages = [{"timestamp": now, "message": line[:10_000]} for line in lines]
            logs.put_log_events(logGroupName=_LOG_GROUP, logStreamName=record["Id"], logEvents=messages)
    except ClientError as error:
        _log.warning("no log of %s in CloudWatch Logs: %s", record["Id"], error)


def _end(run: _Run, state: str, message: str) -> None:
    record, now = run.record, time.time()
    with _lock:
        _running.pop(record["Id"], None)
        record.update(CompletedOn=now, LastModifiedOn=now, ExecutionTime=round(now - record["StartedOn"]))
        if message:
            record["ErrorMessage"] = message
        record["JobRunState"] = state
    run.ended.set()
    events.emit(
        source="aws.glue",
        detail_type="Glue Job State Change",
        detail={
            "jobName": record["JobName"],
            "severity": "INFO" if state == "SUCCEEDED" else "ERROR",
            "state": state,
            "jobRunId": record["Id"],
            "message": message or f"Job run {state.lower()}",
        },
        resources=[],
    )

"""One execution of a pipeline: steps run when what they need has succeeded, side by side where nothing forbids it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.pipelines.cache import Cache
from dual_pipeline_local.sagemaker.pipelines.callbacks import Callbacks
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Scope
from dual_pipeline_local.sagemaker.pipelines.retries import run_with_retries
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed, StepStopped
from dual_pipeline_local.sagemaker.pipelines.step import Step
from dual_pipeline_local.sagemaker.pipelines.steps import RUNNERS
from dual_pipeline_local.sagemaker.pipelines.workshop import Workshop

_MOST_PARALLEL = 50
_FAILED = "Step failure: One or multiple steps failed."


@dataclass
class Execution:
    """An execution's record as Describe answers it, its definition, parameters and step runs in order of start.

    `selected` are the steps that may run, None for all; runs taken from another execution are there from the beginning.
    """

    record: Record
    definition: Definition
    values: dict[str, Any]
    pipeline: Record
    cache: Cache
    role: Caller
    selected: frozenset[str] | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def arn(self) -> str:
        """Its ARN."""
        arn: str = self.record["PipelineExecutionArn"]
        return arn

    @property
    def status(self) -> str:
        """PipelineExecutionStatus."""
        status: str = self.record["PipelineExecutionStatus"]
        return status

    def variable(self, name: str) -> str:
        """The value of an execution variable."""
        known: dict[str, str] = {
            "PipelineName": self.pipeline["PipelineName"],
            "PipelineArn": self.pipeline["PipelineArn"],
            "PipelineExecutionId": self.arn.rpartition("/")[2],
            "PipelineExecutionArn": self.arn,
            "StartDateTime": _iso(self.record["CreationTime"]),
            "CurrentDateTime": _iso(api.now()),
        }
        return known[name]

    def begin_again(self) -> None:
        """Forget how it ended and all runs that did not succeed."""
        self.record.pop("FailureReason", None)
        self.runs = {name: run for name, run in self.runs.items() if run.status == "Succeeded"}
        self.stop, self.done = threading.Event(), threading.Event()


class Interpreter:
    """Runs executions.

    `stop_grace_s` is how long a stopped execution waits for what cannot be stopped: the answer to a callback, a
    function. AWS waits for as long as it takes.
    """

    def __init__(
        self,
        control: Control,
        *,
        wait_for_job: Callable[[str, Callable[[], bool]], Record],
        callbacks: Callbacks,
        stop_grace_s: float,
    ) -> None:
        self._control = control
        self._wait_for_job = wait_for_job
        self._callbacks = callbacks
        self._stop_grace_s = stop_grace_s

    def run(self, execution: Execution, *, before: str | None = None) -> None:
        """Run an execution to its end, from the status it had before if it is run again."""
        done = execution.done  # another one from the moment at which it can be run again
        try:
            self._emit(execution, _EXECUTION_EVENT, _detail(execution, before))
            reason = self._refusal_of_experiment(execution) or self._run_steps(execution)
        except Exception as error:  # a defect here is the service's own error, and the execution must end
            self._move(execution, "Failed", FailureReason=f"InternalServerError: {error!r}")
        else:
            if execution.stop.is_set():
                self._move(execution, "Stopped")
            elif reason is not None:
                self._move(execution, "Failed", FailureReason=reason[:1300])
            else:
                self._move(execution, "Succeeded")
        finally:
            done.set()

    def halt(self, execution: Execution) -> None:
        """Ask an execution to stop, once; raises ValidationException if it has ended."""
        with self._control.changed:
            if execution.status in ENDED:
                raise api.invalid(
                    f"Only an executing pipeline execution can be stopped, this one is {execution.status}"
                )
            if execution.stop.is_set():
                return
            execution.stop.set()
            told = self._change(execution, "Stopping")
        self._emit(execution, _EXECUTION_EVENT, told)

    def _move(self, execution: Execution, status: str, **changes: object) -> None:
        """Change an execution's status and send the event."""
        self._emit(execution, _EXECUTION_EVENT, self._change(execution, status, **changes))

    def _change(self, execution: Execution, status: str, **changes: object) -> Record:
        """Change an execution's status and answer the event's detail."""
        with self._control.changed:
            before = execution.status
            execution.record |= {**changes, "PipelineExecutionStatus": status, "LastModifiedTime": api.now()}
            self._control.changed.notify_all()
            return _detail(execution, before)

    def _refusal_of_experiment(self, execution: Execution) -> str | None:
        """Why the pipeline's role may not make the experiment and trial that the execution belongs to, if so."""
        names: Record = execution.record.get("PipelineExperimentConfig", {})
        base = f"arn:aws:sagemaker:{execution.role.region}:{execution.role.account}:"
        for member, action, kind in _EXPERIMENT:
            if member in names:
                try:
                    resource = f"{base}{kind}/{names[member].lower()}"
                    self._control.cloud.authorize(execution.role, f"sagemaker:{action}", resource)
                except ApiError as error:
                    return f"ClientError: Failed to invoke sagemaker:{action}. Error Details: {error.message}"
        return None

    def _run_steps(self, execution: Execution) -> str | None:
        """Run all steps that are to run; the reason if one failed. After a failure no further step starts."""
        shop = self._workshop(execution)
        reason: str | None = None
        ended: SimpleQueue[str | None] = SimpleQueue()
        running = 0
        while True:
            if reason is None and not execution.stop.is_set():
                for step in islice(list(_ready(execution)), max(0, _most_parallel(execution) - running)):
                    run = self._begin(execution, step)
                    work = partial(self._run_and_tell, execution, run, shop, ended)
                    self._control.start(work, name=f"{execution.arn.rpartition('/')[2]} {step.name}")
                    running += 1
            if not running:
                return reason
            reason = ended.get() or reason
            running -= 1

    def _run_and_tell(self, execution: Execution, run: Run, shop: Workshop, ended: "SimpleQueue[str | None]") -> None:
        reason: str | None = None
        try:
            reason = self._run_step(execution, run, shop)
        except Exception as error:  # a defect here is the service's own error, and the execution must end
            reason = f"InternalServerError: {error!r}"
        finally:
            ended.put(reason)

    def _begin(self, execution: Execution, step: Step) -> Run:
        record = {"StepName": step.name, "StepStatus": "Starting", "StartTime": api.now(), "AttemptCount": 1}
        for member, source in (("StepDisplayName", "DisplayName"), ("StepDescription", "Description")):
            if source in step.source:
                record[member] = step.source[source]
        run = Run(step, record)
        with self._control.changed:
            execution.runs[step.name] = run
        self._emit_step(execution, run, None)
        return run

    def _run_step(self, execution: Execution, run: Run, shop: Workshop) -> str | None:
        """Run one step to its end; the execution's FailureReason if it failed."""
        self._move_step(execution, run, "Executing")
        try:
            run_with_retries(lambda: RUNNERS[run.step.type](run, shop), run, shop.stop)
        except StepStopped:
            self._move_step(execution, run, "Stopped")
            return None
        except StepFailed as failure:
            self._move_step(execution, run, "Failed", FailureReason=str(failure))
            return str(failure) if failure.ends else _FAILED
        except ExpressionError as error:
            self._move_step(execution, run, "Failed", FailureReason=f"ClientError: {error}"[:1024])
            return _FAILED
        except Exception as error:  # a defect here is the service's own error, and the step must end
            self._move_step(execution, run, "Failed", FailureReason=f"InternalServerError: {error!r}"[:1024])
            return _FAILED
        with self._control.changed:
            shop.scope.steps[run.step.name] = run.properties
        self._move_step(execution, run, "Succeeded")
        return None

    def _move_step(self, execution: Execution, run: Run, status: str, **changes: object) -> None:
        with self._control.changed:
            before = run.status
            run.record |= {**changes, "StepStatus": status}
            if status in ("Succeeded", "Failed", "Stopped"):
                run.record["EndTime"] = api.now()
            self._control.changed.notify_all()
        self._emit_step(execution, run, before)

    def _workshop(self, execution: Execution) -> Workshop:
        def read(uri: str) -> bytes:
            try:
                return staging.read(self._control.cloud.client(execution.role.arn, "s3"), uri)
            except (ClientError, BotoCoreError, ApiError, ValueError) as error:
                raise ExpressionError(f"the file cannot be read as {execution.role.arn}: {error}") from error

        files = {
            (step.name, file["PropertyFileName"]): (file["OutputName"], file["FilePath"])
            for step in execution.definition.steps
            for file in step.source.get("PropertyFiles", [])
        }
        return Workshop(
            control=self._control,
            wait=self._wait_for_job,
            caller=execution.role,
            execution_arn=execution.arn,
            scope=Scope(
                execution.values,
                execution.variable,
                read,
                steps={name: run.properties for name, run in execution.runs.items()},
                property_files=files,
            ),
            cache=execution.cache,
            callbacks=self._callbacks,
            stop=execution.stop,
            abandoned=execution.abandoned,
            stop_grace_s=self._stop_grace_s,
        )

    def _emit_step(self, execution: Execution, run: Run, before: str | None) -> None:
        record = run.record
        detail = {
            "metadata": _lower(record.get("Metadata", {})),
            "stepStartTime": _iso(record["StartTime"]),
            "stepEndTime": _iso(record["EndTime"]) if "EndTime" in record else None,
            "stepName": run.step.name,
            "stepType": run.step.type,
            "previousStepStatus": before,
            "currentStepStatus": record["StepStatus"],
            "failureReason": record.get("FailureReason"),
            "cacheHitResult": _lower(record["CacheHitResult"]) if "CacheHitResult" in record else None,
            "pipelineArn": execution.record["PipelineArn"],
            "pipelineExecutionArn": execution.arn,
        }
        self._emit(execution, "SageMaker Model Building Pipeline Execution Step Status Change", detail)

    def _emit(self, execution: Execution, detail_type: str, detail: Record) -> None:
        known = {name: value for name, value in detail.items() if value is not None}
        self._control.cloud.emit(detail_type, known, [execution.record["PipelineArn"], execution.arn])


ENDED = ("Succeeded", "Failed", "Stopped")
_EXECUTION_EVENT = "SageMaker Model Building Pipeline Execution Status Change"
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
_EXPERIMENT = (
    ("ExperimentName", "CreateExperiment", "experiment"),
    ("TrialName", "CreateTrial", "experiment-trial"),
)


def _most_parallel(execution: Execution) -> int:
    asked: int = execution.record.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", _MOST_PARALLEL)
    return min(asked, _MOST_PARALLEL)


def _ready(execution: Execution) -> Iterator[Step]:
    """Steps that have not started and whose needs have all succeeded, on the branch that was taken."""
    for step in execution.definition.steps:
        runs = [execution.runs.get(name) for name in step.needs]
        if step.name in execution.runs or not all(run and run.status == "Succeeded" for run in runs):
            continue
        if execution.selected is not None and step.name not in execution.selected:
            continue
        branch = step.branch
        if branch is None or execution.runs[branch.condition].properties["Outcome"] == branch.outcome:
            yield step


def _detail(execution: Execution, before: str | None) -> Record:
    """The detail of the event for an execution as it is now."""
    record = execution.record
    has_ended = execution.status in ENDED
    return {
        "pipelineExecutionDescription": record.get("PipelineExecutionDescription"),
        "pipelineExecutionDisplayName": record.get("PipelineExecutionDisplayName"),
        "currentPipelineExecutionStatus": execution.status,
        "previousPipelineExecutionStatus": before,
        "executionStartTime": _iso(record["CreationTime"]),
        "executionEndTime": _iso(record["LastModifiedTime"]) if has_ended else None,
        "pipelineArn": record["PipelineArn"],
        "pipelineExecutionArn": execution.arn,
    }


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower(item) for key, item in value.items()}
    return value

"""Watches a run of both loops through the services' own APIs, as an operator would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .deployment import Clients, Deployment
from .run_notes import NotedStep, RunNotes

_STARTED_AGAIN = ("TaskScheduled", "TaskSubmitFailed")


@dataclass(frozen=True, kw_only=True)
class StateRecord:
    """One entered state of the outer loop; status is running, succeeded, caught (the machine handles it) or failed."""

    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    error: str = ""
    cause: str = ""

    @property
    def duration_s(self) -> float:
        return _between(self.started_at, self.ended_at)


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of the inner loop, as ListPipelineExecutionSteps has it; `resource` is the ARN of its job, if any."""

    name: str
    type: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    failure: str = ""
    resource: str = ""
    cached: bool = False

    @property
    def duration_s(self) -> float:
        return _between(self.started_at, self.ended_at)


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run at one moment; `status` is that of the state machine's execution."""

    execution_arn: str
    status: str
    states: tuple[StateRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    transitions: int = 0
    pipeline_execution_arn: str | None = None
    error: str = ""
    cause: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status != "RUNNING"

    @property
    def run_id(self) -> str:
        return self.execution_arn.rsplit(":", 1)[1]

    @property
    def outcome(self) -> str:
        """What the ledger says became of the run; `failed` where the run ended without saying."""
        return str(self.record.get("outcome") or ("failed" if self.ended else "running"))

    @property
    def package_arn(self) -> str | None:
        """The model package that this run registered."""
        return next((step.resource for step in self.steps if step.type == "RegisterModel" and step.resource), None)


class Observer:
    """Reads everything about a deployment's runs."""

    def __init__(self, aws: Clients, deployment: Deployment) -> None:
        self._states = aws.client("stepfunctions")
        self._sagemaker = aws.client("sagemaker")
        self._ledger = aws.client("dynamodb")
        self._deployment = deployment

    def executions(self) -> list[str]:
        """ARNs of all runs, newest first."""
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._deployment["StateMachineArn"]
        )
        return [execution["executionArn"] for page in pages for execution in page["executions"]]

    def trigger(self, execution_arn: str) -> dict[str, Any]:
        """The input a run was started with; empty when it is no JSON object."""
        value = json.loads(self._states.describe_execution(executionArn=execution_arn)["input"])
        return value if isinstance(value, dict) else {}

    def view(self, execution_arn: str) -> RunView:
        """The run as it stands now."""
        # described first: a history read after the end is complete
        execution = self._states.describe_execution(executionArn=execution_arn)
        history = self._history(execution_arn)
        pipeline_execution = find_pipeline_execution(history)
        ended = execution["status"] != "RUNNING"
        return RunView(
            execution_arn=execution_arn,
            status=execution["status"],
            states=tuple(read_states(history, failed=ended and execution["status"] != "SUCCEEDED")),
            steps=tuple(read_steps(self._sagemaker, pipeline_execution)) if pipeline_execution else (),
            transitions=count_transitions(history),
            pipeline_execution_arn=pipeline_execution,
            error=execution.get("error", ""),
            cause=execution.get("cause", ""),
            record=self._record(execution_arn.rsplit(":", 1)[1]) if ended else {},
        )

    def watch(self, execution_arn: str, *, interval_s: float = 0.5) -> Iterator[RunView]:
        """Views of the run until it ends, the last one included."""
        while True:
            view = self.view(execution_arn)
            yield view
            if view.ended:
                return
            time.sleep(interval_s)

    def awaits_approval(self, view: RunView) -> bool:
        """True while the outer loop waits for a person to answer the run's own model package."""
        waiting = any(state.ended_at is None and state.name.startswith("AwaitApproval") for state in view.states)
        if not waiting or view.package_arn is None:
            return False
        return bool(self.package(view.package_arn)["ModelApprovalStatus"] == "PendingManualApproval")

    def package(self, arn: str) -> dict[str, Any]:
        """A model package as SageMaker describes it."""
        described: dict[str, Any] = self._sagemaker.describe_model_package(ModelPackageName=arn)
        return described

    def notes(self, view: RunView) -> RunNotes | None:
        """What is worth remembering of a run whose pipeline was started."""
        if view.pipeline_execution_arn is None:
            return None
        pages = self._sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
            PipelineExecutionArn=view.pipeline_execution_arn
        )
        return RunNotes(
            run_id=view.run_id,
            environment=self._deployment.environment,
            project=self._deployment.project,
            outcome=view.outcome,
            pipeline_execution_arn=view.pipeline_execution_arn,
            parameters={given["Name"]: given["Value"] for page in pages for given in page["PipelineParameters"]},
            steps={
                step.name: NotedStep(
                    kind=step.type, job=step.resource.rpartition("/")[2], status=step.status, cached=step.cached
                )
                for step in view.steps
                if step.type.endswith("Job") and step.resource
            },
        )

    def _history(self, execution_arn: str) -> list[dict[str, Any]]:
        pages = self._states.get_paginator("get_execution_history").paginate(
            executionArn=execution_arn, includeExecutionData=True
        )
        return [event for page in pages for event in page["events"]]

    def _record(self, run_id: str) -> dict[str, Any]:
        key = {"pk": {"S": f"PROJECT#{self._deployment.project}"}, "sk": {"S": f"RUN#{run_id}"}}
        item = self._ledger.get_item(TableName=self._deployment["LedgerTableName"], Key=key, ConsistentRead=True)
        return {name: plain(value) for name, value in item.get("Item", {}).items()}


def _between(started: datetime, ended: datetime | None) -> float:
    """Seconds so far; a start by a clock that was moved forward lies ahead of this machine's time."""
    return max(0.0, round(((ended or datetime.now(UTC)) - started).total_seconds(), 2))


def read_steps(sagemaker: Any, pipeline_execution_arn: str) -> Iterator[StepRecord]:
    """The steps of a pipeline execution that have started, in order of their start."""
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=pipeline_execution_arn, SortOrder="Ascending"
    )
    steps = [step for page in pages for step in page["PipelineExecutionSteps"] if "StartTime" in step]
    for step in sorted(steps, key=lambda step: step["StartTime"]):
        metadata: dict[str, Any] = step.get("Metadata", {})
        kind = next(iter(metadata), "")
        details: Any = metadata.get(kind)
        yield StepRecord(
            name=step["StepName"],
            type=kind,
            status=step["StepStatus"],
            started_at=step["StartTime"],
            ended_at=step.get("EndTime"),
            failure=step.get("FailureReason", ""),
            resource=details.get("Arn", "") if isinstance(details, dict) else "",
            cached="CacheHitResult" in step,
        )


def read_states(history: list[dict[str, Any]], *, failed: bool) -> Iterator[StateRecord]:
    """The states a run entered, in order, from its history; `failed` tells that the run itself ended badly."""
    current: dict[str, Any] | None = None
    for event in history:
        kind: str = event["type"]
        if kind.endswith("StateEntered"):
            current = {"name": event["stateEnteredEventDetails"]["name"], "started_at": event["timestamp"]}
        elif current is None:
            continue
        elif kind in _STARTED_AGAIN:
            current.update(error="", cause="")
        elif kind.endswith(("Failed", "TimedOut", "Aborted")) and not kind.startswith("Execution"):
            details: dict[str, Any] = next((v for name, v in event.items() if name.endswith("EventDetails")), {})
            current.update(error=details.get("error", ""), cause=details.get("cause", ""))
        elif kind.endswith("StateExited"):
            status = "caught" if current.get("error") else "succeeded"
            yield StateRecord(**current, status=status, ended_at=event["timestamp"])
            current = None
    if current is not None:
        end = history[-1]["timestamp"] if failed else None
        yield StateRecord(**current, status="failed" if failed else "running", ended_at=end)


def count_transitions(history: list[dict[str, Any]]) -> int:
    """State transitions as AWS bills them: each state entered, and each retry of one.

    Source: https://aws.amazon.com/step-functions/pricing/
    """
    entered = tries = 0
    for event in history:
        if event["type"].endswith("StateEntered"):
            entered, tries = entered + 1, 0
        elif event["type"] == "TaskScheduled":
            tries += 1
            entered += tries > 1
    return entered


def find_pipeline_execution(history: list[dict[str, Any]]) -> str | None:
    """The pipeline execution that a run started; the champion's, which a run reads about, is another one."""
    for event in history:
        details: dict[str, Any] = event.get("taskSucceededEventDetails", {})
        if details.get("resource") == "startPipelineExecution":
            return str(json.loads(details["output"])["PipelineExecutionArn"])
    return None


def plain(value: Mapping[str, Any]) -> Any:
    """A DynamoDB attribute as plain data."""
    ((kind, content),) = value.items()
    if kind == "N":
        return float(content)
    if kind == "M":
        return {name: plain(inner) for name, inner in content.items()}
    if kind == "L":
        return [plain(inner) for inner in content]
    return None if kind == "NULL" else content

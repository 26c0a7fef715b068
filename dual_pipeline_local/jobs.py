"""Jobs that a `.sync` task starts, follows to their end and stops with the task.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-sync
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import iam, integrations
from .errors import ApiError
from .integrations import Integration, TaskError

_log = logging.getLogger("dual_pipeline_local.jobs")
_POLL_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Job:
    """How one kind of job is asked about and stopped."""

    describe: str
    stop: str
    status: str
    succeeded: frozenset[str]
    ended: frozenset[str]
    key: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    stop_key: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    member: str | None = None
    resource: Callable[[Mapping[str, Any], str, str], str]
    permissions: tuple[str, ...]


def _sagemaker(noun: str, kind: str) -> Job:
    def key(request: Mapping[str, Any], _answer: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{noun}Name": request[f"{noun}Name"]}

    return Job(
        describe=f"Describe{noun}",
        stop=f"Stop{noun}",
        status=f"{noun}Status",
        succeeded=frozenset({"Completed"}),
        ended=frozenset({"Completed", "Failed", "Stopped", "DeleteFailed"}),
        key=key,
        stop_key=key,
        resource=lambda request, region, account: (
            f"arn:aws:sagemaker:{region}:{account}:{kind}/{request.get(f'{noun}Name', '')}"
        ),
        permissions=(f"sagemaker:Describe{noun}", f"sagemaker:Stop{noun}"),
    )


JOBS: Final[Mapping[str, Job]] = {
    "createTrainingJob": _sagemaker("TrainingJob", "training-job"),
    "createProcessingJob": _sagemaker("ProcessingJob", "processing-job"),
    "createTransformJob": _sagemaker("TransformJob", "transform-job"),
    "createHyperParameterTuningJob": _sagemaker("HyperParameterTuningJob", "hyper-parameter-tuning-job"),
    "startJobRun": Job(
        describe="GetJobRun",
        stop="BatchStopJobRun",
        status="JobRunState",
        succeeded=frozenset({"SUCCEEDED"}),
        ended=frozenset({"SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED", "ERROR"}),
        key=lambda request, answer: {"JobName": request["JobName"], "RunId": answer["JobRunId"]},
        stop_key=lambda request, answer: {"JobName": request["JobName"], "JobRunIds": [answer["JobRunId"]]},
        member="JobRun",
        resource=lambda request, region, account: f"arn:aws:glue:{region}:{account}:job/{request.get('JobName', '')}",
        permissions=("glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"),
    ),
    "startExecution": Job(
        describe="DescribeExecution",
        stop="StopExecution",
        status="Status",
        succeeded=frozenset({"SUCCEEDED"}),
        ended=frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}),
        key=lambda _request, answer: {"ExecutionArn": answer["ExecutionArn"]},
        stop_key=lambda _request, answer: {"ExecutionArn": answer["ExecutionArn"]},
        resource=lambda request, _region, _account: f"{request.get('StateMachineArn', '')}:*".replace(
            ":stateMachine:", ":execution:"
        ),
        permissions=("states:DescribeExecution", "states:StopExecution"),
    ),
}


def run(
    integration: Integration,
    arguments: Any,
    *,
    role: str,
    machine: str,
    submitted: Callable[[Mapping[str, Any]], None],
    pause: Callable[[float], None],
) -> dict[str, Any]:
    """Start the job and follow it; `pause` raises when the task's time is over, and the job is stopped then.

    The permissions to follow and stop are asked for before the start, where AWS would notice them missing only later.
    """
    job = JOBS[integration.action]
    region, account = machine.split(":")[3:5]
    caller = iam.Caller(arn=role, account=account, region=region)
    try:
        for action in job.permissions:
            iam.authorize(caller, action, job.resource(arguments, region, account))
    except ApiError as error:
        raise TaskError(f"{integration.service.prefix}.{_denied(integration)}", error.message) from error
    answer = integrations.call(integration, arguments, role=role, machine=machine)
    submitted(answer)
    ended = False
    try:
        while True:
            described = integrations.request(
                integration, job.describe, job.key(arguments, answer), role=role, machine=machine
            )
            described = described[job.member] if job.member else described
            if described[job.status] in job.ended:
                ended = True
                break
            pause(_POLL_S)
    finally:
        if not ended:
            _stop(integration, job, job.stop_key(arguments, answer), role=role, machine=machine)
    if described[job.status] in job.succeeded:
        return _parsed_output(described) if integration.pattern == "sync:2" else described
    raise TaskError("States.TaskFailed", json.dumps(described))


def _stop(integration: Integration, job: Job, key: Mapping[str, Any], *, role: str, machine: str) -> None:
    try:
        integrations.request(integration, job.stop, key, role=role, machine=machine)
    except TaskError as error:
        _log.warning("could not stop the job of an ended task: %s", error)


def _denied(integration: Integration) -> str:
    return "AccessDeniedException" if integration.service.prefix == "Glue" else integration.service.general


def _parsed_output(described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "Output": json.loads(described.get("Output") or "null")}

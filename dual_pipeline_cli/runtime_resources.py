"""What the loops of a project made at run time, outside every stack, and how each of it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline.loop_contract import MODEL_ALARM_SUFFIX, TAG_ENVIRONMENT, TAG_PROJECT
from dual_pipeline.sandbox_contract import copy_name
from dual_pipeline_local.deployment import Clients
from dual_pipeline_local.narrator import Narrator

from .absence import is_absent
from .copies import client_token
from .environment import EnvironmentTrouble, explain
from .stacks import Resource

_TARGET = ("ServiceNamespace", "ResourceId", "ScalableDimension")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpoint.html: not while it moves.
_MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
# ModelPackage and CreateModel steps name their models so:
# https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html
_OF_PIPELINES = "pipelines-"
_JOBS = (
    ("hyperparameter tuning job", "HyperParameterTuningJob", "hyper_parameter_tuning_job"),
    ("training job", "TrainingJob", "training_job"),
    ("processing job", "ProcessingJob", "processing_job"),
    ("transform job", "TransformJob", "transform_job"),
)
JOB_KINDS = tuple(kind for kind, _, _ in _JOBS)


@dataclass(frozen=True, kw_only=True)
class RuntimeResource:
    """One thing that goes; `remove` is None for one that ends by itself and is waited for."""

    kind: str
    name: str
    remove: Callable[[], object] | None


class RuntimeResources:
    """What the loops of one project have made and what still runs, in the order in which it can go.

    `resources` are those of the environment's stacks, as far as these still stand. Only what bears the project's tags,
    or a name that no other project's can be, counts: dev-census-2-abc belongs to census-2, not to census.
    """

    def __init__(self, aws: Clients, *, environment: str, project: str, resources: Sequence[Resource]) -> None:
        self._aws = aws
        self._environment = environment
        self.project = project
        self._name = f"{environment}-{project}"
        self._resources = resources
        self._owners: dict[str, tuple[str | None, str | None]] = {}
        # Each kind is gone before the next is touched: an endpoint that still moves keeps its configuration.
        self._kinds: tuple[Callable[[], Iterator[RuntimeResource]], ...] = (
            self._runs,
            self._pipeline_executions,
            self._jobs,
            self._glue_runs,
            self._schedules,
            self._copies,
            self._scaling,
            self._endpoints,
            self._alarms,
            self._configurations,
            self._models,
        )

    def find(self) -> list[RuntimeResource]:
        """Everything there is now."""
        return [found for kind in self._kinds for found in kind()]

    def nobodys_endpoints(self) -> Iterator[Mapping[str, Any]]:
        """Endpoints of the project's names, as they are listed, whose tags do not say whose they are."""
        for each in self._named_endpoints():
            if each["EndpointName"] != self._name and None in self._owner(each["EndpointArn"]):
                yield each

    def remove(self, narrator: Narrator, *, poll_s: float = 5.0, timeout_s: float = 4 * 3600.0) -> None:
        """Remove everything and wait until it is gone; what is gone already is no matter.

        What AWS refuses is looked at again, since things end by themselves meanwhile, but for lack of permission.

        Raises EnvironmentTrouble for what is still there after `timeout_s`.
        """
        for kind in self._kinds:
            deadline = time.monotonic() + timeout_s
            asked: set[str] = set()
            refused = ""
            while left := list(kind()):
                for each in left:
                    if each.name not in asked:
                        asked.add(each.name)
                        narrator.say(f"{'waiting for' if each.remove is None else 'removing'} {each.kind} {each.name}")
                    if each.remove is not None:
                        refused = _try(each.remove) or refused
                if time.monotonic() > deadline:
                    names = ", ".join(each.name for each in left)
                    why = refused or "see why in the console"
                    raise EnvironmentTrouble(
                        f"still there after {timeout_s / 60:.0f} minutes: {left[0].kind} {names}; {why}, then run the"
                        " same command again"
                    )
                # most of it is gone at once
                if next(kind(), None) is not None:
                    time.sleep(poll_s)

    def await_runs(self, narrator: Narrator, *, poll_s: float = 5.0, timeout_s: float = 300.0) -> None:
        """Wait until the machines are idle, or have been busy for so long that somebody starts them from elsewhere."""
        deadline = time.monotonic() + timeout_s
        told = False
        while time.monotonic() < deadline and (busy := next(self._runs(), None)) is not None:
            if not told:
                narrator.say(f"waiting for {busy.name}")
            told = True
            time.sleep(poll_s)

    def _runs(self) -> Iterator[RuntimeResource]:
        states = self._aws.client("stepfunctions")
        for arn in self._physical("AWS::StepFunctions::StateMachine"):
            # Express executions, at most five minutes long, cannot be listed.
            try:
                if states.describe_state_machine(stateMachineArn=arn)["type"] == "EXPRESS":
                    continue
            except ClientError as error:
                if is_absent(error):
                    continue
                raise
            for each in self._each(
                "stepfunctions", "list_executions", "executions", stateMachineArn=arn, statusFilter="RUNNING"
            ):
                yield RuntimeResource(
                    kind="run",
                    name=each["executionArn"].split(":", 6)[-1],
                    remove=partial(
                        states.stop_execution,
                        executionArn=each["executionArn"],
                        error="Teardown",
                        cause=f"{self._environment} is torn down",
                    ),
                )

    def _pipeline_executions(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for pipeline in self._pipelines():
            listed = self._each(
                "sagemaker", "list_pipeline_executions", "PipelineExecutionSummaries", PipelineName=pipeline
            )
            for each in listed:
                arn, status = each["PipelineExecutionArn"], each["PipelineExecutionStatus"]
                if status in ("Executing", "Stopping"):
                    stop = partial(
                        sagemaker.stop_pipeline_execution, PipelineExecutionArn=arn, ClientRequestToken=client_token()
                    )
                    yield RuntimeResource(
                        kind="pipeline execution",
                        name=f"{pipeline}/{arn.rpartition('/')[2]}",
                        remove=stop if status == "Executing" else None,
                    )

    def _jobs(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for kind, noun, verb in _JOBS:
            for status in ("InProgress", "Stopping"):
                listed = f"{noun}Summaries"
                for each in self._each("sagemaker", f"list_{verb}s", listed, StatusEquals=status):
                    if self._is_mine(each[f"{noun}Arn"]):
                        name = each[f"{noun}Name"]
                        stop = partial(getattr(sagemaker, f"stop_{verb}"), **{f"{noun}Name": name})
                        yield RuntimeResource(kind=kind, name=name, remove=stop if status == "InProgress" else None)

    def _glue_runs(self) -> Iterator[RuntimeResource]:
        glue = self._aws.client("glue")
        for job in self._physical("AWS::Glue::Job"):
            for each in self._each("glue", "get_job_runs", "JobRuns", JobName=job):
                if each["JobRunState"] in ("STARTING", "RUNNING", "STOPPING", "WAITING"):
                    stop = partial(glue.batch_stop_job_run, JobName=job, JobRunIds=[each["Id"]])
                    ending = each["JobRunState"] == "STOPPING"
                    yield RuntimeResource(kind="Glue job run", name=each["Id"], remove=None if ending else stop)

    def _schedules(self) -> Iterator[RuntimeResource]:
        scheduler = self._aws.client("scheduler")
        own = set(self._physical("AWS::Scheduler::Schedule"))
        for group in self._physical("AWS::Scheduler::ScheduleGroup"):
            for each in self._each("scheduler", "list_schedules", "Schedules", GroupName=group):
                if each["Name"] not in own:
                    remove = partial(scheduler.delete_schedule, Name=each["Name"], GroupName=group)
                    yield RuntimeResource(kind="one-time schedule", name=f"{group}/{each['Name']}", remove=remove)

    def _copies(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for name in self._pipelines():
            if name != self._name:
                remove = partial(sagemaker.delete_pipeline, PipelineName=name, ClientRequestToken=client_token())
                yield RuntimeResource(kind="personal copy", name=name, remove=remove)

    def _scaling(self) -> Iterator[RuntimeResource]:
        scaling = self._aws.client("application-autoscaling")
        mine = {f"endpoint/{name}" for name in (self._name, *(each["EndpointName"] for each in self._own_endpoints()))}
        listed = self._each(
            "application-autoscaling", "describe_scalable_targets", "ScalableTargets", ServiceNamespace="sagemaker"
        )
        for each in listed:
            if each["ResourceId"].rpartition("/variant/")[0] in mine:
                # Its policies, and their alarms, go with it:
                # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html
                remove = partial(scaling.deregister_scalable_target, **{name: each[name] for name in _TARGET})
                yield RuntimeResource(kind="scaling target", name=each["ResourceId"], remove=remove)

    def _endpoints(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for each in self._own_endpoints():
            remove = partial(sagemaker.delete_endpoint, EndpointName=each["EndpointName"])
            moving = each["EndpointStatus"] in _MOVING
            yield RuntimeResource(kind="endpoint", name=each["EndpointName"], remove=None if moving else remove)

    def _own_endpoints(self) -> Iterator[Mapping[str, Any]]:
        """The release's, by its name, and those of own workflows."""
        for each in self._named_endpoints():
            if each["EndpointName"] == self._name or self._is_mine(each["EndpointArn"]):
                yield each

    def _named_endpoints(self) -> Iterator[Mapping[str, Any]]:
        for each in self._each("sagemaker", "list_endpoints", "Endpoints", NameContains=self._name):
            if f"{each['EndpointName']}-".startswith(f"{self._name}-"):
                yield each

    def _alarms(self) -> Iterator[RuntimeResource]:
        cloudwatch, name = self._aws.client("cloudwatch"), f"{self._name}{MODEL_ALARM_SUFFIX}"
        if name in self._physical("AWS::CloudWatch::Alarm"):
            return
        for each in self._each("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNames=[name]):
            if each["AlarmName"] == name:
                yield RuntimeResource(
                    kind="alarm", name=name, remove=partial(cloudwatch.delete_alarms, AlarmNames=[name])
                )

    def _configurations(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for each in self._each("sagemaker", "list_endpoint_configs", "EndpointConfigs", NameContains=f"{self._name}-"):
            name = each["EndpointConfigName"]
            if name.startswith(f"{self._name}-") and self._is_mine(each["EndpointConfigArn"]):
                remove = partial(sagemaker.delete_endpoint_config, EndpointConfigName=name)
                yield RuntimeResource(kind="endpoint configuration", name=name, remove=remove)

    def _models(self) -> Iterator[RuntimeResource]:
        sagemaker = self._aws.client("sagemaker")
        for begin in (f"{self._name}-", _OF_PIPELINES):
            for each in self._each("sagemaker", "list_models", "Models", NameContains=begin):
                if each["ModelName"].startswith(begin) and self._is_mine(each["ModelArn"]):
                    remove = partial(sagemaker.delete_model, ModelName=each["ModelName"])
                    yield RuntimeResource(kind="model", name=each["ModelName"], remove=remove)

    def _pipelines(self) -> list[str]:
        """The project's pipeline and the personal copies of it."""
        begin = copy_name(self._name, "")
        listed = self._each("sagemaker", "list_pipelines", "PipelineSummaries", PipelineNamePrefix=self._name)
        names = [each["PipelineName"] for each in listed]
        return [name for name in names if name == self._name or name.startswith(begin)]

    def _physical(self, kind: str) -> list[str]:
        return [resource.id for resource in self._resources if resource.type == kind]

    def _is_mine(self, arn: str) -> bool:
        return self._owner(arn) == (self._environment, self.project)

    def _owner(self, arn: str) -> tuple[str | None, str | None]:
        """Environment and project by the tags."""
        if arn not in self._owners:
            tags = {tag["Key"]: tag["Value"] for tag in self._each("sagemaker", "list_tags", "Tags", ResourceArn=arn)}
            self._owners[arn] = (tags.get(TAG_ENVIRONMENT), tags.get(TAG_PROJECT))
        return self._owners[arn]

    def _each(self, service: str, operation: str, listed: str, **request: Any) -> Iterator[Mapping[str, Any]]:
        """All that is listed; nothing of what does not exist."""
        try:
            for page in self._aws.client(service).get_paginator(operation).paginate(**request):
                yield from page[listed]
        except ClientError as error:
            if not is_absent(error):
                raise


def _try(remove: Callable[[], object]) -> str:
    """Call `remove`, and return what AWS said if it refused.

    Raises ClientError where asking again cannot help, for lack of permission.
    """
    try:
        remove()
    except ClientError as error:
        if error.response["Error"].get("Code", "").startswith("AccessDenied"):
            raise
        return "" if is_absent(error) else explain(error)
    return ""

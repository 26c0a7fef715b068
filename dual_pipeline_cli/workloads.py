"""What the templates of a project say will be paid for: jobs of a run, the endpoint, and what stands all month."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dual_pipeline_local import schedule_expressions
from dual_pipeline_local.assembly import Assembly, StackArtifact

from .environment import EnvironmentTrouble

DAYS_A_MONTH = 365 / 12
_DPUS = {"G.025X": 0.25, "G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8}
_USES = {
    "sagemaker:createTrainingJob": "training",
    "sagemaker:createProcessingJob": "processing",
    "sagemaker:createTransformJob": "transform",
}
_STARTS = re.compile(r":::(?:aws-sdk:)?(\w+:(?:create|invoke|run|start|submit)[A-Z]\w*)")
# Free, or named with what is never priced.
_FREE = re.compile(
    r"sagemaker:create(?:EndpointConfig|Model|ModelPackage)$|(?:dynamodb|lambda|s3|sagemakerruntime|scheduler|sfn|sns|sqs|states):"
)
_CAP = re.compile(r"the cap of (\d+) runs a day \(limits\.runs_per_day\)")
# The API's own where a request names none, as transform jobs cannot:
# https://docs.aws.amazon.com/general/latest/gr/sagemaker.html#limits_sagemaker
_LONGEST_S = 432_000
_ANY_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that a run starts, `times` at the most, each on `count` machines and stopped after `limit_s` seconds.

    `item` is the unit it is priced by: an hour of an instance for a use, or of a DPU; where a call is not understood it
    is the call, which has no price. `spot` jobs run on Spot capacity, `glue` is a Glue job's own name.
    """

    name: str
    item: str
    count: float
    limit_s: int
    times: int = 1
    volume_gib: float = 0
    spot: bool = False
    glue: str = ""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A state machine and the jobs that one execution may start; `a_month` counts its schedule, 0 without one.

    `cap` is how many of its executions a day may train; None where nothing limits them but their triggers.
    """

    name: str
    states: int
    jobs: Sequence[Job]
    a_month: float
    cap: int | None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A project's endpoint: its instance type, how many there are at least and at most, and alarms of its model."""

    item: str
    least: int
    most: int
    alarms: int = 0


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Things that cost by the month, whatever runs."""

    alarms: int
    composite_alarms: int
    dashboards: int
    keys: int


@dataclass(frozen=True, kw_only=True)
class Workload:
    """All of one project; `fixed` is that of its own stacks, or of the shared one where `project` is empty."""

    project: str
    machines: Sequence[Machine]
    endpoint: Endpoint | None
    fixed: Fixed


def read_workloads(assembly: Assembly, *, project: str | None = None) -> list[Workload]:
    """What an environment holds, the shared part first, then each project or the one asked for.

    Raises EnvironmentTrouble for a project that it has not.
    """
    projects = sorted({stack.project for stack in assembly.stacks if stack.project})
    if project not in (None, *projects):
        raise EnvironmentTrouble(f"{assembly.environment} has no project {project!r}: it has {', '.join(projects)}")
    wanted = [None, *([project] if project else projects)]
    return [_workload(name, [stack for stack in assembly.stacks if stack.project == name]) for name in wanted]


def read_budget(assembly: Assembly) -> float | None:
    """The environment's monthly budget in US dollars, if it has one."""
    for stack in assembly.stacks:
        for _, resource in _resources(stack, "AWS::Budgets::Budget"):
            return float(resource["Budget"]["BudgetLimit"]["Amount"])
    return None


def _workload(project: str | None, stacks: Sequence[StackArtifact]) -> Workload:
    def count(kind: str) -> int:
        return sum(1 for stack in stacks for _ in _resources(stack, kind))

    machines: list[Machine] = []
    endpoint: Endpoint | None = None
    if project is not None:
        glue = {each["Name"]: each for stack in stacks for _, each in _resources(stack, "AWS::Glue::Job")}
        pipelines = [
            json.loads(_text(each["PipelineDefinition"]["PipelineDefinitionBody"]))
            for stack in stacks
            for _, each in _resources(stack, "AWS::SageMaker::Pipeline")
        ]
        for stack in stacks:
            for logical_id, each in _resources(stack, "AWS::StepFunctions::StateMachine"):
                definition = json.loads(_text(each["DefinitionString"]))
                machines.append(_machine(stack, logical_id, each, definition, glue, pipelines))
                if machines[-1].cap is not None:
                    endpoint = _endpoint(definition)
    return Workload(
        project=project or "",
        machines=machines,
        endpoint=endpoint,
        fixed=Fixed(
            # those that the outer loop sets for a model come on top
            alarms=count("AWS::CloudWatch::Alarm"),
            composite_alarms=count("AWS::CloudWatch::CompositeAlarm"),
            dashboards=count("AWS::CloudWatch::Dashboard"),
            keys=count("AWS::KMS::Key"),
        ),
    )


def _machine(
    stack: StackArtifact,
    logical_id: str,
    properties: Mapping[str, Any],
    definition: Mapping[str, Any],
    glue: Mapping[str, Mapping[str, Any]],
    pipelines: Sequence[Mapping[str, Any]],
) -> Machine:
    states = dict(_states(definition))
    cap = _CAP.search(json.dumps(definition, ensure_ascii=False))
    jobs: list[Job] = []
    for name, state in states.items():
        call = _STARTS.search(str(state.get("Resource", "")))
        # the outer loop's endpoint has lines of its own
        if call is None or _FREE.match(call[1]) or (cap and call[1] == "sagemaker:createEndpoint"):
            continue
        given = state.get("Arguments") or state.get("Parameters") or {}
        jobs += [_within(state, job) for job in _started(call[1], name, given, glue, pipelines)]
    return Machine(
        name=_literal(properties.get("StateMachineName")) or logical_id,
        states=len(states),
        jobs=jobs,
        a_month=sum(_times_a_month(each) for each in _schedules(stack, logical_id)),
        cap=int(cap[1]) if cap else None,
    )


def _started(
    call: str,
    name: str,
    given: Mapping[str, Any],
    glue: Mapping[str, Mapping[str, Any]],
    pipelines: Sequence[Mapping[str, Any]],
) -> list[Job]:
    """The jobs that a state's call starts; one without a price where it is not understood."""
    if call == "glue:startJobRun" and (found := glue.get(_literal(given.get("JobName")))):
        return [_glue_job(name, found)]
    if call in _USES:
        return [_job(name, _USES[call], given, {})]
    if call == "sagemaker:createHyperParameterTuningJob":
        return [_tuning(name, given, {})]
    if call == "sagemaker:startPipelineExecution":
        return [job for pipeline in pipelines for job in _pipeline_jobs(pipeline)]
    return [_unknown(name, call)]


def _within(state: Mapping[str, Any], job: Job) -> Job:
    """The job as its state lets it be: one that waits for a job stops it when its own time is over.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    """
    limit_s = state.get("TimeoutSeconds")
    if not isinstance(limit_s, int) or not str(state["Resource"]).endswith(".sync"):
        return job
    return replace(job, limit_s=min(job.limit_s, limit_s))


def _pipeline_jobs(definition: Mapping[str, Any]) -> Iterator[Job]:
    values = {each["Name"]: each.get("DefaultValue") for each in definition.get("Parameters", [])}
    for step in _steps(definition["Steps"]):
        given, kind = step.get("Arguments", {}), step["Type"]
        if kind == "Tuning":
            yield _tuning(step["Name"], given, values)
        elif kind in ("Training", "Processing", "Transform"):
            yield _job(step["Name"], kind.lower(), given, values)


def _tuning(name: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> Job:
    if "TrainingJobDefinition" not in given:
        # several definitions, and nothing says how the jobs are shared out among them
        return _unknown(name, "sagemaker:createHyperParameterTuningJob")
    times = _value(given["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"], values)
    return _job(name, "training", given["TrainingJobDefinition"], values, times=round(_number(times)))


def _unknown(name: str, call: str) -> Job:
    return Job(name=name, item=f"{call} ({name})", count=1, limit_s=_LONGEST_S)


def _job(name: str, use: str, given: Mapping[str, Any], values: Mapping[str, Any], *, times: int = 1) -> Job:
    cluster = (
        given.get("ResourceConfig")
        or given.get("HyperParameterTuningResourceConfig")
        or given.get("TransformResources")
        or given.get("ProcessingResources", {}).get("ClusterConfig")
        or {}
    )
    limit = given.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _LONGEST_S)
    return Job(
        name=name,
        item=f"{use}/{_value(cluster.get('InstanceType', 'instance'), values)}",
        count=_number(_value(cluster.get("InstanceCount", 1), values)),
        limit_s=round(_number(_value(limit, values))),
        times=times,
        volume_gib=_number(_value(cluster.get("VolumeSizeInGB", 0), values)),
        spot=bool(_value(given.get("EnableManagedSpotTraining", False), values)),
    )


def _glue_job(name: str, properties: Mapping[str, Any]) -> Job:
    # https://docs.aws.amazon.com/glue/latest/dg/add-job.html: DPUs by worker type; minutes of the time-out
    return Job(
        name=name,
        item="glue-dpu-hour",
        count=_DPUS[properties["WorkerType"]] * properties["NumberOfWorkers"],
        limit_s=60 * int(properties["Timeout"]),
        glue=properties["Name"],
    )


def _endpoint(definition: Mapping[str, Any]) -> Endpoint | None:
    found: Endpoint | None = None
    most = alarms = 0
    for _, state in _states(definition):
        resource, given = str(state.get("Resource", "")), state.get("Arguments") or {}
        if "sagemaker:createEndpointConfig" in resource:
            variant = given["ProductionVariants"][0]
            least = round(_number(variant["InitialInstanceCount"]))
            item = f"hosting/{_literal(variant['InstanceType'])}"
            if found is None:
                found = Endpoint(item=item, least=least, most=least)
        elif "applicationautoscaling:registerScalableTarget" in resource and isinstance(given.get("MaxCapacity"), int):
            most = max(most, given["MaxCapacity"])
        elif "cloudwatch:putMetricAlarm" in resource:
            # its name is the same for every model
            alarms += 1
    return replace(found, most=max(found.most, most), alarms=alarms) if found else None


def _schedules(stack: StackArtifact, machine: str) -> Iterator[Mapping[str, Any]]:
    """The schedules of a stack whose target is one of its machines."""
    for _, each in _resources(stack, "AWS::Scheduler::Schedule"):
        if machine in json.dumps(each["Target"]):
            yield each


def _times_a_month(schedule: Mapping[str, Any]) -> float:
    zone = schedule.get("ScheduleExpressionTimezone", "UTC")
    due = schedule_expressions.parse(schedule["ScheduleExpression"], timezone=zone, start=_ANY_YEAR)
    count, moment = 0, due(_ANY_YEAR)
    while moment is not None and moment < _ANY_YEAR + timedelta(days=365):
        count += 1
        moment = due(moment + timedelta(seconds=1))
    return count / 12


def _resources(stack: StackArtifact, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    template: dict[str, Any] = json.loads(stack.template.read_text(encoding="utf-8"))
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield logical_id, resource.get("Properties", {})


def _states(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in definition.get("States", {}).items():
        yield name, state
        for branch in (*state.get("Branches", []), state.get("ItemProcessor", {}), state.get("Iterator", {})):
            yield from _states(branch)


def _steps(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from _steps(step.get("Arguments", {}).get(branch, []))


def _value(given: Any, values: Mapping[str, Any]) -> Any:
    """A literal, or the default of the parameter that stands for it."""
    if isinstance(given, Mapping) and str(given.get("Get", "")).startswith("Parameters."):
        return values[given["Get"].removeprefix("Parameters.")]
    return given


def _number(given: Any) -> float:
    """A number, or the last one in an expression, such as the least of the machines in `$max([$liveCount, 2])`."""
    if isinstance(given, int | float):
        return float(given)
    found = re.findall(r"\d+(?:\.\d+)?", str(given))
    return float(found[-1]) if found else 1.0


def _literal(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _text(given: Any) -> str:
    """A text of a template in which what only CloudFormation knows is left out."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and "Fn::Join" in given:
        separator, parts = given["Fn::Join"]
        return str(separator).join(_text(part) for part in parts)
    return "unknown"

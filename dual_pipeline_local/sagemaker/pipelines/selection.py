"""Selective execution: some steps run, what they need comes from an earlier execution, the rest does not run.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SelectiveExecutionConfig.html. The latest execution as the
source is a service of the SDK; the API takes it from nobody but the caller.
"""

from collections.abc import Mapping

from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.run import Run
from dual_pipeline_local.sagemaker.pipelines.step import Step

_SOURCES = ("Succeeded", "Failed")


def selected_steps(definition: Definition, config: Record) -> frozenset[str]:
    """The selected steps; raises ValidationException unless they exist and are connected without gaps."""
    steps = {step.name: step for step in definition.steps}
    names = [step["StepName"] for step in config["SelectedSteps"]]
    if len(set(names)) != len(names):
        raise invalid(f"Invalid SelectedSteps: {_shown(names)} names a step more than once")
    if unknown := [name for name in names if name not in steps]:
        raise invalid(f"Invalid SelectedSteps: {_shown(unknown)} are not steps of the pipeline")
    selected = frozenset(names)
    upstream = _ancestors(definition)
    gaps = [
        name
        for name in steps
        if name not in selected and upstream[name] & selected and any(name in upstream[other] for other in selected)
    ]
    if gaps:
        raise invalid(f"Invalid SelectedSteps: {_shown(gaps)} lie between the selected steps and must be selected too")
    if apart := sorted(selected - _connected(names[0], selected, steps)):
        raise invalid(f"Invalid SelectedSteps: {_shown(apart)} are not connected with [{names[0]}]")
    return selected


def dependencies(definition: Definition, selected: frozenset[str]) -> list[str]:
    """The steps that selected ones need and that are not selected, in order of the definition."""
    needed = {name for step in definition.steps if step.name in selected for name in step.needs}
    return [step.name for step in definition.steps if step.name in needed - selected]


def reused_runs(
    definition: Definition, selected: frozenset[str], source: tuple[str, str, Mapping[str, Run]] | None
) -> dict[str, Run]:
    """The runs that selected steps need of a source: its ARN, status and runs.

    Raises ValidationException when there is no source, or one that cannot stand in.
    """
    needed = dependencies(definition, selected)
    if source is None:
        if needed:
            raise invalid(
                f"Invalid SourcePipelineExecutionArn: null. The selected steps {_shown(sorted(selected))} have "
                f"dependencies on {_shown(needed)}"
            )
        return {}
    arn, status, runs = source
    if status not in _SOURCES:
        raise invalid(
            f"Invalid SourcePipelineExecutionArn: {arn}. Its status is {status}, it must be Succeeded or Failed"
        )
    if missing := [name for name in needed if name not in runs or runs[name].status != "Succeeded"]:
        raise invalid(
            f"Invalid SourcePipelineExecutionArn: {arn}. The steps {_shown(missing)} have not succeeded there"
        )
    for step in definition.steps:
        branch = step.branch if step.name in selected else None
        if branch and branch.condition in needed and runs[branch.condition].properties["Outcome"] != branch.outcome:
            raise invalid(
                f"Invalid SourcePipelineExecutionArn: {arn}. The step [{branch.condition}] did not take the branch of "
                f"[{step.name}] there"
            )
    return {name: _reused(runs[name], arn) for name in needed}


def _reused(run: Run, arn: str) -> Run:
    record = {name: value for name, value in run.record.items() if name != "CacheHitResult"}
    return Run(run.step, record | {"SelectiveExecutionResult": {"SourcePipelineExecutionArn": arn}}, run.properties)


def _ancestors(definition: Definition) -> dict[str, set[str]]:
    """All steps upstream of each step, however far."""
    found: dict[str, set[str]] = {}
    for step in definition.steps:  # in an order in which they can run
        found[step.name] = set(step.needs).union(*(found[name] for name in step.needs))
    return found


def _connected(first: str, selected: frozenset[str], steps: Mapping[str, Step]) -> set[str]:
    """The selected steps that are reached from one of them through selected ones, up and down."""
    reached, left = {first}, [first]
    while left:
        name = left.pop()
        near = {other for other in selected if other in steps[name].needs or name in steps[other].needs}
        left += near - reached
        reached |= near
    return reached


def _shown(names: list[str]) -> str:
    return f"[{', '.join(names)}]"

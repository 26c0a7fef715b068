"""What keeps the jobs of a project's own workflow from running, and costing, longer than the workflow may."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeGuard

Path: TypeAlias = tuple[str | int, ...]

_STOPPING: Final = "StoppingCondition"
_RUN: Final = "MaxRuntimeInSeconds"
# With Spot capacity this covers the wait for it and the training:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
_WAIT: Final = "MaxWaitTimeInSeconds"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceLimits.html
_TUNING: Final = ("HyperParameterTuningJobConfig", "ResourceLimits")
_EXPRESSION: Final = "{%"


def cap_problems(where: str, *, called: str, given: Mapping[str, Any], limit_s: int) -> Iterator[str]:
    """Caps that a job's request lacks or that lie above the workflow's limit; nothing for what is no job."""
    for path in _caps(called, given):
        beside = _at(given, path[:-1])
        waits = isinstance(beside, dict) and bool({_WAIT, f"{_WAIT}.$"} & set(beside))
        for each in (path, (*path[:-1], _WAIT)) if waits else (path,):
            value = _at(given, each)
            if not is_count(value):
                yield (
                    f"{where} must give {_name(each)} as a whole number above 0, got {_got(value)}: write one there,"
                    " for a job without a limit costs until somebody looks"
                )
            elif each[-1] in (_RUN, _WAIT):
                yield from _time_problems(where, _name(each), value, limit_s)


def transform_problems(where: str, *, pattern: str, state: Mapping[str, Any], limit_s: int) -> Iterator[str]:
    """A transform job's request knows no limit, so that only the task that follows it can have one.

    Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
    """
    reason = "SageMaker has no limit of run time for transform jobs"
    timeout = state.get("TimeoutSeconds")
    if pattern != "sync":
        yield f"{where} must call sagemaker:createTransformJob.sync, got no .sync: follow the job, for {reason}"
    elif not is_count(timeout):
        yield f"{where} must have TimeoutSeconds as a whole number above 0, got {_got(timeout)}: add it, for {reason}"
    else:
        yield from _time_problems(where, "TimeoutSeconds", timeout, limit_s)


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value of a document is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _caps(called: str, given: Mapping[str, Any]) -> tuple[Path, ...]:
    if called in ("sagemaker:createProcessingJob", "sagemaker:createTrainingJob"):
        return ((_STOPPING, _RUN),)
    if called != "sagemaker:createHyperParameterTuningJob":
        return ()
    several = given.get("TrainingJobDefinitions")
    trainings: tuple[Path, ...] = (
        tuple(("TrainingJobDefinitions", at) for at in range(len(several)))
        if isinstance(several, list) and several
        else (("TrainingJobDefinition",),)
    )
    inner = (((*training, _STOPPING, _RUN)) for training in trainings)
    return ((*_TUNING, "MaxNumberOfTrainingJobs"), (*_TUNING, _RUN), *inner)


def _time_problems(where: str, name: str, value: int, limit_s: int) -> Iterator[str]:
    if value > limit_s:
        yield (
            f"{where} must give {name} within the workflow's own limit ({limit_s} s), got {value}: lower it, or raise"
            " Workflow.timeout and the document's TimeoutSeconds"
        )


def _at(given: Any, path: Path) -> Any:
    """What stands at a path of a request: None for nothing, the begin of an expression for what is computed."""
    for field in path:
        if isinstance(given, list) and isinstance(field, int):
            given = given[field]
        elif isinstance(given, dict):
            given = _EXPRESSION if f"{field}.$" in given else given.get(str(field))
        else:
            break
    return given


def _got(value: object) -> str:
    if value is None:
        return "none"
    return "an expression" if str(value).startswith(_EXPRESSION) else repr(value)


def _name(path: Path) -> str:
    return ".".join(map(str, path))

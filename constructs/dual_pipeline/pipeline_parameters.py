"""The parameters of a project's pipeline: their types, defaults and what a value may be."""

from collections.abc import Iterator
from dataclasses import dataclass

from dual_pipeline import training_settings as config
from dual_pipeline.hyperparameters import Choices, Hyperparameter, Value
from dual_pipeline.instance_types import Use, same_class
from dual_pipeline.loop_contract import (
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
    PARAMETER_COMPARE_WITH_CHAMPION,
    PARAMETER_QUALITY_VERDICT_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SCORING_URI,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
)
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import PLACEHOLDERS


@dataclass(frozen=True, kw_only=True)
class PipelineParameter:
    """One parameter: the service holds it to its type and `choices`, the pipeline's first step to its range.

    `low` and `high` are numbers or the names of other parameters. Without a default every execution must give it.
    """

    name: str
    type: str
    default: Value | None = None
    choices: tuple[str, ...] = ()
    low: float | str | None = None
    high: float | str | None = None

    @property
    def range(self) -> str:
        """Its range in words."""
        return f"from {_text(self.low)} to {_text(self.high)}"


def pipeline_parameters(project: ModelProject) -> tuple[PipelineParameter, ...]:
    """Every parameter of a project's pipeline, in the order in which people read them."""
    return (
        PipelineParameter(name=PARAMETER_SNAPSHOT_URI, type="String"),
        PipelineParameter(name=PARAMETER_RUN_ID, type="String", default="none"),
        PipelineParameter(name=PARAMETER_TRIGGER_REASON, type="String", default="person"),
        PipelineParameter(name=PARAMETER_TRIGGER_DETAIL, type="String", default=""),
        PipelineParameter(
            name=PARAMETER_APPROVAL_STATUS,
            type="String",
            default="PendingManualApproval",
            choices=("PendingManualApproval", "Approved"),
        ),
        PipelineParameter(name=PARAMETER_QUALITY_VERDICT_URI, type="String", default=PLACEHOLDERS["no_verdict_uri"]),
        PipelineParameter(name=PARAMETER_CHAMPION_URI, type="String", default=PLACEHOLDERS["no_champion_uri"]),
        PipelineParameter(name=PARAMETER_COMPARE_WITH_CHAMPION, type="Boolean", default=True),
        *_configured(project),
        *(_hyperparameter(name, each) for name, each in project.declared_hyperparameters.items()),
    )


def parameter_defaults(project: ModelProject) -> dict[str, Value]:
    """The defaults that follow from a project's configuration, by parameter; seconds, gigabytes and shares."""
    configured = (
        *_configured(project),
        *(_hyperparameter(name, each) for name, each in project.declared_hyperparameters.items()),
    )
    return {each.name: each.default for each in configured if each.default is not None}


def hyperparameter_name(hyperparameter: str) -> str:
    """The pipeline parameter of a hyperparameter: `max_depth` -> `HyperMaxDepth`."""
    return "Hyper" + "".join(word.capitalize() for word in hyperparameter.split("_"))


def _configured(project: ModelProject) -> Iterator[PipelineParameter]:
    instances, gates, tuning = project.instances, project.gates, project.tuning
    yield _instance_type("ProcessingInstanceType", instances.processing, "processing")
    yield _number("ProcessingInstanceCount", instances.processing_count, *config.INSTANCE_COUNT_RANGE)
    yield _instance_type("TrainingInstanceType", instances.training, "training")
    yield _number("VolumeSizeInGB", instances.volume_gib, *config.VOLUME_GIB_RANGE)
    yield _number("MaxRuntimeInSeconds", int(project.limits.job.total_seconds()), *config.JOB_SECONDS_RANGE)
    if project.training.spot:
        seconds = int(project.training.max_wait.total_seconds())
        yield _number("MaxWaitTimeInSeconds", seconds, "MaxRuntimeInSeconds", config.JOB_SECONDS_RANGE[1])
    yield _number("MinAuc", float(gates.min_auc), *config.AUC_RANGE)
    yield _number("MinAccuracy", float(gates.min_accuracy), *config.ACCURACY_RANGE)
    yield _number("MaxAucDrop", float(gates.max_auc_drop), *config.AUC_DROP_RANGE)
    if tuning is not None:
        yield _number("TuningMaxJobs", tuning.max_jobs, *config.TUNING_JOBS_RANGE)
        yield _number("TuningMaxParallelJobs", tuning.max_parallel_jobs, config.PARALLEL_JOBS_RANGE[0], "TuningMaxJobs")
    if scoring := project.optional_steps.batch_scoring:
        yield PipelineParameter(
            name=PARAMETER_SCORING_URI,
            type="String",
            default=f"s3://{PLACEHOLDERS['data_bucket']}/{project.name}/scoring/",
        )
        yield _instance_type("ScoringInstanceType", scoring.instance, "transform")
        yield _number("ScoringInstanceCount", scoring.instance_count, *config.INSTANCE_COUNT_RANGE)


def _instance_type(name: str, default: str, use: Use) -> PipelineParameter:
    return PipelineParameter(name=name, type="String", default=default, choices=tuple(same_class(default, use=use)))


def _number(name: str, default: int | float, low: float | str, high: float | str) -> PipelineParameter:
    kind = "Float" if isinstance(default, float) else "Integer"
    return PipelineParameter(name=name, type=kind, default=default, low=low, high=high)


def _hyperparameter(name: str, hyperparameter: Hyperparameter) -> PipelineParameter:
    default, limits = hyperparameter.default, hyperparameter.limits
    if hyperparameter.kind == "Float":
        default = float(default)
    parameter = hyperparameter_name(name)
    if limits is None:
        return PipelineParameter(name=parameter, type=hyperparameter.kind, default=default)
    if isinstance(limits, Choices):
        return PipelineParameter(name=parameter, type="String", default=default, choices=limits.values)
    return PipelineParameter(
        name=parameter, type=hyperparameter.kind, default=default, low=limits.low, high=limits.high
    )


def _text(bound: float | str | None) -> str:
    return bound if isinstance(bound, str) else f"{bound:g}" if isinstance(bound, float) else str(bound)

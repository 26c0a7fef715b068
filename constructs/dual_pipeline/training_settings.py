"""What a project asks of its pipeline: gates, instances, training, tuning and optional steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from dual_pipeline.hyperparameters import Choices, FloatRange, IntegerRange, Value
from dual_pipeline.instance_types import check_instance
from dual_pipeline.validation import (
    check,
    check_choice,
    check_duration,
    check_match,
    check_number,
    check_type,
    check_unique,
    check_whole,
)

# What an execution may set; the pipeline refuses the rest before a job starts.
AUC_RANGE = (0.5, 1.0)
ACCURACY_RANGE = (0.0, 1.0)
AUC_DROP_RANGE = (0.0, 0.5)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingClusterConfig.html
INSTANCE_COUNT_RANGE = (1, 100)
VOLUME_GIB_RANGE = (1, 16_384)
JOB_SECONDS_RANGE = (60, 432_000)
# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
TUNING_JOBS_RANGE = (1, 750)
PARALLEL_JOBS_RANGE = (1, 100)
_MOST_TUNED = 30


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a challenger must reach on the holdout before it is registered.

    Two floors, and `max_auc_drop`, how far below the champion's AUC it may lie with 95 % confidence. `segments` are the
    columns by whose values the report breaks the metrics down.
    """

    min_auc: float = 0.85
    min_accuracy: float = 0.80
    max_auc_drop: float = 0.005
    segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_number(owner=self, field="min_auc", low=AUC_RANGE[0], high=AUC_RANGE[1])
        check_number(owner=self, field="min_accuracy", low=ACCURACY_RANGE[0], high=ACCURACY_RANGE[1])
        check_number(owner=self, field="max_auc_drop", low=AUC_DROP_RANGE[0], high=AUC_DROP_RANGE[1])
        ok = isinstance(self.segments, tuple) and all(isinstance(name, str) for name in self.segments)
        check(owner=self, field="segments", allowed="a tuple of column names", ok=ok)
        check_unique(owner=self, field="segments", names=self.segments)


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Where jobs and the endpoint run; `volume_gib` is the size of each job's volume."""

    processing: str = "ml.m5.large"
    processing_count: int = 1
    training: str = "ml.m5.xlarge"
    endpoint: str = "ml.m5.large"
    volume_gib: int = 30

    def __post_init__(self) -> None:
        check_instance(self, "processing", "processing")
        check_instance(self, "training", "training")
        check_instance(self, "endpoint", "endpoint")
        check_whole(owner=self, field="processing_count", low=INSTANCE_COUNT_RANGE[0], high=INSTANCE_COUNT_RANGE[1])
        check_whole(owner=self, field="volume_gib", low=VOLUME_GIB_RANGE[0], high=VOLUME_GIB_RANGE[1])


@dataclass(frozen=True, kw_only=True)
class Training:
    """How training jobs run: on the GPU, and on Spot capacity, waiting at most `max_wait` for it and the training.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
    """

    device: Literal["cpu", "cuda"] = "cpu"
    spot: bool = False
    max_wait: timedelta = timedelta(hours=4)

    def __post_init__(self) -> None:
        check_choice(owner=self, field="device", choices=("cpu", "cuda"))
        check_type(owner=self, field="spot", kind=bool)
        check_duration(owner=self, field="max_wait", low=timedelta(minutes=1), high=timedelta(days=5))


@dataclass(frozen=True, kw_only=True)
class SmokeTraining:
    """A short training on a sample of the data, with the real code, image and role, before the expensive part.

    `hyperparameters` replace the project's own, so that it stays short; `max_time` is when the job is stopped.
    """

    instance: str = "ml.m5.large"
    volume_gib: int = 10
    max_time: timedelta = timedelta(minutes=15)
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_instance(self, "instance", "training")
        check_whole(owner=self, field="volume_gib", low=VOLUME_GIB_RANGE[0], high=VOLUME_GIB_RANGE[1])
        check_duration(owner=self, field="max_time", low=timedelta(minutes=1), high=timedelta(hours=1))
        ok = isinstance(self.hyperparameters, Mapping)
        check(owner=self, field="hyperparameters", allowed="a mapping from names to values", ok=ok)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A search for better hyperparameters beside the default training; its budget in jobs."""

    ranges: Mapping[str, IntegerRange | FloatRange | Choices]
    max_jobs: int = 10
    max_parallel_jobs: int = 2
    strategy: Literal["Bayesian", "Random"] = "Bayesian"

    def __post_init__(self) -> None:
        kinds = IntegerRange | FloatRange | Choices
        ok = isinstance(self.ranges, Mapping) and 1 <= len(self.ranges) <= _MOST_TUNED
        ok = ok and all(isinstance(limits, kinds) for limits in self.ranges.values())
        allowed = f"a mapping of 1 to {_MOST_TUNED} hyperparameters to IntegerRange, FloatRange or Choices"
        check(owner=self, field="ranges", allowed=allowed, ok=ok)
        check_whole(owner=self, field="max_jobs", low=TUNING_JOBS_RANGE[0], high=TUNING_JOBS_RANGE[1])
        most = min(self.max_jobs, PARALLEL_JOBS_RANGE[1])
        check_whole(owner=self, field="max_parallel_jobs", low=PARALLEL_JOBS_RANGE[0], high=most)
        check_choice(owner=self, field="strategy", choices=("Bayesian", "Random"))


@dataclass(frozen=True, kw_only=True)
class ExternalCheck:
    """An outside system that must agree before a model is registered; it reads `instructions` from the queue."""

    instructions: str = "read the evaluation and answer with SendPipelineExecutionStepSuccess or -Failure"

    def __post_init__(self) -> None:
        wanted = "1 to 1024 characters"
        check_match(owner=self, field="instructions", pattern=r".{1,1024}", allowed=wanted)


@dataclass(frozen=True, kw_only=True)
class BatchScoring:
    """Score files of records with each registered model, in a transform job."""

    instance: str = "ml.m5.large"
    instance_count: int = 1

    def __post_init__(self) -> None:
        check_instance(self, "instance", "transform")
        low, high = INSTANCE_COUNT_RANGE
        check_whole(owner=self, field="instance_count", low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class OptionalSteps:
    """Steps of the pipeline that a project may switch on; `refused` is how an execution with a refused model ends."""

    profile: bool = False
    external_check: ExternalCheck | None = None
    decide: bool = False
    batch_scoring: BatchScoring | None = None
    refused: Literal["succeed", "fail"] = "succeed"

    def __post_init__(self) -> None:
        for name in ("profile", "decide"):
            check_type(owner=self, field=name, kind=bool)
        if self.external_check is not None:
            check_type(owner=self, field="external_check", kind=ExternalCheck)
        if self.batch_scoring is not None:
            check_type(owner=self, field="batch_scoring", kind=BatchScoring)
        check_choice(owner=self, field="refused", choices=("succeed", "fail"))

"""What one model project wants of the platform; data scientists write it in their project.py."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from zoneinfo import available_timezones

from dual_pipeline.data_contract import DataContract
from dual_pipeline.errors import ConfigError
from dual_pipeline.hyperparameters import (
    Choices,
    FloatRange,
    Hyperparameter,
    IntegerRange,
    Value,
    check_tunable,
)
from dual_pipeline.instance_types import Use, has_gpu, is_offered
from dual_pipeline.ruleset import Ruleset
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
from dual_pipeline.workflow import Workflow

# Beside the projects' folders; it holds what every project's data goes through.
PLATFORM_FOLDER = "pipeline_code/platform_jobs"

# How an approved model is released. The others are refused by name, with what a release would lose:
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works-exclusions
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
TARGETS = ("endpoint", "batch")
_REFUSED_TARGETS = {
    "serverless": "a serverless endpoint has neither network isolation nor a VPC, no data capture to watch for drift,"
    " and no instances of which a canary could be a part",
    "asynchronous": "an asynchronous endpoint puts its answers into S3 some time later, so that a release cannot ask it"
    " its golden rows, and rollback alarms hear of errors when the bake may be over",
}

# What an execution may set; the pipeline refuses the rest before a job starts.
AUC_RANGE = (0.5, 1.0)
ACCURACY_RANGE = (0.0, 1.0)
AUC_DROP_RANGE = (0.0, 0.5)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingClusterConfig.html
INSTANCE_COUNT_RANGE = (1, 100)
VOLUME_GIB_RANGE = (1, 16_384)
JOB_SECONDS_RANGE = (60, 432_000)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_PAYLOAD_MB_RANGE = (1, 100)
# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
TUNING_JOBS_RANGE = (1, 750)
PARALLEL_JOBS_RANGE = (1, 100)
_MOST_TUNED = 30
# A job's own limit begins with its training; finding an instance and pulling the image come before.
STARTING = timedelta(minutes=30)
# The rollback alarms ring on two of three minutes, which must fit between two shifts of traffic.
_SHORTEST_BAKE = timedelta(minutes=3)
# What an alarm on a quiet endpoint counts requests by.
QUIET_ENDPOINT_STEP = timedelta(minutes=5)


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
        _check_instance(self, "processing", "processing")
        _check_instance(self, "training", "training")
        _check_instance(self, "endpoint", "endpoint")
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
        _check_instance(self, "instance", "training")
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
        _check_instance(self, "instance", "transform")
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


def _check_instance(owner: object, name: str, use: Use) -> None:
    instance_type = getattr(owner, name)
    ok = isinstance(instance_type, str) and is_offered(instance_type, use=use)
    allowed = f"an instance type that SageMaker offers for {use}, such as ml.m5.large"
    check(owner=owner, field=name, allowed=allowed, ok=ok)


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """Size of the Glue jobs that ingest data and check its quality."""

    worker_type: Literal["G.1X", "G.2X", "G.4X", "G.8X"] = "G.1X"
    workers: int = 2

    def __post_init__(self) -> None:
        check_choice(owner=self, field="worker_type", choices=("G.1X", "G.2X", "G.4X", "G.8X"))
        check_whole(owner=self, field="workers", low=2, high=299)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """How many people let a registered model go live; an unanswered request is rejected at the deadline."""

    mode: Literal["auto", "one", "two"] = "one"
    deadline: timedelta = timedelta(days=3)

    def __post_init__(self) -> None:
        check_choice(owner=self, field="mode", choices=("auto", "one", "two"))
        check_duration(owner=self, field="deadline", low=timedelta(minutes=5), high=timedelta(days=30))


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a new model takes over an endpoint's traffic, and what sends it back.

    Limits: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html and
    API_TrafficRoutingConfig.html
    """

    strategy: Literal["all-at-once", "canary", "linear"] = "all-at-once"
    instance_count: int = 1
    canary_percent: int = 20
    wait: timedelta = timedelta(minutes=5)
    deadline: timedelta = timedelta(hours=1)
    max_instance_count: int | None = None
    requests_per_instance: int = 1000
    capture_percent: int = 20
    max_p99_latency_ms: float = 500.0
    max_error_percent: float = 1.0

    def __post_init__(self) -> None:
        check_choice(owner=self, field="strategy", choices=("all-at-once", "canary", "linear"))
        least = 1 if self.strategy == "all-at-once" else 2
        check_whole(owner=self, field="instance_count", low=least, high=100)
        # An answer in a hundred must be able to come from the canary alone, or the alarm on the p99 is blind to it.
        least = {"canary": 2, "linear": 10}.get(self.strategy, 1)
        check_whole(owner=self, field="canary_percent", low=least, high=50)
        shifts = self.strategy != "all-at-once"
        check_duration(
            owner=self, field="wait", low=_SHORTEST_BAKE if shifts else timedelta(0), high=timedelta(hours=1)
        )
        check_duration(owner=self, field="deadline", low=timedelta(minutes=10), high=timedelta(hours=8))
        waits = self.waits
        check(
            owner=self,
            field="deadline",
            allowed=f"longer than {waits} wait{'s' if waits > 1 else ''} of {self.wait}",
            ok=self.deadline > waits * self.wait,
        )
        if self.max_instance_count is not None:
            check_whole(owner=self, field="max_instance_count", low=self.instance_count, high=1000)
        check_whole(owner=self, field="requests_per_instance", low=1, high=1_000_000)
        check_whole(owner=self, field="capture_percent", low=0, high=100)
        check_number(owner=self, field="max_p99_latency_ms", low=1, high=60_000)
        check_number(owner=self, field="max_error_percent", low=0, high=99)
        if shifts:
            self._check_first_share()
            # The alarms see all of the endpoint's traffic: one that needs more errors than the first share of it can
            # hold would never fire.
            check(
                owner=self,
                field="max_error_percent",
                allowed=f"below canary_percent ({self.canary_percent})",
                ok=self.max_error_percent < self.canary_percent,
            )

    def _check_first_share(self) -> None:
        """Whole instances go first, of any size that the fleet may have, and SageMaker refuses more than half of them.

        How it rounds is not documented; rounded up is the larger share.
        Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
        """
        for instances in range(self.instance_count, (self.max_instance_count or self.instance_count) + 1):
            first = -(-instances * self.canary_percent // 100)
            wanted = f"what rounds up to at most half of {instances} instances"
            check(owner=self, field="canary_percent", allowed=wanted, ok=2 * first <= instances)

    @property
    def scales(self) -> bool:
        """Whether the endpoint scales by itself."""
        return self.max_instance_count is not None

    @property
    def waits(self) -> int:
        """How many times `wait` passes at the least while traffic shifts."""
        return -(-100 // self.canary_percent) if self.strategy == "linear" else 1


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How often and how strictly the endpoint's traffic is compared with what its model learned; docs/drift.md.

    Something has moved that chance explains with less than `alpha`, all tests of a window taken together, and whose
    population stability index is at least `max_psi`. Answers are judged when labels came within `label_window`.
    `max_time` is when the job is stopped.
    """

    every: timedelta = timedelta(days=1)
    window: timedelta = timedelta(days=1)
    label_window: timedelta = timedelta(days=14)
    min_rows: int = 1000
    min_labels: int = 200
    alpha: float = 0.01
    max_psi: float = 0.2
    max_auc_drop: float = 0.05
    instance: str = "ml.m5.large"
    max_time: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        # The alarm looks back a little longer than from one measurement to the next, and at most seven days:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        ok = isinstance(self.every, timedelta) and timedelta(hours=1) <= self.every <= timedelta(days=6)
        wanted = "a timedelta of whole hours from 1:00:00 to 6 days"
        check(owner=self, field="every", allowed=wanted, ok=ok and not self.every % timedelta(hours=1))
        check_duration(owner=self, field="window", low=timedelta(minutes=5), high=timedelta(days=31))
        check_duration(owner=self, field="label_window", low=self.window, high=timedelta(days=90))
        check_whole(owner=self, field="min_rows", low=30, high=10_000_000)
        check_whole(owner=self, field="min_labels", low=30, high=10_000_000)
        check_number(owner=self, field="alpha", low=1e-6, high=0.2)
        check_number(owner=self, field="max_psi", low=0.01, high=10)
        check_number(owner=self, field="max_auc_drop", low=AUC_DROP_RANGE[0], high=AUC_DROP_RANGE[1])
        _check_instance(self, "instance", "processing")
        check_duration(owner=self, field="max_time", low=timedelta(minutes=1), high=timedelta(hours=12))


@dataclass(frozen=True, kw_only=True)
class Watch:
    """When the alarms ring that no rollout asks: those on a live endpoint, and on a loop that has gone quiet.

    Shares are of requests, of all processors of an instance, and of its memory. `quiet_endpoint` and `quiet_loop` are
    how long nobody may ask, and nothing be released or found up to date; None switches that alarm off. The first is off
    unless asked for: whose callers sleep at night would be woken every night.
    Limits: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """

    max_4xx_percent: float = 10.0
    max_p99_overhead_ms: float = 1_000.0
    max_cpu_percent: float = 90.0
    max_memory_percent: float = 90.0
    quiet_endpoint: timedelta | None = None
    quiet_loop: timedelta | None = timedelta(days=7)

    def __post_init__(self) -> None:
        for name in ("max_4xx_percent", "max_cpu_percent", "max_memory_percent"):
            check_number(owner=self, field=name, low=0, high=99)
        check_number(owner=self, field="max_p99_overhead_ms", low=1, high=60_000)
        day = timedelta(days=1)
        for name, step, high, wanted in (
            ("quiet_endpoint", QUIET_ENDPOINT_STEP, day, "a multiple of five minutes up to a day"),
            ("quiet_loop", day, 7 * day, "1 to 7 whole days"),
        ):
            given = getattr(self, name)
            ok = given is None or (isinstance(given, timedelta) and step <= given <= high and not given % step)
            check(owner=self, field=name, allowed=f"a timedelta of {wanted}, or None", ok=ok)


@dataclass(frozen=True, kw_only=True)
class BatchInference:
    """How an approved model scores `<project>/batch/` of the data bucket, where the target is `batch`.

    `max_time` is when the transform job is stopped, and with `instance_count` what it may cost. `max_payload_mb` is the
    largest request to the model: a record, or with `multi-record` as many lines as fit.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
    """

    instance: str = "ml.m5.large"
    instance_count: int = 1
    max_time: timedelta = timedelta(hours=2)
    max_payload_mb: int = 6
    strategy: Literal["multi-record", "single-record"] = "multi-record"

    def __post_init__(self) -> None:
        _check_instance(self, "instance", "transform")
        low, high = INSTANCE_COUNT_RANGE
        check_whole(owner=self, field="instance_count", low=low, high=high)
        check_duration(owner=self, field="max_time", low=timedelta(minutes=1), high=timedelta(days=5))
        low, high = _PAYLOAD_MB_RANGE
        check_whole(owner=self, field="max_payload_mb", low=low, high=high)
        check_choice(owner=self, field="strategy", choices=("multi-record", "single-record"))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may take at the most: jobs, phases, steps side by side and runs in a day, the real cap on spending.

    Within `cool_down` of the start of a run no other is admitted; its data waits until then.
    """

    runs_per_day: int = 8
    cool_down: timedelta = timedelta(0)
    ingest: timedelta = timedelta(hours=1)
    quality: timedelta = timedelta(hours=1)
    job: timedelta = timedelta(hours=2)
    training: timedelta = timedelta(hours=6)
    parallel_steps: int | None = None

    def __post_init__(self) -> None:
        check_whole(owner=self, field="runs_per_day", low=1, high=1000)
        check_duration(owner=self, field="cool_down", low=timedelta(0), high=timedelta(days=7))
        if self.parallel_steps is not None:
            check_whole(owner=self, field="parallel_steps", low=1, high=50)
        for name in ("ingest", "quality", "training"):
            check_duration(owner=self, field=name, low=timedelta(minutes=1), high=timedelta(days=5))
        check_duration(owner=self, field="job", low=timedelta(minutes=1), high=self.training)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a run is started whether or not new data came; where nothing is new, the run ends with that.

    Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        wanted = (
            "rate(1 day), rate(12 hours) or the like, an hour at least, or cron(minute hour day month weekday year),"
            " the minute a number, day or weekday a question mark, such as cron(0 3 ? * MON *)"
        )
        check(owner=self, field="expression", allowed=wanted, ok=_is_schedule(self.expression))
        wanted = "the name of a time zone, such as Europe/Berlin"
        ok = isinstance(self.timezone, str) and self.timezone in available_timezones()
        check(owner=self, field="timezone", allowed=wanted, ok=ok)


# Minutes, hours, day of the month, month, day of the week and year:
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
_CRON = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))


def _is_schedule(expression: object) -> bool:
    if not isinstance(expression, str):
        return False
    if re.fullmatch(r"rate\((1 (hour|day)|([2-9]|[1-9]\d{1,3}) (hours|days))\)", expression):
        return True
    fields = re.fullmatch(r"cron\((.*)\)", expression)
    parts = fields[1].split(" ") if fields else []
    # One of day of month and day of week is a question mark: each says which days.
    return (
        len(parts) == 6
        and all(re.fullmatch(r"[0-9A-Z,*?/#-]+", part) for part in parts)
        and (parts[2] == "?") != (parts[4] == "?")
        and parts[0].isdigit()
        and all(
            low <= int(number) <= high
            for part, (low, high) in zip(parts, _CRON, strict=True)
            for number in re.findall(r"(?<![/#\d])\d+", part)
        )
    )


@dataclass(frozen=True, kw_only=True)
class ModelProject:
    """One model: its data contract and rules, its gates, and what it asks of the platform.

    Its code lies in `pipeline_code/<name, with underscores>/`. Without `inner_loop` a run trains in one job and saves
    the model, and neither compares, registers nor deploys it. An approved model is released to `target`: to an endpoint
    by `rollout`, or as the model that scores records in batch, by `batch`.
    """

    name: str
    contract: DataContract
    ruleset: Ruleset
    description: str = ""
    gates: Gates = field(default_factory=Gates)
    instances: Instances = field(default_factory=Instances)
    ingest: Ingest = field(default_factory=Ingest)
    hyperparameters: Mapping[str, Hyperparameter | Value] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    smoke_training: SmokeTraining | None = None
    inner_loop: bool = True
    tuning: Tuning | None = None
    optional_steps: OptionalSteps = field(default_factory=OptionalSteps)
    experiments: bool = False
    approval: Approval = field(default_factory=Approval)
    target: Literal["endpoint", "batch"] = "endpoint"
    rollout: Rollout = field(default_factory=Rollout)
    drift: Drift | None = field(default_factory=Drift)
    watch: Watch = field(default_factory=Watch)
    batch: BatchInference = field(default_factory=BatchInference)
    limits: Limits = field(default_factory=Limits)
    schedule: Schedule | None = None
    workflows: tuple[Workflow, ...] = ()

    def __post_init__(self) -> None:
        # Names of endpoints and jobs are built on it: `<environment>-<name>-...`, at most 63 characters in all.
        wanted = "lower-case letters, digits and hyphens, a letter first, at most 24 characters"
        check_match(owner=self, field="name", pattern=r"[a-z](-?[a-z0-9]){0,23}", allowed=wanted)
        check(owner=self, field="name", allowed="at most 24 characters", ok=len(self.name) <= 24)
        wanted = f"another name than {self.name}, for {self.folder} holds the platform's own jobs"
        check(owner=self, field="name", allowed=wanted, ok=self.folder != PLATFORM_FOLDER)
        for name, kind in (
            ("contract", DataContract),
            ("ruleset", Ruleset),
            ("gates", Gates),
            ("instances", Instances),
            ("ingest", Ingest),
            ("training", Training),
            ("optional_steps", OptionalSteps),
            ("approval", Approval),
            ("rollout", Rollout),
            ("watch", Watch),
            ("batch", BatchInference),
            ("limits", Limits),
        ):
            check_type(owner=self, field=name, kind=kind)
        if self.schedule is not None:
            check_type(owner=self, field="schedule", kind=Schedule)
        if self.drift is not None:
            check_type(owner=self, field="drift", kind=Drift)
        wanted = "True for SageMaker Experiments or False; MLflow is not supported"
        check(owner=self, field="experiments", allowed=wanted, ok=isinstance(self.experiments, bool))
        self._check_segments()
        self._check_ruleset()
        self._check_training()
        self._check_tuning()
        self._check_smoke_training()
        self._check_mode()
        self._check_target()
        ok = isinstance(self.workflows, tuple) and all(isinstance(each, Workflow) for each in self.workflows)
        check(owner=self, field="workflows", allowed="a tuple of Workflow", ok=ok)
        check_unique(owner=self, field="workflows", names=[each.name for each in self.workflows])

    def _check_segments(self) -> None:
        columns = [column.name for column in self.contract.columns]
        if unknown := sorted(set(self.gates.segments) - set(columns)):
            raise ConfigError(f"Gates.segments must name columns of the data contract, got {unknown}: it has {columns}")

    def _check_ruleset(self) -> None:
        types = {column.name: column.type for column in self.contract.columns}
        if problems := list(self.ruleset.problems(types)):
            raise ConfigError(f"ModelProject.ruleset must fit the data contract: {'; '.join(problems)}")

    def _check_training(self) -> None:
        if self.training.device == "cuda" and not has_gpu(self.instances.training):
            raise ConfigError(
                f"Training.device 'cuda' needs a GPU, which {self.instances.training} lacks: set Instances.training to"
                " one that has it, such as ml.g5.xlarge"
            )
        if self.training.spot and self.training.max_wait < self.limits.job:
            raise ConfigError(
                f"Training.max_wait must be at least Limits.job ({self.limits.job}), got {self.training.max_wait}:"
                " it covers the wait for Spot capacity and the training"
            )

    def _check_tuning(self) -> None:
        for name in self.hyperparameters:
            wanted = "a mapping from names in snake_case"
            ok = isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", name) is not None
            check(owner=self, field="hyperparameters", allowed=wanted, ok=ok and name != "device")
        declared = self.declared_hyperparameters
        if self.tuning is not None:
            check_type(owner=self, field="tuning", kind=Tuning)
            for name, limits in self.tuning.ranges.items():
                check_tunable(name, declared.get(name), limits)

    def _check_smoke_training(self) -> None:
        smoke = self.smoke_training
        if smoke is None:
            return
        check_type(owner=self, field="smoke_training", kind=SmokeTraining)
        declared = self.declared_hyperparameters
        if unknown := sorted(map(str, set(smoke.hyperparameters) - set(declared))):
            raise ConfigError(
                f"SmokeTraining.hyperparameters must be among the project's, got {unknown}: it has {sorted(declared)}"
            )
        for name, value in smoke.hyperparameters.items():
            limits = declared[name].limits
            if not isinstance(value, Value) or (limits is not None and value not in limits):
                raise ConfigError(
                    f"SmokeTraining.hyperparameters[{name!r}] must be {limits or 'a boolean, a number or a word'}, got"
                    f" {value!r}"
                )
        if self.training.device == "cuda" and not has_gpu(smoke.instance):
            raise ConfigError(
                f"SmokeTraining.instance must have a GPU for Training.device 'cuda', got {smoke.instance!r}: set it to"
                " one that has it, such as ml.g5.xlarge"
            )

    def _check_mode(self) -> None:
        check_type(owner=self, field="inner_loop", kind=bool)
        if self.inner_loop:
            return
        for name, plain in (
            ("tuning", [None]),
            ("optional_steps", [OptionalSteps()]),
            ("experiments", [False]),
            ("drift", [Drift(), None]),
        ):
            if (value := getattr(self, name)) not in plain:
                raise ConfigError(
                    f"ModelProject.{name} is a part of the inner loop, got {value!r} with inner_loop=False: leave it"
                    " out, or keep the inner loop"
                )
        spot = self.training.spot
        name, most = ("Training.max_wait", self.training.max_wait) if spot else ("Limits.job", self.limits.job)
        if self.limits.training < most + STARTING:
            raise ConfigError(
                f"Limits.training must be at least {most + STARTING} with inner_loop=False, {name} and half an hour for"
                f" the start of the instance, got {self.limits.training}: raise it, or lower {name}"
            )

    def _check_target(self) -> None:
        if isinstance(self.target, str) and self.target in _REFUSED_TARGETS:
            raise ConfigError(
                f"ModelProject.target {self.target!r} is not supported, for {_REFUSED_TARGETS[self.target]}: choose one"
                f" of {', '.join(TARGETS)}"
            )
        check_choice(owner=self, field="target", choices=TARGETS)
        if self.target == "batch" and not self.inner_loop:
            raise ConfigError(
                "ModelProject.target is where models go that the inner loop registers, got 'batch' with"
                " inner_loop=False: leave it out, or keep the inner loop"
            )
        if self.target == "endpoint" and self.batch != BatchInference():
            raise ConfigError(
                f"ModelProject.batch is read with target 'batch' only, got {self.batch!r} with target 'endpoint': set"
                " the target to 'batch', or leave it out"
            )
        if self.target == "batch" and self.rollout != Rollout():
            raise ConfigError(
                f"ModelProject.rollout is for target 'endpoint', got {self.rollout!r} with target 'batch': leave it"
                " out, or release to an endpoint"
            )

    @property
    def deploys_endpoint(self) -> bool:
        """True where released models serve on an endpoint, with all that watches one."""
        return self.inner_loop and self.target == "endpoint"

    @property
    def scores_in_batch(self) -> bool:
        """True where a released model scores records in a transform job."""
        return self.inner_loop and self.target == "batch"

    @property
    def declared_hyperparameters(self) -> Mapping[str, Hyperparameter]:
        """Every hyperparameter with its limits, those given as plain values too."""
        return {
            name: value if isinstance(value, Hyperparameter) else Hyperparameter(default=value)
            for name, value in self.hyperparameters.items()
        }

    @property
    def default_hyperparameters(self) -> Mapping[str, Value]:
        """Every hyperparameter's default."""
        return {name: each.default for name, each in self.declared_hyperparameters.items()}

    @property
    def watched(self) -> Drift | None:
        """How drift is watched; None where nothing is captured that could drift."""
        return self.drift if self.deploys_endpoint and self.rollout.capture_percent > 0 else None

    @property
    def stack_prefix(self) -> str:
        """How the names of the project's stacks begin within their stage."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def folder(self) -> str:
        """The project's folder below the repository's root."""
        return "pipeline_code/" + self.name.replace("-", "_")

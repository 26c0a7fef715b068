"""What one model project wants of the platform; data scientists write it in their project.py."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from zoneinfo import available_timezones

from dual_pipeline.data_contract import DataContract
from dual_pipeline.errors import ConfigError
from dual_pipeline.hyperparameters import Hyperparameter, Value, check_tunable
from dual_pipeline.instance_types import has_gpu
from dual_pipeline.release_settings import Approval, BatchInference, Drift, Rollout, Watch
from dual_pipeline.ruleset import Ruleset
from dual_pipeline.training_settings import (
    BatchScoring,
    ExternalCheck,
    Gates,
    Instances,
    OptionalSteps,
    SmokeTraining,
    Training,
    Tuning,
)
from dual_pipeline.validation import (
    check,
    check_choice,
    check_duration,
    check_match,
    check_type,
    check_unique,
    check_whole,
)
from dual_pipeline.workflow import Workflow

# All that a project is made of comes from here.
__all__ = [
    "Approval",
    "BatchInference",
    "BatchScoring",
    "Drift",
    "ExternalCheck",
    "Gates",
    "Ingest",
    "Instances",
    "Limits",
    "ModelProject",
    "OptionalSteps",
    "Rollout",
    "Schedule",
    "SmokeTraining",
    "Training",
    "Tuning",
    "Watch",
]

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
# A job's own limit begins with its training; finding an instance and pulling the image come before.
STARTING = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """Size of the Glue jobs that ingest data and check its quality."""

    worker_type: Literal["G.1X", "G.2X", "G.4X", "G.8X"] = "G.1X"
    workers: int = 2

    def __post_init__(self) -> None:
        check_choice(owner=self, field="worker_type", choices=("G.1X", "G.2X", "G.4X", "G.8X"))
        check_whole(owner=self, field="workers", low=2, high=299)


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

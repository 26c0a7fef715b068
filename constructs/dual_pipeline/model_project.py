"""What one model project wants of the platform; data scientists write it in their project.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from dual_pipeline.data_contract import DataContract
from dual_pipeline.ruleset import Ruleset
from dual_pipeline.validation import (
    check,
    check_choice,
    check_duration,
    check_match,
    check_number,
    check_type,
    check_whole,
)

# Beside the projects' folders; it holds what every project's data goes through.
PLATFORM_FOLDER = "pipeline_code/platform_jobs"
_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.(nano|micro|small|medium|large|\d*xlarge|metal)"
_INSTANCE_TYPE_WANTED = "a SageMaker instance type such as ml.m5.large"


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Absolute floors that a challenger's holdout metrics must reach before it is registered."""

    min_auc: float = 0.85
    min_accuracy: float = 0.80

    def __post_init__(self) -> None:
        check_number(owner=self, field="min_auc", low=0.5, high=1)
        check_number(owner=self, field="min_accuracy", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Where jobs and the endpoint run; `volume_gib` is the size of each job's volume."""

    processing: str = "ml.m5.large"
    training: str = "ml.m5.xlarge"
    endpoint: str = "ml.m5.large"
    volume_gib: int = 30

    def __post_init__(self) -> None:
        for name in ("processing", "training", "endpoint"):
            check_match(owner=self, field=name, pattern=_INSTANCE_TYPE, allowed=_INSTANCE_TYPE_WANTED)
        check_whole(owner=self, field="volume_gib", low=1, high=16_384)


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
    """Who lets a registered model go live; an unanswered request is rejected at the deadline."""

    mode: Literal["manual", "auto"] = "manual"
    deadline: timedelta = timedelta(days=3)

    def __post_init__(self) -> None:
        check_choice(owner=self, field="mode", choices=("manual", "auto"))
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
    capture_percent: int = 20
    max_p99_latency_ms: float = 500.0
    max_error_percent: float = 1.0

    def __post_init__(self) -> None:
        check_choice(owner=self, field="strategy", choices=("all-at-once", "canary", "linear"))
        least = 1 if self.strategy == "all-at-once" else 2
        check_whole(owner=self, field="instance_count", low=least, high=100)
        check_whole(owner=self, field="canary_percent", low=10 if self.strategy == "linear" else 1, high=50)
        check_duration(owner=self, field="wait", low=timedelta(0), high=timedelta(hours=1))
        check_duration(owner=self, field="deadline", low=timedelta(minutes=10), high=timedelta(hours=8))
        waits = -(-100 // self.canary_percent) if self.strategy == "linear" else 1
        check(
            owner=self,
            field="deadline",
            allowed=f"longer than {waits} wait{'s' if waits > 1 else ''} of {self.wait}",
            ok=self.deadline > waits * self.wait,
        )
        if self.max_instance_count is not None:
            check_whole(owner=self, field="max_instance_count", low=self.instance_count, high=1000)
        check_whole(owner=self, field="capture_percent", low=0, high=100)
        check_number(owner=self, field="max_p99_latency_ms", low=1, high=60_000)
        check_number(owner=self, field="max_error_percent", low=0, high=100)
        if self.strategy == "canary":
            # An alarm that needs more errors than the canary's share of traffic can hold would never fire.
            check(
                owner=self,
                field="max_error_percent",
                allowed=f"below canary_percent ({self.canary_percent})",
                ok=self.max_error_percent < self.canary_percent,
            )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may take at the most: jobs, phases and runs in a day, the real cap on spending."""

    runs_per_day: int = 8
    ingest: timedelta = timedelta(hours=1)
    quality: timedelta = timedelta(hours=1)
    job: timedelta = timedelta(hours=2)
    training: timedelta = timedelta(hours=6)

    def __post_init__(self) -> None:
        check_whole(owner=self, field="runs_per_day", low=1, high=1000)
        for name in ("ingest", "quality", "training"):
            check_duration(owner=self, field=name, low=timedelta(minutes=1), high=timedelta(days=5))
        check_duration(owner=self, field="job", low=timedelta(minutes=1), high=self.training)


@dataclass(frozen=True, kw_only=True)
class ModelProject:
    """One model: its data contract and rules, its gates, and what it asks of the platform.

    Its code lies in `pipeline_code/<name, with underscores>/`.
    """

    name: str
    contract: DataContract
    ruleset: Ruleset
    description: str = ""
    gates: Gates = field(default_factory=Gates)
    instances: Instances = field(default_factory=Instances)
    ingest: Ingest = field(default_factory=Ingest)
    hyperparameters: Mapping[str, int | float | str] = field(default_factory=dict)
    approval: Approval = field(default_factory=Approval)
    rollout: Rollout = field(default_factory=Rollout)
    limits: Limits = field(default_factory=Limits)

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
            ("approval", Approval),
            ("rollout", Rollout),
            ("limits", Limits),
        ):
            check_type(owner=self, field=name, kind=kind)

    @property
    def folder(self) -> str:
        """The project's folder below the repository's root."""
        return "pipeline_code/" + self.name.replace("-", "_")

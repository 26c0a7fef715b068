"""What a project asks of the release of its models: approval, rollout, batch inference, drift and alarms."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from dual_pipeline.instance_types import check_instance
from dual_pipeline.training_settings import AUC_DROP_RANGE, INSTANCE_COUNT_RANGE
from dual_pipeline.validation import check, check_choice, check_duration, check_number, check_whole

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_PAYLOAD_MB_RANGE = (1, 100)
# The rollback alarms ring on two of three minutes, which must fit between two shifts of traffic.
_SHORTEST_BAKE = timedelta(minutes=3)
# What an alarm on a quiet endpoint counts requests by.
QUIET_ENDPOINT_STEP = timedelta(minutes=5)


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
        check_instance(self, "instance", "processing")
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
        check_instance(self, "instance", "transform")
        low, high = INSTANCE_COUNT_RANGE
        check_whole(owner=self, field="instance_count", low=low, high=high)
        check_duration(owner=self, field="max_time", low=timedelta(minutes=1), high=timedelta(days=5))
        low, high = _PAYLOAD_MB_RANGE
        check_whole(owner=self, field="max_payload_mb", low=low, high=high)
        check_choice(owner=self, field="strategy", choices=("multi-record", "single-record"))

"""The metrics of CloudWatch: what was published, kept as distributions, and statistics over it.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
"""

from __future__ import annotations

import bisect
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

STATISTICS: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
RETENTION_S: Final = 15 * 24 * 3600
"""Data of one-minute resolution is kept for 15 days; older data is forgotten here, not aggregated."""
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_PRUNE_EVERY: Final = 1000


@dataclass(frozen=True)
class Metric:
    """A metric: namespace, name and the whole of its dimensions; each other set of dimensions is another metric."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
        """A metric from a mapping of dimensions."""
        return cls(namespace, name, frozenset(dimensions.items()))


@dataclass
class Distribution:
    """Samples taken together: count, sum, extremes, and how often which value was seen while that is known."""

    count: float = 0.0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    values: dict[float, float] | None = field(default_factory=dict)

    def add(self, value: float, count: float = 1.0) -> None:
        """Take in a value that was seen `count` times."""
        self._widen(count, value * count, value, value)
        if self.values is not None:
            self.values[value] = self.values.get(value, 0.0) + count

    def add_set(self, count: float, total: float, low: float, high: float) -> None:
        """Take in a published statistic set; only one whose samples are all equal leaves percentiles possible."""
        if low == high and math.isclose(total, low * count):
            self.add(low, count)
            return
        self._widen(count, total, low, high)
        self.values = None

    def merge(self, other: Distribution) -> None:
        """Take in another distribution."""
        self._widen(other.count, other.total, other.low, other.high)
        if self.values is None or other.values is None:
            self.values = None
            return
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count

    def statistic(self, name: str) -> float | None:
        """One of `STATISTICS` or a percentile; None when there is none.

        Percentiles are interpolated between the nearest ranks and do not exist for statistic sets and negative values.
        """
        if self.count <= 0:
            return None
        if match := _PERCENTILE.fullmatch(name):
            return self._percentile(float(match[1]))
        return {
            "SampleCount": self.count,
            "Average": self.total / self.count,
            "Sum": self.total,
            "Minimum": self.low,
            "Maximum": self.high,
        }[name]

    def _widen(self, count: float, total: float, low: float, high: float) -> None:
        self.count += count
        self.total += total
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _percentile(self, percent: float) -> float | None:
        if not self.values or self.low < 0:
            return None
        rank = percent / 100 * max(self.count - 1, 0)
        ordered = sorted(self.values.items())
        low, share = math.floor(rank), rank % 1
        at_low = _at_rank(ordered, low)
        return at_low + share * (_at_rank(ordered, low + 1) - at_low) if share else at_low


def is_statistic(name: str) -> bool:
    """Whether the emulator knows a statistic; trimmed means and their like are absent."""
    return name in STATISTICS or _PERCENTILE.fullmatch(name) is not None


class MetricStore:
    """All metrics of the account; moments are whole seconds of AWS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[Metric, dict[str, _Series]] = {}
        self._writes = 0

    def add(
        self,
        metric: Metric,
        unit: str,
        moment: int,
        values: Iterable[tuple[float, float]] = (),
        *,
        sets: Iterable[tuple[float, float, float, float]] = (),
        resolution_s: int = 60,
    ) -> None:
        """Publish values with their counts, and statistic sets (count, sum, minimum, maximum), for one moment.

        Samples of one minute are one distribution, as CloudWatch keeps them; of one second if the resolution is 1.
        """
        with self._lock:
            units = self._series.setdefault(metric, {})
            slot = units.setdefault(unit, _Series()).slot(moment - moment % resolution_s)
            for value, count in values:
                slot.add(value, count)
            for each in sets:
                slot.add_set(*each)
            self._writes += 1
            if self._writes % _PRUNE_EVERY == 0:
                self._forget(moment - RETENTION_S)

    def distribution(self, metric: Metric, start: int, end: int, *, unit: str | None = None) -> Distribution:
        """Everything published from `start` up to, not including, `end`; without a unit, of all units."""
        found = Distribution()
        with self._lock:
            for name, series in self._series.get(metric, {}).items():
                if unit in (None, name):
                    for each in series.between(start, end):
                        found.merge(each)
        return found

    def moments(self, metric: Metric, *, unit: str | None = None) -> list[int]:
        """The moments at which a metric has data, oldest first."""
        with self._lock:
            units = self._series.get(metric, {}).items()
            return sorted({moment for name, series in units if unit in (None, name) for moment in series.moments})

    def units(self, metric: Metric) -> list[str]:
        """The units that a metric was published in."""
        with self._lock:
            return sorted(self._series.get(metric, {}))

    def value(self, metric: Metric, statistic: str, start: int, end: int, *, unit: str | None) -> float | None:
        """A statistic over a span of moments, None without data."""
        return self.distribution(metric, start, end, unit=unit).statistic(statistic)

    def sample_count(self, metric: Metric, start: int, end: int, *, unit: str | None) -> float:
        """How many samples there are in a span of moments."""
        return self.distribution(metric, start, end, unit=unit).count

    def metrics(self) -> list[Metric]:
        """Every metric that has data."""
        with self._lock:
            return list(self._series)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._series.clear()

    def _forget(self, before: int) -> None:
        for metric, units in list(self._series.items()):
            for series in units.values():
                series.forget(before)
            if not any(series.moments for series in units.values()):
                del self._series[metric]


class _Series:
    """Distributions in the order of their moments."""

    def __init__(self) -> None:
        self.moments: list[int] = []
        self._at: dict[int, Distribution] = {}

    def slot(self, moment: int) -> Distribution:
        found = self._at.get(moment)
        if found is None:
            found = self._at[moment] = Distribution()
            bisect.insort(self.moments, moment)
        return found

    def between(self, start: int, end: int) -> list[Distribution]:
        first, last = bisect.bisect_left(self.moments, start), bisect.bisect_left(self.moments, end)
        return [self._at[moment] for moment in self.moments[first:last]]

    def forget(self, before: int) -> None:
        gone = bisect.bisect_left(self.moments, before)
        for moment in self.moments[:gone]:
            del self._at[moment]
        del self.moments[:gone]


def _at_rank(ordered: Sequence[tuple[float, float]], rank: int) -> float:
    seen = 0.0
    for value, count in ordered:
        seen += count
        if rank < seen:
            return value
    return ordered[-1][0]

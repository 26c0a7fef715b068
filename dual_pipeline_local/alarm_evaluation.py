"""How a metric alarm finds its state: its configuration as PutMetricAlarm has it, datapoints in, state and reason out.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from .metric_math import Expression, ExpressionError, Point, Series
from .metric_store import Metric, is_statistic

Alarm = Mapping[str, Any]

OK: Final = "OK"
ALARM: Final = "ALARM"
INSUFFICIENT_DATA: Final = "INSUFFICIENT_DATA"

_SPARE_PERIODS: Final = 2
"""Periods that an evaluation looks back beyond EvaluationPeriods; AWS's examples show 5 for 3, the rule is not told."""
_DAY_S: Final = 86_400
_LOW_SAMPLES: Final = "EvaluateLowSampleCountPercentile"

_OPERATORS: Final[Mapping[str, tuple[Callable[[float, float], bool], str]]] = {
    "GreaterThanThreshold": (operator.gt, "greater than the threshold"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to the threshold"),
    "LessThanThreshold": (operator.lt, "less than the threshold"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to the threshold"),
}
_TREATMENTS: Final = {
    "breaching": "Breaching",
    "notBreaching": "NonBreaching",
    "ignore": "Ignore",
    "missing": "Missing",
}
_ABSENT: Final = ("ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria")


class AlarmRefused(ValueError):
    """An alarm that CloudWatch would not take, or that uses what the emulator lacks; `str()` says what."""


class Statistics(Protocol):
    """Where datapoints come from."""

    def value(self, metric: Metric, statistic: str, start: int, end: int, *, unit: str | None) -> Point:
        """A statistic over a span of moments, None without data."""

    def sample_count(self, metric: Metric, start: int, end: int, *, unit: str | None) -> float:
        """How many samples there are in a span of moments."""


@dataclass(frozen=True)
class Verdict:
    """The state that an evaluation came to, why, and the datapoints that it looked at with their starts."""

    state: str
    reason: str
    datapoints: tuple[tuple[int, float], ...] = ()


def check(alarm: Alarm) -> None:
    """Refuse an alarm that cannot be evaluated; raises AlarmRefused."""
    for member in _ABSENT:
        if alarm.get(member):
            raise _absent(member)
    comparison = alarm.get("ComparisonOperator")
    if comparison not in _OPERATORS:
        raise _absent(f"ComparisonOperator {comparison}")
    if alarm.get("Threshold") is None:
        raise AlarmRefused("Threshold is required for an alarm on a static threshold")
    if alarm.get("TreatMissingData", "missing") not in _TREATMENTS:
        raise AlarmRefused(f"TreatMissingData must be one of {', '.join(_TREATMENTS)}, got {alarm['TreatMissingData']}")
    if alarm.get("Metrics") and alarm.get("MetricName"):
        raise AlarmRefused("Metrics and MetricName must not be given together")
    queries = queries_of(alarm)
    for query in queries:
        _check_query(query)
    returned = [query for query in queries if query.get("ReturnData", True)]
    if len(returned) != 1:
        raise AlarmRefused(f"exactly one of Metrics must have ReturnData true, got {len(returned)}")
    _order(queries)
    if len(periods := {query["MetricStat"]["Period"] for query in queries if "MetricStat" in query}) != 1:
        raise AlarmRefused(f"all metrics of an alarm must have one period, got {sorted(periods)}")
    _check_lengths(alarm)


def queries_of(alarm: Alarm) -> Sequence[Mapping[str, Any]]:
    """The alarm's Metrics; an alarm on a single metric has one, `m1`."""
    if alarm.get("Metrics"):
        metrics: Sequence[Mapping[str, Any]] = alarm["Metrics"]
        return metrics
    for member in ("Namespace", "MetricName", "Period"):
        if not alarm.get(member):
            raise AlarmRefused(f"{member} is required for an alarm on a single metric")
    if bool(alarm.get("Statistic")) == bool(alarm.get("ExtendedStatistic")):
        raise AlarmRefused("exactly one of Statistic and ExtendedStatistic must be given")
    metric = {name: alarm[name] for name in ("Namespace", "MetricName")}
    stat = {
        "Metric": {**metric, "Dimensions": alarm.get("Dimensions") or []},
        "Period": alarm["Period"],
        "Stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
    }
    if alarm.get("Unit"):
        stat["Unit"] = alarm["Unit"]
    return [{"Id": "m1", "MetricStat": stat, "ReturnData": True}]


def period_of(alarm: Alarm) -> int:
    """The alarm's period in seconds of AWS."""
    return next(int(query["MetricStat"]["Period"]) for query in queries_of(alarm) if "MetricStat" in query)


def interval_of(alarm: Alarm) -> int:
    """Seconds of AWS between two evaluations: ten for periods below a minute, else a minute."""
    return 10 if period_of(alarm) < 60 else 60


def evaluate(alarm: Alarm, statistics: Statistics, now: int, *, show: Callable[[int], str] = str) -> Verdict:
    """The alarm's state at a moment, from what was published before its last whole minute (or ten seconds).

    The window slides: an alarm over five minutes is evaluated every minute, on the five minutes before. `show` writes a
    moment as the reason should name it.
    """
    period = period_of(alarm)
    end = now - now % interval_of(alarm)
    length = int(alarm["EvaluationPeriods"]) + _SPARE_PERIODS
    starts = [end - period * (length - at) for at in range(length)]
    points = series_of(queries_of(alarm), statistics, starts, period)
    if _has_too_few_samples(alarm, statistics, starts[0], end):
        return Verdict(str(alarm["StateValue"]), str(alarm.get("StateReason", "")))
    return judge(alarm, list(zip(starts, points, strict=True)), show=show)


def series_of(
    queries: Sequence[Mapping[str, Any]], statistics: Statistics, starts: Sequence[int], period: int
) -> Series:
    """The datapoints of the one query that returns data, for periods that start at `starts`."""
    known = all_series(queries, statistics, starts, period)
    return next(known[query["Id"]] for query in queries if query.get("ReturnData", True))


def all_series(
    queries: Sequence[Mapping[str, Any]], statistics: Statistics, starts: Sequence[int], period: int
) -> dict[str, Series]:
    """The datapoints of every query by its id."""
    known: dict[str, Series] = {}
    for query in _order(queries):
        if stat := query.get("MetricStat"):
            metric = metric_of(stat["Metric"])
            known[query["Id"]] = [
                statistics.value(metric, stat["Stat"], start, start + period, unit=stat.get("Unit")) for start in starts
            ]
        else:
            known[query["Id"]] = Expression.parsed(query["Expression"]).evaluate(known, len(starts))
    return known


def metric_of(metric: Mapping[str, Any]) -> Metric:
    """A metric as the API writes it."""
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
    return Metric.of(metric["Namespace"], metric["MetricName"], dimensions)


def judge(alarm: Alarm, points: Sequence[tuple[int, Point]], *, show: Callable[[int], str] = str) -> Verdict:
    """The state that datapoints (start and value, oldest first, None where missing) put the alarm into.

    With EvaluationPeriods datapoints or more the latest of them are evaluated and TreatMissingData does not matter.
    With fewer, all are, and missing ones are filled in. Breaching datapoints followed by nothing but missing ones ring
    the alarm once the oldest is DatapointsToAlarm periods old.
    """
    wanted = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or wanted)
    breaches = _OPERATORS[alarm["ComparisonOperator"]][0]
    threshold = float(alarm["Threshold"])
    treatment = alarm.get("TreatMissingData") or "missing"
    present = [(at, start, value) for at, (start, value) in enumerate(points) if value is not None][-wanted:]
    breaching = [at for at, _, value in present if breaches(value, threshold)]
    filled = wanted - len(present)
    state = ALARM if len(breaching) >= needed else OK
    if filled and state == OK:
        is_old = bool(breaching) and len(points) - breaching[0] >= needed
        counts = {"present": len(present), "breaching": len(breaching), "filled": filled, "needed": needed}
        state = _with_missing(alarm, treatment, is_old=is_old, **counts)
    datapoints = tuple((start, value) for _, start, value in present)
    return Verdict(state, _reason(alarm, state, datapoints, filled, show), datapoints)


def _with_missing(
    alarm: Alarm, treatment: str, *, present: int, breaching: int, filled: int, needed: int, is_old: bool
) -> str:
    """The state when too few real datapoints breach to ring the alarm by themselves."""
    if treatment == "breaching":
        return ALARM if breaching + filled >= needed else OK
    if treatment == "notBreaching" or breaching < present:
        return OK
    # what is left is nothing at all, or breaching datapoints alone and too few of them
    if treatment == "ignore":
        return str(alarm.get("StateValue") or INSUFFICIENT_DATA)
    return ALARM if is_old else INSUFFICIENT_DATA


def _has_too_few_samples(alarm: Alarm, statistics: Statistics, start: int, end: int) -> bool:
    """Whether a percentile alarm that ignores low sample counts keeps its state."""
    if alarm.get(_LOW_SAMPLES) != "ignore" or not str(alarm.get("ExtendedStatistic", "")).startswith("p"):
        return False
    query = queries_of(alarm)[0]["MetricStat"]
    share = float(str(alarm["ExtendedStatistic"])[1:]) / 100
    least = round(10 / max(min(share, 1 - share), 1e-9), 6)
    return statistics.sample_count(metric_of(query["Metric"]), start, end, unit=query.get("Unit")) < least


def _order(queries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The queries so that each expression comes after what it names; raises AlarmRefused."""
    by_id = {query["Id"]: query for query in queries}
    if len(by_id) != len(queries):
        raise AlarmRefused("the ids of Metrics must be unique")
    ordered: list[Mapping[str, Any]] = []
    waiting = list(queries)
    while waiting:
        known = {query["Id"] for query in ordered}
        ready = [query for query in waiting if _names(query) <= known]
        if not ready:
            missing = sorted(set().union(*map(_names, waiting)) - by_id.keys())
            what = (
                f"the ids {missing} are not defined" if missing else "expressions must not name each other in a circle"
            )
            raise AlarmRefused(what)
        ordered += ready
        waiting = [query for query in waiting if query not in ready]
    return ordered


def _names(query: Mapping[str, Any]) -> frozenset[str]:
    if "Expression" not in query:
        return frozenset()
    try:
        return Expression.parsed(query["Expression"]).names
    except ExpressionError as error:
        raise AlarmRefused(str(error)) from error


def _check_query(query: Mapping[str, Any]) -> None:
    if ("MetricStat" in query) == ("Expression" in query):
        raise AlarmRefused(f"query {query['Id']} must have exactly one of MetricStat and Expression")
    if query.get("AccountId"):
        raise _absent("AccountId")
    if stat := query.get("MetricStat"):
        if not is_statistic(stat["Stat"]):
            raise _absent(f"statistic {stat['Stat']}")
        period = stat["Period"]
        if period not in (10, 20, 30) and (period < 60 or period % 60):
            raise AlarmRefused(f"Period must be 10, 20, 30 or a multiple of 60, got {period}")


def _check_lengths(alarm: Alarm) -> None:
    periods, period = int(alarm["EvaluationPeriods"]), period_of(alarm)
    needed = alarm.get("DatapointsToAlarm")
    if needed is not None and not 1 <= needed <= periods:
        raise AlarmRefused(f"DatapointsToAlarm must be from 1 to EvaluationPeriods ({periods}), got {needed}")
    longest = 7 * _DAY_S if period >= 3600 else _DAY_S
    if periods * period > longest:
        raise AlarmRefused(f"EvaluationPeriods x Period must be at most {longest} seconds, got {periods * period}")


def _reason(
    alarm: Alarm, state: str, datapoints: Sequence[tuple[int, float]], filled: int, show: Callable[[int], str]
) -> str:
    """Why, in the words that CloudWatch uses."""
    threshold, wanted = float(alarm["Threshold"]), int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or wanted)
    if not datapoints or state == INSUFFICIENT_DATA:
        if state == INSUFFICIENT_DATA:
            return f"Insufficient Data: {filled} {_plural('datapoint was', 'datapoints were', filled)} unknown."
        return (
            f"Threshold Crossed: no datapoints were received for {wanted} {_plural('period', 'periods', wanted)} and "
            f"{filled} missing {_plural('datapoint was', 'datapoints were', filled)} treated as "
            f"[{_TREATMENTS[alarm.get('TreatMissingData') or 'missing']}]."
        )
    compare, words = _OPERATORS[alarm["ComparisonOperator"]]
    counted = [each for each in datapoints if compare(each[1], threshold) == (state == ALARM)] or list(datapoints)
    shown = ", ".join(f"{value} ({show(start)})" for start, value in reversed(counted))
    least = needed if state == ALARM else wanted - needed + 1
    change = "OK -> ALARM" if state == ALARM else "ALARM -> OK"
    is_not = "" if state == ALARM else "not "
    return (
        f"Threshold Crossed: {len(counted)} out of the last {wanted} datapoints [{shown}] "
        f"{_plural('was', 'were', len(counted))} {is_not}{words} ({threshold}) "
        f"(minimum {least} {_plural('datapoint', 'datapoints', least)} for {change} transition)."
    )


def _absent(what: str) -> AlarmRefused:
    return AlarmRefused(f"{what} is not modelled by the local emulator, see docs/emulator.md")


def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many

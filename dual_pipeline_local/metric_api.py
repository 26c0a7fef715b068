"""CloudWatch's operations on metrics: what is published and what is asked for.

Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from . import alarm_evaluation
from .alarm_evaluation import AlarmRefused, metric_of
from .aws_time import AwsTime
from .errors import ApiError
from .metric_store import Distribution, Metric, MetricStore, is_statistic

Request = Mapping[str, Any]

_MOST_DATA: Final = 1000
_MOST_VALUES: Final = 150
_MOST_DIMENSIONS: Final = 30
_MOST_DATAPOINTS: Final = 1440
_MOST_RESULTS: Final = 100_800
_LARGEST: Final = 2.0**360
_OLDEST: Final = timedelta(weeks=2)
_NEWEST: Final = timedelta(hours=2)


def put_metric_data(request: Request, store: MetricStore, time: AwsTime) -> dict[str, Any]:
    """Keep what a client publishes; a datum without a Timestamp is of now."""
    namespace = str(request["Namespace"])
    if namespace.startswith("AWS/"):
        raise _invalid("The value AWS/ for parameter Namespace is invalid.")
    if request.get("EntityMetricData"):
        raise _invalid("EntityMetricData is not modelled by the local emulator, see docs/emulator.md")
    data = request.get("MetricData") or []
    if not data:
        raise ApiError("MissingParameter", "The parameter MetricData is required.")
    if len(data) > _MOST_DATA:
        raise _invalid(f"The collection MetricData must not have a size greater than {_MOST_DATA}.")
    checked = [_checked(datum, f"MetricData.member.{at}", time) for at, datum in enumerate(data, 1)]
    for datum, (moment, values, sets) in zip(data, checked, strict=True):
        dimensions = {each["Name"]: each["Value"] for each in datum.get("Dimensions") or []}
        store.add(
            Metric.of(namespace, datum["MetricName"], dimensions),
            datum.get("Unit") or "None",
            moment,
            values,
            sets=sets,
            resolution_s=datum.get("StorageResolution") or 60,
        )
    return {}


def get_metric_statistics(request: Request, store: MetricStore, time: AwsTime) -> dict[str, Any]:
    """Statistics of one metric per period; periods without data are left out."""
    names = [*(request.get("Statistics") or []), *(request.get("ExtendedStatistics") or [])]
    if not names:
        raise _invalid("At least one of the parameters Statistics and ExtendedStatistics must be specified.")
    _check_statistics(names)
    period = _checked_period(request["Period"])
    start, end = _range(request)
    if (end - start) / period > _MOST_DATAPOINTS:
        raise _invalid(
            f"You have requested up to {math.ceil((end - start) / period)} datapoints, which exceeds the limit of "
            f"{_MOST_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or decreasing the time "
            "range."
        )
    metric, found = metric_of(request), []
    for unit in [request["Unit"]] if request.get("Unit") else store.units(metric):
        for moment, each in _by_period(store, metric, time.moment(start), time.moment(end), period, unit).items():
            extended = {name: each.statistic(name) for name in request.get("ExtendedStatistics") or []}
            known = {name: value for name, value in extended.items() if value is not None}
            found.append(
                {
                    "Timestamp": _time(time.epoch_s(moment)),
                    "Unit": unit,
                    **{name: each.statistic(name) for name in request.get("Statistics") or []},
                    **({"ExtendedStatistics": known} if known else {}),
                }
            )
    return {"Label": request["MetricName"], "Datapoints": found}


def get_metric_data(request: Request, store: MetricStore, time: AwsTime) -> dict[str, Any]:
    """The series that are asked for, newest datapoint first unless asked otherwise."""
    queries = request["MetricDataQueries"]
    start, end = _range(request)
    leaves = [query["MetricStat"] for query in queries if "MetricStat" in query]
    for stat in leaves:
        _check_statistics([stat["Stat"]])
        _checked_period(stat["Period"])
    periods = {int(stat["Period"]) for stat in leaves} or {int(query.get("Period") or 60) for query in queries}
    newest_first = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    results = {}
    # expressions over metrics of unlike periods would need AWS's rules for lining them up
    if len(periods) > 1 and any("Expression" in query for query in queries):
        raise _invalid("MetricDataQueries with expressions and unlike periods are not modelled by the local emulator")
    for period in periods:
        of_period = [query for query in queries if query.get("MetricStat", {}).get("Period", period) == period]
        moments = _grid(store, of_period, time.moment(start), time.moment(end), period)
        try:
            known = alarm_evaluation.all_series(of_period, store, moments, period)
        except AlarmRefused as error:
            raise _invalid(str(error)) from error
        for query in of_period:
            points = [(at, value) for at, value in zip(moments, known[query["Id"]], strict=True) if value is not None]
            results[query["Id"]] = points[::-1] if newest_first else points
    return {
        "MetricDataResults": [
            {
                "Id": query["Id"],
                "Label": query.get("Label") or _default_label(query),
                "Timestamps": [_time(time.epoch_s(moment)) for moment, _ in results[query["Id"]]],
                "Values": [value for _, value in results[query["Id"]]],
                "StatusCode": "Complete",
            }
            for query in queries
            if query.get("ReturnData", True)
        ]
    }


def list_metrics(request: Request, store: MetricStore) -> dict[str, Any]:
    """Metrics that have data, by namespace, name and some of their dimensions."""
    wanted = request.get("Dimensions") or []
    found = []
    for metric in store.metrics():
        own = dict(metric.dimensions)
        if request.get("Namespace") not in (None, metric.namespace):
            continue
        if request.get("MetricName") not in (None, metric.name):
            continue
        if all(each["Name"] in own and each.get("Value") in (None, own[each["Name"]]) for each in wanted):
            dimensions = [{"Name": name, "Value": value} for name, value in sorted(own.items())]
            found.append({"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions})
    return {"Metrics": found}


def _checked(
    datum: Request, path: str, time: AwsTime
) -> tuple[int, list[tuple[float, float]], list[tuple[float, float, float, float]]]:
    """The moment, the values with their counts, and the statistic sets of one MetricDatum."""
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
    if len(given) != 1:
        raise ApiError(
            "InvalidParameterCombination",
            f"{path} must have exactly one of the parameters Value, Values and StatisticValues, got {given}.",
        )
    if len(datum.get("Dimensions") or []) > _MOST_DIMENSIONS:
        raise _invalid(f"The collection {path}.Dimensions must not have a size greater than {_MOST_DIMENSIONS}.")
    if datum.get("StorageResolution") not in (None, 1, 60):
        raise _invalid(f"The value {datum['StorageResolution']} for parameter {path}.StorageResolution is invalid.")
    values = datum.get("Values") or ([datum["Value"]] if "Value" in datum else [])
    counts = datum.get("Counts") or [1.0] * len(values)
    if len(counts) != len(values) or len(values) > _MOST_VALUES:
        raise _invalid(f"{path} must have as many Counts as Values, and at most {_MOST_VALUES}.")
    for number in (*values, *counts, *(datum.get("StatisticValues") or {}).values()):
        if not math.isfinite(number) or abs(number) > _LARGEST:
            raise _invalid(f"The value {number} for parameter {path}.Value is invalid.")
    parts = datum.get("StatisticValues")
    sets = [(parts["SampleCount"], parts["Sum"], parts["Minimum"], parts["Maximum"])] if parts else []
    moment = time.moment(_epoch(datum["Timestamp"], path)) if datum.get("Timestamp") is not None else time.now()
    return moment, list(zip(values, counts, strict=True)), sets


def _epoch(value: Any, path: str) -> float:
    found, now = _datetime(value), datetime.now(UTC)
    if not now - _OLDEST <= found <= now + _NEWEST:
        raise _invalid(
            f"The parameter {path}.Timestamp must specify a time within the past two weeks and the next two hours, "
            f"got {found.isoformat()}."
        )
    return found.timestamp()


def _datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        return _datetime(datetime.fromisoformat(value))
    return datetime.fromtimestamp(float(value), UTC)


def _range(request: Request) -> tuple[float, float]:
    """Start and end in epoch seconds."""
    start, end = (_datetime(request[name]).timestamp() for name in ("StartTime", "EndTime"))
    if start >= end:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def _check_statistics(names: list[str]) -> None:
    for name in names:
        if not is_statistic(name):
            raise _invalid(f"statistic {name} is not modelled by the local emulator, see docs/emulator.md")


def _checked_period(period: int) -> int:
    if period < 1 or (period not in (1, 5, 10, 20, 30) and period % 60):
        raise _invalid(f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, got {period}.")
    return int(period)


def _by_period(
    store: MetricStore, metric: Metric, start: int, end: int, period: int, unit: str
) -> dict[int, Distribution]:
    found: dict[int, Distribution] = defaultdict(Distribution)
    first = start - start % period
    for moment in store.moments(metric, unit=unit):
        if first <= moment < end:
            found[moment - moment % period].merge(store.distribution(metric, moment, moment + 1, unit=unit))
    return dict(found)


def _grid(store: MetricStore, queries: list[Request], start: int, end: int, period: int) -> list[int]:
    """The starts of the periods in a range, from the first that has data."""
    metrics = [metric_of(query["MetricStat"]["Metric"]) for query in queries if "MetricStat" in query]
    firsts = [found[0] for metric in metrics if (found := store.moments(metric))]
    first = max(start, min(firsts, default=end))
    moments = range(first - first % period, end, period)
    if len(moments) > _MOST_RESULTS:
        raise _invalid(f"The range holds {len(moments)} periods, more than the {_MOST_RESULTS} that one call returns.")
    return list(moments)


def _default_label(query: Request) -> str:
    return str(query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"])


def _time(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValue", message)

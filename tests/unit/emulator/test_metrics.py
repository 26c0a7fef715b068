"""Statistics, metric math and the emulator's clock."""

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local import metric_api
from dual_pipeline_local.aws_time import AwsTime, parse_scale
from dual_pipeline_local.errors import ApiError, EmulatorError
from dual_pipeline_local.metric_math import Expression, ExpressionError, Point
from dual_pipeline_local.metric_store import RETENTION_S, Distribution, Metric, MetricStore, is_statistic

LATENCY = Metric.of("AWS/SageMaker", "ModelLatency", {"EndpointName": "dev-census"})
NAMES = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
values = st.lists(st.floats(0, 1e9), min_size=2, max_size=50)


def taken(numbers: list[float]) -> Distribution:
    """A distribution of these values."""
    found = Distribution()
    for number in numbers:
        found.add(number)
    return found


@given(values)
def test_statistics_of_values(numbers: list[float]) -> None:
    """Plain statistics are those of the values, percentiles interpolate between the nearest ranks."""
    found = taken(numbers)
    assert [len(numbers), min(numbers), max(numbers)] == [found.statistic(n) for n in ("SampleCount", *NAMES[3:])]
    assert found.statistic("Sum") == pytest.approx(sum(numbers))
    hundredths = statistics.quantiles(numbers, n=100, method="inclusive")
    assert found.statistic("p90") == pytest.approx(hundredths[89])
    assert [min(numbers), max(numbers)] == [found.statistic("p0"), found.statistic("p100")]


@given(values, values)
def test_distributions_merge(first: list[float], second: list[float]) -> None:
    """Two distributions taken together are the distribution of all values."""
    both = taken(first)
    both.merge(taken(second))
    whole = taken(first + second)
    for name in (*NAMES, "p50", "p99.9"):
        assert both.statistic(name) == pytest.approx(whole.statistic(name))


def test_statistic_sets_have_no_percentiles() -> None:
    """But for sets of equal samples; without samples there is no statistic at all."""
    found = Distribution()
    assert found.statistic("Average") is None
    found.add_set(4, 8.0, 2.0, 2.0)
    assert 2.0 == found.statistic("p99")
    found.add_set(2, 10.0, 4.0, 6.0)
    assert [6, 18.0, 3.0, 2.0, 6.0, None] == [found.statistic(name) for name in (*NAMES, "p99")]


def test_which_statistics_there_are() -> None:
    """Five plain ones and percentiles up to 100."""
    known = [
        name for name in (*NAMES, "p0", "p99.9", "p100", "p101", "P99", "tm90", "IQM", "PR(1:2)") if is_statistic(name)
    ]
    assert [*NAMES, "p0", "p99.9", "p100"] == known


def test_a_span_ends_before_its_end() -> None:
    """A minute's data belongs to the minute's start, whatever the order it comes in; old data is forgotten."""
    store = MetricStore()
    for moment in (119, 60, 0):
        store.add(LATENCY, "Microseconds", moment, [(float(moment), 1)])
    assert [1.0, 2.0] == [store.value(LATENCY, "SampleCount", at, at + 60, unit=None) for at in (0, 60)]
    assert store.value(LATENCY, "SampleCount", 120, 180, unit=None) is None
    for _ in range(1000):
        store.add(LATENCY, "Microseconds", RETENTION_S + 60, [(1.0, 1)])
    assert [60, RETENTION_S + 60] == store.moments(LATENCY)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("m1 + m2", [11.0, None, None]),
        ("FILL(m2, 0) - m1 * 2", [8.0, None, -6.0]),
        ("-m1 + 2", [1.0, None, -1.0]),
        ("m1 / (m1 - 1)", [None, None, 1.5]),
        ("MAX([m1, m2])", [10.0, 20.0, 3.0]),
        ("SUM([m1, m2])", [11.0, 20.0, 3.0]),
        ("MIN([m1, m2, 2])", [1.0, 2.0, 2.0]),
        ("AVG([m1, m2])", [5.5, 20.0, 3.0]),
        ("IF(m1 >= 3, 1, 0)", [0.0, None, 1.0]),
        ("IF(m1 > 0 AND m1 < 2 || m1 == 7, m1, FILL(m2, 5))", [1.0, None, 5.0]),
        ("ABS(0 - m1)", [1.0, None, 3.0]),
        ("100 * 1e-2", [1.0, 1.0, 1.0]),
    ],
)
def test_expressions(text: str, points: list[Point]) -> None:
    """A datapoint that is missing on either side is missing in the result; so is a division by zero."""
    series = {"m1": [1.0, None, 3.0], "m2": [10.0, 20.0, None]}
    assert points == Expression.parsed(text).evaluate(series, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it ends too early"),
        ("m1 +", "it ends too early"),
        ("m1 m2", "unexpected 'm2'"),
        ("M1", "'M1' is no id, which starts with a lowercase letter"),
        ("m1 ^ 2", "cannot read '^ 2'"),
        ("SEARCH(m1)", "the function SEARCH is not modelled by the local emulator"),
        ("MAX(m1)", "MAX over the times of one series is not modelled, give it a list"),
        ("IF(m1, 2)", "IF takes 3 arguments, got 2"),
        ("FILL(m1, 0", "')' is missing"),
        ("m1 + )", "unexpected ')'"),
    ],
)
def test_bad_expressions_say_why(text: str, reason: str) -> None:
    """The message holds the expression and what is wrong with it."""
    with pytest.raises(ExpressionError) as refusal:
        Expression.parsed(text)
    assert str(refusal.value).startswith(f"expression {text!r}: ")
    assert reason in str(refusal.value)


@pytest.mark.parametrize("text", ["0", "0.0005", "1.5", "-1", "1/0", "fast", "nan", ""])
def test_a_scale_is_never_zero(text: str) -> None:
    """Neither nothing nor longer than AWS: alarm periods keep a length."""
    with pytest.raises(EmulatorError, match=r"is not between 0\.001 and 1: give the real seconds that a second"):
        parse_scale(text)


def test_moments_and_real_times() -> None:
    """At 1/60 a minute of AWS lasts a second; retries wait a tenth of their time at least."""
    time = AwsTime(parse_scale("1/60"))
    assert (60, 119, 1.0) == (time.moment(1.0), time.moment(1.99), time.real_s(60))
    assert [0.1, 0.5] == [AwsTime(scale).pause_scale for scale in (1 / 60, 0.5)]


@pytest.mark.parametrize(
    ("namespace", "datum", "message"),
    [
        ("AWS/SageMaker", {"Value": 1.0}, "The value AWS/ for parameter Namespace is invalid."),
        ("Own", {}, "must have exactly one of the parameters Value, Values and StatisticValues, got []"),
        ("Own", {"Value": float("nan")}, "The value nan for parameter MetricData.member.1.Value is invalid."),
        ("Own", {"Values": [1.0, 2.0], "Counts": [1.0]}, "must have as many Counts as Values"),
        (
            "Own",
            {"Value": 1.0, "StorageResolution": 5},
            "The value 5 for parameter MetricData.member.1.StorageResolution",
        ),
        ("Own", {"Value": 1.0, "Timestamp": 1000.0}, "within the past two weeks and the next two hours"),
    ],
)
def test_bad_data_is_refused(namespace: str, datum: dict[str, Any], message: str) -> None:
    """What AWS would refuse is not kept."""
    store = MetricStore()
    with pytest.raises(ApiError) as refusal:
        metric_api.put_metric_data(
            {"Namespace": namespace, "MetricData": [{"MetricName": "m", **datum}]}, store, AwsTime(1)
        )
    assert message in refusal.value.message
    assert [] == store.metrics()

"""How a metric alarm finds its state, on AWS's own examples and on what must hold for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local import alarm_evaluation
from dual_pipeline_local.alarm_evaluation import AlarmRefused, check, evaluate, judge
from dual_pipeline_local.metric_store import Metric, MetricStore

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
DIMENSIONS = {"EndpointName": "dev-census", "VariantName": "AllTraffic"}


def alarm(**changes: Any) -> dict[str, Any]:
    """An alarm on one metric, above 1 in 3 of 3 minutes."""
    return {
        "AlarmName": "errors",
        "Namespace": "AWS/SageMaker",
        "MetricName": "Invocation5XXErrors",
        "Dimensions": [{"Name": name, "Value": value} for name, value in DIMENSIONS.items()],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "StateValue": "OK",
        **changes,
    }


def points(text: str) -> list[tuple[int, float | None]]:
    """Datapoints as AWS writes its examples: 0 is within the threshold, X beyond it, - missing."""
    values = {"0": 0.0, "X": 2.0, "-": None}
    return [(at * 60, values[each]) for at, each in enumerate(text.split())]


@pytest.mark.parametrize(
    ("needed", "data", "states"),
    [
        (3, "0 - X - X", ("OK", "OK", "OK", "OK")),
        (3, "0 - - - -", ("OK", "OK", "OK", "OK")),
        (3, "- - - - -", ("INSUFFICIENT_DATA", "kept", "ALARM", "OK")),
        (3, "0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, "- - - - X", ("INSUFFICIENT_DATA", "kept", "ALARM", "OK")),
        (3, "- - - X -", ("INSUFFICIENT_DATA", "kept", "ALARM", "OK")),
        (3, "- - X - -", ("ALARM", "kept", "ALARM", "OK")),
        (3, "X - - - -", ("ALARM", "kept", "ALARM", "OK")),
        (2, "0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 - X - -", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - - 0", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - - X", ("INSUFFICIENT_DATA", "kept", "ALARM", "OK")),
        (2, "- - - X -", ("ALARM", "kept", "ALARM", "OK")),
    ],
)
def test_missing_data_is_treated_as_documented(needed: int, data: str, states: tuple[str, ...]) -> None:
    """AWS's tables for 3 of 3 and 2 of 3 datapoints hold, for each way to treat missing data."""
    found = [
        judge(alarm(DatapointsToAlarm=needed, TreatMissingData=each, StateValue="kept"), points(data)).state
        for each in TREATMENTS
    ]
    assert list(states) == found


@pytest.mark.parametrize(
    ("comparison", "rings"),
    [
        ("GreaterThanThreshold", [False, False, True]),
        ("GreaterThanOrEqualToThreshold", [False, True, True]),
        ("LessThanThreshold", [True, False, False]),
        ("LessThanOrEqualToThreshold", [True, True, False]),
    ],
)
def test_every_comparison(comparison: str, rings: list[bool]) -> None:
    """Values below, at and above the threshold."""
    one = alarm(EvaluationPeriods=1, ComparisonOperator=comparison)
    assert rings == [judge(one, [(0, value)]).state == "ALARM" for value in (0.0, 1.0, 2.0)]


def test_reasons_are_worded_as_on_aws() -> None:
    """Crossed, not crossed, filled in, and unknown."""
    two_of_three = alarm(DatapointsToAlarm=2, TreatMissingData="notBreaching")
    assert [
        "Threshold Crossed: 2 out of the last 3 datapoints [2.0 (240), 2.0 (120)] were greater than the threshold (1.0) "
        "(minimum 2 datapoints for OK -> ALARM transition).",
        "Threshold Crossed: 1 out of the last 3 datapoints [0.0 (0)] was not greater than the threshold (1.0) "
        "(minimum 2 datapoints for ALARM -> OK transition).",
        "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as "
        "[NonBreaching].",
        "Insufficient Data: 1 datapoint was unknown.",
    ] == [
        judge(two_of_three, points("0 - X - X")).reason,
        judge(two_of_three, points("0 - - - -")).reason,
        judge(two_of_three, points("- - - - -")).reason,
        judge(alarm(EvaluationPeriods=1), points("- - -")).reason,
    ]


def test_the_window_slides_every_minute() -> None:
    """An alarm over five minutes sees the five whole minutes before its evaluation, not those of the clock."""
    store, metric = MetricStore(), Metric.of("AWS/SageMaker", "Invocation5XXErrors", DIMENSIONS)
    store.add(metric, "None", 7 * 60, [(5.0, 1)])
    five = alarm(Period=300, EvaluationPeriods=1, TreatMissingData="notBreaching")
    states = [evaluate(five, store, minute * 60).state for minute in range(7, 30)]
    # the datapoint is looked at while it lies in the last period or in one of the two before
    assert ["OK", *["ALARM"] * 15, *["OK"] * 7] == states


def test_only_the_alarms_own_metric_counts() -> None:
    """Other dimensions, fewer dimensions and other units are other metrics."""
    store = MetricStore()
    for dimensions in ({}, {"EndpointName": "dev-census"}, {**DIMENSIONS, "VariantName": "Other"}):
        store.add(Metric.of("AWS/SageMaker", "Invocation5XXErrors", dimensions), "None", 0, [(9.0, 1)])
    one = alarm(EvaluationPeriods=1, TreatMissingData="notBreaching")
    assert "OK" == evaluate(one, store, 60).state
    store.add(Metric.of("AWS/SageMaker", "Invocation5XXErrors", DIMENSIONS), "None", 0, [(9.0, 1)])
    assert "ALARM" == evaluate(one, store, 60).state
    assert "OK" == evaluate({**one, "Unit": "Count"}, store, 60).state


def test_a_percentile_may_wait_for_samples() -> None:
    """With EvaluateLowSampleCountPercentile `ignore` a p90 needs 100 samples to change the state."""
    store, metric = MetricStore(), Metric.of("AWS/SageMaker", "Invocation5XXErrors", DIMENSIONS)
    p90 = alarm(EvaluationPeriods=1, ExtendedStatistic="p90", Statistic=None)
    store.add(metric, "None", 0, [(9.0, 99)])
    assert "ALARM" == evaluate(p90, store, 60).state
    assert "OK" == evaluate({**p90, "EvaluateLowSampleCountPercentile": "ignore"}, store, 60).state
    store.add(metric, "None", 0, [(9.0, 1)])
    assert "ALARM" == evaluate({**p90, "EvaluateLowSampleCountPercentile": "ignore"}, store, 60).state


def math(*expressions: tuple[str, str], **changes: Any) -> dict[str, Any]:
    """An alarm on expressions over m1 (4XX) and m2 (5XX), the last one returned."""
    queries: list[dict[str, Any]] = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": []},
                "Period": 60,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        for name, metric in (("m1", "Invocation4XXErrors"), ("m2", "Invocation5XXErrors"))
    ]
    queries += [{"Id": name, "Expression": text, "ReturnData": name == "e1"} for name, text in expressions]
    kept = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold", "StateValue": "OK"}
    return {"AlarmName": "math", "Metrics": queries, **kept, **changes}


def test_an_alarm_on_expressions() -> None:
    """Expressions may build on each other in any order; only the one that returns data is judged."""
    store = MetricStore()
    both = math(("e1", "e2 * 2"), ("e2", "m1 + FILL(m2, 0)"), TreatMissingData="notBreaching")
    check(both)
    store.add(Metric.of("AWS/SageMaker", "Invocation4XXErrors", {}), "None", 0, [(1.0, 1)])
    assert [(0, 2.0)] == list(evaluate(both, store, 60).datapoints)
    assert "ALARM" == evaluate(both, store, 60).state


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (alarm(ComparisonOperator="GreaterThanUpperThreshold"), "ComparisonOperator GreaterThanUpperThreshold is not"),
        (alarm(Statistic="tm90"), "statistic tm90 is not modelled"),
        (alarm(ExtendedStatistic="p99"), "exactly one of Statistic and ExtendedStatistic must be given"),
        (alarm(Statistic=None), "exactly one of Statistic and ExtendedStatistic must be given"),
        (alarm(DatapointsToAlarm=4), "DatapointsToAlarm must be from 1 to EvaluationPeriods (3), got 4"),
        (alarm(Period=45), "Period must be 10, 20, 30 or a multiple of 60, got 45"),
        (alarm(EvaluationPeriods=1441), "EvaluationPeriods x Period must be at most 86400 seconds, got 86460"),
        (alarm(ThresholdMetricId="ad1"), "ThresholdMetricId is not modelled"),
        (alarm(Threshold=None), "Threshold is required"),
        (alarm(Namespace=None), "Namespace is required"),
        (alarm(TreatMissingData="Breaching"), "TreatMissingData must be one of breaching, notBreaching, ignore"),
        (math(("e1", "ANOMALY_DETECTION_BAND(m1)")), "the function ANOMALY_DETECTION_BAND is not modelled"),
        (math(("e1", "m1 + m3")), "the ids ['m3'] are not defined"),
        (math(("e1", "e2"), ("e2", "e1")), "expressions must not name each other in a circle"),
        (math(), "exactly one of Metrics must have ReturnData true, got 0"),
        (math(("e1", "m1")) | {"MetricName": "x"}, "Metrics and MetricName must not be given together"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(refused: Mapping[str, Any], reason: str) -> None:
    """When the alarm is put, not when it should have rung; the message names what is wrong."""
    with pytest.raises(AlarmRefused) as refusal:
        check(refused)
    assert reason in str(refusal.value)


counts = st.integers(1, 6).flatmap(lambda wanted: st.tuples(st.integers(1, wanted), st.just(wanted)))
data = st.lists(st.sampled_from([None, 0.0, 2.0]), min_size=8, max_size=8)


def states(values: Sequence[float | None], needed: int, wanted: int, **changes: Any) -> dict[str, str]:
    """The state for each way to treat missing data."""
    window = [(at * 60, value) for at, value in enumerate(values)][-wanted - 2 :]
    one = alarm(DatapointsToAlarm=needed, EvaluationPeriods=wanted, **changes)
    return {each: judge({**one, "TreatMissingData": each}, window).state for each in TREATMENTS}


@given(values=data, count=counts)
def test_treatments_differ_in_missing_data_alone(values: list[float | None], count: tuple[int, int]) -> None:
    """With enough datapoints all treatments agree, and the state is the count of breaching ones."""
    needed, wanted = count
    present = [value for value in values[-wanted - 2 :] if value is not None]
    found = set(states(values, needed, wanted).values())
    if len(present) >= wanted:
        expected = "ALARM" if sum(value > 1 for value in present[-wanted:]) >= needed else "OK"
        assert {expected} == found


@given(values=data, count=counts)
def test_breaching_rings_whenever_not_breaching_does(values: list[float | None], count: tuple[int, int]) -> None:
    """Filling in breaching datapoints never quiets an alarm, filling in others never rings it."""
    found = states(values, *count)
    assert found["notBreaching"] in ("OK", found["breaching"])
    assert {found["breaching"], found["notBreaching"]} <= {"OK", "ALARM"}


@given(values=data, count=counts, before=st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"]))
def test_no_data_at_all(values: list[float | None], count: tuple[int, int], before: str) -> None:
    """Silence is what the treatment says, whatever was before."""
    found = states([None] * 8, *count, StateValue=before)
    assert {
        "missing": "INSUFFICIENT_DATA",
        "ignore": before,
        "breaching": "ALARM",
        "notBreaching": "OK",
    } == found


@given(values=data, count=counts, worse=st.integers(0, 7))
def test_a_worse_datapoint_never_quiets(values: list[float | None], count: tuple[int, int], worse: int) -> None:
    """Turning a good datapoint into a breaching one leaves ALARM what was ALARM."""
    if values[worse] == 0.0:
        changed = [*values[:worse], 2.0, *values[worse + 1 :]]
        before, after = states(values, *count), states(changed, *count)
        assert all(after[each] == "ALARM" for each in TREATMENTS if before[each] == "ALARM")


@given(values=data, count=counts)
def test_needing_more_datapoints_never_rings(values: list[float | None], count: tuple[int, int]) -> None:
    """What rings at M of N rings at M-1 of N."""
    needed, wanted = count
    if needed > 1:
        strict, loose = states(values, needed, wanted), states(values, needed - 1, wanted)
        assert all(loose[each] == "ALARM" for each in TREATMENTS if strict[each] == "ALARM")


def test_every_state_has_a_name() -> None:
    """The three states are CloudWatch's."""
    assert ("OK", "ALARM", "INSUFFICIENT_DATA") == (
        alarm_evaluation.OK,
        alarm_evaluation.ALARM,
        alarm_evaluation.INSUFFICIENT_DATA,
    )

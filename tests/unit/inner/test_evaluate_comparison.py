"""Whether one model may follow another: bootstrap, segments, gate."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_code.census.evaluate.comparison import (
    bootstrap_auc,
    gate,
    normal_interval,
    percentile_interval,
    segments,
)
from pipeline_code.census.evaluate.metrics import METRICS, auc

FLOORS = {"auc": 0.8, "accuracy": 0.7}
GOOD = {"auc": 0.9, "accuracy": 0.85, "precision": 0.7, "recall": 0.6, "f1": 0.65, "log_loss": 0.3}
PASSING: dict[str, Any] = {"baseline_auc": 0.85, "floors": FLOORS, "margin": 0.005, "champion": None}


def two_models(rows: int = 4000, *, worse: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and the same scores made worse by noise."""
    generator = np.random.default_rng(7)
    labels = (generator.random(rows) < 0.3).astype(np.int8)
    scores = np.clip(labels * 0.3 + generator.random(rows) * 0.7, 0, 1).round(3)
    return labels, scores, np.clip(scores + worse * generator.normal(size=rows), 0, 1)


def delong_deviation(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """The standard deviation of the difference of two correlated AUCs after DeLong et al. 1988."""
    parts = []
    for scores in (first, second):
        wins = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        placed = (wins > 0) + 0.5 * (wins == 0)
        parts.append((placed.mean(axis=1), placed.mean(axis=0)))
    spread = [(parts[0][side] - parts[1][side]).var(ddof=1) / len(parts[0][side]) for side in (0, 1)]
    return math.sqrt(sum(spread))


def test_the_bootstrap_agrees_with_delong() -> None:
    """The spread of the difference is what theory says of correlated AUCs, and so are both ends of its interval."""
    labels, first, second = two_models(2000, worse=0.2)
    resampled = bootstrap_auc(labels, [first, second], seed=1)
    differences = resampled[:, 0] - resampled[:, 1]
    deviation = delong_deviation(labels, first, second)
    centre = auc(labels, first) - auc(labels, second)
    assert differences.std(ddof=1) == pytest.approx(deviation, rel=0.1)
    expected = [NormalDist(centre, deviation).inv_cdf(share) for share in (0.025, 0.975)]
    assert percentile_interval(differences) == pytest.approx(expected, abs=deviation / 3)
    assert normal_interval(differences, centre=centre, confidence=0.95) == pytest.approx(expected, abs=deviation / 3)


def test_the_bootstrap_is_seeded_and_paired() -> None:
    """The same seed gives the same numbers, and a model compared with itself differs on no resample."""
    labels, first, _ = two_models(worse=0)
    resampled = bootstrap_auc(labels, [first, first], seed=1)
    assert (1000, 2) == resampled.shape
    assert (resampled[:, 0] == resampled[:, 1]).all()
    assert resampled.tobytes() == bootstrap_auc(labels, [first, first], seed=1).tobytes()
    assert (resampled != bootstrap_auc(labels, [first, first], seed=2)).any()


def test_large_holdouts_are_resampled_less() -> None:
    """Their intervals are narrow, and time shall not grow without bounds."""
    labels, first, _ = two_models(300_000, worse=0)
    assert 333 == len(bootstrap_auc(labels, [first], seed=1))


def test_a_regression_of_a_segment_is_flagged() -> None:
    """A value where the challenger lost much is marked, one where it did not is not."""
    labels, champion, noisy = two_models(worse=1.0)
    place = np.where(np.arange(len(labels)) % 4 == 0, "north", "south")
    challenger = np.where(place == "north", noisy, champion)
    table = segments(labels, challenger, champion, columns={"place": place.tolist()}, margin=0.005, seed=1)
    assert [("north", True, None), ("south", False, None)] == [
        (row["value"], row["regression"], row["note"]) for row in table
    ]
    assert table[0]["difference"] == table[0]["auc"] - table[0]["champion_auc"]
    assert table[0]["interval"][0] < table[0]["difference"] < table[0]["interval"][1] < 0


def test_a_loss_within_the_margin_is_no_regression() -> None:
    """However sure it is."""
    labels, champion, noisy = two_models(worse=1.0)
    (row,) = segments(labels, noisy, champion, columns={"all": ["x"] * len(labels)}, margin=0.5, seed=1)
    assert row["interval"][1] < 0
    assert not row["regression"]


def test_more_segments_widen_each_interval() -> None:
    """Bonferroni's: of twenty segments each gets a twentieth of the error; those not judged get none."""
    labels, champion, noisy = two_models(worse=0.1)
    everybody, few = ["x"] * len(labels), ["a"] * 10 + ["x"] * (len(labels) - 10)
    alone, also_few = (
        segments(labels, noisy, champion, columns=columns, margin=0.005, seed=1)[-1]
        for columns in ({"all": everybody}, {"few": few})
    )
    ten = {str(at): everybody for at in range(20)}
    among_twenty = segments(labels, noisy, champion, columns=ten, margin=0.005, seed=1)[0]
    width = {name: row["interval"][1] - row["interval"][0] for name, row in (("1", alone), ("20", among_twenty))}
    reach = NormalDist().inv_cdf
    assert reach(1 - 0.025 / 20) / reach(0.975) == pytest.approx(width["20"] / width["1"])
    assert also_few["interval"][1] - also_few["interval"][0] == pytest.approx(width["1"], rel=0.1)


def test_a_small_segment_is_not_judged() -> None:
    """It says why, and is never a regression; missing values are a segment too."""
    labels, champion, noisy = two_models(worse=1.0)
    values = [None] * 60 + ["x"] * (len(labels) - 60)
    missing, _ = segments(labels, noisy, champion, columns={"place": values}, margin=0.005, seed=1)
    positives = int(labels[:60].sum())
    assert {
        "column": "place",
        "value": None,
        "rows": 60,
        "positives": positives,
        "auc": None,
        "champion_auc": None,
        "difference": None,
        "interval": None,
        "note": f"too small to judge: {positives} positive and {60 - positives} negative rows, 50 of each are needed",
        "regression": False,
    } == missing


def test_without_a_champion_segments_have_their_auc_alone() -> None:
    """There is nothing to regress from."""
    labels, scores, _ = two_models(worse=0)
    (row,) = segments(labels, scores, None, columns={"all": ["x"] * len(labels)}, margin=0.005, seed=1)
    assert (auc(labels, scores), None, None, False) == (
        row["auc"],
        row["champion_auc"],
        row["interval"],
        row["regression"],
    )


def test_a_good_model_passes() -> None:
    """Above the floors, better than the baseline, no worse than the champion: no reasons."""
    assert [] == gate(GOOD, **PASSING)
    assert [] == gate(GOOD, **{**PASSING, "champion": {"interval": [-0.005, 0.01]}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"auc": 0.79}, "auc 0.7900 is below the floor 0.8"),
        ({"accuracy": 0.5}, "accuracy 0.5000 is below the floor 0.7"),
        ({"auc": 0.84}, "auc 0.8400 is no better than the baseline's 0.8500"),
        ({"auc": math.nan}, "auc is nan, which is no possible value"),
        ({"auc": None}, "auc is None, which is no possible value"),
        ({"auc": "0.9"}, "auc is '0.9', which is no possible value"),
        ({"auc": True}, "auc is True, which is no possible value"),
        ({"auc": 1.01}, "auc is 1.01, which is no possible value"),
        ({"recall": -0.1}, "recall is -0.1, which is no possible value"),
        ({"log_loss": math.inf}, "log_loss is inf, which is no possible value"),
    ],
)
def test_each_fault_of_a_metric_shuts_the_gate(change: dict[str, Any], reason: str) -> None:
    """Below a floor, no better than the baseline, or impossible: one sentence each."""
    reasons = gate({**GOOD, **change}, **PASSING)
    assert reason == reasons[0]
    assert all("baseline" in other for other in reasons[1:])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"baseline_auc": None}, "the baseline's auc is None, which is no possible value"),
        ({"floors": {"auc": math.nan}}, "the floor of auc is nan; give a number from 0 to 1"),
        ({"floors": {"specificity": 0.5}}, "specificity is None, which is no possible value"),
        ({"margin": math.nan}, "the largest accepted loss of auc is nan; give a number from 0 to 1"),
        ({"margin": -0.1}, "the largest accepted loss of auc is -0.1; give a number from 0 to 1"),
        (
            {"champion": {"interval": [-0.02, 0.01]}},
            "the challenger may be worse than the champion: the difference of their AUCs lies between -0.0200 and "
            "+0.0100, and a loss of at most 0.005 is accepted",
        ),
        (
            {"champion": {"interval": [-0.02, -0.01]}},
            "the challenger is worse than the champion: the difference of their AUCs lies between -0.0200 and "
            "-0.0100, and a loss of at most 0.005 is accepted",
        ),
        (
            {"champion": {"interval": None}},
            "the interval of the difference to the champion is None, which is no possible value",
        ),
    ],
)
def test_each_fault_around_the_metrics_shuts_the_gate(change: dict[str, Any], reason: str) -> None:
    """An impossible floor, margin, baseline or comparison, and a champion that is better."""
    assert [reason] == gate(GOOD, **{**PASSING, **change})


no_rate: st.SearchStrategy[Any] = st.one_of(
    st.floats(max_value=-1e-9),
    st.floats(min_value=1.0000001),
    st.sampled_from([math.nan, math.inf, None, True, False, "0.99", [], {}]),
    st.text(),
)


@given(name=st.sampled_from(METRICS), value=no_rate)
def test_no_impossible_metric_passes(name: str, value: Any) -> None:
    """NaN, null, text, a truth value or a number out of range, of any metric."""
    impossible = name != "log_loss" or not (isinstance(value, float) and 0 <= value < math.inf)
    assert bool(gate({**GOOD, name: value}, **PASSING)) == impossible


@given(missing=st.sets(st.sampled_from(METRICS), min_size=1))
def test_no_missing_metric_passes(missing: set[str]) -> None:
    """A metric that is not there is not passed over."""
    assert gate({name: value for name, value in GOOD.items() if name not in missing}, **PASSING)


@given(value=no_rate, setting=st.sampled_from(["baseline_auc", "margin", "floor"]))
def test_no_impossible_setting_passes(value: Any, setting: str) -> None:
    """What the metrics are held against must be possible too."""
    change = {"floors": {**FLOORS, "accuracy": value}} if setting == "floor" else {setting: value}
    assert gate(GOOD, **{**PASSING, **change})


no_end: st.SearchStrategy[Any] = st.one_of(
    st.floats(max_value=-0.0051), st.floats(min_value=1.01), st.sampled_from([math.nan, None, "0", True])
)


@given(
    interval=st.one_of(
        st.none(),
        st.text(),
        st.lists(st.floats(0, 1), max_size=1),
        st.lists(st.floats(0, 1), min_size=3, max_size=4),
        st.tuples(no_end, st.floats(0, 1)),
        st.tuples(st.floats(0, 1), no_end),
        st.tuples(st.floats(0.5, 1), st.floats(-1, 0.4)),
    )
)
def test_no_impossible_or_inferior_interval_passes(interval: Any) -> None:
    """A comparison with the champion passes only by two ordered numbers, the lower one above the accepted loss."""
    assert gate(GOOD, **{**PASSING, "champion": {"interval": interval}})
    assert gate(GOOD, **{**PASSING, "champion": {}})


@given(
    low=st.floats(-1, 1),
    width=st.floats(0, 1),
    margin=st.floats(0, 1),
    values=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_whatever_passes_keeps_every_promise(low: float, width: float, margin: float, values: list[float]) -> None:
    """The gate is open exactly where all four rules hold."""
    found_auc, accuracy, baseline, floor = values
    interval = [low, min(low + width, 1.0)]
    reasons = gate(
        {**GOOD, "auc": found_auc, "accuracy": accuracy},
        baseline_auc=baseline,
        floors={"auc": floor, "accuracy": floor},
        margin=margin,
        champion={"interval": interval},
    )
    assert (not reasons) == (min(found_auc, accuracy) >= floor and found_auc > baseline and low >= -margin)

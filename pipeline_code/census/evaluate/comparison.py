"""Whether one model may follow another: paired bootstrap, segments, and the gate.

AUCs of models on the same rows are correlated, so rows are drawn once for both: a paired, stratified bootstrap (Efron
and Tibshirani 1993, An Introduction to the Bootstrap; for ROC curves Robin et al. 2011, pROC,
https://doi.org/10.1186/1471-2105-12-77). Non-inferiority: the lower end of the 95 % interval must not lie below minus
the margin (Piaggio et al. 2012, https://doi.org/10.1001/jama.2012.87802).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from .metrics import METRICS, auc

CONFIDENCE = 0.95
FEWEST_OF_A_CLASS = 50
FEWEST_RESAMPLES, MOST_RESAMPLES, MOST_DRAWS = 200, 1000, 100_000_000


def bootstrap_auc(labels: np.ndarray, scores: Sequence[np.ndarray], *, seed: int) -> np.ndarray:
    """The AUC of each score column on each resample of the rows: a row per resample, a column per model.

    Positives and negatives are drawn apart, so no resample lacks a class. Scores are sorted once and a resample is how
    often each row was drawn: time is linear in rows, memory a few columns. 1000 resamples up to 100,000 rows, then
    fewer, at least 200: the more rows, the narrower the interval, and the less its own error matters.
    """
    generator = np.random.default_rng(seed)
    negatives, positives = int((labels == 0).sum()), int((labels == 1).sum())
    sorted_once = [_order(column[labels == 0], column[labels == 1]) for column in scores]
    resamples = min(MOST_RESAMPLES, max(FEWEST_RESAMPLES, MOST_DRAWS // len(labels)))
    found = np.empty((resamples, len(scores)))
    for at in range(resamples):
        drawn, weights = _draw(generator, negatives), _draw(generator, positives)
        for model, (order, below, up_to) in enumerate(sorted_once):
            beaten = np.concatenate(([0], np.cumsum(drawn[order])))
            found[at, model] = weights @ (beaten[below] + beaten[up_to]) / (2 * negatives * positives)
    return found


def percentile_interval(differences: np.ndarray) -> list[float]:
    """The 95 % interval of resampled differences."""
    tail = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(differences, [tail, 1 - tail])]


def normal_interval(differences: np.ndarray, *, centre: float, confidence: float) -> list[float]:
    """The interval of a difference by its resampled standard deviation, for tails too thin to count resamples in."""
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * float(differences.std(ddof=1))
    return [centre - reach, centre + reach]


def segments(
    labels: np.ndarray,
    scores: np.ndarray,
    champion_scores: np.ndarray | None,
    *,
    columns: Mapping[str, Sequence[Any]],
    margin: float,
    seed: int,
) -> list[dict[str, Any]]:
    """AUC of each value of each column, beside the champion's, and whether the challenger regressed there.

    A regression is a loss beyond `margin` whose whole interval lies below zero. Many segments give chance many tries:
    the intervals are Bonferroni's, so that all of them together err in at most 5 % of evaluations.
    """
    members = list(_members(columns))
    judged = [_is_large_enough(labels[rows]) for _, _, rows in members]
    confidence = 1 - (1 - CONFIDENCE) / max(sum(judged), 1)
    table = []
    for (column, value, rows), enough in zip(members, judged, strict=True):
        truth = labels[rows]
        positives = int(truth.sum())
        row: dict[str, Any] = {
            "column": column,
            "value": value,
            "rows": len(truth),
            "positives": positives,
            **dict.fromkeys(("auc", "champion_auc", "difference", "interval", "note")),
            "regression": False,
        }
        if not enough:
            row["note"] = (
                f"too small to judge: {positives} positive and {len(truth) - positives} negative rows, "
                f"{FEWEST_OF_A_CLASS} of each are needed"
            )
        else:
            row["auc"] = auc(truth, scores[rows])
            if champion_scores is not None:
                row["champion_auc"] = auc(truth, champion_scores[rows])
                row["difference"] = row["auc"] - row["champion_auc"]
                resampled = bootstrap_auc(truth, [scores[rows], champion_scores[rows]], seed=seed)
                row["interval"] = normal_interval(
                    resampled[:, 0] - resampled[:, 1], centre=row["difference"], confidence=confidence
                )
                row["regression"] = row["difference"] < -margin and row["interval"][1] < 0
        table.append(row)
    return table


def gate(
    values: Mapping[str, Any],
    *,
    baseline_auc: Any,
    floors: Mapping[str, Any],
    margin: Any,
    champion: Mapping[str, Any] | None,
) -> list[str]:
    """Why the model must not be registered, a sentence each; none when it passes.

    Nothing is taken on trust: what is not a plain number in its range (NaN, null, text, a missing metric, a floor
    outside 0 to 1) is a reason, never a pass. `champion` holds the `interval` of the difference of AUCs, or is None
    where there is nobody to compare with.
    """
    names = dict.fromkeys((*METRICS, *floors))
    reasons = [f"{name} is {values.get(name)!r}, which is no possible value" for name in names if not _ok(name, values)]
    for name, floor in floors.items():
        if not _is_rate(floor):
            reasons.append(f"the floor of {name} is {floor!r}; give a number from 0 to 1")
        elif _ok(name, values) and not values[name] >= floor:
            reasons.append(f"{name} {values[name]:.4f} is below the floor {floor}")
    if not _is_rate(baseline_auc):
        reasons.append(f"the baseline's auc is {baseline_auc!r}, which is no possible value")
    elif _ok("auc", values) and not values["auc"] > baseline_auc:
        reasons.append(f"auc {values['auc']:.4f} is no better than the baseline's {baseline_auc:.4f}")
    if not _is_rate(margin):
        reasons.append(f"the largest accepted loss of auc is {margin!r}; give a number from 0 to 1")
    elif champion is not None:
        reasons += _inferior(champion.get("interval"), margin)
    return reasons


def _inferior(interval: Any, margin: float) -> list[str]:
    if not _is_interval(interval):
        return [f"the interval of the difference to the champion is {interval!r}, which is no possible value"]
    low, high = interval
    if low >= -margin:
        return []
    certainty = "is" if high < 0 else "may be"
    return [
        f"the challenger {certainty} worse than the champion: the difference of their AUCs lies between {low:+.4f} and "
        f"{high:+.4f}, and a loss of at most {margin} is accepted"
    ]


def _ok(name: str, values: Mapping[str, Any]) -> bool:
    value: Any = values.get(name)
    return _is_number(value) and value >= 0 and (name == "log_loss" or value <= 1)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_interval(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    return all(_is_number(end) and -1 <= end <= 1 for end in value) and value[0] <= value[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_large_enough(labels: np.ndarray) -> bool:
    positives = int(labels.sum())
    return min(positives, len(labels) - positives) >= FEWEST_OF_A_CLASS


def _members(columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Column, value and row numbers of each segment; the missing are a segment of their own."""
    for column, values in columns.items():
        texts = np.array(["" if value is None else str(value) for value in values])
        for text in np.unique(texts):
            yield column, str(text) or None, np.flatnonzero(texts == text)


def _order(negatives: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order of the negatives, and how many of them lie below each positive, ties left out and ties taken in."""
    order = np.argsort(negatives, kind="stable")
    ranked = negatives[order]
    return order, np.searchsorted(ranked, positives, "left"), np.searchsorted(ranked, positives, "right")


def _draw(generator: np.random.Generator, rows: int) -> np.ndarray:
    return np.bincount(generator.integers(0, rows, rows), minlength=rows)

"""Metrics, the baseline and the gate; arrays in, plain values out."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..contract import DataError

Row = tuple[Any, ...]

BASELINE = "logistic regression fitted on the same train split and judged on the same holdout"
RESAMPLES = 200
GOLDEN_ROWS = 8
TOLERANCE = 1e-6


def evaluation(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    baseline_scores: np.ndarray,
    floors: Mapping[str, float],
    seed: int,
) -> dict[str, Any]:
    """The report of the holdout in Model Monitor's model-quality layout, with baseline, gate and data set.

    A metric that cannot be computed is null and never passes.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise DataError(f"the holdout must hold both classes, got {positives} positive of {len(labels)} rows")
    values = metrics(labels, scores)
    deviations = standard_deviations(labels, scores, seed=seed)
    baseline = metrics(labels, baseline_scores)
    reasons = gate(values, baseline, floors)
    return {
        "binary_classification_metrics": {
            name: {"value": _or_null(value), "standard_deviation": _or_null(deviations[name])}
            for name, value in values.items()
        },
        "baseline": {**{name: _or_null(value) for name, value in baseline.items()}, "description": BASELINE},
        "gate": {"passed": not reasons, "reasons": reasons},
        "dataset": {"rows": len(labels), "positives": positives},
    }


def metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Every metric by name; `scores` are probabilities of class 1, a row counts as positive above 0.5."""
    if not (np.isfinite(scores) & (scores >= 0) & (scores <= 1)).all():
        return dict.fromkeys(("auc", "accuracy", "precision", "recall", "f1", "log_loss"), math.nan)
    predicted = scores > 0.5
    hits = float(np.sum(predicted & (labels == 1)))
    precision = hits / max(float(predicted.sum()), 1.0)
    recall = hits / float(labels.sum())
    likely = np.clip(np.where(labels == 1, scores, 1 - scores), 1e-15, 1)
    return {
        "auc": auc(labels, scores),
        "accuracy": float(np.mean(predicted == labels)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "log_loss": float(-np.log(likely).mean()),
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a positive and a negative that the scores order rightly, a tie counting half."""
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    positives = int(labels.sum())
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def standard_deviations(labels: np.ndarray, scores: np.ndarray, *, seed: int) -> dict[str, float]:
    """The spread of each metric over bootstrap resamples of the holdout."""
    generator = np.random.default_rng(seed)
    samples: list[dict[str, float]] = []
    while len(samples) < RESAMPLES:
        rows = generator.integers(0, len(labels), len(labels))
        if 0 < labels[rows].sum() < len(rows):
            samples.append(metrics(labels[rows], scores[rows]))
    return {name: float(np.std([sample[name] for sample in samples], ddof=1)) for name in samples[0]}


def gate(values: Mapping[str, float], baseline: Mapping[str, float], floors: Mapping[str, float]) -> list[str]:
    """Why the model must not be registered, a sentence each; none when it passes."""
    reasons = []
    for name in {**floors, **values}:
        value = values.get(name)
        most = math.inf if name == "log_loss" else 1
        if value is None or not math.isfinite(value) or not 0 <= value <= most:
            reasons.append(f"{name} is {value}, which is no possible value")
        elif not value >= floors.get(name, -math.inf):  # a floor that is NaN is never reached
            reasons.append(f"{name} {value:.4f} is below the floor {floors[name]}")
    if not reasons and not values["auc"] > baseline["auc"]:
        reasons.append(f"auc {values['auc']:.4f} is no better than the baseline's {baseline['auc']:.4f}")
    return reasons


def fit_baseline(
    numbers: np.ndarray, labels: np.ndarray, encoding: Mapping[str, Any]
) -> Callable[[np.ndarray], np.ndarray]:
    """A scorer of encoded rows: ridge logistic regression by Newton's method, categories one-hot, gaps at the mean."""
    means, scales = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0) + 1e-9

    def design(rows: np.ndarray) -> np.ndarray:
        columns: list[np.ndarray] = [np.ones(len(rows))]
        for at, name in enumerate(encoding["features"]):
            if name in encoding["categories"]:
                columns += [rows[:, at] == code for code in range(len(encoding["categories"][name]))]
            else:
                columns.append(np.nan_to_num((rows[:, at] - means[at]) / scales[at]))
        return np.column_stack(columns).astype(float)

    def score(matrix: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-np.clip(matrix @ weights, -30, 30))))

    matrix = design(numbers)
    weights = np.zeros(matrix.shape[1])
    for _ in range(25):
        scores = score(matrix)
        slope = matrix.T @ (scores - labels) + weights
        curvature = (matrix * (scores * (1 - scores))[:, None]).T @ matrix + np.eye(len(weights))
        step = np.linalg.solve(curvature, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return lambda rows: score(design(rows))


def golden_rows(rows: Sequence[Row], scores: np.ndarray, answer: Callable[[str], list[float]]) -> dict[str, Any]:
    """Holdout rows from the lowest to the highest score and one with gaps, with what the model answers to them."""
    order = np.argsort(scores, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(GOLDEN_ROWS, len(order))).astype(int)]
    gaps = [row for row in rows if None in row][:1]
    body = to_csv([*(rows[at] for at in picked), *gaps])
    return {
        "content_type": "text/csv",
        "accept": "application/json",
        "body": body,
        "expected": answer(body),
        "tolerance": TOLERANCE,
    }


def to_csv(rows: Sequence[Row]) -> str:
    """Rows as a request body; what is missing stays empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""What a holdout's scores are worth; arrays in, plain values out."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

RATES = ("auc", "accuracy", "precision", "recall", "f1")
METRICS = (*RATES, "log_loss")
CURVE_POINTS = 200
CALIBRATION_BINS = 10
RESAMPLES = 1000


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every score is a number from 0 to 1."""
    return bool((np.isfinite(scores) & (scores >= 0) & (scores <= 1)).all())


def metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Every metric by name; a row counts as positive above 0.5. All are NaN when a score is no probability."""
    if not are_probabilities(scores):
        return dict.fromkeys(METRICS, math.nan)
    cells = _cells(labels, scores)
    return {
        "auc": auc(labels, scores),
        **{name: float(value[0]) for name, value in _rates(cells[None]).items()},
        "log_loss": float(_losses(labels, scores).mean()),
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a positive and a negative that the scores order rightly, a tie counting half."""
    negatives = np.sort(scores[labels == 0])
    positives = scores[labels == 1]
    beaten = np.searchsorted(negatives, positives, "left").sum() + np.searchsorted(negatives, positives, "right").sum()
    return float(beaten / (2 * len(negatives) * len(positives)))


def deviations(labels: np.ndarray, scores: np.ndarray, *, auc_deviation: float, seed: int) -> dict[str, float]:
    """The standard deviation of each metric over bootstrap resamples of the holdout; the AUC's is given.

    What counts rows needs no rows: the four cells of a resample's confusion matrix are one multinomial draw.
    """
    if not are_probabilities(scores):
        return dict.fromkeys(METRICS, math.nan)
    cells = _cells(labels, scores)
    draws = np.random.default_rng(seed).multinomial(len(labels), cells / len(labels), size=RESAMPLES)
    return {
        "auc": auc_deviation,
        **{name: float(values.std(ddof=1)) for name, values in _rates(draws).items()},
        "log_loss": float(_losses(labels, scores).std(ddof=1) / math.sqrt(len(labels))),
    }


def confusion(labels: np.ndarray, scores: np.ndarray) -> dict[str, dict[str, int]]:
    """Rows by true class, then by predicted class."""
    predicted = scores > 0.5
    return {
        str(truth): {str(answer): int(((labels == truth) & (predicted == bool(answer))).sum()) for answer in (0, 1)}
        for truth in (0, 1)
    }


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """The ROC and the precision-recall curve, thinned to CURVE_POINTS each, their ends kept."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last row of each run of ties
    hits = np.cumsum(labels[order], dtype=np.int64)[ends]
    picked = ends + 1
    positives = hits[-1]
    roc = _thinned(np.append(0, (picked - hits) / (len(labels) - positives)), np.append(0, hits / positives))
    precision_recall = _thinned(np.append(1, hits / picked), np.append(0, hits / positives))
    return {
        "receiver_operating_characteristic_curve": dict(
            zip(("false_positive_rates", "true_positive_rates"), roc, strict=True)
        ),
        "precision_recall_curve": dict(zip(("precisions", "recalls"), precision_recall, strict=True)),
    }


def calibration(labels: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Mean score and share of positives of tenths of the holdout, from the lowest scores to the highest."""
    bins = [rows for rows in np.array_split(np.argsort(scores, kind="stable"), CALIBRATION_BINS) if len(rows)]
    return {
        "predicted": [round(float(scores[rows].mean()), 6) for rows in bins],
        "observed": [round(float(labels[rows].mean()), 6) for rows in bins],
    }


def or_null(value: float) -> float | None:
    """The value, or null where JSON has no word for it."""
    return value if math.isfinite(value) else None


def all_or_null(values: Mapping[str, float]) -> dict[str, Any]:
    """The values by name as JSON can hold them."""
    return {name: or_null(value) for name, value in values.items()}


def _cells(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.array([count for row in confusion(labels, scores).values() for count in row.values()])


def _rates(cells: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of confusion matrices, one a row: true negatives, false positives, false negatives, true positives."""
    true_negatives, false_positives, false_negatives, hits = cells.T
    precision = hits / np.maximum(hits + false_positives, 1)
    recall = hits / np.maximum(hits + false_negatives, 1)
    return {
        "accuracy": (true_negatives + hits) / cells.sum(axis=1),
        "precision": precision,
        "recall": recall,
        "f1": 2 * hits / np.maximum(2 * hits + false_positives + false_negatives, 1),
    }


def _losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    likely = np.where(labels == 1, scores, 1 - scores).astype(np.float64)
    return np.asarray(-np.log(np.clip(likely, 1e-15, 1)))


def _thinned(*columns: np.ndarray) -> tuple[list[float], ...]:
    rows = len(columns[0])
    kept = np.unique(np.linspace(0, rows - 1, min(rows, CURVE_POINTS)).round().astype(int))
    return tuple(column[kept].astype(float).round(6).tolist() for column in columns)

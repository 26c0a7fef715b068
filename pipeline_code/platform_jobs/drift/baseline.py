"""What the champion learned and how good it was: the documents that its evaluation left."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import DriftError

BASELINE_FILE = "drift_baseline.json"
EVALUATION_FILE = "evaluation.json"
_MEND = "release a model that the present inner loop has trained, or give the model project drift=None"


class Estimate(NamedTuple):
    """A metric of the holdout with its standard deviation."""

    value: float
    deviation: float


class Baseline(NamedTuple):
    """What is compared with: features by name in the order of a request's columns, predictions, labels, quality.

    `missing` are the texts that stand for no value; `labels` counts the holdout's by class, `classes` says how ground
    truth may spell each. A metric that the evaluation could not compute is None.
    """

    features: Mapping[str, Mapping[str, Any]]
    missing: frozenset[str]
    predictions: Mapping[str, Any]
    labels: tuple[int, int]
    classes: Mapping[str, int]
    auc: Estimate | None
    accuracy: Estimate | None


def read_baseline(folder: Path) -> Baseline:
    """The baseline in an evaluation's folder; raises DriftError where it is not what an evaluation writes."""
    documents = [_read(folder, name) for name in (BASELINE_FILE, EVALUATION_FILE)]
    try:
        return baseline_of(*documents)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DriftError(f"{BASELINE_FILE} of the champion cannot be compared with: {_told(error)}; {_MEND}") from error


def baseline_of(drift: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Baseline:
    """The documents as a Baseline; raises KeyError, TypeError or ValueError where they are incomplete."""
    features = {name: _feature(name, drift["features"][name]) for name in drift["columns"]}
    predictions, labels = drift["predictions"], drift["labels"]
    _check_counts("predictions", predictions["counts"], len(predictions["edges"]) - 1)
    return Baseline(
        features=features,
        missing=frozenset(drift["missing_values"]),
        predictions=predictions,
        labels=(int(labels["0"]), int(labels["1"])),
        classes={str(text): int(value) for text, value in drift["label_values"].items()},
        auc=_estimate(evaluation, "auc"),
        accuracy=_estimate(evaluation, "accuracy"),
    )


def _feature(name: str, found: Mapping[str, Any]) -> Mapping[str, Any]:
    if found["kind"] == "numeric":
        _check_counts(name, found["counts"], len(found["edges"]) + 1)
    elif found["kind"] == "categorical":
        _check_counts(name, list(found["counts"].values()), len(found["counts"]))
        int(found["unseen"])
    else:
        raise ValueError(f"feature {name} is of kind {found['kind']!r}, neither numeric nor categorical")
    int(found["missing"])
    return found


def _check_counts(name: str, counts: Sequence[Any], wanted: int) -> None:
    if len(counts) != wanted or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError(f"{name} must have {wanted} counts, got {counts!r}")


def _estimate(evaluation: Mapping[str, Any], name: str) -> Estimate | None:
    metric = evaluation["binary_classification_metrics"][name]
    if metric["value"] is None or metric["standard_deviation"] is None:
        return None
    return Estimate(float(metric["value"]), float(metric["standard_deviation"]))


def _read(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DriftError(f"{name} of the champion cannot be read ({error}); {_MEND}") from error


def _told(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)

"""What a holdout's scores are worth."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline_code.census.evaluate.metrics import (
    CURVE_POINTS,
    METRICS,
    auc,
    calibration,
    confusion,
    curves,
    deviations,
    metrics,
)

Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def sample() -> Sample:
    """Labels, and scores that know something of them, with ties."""
    generator = np.random.default_rng(5)
    labels = (generator.random(2000) < 0.3).astype(np.int8)
    scores = np.clip(labels * 0.3 + generator.random(2000) * 0.7, 0.001, 0.999).round(2)
    return labels, scores


def test_metrics_equal_those_of_scikit_learn(sample: Sample) -> None:
    """Each is what everybody means by its name, ties in the scores included."""
    labels, scores = sample
    predicted = scores > 0.5
    expected = {
        "auc": reference.roc_auc_score(labels, scores),
        "accuracy": reference.accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted),
        "recall": reference.recall_score(labels, predicted),
        "f1": reference.f1_score(labels, predicted),
        "log_loss": reference.log_loss(labels, scores),
    }
    assert metrics(labels, scores) == pytest.approx(expected)


def test_a_model_that_never_says_yes_has_metrics() -> None:
    """No division by zero."""
    found = metrics(np.array([0, 1, 0]), np.array([0.1, 0.2, 0.3]))
    assert (0.0, 0.0, 0.0, 0.5) == tuple(found[name] for name in ("precision", "recall", "f1", "auc"))


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.1, math.inf])
def test_scores_that_are_no_probabilities_have_no_metrics(sample: Sample, bad: float) -> None:
    """One such score makes every metric and deviation NaN."""
    labels, scores = sample
    scores[0] = bad
    spread = deviations(labels, scores, auc_deviation=0.1, seed=1)
    assert all(map(math.isnan, [*metrics(labels, scores).values(), *spread.values()]))


def test_deviations_are_those_of_resampled_rows(sample: Sample) -> None:
    """As when rows are drawn one by one, at a thousandth of the cost, and the same for the same seed."""
    labels, scores = sample
    generator = np.random.default_rng(3)
    draws = [generator.integers(0, 2000, 2000) for _ in range(400)]
    resampled = [metrics(labels[rows], scores[rows]) for rows in draws]
    expected = {name: np.std([each[name] for each in resampled], ddof=1) for name in METRICS}
    found = deviations(labels, scores, auc_deviation=float(expected["auc"]), seed=1)
    assert found == pytest.approx(expected, rel=0.2)
    assert found == deviations(labels, scores, auc_deviation=float(expected["auc"]), seed=1)


def test_the_confusion_matrix_has_the_layout_of_model_quality(sample: Sample) -> None:
    """By true class, then by predicted class."""
    labels, scores = sample
    found = confusion(labels, scores)
    assert reference.confusion_matrix(labels, scores > 0.5).tolist() == [list(row.values()) for row in found.values()]
    assert {"0": ["0", "1"], "1": ["0", "1"]} == {truth: list(row) for truth, row in found.items()}


def test_curves_are_thinned_and_keep_their_shape() -> None:
    """At most so many points, from end to end, with the area of the whole curve."""
    generator = np.random.default_rng(2)
    labels = (generator.random(50_000) < 0.3).astype(np.int8)
    scores = np.clip(labels * 0.3 + generator.random(50_000) * 0.7, 0, 1)
    found = curves(labels, scores)
    roc = found["receiver_operating_characteristic_curve"]
    assert CURVE_POINTS == len(roc["true_positive_rates"]) == len(found["precision_recall_curve"]["recalls"])
    for values in roc.values():
        assert (0.0, 1.0) == (values[0], values[-1])
    area = np.trapezoid(roc["true_positive_rates"], roc["false_positive_rates"])
    assert area == pytest.approx(auc(labels, scores), abs=1e-3)
    both = found["precision_recall_curve"]
    average = np.trapezoid(both["precisions"], both["recalls"])
    assert average == pytest.approx(reference.average_precision_score(labels, scores), abs=5e-3)
    json.dumps(found, allow_nan=False)


def test_curves_of_few_distinct_scores_have_few_points() -> None:
    """Ties are one point."""
    found = curves(np.array([0, 1, 0, 1]), np.array([0.2, 0.2, 0.1, 0.9]))
    roc = found["receiver_operating_characteristic_curve"]
    assert ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]) == (roc["false_positive_rates"], roc["true_positive_rates"])


def test_calibration_is_on_the_diagonal_for_honest_scores() -> None:
    """A tenth of the rows per point; a score of 0.3 means three in ten."""
    generator = np.random.default_rng(4)
    scores = generator.random(100_000)
    found = calibration((generator.random(100_000) < scores).astype(np.int8), scores)
    assert 10 == len(found["predicted"])
    assert found["observed"] == pytest.approx(found["predicted"], abs=0.02)

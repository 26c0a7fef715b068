"""Metrics, baseline and gate."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline_code.census.contract import DataError
from pipeline_code.census.evaluate.logic import evaluation, fit_baseline, gate, golden_rows, metrics

FLOORS = {"auc": 0.8, "accuracy": 0.7}
GOOD = {"auc": 0.9, "accuracy": 0.85, "precision": 0.7, "recall": 0.6, "f1": 0.65, "log_loss": 0.3}
BASELINE = {**GOOD, "auc": 0.85}


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that know something of them, with ties."""
    generator = np.random.default_rng(5)
    labels = (generator.random(2000) < 0.3).astype(int)
    scores = np.clip(labels * 0.3 + generator.random(2000) * 0.7, 0.001, 0.999).round(2)
    return labels, scores


def test_metrics_equal_those_of_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Each is what everybody means by its name, ties in the scores included."""
    labels, scores = sample
    predicted = scores > 0.5
    assert metrics(labels, scores) == pytest.approx(
        {
            "auc": reference.roc_auc_score(labels, scores),
            "accuracy": reference.accuracy_score(labels, predicted),
            "precision": reference.precision_score(labels, predicted),
            "recall": reference.recall_score(labels, predicted),
            "f1": reference.f1_score(labels, predicted),
            "log_loss": reference.log_loss(labels, scores),
        }
    )


def test_the_report_has_the_model_quality_layout(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Values with deviations, baseline, gate and data set, the same for the same seed."""
    labels, scores = sample
    reports = [evaluation(labels, scores, baseline_scores=scores / 2, floors=FLOORS, seed=1) for _ in range(2)]
    assert reports[0] == reports[1]
    assert {"binary_classification_metrics", "baseline", "gate", "dataset"} == reports[0].keys()
    assert {"value", "standard_deviation"} == reports[0]["binary_classification_metrics"]["auc"].keys()
    assert {"rows": 2000, "positives": int(labels.sum())} == reports[0]["dataset"]
    assert 0.005 < reports[0]["binary_classification_metrics"]["auc"]["standard_deviation"] < 0.02


def test_a_holdout_of_one_class_is_refused() -> None:
    """No metric is made up for it."""
    with pytest.raises(DataError, match="must hold both classes, got 0 positive of 3 rows"):
        evaluation(np.zeros(3), np.ones(3), baseline_scores=np.ones(3), floors=FLOORS, seed=1)


def test_scores_that_are_no_probabilities_never_pass(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """One NaN or one score above 1 makes every metric null and the gate shut."""
    labels, scores = sample
    for bad in (math.nan, 1.5, -0.1, math.inf):
        report = evaluation(labels, np.append(scores[1:], bad), baseline_scores=scores, floors=FLOORS, seed=1)
        assert report["binary_classification_metrics"]["auc"]["value"] is None
        assert not report["gate"]["passed"]


def test_a_good_model_passes() -> None:
    """Above the floors and better than the baseline: no reasons."""
    assert [] == gate(GOOD, BASELINE, FLOORS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"auc": 0.79}, "auc 0.7900 is below the floor 0.8"),
        ({"accuracy": 0.5}, "accuracy 0.5000 is below the floor 0.7"),
        ({"auc": 0.84}, "auc 0.8400 is no better than the baseline's 0.8500"),
        ({"auc": math.nan}, "auc is nan, which is no possible value"),
        ({"auc": None}, "auc is None, which is no possible value"),
        ({"auc": 1.01}, "auc is 1.01, which is no possible value"),
        ({"recall": -0.1}, "recall is -0.1, which is no possible value"),
        ({"log_loss": math.inf}, "log_loss is inf, which is no possible value"),
    ],
)
def test_each_fault_shuts_the_gate(change: dict[str, float], reason: str) -> None:
    """Below a floor, worse than the baseline, or impossible: one sentence each."""
    assert [reason] == gate({**GOOD, **change}, BASELINE, FLOORS)


def test_a_missing_metric_shuts_the_gate() -> None:
    """A floor without its metric is not passed over."""
    without = {name: value for name, value in GOOD.items() if name != "accuracy"}
    assert ["accuracy is None, which is no possible value"] == gate(without, BASELINE, FLOORS)


def test_a_floor_that_is_no_number_is_never_reached() -> None:
    """A run started with MinAuc=nan registers nothing."""
    assert ["auc 0.9000 is below the floor nan"] == gate(GOOD, BASELINE, {**FLOORS, "auc": math.nan})


def test_the_baseline_learns_numbers_and_categories() -> None:
    """It separates what a line can separate, gaps included."""
    generator = np.random.default_rng(1)
    numbers = np.column_stack([generator.normal(size=3000), generator.integers(0, 3, 3000)]).astype(np.float32)
    labels = (numbers[:, 0] + 2 * (numbers[:, 1] == 1) + generator.normal(size=3000) * 0.3 > 1).astype(int)
    numbers[:50] = np.nan
    encoding = {"features": ["a", "b"], "categories": {"b": ["x", "y", "z"]}}
    assert metrics(labels, fit_baseline(numbers, labels, encoding)(numbers))["auc"] > 0.95


def test_golden_rows_span_the_scores_and_carry_the_models_answers() -> None:
    """From the lowest to the highest score, then one with gaps, with the answers to exactly that body."""
    rows = [(float(at), None if at == 5 else "x") for at in range(100)]
    golden = golden_rows(rows, np.arange(100) / 100, lambda body: [float(line[:2]) for line in body.splitlines()])
    assert [0.0, 14.0, 28.0, 42.0, 56.0, 70.0, 84.0, 99.0, 5.0] == golden["expected"]
    assert golden["body"].endswith("99.0,x\n5.0,\n")

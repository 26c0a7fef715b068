"""The baseline that a model has to beat."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from pipeline_code.census.baseline import logic
from pipeline_code.census.baseline.logic import fit, score, summary
from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL, DataError

ENCODING = {"features": ["a", "b"], "categories": {"b": ["x", "y", "z"]}}


def example(rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Encoded rows of a number and a category that decide the label between them, some with gaps."""
    generator = np.random.default_rng(1)
    matrix = np.column_stack([generator.normal(size=rows), generator.integers(0, 3, rows)]).astype(np.float32)
    noise = generator.normal(size=rows) * 0.3
    labels = (matrix[:, 0] + 2 * (matrix[:, 1] == 1) + noise > 1).astype(np.int8)
    matrix[:50] = np.nan
    return matrix, labels


def test_it_learns_numbers_and_categories() -> None:
    """It separates what a line can separate, gaps included, and its scores are probabilities."""
    matrix, labels = example()
    scores = score(fit(matrix, labels, encoding=ENCODING), matrix)
    assert roc_auc_score(labels, scores) > 0.95
    assert ((scores >= 0) & (scores <= 1)).all()


def test_it_is_the_same_every_time() -> None:
    """Nothing in it is left to chance."""
    matrix, labels = example()
    first, second = (score(fit(matrix, labels, encoding=ENCODING), matrix) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_an_unseen_category_and_an_empty_column_are_no_obstacle() -> None:
    """A category that only the holdout holds counts for nothing, and so does a column without a value."""
    matrix, labels = example()
    matrix[:, 0] = np.nan
    model = fit(matrix, labels, encoding=ENCODING)
    assert np.isfinite(score(model, np.array([[1.0, 7.0], [np.nan, np.nan]], dtype=np.float32))).all()


def test_a_huge_split_is_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It learns from at most so many rows, taken from everywhere."""
    matrix, labels = example()
    monkeypatch.setattr(logic, "MOST_ROWS", 1000)
    assert fit(matrix, labels, encoding=ENCODING)[0].named_transformers_["numeric"][1].n_samples_seen_ == 1000


def test_one_class_is_refused() -> None:
    """There is nothing to separate."""
    with pytest.raises(DataError, match="the train split must hold both classes, got 3 positive of 3 rows"):
        fit(np.ones((3, 2)), np.ones(3), encoding=ENCODING)


def test_the_summary_says_what_was_fitted() -> None:
    """What a reader of the evaluation wants to know of it."""
    matrix, labels = example()
    found = summary(fit(matrix, labels, encoding=ENCODING), rows=3000)
    assert (logic.DESCRIPTION, 3000, 5) == (found["description"], found["train_rows"], found["inputs"])
    assert found["iterations"] < 1000


def write_split(folder: Path, labels: list[list[int]]) -> Path:
    """A split of several parts; the age gives the label away."""
    folder.mkdir()
    for part, values in enumerate(labels):
        columns = {name: ["x" if name in CATEGORICAL else 20.0 + 30.0 * label for label in values] for name in FEATURES}
        types = {name: pa.string() if name in CATEGORICAL else pa.float64() for name in FEATURES}
        arrays = {name: pa.array(column, types[name]) for name, column in columns.items()}
        pq.write_table(pa.table({**arrays, LABEL: pa.array(values, pa.int8())}), folder / f"part-{part}.parquet")
    return folder


@pytest.fixture
def step(census_folder: Path, tmp_path: Path) -> list[str]:
    """The step's command over a train split of two parts and an encoding."""
    encoding = {"features": FEATURES, "categories": {name: ["x"] for name in CATEGORICAL}, "missing": ["", "?"]}
    (tmp_path / "encoding").mkdir()
    (tmp_path / "encoding" / "part-algo-1.json").write_text(json.dumps(encoding))
    write_split(tmp_path / "train", [[0, 1, 0], [1, 0, 1]])
    command = [sys.executable, "-m", "pipeline_code.census.baseline", f"--output-baseline={tmp_path / 'baseline'}"]
    return [*command, *(f"--input-{name}={tmp_path / name}" for name in ("train", "holdout", "encoding"))]


def run(command: list[str], census_folder: Path) -> subprocess.CompletedProcess[str]:
    """The step as a process of its own."""
    return subprocess.run(command, cwd=census_folder.parents[1], capture_output=True, text=True)


def test_scores_come_in_the_order_of_the_holdout_files(step: list[str], census_folder: Path, tmp_path: Path) -> None:
    """Row n of scores.parquet is row n of the holdout's parts in name order."""
    write_split(tmp_path / "holdout", [[1, 0], [0, 0, 1]])
    done = run(step, census_folder)
    assert (0, "") == (done.returncode, done.stderr)
    scores = pq.read_table(tmp_path / "baseline" / "scores.parquet").column("score").to_pylist()
    assert [True, False, False, False, True] == [value > 0.5 for value in scores]
    assert 6 == json.loads((tmp_path / "baseline" / "baseline.json").read_text())["train_rows"]


def test_an_empty_holdout_ends_with_a_sentence(step: list[str], census_folder: Path, tmp_path: Path) -> None:
    """One line, no traceback, nothing written."""
    write_split(tmp_path / "holdout", [[]])
    done = run(step, census_folder)
    assert (1, "error: the holdout split has no rows; give preprocess more data\n") == (done.returncode, done.stderr)
    assert not (tmp_path / "baseline").exists()

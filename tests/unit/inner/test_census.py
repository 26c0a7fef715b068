"""The census steps on the real data, as bundles, one process each."""

import csv
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dual_pipeline.code_bundle import write_processing_bundle, write_training_bundle
from pipeline_code.census.contract import FEATURES, LABEL, MISSING, NUMERIC, RENAMED
from pipeline_code.census.project import CENSUS

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.xdist_group("census")


def write_snapshot(folder: Path, *, shuffled: bool) -> Path:
    """The census data as ingest types it, the labels dealt out anew if asked."""
    with (ROOT / "data" / "census.csv").open() as file:
        rows = [{RENAMED.get(name, name): text.strip() for name, text in row.items()} for row in csv.DictReader(file)]
    labels = [row[LABEL] for row in rows]
    if shuffled:
        random.Random(1).shuffle(labels)
    columns: dict[str, list[Any]] = {
        name: [None if row[name] in MISSING else int(row[name]) if name in NUMERIC else row[name] for row in rows]
        for name in FEATURES
    }
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table({**columns, LABEL: labels}), folder / "data" / "part-00000.parquet")
    return folder


def run_steps(snapshot: Path, work: Path, bundles: Path) -> dict[str, Any]:
    """Preprocess, train and evaluate as SageMaker would run them; returns the evaluation."""

    def run(*command: object, **environment: object) -> None:
        # Spinning threads make training several times slower when tests share the cores.
        variables = {
            **os.environ,
            "OMP_WAIT_POLICY": "PASSIVE",
            **{name: str(value) for name, value in environment.items()},
        }
        done = subprocess.run([sys.executable, *map(str, command)], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    outputs = [f"--output-{name}={work / name}" for name in ("train", "validation", "holdout", "encoding")]
    run(bundles / "preprocess.zip", f"--input-snapshot={snapshot}", *outputs, "--seed=17")
    hyperparameters = [text for name, value in CENSUS.hyperparameters.items() for text in (f"--{name}", value)]
    channels = {f"SM_CHANNEL_{name.upper()}": work / name for name in ("train", "validation", "encoding")}
    run(bundles / "source" / "train.py", *hyperparameters, SM_MODEL_DIR=work / "model", **channels)
    with tarfile.open(work / "model.tar.gz", "w:gz") as archive:
        archive.add(work / "model", arcname=".")
    inputs = [f"--input-model={work}", f"--input-train={work / 'train'}", f"--input-holdout={work / 'holdout'}"]
    floors = [f"--min-auc={CENSUS.gates.min_auc}", f"--min-accuracy={CENSUS.gates.min_accuracy}", "--seed=17"]
    run(bundles / "evaluate.zip", *inputs, f"--output-evaluation={work / 'evaluate'}", *floors)
    report: dict[str, Any] = json.loads((work / "evaluate" / "evaluation.json").read_text())
    return report


@pytest.fixture(scope="module")
def bundles(census_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The steps' bundles; the training one unpacked as its container unpacks it."""
    folder = tmp_path_factory.mktemp("bundles")
    write_processing_bundle(census_folder, step="preprocess", folder=folder)
    write_processing_bundle(census_folder, step="evaluate", folder=folder)
    with tarfile.open(write_training_bundle(census_folder, folder=folder)) as archive:
        archive.extractall(folder / "source", filter="data")
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> tuple[Path, dict[str, Any]]:
    """One run on the real data: its folder and evaluation."""
    work = tmp_path_factory.mktemp("first")
    return work, run_steps(write_snapshot(work / "snapshot", shuffled=False), work, bundles)


def test_the_model_is_good_and_beats_its_baseline(first: tuple[Path, dict[str, Any]]) -> None:
    """AUC as published for this data, the baseline of the same run clearly below."""
    _, report = first
    auc = report["binary_classification_metrics"]["auc"]
    assert 0.92 < auc["value"] < 0.94
    assert auc["value"] > report["baseline"]["auc"] + 3 * auc["standard_deviation"]
    assert {"passed": True, "reasons": []} == report["gate"]


def test_two_runs_are_byte_identical(first: tuple[Path, dict[str, Any]], bundles: Path, tmp_path: Path) -> None:
    """Model, metrics and golden rows come out the same."""
    work, _ = first
    run_steps(work / "snapshot", tmp_path, bundles)
    for name in ("model/model.json", "evaluate/evaluation.json", "evaluate/golden_rows.json"):
        assert (work / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_model_folder_answers_its_golden_rows(first: tuple[Path, dict[str, Any]]) -> None:
    """What train packs serves by itself, with the evaluation's own answers."""
    work, _ = first
    golden = json.loads((work / "evaluate" / "golden_rows.json").read_text())
    script = (
        "import sys, inference as i; m = i.model_fn('..');"
        "print(i.output_fn(i.predict_fn(i.input_fn(sys.stdin.read(), 'text/csv'), m), 'application/json')[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=golden["body"],
        cwd=work / "model" / "code",
        capture_output=True,
        text=True,
    )
    assert golden["expected"] == pytest.approx(json.loads(done.stdout)["predictions"], abs=golden["tolerance"])
    assert len(set(golden["expected"])) == len(golden["expected"])


def test_shuffled_labels_are_refused(tmp_path: Path, bundles: Path) -> None:
    """Where there is nothing to learn the AUC is a coin's, and the gate says so."""
    report = run_steps(write_snapshot(tmp_path / "snapshot", shuffled=True), tmp_path, bundles)
    assert report["binary_classification_metrics"]["auc"]["value"] == pytest.approx(0.5, abs=0.03)
    assert not report["gate"]["passed"]
    assert any(reason.startswith("auc 0.") for reason in report["gate"]["reasons"])

"""The census steps on the real data, as bundles, each a process with just the libraries of its image."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from containers import interpreter, run_step
from dual_pipeline.code_bundle import write_processing_bundle, write_training_bundle
from pipeline_code.census.project import CENSUS
from snapshots import census, preprocess_arguments, shuffled_labels, write_snapshot

pytestmark = pytest.mark.xdist_group("census")


def run_steps(snapshot: Path, work: Path, bundles: Path, *, hash_seed: int = 0) -> dict[str, Any]:
    """Preprocess, train, fit the baseline and evaluate as SageMaker would run them; returns the evaluation."""

    def run(image: str, bundle: str, *arguments: str, **environment: str) -> None:
        run_step(image, bundles / bundle, *arguments, environment={"PYTHONHASHSEED": str(hash_seed), **environment})

    def inputs(*names: str) -> list[str]:
        return [f"--input-{name}={work / name}" for name in names]

    run("xgboost", "preprocess.zip", *preprocess_arguments(snapshot, work))
    hyperparameters = [f"--{name}={each.default}" for name, each in CENSUS.declared_hyperparameters.items()]
    channels = {f"SM_CHANNEL_{name.upper()}": str(work / name) for name in ("train", "validation", "encoding")}
    run("xgboost", "source/train.py", *hyperparameters, SM_MODEL_DIR=str(work / "model"), **channels)
    with tarfile.open(work / "model.tar.gz", "w:gz") as archive:
        archive.add(work / "model", arcname=".")
    run("sklearn", "baseline.zip", *inputs("train", "holdout", "encoding"), f"--output-baseline={work / 'baseline'}")
    (work / "champion").mkdir()
    (work / "champion" / "none.json").write_text('{"champion": null}')
    gates = CENSUS.gates
    run(
        "xgboost",
        "evaluate.zip",
        f"--input-model={work}",
        *inputs("champion", "train", "validation", "holdout", "baseline"),
        f"--output-evaluation={work / 'evaluate'}",
        f"--output-model={work / 'judged'}",
        f"--min-auc={gates.min_auc}",
        f"--min-accuracy={gates.min_accuracy}",
        f"--max-auc-drop={gates.max_auc_drop}",
        f"--segments={','.join(gates.segments)}",
        "--compare-with-champion=true",
        "--seed=17",
    )
    report: dict[str, Any] = json.loads((work / "evaluate" / "evaluation.json").read_text())
    return report


@pytest.fixture(scope="module")
def bundles(census_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The steps' bundles; the training one unpacked as its container unpacks it."""
    folder = tmp_path_factory.mktemp("bundles")
    for step in ("preprocess", "baseline", "evaluate"):
        write_processing_bundle(census_folder, step=step, folder=folder)
    with tarfile.open(write_training_bundle(census_folder, folder=folder)) as archive:
        archive.extractall(folder / "source", filter="data")
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> tuple[Path, dict[str, Any]]:
    """One run on the real data: its folder and evaluation."""
    work = tmp_path_factory.mktemp("first")
    return work, run_steps(write_snapshot(work / "snapshot", census()), work, bundles)


def test_the_model_is_good_and_beats_its_baseline(first: tuple[Path, dict[str, Any]]) -> None:
    """AUC as published for this data, the baseline of the same run clearly below."""
    _, report = first
    auc = report["binary_classification_metrics"]["auc"]
    assert 0.92 < auc["value"] < 0.94
    assert auc["value"] > report["baseline"]["metrics"]["auc"] + 3 * auc["standard_deviation"]
    assert (True, []) == (report["gate"]["passed"], report["gate"]["reasons"])


def test_two_runs_are_byte_identical(first: tuple[Path, dict[str, Any]], bundles: Path, tmp_path: Path) -> None:
    """Every file of every step comes out the same, the archive's own clock aside."""
    work, _ = first
    run_steps(work / "snapshot", tmp_path, bundles, hash_seed=1)
    folders = ("train", "validation", "holdout", "encoding", "model", "baseline", "evaluate")
    files = [path for folder in folders for path in sorted((work / folder).rglob("*")) if path.is_file()]
    assert len(files) > 10
    for path in files:
        name = path.relative_to(work)
        assert path.read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_model_folder_answers_its_golden_rows(first: tuple[Path, dict[str, Any]]) -> None:
    """What train packs serves by itself, with the evaluation's own answers."""
    work, _ = first
    golden = json.loads((work / "evaluate" / "golden_rows.json").read_text())
    script = (
        "import sys, inference as i; m = i.model_fn('..');"
        "print(i.output_fn(i.predict_fn(i.input_fn(sys.stdin.read(), 'text/csv'), m), 'application/json')[0])"
    )
    done = subprocess.run(
        [interpreter("xgboost"), "-c", script],
        input=golden["body"],
        cwd=work / "model" / "code",
        capture_output=True,
        text=True,
    )
    assert golden["expected"] == pytest.approx(json.loads(done.stdout)["predictions"], abs=golden["tolerance"])
    assert len(set(golden["expected"])) == len(golden["expected"])


def test_shuffled_labels_are_refused(tmp_path: Path, bundles: Path) -> None:
    """Where there is nothing to learn the AUC is a coin's, and the gate says so."""
    report = run_steps(write_snapshot(tmp_path / "snapshot", shuffled_labels(census())), tmp_path, bundles)
    assert report["binary_classification_metrics"]["auc"]["value"] == pytest.approx(0.5, abs=0.03)
    assert not report["gate"]["passed"]
    assert any(reason.startswith("auc 0.") for reason in report["gate"]["reasons"])

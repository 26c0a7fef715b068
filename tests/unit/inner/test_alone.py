"""Preprocess and train in one process: what the smoke training runs, and a project without an inner loop."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dual_pipeline.code_bundle import write_alone_bundle
from pipeline_code.census.contract import ENCODING_FILE, INFERENCE_FILE, LABEL, MODEL_FILE, NEGATIVE
from snapshots import HOST, census, write_snapshot

HYPERPARAMETERS = {
    "num_round": 5,
    "early_stopping_rounds": 5,
    "max_depth": 4,
    "eta": 0.3,
    "subsample": 1.0,
    "min_child_weight": 1.0,
}


@pytest.fixture(scope="module")
def code(census_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked as script mode does."""
    folder = tmp_path_factory.mktemp("code")
    with tarfile.open(write_alone_bundle(census_folder, step="alone", folder=folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def run(code: Path, work: Path, sample: pa.Table) -> subprocess.CompletedProcess[str]:
    """Run the job's script on a sample with nothing but its bundle."""
    config = work / "config"
    config.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": HOST, "hosts": [HOST]}))
    given = [word for name, value in HYPERPARAMETERS.items() for word in (f"--{name}", str(value))]
    environment = {
        "PATH": os.environ["PATH"],
        "SM_CHANNEL_DATA": str(write_snapshot(work / "snapshot", sample) / "data"),
        "SM_INPUT_CONFIG_DIR": str(config),
        "SM_MODEL_DIR": str(work / "model"),
    }
    command = [sys.executable, "alone.py", *given]
    return subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)


def test_a_sample_becomes_a_model(code: Path, tmp_path: Path) -> None:
    """The model folder is train's, from files that lie straight in the channel."""
    done = run(code, tmp_path, census().slice(0, 2_000))
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    assert {MODEL_FILE, ENCODING_FILE, INFERENCE_FILE} == written
    assert "kept 5 rounds" in done.stdout


def test_data_that_teaches_nothing_is_one_sentence(code: Path, tmp_path: Path) -> None:
    """The steps' own refusals are the job's."""
    sample = census().slice(0, 2_000)
    done = run(code, tmp_path, sample.filter(pc.equal(sample.column(LABEL), NEGATIVE)))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the train split has ")
    assert "Traceback" not in done.stderr

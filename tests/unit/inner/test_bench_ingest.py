"""What ingest is measured against makes the same snapshot."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from bench import ingest_reference
from pipeline_code.census.project import CENSUS
from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DATA = Path(__file__).resolve().parents[3] / "data"


def rows(folder: Path) -> list[str]:
    """The rows of a snapshot in an order of their own."""
    return sorted(map(repr, pq.read_table(folder / "data").to_pylist()))


def test_it_makes_the_same_rows(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, names, missing values and every equal row agree."""
    ours, theirs, contract = tmp_path / "ours", tmp_path / "theirs", CENSUS.contract.to_json()
    result = ingest(
        spark, Files(spark), raw=DATA.as_uri(), snapshots=ours.as_uri(), contract=json.loads(contract), trigger=""
    )
    arguments = [f"--input_raw={DATA}", f"--output_snapshots={theirs}", f"--contract={contract}"]
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    ingest_reference.main()
    [folder] = theirs.iterdir()
    assert rows(ours / result["snapshot_id"]) == rows(folder)

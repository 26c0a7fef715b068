"""Snapshots under several writers and under one that is killed: real processes, each with a Spark of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from dual_pipeline_local.spark import environment
from lake import HEADER, Lake
from pipeline_code.platform_jobs import snapshot

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

ROOT = Path(__file__).resolve().parents[3]
ROWS = [f"{at},{at},job {at % 3},{at / 7},{'low' if at % 4 else 'high'}" for at in range(20)]


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A file of twenty rows, of which a part takes two."""
    monkeypatch.setattr(snapshot, "_PART_ROWS", 2)
    lake = Lake(spark, tmp_path)
    lake.put("a.csv", "\n".join([HEADER, *ROWS]))
    return lake


def writer(mode: str, folder: Path, name: str) -> subprocess.Popen[str]:
    """Start a writer over a folder."""
    conf = folder / name
    conf.mkdir()
    paths = os.pathsep.join(str(ROOT / path) for path in (".", "constructs", "tests/support"))
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/ingest_writer.py"), mode, str(folder)],
        env={**os.environ, **environment(conf, scratch=conf, options={}), "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


def contents(folder: Path) -> dict[str, int]:
    """The length of every file of a snapshot but its manifest and Hadoop's checksums."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".crc", ".json"))
    return {str(path.relative_to(folder)): path.stat().st_size for path in found}


def test_two_writers_at_once_write_one_snapshot(lake: Lake, tmp_path: Path) -> None:
    """Both succeed, and what is there is what a third writes alone elsewhere: the same rows in the same places.

    Byte for byte but for the lists of encodings in Parquet's footers, whose order differs from one JVM to the next.
    """
    writers = [writer("together", tmp_path, name) for name in ("one", "two")]
    results: list[dict[str, Any]] = [json.loads(each.communicate(timeout=300)[0]) for each in writers]
    assert results[0] == results[1]
    folder = lake.snapshots / results[0]["snapshot_id"]
    alone = Lake(lake.spark, tmp_path / "alone")
    alone.put("a.csv", (lake.raw / "a.csv").read_bytes())
    other = alone.snapshots / alone.ingest()["snapshot_id"]
    assert contents(folder) == contents(other)
    parts = [name for name in contents(folder) if name.endswith(".parquet")]
    assert 6 < len(parts)
    for part in parts:
        assert pq.read_table(folder / part).equals(pq.read_table(other / part))
    assert 20 == len(lake.rows(results[0]))


def test_a_writer_that_is_killed_leaves_nothing_to_be_seen(lake: Lake, tmp_path: Path) -> None:
    """There is no manifest until another writer completes the snapshot, which holds every row once."""
    killed = writer("killed", tmp_path, "one")
    assert "" == killed.communicate(timeout=300)[0]
    assert 0 != killed.returncode
    [folder] = [path for path in lake.snapshots.iterdir() if path.name != "_unfinished"]
    assert ["data/part-00000.parquet"] == [*contents(folder)]
    result = lake.ingest()
    assert folder.name == result["snapshot_id"]
    assert (folder / "manifest.json").is_file()
    assert 20 == len(lake.rows(result))

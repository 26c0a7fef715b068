"""The quality job on real Spark, DuckDB judging: rows set apart, what is trained on, and history."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dual_pipeline.ruleset import Anomaly, Rule
from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.quality.engines import EngineError, opener
from pipeline_code.platform_jobs.quality.job import Places, run
from pipeline_code.platform_jobs.quality.verdict import Judged
from pipeline_code.platform_jobs.snapshot import write_snapshot
from quality import SCHEMA, Row, ruleset

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

AGES = Rule(kind="ColumnValues", column="number", operator="between", operand=(0, 100), severity="quarantine")
NAMED = Rule(kind="IsComplete", column="text", severity="quarantine")
REAL = Rule(kind="ColumnValues", column="real", operator=">=", operand=0, severity="quarantine")
MANY = Rule(kind="RowCount", operator=">=", operand=10)
GOOD: list[Row] = [(at, at, float(at), f"person {at}", True) for at in range(1, 20)]
BAD: list[Row] = [(500, 1, 1.0, "Methuselah", True), (None, 1, 1.0, None, True), (5, 5, float("nan"), "é", True)]

Job = Callable[..., dict[str, Any]]


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Job:
    """Judge rows as run `run`, below a folder that stands for the bucket."""
    home = f"file://{tmp_path}"

    def judge(rows: list[Row], rules: dict[str, Any], *, run_id: str = "run") -> dict[str, Any]:
        data = spark.createDataFrame(rows, SCHEMA)
        sources = [{"key": "raw/a.csv", "rows": len(rows), "bytes": 99}]
        schema = dict(data.dtypes)
        made = write_snapshot(
            Files(spark), data, snapshots=f"{home}/snapshots", sources=sources, schema=schema, label="flag"
        )
        history = f"{home}/quality/history.json"
        places = Places(history, history, f"{home}/snapshots/", f"{home}/quarantine/{run_id}/rows/")
        judged = Judged(run_id, made["snapshot_uri"], "0" * 64)
        return run(spark, opener(spark, {"QUALITY_ENGINE": "duckdb"})[0], judged=judged, ruleset=rules, places=places)

    return judge


def kept(spark: SparkSession, uri: str) -> list[Any]:
    """The texts of a snapshot's rows."""
    return sorted(row["text"] or "" for row in spark.read.parquet(f"{uri}data").collect())


def test_rows_are_set_apart_with_their_reasons(spark: SparkSession, job: Job, tmp_path: Path) -> None:
    """Each row that breaks a rule lies beside the raw files as it was, and training goes on without it."""
    found = job(GOOD + BAD, ruleset(MANY, AGES, NAMED, REAL, max_quarantined=0.2))
    assert ("warn", 3, 22) == tuple(found[name] for name in ("verdict", "quarantined_rows", "rows"))
    assert found["training_snapshot_uri"] != found["snapshot_uri"]
    assert sorted(row[3] or "" for row in GOOD) == kept(spark, found["training_snapshot_uri"])
    rows = spark.read.parquet(found["quarantine_uri"]).orderBy("number").collect()
    assert f"file://{tmp_path}/quarantine/run/rows/" == found["quarantine_uri"]
    assert [[AGES.dqdl, NAMED.dqdl], [REAL.dqdl], [AGES.dqdl]] == [row["reasons"] for row in rows]
    assert "Methuselah" == rows[-1]["text"]


def test_a_cleaned_snapshot_is_known_by_its_content(spark: SparkSession, job: Job) -> None:
    """It is the one that the good rows alone would make, with a manifest, and a second run makes no other."""
    rules = ruleset(MANY, AGES, max_quarantined=0.2)
    first, second = (job([*GOOD, BAD[0]], rules, run_id=run_id) for run_id in ("one", "two"))
    alone = job(GOOD, rules, run_id="three")
    assert first["training_snapshot_uri"] == second["training_snapshot_uri"] == alone["snapshot_uri"]
    manifest = json.loads(Files(spark).head(f"{alone['snapshot_uri']}manifest.json", 9999))
    assert 19 == manifest["rows"]


def test_too_many_bad_rows_block(job: Job, tmp_path: Path) -> None:
    """Nothing is set apart, and the share is told."""
    found = job(GOOD + BAD, ruleset(MANY, AGES, max_quarantined=0.05))
    assert ("block", 0, None) == tuple(found[name] for name in ("verdict", "quarantined_rows", "training_snapshot_uri"))
    assert "2 of 22 rows would be quarantined, more than the share 0.05 allows" == found["reasons"][0]
    assert not (tmp_path / "quarantine").exists()
    assert not (tmp_path / "quality").exists()


def test_what_is_left_must_satisfy_the_other_rules(job: Job) -> None:
    """A rule that held with the bad rows has to hold without them."""
    found = job([*GOOD, BAD[0]], ruleset(Rule(kind="RowCount", operator=">=", operand=20), AGES, max_quarantined=0.2))
    assert "block" == found["verdict"]
    assert "RowCount >= 20 (block): observed 19" in found["reasons"]


def test_a_rule_to_set_apart_by_a_missing_column_blocks(job: Job) -> None:
    """It cannot say which rows break it."""
    found = job(GOOD, ruleset(MANY, Rule(kind="IsComplete", column="absent", severity="quarantine")))
    assert ("block", ["IsComplete \"absent\" (quarantine): there is no column 'absent'"]) == (
        found["verdict"],
        found["reasons"],
    )


def test_all_rows_are_never_set_apart(job: Job) -> None:
    """Nothing would be left to train on, whatever share is allowed."""
    found = job(BAD[:2], ruleset(Rule(kind="RowCount", operator=">", operand=0), AGES, max_quarantined=1.0))
    assert ("block", "all 2 rows would be quarantined") == (found["verdict"], found["reasons"][0])


def test_no_rows_block(spark: SparkSession, tmp_path: Path) -> None:
    """An empty snapshot fails its rules and crashes nothing."""
    snapshot = f"file://{tmp_path}/snapshots/empty/"
    spark.createDataFrame([], SCHEMA).write.parquet(f"{snapshot}data")
    rules = ruleset(MANY, AGES, anomalies=(Anomaly(kind="Mean", column="number"),))
    history = f"file://{tmp_path}/history.json"
    open_engine, _ = opener(spark, {"QUALITY_ENGINE": "duckdb"})
    places = Places(history, history, f"file://{tmp_path}/snapshots/", f"file://{tmp_path}/rows/")
    found = run(spark, open_engine, judged=Judged("run", snapshot, "0" * 64), ruleset=rules, places=places)
    assert ("block", 0) == (found["verdict"], found["rows"])


def test_history_grows_by_runs_that_pass(job: Job, tmp_path: Path) -> None:
    """Blocked data never enters it, the same snapshot once, and an odd run is then told."""
    rules = ruleset(
        MANY, anomalies=(Anomaly(kind="RowCount", min_runs=2), Anomaly(kind="Mean", column="real", min_runs=2))
    )
    first = job(GOOD, rules, run_id="one")
    assert ("pass", "too little history") == (first["verdict"], first["anomalies"][0]["detail"][:18])
    job(GOOD, rules, run_id="again")
    job(GOOD[:5], rules, run_id="blocked")
    job(GOOD[1:], rules, run_id="two")
    history = tmp_path / "quality/history.json"
    assert ["again", "two"] == [entry["run_id"] for entry in json.loads(history.read_text())["entries"]]
    odd = job([(at, at, float(at) + 1000, "x", True) for at in range(90)], rules, run_id="odd")
    assert ("warn", [False, False]) == (odd["verdict"], [each["passed"] for each in odd["anomalies"]])


def test_a_broken_history_is_told_and_begun_anew(job: Job, tmp_path: Path) -> None:
    """It warns and never crashes."""
    (tmp_path / "quality").mkdir()
    history = tmp_path / "quality/history.json"
    history.write_text("{garbage")
    found = job(GOOD, ruleset(MANY, anomalies=(Anomaly(kind="RowCount"),)))
    assert "warn" == found["verdict"]
    assert found["reasons"][0].startswith("the history is no JSON and was begun anew")
    assert 1 == len(json.loads(history.read_text())["entries"])


def test_a_wrong_engine_is_refused(spark: SparkSession) -> None:
    """Before anything is judged."""
    with pytest.raises(EngineError, match="QUALITY_ENGINE must be one of awsgluedq, deequ, duckdb, got 'spark-sql'"):
        opener(spark, {"QUALITY_ENGINE": "spark-sql"})

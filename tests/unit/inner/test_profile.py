"""What the profile says of a snapshot's columns."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL, NEGATIVE, NUMERIC, POSITIVE, DataError
from pipeline_code.census.profile.logic import profile

pytestmark = pytest.mark.spark
SCHEMA = ", ".join(f"`{name}` {'int' if name in NUMERIC else 'string'}" for name in (*FEATURES, LABEL))


def snapshot(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    """A snapshot of such people; what is not said of them is 1 or `x`, and they earn little."""
    plain: dict[str, Any] = {name: 1 if name in NUMERIC else "x" for name in FEATURES}
    people = [{**plain, LABEL: NEGATIVE, **row} for row in rows]
    values = [tuple(row[name] for name in (*FEATURES, LABEL)) for row in people]
    return spark.createDataFrame(values, SCHEMA).cache()  # else Python makes them anew for every column


def test_categories_are_counted_with_their_label_rates(spark: SparkSession) -> None:
    """The most frequent first, equals by name; `?`, blanks and nulls are missing, spaces do not count."""
    rich = {LABEL: POSITIVE}
    rows = [{"workclass": " a"}, {"workclass": "a", **rich}, {"workclass": "c"}, {"workclass": "b", **rich}]
    gaps = [{"workclass": gap} for gap in (None, "?", " ", "")]
    found = profile(snapshot(spark, [*rows, *gaps, {"workclass": None, **rich}]))
    assert (9, {POSITIVE: 3, NEGATIVE: 6}) == (found["rows"], found["labels"])
    assert {
        "kind": "categorical",
        "missing": 5,
        "distinct": 3,
        "top": [
            {"value": None, "rows": 5, "label_rate": 0.2},
            {"value": "a", "rows": 2, "label_rate": 0.5},
            {"value": "b", "rows": 1, "label_rate": 1.0},
            {"value": "c", "rows": 1, "label_rate": 0.0},
        ],
    } == found["columns"]["workclass"]
    assert [{"value": "x", "rows": 9, "label_rate": 3 / 9}] == found["columns"]["gender"]["top"]


def test_numbers_are_described(spark: SparkSession) -> None:
    """Ends, mean, spread, quantiles and gaps; a column without a value has nulls."""
    ages = [{"age": age, "capital_gain": None} for age in range(1, 102)]
    found = profile(snapshot(spark, [*ages, {"age": None, "capital_gain": None}]))["columns"]
    age = found["age"]
    assert (1, 101, 1.0, 101.0, 51.0) == tuple(age[name] for name in ("missing", "distinct", "min", "max", "mean"))
    assert {"0.01": 2, "0.05": 6, "0.25": 26, "0.5": 51, "0.75": 76, "0.95": 96, "0.99": 100} == pytest.approx(
        age["quantiles"], abs=1
    )
    gain = found["capital_gain"]
    assert (102, 0, None, {}) == tuple(gain[name] for name in ("missing", "distinct", "mean", "quantiles"))
    assert {*NUMERIC, *CATEGORICAL} == found.keys()
    json.dumps(found, allow_nan=False)


def test_an_empty_or_foreign_snapshot_is_refused(spark: SparkSession) -> None:
    """In one sentence."""
    with pytest.raises(DataError, match="the snapshot has no rows; look at what ingest wrote"):
        profile(snapshot(spark, []))
    with pytest.raises(DataError, match=r"the snapshot lacks the columns \['age'\]; it has \['workclass'"):
        profile(snapshot(spark, [{}]).drop("age"))


def test_a_snapshot_without_data_ends_with_a_sentence(census_folder: Path, tmp_path: Path) -> None:
    """Before Spark is started."""
    command = [sys.executable, "-m", "pipeline_code.census.profile", f"--input-snapshot={tmp_path}"]
    done = subprocess.run(
        [*command, f"--output-profile={tmp_path / 'profile'}"],
        cwd=census_folder.parents[1],
        capture_output=True,
        text=True,
    )
    assert 1 == done.returncode
    assert f"error: the snapshot has no folder data/ in {tmp_path}; look at what ingest wrote\n" == done.stderr

"""The ingest job on real Spark: what becomes a snapshot, what is refused and why."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from lake import GOOD, HEADER, Lake
from pipeline_code.census.project import CENSUS
from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(spark, tmp_path)


def test_a_good_file_becomes_a_typed_snapshot(lake: Lake) -> None:
    """Trimmed, typed, renamed, `?` and empty as null, the index dropped, a manifest beside the data."""
    lake.put("a.csv", GOOD)
    result = lake.ingest()
    assert [(39, "clerk", 1.5, "low"), (50, None, -2000.0, "high"), (50, None, None, "high")] == lake.rows(result)
    folder = lake.snapshots / result["snapshot_id"]
    assert folder.as_uri() + "/" == result["snapshot_uri"]
    source = {"key": str(lake.raw / "a.csv").lstrip("/"), "rows": 3, "bytes": len(GOOD)}
    assert {
        "snapshot_id": result["snapshot_id"],
        "schema": {"age": "integer", "job": "string", "wage": "double", "income_level": "string"},
        "label": "income_level",
        "rows": 3,
        "parts": 1,
        "sources": [source],
    } == json.loads((folder / "manifest.json").read_text())
    assert ("accepted", 3, [source], [], []) == tuple(
        result[name] for name in ("status", "rows", "sources", "rejected", "reasons")
    )


def test_equal_rows_are_all_kept(lake: Lake) -> None:
    """Without a key nothing is de-duplicated, within a file or across files."""
    lake.put("a.csv", f"{HEADER}\n0,1,x,1,low\n1,1,x,1,low\n")
    lake.put("sub/b.csv", f"{HEADER}\n0,1,x,1,low\n")
    assert [(1, "x", 1.0, "low")] * 3 == lake.rows(lake.ingest())


def test_a_key_keeps_the_row_written_last(lake: Lake) -> None:
    """With a key, a later file's row replaces an earlier one's."""
    lake.put("b.csv", f"{HEADER}\n0,1,old,1,low\n")
    lake.put("a.csv", f"{HEADER}\n0,1,new,1,low\n1,2,only,1,low\n")
    os.utime(lake.raw / "b.csv", (1_000_000, 1_000_000))
    assert [(1, "new", 1.0, "low"), (2, "only", 1.0, "low")] == lake.rows(lake.ingest(key=("age",)))


def test_the_same_rows_give_the_same_snapshot_and_are_written_once(lake: Lake) -> None:
    """Order, file names and column order do not matter; a complete snapshot is reused as it is."""
    lake.put("a.csv", GOOD)
    first = lake.ingest()
    manifest = lake.snapshots / first["snapshot_id"] / "manifest.json"
    written = manifest.stat().st_mtime_ns
    (lake.raw / "a.csv").unlink()
    lake.put("b [x]*{y}.csv", "income,wage,age,job,\nhigh,,50,?,7\nlow,1.5,39,clerk,8\n")
    lake.put("c.csv", f"{HEADER}\n4,50,,-2000,high\n")
    second = lake.ingest()
    assert (first["snapshot_uri"], 3) == (second["snapshot_uri"], second["rows"])
    assert written == manifest.stat().st_mtime_ns


def test_other_rows_give_another_snapshot(lake: Lake) -> None:
    """A row more, even one that equals two others, is another snapshot."""
    copies = ["0,39,clerk,1.5,low\n" * count for count in range(3)]
    ids = set()
    for more in copies:
        lake.put("a.csv", GOOD + more)
        ids.add(lake.ingest()["snapshot_id"])
    assert 3 == len(ids)


def test_a_snapshot_without_manifest_is_written_again(lake: Lake) -> None:
    """What a killed job left is replaced, not added to."""
    lake.put("a.csv", GOOD)
    first = lake.ingest()
    folder = lake.snapshots / first["snapshot_id"]
    (folder / "manifest.json").unlink()
    shutil.copy(folder / "data" / "part-00000.parquet", folder / "data" / "part-00000-leftover.parquet")
    assert 3 == len(lake.rows(lake.ingest()))
    assert (folder / "manifest.json").is_file()
    assert {"_unfinished", folder.name} == {path.name for path in lake.snapshots.iterdir()}


BAD: list[tuple[str | bytes, str]] = [
    ("", "is empty"),
    (" \n\n", "is empty"),
    (HEADER, "holds a header but no rows"),
    (f"{HEADER}\n", "holds a header but no rows"),
    (b"PK\x03\x04\x00\x00\xff\xfe", "is not text in UTF-8"),
    (b"\xff\xd8\xff\xe0 a picture", "is not text in UTF-8"),
    (GOOD.replace(",", ";"), "has one column, ';age;job;wage;income': fields must be separated by commas"),
    (GOOD.replace("wage", "salary"), "has another header: missing ['wage'], unexpected ['salary']"),
    (GOOD.replace(",wage", ""), "has another header: missing ['wage'], unexpected []"),
    (GOOD.replace("income", "income,tax"), "has another header: missing [], unexpected ['tax']"),
    (GOOD.replace("income", "income,age"), "has another header: missing [], unexpected ['age']"),
    (GOOD + "3,50,x\n", "has 1 malformed lines of 4, for example '3,50,x'"),
    (GOOD + "3,50,x,1,low,more\n", "has 1 malformed lines of 4, for example '3,50,x,1,low,more'"),
    (
        GOOD.encode() + b"1,1,x,1,low\n" * 6000 + b"3,50,\xff,1,low\n",
        "has 1 lines that are not text in UTF-8 of 6004, for example '3,50,\ufffd,1,low'",
    ),
    (GOOD + '3,50,"x,1,low\n', "has 1 lines with an unclosed quote of 4, for example '3,50,\"x,1,low'"),
    (GOOD + '3,50,"x\ny",1,low\n', "has 2 lines with an unclosed quote of 5, for example '3,50,\"x'"),
    (GOOD + "," * 30_000 + "\n", f"has 1 malformed lines of 4, for example '{',' * 80}'"),
    (GOOD + "3,50,x\0y,1,low\n", "is not text in UTF-8"),
    (GOOD + GOOD, "holds its header 2 times"),
    (GOOD.encode("utf-16"), "is text in UTF-16: it must be UTF-8"),
    (GOOD.encode("utf-16-le"), "is not text in UTF-8"),
    (GOOD.replace("\n", "\r"), "ends its lines with a carriage return alone: they must end with a line feed"),
    (f'{HEADER},"tax\n{GOOD}', f"has a header with an unclosed quote: '{HEADER},\"tax'"),
    (GOOD.replace(",", "\t"), "has one column, 'age\\tjob\\twage\\tincome': fields must be separated by commas"),
    (GOOD + "3;50;x;1;low\n", "has 1 malformed lines of 4, for example '3;50;x;1;low'"),
    ("x" * 70_000, "has no line feed in its first 65,536 bytes"),
    (GOOD + "3,50," + "x" * (1 << 20) + ",1,low\n", "has a line of more than 1,048,576 bytes"),
    (GOOD + "3,50,x,1,low" + "x" * (3 << 20), "has a line of more than 1,048,576 bytes"),
    (GOOD + "3,old,x,1,low\n", "has 1 values of age that are no integer, for example 'old'"),
    (GOOD + "3,3.7,x,1,low\n", "has 1 values of age that are no integer, for example '3.7'"),
    (GOOD + "3,99999999999,x,1,low\n", "has 1 values of age that are no integer, for example '99999999999'"),
    (GOOD + "3,1,x,NaN,low\n", "has 1 values of wage that are no double, for example 'NaN'"),
]


def test_each_bad_file_is_refused_with_its_reason(lake: Lake) -> None:
    """Every bad file is left out and told why, the good one among them is taken."""
    lake.put("good.csv", GOOD)
    for at, (content, _) in enumerate(BAD):
        lake.put(f"bad-{at:02}.csv", content)
    result = lake.ingest()
    assert ("accepted", 3) == (result["status"], result["rows"])
    reasons = {Path(file["key"]).name: file["reason"] for file in result["rejected"]}
    assert {f"bad-{at:02}.csv": reason for at, (_, reason) in enumerate(BAD)} == reasons
    assert [f"{file['key']} {file['reason']}" for file in result["rejected"]] == result["reasons"]


def test_only_bad_files_are_a_rejection(lake: Lake) -> None:
    """The job ends well, the status and the reasons tell."""
    lake.put("a.csv", "")
    result = lake.ingest()
    assert ("rejected", None, 0) == (result["status"], result["snapshot_uri"], result["rows"])
    assert [f"{result['rejected'][0]['key']} is empty"] == result["reasons"]
    assert [] == [path for path in lake.snapshots.rglob("*") if path.is_file()]


def test_no_file_is_a_rejection(lake: Lake) -> None:
    """Hidden files are no deliveries."""
    lake.put("_SUCCESS", "")
    assert [f"there is no file in {lake.raw.as_uri()}/"] == lake.ingest()["reasons"]


def test_the_census_file_is_accepted(spark: SparkSession, tmp_path: Path) -> None:
    """The real file against the real contract: every row, the missing values missing."""
    result = ingest(
        spark,
        Files(spark),
        raw=(Path(__file__).resolve().parents[3] / "data" / "census.csv").as_uri(),
        snapshots=tmp_path.as_uri(),
        contract=json.loads(CENSUS.contract.to_json()),
    )
    table = pq.read_table(tmp_path / result["snapshot_id"] / "data")
    assert (32561, 1836, 1843) == (table.num_rows, table["workclass"].null_count, table["occupation"].null_count)
    assert 7841 == table["income"].to_pylist().count(">50K")

"""Parquet beside CSV, files with odd names, files that go or change while they are read, and what a snapshot samples."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from lake import GOOD, HEADER, Lake
from pipeline_code.platform_jobs.files import File, Files
from pipeline_code.platform_jobs.ingest import logic

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

TABLE: dict[str, Any] = {
    "income": [" high", "low", "high"],
    "wage": pa.array([None, 1.5, -2e3]),
    "job": ["", "clerk", "?"],
    "age": pa.array([50, 39, 50], pa.int64()),
}


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(spark, tmp_path)


class Meanwhile(Files):
    """Files to which something happens once they are listed, or once they are looked at."""

    def __init__(self, spark: SparkSession, *, when: str, do: Any) -> None:
        super().__init__(spark)
        self.when, self.do = when, do

    def list(self, folder: str) -> list[File]:
        """The files as they were before it happened."""
        found = super().list(folder)
        self._happen("listed")
        return found

    def exists(self, path: str) -> bool:
        """Whether a file is there, after it happened."""
        self._happen("asked")
        return super().exists(path)

    def _happen(self, when: str) -> None:
        if when == self.when:
            self.when = ""
            self.do()


def test_parquet_and_csv_of_equal_rows_are_one_snapshot(lake: Lake) -> None:
    """Columns go by name, integers may be long, text is trimmed and `?` is missing as in CSV."""
    lake.put_table("a.parquet", TABLE)
    parquet = lake.ingest()
    assert ("accepted", 3, []) == (parquet["status"], parquet["rows"], parquet["reasons"])
    (lake.raw / "a.parquet").unlink()
    lake.put("b.csv", GOOD)
    csv = lake.ingest()
    assert parquet["snapshot_uri"] == csv["snapshot_uri"]
    assert [(39, "clerk", 1.5, "low"), (50, None, -2000.0, "high"), (50, None, None, "high")] == lake.rows(csv)


def test_parquet_and_csv_are_read_together(lake: Lake) -> None:
    """Of a key that both hold, the file written last decides; a dropped column may be there."""
    lake.put("a.csv", f"{HEADER}\n0,39,old,1,low\n0,38,kept,1,low\n")
    lake.put_table("b.parquet", TABLE | {"": [1, 2, 3], "age": pa.array([1, 39, 2], pa.int8())})
    result = lake.ingest(key=("age",))
    assert [1, 2, 38, 39] == [row[0] for row in lake.rows(result)]
    assert "clerk" == lake.rows(result)[3][1]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"age": pa.array([1.0, 2.0, 3.0])}, "holds age as double: it must be integer"),
    ({"age": ["1", "2", "3"]}, "holds age as string: it must be integer"),
    ({"wage": ["1", "2", "3"]}, "holds wage as string: it must be double"),
    ({"job": pa.array([1, 2, 3])}, "holds job as bigint: it must be string"),
    ({"job": pa.array([[1], [2], [3]])}, "holds job as array<bigint>: it must be string"),
    ({"tax": ["1", "2", "3"]}, "has another header: missing [], unexpected ['tax']"),
    ({"age": pa.array([1, 2, 99999999999])}, "has 1 values of age that are no integer, for example '99999999999'"),
    ({"wage": pa.array([1, 2, float("nan")])}, "has 1 values of wage that are no double, for example 'NaN'"),
]


def test_each_bad_parquet_file_is_refused_with_its_reason(lake: Lake) -> None:
    """Columns of another type or name, values out of range, no rows, and files that are no Parquet or damaged."""
    lake.put_table("good.parquet", TABLE)
    for at, (columns, _) in enumerate(BAD):
        lake.put_table(f"bad-{at}.parquet", TABLE | columns)
    lake.put_table("renamed.parquet", {f"{name} ": values for name, values in TABLE.items()})
    pq.write_table(pa.table(TABLE).slice(0, 0), lake.raw / "none.parquet")
    lake.put("text.parquet", GOOD)
    lake.put("empty.parquet", "")
    lake.put("cut.parquet", (lake.raw / "good.parquet").read_bytes()[:-30])
    lake.put("good.csv.gz", GOOD)
    many = {"age": [1] * 5000, "wage": [1.5] * 5000, "job": ["x"] * 5000, "income": ["low"] * 5000}
    pq.write_table(pa.table(many), lake.raw / "torn.parquet", compression="snappy", use_dictionary=False)
    torn = bytearray((lake.raw / "torn.parquet").read_bytes())
    torn[60:400] = b"\xff" * 340
    lake.put("torn.parquet", bytes(torn))
    result = lake.ingest()
    assert ("accepted", 3) == (result["status"], result["rows"])
    assert {f"bad-{at}.parquet": reason for at, (_, reason) in enumerate(BAD)} | {
        "renamed.parquet": "has another header: missing ['age', 'job', 'wage', 'income'], "
        "unexpected ['income ', 'wage ', 'job ', 'age ']",
        "none.parquet": "holds a header but no rows",
        "text.parquet": "is no Parquet file, although it is called one",
        "empty.parquet": "is empty",
        "cut.parquet": "is damaged: its Parquet schema cannot be read",
        "good.csv.gz": "is compressed: deliver CSV as it is, or Parquet, which compresses by itself",
        "torn.parquet": "is damaged: only 0 of its 5000 rows can be read",
    } == lake.reasons(result)


def test_keys_may_hold_odd_characters(lake: Lake) -> None:
    """Spaces, percent signs, umlauts, globs and `=` in folders are names and nothing else."""
    names = ["day=1/a b.csv", "100%.csv", "%20.csv", "ü/ß+&.csv", "a?[b]{c}*\\.csv", "#;'.csv", "day=2/x y%.parquet"]
    for name in names[:-1]:
        lake.put(name, f"{HEADER}\n0,1,{names.index(name)},1,low\n")
    lake.put_table(names[-1], {"age": [1], "job": ["6"], "wage": [1.0], "income": ["low"]})
    result = lake.ingest(trigger=lake.key("ü/ß+&.csv"))
    assert ([], "accepted") == (result["reasons"], result["trigger"])
    assert [str(at) for at in range(len(names))] == [row[1] for row in lake.rows(result)]
    assert {lake.key(name) for name in names} == {source["key"] for source in result["sources"]}


def test_text_may_hold_quotes_commas_and_a_byte_order_mark(lake: Lake) -> None:
    """As RFC 4180 says: a quoted field holds commas, and a quote as two; lines may end in CR and LF."""
    lake.put("a.csv", f'\ufeff{HEADER}\r\n0,1,"a, ""b""",1,low\r\n\r\n1,2,back\\slash,1,low')
    assert [(1, 'a, "b"', 1.0, "low"), (2, "back\\slash", 1.0, "low")] == lake.rows(lake.ingest())


@pytest.mark.parametrize("when", ["listed", "asked"])
def test_a_file_that_is_deleted_is_left_out(lake: Lake, when: str) -> None:
    """Whether it goes before it is looked at or before it is read, the others make the snapshot and the reason tells."""
    lake.put("a.csv", GOOD)
    lake.put("gone.csv", f"{HEADER}\n0,1,x,1,low\n")
    lake.put_table("broken.parquet", TABLE)
    lake.put("broken.parquet", (lake.raw / "broken.parquet").read_bytes()[:-30])
    result = lake.ingest(
        files=Meanwhile(lake.spark, when=when, do=(lake.raw / "gone.csv").unlink), trigger=lake.key("gone.csv")
    )
    assert ("accepted", 3, "absent") == (result["status"], result["rows"], result["trigger"])
    assert "was deleted before it was read" == lake.reasons(result)["gone.csv"]
    assert f"{lake.key('gone.csv')} was deleted before it was read" == result["reasons"][0]


def test_a_file_that_is_replaced_is_left_to_the_next_run(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is taken, for what was read may be of either version."""
    lake.put("a.csv", GOOD)
    lake.put("b.csv", f"{HEADER}\n0,1,x,1,low\n")
    monkeypatch.setattr(logic, "_stage", after(logic._stage, lambda: lake.put("b.csv", f"{HEADER}\n0,1,xx,1,low\n")))
    result = lake.ingest(trigger=lake.key("b.csv"))
    assert (3, "absent") == (result["rows"], result["trigger"])
    assert {"b.csv": logic.REPLACED} == lake.reasons(result)


def test_the_only_file_is_gone(lake: Lake) -> None:
    """That is a rejection whose reason names it."""
    lake.raw.joinpath("kept").mkdir()
    result = lake.ingest(trigger="census/raw/gone.csv")
    assert ("rejected", "absent") == (result["status"], result["trigger"])
    assert [
        "census/raw/gone.csv started the run but is not among the raw files: it was deleted or renamed",
        f"there is no file in {lake.raw.as_uri()}/",
    ] == result["reasons"]


@pytest.mark.long
def test_a_line_of_a_gigabyte_is_refused(lake: Lake) -> None:
    """It takes a session of 768 MB no more memory than any other line."""
    lake.put("a.csv", GOOD)
    lake.put("long.csv", GOOD + "3,50,")
    with (lake.raw / "long.csv").open("ab") as file:
        for _ in range(1 << 10):
            file.write(b"x" * (1 << 20))
    result = lake.ingest()
    assert (3, {"long.csv": "has a line of more than 1,048,576 bytes"}) == (result["rows"], lake.reasons(result))


def test_a_snapshot_holds_a_sample_of_its_rows(lake: Lake) -> None:
    """At most 2,000 rows of the same types with both labels, the same whatever files the rows came in."""
    rows = [f"{at},{at},job,{at / 2},{'high' if at % 1000 == 0 else 'low'}" for at in range(3000)]
    lake.put("a.csv", "\n".join([HEADER, *rows]))
    folder = lake.snapshots / lake.ingest()["snapshot_id"]
    first = pq.read_table(folder / "sample" / "part-00000.parquet")
    assert pq.read_schema(folder / "data" / "part-00000.parquet").equals(first.schema)
    assert (1003, 3) == (first.num_rows, first["income_level"].to_pylist().count("high"))
    assert set(first["age"].to_pylist()) <= set(range(3000))
    other = Lake(lake.spark, lake.raw.parent / "other")
    other.put("b.csv", "\n".join([HEADER, *rows[1500:]]))
    other.put("c.csv", "\n".join([HEADER, *reversed(rows[:1500])]))
    again = other.snapshots / other.ingest()["snapshot_id"]
    assert folder.name == again.name
    for name in ("sample", "data"):
        path = Path(name, "part-00000.parquet")
        assert (folder / path).read_bytes() == (again / path).read_bytes()


def after(call: Any, do: Any) -> Any:
    """A call after which something happens."""

    def both(*args: Any) -> Any:
        result = call(*args)
        do()
        return result

    return both

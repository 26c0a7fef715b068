"""The split, what reaches it, and what the encoding learns from it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL, NEGATIVE, NUMERIC, POSITIVE, DataError
from pipeline_code.census.preprocess.files import SplitFile
from pipeline_code.census.preprocess.logic import EXAMPLES, split_of, to_examples
from pipeline_code.census.tables import columns_to_matrix, read_encoding, read_split
from snapshots import FOLDERS, census, preprocess, preprocess_arguments, write_snapshot

ROOT = Path(__file__).resolve().parents[3]
SPLITS = FOLDERS[:3]
# Text without dictionaries.
PLAIN = pa.schema([(field.name, pa.string() if field.name in CATEGORICAL else field.type) for field in EXAMPLES])

TEXTS = st.one_of(st.none(), st.sampled_from(["Private", "Local-gov", "é ü"]), st.text(max_size=3))
NUMBERS = st.one_of(st.none(), st.integers(-(2**40), 2**40), st.just(0))
ROW = st.tuples(*(NUMBERS if name in NUMERIC else TEXTS for name in FEATURES))


def rows(count: int, **columns: list[Any]) -> pa.Table:
    """Distinct rows of both classes; columns not named hold one value each."""
    defaults: dict[str, list[Any]] = {name: ["x" if name in CATEGORICAL else 1] * count for name in FEATURES}
    labels = [POSITIVE if at % 3 == 0 else NEGATIVE for at in range(count)]
    return pa.table({**defaults, "age": list(range(count)), LABEL: labels, **columns})


def batch(table: pa.Table) -> pa.RecordBatch:
    """All rows of a table as one batch."""
    return table.combine_chunks().to_batches()[0]


def splits(table: pa.Table, *, seed: int = 1) -> list[int]:
    """The split of each row."""
    return [int(at) for at in split_of(to_examples(batch(table)), seed=seed)]


def written(work: Path) -> dict[str, bytes]:
    """Every file that preprocess wrote, by name."""
    return {f"{folder}/{file.name}": file.read_bytes() for folder in FOLDERS for file in (work / folder).iterdir()}


def members(work: Path) -> dict[str, list[str]]:
    """The rows of each split, whatever their order."""
    return {name: sorted(map(repr, read_split(work / name, name).to_pylist())) for name in SPLITS}


def test_the_split_has_the_declared_shares() -> None:
    """70, 10 and 20 percent, within the noise of hashing."""
    shares = np.bincount(splits(rows(10_000))) / 10_000
    assert [0.7, 0.1, 0.2] == pytest.approx(shares.tolist(), abs=0.015)


def test_the_split_of_a_row_is_for_ever() -> None:
    """Another hash would move rows of yesterday's holdout into tomorrow's training."""
    table = rows(12, age=[at * 1.5 for at in range(12)], workclass=["é", None] * 6)
    assert [0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 2] == splits(table, seed=18)


def test_another_seed_gives_another_split() -> None:
    """The seed is part of the hash."""
    assert splits(rows(100), seed=1) != splits(rows(100), seed=2)


def test_the_label_has_no_part_in_the_split() -> None:
    """A row's copy with the other answer stays beside it, so the holdout's answers cannot be learned."""
    assert splits(rows(500)) == splits(rows(500, **{LABEL: [POSITIVE] * 500}))


def test_equal_features_land_in_one_split_and_are_all_kept(tmp_path: Path) -> None:
    """Equal rows are different people: none is dropped, none crosses over."""
    work = preprocess(write_snapshot(tmp_path / "snapshot", census()), tmp_path / "work")
    homes: dict[str, set[str]] = {}
    tables = {name: read_split(work / name, name) for name in SPLITS}
    for name, table in tables.items():
        for row in table.select(list(FEATURES)).to_pylist():
            homes.setdefault(repr(row), set()).add(name)
    assert {1} == {len(names) for names in homes.values()}
    assert census().num_rows == sum(table.num_rows for table in tables.values()) > len(homes)


def stored_otherwise(table: pa.Table) -> Iterator[pa.Table]:
    """The same values in other types and encodings."""
    labels = table.column(LABEL)
    for text, number in (
        (pa.large_string(), pa.float64()),
        (pa.dictionary(pa.int32(), pa.string()), pa.int64()),
        (pa.dictionary(pa.int16(), pa.large_string()), pa.decimal128(38, 4)),
    ):
        schema = [(name, text if name in CATEGORICAL else number) for name in FEATURES]
        yield table.select(list(FEATURES)).cast(pa.schema(schema)).append_column(LABEL, labels.dictionary_encode())
    # A dictionary in another order, with a value that no row has.
    at = table.column_names.index("workclass")
    column = table.column("workclass").combine_chunks()
    values = pa.array(["nobody", *sorted({value for value in column.to_pylist() if value is not None}, reverse=True)])
    positions = pa.array([None if value is None else values.to_pylist().index(value) for value in column.to_pylist()])
    yield table.set_column(at, "workclass", pa.DictionaryArray.from_arrays(positions.cast(pa.int32()), values))


@given(table=st.lists(ROW, min_size=1, max_size=6), cut=st.integers(0, 6), seed=st.integers(-(2**63), 2**64))
def test_the_split_depends_on_values_alone(table: list[tuple[Any, ...]], cut: int, seed: int) -> None:
    """Not on the batch, the file's types or the encoding of its text."""
    types = pa.schema([(name, pa.float64() if name in NUMERIC else pa.string()) for name in FEATURES])
    columns = {name: list(values) for name, values in zip(FEATURES, zip(*table, strict=True), strict=True)}
    plain = pa.table(columns, schema=types).append_column(LABEL, [[NEGATIVE] * len(table)])
    expected = splits(plain, seed=seed)
    halves = [half for half in (plain.slice(0, cut), plain.slice(cut)) if half.num_rows]
    assert expected == [at for half in halves for at in splits(half, seed=seed)]
    for other in stored_otherwise(plain):
        assert expected == splits(other, seed=seed)


def test_zeros_are_equal_and_missing_values_are_too() -> None:
    """A negative zero equals zero; NaN and null are both no value, and null in what is written."""
    examples = to_examples(batch(rows(4, age=[0.0, -0.0, None, float("nan")])))
    homes = split_of(examples, seed=1)
    assert (homes[0], homes[2]) == (homes[1], homes[3])
    assert ["0.0", "0.0", "None", "None"] == [str(value) for value in examples.column("age").to_pylist()]


def test_the_bytes_depend_on_rows_and_seed_alone(tmp_path: Path) -> None:
    """Another process with another hash seed, files cut and encoded otherwise: the same output, byte for byte."""
    table = census()
    half = table.num_rows // 2
    snapshots = (
        write_snapshot(tmp_path / "one", table),
        write_snapshot(tmp_path / "two", table.slice(0, half), table.slice(half), row_group_size=999),
        write_snapshot(tmp_path / "three", table, use_dictionary=False),
    )
    results = []
    for at, snapshot in enumerate(snapshots):
        arguments = preprocess_arguments(snapshot, tmp_path / f"work-{at}")
        command = [sys.executable, "-m", "pipeline_code.census.preprocess", *arguments]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(at)})
        results.append(written(tmp_path / f"work-{at}"))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("batch_rows", [1, 7, 299, 300, 301, 1000, 5000])
def test_row_groups_do_not_follow_batches(tmp_path: Path, batch_rows: int) -> None:
    """Whatever comes at a time, all but the last hold the same number of rows, and the file the same bytes."""
    examples = to_examples(batch(census().slice(0, 1000)))
    names = ("whole", "cut")
    files = {name: SplitFile(tmp_path / name, row_group=300) for name in names}
    files["whole"].append(examples)
    for start in range(0, 1000, batch_rows):
        part = pa.Table.from_batches([examples.slice(start, batch_rows)]).cast(PLAIN).cast(EXAMPLES)
        files["cut"].append(batch(part))
    for file in files.values():
        file.close()
    metadata = pq.read_metadata(tmp_path / "cut")
    assert [300, 300, 300, 100] == [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()
    assert (1000, files["whole"].positives) == (files["cut"].rows, files["cut"].positives)


def test_hosts_share_the_work(tmp_path: Path) -> None:
    """Three hosts, one of them with no file, give the splits and the encoding that one host gives."""
    table = census()
    alone = preprocess(write_snapshot(tmp_path / "all", table), tmp_path / "alone")
    hosts = ("algo-1", "algo-2", "algo-3")
    shares = (table.slice(0, 10_000), table.slice(10_000), None)
    for host, share in zip(hosts, shares, strict=True):
        snapshot = write_snapshot(tmp_path / host, *([] if share is None else [share]))
        preprocess(snapshot, tmp_path / "shared", host=host, hosts=hosts)
    assert members(alone) == members(tmp_path / "shared")
    assert read_encoding(alone / "encoding") == read_encoding(tmp_path / "shared" / "encoding")
    assert [f"part-{host}.parquet" for host in hosts] == sorted(
        path.name for path in (tmp_path / "shared" / "train").iterdir()
    )


def test_hosts_that_together_got_nothing_are_found_out_by_the_reader(tmp_path: Path) -> None:
    """No host of several can know that the others found no rows either."""
    for host in ("algo-1", "algo-2"):
        preprocess(write_snapshot(tmp_path / host), tmp_path / "work", host=host, hosts=("algo-1", "algo-2"))
    with pytest.raises(DataError, match="the holdout split has no rows; give preprocess more data"):
        read_split(tmp_path / "work" / "holdout", "holdout")


def test_categories_come_from_the_train_split_alone(tmp_path: Path) -> None:
    """One that training never saw is missing to the model."""
    table = rows(400, workclass=[f"category {at}" for at in range(400)])
    work = preprocess(write_snapshot(tmp_path / "snapshot", table), tmp_path / "work")
    encoding = read_encoding(work / "encoding")
    train, holdout = (read_split(work / name, name) for name in ("train", "holdout"))
    assert sorted(train.column("workclass").to_pylist()) == encoding["categories"]["workclass"]
    at = FEATURES.index("workclass")
    assert np.isfinite(columns_to_matrix(train, encoding)[:, at]).all()
    assert np.isnan(columns_to_matrix(holdout, encoding)[:, at]).all()


def test_missing_marks_and_spaces_are_no_categories(tmp_path: Path) -> None:
    """What inference takes for missing or trims is not learned as a category of its own."""
    texts = ["?", "", " x ", "x"]
    table = rows(200, workclass=[texts[at % 4] for at in range(200)])
    work = preprocess(write_snapshot(tmp_path / "snapshot", table), tmp_path / "work")
    assert ["x"] == read_encoding(work / "encoding")["categories"]["workclass"]


def test_columns_that_the_contract_does_not_know_are_ignored(tmp_path: Path) -> None:
    """They change no byte."""
    plain = preprocess(write_snapshot(tmp_path / "plain", census()), tmp_path / "work-plain")
    more = census().append_column("extra", pa.nulls(census().num_rows)).select(["extra", LABEL, *reversed(FEATURES)])
    wide = preprocess(write_snapshot(tmp_path / "wide", more), tmp_path / "work-wide")
    assert written(plain) == written(wide)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            rows(9).drop_columns(["age", "gender"]),
            r"the snapshot lacks the columns \['age', 'gender'\]; it has \['work",
        ),
        (rows(2, age=["1", "2"]), "age must hold numbers, but the snapshot holds it as string"),
        (rows(2, age=[True, False]), "age must hold numbers, but the snapshot holds it as bool"),
        (rows(2, gender=[1, 2]), "gender must hold text, but the snapshot holds it as int64"),
        (rows(2, income=[0, 1]), "income must hold text, but the snapshot holds it as int64"),
        (rows(2, income=[POSITIVE, "50K"]), "income must be '<=50K' or '>50K', got '50K'"),
        (rows(2, income=[None, POSITIVE]), "income must be '<=50K' or '>50K', got None"),
        (rows(2, age=[1.0, float("-inf")]), "age must be a finite number that float32 can hold, got -inf"),
        (rows(2, age=[1.0, 1e39]), r"age must be a finite number that float32 can hold, got 1e\+39"),
        (rows(0), "the train split has 0 of 0 rows, 0 of them '>50K'; a classifier needs both values of income"),
        (rows(300, income=[NEGATIVE] * 300), r"the train split has \d+ of 300 rows, 0 of them '>50K'"),
        (
            rows(3),
            "the validation split has 0 of 3 rows, 0 of them '>50K'; a classifier needs both values of income in every split",
        ),
    ],
)
def test_what_cannot_be_learned_from_ends_the_step_with_one_sentence(
    tmp_path: Path, table: pa.Table, message: str
) -> None:
    """The reason, and nothing else, is what the process ends with."""
    with pytest.raises(SystemExit, match=f"^error: {message}") as ended:
        preprocess(write_snapshot(tmp_path / "snapshot", table), tmp_path / "work")
    assert "\n" not in str(ended.value)


def test_a_snapshot_without_parts_is_an_empty_one(tmp_path: Path) -> None:
    """One host that got no file has nothing to split."""
    with pytest.raises(SystemExit, match="the train split has 0 of 0 rows"):
        preprocess(write_snapshot(tmp_path / "snapshot"), tmp_path / "work")


def test_a_fault_of_the_step_shows_its_traceback(tmp_path: Path) -> None:
    """What is no mistake in the data is not hidden behind a sentence."""
    snapshot = write_snapshot(tmp_path / "snapshot")
    (snapshot / "data" / "part-0.parquet").write_bytes(b"not parquet")
    with pytest.raises(pa.ArrowInvalid):
        preprocess(snapshot, tmp_path / "work")

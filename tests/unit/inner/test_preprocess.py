"""The split and the encoding."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL, NEGATIVE, POSITIVE, DataError
from pipeline_code.census.preprocess.logic import fit_encoding, split, to_examples

Row = tuple[Any, ...]


def row(age: int, label: str = NEGATIVE, **values: Any) -> Row:
    """A raw row whose other columns hold one value each."""
    defaults = {name: "x" if name in CATEGORICAL else 1 for name in FEATURES}
    return (*(defaults | {"age": age} | values).values(), label)


def rows(count: int) -> list[Row]:
    """Distinct rows of both classes."""
    return [row(age, POSITIVE if age % 3 == 0 else NEGATIVE) for age in range(count)]


def test_the_split_has_the_declared_shares() -> None:
    """70, 10 and 20 percent, within the noise of hashing."""
    shares = {name: len(members) / 3000 for name, members in split(to_examples(rows(3000)), seed=1).items()}
    assert {"train": 0.7, "validation": 0.1, "holdout": 0.2} == pytest.approx(shares, abs=0.02)


def test_equal_features_land_in_one_split_whatever_their_label() -> None:
    """A copy of a training row, or its answer, never reaches the holdout."""
    examples = to_examples([*rows(500), *rows(500), *(row(age, POSITIVE) for age in range(500))])
    homes: dict[Row, set[str]] = {}
    for name, members in split(examples, seed=1).items():
        for example in members:
            homes.setdefault(example[:-1], set()).add(name)
    assert {1} == {len(splits) for splits in homes.values()}


def test_equal_rows_are_all_kept() -> None:
    """Equal rows are different people."""
    assert 1000 == sum(map(len, split(to_examples([*rows(500), *rows(500)]), seed=1).values()))


def test_the_split_does_not_depend_on_order_or_number_type() -> None:
    """However the snapshot's files store the rows, the same examples come out in the same order."""
    shuffled = [(*(float(value) if isinstance(value, int) else value for value in item),) for item in rows(500)]
    random.Random(3).shuffle(shuffled)
    assert split(to_examples(rows(500)), seed=1) == split(to_examples(shuffled), seed=1)


def test_another_seed_gives_another_split() -> None:
    """The seed is part of the hash."""
    assert split(to_examples(rows(500)), seed=1) != split(to_examples(rows(500)), seed=2)


def test_categories_come_from_the_train_split_alone() -> None:
    """The encoding is fitted on what it is given, missing values left out."""
    examples = to_examples([row(1, workclass="b"), row(2, workclass=None), row(3, workclass="a")])
    assert ["a", "b"] == fit_encoding(examples)["categories"]["workclass"]


def test_one_class_is_refused_in_a_sentence() -> None:
    """Nothing can be learned from one class, and the sentence says so."""
    with pytest.raises(DataError, match="0 of them '>50K'; a classifier needs both values of income in every split"):
        split(to_examples([row(age) for age in range(300)]), seed=1)


def test_an_unknown_label_is_refused() -> None:
    """A label that the contract does not know is not guessed."""
    with pytest.raises(DataError, match="income must be '<=50K' or '>50K', got None"):
        to_examples([(*row(1)[:-1], None)])


def _run(snapshot: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    outputs = [f"--output-{name}={out / name}" for name in ("train", "validation", "holdout", "encoding")]
    command = [sys.executable, "-m", "pipeline_code.census.preprocess", f"--input-snapshot={snapshot}", *outputs]
    return subprocess.run([*command, "--seed=1"], capture_output=True, text=True, cwd=Path(__file__).parents[3])


def test_a_mistake_in_the_data_ends_the_step_with_one_sentence(tmp_path: Path) -> None:
    """No traceback, a non-zero exit code, the reason on stderr."""
    (tmp_path / "data").mkdir()
    table = pa.table({name: ["1"] for name in (*FEATURES, LABEL) if name != "age"})
    pq.write_table(table, tmp_path / "data" / "part-0.parquet")
    done = _run(tmp_path, tmp_path / "out")
    assert 1 == done.returncode
    assert done.stderr.startswith("error: the snapshot lacks the columns ['age']; it has ['workclass'")
    assert 1 == done.stderr.count("\n")


def test_a_fault_of_the_step_shows_its_traceback(tmp_path: Path) -> None:
    """What is no mistake in the data is not hidden behind a sentence."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part-0.parquet").write_bytes(b"not parquet")
    done = _run(tmp_path, tmp_path / "out")
    assert 1 == done.returncode
    assert "Traceback" in done.stderr

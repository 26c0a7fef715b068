"""Data that differs from a file in one named way."""

from pathlib import Path

import pytest

from dual_pipeline_local.run import BadData
from dual_pipeline_local.scenarios.data_variant import (
    DataVariant,
    every_tenth_missing,
    older,
    read_rows,
    shuffled,
    without,
)

PEOPLE = "age,job,loan\n" + "".join(f"{age},clerk,{'yes' if age % 3 else 'no'}\n" for age in range(20, 50))


def written(folder: Path, variant: DataVariant) -> list[list[str]]:
    """The variant's rows, header included."""
    source = folder / "people.csv"
    source.write_text(PEOPLE)
    path = variant.write(source, folder / "variants")
    assert (PEOPLE, "people.csv") == (source.read_text(), path.name)
    return [line.split(",") for line in path.read_text().splitlines()]


def test_only_the_named_column_changes(tmp_path: Path) -> None:
    """All other values stay, in their order, and so does the file that was given."""
    rows = written(tmp_path, DataVariant(says="", changes=(("loan", lambda values: ["?"] * len(values)),)))
    assert [[*line.split(",")[:2], "?"] for line in PEOPLE.splitlines()[1:]] == rows[1:]
    assert ["age", "job", "loan"] == rows[0]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Data of another kind is refused with a sentence."""
    with pytest.raises(BadData, match=r"people.csv has no column 'income', which this scenario changes"):
        written(tmp_path, DataVariant(says="", changes=(("income", shuffled),)))


def test_shuffled_values_are_the_same_values() -> None:
    """Nothing is lost and nothing stays where it was for long; each time it is the same order."""
    values = [str(number) for number in range(1000)]
    assert sorted(values) == sorted(shuffled(values))
    assert sum(a == b for a, b in zip(values, shuffled(values), strict=True)) < 20
    assert shuffled(values) == shuffled(values)


def test_a_tenth_is_missing() -> None:
    """More than the hundredth that the rules of the census project let pass."""
    assert [100, 900] == [every_tenth_missing(["7"] * 1000).count(value) for value in ("", "7")]


def test_older_people() -> None:
    """Years are added where an age is known."""
    assert ["35", " ?", ""] == older(15)(["20", " ?", ""])


def test_a_client_sends_no_label() -> None:
    """Rows lose the columns that only the file has, and the blanks around values."""
    assert [["39", "clerk"]] == without(("", "loan"), ["", "age", "job", "loan"], [["0", "39", " clerk", " no"]])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no CSV file with a header"),
        (b"\xff\xfe\x00", "is no CSV file with a header"),
        (b"a,b\n1,2\n3\n", "holds rows that have not the 2 columns of its header"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """A file that has no header, is no text or is ragged is named."""
    source = tmp_path / "people.csv"
    source.write_bytes(content)
    with pytest.raises(BadData, match=told):
        read_rows(source)

"""Data that differs from the file given in one named way."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..run import BadData

Rows: TypeAlias = list[list[str]]
# How the values of one column become others.
Change: TypeAlias = Callable[[list[str]], list[str]]


@dataclass(frozen=True, kw_only=True)
class DataVariant:
    """The same rows with other values in a few columns; `says` tells what is wrong with them."""

    says: str
    changes: tuple[tuple[str, Change], ...]

    def read(self, source: Path) -> tuple[list[str], Rows]:
        """Header and rows of the variant of a CSV file.

        Raises BadData when the file has no such column.
        """
        header, rows = read_rows(source)
        for column, change in self.changes:
            if column not in header:
                raise BadData(f"the data file {source} has no column {column!r}, which this scenario changes")
            place = header.index(column)
            for row, value in zip(rows, change([row[place] for row in rows]), strict=True):
                row[place] = value
        return header, rows

    def write(self, source: Path, folder: Path) -> Path:
        """Write the variant of a CSV file under the same name into a folder.

        Raises BadData when the file has no such column.
        """
        header, rows = self.read(source)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / source.name
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *rows])
        return path


def read_rows(source: Path) -> tuple[list[str], Rows]:
    """Header and rows of a CSV file; raises BadData for what is none."""
    try:
        with source.open(newline="", encoding="utf-8") as stream:
            header, *rows = (row for row in csv.reader(stream) if row)
    except (ValueError, csv.Error) as error:
        raise BadData(f"the data file {source} is no CSV file with a header: {error}") from error
    if any(len(row) != len(header) for row in rows):
        raise BadData(f"the data file {source} holds rows that have not the {len(header)} columns of its header")
    return header, rows


def without(columns: Collection[str], header: list[str], rows: Rows) -> Rows:
    """The rows as a client sends them: without the columns that only the file has."""
    kept = [at for at, name in enumerate(header) if name not in columns]
    return [[row[at].strip() for at in kept] for row in rows]


def older(years: int) -> Change:
    """Everybody whose age is known is so many years older."""
    return lambda values: [str(int(value) + years) if value.strip().isdigit() else value for value in values]


def shuffled(values: list[str]) -> list[str]:
    """The same values in an order that means nothing."""
    return random.Random(7).sample(values, len(values))  # noqa: S311


def every_tenth_missing(values: list[str]) -> list[str]:
    """Every tenth value left out."""
    return ["" if at % 10 == 0 else value for at, value in enumerate(values)]

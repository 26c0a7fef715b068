"""What a raw file must look like: the contract between whoever delivers data and the ingest job."""

import json
from dataclasses import dataclass, field
from typing import Literal

from dual_pipeline.validation import check, check_choice, check_match, check_unique

ColumnType = Literal["string", "integer", "double"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the snapshot: `name` there, `source` in the raw file's header, and its Spark SQL type."""

    name: str
    type: ColumnType
    source: str | None = None

    def __post_init__(self) -> None:
        check_match(owner=self, field="name", pattern=r"[a-z][a-z0-9_]*", allowed="snake_case")
        check_choice(owner=self, field="type", choices=("string", "integer", "double"))

    @property
    def header(self) -> str:
        """The column's name in the raw file."""
        return self.name if self.source is None else self.source


@dataclass(frozen=True, kw_only=True)
class DataContract:
    """The columns of a data set in file order, its label, and how missing values are written.

    `dropped` are raw headers that the snapshot leaves out. `key` names the columns that identify a row; an empty
    key means that rows have no identity and equal rows are all kept.
    """

    columns: tuple[Column, ...]
    label: str
    positive: str
    negative: str
    dropped: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=("", "?"))

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        check_unique(owner=self, field="columns", names=names)
        check_choice(owner=self, field="label", choices=names)
        check(owner=self, field="key", allowed="names of columns", ok=set(self.key) <= set(names))
        check(owner=self, field="positive", allowed="another value than negative", ok=self.positive != self.negative)

    @property
    def features(self) -> tuple[Column, ...]:
        """Every column but the label, in contract order."""
        return tuple(column for column in self.columns if column.name != self.label)

    def to_json(self) -> str:
        """The contract as the ingest job reads it."""
        return json.dumps(
            {
                "columns": [{"name": c.name, "type": c.type, "header": c.header} for c in self.columns],
                "label": self.label,
                "positive": self.positive,
                "negative": self.negative,
                "dropped": list(self.dropped),
                "key": list(self.key),
                "missing": list(self.missing),
            },
            sort_keys=True,
        )

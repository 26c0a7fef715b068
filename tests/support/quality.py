"""Tables and rules on which every engine of data quality is tried."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import duckdb

from dual_pipeline.ruleset import Rule, Ruleset
from pipeline_code.platform_jobs.quality.duck import DuckDb

SCHEMA = "number int, big bigint, real double, text string, flag boolean"
COLUMNS = ("number", "big", "real", "text", "flag")
NAN, INFINITY = float("nan"), float("inf")

Row = tuple[int | None, int | None, float | None, str | None, bool | None]

TABLES: dict[str, list[Row]] = {
    "plain": [(1, 10, 0.5, "a", True), (2, 20, 1.5, "b", False), (3, 30, 2.5, "c", True)],
    "nulls": [(1, None, 0.5, "a", None), (None, 20, None, None, False), (3, 30, 2.5, "c", True)],
    "all null": [(None, None, None, None, None)] * 3,
    "empty": [],
    "one row": [(1, 1, 1.0, "a", True)],
    "single-valued": [(2, 2, 2.0, "a", False)] * 4,
    "not numbers": [(1, 1, NAN, "a", True), (2, 2, INFINITY, "b", True), (3, 3, -INFINITY, "c", True)],
    "only nan": [(1, 1, NAN, "a", True)] * 2,
    "zeros": [(0, 0, 0.0, "a", True), (0, 0, -0.0, "b", True)],
    "huge": [(2147483647, 9007199254740991, 1e300, "a", True), (-2147483648, -9007199254740991, -1e300, "b", True)],
    "tiny": [(1, 1, 1e-300, "a", True), (2, 2, 5e-324, "b", True)],
    "texts": [
        (1, 1, 1.0, "it's", True),
        (2, 2, 2.0, 'say "hi"', True),
        (3, 3, 3.0, "back\\slash", True),
        (4, 4, 4.0, "", True),
        (5, 5, 5.0, " a ", True),
        (6, 6, 6.0, "true", True),
        (7, 7, 7.0, "new\nline", True),
    ],
    "unicode": [
        (1, 1, 1.0, "é", True),
        (2, 2, 2.0, "日本", True),
        (3, 3, 3.0, "e\u0301", True),
        (4, 4, 4.0, "🦆", True),
    ],
    "null as text": [(1, 1, 1.0, "NullValue", True), (2, 2, 2.0, None, True), (3, 3, 3.0, "null", True)],
}

KINDS: tuple[Literal["IsComplete"], Literal["ColumnExists"]] = ("IsComplete", "ColumnExists")
_NUMERIC = ("number", "big", "real")
_BOUNDS: tuple[Any, ...] = (-1, 0, 1, 2, 2.5, 3)


def _rules() -> list[Rule]:
    """Every kind with every operator that it may have, about every column that it may have."""
    found = [Rule(kind=kind, column=column) for kind in KINDS for column in (*COLUMNS, "absent")]
    orders: list[tuple[Any, Any]] = [(operator, bound) for operator in (">", ">=", "<", "<=") for bound in _BOUNDS]
    ranges: list[tuple[Any, Any]] = [("between", (0, 3)), ("between", (1, 3)), ("between", (-1.5, 2.5))]
    whole: list[tuple[Any, Any]] = [("=", 3), ("in", (1, 2, 4))]
    for operator, operand in (*orders, *ranges, *whole):
        found.append(Rule(kind="RowCount", operator=operator, operand=operand))
        for column in ("number", "text", "flag", "absent"):
            found.append(Rule(kind="DistinctValuesCount", column=column, operator=operator, operand=operand))
    for operator, operand in (*orders, *ranges):
        found += [Rule(kind="Mean", column=name, operator=operator, operand=operand) for name in (*_NUMERIC, "text")]
        found += [
            Rule(kind="ColumnValues", column=name, operator=operator, operand=operand)
            for name in (*_NUMERIC, "text", "absent")
        ]
    for operator, operand in (*[(each, share) for each in (">", ">=", "<", "<=") for share in (0, 0.5, 1)], *ranges):
        found += [Rule(kind="Completeness", column=name, operator=operator, operand=operand) for name in COLUMNS]
    for values in ((1, 2, 3), (0,), (2.5, 1.5, 0.5), (1, 2, 3, 4, 5, 6, 7)):
        found += [Rule(kind="ColumnValues", column=name, operator="in", operand=values) for name in _NUMERIC]
    for texts in (("a", "b", "c"), ("é", "日本", "e\u0301", "🦆"), ("NullValue", "null"), ("true",), ("",)):
        found.append(Rule(kind="ColumnValues", column="text", operator="in", operand=texts))
    statements = (
        "select count(*) as c from primary where number > 1",
        "select avg(case when text = 'a' then 1 else 0 end) as share from primary",
        "select sum(number) as total from primary",
        "select coalesce(max(number), -1) as most from primary where text is not null",
        "select count(distinct text) as c from primary",
        "select avg(real) as mean from primary where number in (1, 2)",
    )
    found += [Rule(kind="CustomSql", sql=sql, operator=">", operand=1) for sql in statements]
    return found


def documents(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as the job reads them."""
    return [rule.document() for rule in rules]


RULES = documents(_rules())


def duck(rows: Sequence[Row]) -> DuckDb:
    """DuckDB over a table of these rows."""
    connection = duckdb.connect()
    types = "number integer, big bigint, real double, text varchar, flag boolean"
    connection.execute(f"create table t ({types})")
    if rows:
        connection.executemany("insert into t values (?, ?, ?, ?, ?)", [list(row) for row in rows])
    return DuckDb(connection, "t")


def ruleset(*rules: Rule, **more: Any) -> dict[str, Any]:
    """A ruleset as the job reads it."""
    found: dict[str, Any] = json.loads(Ruleset(rules=rules, **more).to_json())
    return found

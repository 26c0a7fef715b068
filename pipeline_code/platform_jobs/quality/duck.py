"""DuckDB as the engine: milliseconds, for tests and where Deequ is not to be had."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from pipeline_code.platform_jobs.quality.rules import ROW_LEVEL, TABLE, Outcome, Rule, condition, literal

_COMPARISONS: dict[str, Callable[[float, Any], bool]] = {
    "=": lambda value, operand: bool(value == operand),
    ">": lambda value, operand: bool(value > operand),
    ">=": lambda value, operand: bool(value >= operand),
    "<": lambda value, operand: bool(value < operand),
    "<=": lambda value, operand: bool(value <= operand),
    "between": lambda value, operand: bool(operand[0] < value < operand[1]),
    "in": lambda value, operand: value in operand,
}
_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE"}


class DuckDb:
    """Judges the relation `source`, which is any SQL that a table can be read from."""

    name = "duckdb"
    version: str = duckdb.__version__

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: str) -> None:
        self._connection = connection
        types = [
            (str(row[0]), str(row[1])) for row in connection.execute(f"describe select * from {source}").fetchall()
        ]
        self.columns: Mapping[str, str] = {name: "number" if kind in _NUMBERS else "string" for name, kind in types}
        selected = ", ".join(f"{_normal(name, kind)} as {_quoted(name)}" for name, kind in types)
        # `primary` is a word of DuckDB's own, which statements may use for the table after all when it is quoted.
        connection.execute(f'create or replace temp view "{TABLE}" as select {selected} from {source}')
        self.rows = int(self._one("count(*)")[0])

    def evaluate(self, rules: Sequence[Rule]) -> list[Outcome]:
        """All of them but statements in one pass."""
        measured = [rule for rule in rules if rule["kind"] != "CustomSql"]
        found = iter(self._one(*map(_measure, measured)) if measured else ())
        return [self._judge(rule, self._custom(rule) if rule["kind"] == "CustomSql" else next(found)) for rule in rules]

    def _one(self, *expressions: str) -> tuple[Any, ...]:
        row = self._connection.execute(f'select {", ".join(expressions)} from "{TABLE}"').fetchone()
        return row or ()

    def _custom(self, rule: Rule) -> Any:
        sql = str(rule["sql"]).replace(f"from {TABLE}", f'from "{TABLE}"')
        try:
            row = self._connection.execute(sql).fetchone()
        except duckdb.Error as error:
            return f"the statement fails: {str(error).splitlines()[0]}"
        return None if row is None else row[0]

    def _judge(self, rule: Rule, value: Any) -> Outcome:
        if isinstance(value, str):
            return Outcome(False, None, value)
        if value is None:
            return Outcome(False, None, "there is no value")
        if rule["kind"] == "ColumnExists":
            return Outcome(True, 1.0, "the column exists")
        if rule["kind"] in ROW_LEVEL:
            share, seen = value
            told = "there is no value" if seen is None else f"observed {seen:.6g}"
            return Outcome(share == 1, None if seen is None else float(seen), told)
        number = float(value)
        return Outcome(_holds(rule, number), number, f"observed {number:.6g}")


def _holds(rule: Rule, value: float) -> bool:
    return _COMPARISONS[rule["operator"]](value, rule["operand"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _normal(name: str, kind: str) -> str:
    """A double that is no number is missing, and there is one zero."""
    column = _quoted(name)
    return f"case when isfinite({column}) then {column} + 0.0 end" if kind in ("DOUBLE", "FLOAT") else column


def _measure(rule: Rule) -> str:
    kind = rule["kind"]
    if kind in ("RowCount", "ColumnExists"):
        return "count(*)"
    column = _quoted(rule["column"])
    if kind in ROW_LEVEL:
        satisfied = f"count(*) filter (where {condition(rule, column)}) / count(*)"
        return f"[{satisfied}, {_seen(rule, column)}]"
    if kind == "Completeness":
        return f"count({column}) / count(*)"
    if kind == "Mean":
        return f"avg({column})"
    if kind == "DistinctValuesCount":
        # Deequ counts texts, and a missing value as the text NullValue.
        return f"count(distinct coalesce(cast({column} as varchar), {literal('NullValue')}))"
    raise ValueError(f"DuckDB judges no rule of kind {kind}")


def _seen(rule: Rule, column: str) -> str:
    """The number that Deequ reports beside a row-level rule's outcome."""
    if rule["kind"] == "IsComplete":
        return f"count({column}) / count(*)"
    if rule["operator"] in (">", ">="):
        return f"cast(min({column}) as double)"
    if rule["operator"] in ("<", "<="):
        return f"cast(max({column}) as double)"
    missing = f"{column} is null or " if rule["operator"] == "between" else ""
    return f"count(*) filter (where {missing}{condition(rule, column)}) / count(*)"

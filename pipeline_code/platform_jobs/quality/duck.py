"""DuckDB as the engine: milliseconds, for tests and where Deequ is not to be had."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from pipeline_code.platform_jobs.quality.rules import TABLE, Outcome, Rule, condition, literal

_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE"}


class DuckDb:
    """Judges the relation `source`, which is any SQL that a table can be read from."""

    name = "duckdb"
    version: str = duckdb.__version__

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: str) -> None:
        self._connection = connection
        types = [(str(row[0]), str(row[1])) for row in connection.execute(f"describe select * from {source}").fetchall()]
        self.columns: Mapping[str, str] = {name: "number" if kind in _NUMBERS else "string" for name, kind in types}
        selected = ", ".join(f"{_normal(name, kind)} as {_quoted(name)}" for name, kind in types)
        # `primary` is a word of DuckDB's own, which statements may use for the table after all when it is quoted.
        connection.execute(f'create or replace temp view "{TABLE}" as select {selected} from {source}')
        self.rows = int(self._one("count(*)")[0])

    def evaluate(self, rules: Sequence[Rule]) -> list[Outcome]:
        """All of them but statements in one pass."""
        measured = [rule for rule in rules if rule["kind"] != "CustomSql"]
        found = iter(self._one(*(f"{_measure(rule)}" for rule in measured)) if measured else ())
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
        if rule["kind"] in ("IsComplete", "ColumnValues"):
            return Outcome(value == 1.0, float(value), f"observed {value:.6g}")
        number = float(value)
        return Outcome(_holds(rule, number), number, f"observed {number:.6g}")


def _holds(rule: Rule, value: float) -> bool:
    operator, operand = rule["operator"], rule["operand"]
    return {
        "=": lambda: value == operand,
        ">": lambda: value > operand,
        ">=": lambda: value >= operand,
        "<": lambda: value < operand,
        "<=": lambda: value <= operand,
        "between": lambda: operand[0] < value < operand[1],
        "in": lambda: value in operand,
    }[operator]()


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
    if kind in ("IsComplete", "Completeness"):
        return f"count({column}) / count(*)"
    if kind == "Mean":
        return f"avg({column})"
    if kind == "DistinctValuesCount":
        # Deequ counts texts, and a missing value as the text NullValue.
        return f"count(distinct coalesce(cast({column} as varchar), {literal('NullValue')}))"
    return f"count(*) filter (where {condition(rule, column)}) / count(*)"

"""What every engine judges alike: which rules fit a table at all, and the SQL of a rule's condition."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Rule = Mapping[str, Any]

TABLE = "primary"
ROW_LEVEL = ("IsComplete", "ColumnValues")


class Outcome(NamedTuple):
    """What an engine says of a rule."""

    passed: bool
    observed: float | None
    detail: str


class Engine(Protocol):
    """Judges rules that fit the one table it was given, in their order; `columns` are name -> string or number."""

    name: str
    version: str
    columns: Mapping[str, str]
    rows: int

    def evaluate(self, rules: Sequence[Rule]) -> list[Outcome]:
        """An outcome for each rule."""


def outcomes(engine: Engine, rules: Sequence[Rule]) -> list[Outcome]:
    """An outcome for each rule; what does not fit the table fails with the reason and is not shown to the engine."""
    unfit = {rule["rule"]: problem for rule in rules if (problem := _problem(engine, rule))}
    asked = [rule for rule in rules if rule["rule"] not in unfit]
    answers: Iterator[Outcome] = iter(engine.evaluate(asked) if asked else [])
    return [Outcome(False, None, unfit[rule["rule"]]) if rule["rule"] in unfit else next(answers) for rule in rules]


def _problem(engine: Engine, rule: Rule) -> str | None:
    column, reads = rule["column"], rule["reads"]
    if column is not None and column not in engine.columns:
        return f"there is no column {column!r}"
    if reads != "any" and (reads == "text") != (engine.columns[column] == "string"):
        return f"the rule is about a {reads}, and {column!r} is a {engine.columns[column]}"
    if engine.rows == 0 and rule["kind"] not in ("RowCount", "ColumnExists"):
        return "there are no rows"
    return None


def condition(rule: Rule, value: str) -> str:
    """SQL for whether a row satisfies a row-level rule, given the SQL of its value; a missing value never does."""
    if rule["kind"] == "IsComplete":
        return f"({value} is not null)"
    return f"coalesce({_comparison(rule, value)}, false)"


def _comparison(rule: Rule, value: str) -> str:
    operator, operand = rule["operator"], rule["operand"]
    if operator == "between":
        return f"{value} > {literal(operand[0])} and {value} < {literal(operand[1])}"
    if operator == "in":
        return f"{value} in ({', '.join(literal(each) for each in operand)})"
    return f"{value} {operator} {literal(operand)}"


def literal(value: Any) -> str:
    """A value in SQL; numbers are doubles, with which Deequ computes, and texts hold no quotes."""
    return f"'{value}'" if isinstance(value, str) else f"cast('{float(value)!r}' as double)"

"""Data-quality rules as typed values that render to DQDL (AWS Glue's rule language) and to JSON.

Source: https://docs.aws.amazon.com/glue/latest/dg/dqdl.html
"""

import json
from dataclasses import dataclass
from typing import Literal

from dual_pipeline.validation import check, check_choice, check_unique

RuleKind = Literal[
    "RowCount", "ColumnExists", "IsComplete", "Completeness", "ColumnValues", "Mean", "DistinctValuesCount", "CustomSql"
]
Severity = Literal["block", "quarantine", "warn"]
Operator = Literal["=", ">", ">=", "<", "<=", "between", "in"]
Operand = float | int | str | tuple[float | int | str, ...]

_WITHOUT_COLUMN = ("RowCount", "CustomSql")
_WITHOUT_CONDITION = ("ColumnExists", "IsComplete")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; `between` excludes both ends, as open-source Deequ's DQDL does.

    `sql` of a CustomSql rule selects one aliased number from the table `primary`.
    """

    kind: RuleKind
    severity: Severity = "block"
    column: str | None = None
    operator: Operator | None = None
    operand: Operand | None = None
    sql: str | None = None

    def __post_init__(self) -> None:
        kinds = RuleKind.__args__  # type: ignore[attr-defined]
        check_choice(owner=self, field="kind", choices=kinds)
        check_choice(owner=self, field="severity", choices=Severity.__args__)  # type: ignore[attr-defined]
        needs_column = self.kind not in _WITHOUT_COLUMN
        wanted = f"a column name for {self.kind}" if needs_column else f"None for {self.kind}"
        check(owner=self, field="column", allowed=wanted, ok=(self.column is not None) == needs_column)
        needs_condition = self.kind not in _WITHOUT_CONDITION
        wanted = f"an operator for {self.kind}" if needs_condition else f"None for {self.kind}"
        check(owner=self, field="operator", allowed=wanted, ok=(self.operator is not None) == needs_condition)
        check(owner=self, field="operand", allowed="given with operator", ok=(self.operand is None) != needs_condition)
        listed = self.operator in ("between", "in")
        wanted = f"a tuple for {self.operator}" if listed else f"one value for {self.operator}"
        check(owner=self, field="operand", allowed=wanted, ok=isinstance(self.operand, tuple) == listed)
        if self.operator == "between" and isinstance(self.operand, tuple):
            check(owner=self, field="operand", allowed="two bounds", ok=len(self.operand) == 2)
        wanted = "one select statement for CustomSql, else None"
        check(owner=self, field="sql", allowed=wanted, ok=(self.sql is not None) == (self.kind == "CustomSql"))

    @property
    def dqdl(self) -> str:
        """The rule as one line of DQDL."""
        subject = self.sql if self.kind == "CustomSql" else self.column
        return " ".join(
            part for part in (self.kind, None if subject is None else _quoted(subject), self._condition()) if part
        )

    def _condition(self) -> str:
        if self.operator is None:
            return ""
        if self.operator == "between" and isinstance(self.operand, tuple):
            return f"between {_literal(self.operand[0])} and {_literal(self.operand[1])}"
        if self.operator == "in" and isinstance(self.operand, tuple):
            return "in [" + ", ".join(_literal(value) for value in self.operand) + "]"
        return f"{self.operator} {_literal(self.operand)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(value: Operand | None) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """The rules a snapshot must satisfy before it may train a model."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        check(owner=self, field="rules", allowed="at least one rule", ok=len(self.rules) > 0)
        check_unique(owner=self, field="rules", names=[rule.dqdl for rule in self.rules])

    @property
    def dqdl(self) -> str:
        """The ruleset as a DQDL document."""
        return "Rules = [\n" + ",\n".join(f"    {rule.dqdl}" for rule in self.rules) + "\n]\n"

    def to_json(self) -> str:
        """The ruleset as the quality job reads it: a list of rules, each with its DQDL text and its parts."""
        return json.dumps(
            [
                {
                    "rule": rule.dqdl,
                    "kind": rule.kind,
                    "severity": rule.severity,
                    "column": rule.column,
                    "operator": rule.operator,
                    "operand": list(rule.operand) if isinstance(rule.operand, tuple) else rule.operand,
                    "sql": rule.sql,
                }
                for rule in self.rules
            ],
            sort_keys=True,
        )

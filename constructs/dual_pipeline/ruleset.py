"""Data-quality rules as typed values that render to DQDL (AWS Glue's rule language) and to JSON.

Only what Glue's evaluator, open-source Deequ and DuckDB judge alike can be said here; the rest is refused by name,
for reasons that docs/data-quality.md gives one by one.
Source: https://docs.aws.amazon.com/glue/latest/dg/dqdl.html
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from dual_pipeline.errors import ConfigError
from dual_pipeline.portable_sql import columns_of, problem_of
from dual_pipeline.validation import check, check_choice, check_match, check_number, check_unique, check_whole

RuleKind = Literal[
    "RowCount", "ColumnExists", "IsComplete", "Completeness", "ColumnValues", "Mean", "DistinctValuesCount", "CustomSql"
]
AnomalyKind = Literal["RowCount", "NullRate", "Mean"]
Severity = Literal["block", "quarantine", "warn"]
Operator = Literal["=", ">", ">=", "<", "<=", "between", "in"]
Operand = float | int | str | tuple[float | int | str, ...]

MOST_RULES = 200
ROW_LEVEL = ("IsComplete", "ColumnValues")
_WITHOUT_COLUMN = ("RowCount", "CustomSql")
_WITHOUT_CONDITION = ("ColumnExists", "IsComplete")
_ORDER = (">", ">=", "<", "<=", "between")
# Equality of fractions is a matter of the last digit, in which engines differ.
_OPERATORS: Mapping[str, tuple[str, ...]] = {
    "RowCount": (*_ORDER, "=", "in"),
    "DistinctValuesCount": (*_ORDER, "=", "in"),
    "ColumnValues": (*_ORDER, "in"),
    "Completeness": _ORDER,
    "Mean": _ORDER,
    "CustomSql": _ORDER,
}
# Deequ computes with doubles, which hold every whole number up to here.
_MOST = 2**53
_SNAKE = r"[a-z][a-z0-9_]*"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; `between` excludes both ends and a missing value satisfies no ColumnValues rule, as Deequ has it.

    With severity `quarantine`, rows that break the rule are set apart; only IsComplete and ColumnValues judge rows.
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
        wanted = f"block or warn for {self.kind}: rows are only judged by {' and '.join(ROW_LEVEL)}"
        ok = self.severity != "quarantine" or self.kind in ROW_LEVEL
        check(owner=self, field="severity", allowed=wanted, ok=ok)
        needs_column = self.kind not in _WITHOUT_COLUMN
        wanted = f"a column name for {self.kind}" if needs_column else f"None for {self.kind}"
        check(owner=self, field="column", allowed=wanted, ok=(self.column is not None) == needs_column)
        if needs_column:
            check_match(owner=self, field="column", pattern=_SNAKE, allowed="a column name in snake_case")
        self._check_condition()
        wanted = "one select statement for CustomSql, else None"
        check(owner=self, field="sql", allowed=wanted, ok=(self.sql is not None) == (self.kind == "CustomSql"))
        if self.sql is not None and (problem := problem_of(self.sql)):
            raise ConfigError(f"Rule.sql must mean the same to Spark and DuckDB, got {self.sql!r}: {problem}")

    def _check_condition(self) -> None:
        needs_condition = self.kind not in _WITHOUT_CONDITION
        wanted = f"an operator for {self.kind}" if needs_condition else f"None for {self.kind}"
        check(owner=self, field="operator", allowed=wanted, ok=(self.operator is not None) == needs_condition)
        check(owner=self, field="operand", allowed="given with operator", ok=(self.operand is None) != needs_condition)
        if self.operator is None:
            return
        choices = _OPERATORS[self.kind]
        wanted = f"one of {', '.join(choices)} for {self.kind}, on which the engines agree"
        check(owner=self, field="operator", allowed=wanted, ok=self.operator in choices)
        listed = self.operator in ("between", "in")
        wanted = f"a tuple for {self.operator}" if listed else f"one value for {self.operator}"
        check(owner=self, field="operand", allowed=wanted, ok=isinstance(self.operand, tuple) == listed)
        operands = self._operands
        if self.operator == "between":
            ok = len(operands) == 2 and all(map(_is_number, operands)) and operands[0] < operands[1]
            check(owner=self, field="operand", allowed="two bounds, the lower first", ok=ok)
        texts = self.kind == "ColumnValues" and self.operator == "in" and any(isinstance(x, str) for x in operands)
        fits = _is_plain if texts else _is_number
        wanted = (
            "texts without quotes, backslashes and control characters"
            if texts
            else f"finite numbers from -{_MOST} to {_MOST}"
        )
        check(owner=self, field="operand", allowed=wanted, ok=len(operands) > 0 and all(map(fits, operands)))

    @property
    def _operands(self) -> tuple[Any, ...]:
        return self.operand if isinstance(self.operand, tuple) else (self.operand,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads."""
        return columns_of(self.sql) if self.sql is not None else () if self.column is None else (self.column,)

    @property
    def reads(self) -> Literal["any", "number", "text"]:
        """What kind of column the rule is about."""
        if self.kind == "Mean":
            return "number"
        if self.kind == "DistinctValuesCount":
            # Deequ counts the texts of values, and one number may have several.
            return "any"
        if self.kind == "ColumnValues":
            return "text" if isinstance(self._operands[0], str) else "number"
        return "any"

    @property
    def dqdl(self) -> str:
        """The rule as one line of DQDL."""
        subject = self.sql if self.kind == "CustomSql" else self.column
        return " ".join(part for part in (self.kind, None if subject is None else f'"{subject}"', self._text()) if part)

    def _text(self) -> str:
        if self.operator is None:
            return ""
        values = [_literal(value) for value in self._operands]
        if self.operator == "between":
            return f"between {values[0]} and {values[1]}"
        return f"in [{', '.join(values)}]" if self.operator == "in" else f"{self.operator} {values[0]}"

    def document(self) -> dict[str, Any]:
        """The rule as the quality job reads it."""
        return {
            "rule": self.dqdl,
            "kind": self.kind,
            "severity": self.severity,
            "column": self.column,
            "reads": self.reads,
            "operator": self.operator,
            "operand": list(self.operand) if isinstance(self.operand, tuple) else self.operand,
            "sql": self.sql,
        }


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and abs(value) <= _MOST


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and not set(value) & set("'\"\\")


def _literal(value: Any) -> str:
    # DQDL's grammar knows no exponents.
    return f'"{value}"' if isinstance(value, str) else format(Decimal(repr(value)), "f")


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """A comparison with the last runs that passed: how far a number lies from their median, in robust deviations.

    Fails above `most_deviations`; with less than `min_runs` of history it passes and says so.
    Source: Iglewicz and Hoaglin's modified z-score, https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm
    """

    kind: AnomalyKind
    column: str | None = None
    severity: Literal["block", "warn"] = "warn"
    most_deviations: float = 3.5
    min_runs: int = 5

    def __post_init__(self) -> None:
        check_choice(owner=self, field="kind", choices=AnomalyKind.__args__)  # type: ignore[attr-defined]
        check_choice(owner=self, field="severity", choices=("block", "warn"))
        wanted = "None for RowCount" if self.kind == "RowCount" else f"a column name in snake_case for {self.kind}"
        check(owner=self, field="column", allowed=wanted, ok=(self.column is None) == (self.kind == "RowCount"))
        if self.column is not None:
            check_match(owner=self, field="column", pattern=_SNAKE, allowed=wanted)
        check_number(owner=self, field="most_deviations", low=1, high=100)
        check_whole(owner=self, field="min_runs", low=2, high=100)

    @property
    def name(self) -> str:
        """The check in words."""
        subject = "" if self.column is None else f' "{self.column}"'
        return f"{self.kind}{subject} within {self.most_deviations:g} deviations of earlier runs"

    def document(self) -> dict[str, Any]:
        """The check as the quality job reads it."""
        return {
            "rule": self.name,
            "kind": self.kind,
            "column": self.column,
            "severity": self.severity,
            "most_deviations": self.most_deviations,
            "min_runs": self.min_runs,
        }


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """What a snapshot must satisfy before it may train a model.

    The run is blocked if more than the share `max_quarantined` of its rows would be set apart. Anomalies are judged
    by the last `history_runs` runs that passed.
    """

    rules: tuple[Rule, ...]
    anomalies: tuple[Anomaly, ...] = ()
    max_quarantined: float = 0.05
    history_runs: int = 30

    def __post_init__(self) -> None:
        ok = 0 < len(self.rules) + len(self.anomalies) <= MOST_RULES and len(self.rules) > 0
        check(owner=self, field="rules", allowed=f"at least one rule, at most {MOST_RULES} with anomalies", ok=ok)
        # Engines give a rule's text back with other spaces.
        check_unique(owner=self, field="rules", names=["".join(rule.dqdl.split()) for rule in self.rules])
        check_unique(owner=self, field="anomalies", names=[f"{each.kind} {each.column}" for each in self.anomalies])
        check_number(owner=self, field="max_quarantined", low=0, high=1)
        check_whole(owner=self, field="history_runs", low=2, high=100)

    @property
    def dqdl(self) -> str:
        """The rules as a DQDL document."""
        return "Rules = [\n" + ",\n".join(f"    {rule.dqdl}" for rule in self.rules) + "\n]\n"

    @property
    def sha256(self) -> str:
        """What a verdict names to tell by which rules it judged."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def problems(self, columns: Mapping[str, str]) -> Iterator[str]:
        """What does not fit a table whose `columns` have the types string, integer and double."""
        for rule in self.rules:
            for column in rule.columns:
                if column not in columns:
                    yield f"{rule.dqdl} names the column {column}, which the data contract lacks"
                elif rule.reads != "any" and (rule.reads == "text") != (columns[column] == "string"):
                    yield f"{rule.dqdl} is about a {rule.reads}, and {column} is a {columns[column]}"
                elif rule.kind == "DistinctValuesCount" and columns[column] == "double":
                    yield f"{rule.dqdl} counts the texts of doubles, of which a number may have several"
        for anomaly in self.anomalies:
            if anomaly.column is not None and anomaly.column not in columns:
                yield f"{anomaly.name} names a column that the data contract lacks"
            elif anomaly.kind == "Mean" and columns[str(anomaly.column)] == "string":
                yield f"{anomaly.name} is about a number, and {anomaly.column} is a string"

    def to_json(self) -> str:
        """The ruleset as the quality job reads it."""
        return json.dumps(
            {
                "rules": [rule.document() for rule in self.rules],
                "anomalies": [anomaly.document() for anomaly in self.anomalies],
                "max_quarantined": self.max_quarantined,
                "history_runs": self.history_runs,
            },
            sort_keys=True,
        )

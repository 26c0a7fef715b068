"""Rules render to DQDL and refuse whatever the engines would judge differently."""

import hashlib
import json
from typing import Any

import pytest

from dual_pipeline.errors import ConfigError
from dual_pipeline.ruleset import MOST_RULES, Anomaly, Rule, Ruleset

SQL = "select avg(case when text = 'x' then 1 else 0 end) as share from primary where age > 17"
ROWS = Rule(kind="RowCount", operator=">", operand=0)


@pytest.mark.parametrize(
    ("rule", "dqdl"),
    [
        (Rule(kind="RowCount", operator=">=", operand=1000), "RowCount >= 1000"),
        (Rule(kind="IsComplete", column="income"), 'IsComplete "income"'),
        (Rule(kind="ColumnValues", column="a", operator="between", operand=(0, 1.5)), 'ColumnValues "a" between 0 and 1.5'),
        (Rule(kind="ColumnValues", column="a", operator="in", operand=("x", "é")), 'ColumnValues "a" in ["x", "é"]'),
        (Rule(kind="ColumnValues", column="a", operator=">", operand=1e-7), 'ColumnValues "a" > 0.0000001'),
        (Rule(kind="ColumnValues", column="a", operator="<", operand=-1e15), 'ColumnValues "a" < -1000000000000000.0'),
        (Rule(kind="CustomSql", sql=SQL, operator=">", operand=0.1), f'CustomSql "{SQL}" > 0.1'),
    ],
)  # fmt: skip
def test_dqdl(rule: Rule, dqdl: str) -> None:
    """Each kind of rule renders to the line that AWS Glue's DQDL reads, whose grammar knows no exponents."""
    assert dqdl == rule.dqdl


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "RowCount", "column": "a", "operator": ">", "operand": 1},
        {"kind": "IsComplete"},
        {"kind": "IsComplete", "column": "a b"},
        {"kind": "IsComplete", "column": "a", "operator": ">", "operand": 1},
        {"kind": "Completeness", "column": "a"},
        {"kind": "ColumnValues", "column": "a", "operator": "in", "operand": 1},
        {"kind": "ColumnValues", "column": "a", "operator": "in", "operand": ()},
        {"kind": "ColumnValues", "column": "a", "operator": "in", "operand": (1, "x")},
        {"kind": "ColumnValues", "column": "a", "operator": "between", "operand": (1, 2, 3)},
        {"kind": "ColumnValues", "column": "a", "operator": "between", "operand": (2, 1)},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": (1, 2)},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": True},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": float("nan")},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": float("inf")},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": 1e300},
        {"kind": "CustomSql", "operator": ">", "operand": 1},
        {"kind": "Nonsense"},
        {"kind": "IsComplete", "column": "a", "severity": "fatal"},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts: dict[str, Any]) -> None:
    """A rule with a missing or superfluous part is refused by name."""
    with pytest.raises(ConfigError, match=r"^Rule\.\w+ must be .*, got "):
        Rule(**parts)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"kind": "ColumnValues", "column": "a", "operator": "=", "operand": 1}, "operator"),
        ({"kind": "Mean", "column": "a", "operator": "=", "operand": 1}, "operator"),
        ({"kind": "Completeness", "column": "a", "operator": "in", "operand": (0.5, 1)}, "operator"),
        ({"kind": "ColumnValues", "column": "a", "operator": "in", "operand": ("it's",)}, "operand"),
        ({"kind": "ColumnValues", "column": "a", "operator": "in", "operand": ('"',)}, "operand"),
        ({"kind": "ColumnValues", "column": "a", "operator": "in", "operand": ("\\",)}, "operand"),
        ({"kind": "ColumnValues", "column": "a", "operator": "in", "operand": ("\n",)}, "operand"),
    ],
)
def test_what_engines_judge_differently_is_refused(parts: dict[str, Any], field: str) -> None:
    """Equality of fractions, and texts that one of the languages on the way would read otherwise."""
    with pytest.raises(ConfigError, match=rf"^Rule\.{field} must be "):
        Rule(**parts)


@pytest.mark.parametrize("kind", ["RowCount", "Completeness", "Mean", "DistinctValuesCount"])
def test_only_rules_about_rows_may_quarantine(kind: Any) -> None:
    """A rule about a whole table cannot say which rows break it."""
    column = None if kind == "RowCount" else "a"
    with pytest.raises(ConfigError, match=rf"^Rule.severity must be block or warn for {kind}: rows are only judged by"):
        Rule(kind=kind, column=column, operator=">", operand=1, severity="quarantine")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("select avg(1.5) as x from primary", "no '.'"),
        ("select sum(a) / count(*) as x from primary", "no '/'"),
        ("select max(a) - min(a) as x from primary", "no '-'"),
        ("select sum(a * 2) as x from primary", "no '*'"),
        ('select count("a") as x from primary', "no '\"'"),
        ("select count(*) from primary", "as select ... as name from primary"),
        ("select count(*) as x from other", "as select ... as name from primary"),
        ("select median(a) as x from primary", "no median"),
        ("select count(*) as x from primary; drop", "no ';'"),
    ],
)
def test_sql_that_is_not_portable_is_refused(sql: str, problem: str) -> None:
    """Spark and DuckDB differ on divisions, decimals, quotes and most functions."""
    with pytest.raises(ConfigError, match=r"^Rule\.sql must mean the same to Spark and DuckDB") as caught:
        Rule(kind="CustomSql", sql=sql, operator=">", operand=1)
    assert problem in str(caught.value)


def test_a_statement_names_its_columns() -> None:
    """They can be compared with the contract; keywords, texts and the alias are none of them."""
    assert ("text", "age") == Rule(kind="CustomSql", sql=SQL, operator=">", operand=0).columns


def test_a_ruleset_has_rules_and_none_twice() -> None:
    """An empty ruleset would pass everything; a rule twice would be reported twice; too many do not fit a verdict."""
    many = tuple(Rule(kind="RowCount", operator=">", operand=at) for at in range(MOST_RULES + 1))
    for rules in ((), (ROWS, ROWS), many):
        with pytest.raises(ConfigError, match=r"^Ruleset\.rules must be "):
            Ruleset(rules=rules)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule(kind="IsComplete", column="absent"), "names the column absent, which the data contract lacks"),
        (Rule(kind="CustomSql", sql="select sum(gone) as s from primary", operator=">", operand=1), "column gone"),
        (Rule(kind="Mean", column="text", operator=">", operand=1), "is about a number, and text is a string"),
        (Rule(kind="ColumnValues", column="age", operator="in", operand=("x",)), "is about a text, and age is a integer"),
        (Rule(kind="DistinctValuesCount", column="share", operator=">", operand=1), "counts the texts of doubles"),
        (Anomaly(kind="NullRate", column="absent"), "a column that the data contract lacks"),
        (Anomaly(kind="Mean", column="text"), "is about a number, and text is a string"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_columns_is_told(rule: Rule | Anomaly, problem: str) -> None:
    """A rule about a missing column, or one of another type, is found before anything is deployed."""
    rules, anomalies = ((ROWS, rule), ()) if isinstance(rule, Rule) else ((ROWS,), (rule,))
    found = list(
        Ruleset(rules=rules, anomalies=anomalies).problems({"text": "string", "age": "integer", "share": "double"})
    )
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "RowCount", "column": "a"},
        {"kind": "Mean"},
        {"kind": "Mean", "column": "a", "severity": "quarantine"},
        {"kind": "RowCount", "most_deviations": 0},
        {"kind": "RowCount", "min_runs": 1},
    ],
)
def test_anomalies_are_checked(parts: dict[str, Any]) -> None:
    """A comparison with history names a column unless it is about rows, and needs two runs at least."""
    with pytest.raises(ConfigError, match=r"^Anomaly\.\w+ must be "):
        Anomaly(**parts)


def test_ruleset_documents() -> None:
    """A ruleset renders to one DQDL document and to the JSON that the quality job reads; its hash is of the latter."""
    ruleset = Ruleset(rules=(Rule(kind="ColumnValues", column="a", operator="in", operand=(1, 2), severity="warn"),))
    assert 'Rules = [\n    ColumnValues "a" in [1, 2]\n]\n' == ruleset.dqdl
    document = json.loads(ruleset.to_json())
    rule = {
        "rule": 'ColumnValues "a" in [1, 2]',
        "kind": "ColumnValues",
        "severity": "warn",
        "column": "a",
        "reads": "number",
        "operator": "in",
        "operand": [1, 2],
        "sql": None,
    }
    assert {"rules": [rule], "anomalies": [], "max_quarantined": 0.05, "history_runs": 30} == document
    assert hashlib.sha256(ruleset.to_json().encode()).hexdigest() == ruleset.sha256

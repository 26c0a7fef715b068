"""Rules render to DQDL and refuse parts that do not belong together."""

from typing import Any

import pytest

from dual_pipeline.errors import ConfigError
from dual_pipeline.ruleset import Rule, Ruleset


@pytest.mark.parametrize(
    ("rule", "dqdl"),
    [
        (Rule(kind="RowCount", operator=">=", operand=1000), "RowCount >= 1000"),
        (Rule(kind="IsComplete", column="income"), 'IsComplete "income"'),
        (Rule(kind="ColumnValues", column="a", operator="between", operand=(0, 1.5)), 'ColumnValues "a" between 0 and 1.5'),
        (Rule(kind="ColumnValues", column="a", operator="in", operand=("x", 'y"')), r'ColumnValues "a" in ["x", "y\""]'),
        (
            Rule(kind="CustomSql", sql="select avg(a) as m from primary", operator=">", operand=0.1),
            'CustomSql "select avg(a) as m from primary" > 0.1',
        ),
    ],
)  # fmt: skip
def test_dqdl(rule: Rule, dqdl: str) -> None:
    """Each kind of rule renders to the line that AWS Glue's DQDL reads."""
    assert dqdl == rule.dqdl


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "RowCount", "column": "a", "operator": ">", "operand": 1},
        {"kind": "IsComplete"},
        {"kind": "IsComplete", "column": "a", "operator": ">", "operand": 1},
        {"kind": "Completeness", "column": "a"},
        {"kind": "ColumnValues", "column": "a", "operator": "in", "operand": 1},
        {"kind": "ColumnValues", "column": "a", "operator": "between", "operand": (1, 2, 3)},
        {"kind": "ColumnValues", "column": "a", "operator": ">", "operand": (1, 2)},
        {"kind": "CustomSql", "operator": ">", "operand": 1},
        {"kind": "Nonsense"},
        {"kind": "IsComplete", "column": "a", "severity": "fatal"},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts: dict[str, Any]) -> None:
    """A rule with a missing or superfluous part is refused by name."""
    with pytest.raises(ConfigError, match=r"^Rule\.\w+ must be .*, got "):
        Rule(**parts)


def test_a_ruleset_has_rules_and_none_twice() -> None:
    """An empty ruleset would pass everything; a rule twice would be reported twice."""
    rule = Rule(kind="RowCount", operator=">", operand=0)
    for rules in ((), (rule, rule)):
        with pytest.raises(ConfigError, match=r"^Ruleset\.rules must be "):
            Ruleset(rules=rules)


def test_ruleset_documents() -> None:
    """A ruleset renders to one DQDL document and to the JSON that the quality job reads."""
    ruleset = Ruleset(rules=(Rule(kind="ColumnValues", column="a", operator="in", operand=(1, 2), severity="warn"),))
    assert 'Rules = [\n    ColumnValues "a" in [1, 2]\n]\n' == ruleset.dqdl
    assert (
        '[{"column": "a", "kind": "ColumnValues", "operand": [1, 2], "operator": "in", '
        '"rule": "ColumnValues \\"a\\" in [1, 2]", "severity": "warn", "sql": null}]'
    ) == ruleset.to_json()

"""The quality job on real Spark."""

import json
from typing import Any

import pytest
from pipeline_code.platform_jobs.quality.logic import judge
from pyspark.sql import SparkSession

from dual_pipeline.ruleset import Rule, Ruleset

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

ROWS = [(1, "a"), (2, "b"), (3, None), (4, "it's")]


def verdict(spark: SparkSession, *rules: Rule, rows: list[Any] = ROWS) -> dict[str, Any]:
    """The verdict on four rows."""
    data = spark.createDataFrame(rows, "number int, text string")
    return judge(spark, data, json.loads(Ruleset(rules=rules).to_json()))


CASES: list[tuple[Rule, bool, float | None]] = [
    (Rule(kind="RowCount", operator="=", operand=4), True, 4),
    (Rule(kind="RowCount", operator=">", operand=4), False, 4),
    (Rule(kind="RowCount", operator="between", operand=(3, 5)), True, 4),
    (Rule(kind="RowCount", operator="between", operand=(4, 9)), False, 4),
    (Rule(kind="RowCount", operator="in", operand=(3, 4)), True, 4),
    (Rule(kind="ColumnExists", column="text"), True, 1),
    (Rule(kind="ColumnExists", column="absent"), False, None),
    (Rule(kind="IsComplete", column="number"), True, 1),
    (Rule(kind="IsComplete", column="text"), False, 0.75),
    (Rule(kind="Completeness", column="text", operator=">=", operand=0.75), True, 0.75),
    (Rule(kind="Completeness", column="text", operator=">", operand=0.75), False, 0.75),
    (Rule(kind="Completeness", column="absent", operator=">=", operand=0), False, None),
    (Rule(kind="ColumnValues", column="number", operator=">=", operand=1), True, 1),
    (Rule(kind="ColumnValues", column="number", operator="between", operand=(0, 5)), True, 1),
    (Rule(kind="ColumnValues", column="number", operator="between", operand=(1, 5)), False, 0.75),
    (Rule(kind="ColumnValues", column="text", operator="in", operand=("a", "b", "it's")), False, 0.75),
    (Rule(kind="ColumnValues", column="number", operator="in", operand=(1, 2, 3, 4)), True, 1),
    (Rule(kind="Mean", column="number", operator="between", operand=(2, 3)), True, 2.5),
    (Rule(kind="DistinctValuesCount", column="text", operator="=", operand=4), True, 4),
    (Rule(kind="DistinctValuesCount", column="number", operator="<", operand=4), False, 4),
    (Rule(kind="CustomSql", sql="select sum(number) as s from primary", operator="<=", operand=10), True, 10),
    (Rule(kind="CustomSql", sql="select nothing as s from primary", operator="<=", operand=10), False, None),
    (Rule(kind="CustomSql", sql="select max(text) as s from primary", operator="<=", operand=10), False, None),
]


@pytest.fixture(scope="module")
def results(spark: SparkSession) -> list[dict[str, Any]]:
    """What the job finds of every rule at once."""
    found: list[dict[str, Any]] = verdict(spark, *(rule for rule, _, _ in CASES))["rules"]
    return found


@pytest.mark.parametrize("at", range(len(CASES)), ids=[rule.dqdl for rule, _, _ in CASES])
def test_each_kind_of_rule(results: list[dict[str, Any]], at: int) -> None:
    """What is observed and whether it passes, ends excluded, nulls satisfying nothing."""
    rule, passed, observed = CASES[at]
    found = tuple(results[at][name] for name in ("rule", "severity", "passed", "observed"))
    assert (rule.dqdl, "block", passed, observed) == found


@pytest.mark.parametrize(
    ("severities", "expected"),
    [((), "pass"), (("warn",), "warn"), (("warn", "block"), "block"), (("quarantine",), "block")],
)
def test_the_worst_failed_severity_decides(spark: SparkSession, severities: Any, expected: str) -> None:
    """A rule that passes counts for nothing, whatever its severity."""
    failing = [
        Rule(kind="RowCount", operator=">", operand=100 + at, severity=severity)
        for at, severity in enumerate(severities)
    ]
    result = verdict(spark, Rule(kind="RowCount", operator=">", operand=1), *failing)
    assert (expected, len(severities)) == (result["verdict"], len(result["reasons"]))


def test_the_document_names_engine_and_reasons(spark: SparkSession) -> None:
    """The engine is always recorded; a reason is the rule, its severity and what was observed."""
    result = verdict(spark, Rule(kind="RowCount", operator=">", operand=10))
    assert ("spark-sql", spark.version, 4) == (result["engine"], result["engine_version"], result["rows"])
    assert ["RowCount > 10 (block): observed 4"] == result["reasons"]


def test_no_rows_satisfy_nothing(spark: SparkSession) -> None:
    """Shares of nothing do not pass."""
    result = verdict(
        spark,
        Rule(kind="IsComplete", column="text"),
        Rule(kind="ColumnValues", column="number", operator=">", operand=0),
        Rule(kind="Mean", column="number", operator="<", operand=9),
        rows=[],
    )
    assert [False, False, False] == [rule["passed"] for rule in result["rules"]]
    assert result["reasons"][0] == 'IsComplete "text" (block): there are no rows'

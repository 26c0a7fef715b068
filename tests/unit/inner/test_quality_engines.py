"""The engines agree: DuckDB and open-source Deequ on every rule and table, Glue's adapter by the columns it documents.

Deequ's jar comes by its Maven coordinate. Where it cannot be had these tests are skipped, in CI they fail.
"""

import math
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from dual_pipeline.ruleset import Rule
from dual_pipeline_local.deequ import COORDINATE, jars
from pipeline_code.platform_jobs.quality.dqdl import Deequ, GlueDataQuality, normal
from pipeline_code.platform_jobs.quality.job import broken_rules
from pipeline_code.platform_jobs.quality.rules import ROW_LEVEL, Outcome, outcomes
from quality import RULES, SCHEMA, TABLES, documents, duck
from quality import Row as Values

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


@pytest.fixture(scope="module")
def deequ(spark: SparkSession) -> SparkSession:
    """Spark with Deequ's jars."""
    if not jars():
        said = f"{COORDINATE} is not installed: python -m dual_pipeline_local.deequ fetches it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(said)
    return spark


def differences(spark: SparkSession, rows: Sequence[Values]) -> list[tuple[str, Outcome, Outcome]]:
    """The rules on which the two do not say the same."""
    ours = outcomes(duck(rows), RULES)
    theirs = outcomes(Deequ(spark, spark.createDataFrame([*rows], SCHEMA)), RULES)
    found = zip(RULES, ours, theirs, strict=True)
    return [(rule["rule"], one, other) for rule, one, other in found if not _alike(one, other)]


def _alike(one: Outcome, other: Outcome) -> bool:
    if one.passed != other.passed or (one.observed is None) != (other.observed is None):
        return False
    if one.observed is None or other.observed is None:
        return True
    return math.isclose(one.observed, other.observed, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_and_deequ_agree(deequ: SparkSession, table: str) -> None:
    """On pass or fail, and on what was observed, of every rule."""
    assert [] == differences(deequ, TABLES[table])


NUMBERS = st.none() | st.integers(-3, 5)
REALS = st.none() | st.floats(-4, 4) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.5, 1e300])
TEXTS = st.none() | st.sampled_from(["a", "b", "NullValue", "é", "it's", ""]) | st.text(max_size=3)
ANY_ROW = st.tuples(NUMBERS, NUMBERS, REALS, TEXTS, st.none() | st.booleans())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ANY_ROW, max_size=8))
def test_they_agree_on_any_table(deequ: SparkSession, rows: list[Values]) -> None:
    """Whatever is in it."""
    assert [] == differences(deequ, rows)


# Whether rows are broken, and what a statement selects, is always asked of Spark itself too.


@pytest.mark.parametrize("table", TABLES)
def test_spark_sets_rows_apart_where_duckdb_fails_the_rule(spark: SparkSession, table: str) -> None:
    """A rule about rows fails if and only if it leaves rows to set apart."""
    rows = TABLES[table]
    engine = duck(rows)
    rules = [rule for rule in RULES if rule["kind"] in ROW_LEVEL and rule["column"] in engine.columns]
    found = zip(rules, outcomes(engine, rules), strict=True)
    fit = [(rule, outcome) for rule, outcome in found if outcome.observed is not None or rule["kind"] == "IsComplete"]
    marked = broken_rules(spark.createDataFrame([*rows], SCHEMA), [rule for rule, _ in fit])
    broken = {reason for row in marked.collect() for reason in row["reasons"]}
    assert {rule["rule"] for rule, outcome in fit if rows and not outcome.passed} == broken


@pytest.mark.parametrize("table", TABLES)
def test_statements_mean_the_same_to_spark_and_duckdb(spark: SparkSession, table: str) -> None:
    """What a portable statement selects is the same number."""
    rows = TABLES[table]
    normal(spark.createDataFrame([*rows], SCHEMA)).createOrReplaceTempView("primary")
    rules = [rule for rule in RULES if rule["kind"] == "CustomSql"] if rows else []
    for rule, outcome in zip(rules, outcomes(duck(rows), rules), strict=True):
        selected = spark.sql(rule["sql"]).collect()[0][0]
        assert (selected is None) == (outcome.observed is None), rule["rule"]
        assert selected is None or math.isclose(selected, outcome.observed or 0, rel_tol=1e-9), rule["rule"]


# Glue's own evaluator exists in Glue alone: the adapter is held to the columns that its documentation shows.


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Modules named as in Glue; what is asked of the evaluator, and the rows that it is to answer."""
    asked: dict[str, Any] = {"rows": []}

    class Frame:
        def __init__(self, rows: list[Row]) -> None:
            self._rows = rows

        def toDF(self) -> Any:  # noqa: N802
            return types.SimpleNamespace(collect=lambda: self._rows)

    class EvaluateDataQuality:
        def process_rows(self, **given: Any) -> dict[str, Frame]:
            asked.setdefault("calls", []).append(given)
            return {"originalData": Frame([]), "ruleOutcomes": Frame(asked["rows"]), "rowLevelOutcomes": Frame([])}

    def module(name: str, **content: Any) -> None:
        made = types.ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)

    module("awsglue")
    module("awsglue.context", GlueContext=lambda context: context)
    from_df = types.SimpleNamespace(fromDF=lambda data, context, name: data)
    module("awsglue.dynamicframe", DynamicFrame=from_df)
    module("awsgluedq")
    module("awsgluedq.transforms", EvaluateDataQuality=EvaluateDataQuality)
    return asked


def test_glue_is_asked_in_dqdl_and_its_answers_are_found_by_rule(spark: SparkSession, glue: dict[str, Any]) -> None:
    """In whatever order and with whatever spaces they come; statements are asked one by one."""
    rules = documents(
        [
            Rule(kind="IsComplete", column="text"),
            Rule(kind="ColumnValues", column="number", operator="in", operand=(1, 2)),
            Rule(kind="ColumnExists", column="text"),
            Rule(kind="CustomSql", sql="select sum(number) as s from primary", operator=">", operand=1),
        ]
    )
    glue["rows"] = [
        _answer('CustomSql "select sum(number) as s from primary" > 1', "Passed", {"Dataset.*.CustomSQL": 3.0}),
        _answer('ColumnExists "text"', "Passed", {}),
        _answer(
            'ColumnValues "number" in [1,2]', "Failed", {"Column.number.ColumnValues.Compliance": 0.5}, "Value: 0.5"
        ),
        _answer('IsComplete "text"', "Passed", {"Column.text.Completeness": 1.0}),
    ]
    engine = GlueDataQuality(spark, spark.createDataFrame(TABLES["plain"], SCHEMA))
    assert [
        Outcome(True, 1.0, "observed 1"),
        Outcome(False, 0.5, "observed 0.5: Value: 0.5"),
        Outcome(True, 1.0, "observed 1"),
        Outcome(True, 3.0, "observed 3"),
    ] == outcomes(engine, rules)
    together, alone = (call["ruleset"] for call in glue["calls"])
    assert 'Rules = [ IsComplete "text", ColumnValues "number" in [1, 2], ColumnExists "text" ]' == together
    assert 'Rules = [ CustomSql "select sum(number) as s from primary" > 1 ]' == alone
    assert {"frame", "ruleset", "publishing_options", "additional_options"} == set(glue["calls"][0])


def test_an_answer_that_is_missing_is_no_pass(spark: SparkSession, glue: dict[str, Any]) -> None:
    """An evaluator that leaves a rule out fails the job, and so the run."""
    engine = GlueDataQuality(spark, spark.createDataFrame(TABLES["plain"], SCHEMA))
    with pytest.raises(LookupError, match='awsgluedq gave no outcome for IsComplete "text"'):
        outcomes(engine, documents([Rule(kind="IsComplete", column="text")]))


def _answer(rule: str, outcome: str, metrics: dict[str, float], reason: str | None = None) -> Row:
    return Row(Rule=rule, Outcome=outcome, FailureReason=reason, EvaluatedMetrics=metrics, EvaluatedRule=rule)

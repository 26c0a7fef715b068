"""Evaluate DQDL rules with Spark SQL, as Deequ does: `between` excludes both ends, a null satisfies no condition.

Source: https://docs.aws.amazon.com/glue/latest/dg/dqdl.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

Rule = Mapping[str, Any]

ENGINE = "spark-sql"

# What each kind of rule observes; `{column}` is quoted. Deequ counts a null as one of the distinct values.
_OBSERVED: dict[str, str] = {
    "RowCount": "count(*)",
    "IsComplete": "count({column}) / count(*)",
    "Completeness": "count({column}) / count(*)",
    "ColumnValues": "count_if({condition}) / count(*)",
    "Mean": "avg({column})",
    "DistinctValuesCount": "count(distinct {column}) + max(if({column} is null, 1, 0))",
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda value, operand: value == operand,
    ">": lambda value, operand: value > operand,
    ">=": lambda value, operand: value >= operand,
    "<": lambda value, operand: value < operand,
    "<=": lambda value, operand: value <= operand,
    "between": lambda value, operand: operand[0] < value < operand[1],
    "in": lambda value, operand: value in operand,
}
_SEVERITY = {"block": "block", "quarantine": "block", "warn": "warn"}


def judge(spark: SparkSession, data: DataFrame, rules: Sequence[Rule]) -> dict[str, Any]:
    """The verdict document: `block` if a rule fails that blocks or quarantines, `warn` if another does, else `pass`."""
    data.createOrReplaceTempView("primary")
    measured = [rule for rule in rules if rule["kind"] in _OBSERVED and _known(rule, data)]
    # One pass over the data for all of them.
    expressions = [f"{_observation(rule)} as m{at}" for at, rule in enumerate(measured)]
    values = data.selectExpr("count(*) as size", *expressions).collect()[0]
    observed = {rule["rule"]: values[f"m{at}"] for at, rule in enumerate(measured)}
    results = [_result(spark, data, rule, observed) for rule in rules]
    failed = [result for result in results if not result["passed"]]
    verdicts = {_SEVERITY[result["severity"]] for result in failed}
    return {
        "verdict": "block" if "block" in verdicts else "warn" if verdicts else "pass",
        "engine": ENGINE,
        "engine_version": spark.version,
        "rows": values["size"],
        "rules": results,
        "reasons": [f"{result['rule']} ({result['severity']}): {result['detail']}" for result in failed],
    }


def _known(rule: Rule, data: DataFrame) -> bool:
    return rule["column"] is None or rule["column"] in data.columns


def _result(spark: SparkSession, data: DataFrame, rule: Rule, observed: Mapping[str, Any]) -> dict[str, Any]:
    value: Any = None
    if not _known(rule, data):
        detail = f"there is no column {rule['column']!r}"
    elif rule["kind"] == "ColumnExists":
        value, detail = 1, "the column exists"
    elif rule["kind"] == "CustomSql":
        value, detail = _custom(spark, rule["sql"])
    else:
        value = observed[rule["rule"]]
        detail = "there are no rows" if value is None else f"observed {float(value):.6g}"
    value = None if value is None else float(value)
    return {
        "rule": rule["rule"],
        "severity": rule["severity"],
        "passed": value is not None and _passes(rule, value),
        "observed": value,
        "detail": detail,
    }


def _passes(rule: Rule, value: float) -> bool:
    if rule["kind"] in ("ColumnExists", "IsComplete", "ColumnValues"):
        return value == 1
    return _COMPARISONS[rule["operator"]](value, rule["operand"])


def _custom(spark: SparkSession, sql: str) -> tuple[Any, str]:
    """The one number that a statement selects, or None and why there is none."""
    try:
        rows = spark.sql(sql).collect()
        value = float(rows[0][0])
    except PySparkException as error:
        return None, f"the statement fails: {str(error).splitlines()[0]}"
    except (IndexError, TypeError, ValueError):
        return None, "the statement selects no number"
    return value, f"observed {value:.6g}"


def _observation(rule: Rule) -> str:
    column = None if rule["column"] is None else f"`{rule['column']}`"
    condition = _condition(column, rule) if rule["kind"] == "ColumnValues" else None
    return _OBSERVED[rule["kind"]].format(column=column, condition=condition)


def _condition(column: str | None, rule: Rule) -> str:
    operator, operand = rule["operator"], rule["operand"]
    if operator == "between":
        return f"{column} > {_literal(operand[0])} and {column} < {_literal(operand[1])}"
    if operator == "in":
        return f"{column} in ({', '.join(_literal(value) for value in operand)})"
    return f"{column} {operator} {_literal(operand)}"


def _literal(value: Any) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" if isinstance(value, str) else str(value)

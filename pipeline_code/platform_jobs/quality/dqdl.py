"""Deequ as the engine, in Glue's own form and as the open-source jar: both take DQDL and answer in the same columns.

Sources: https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-crawler-pyspark-transforms-EvaluateDataQuality.html and
https://github.com/awslabs/python-deequ (pydeequ/dqdl.py).
"""

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.quality.rules import TABLE, Outcome, Rule


def normal(data: DataFrame) -> DataFrame:
    """The data as engines see it: a double that is no number is missing, and there is one zero."""
    doubles = [name for name, kind in data.dtypes if kind in ("double", "float")]
    infinities = (float("inf"), float("-inf"))
    return data.withColumns(
        {name: F.when(~F.isnan(name) & ~F.col(name).isin(*infinities), F.col(name) + F.lit(0.0)) for name in doubles}
    )


class _Dqdl(ABC):
    name: str
    version: str

    def __init__(self, spark: SparkSession, data: DataFrame) -> None:
        self._spark = spark
        self._data = normal(data).cache()
        self._data.createOrReplaceTempView(TABLE)
        self.columns: Mapping[str, str] = {
            name: "string" if kind in ("string", "boolean") else "number" for name, kind in data.dtypes
        }
        self.rows = self._data.count()

    def evaluate(self, rules: Sequence[Rule]) -> list[Outcome]:
        """All of them but statements in one ruleset; Deequ reports one statement's number for another's."""
        together = [rule for rule in rules if rule["kind"] != "CustomSql"]
        batches = [*([together] if together else []), *([rule] for rule in rules if rule["kind"] == "CustomSql")]
        found: dict[str, Outcome] = {}
        for batch in batches:
            document = f"Rules = [ {', '.join(rule['rule'] for rule in batch)} ]"
            # Answers come in no order, and a rule's text with other spaces.
            answers = {_bare(row["Rule"]): row for row in self._answers(document)}
            for rule in batch:
                if _bare(rule["rule"]) not in answers:
                    raise LookupError(f"{self.name} gave no outcome for {rule['rule']}, but for {sorted(answers)}")
                found[rule["rule"]] = _outcome(rule, answers[_bare(rule["rule"])])
        return [found[rule["rule"]] for rule in rules]

    @abstractmethod
    def _answers(self, document: str) -> Sequence[Mapping[str, Any]]:
        """A row for each rule: Rule, Outcome, FailureReason, EvaluatedMetrics."""


class Deequ(_Dqdl):
    """Open-source Deequ, whose jars are on Spark's class path."""

    name = "deequ"

    def __init__(self, spark: SparkSession, data: DataFrame) -> None:
        super().__init__(spark, data)
        # pydeequ wants to know it before it is imported.
        os.environ.setdefault("SPARK_VERSION", spark.version)
        from pydeequ.configs import DEEQU_MAVEN_COORD

        self.version = str(DEEQU_MAVEN_COORD).rpartition(":")[2]

    def _answers(self, document: str) -> Sequence[Mapping[str, Any]]:
        from pydeequ.dqdl import EvaluateDataQuality

        rows = EvaluateDataQuality.process(self._spark, self._data, document).collect()
        return [row.asDict() for row in rows]


class GlueDataQuality(_Dqdl):
    """AWS Glue's own evaluator, which exists in Glue alone; nothing is published by it, the outer loop does that."""

    name = "awsgluedq"
    version = "glue"

    def _answers(self, document: str) -> Sequence[Mapping[str, Any]]:
        from awsglue.context import GlueContext
        from awsglue.dynamicframe import DynamicFrame
        from awsgluedq.transforms import EvaluateDataQuality

        context = GlueContext(self._spark.sparkContext)
        results = EvaluateDataQuality().process_rows(
            frame=DynamicFrame.fromDF(self._data, context, TABLE),
            ruleset=document,
            publishing_options={
                "dataQualityEvaluationContext": TABLE,
                "enableDataQualityCloudWatchMetrics": False,
                "enableDataQualityResultsPublishing": False,
            },
            additional_options={"performanceTuning.caching": "CACHE_NOTHING"},
        )
        # The collection of frames holds originalData, ruleOutcomes and rowLevelOutcomes.
        return [row.asDict() for row in results["ruleOutcomes"].toDF().collect()]


def _bare(rule: str) -> str:
    return re.sub(r"\s+", "", rule)


def _outcome(rule: Rule, answer: Mapping[str, Any]) -> Outcome:
    passed = answer["Outcome"] == "Passed"
    numbers = list(_metrics(rule, answer.get("EvaluatedMetrics") or {}))
    value = numbers[0] if numbers else None
    if rule["kind"] == "ColumnExists":
        value = 1.0 if passed else None
    said = "" if passed else str(answer.get("FailureReason") or "")
    shown = "there is no value" if value is None else f"observed {value:.6g}"
    return Outcome(passed, value, f"{shown}: {said}" if said else shown)


def _metrics(rule: Rule, metrics: Mapping[str, Any]) -> Iterator[float]:
    """The numbers behind a rule, that of its own column first; names are such as `Column.age.Completeness`."""
    own = f".{rule['column']}." if rule["column"] else ""
    for _, value in sorted(metrics.items(), key=lambda item: (own not in item[0], item[0])):
        if value is not None and math.isfinite(value):
            yield float(value)

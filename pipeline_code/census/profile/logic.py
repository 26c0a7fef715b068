"""Counts, gaps, distinct values, quantiles and label rates of every column; plain PySpark for Python 3.9."""

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - what everybody calls it

from ..contract import CATEGORICAL, FEATURES, LABEL, MISSING, NUMERIC, POSITIVE, DataError

QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
TOP_VALUES = 50


def profile(data: DataFrame) -> dict[str, Any]:
    """What profile.json holds: rows, labels, and each feature by its kind."""
    absent = sorted({*FEATURES, LABEL} - set(data.columns))
    if absent:
        raise DataError(f"the snapshot lacks the columns {absent}; it has {data.columns}")
    labels = {str(row[0]): row[1] for row in data.groupBy(LABEL).count().collect()}
    if not labels:
        raise DataError("the snapshot has no rows; look at what ingest wrote")
    numbers = data.agg(*(F.struct(*_of_numbers(_number(name))).alias(name) for name in NUMERIC)).head()
    texts = data.agg(*(F.struct(*_of_texts(_text(name))).alias(name) for name in CATEGORICAL)).head()
    assert numbers is not None  # an aggregate has one row
    assert texts is not None
    columns: dict[str, Any] = {}
    for name in NUMERIC:
        found = numbers[name].asDict()
        quantiles = found.pop("quantiles") or []
        columns[name] = {
            "kind": "numeric",
            **found,
            "quantiles": {str(QUANTILES[at]): value for at, value in enumerate(quantiles)},
        }
    for name in CATEGORICAL:
        columns[name] = {"kind": "categorical", **texts[name].asDict(), "top": _top(data, name)}
    return {"rows": sum(labels.values()), "labels": labels, "columns": columns}


def _of_numbers(column: Column) -> list[Column]:
    return [
        _missing(column),
        F.countDistinct(column).alias("distinct"),
        F.min(column).alias("min"),
        F.max(column).alias("max"),
        F.avg(column).alias("mean"),
        F.stddev(column).alias("standard_deviation"),
        F.percentile_approx(column, QUANTILES).alias("quantiles"),
    ]


def _of_texts(column: Column) -> list[Column]:
    return [_missing(column), F.countDistinct(column).alias("distinct")]


def _missing(column: Column) -> Column:
    return F.sum(column.isNull().cast("int")).alias("missing")


def _top(data: DataFrame, name: str) -> list[dict[str, Any]]:
    """The most frequent values with their rows and the share of positives among them; null stands for the missing."""
    rate = F.avg((F.col(f"`{LABEL}`") == POSITIVE).cast("double"))
    counted = data.groupBy(_text(name).alias("value")).agg(F.count("*").alias("rows"), rate.alias("label_rate"))
    return [row.asDict() for row in counted.orderBy(F.desc("rows"), "value").limit(TOP_VALUES).collect()]


def _number(name: str) -> Column:
    return F.col(f"`{name}`").cast("double")


def _text(name: str) -> Column:
    """The column without surrounding spaces, null where the contract says missing."""
    value = F.trim(F.col(f"`{name}`"))
    return F.when(~value.isin(*MISSING), value)

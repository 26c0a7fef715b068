"""Counts, gaps, distinct values, quantiles and label rates of every column; plain PySpark for Python 3.9."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - what everybody calls it

from ..contract import CATEGORICAL, FEATURES, LABEL, MISSING, NUMERIC, POSITIVE, DataError

QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
TOP_VALUES = 50


def profile(data: DataFrame) -> dict[str, Any]:
    """What profile.json holds: rows, labels, and each feature by its kind; three passes over the data."""
    absent = sorted({*FEATURES, LABEL} - set(data.columns))
    if absent:
        raise DataError(f"the snapshot lacks the columns {absent}; it has {data.columns}")
    labels = {str(row[0]): row[1] for row in data.groupBy(LABEL).count().collect()}
    if not labels:
        raise DataError("the snapshot has no rows; look at what ingest wrote")
    return {
        "rows": sum(labels.values()),
        "labels": labels,
        "columns": {**_numbers(data), **_texts(data)},
    }


def _numbers(data: DataFrame) -> dict[str, Any]:
    long = _long(data, NUMERIC, [F.col(f"`{name}`").cast("double") for name in NUMERIC])
    described = long.groupBy("name").agg(
        F.sum(F.col("value").isNull().cast("int")).alias("missing"),
        F.countDistinct("value").alias("distinct"),
        F.min("value").alias("min"),
        F.max("value").alias("max"),
        F.avg("value").alias("mean"),
        F.stddev("value").alias("standard_deviation"),
        F.percentile_approx("value", QUANTILES).alias("quantiles"),
    )
    columns = {}
    for row in described.collect():
        found = row.asDict()
        quantiles = dict(enumerate(found.pop("quantiles") or []))
        found["quantiles"] = {str(QUANTILES[at]): value for at, value in quantiles.items()}
        columns[found.pop("name")] = {"kind": "numeric", **found}
    return columns


def _texts(data: DataFrame) -> dict[str, Any]:
    """Each column's most frequent values, with rows and the share of positives; null stands for the missing."""
    rate = F.avg((F.col("label") == POSITIVE).cast("double"))
    long = _long(data, CATEGORICAL, [_text(name) for name in CATEGORICAL])
    counted = long.groupBy("name", "value").agg(F.count("*").alias("rows"), rate.alias("label_rate"))
    whole = Window.partitionBy("name")
    ranked = counted.select(
        "*",
        F.count("value").over(whole).alias("distinct"),
        F.sum(F.when(F.col("value").isNull(), F.col("rows")).otherwise(0)).over(whole).alias("missing"),
        F.row_number().over(whole.orderBy(F.desc("rows"), "value")).alias("rank"),
    )
    columns: dict[str, Any] = {}
    for row in ranked.where(F.col("rank") <= TOP_VALUES).orderBy("name", "rank").collect():
        first = {"kind": "categorical", "missing": row["missing"], "distinct": row["distinct"], "top": []}
        found = columns.setdefault(row["name"], first)
        found["top"].append({name: row[name] for name in ("value", "rows", "label_rate")})
    return columns


def _long(data: DataFrame, names: Sequence[str], values: Sequence[Column]) -> DataFrame:
    """A row per value: its column's name, the value, the label of the row it came from."""
    pairs = [F.struct(F.lit(name).alias("name"), values[at].alias("value")) for at, name in enumerate(names)]
    return data.select(F.col(f"`{LABEL}`").alias("label"), F.inline(F.array(*pairs)))


def _text(name: str) -> Column:
    """The column without surrounding spaces, null where the contract says missing."""
    value = F.trim(F.col(f"`{name}`"))
    return F.when(~value.isin(*MISSING), value)

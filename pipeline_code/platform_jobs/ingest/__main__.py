"""Glue job: turn every good raw file into one snapshot, and say which files were refused and why.

Bad files never fail the job; the result document tells.
"""

import argparse
import json

from pyspark.sql import SparkSession

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest
from pipeline_code.platform_jobs.ingest.result import summary


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(prog="ingest", description=__doc__, allow_abbrev=False)
    parser.add_argument("--input_raw", required=True, help="URI of the folder with raw files, CSV or Parquet")
    parser.add_argument("--output_snapshots", required=True, help="URI of the folder that holds a folder per snapshot")
    parser.add_argument("--output_result", required=True, help="URI of the result document, with lists cut short")
    parser.add_argument("--output_files", required=True, help="URI of the same document with every file")
    parser.add_argument("--contract", type=json.loads, required=True, help="the data contract as JSON")
    # Without a value too: whether Glue passes an empty one on is not documented.
    parser.add_argument("--trigger_key", nargs="?", default="", const="", help="key of the object that started the run")
    options, _ = parser.parse_known_args()
    spark = SparkSession.builder.appName("ingest").getOrCreate()
    files = Files(spark)
    result = ingest(
        spark,
        files,
        raw=options.input_raw,
        snapshots=options.output_snapshots,
        contract=options.contract,
        trigger=options.trigger_key,
    )
    files.write_json(options.output_files, result)
    files.write_json(options.output_result, summary(result))
    print(json.dumps(summary(result)))


if __name__ == "__main__":
    main()

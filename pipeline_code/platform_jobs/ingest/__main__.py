"""Glue job: turn every good raw file into one snapshot, and say which files were refused and why.

Bad files never fail the job; the result document tells.
"""

import argparse
import json

from pyspark.sql import SparkSession

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(prog="ingest", description=__doc__, allow_abbrev=False)
    parser.add_argument("--input_raw", required=True, help="URI of the folder with raw CSV files")
    parser.add_argument("--output_snapshots", required=True, help="URI of the folder that holds a folder per snapshot")
    parser.add_argument("--output_result", required=True, help="URI of the result document")
    parser.add_argument("--contract", type=json.loads, required=True, help="the data contract as JSON")
    options, _ = parser.parse_known_args()
    spark = SparkSession.builder.appName("ingest").getOrCreate()
    files = Files(spark)
    result = ingest(spark, files, raw=options.input_raw, snapshots=options.output_snapshots, contract=options.contract)
    files.write_json(options.output_result, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

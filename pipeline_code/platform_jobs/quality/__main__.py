"""Glue job: judge a snapshot by its project's rules; failing rules never fail the job, the verdict tells."""

import argparse
import json

from pyspark.sql import SparkSession

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.quality.logic import judge


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(prog="quality", description=__doc__, allow_abbrev=False)
    parser.add_argument("--input_snapshot", required=True, help="URI of the snapshot's folder")
    parser.add_argument("--output_verdict", required=True, help="URI of the verdict document")
    parser.add_argument("--ruleset", type=json.loads, required=True, help="the rules as JSON")
    options, _ = parser.parse_known_args()
    spark = SparkSession.builder.appName("quality").getOrCreate()
    data = spark.read.parquet(f"{options.input_snapshot.rstrip('/')}/data")
    verdict = judge(spark, data, options.ruleset)
    Files(spark).write_json(options.output_verdict, verdict)
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()

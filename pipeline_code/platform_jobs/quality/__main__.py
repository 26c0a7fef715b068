"""Glue job: judge a snapshot by its project's rules; failing rules never fail the job, the verdict tells."""

import argparse
import hashlib
import json
import sys

from pyspark.sql import SparkSession

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.quality.engines import EngineError, opener
from pipeline_code.platform_jobs.quality.job import Places, run
from pipeline_code.platform_jobs.quality.verdict import Judged


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(prog="quality", description=__doc__, allow_abbrev=False)
    parser.add_argument("--run_id", required=True, help="the run that asks")
    parser.add_argument("--input_snapshot", required=True, help="URI of the snapshot's folder")
    parser.add_argument("--input_history", required=True, help="URI of the history document, which may be missing")
    parser.add_argument("--output_verdict", required=True, help="URI of the verdict document")
    parser.add_argument("--output_history", required=True, help="URI of the history document")
    parser.add_argument("--output_snapshots", required=True, help="URI of the folder that holds a folder per snapshot")
    parser.add_argument("--output_rows", required=True, help="URI of the folder for rows that are set apart")
    parser.add_argument("--ruleset", required=True, help="the rules as JSON")
    options, _ = parser.parse_known_args()
    spark = SparkSession.builder.appName("quality").getOrCreate()
    try:
        open_engine, note = opener(spark)
    except EngineError as error:
        sys.exit(str(error))
    if note:
        print(note)
    document = run(
        spark,
        open_engine,
        note=note,
        judged=Judged(options.run_id, options.input_snapshot, hashlib.sha256(options.ruleset.encode()).hexdigest()),
        ruleset=json.loads(options.ruleset),
        places=Places(options.input_history, options.output_history, options.output_snapshots, options.output_rows),
    )
    Files(spark).write_json(options.output_verdict, document)
    print(f"data quality: {document['verdict']}, judged by {document['engine']} {document['engine_version']}")
    print(json.dumps(document))


if __name__ == "__main__":
    main()

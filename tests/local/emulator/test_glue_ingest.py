"""The ingest job as it ships, script and library, in the running emulator: keys and times of objects are S3's."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dual_pipeline.code_bundle import write_glue_library
from lake import HEADER, contract

pytestmark = [pytest.mark.local, pytest.mark.spark, pytest.mark.xdist_group("emulator-glue")]

CODE = Path(__file__).resolve().parents[3] / "pipeline_code"
ODD = ["p/raw/day=1/a b+#ü%2F.csv", "p/raw/b?[x]{y}*.parquet"]


def csv(*rows: str) -> bytes:
    """A raw file of these rows."""
    return "\n".join([HEADER, *rows, ""]).encode()


def test_ingest_runs_as_it_ships(emulator: Any, tmp_path: Path) -> None:
    """Odd keys are read, the newest object wins whatever its key, and the manifest is the last object of a snapshot."""
    s3, glue = emulator.client("s3"), emulator.client("glue")
    s3.create_bucket(Bucket="raw-lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    library = write_glue_library(CODE, folder=tmp_path)
    s3.put_object(Bucket="raw-lake", Key="code/library.zip", Body=library.read_bytes())
    script = (CODE / "platform_jobs" / "ingest" / "__main__.py").read_bytes()
    s3.put_object(Bucket="raw-lake", Key="code/ingest.py", Body=script)
    table = io.BytesIO()
    pq.write_table(pa.table({"age": [2], "job": ["x"], "wage": [2.0], "income": ["low"]}), table)
    s3.put_object(Bucket="raw-lake", Key="p/raw/z.csv", Body=csv("0,1,old,1,low"))
    s3.put_object(Bucket="raw-lake", Key=ODD[1], Body=table.getvalue())
    time.sleep(1.1)  # S3 tells time in seconds
    s3.put_object(Bucket="raw-lake", Key=ODD[0], Body=csv("0,1,new,1,high"))
    everything = ["arn:aws:s3:::raw-lake", "arn:aws:s3:::raw-lake/*"]
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"], "Resource": everything}
    arguments = {
        "--extra-py-files": "s3://raw-lake/code/library.zip",
        "--input_raw": "s3://raw-lake/p/raw/",
        "--output_snapshots": "s3://raw-lake/p/snapshots/",
        "--output_result": "s3://raw-lake/p/runs/1/ingest.json",
        "--output_files": "s3://raw-lake/p/runs/1/ingest-files.json",
        "--contract": json.dumps(contract(key=["age"])),
    }
    glue.create_job(
        Name="ships",
        Role=emulator.role("job-ships", "glue.amazonaws.com", allowed),
        Command={"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": "s3://raw-lake/code/ingest.py"},
        DefaultArguments=arguments,
        GlueVersion="5.1",
    )
    run = glue.start_job_run(JobName="ships", Arguments={"--trigger_key": ODD[0]})["JobRunId"]
    state = "STARTING"
    while state in ("STARTING", "RUNNING"):
        time.sleep(0.2)
        ended = glue.get_job_run(JobName="ships", RunId=run)["JobRun"]
        state = ended["JobRunState"]
    assert "SUCCEEDED" == state, ended
    result = json.loads(s3.get_object(Bucket="raw-lake", Key="p/runs/1/ingest.json")["Body"].read())
    assert ("accepted", [], 2) == (result["trigger"], result["reasons"], result["rows"])
    assert {"p/raw/z.csv", *ODD} == {source["key"] for source in result["sources"]}
    prefix = result["snapshot_uri"].removeprefix("s3://raw-lake/")
    written = s3.list_objects_v2(Bucket="raw-lake", Prefix="p/snapshots/")["Contents"]
    assert {
        f"{prefix}{name}" for name in ("data/part-00000.parquet", "sample/part-00000.parquet", "manifest.json")
    } == {item["Key"] for item in written}
    assert f"{prefix}manifest.json" == max(written, key=lambda item: item["LastModified"])["Key"]
    body = s3.get_object(Bucket="raw-lake", Key=f"{prefix}data/part-00000.parquet")["Body"].read()
    rows = pq.read_table(io.BytesIO(body)).to_pylist()
    assert {(1, "new", "high"), (2, "x", "low")} == {(row["age"], row["job"], row["income_level"]) for row in rows}

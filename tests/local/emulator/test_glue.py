"""Glue jobs in the running emulator, with real Spark."""

import json
from pathlib import Path
from typing import Any

import pytest

from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.spark, pytest.mark.xdist_group("emulator-glue")]

STATES, GLUE = "states.amazonaws.com", "glue.amazonaws.com"
JOB = "arn:aws:glue:eu-west-1:123456789012:job/"

COUNT = """
import argparse
from pyspark.sql import SparkSession
from helper import NAME

parser = argparse.ArgumentParser()
for name in ("input_raw", "output_data"):
    parser.add_argument(f"--{name}", required=True)
options, _ = parser.parse_known_args()
spark = SparkSession.builder.getOrCreate()
rows = spark.read.option("header", True).csv(options.input_raw)
rows.write.parquet(options.output_data + "data")
path = spark._jvm.org.apache.hadoop.fs.Path(options.output_data + "result.json")
stream = path.getFileSystem(spark._jsc.hadoopConfiguration()).create(path)
stream.write(bytearray(f'{{"{NAME}": {rows.count()}}}', "utf-8"))
stream.close()
spark.stop()
"""


def allow(*actions: str, on: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


@pytest.fixture(scope="module")
def bucket(emulator: Any) -> str:
    import io
    import zipfile

    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as library:
        library.writestr("helper.py", 'NAME = "rows"')
    scripts = {
        "count.py": COUNT,
        "sleep.py": "import time; time.sleep(300)",
        "fail.py": "raise ValueError('no such luck')",
    }
    for name, text in scripts.items():
        s3.put_object(Bucket="lake", Key=f"code/{name}", Body=text)
    s3.put_object(Bucket="lake", Key="code/library.zip", Body=archive.getvalue())
    for part in range(2):
        s3.put_object(Bucket="lake", Key=f"raw/{part}.csv", Body="a,b\n1,2\n3,4\n")
    return "lake"


def job(emulator: Any, name: str, script: str, *statements: dict[str, Any], **arguments: str) -> None:
    role = emulator.role(f"job-{name}", GLUE, *statements)
    emulator.client("glue").create_job(
        Name=name,
        Role=role,
        Command={"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": f"s3://lake/code/{script}"},
        DefaultArguments={"--extra-py-files": "s3://lake/code/library.zip"} | arguments,
        GlueVersion="5.1",
        ExecutionProperty={"MaxConcurrentRuns": 1},
    )


def machine(emulator: Any, name: str, *, statements: list[dict[str, Any]] | None = None, **more: Any) -> str:
    actions = ("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun")
    default = [allow(*actions, on=JOB + name)]
    role = emulator.role(f"machine-{name}", STATES, *(default if statements is None else statements))
    resource = "arn:aws:states:::glue:startJobRun.sync"
    state = {"Type": "Task", "Resource": resource, "Arguments": {"JobName": name}, "End": True, **more}
    arn: str = emulator.machine(name, role, {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}})
    return arn


def running(word: str) -> list[str]:
    """Processes whose command line holds the word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def test_a_job_reads_and_writes_s3_through_spark(emulator: Any, bucket: str) -> None:
    """A glueetl job runs its unchanged s3:// code on the declared inputs; outputs are uploaded under the job's role."""
    statements = [
        allow("s3:GetObject", "s3:ListBucket", on=["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"]),
        allow("s3:PutObject", on="arn:aws:s3:::lake/out/*"),
    ]
    arguments = {"--input_raw": "s3://lake/raw/", "--output_data": "s3://lake/out/"}
    job(emulator, "count", "count.py", *statements, **arguments)
    done = emulator.execute(machine(emulator, "count"), seconds=90)
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"])["JobRunState"] == "SUCCEEDED"
    s3 = emulator.client("s3")
    assert json.loads(s3.get_object(Bucket="lake", Key="out/result.json")["Body"].read()) == {"rows": 4}
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="lake", Prefix="out/")["Contents"]]
    assert "out/data/_SUCCESS" in keys
    assert not [key for key in keys if key.endswith(".crc")]


def test_a_job_may_not_write_what_its_role_may_not(emulator: Any, bucket: str) -> None:
    """Uploads use the job role's credentials: without s3:PutObject the run fails."""
    read = allow("s3:GetObject", "s3:ListBucket", on=["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"])
    job(emulator, "poor", "count.py", read, **{"--input_raw": "s3://lake/raw/", "--output_data": "s3://lake/poor/"})
    done = emulator.execute(machine(emulator, "poor"), seconds=90)
    assert (done["status"], done["error"]) == ("FAILED", "States.TaskFailed")
    assert "AccessDenied" in json.loads(done["cause"])["ErrorMessage"]


def test_a_failing_script_names_its_exception(emulator: Any, bucket: str) -> None:
    """The run's ErrorMessage is the exception's line, and the log stays under the work folder and in CloudWatch Logs."""
    job(emulator, "fail", "fail.py", allow("s3:GetObject"))
    done = emulator.execute(machine(emulator, "fail"))
    cause = json.loads(done["cause"])
    assert (cause["JobRunState"], cause["ErrorMessage"]) == ("FAILED", "ValueError: no such luck")
    logs = [path.read_text() for path in emulator.settings.logs.glob("glue-fail-*.log")]
    assert ["no such luck" in log for log in logs] == [True]
    stream = emulator.client("logs").get_log_events(logGroupName="/aws-glue/jobs/error", logStreamName=cause["Id"])
    assert stream["events"][-1]["message"] == "ValueError: no such luck"


@pytest.mark.parametrize("ending", ["task time-out", "stop", "machine time-out"])
def test_a_job_ends_with_its_task(emulator: Any, bucket: str, ending: str) -> None:
    """TimeoutSeconds, StopExecution and the machine's own time-out kill the job's process."""
    name = f"sleep-{ending.replace(' ', '-')}"
    job(emulator, name, "sleep.py", allow("s3:GetObject"))
    limits: dict[str, Any] = {"TimeoutSeconds": 2} if ending == "task time-out" else {}
    arn = machine(emulator, name, **limits)
    client = emulator.client("stepfunctions")
    if ending == "machine time-out":
        definition = json.loads(client.describe_state_machine(stateMachineArn=arn)["definition"])
        client.update_state_machine(stateMachineArn=arn, definition=json.dumps({**definition, "TimeoutSeconds": 3}))
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    assert until(lambda: running("sleep.py"))
    if ending == "stop":
        client.stop_execution(executionArn=execution)
    status = emulator.ended(execution)["status"]
    assert status == {"task time-out": "FAILED", "stop": "ABORTED", "machine time-out": "TIMED_OUT"}[ending]
    assert until(lambda: not running("sleep.py"), seconds=5)
    runs = emulator.client("glue").get_job_runs(JobName=name)["JobRuns"]
    assert [run["JobRunState"] for run in runs] == ["STOPPED"]


def test_one_run_at_a_time(emulator: Any, bucket: str) -> None:
    """A run beyond MaxConcurrentRuns is refused with Glue's exception."""
    job(emulator, "single", "sleep.py", allow("s3:GetObject"))
    glue = emulator.client("glue")
    first = glue.start_job_run(JobName="single")["JobRunId"]
    with pytest.raises(glue.exceptions.ConcurrentRunsExceededException):
        glue.start_job_run(JobName="single")
    glue.batch_stop_job_run(JobName="single", JobRunIds=[first])
    assert until(lambda: glue.get_job_run(JobName="single", RunId=first)["JobRun"]["JobRunState"] == "STOPPED")


def test_sync_needs_more_than_the_start(emulator: Any, bucket: str) -> None:
    """A role that may only start the run fails the task: `.sync` also follows and stops it."""
    job(emulator, "start-only", "sleep.py", allow("s3:GetObject"))
    arn = machine(emulator, "start-only", statements=[allow("glue:StartJobRun")])
    done = emulator.execute(arn)
    assert (done["status"], done["error"]) == ("FAILED", "Glue.AccessDeniedException")
    assert emulator.client("glue").get_job_runs(JobName="start-only")["JobRuns"] == []


def test_every_call_was_authorized(emulator: Any) -> None:
    """No call of this module reached a service without an IAM action."""
    assert emulator.unmapped() == []

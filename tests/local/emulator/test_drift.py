"""The watch for real: captured traffic, the machine as it ships, its job, report, metrics, message and alarm."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift import captured, documents, line, rows
from dual_pipeline.code_bundle import write_platform_bundle
from dual_pipeline.drift_machine import DriftSetting, drift_definition, drift_statements
from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Drift
from dual_pipeline.triggers import Loop, triggers_definition
from pipeline_code.census.project import CENSUS
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

ROOT = Path(__file__).resolve().parents[3]
REGION, ACCOUNT = "eu-west-1", "123456789012"
DATA, ARTIFACTS = "drift-data", "drift-artifacts"
EVALUATION = "census/executions/1/evaluate/evaluation/"
CAPTURE = "census/capture/dev-census/AllTraffic/"
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"
DIMENSIONS = [{"Name": "Environment", "Value": "dev"}, {"Name": "Project", "Value": "census"}]
IDLE = {"QueryLanguage": "JSONata", "StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
INFERENCE = """
import json

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body.splitlines()

def predict_fn(rows, model):
    return [0.25 for _ in rows]

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction}), "application/json"
"""


class World:
    """Buckets, a champion with its baseline, the machine under the statements that ship, and what listens to it."""

    def __init__(self, emulator: Any) -> None:
        self.emulator = emulator
        self.s3, self.table = emulator.client("s3"), emulator.client("dynamodb")
        for bucket in (DATA, ARTIFACTS):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        self.table.create_table(
            TableName="drift",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        sns, sqs = emulator.client("sns"), emulator.client("sqs")
        self.topic = sns.create_topic(Name="drift-people")["TopicArn"]
        self.queue = sqs.create_queue(QueueName="drift-people")["QueueUrl"]
        queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:drift-people"
        may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
        sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=queue_arn)
        key = emulator.client("kms").create_key()["KeyMetadata"]["Arn"]
        self.job_role = emulator.role("drift-job", "sagemaker.amazonaws.com", *_job_statements())
        self.setting = DriftSetting(
            environment=Environment(name="dev", region=REGION, projects=(CENSUS,)),
            project="census",
            drift=Drift(min_rows=100, min_labels=50, max_time=timedelta(minutes=2)),
            partition="aws",
            account=ACCOUNT,
            data_bucket=DATA,
            artifact_bucket=ARTIFACTS,
            table_name="drift",
            key_arn=key,
            topic_arn=self.topic,
            image=IMAGE,
            role_arn=self.job_role,
            code_uri=f"s3://{ARTIFACTS}/code/drift.zip",
            code_file="drift.zip",
        )
        statements = [_policy(statement) for statement in drift_statements(self.setting)]
        role = emulator.role("drift-machine", "states.amazonaws.com", *statements)
        self.machine = emulator.machine("dev-census-drift", role, drift_definition(self.setting))
        self.loop = emulator.machine("dev-census-outer-loop", emulator.role("drift-idle", "states.amazonaws.com"), IDLE)
        self._listen()

    def _listen(self) -> None:
        """The machine and the rule that start the outer loop when a drift alarm rings, as foundation has them."""
        loop = Loop(project="census", machine_arn=self.loop, alarm="dev-census-drift")
        runner = self.emulator.role(
            "drift-triggers",
            "states.amazonaws.com",
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": self.loop},
            {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"},
        )
        triggers = self.emulator.machine("dev-triggers", runner, triggers_definition(loops=[loop], table_name="drift"))
        starter = self.emulator.role(
            "drift-starter",
            "events.amazonaws.com",
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": triggers},
        )
        pattern = {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": ["dev-census-drift"], "state": {"value": ["ALARM"]}},
        }
        events = self.emulator.client("events")
        events.put_rule(Name="drift-alarms", EventPattern=json.dumps(pattern))
        transformer = {"InputPathsMap": {}, "InputTemplate": '{"kind": "drift"}'}
        target = {"Id": "1", "Arn": triggers, "RoleArn": starter, "InputTransformer": transformer}
        events.put_targets(Rule="drift-alarms", Targets=[target])

    def watch(self) -> None:
        """The alarm as the template has it."""
        self.emulator.client("cloudwatch").put_metric_alarm(
            AlarmName="dev-census-drift",
            Namespace="DualPipeline",
            MetricName="DriftFindings",
            Dimensions=DIMENSIONS,
            Statistic="Maximum",
            Period=3600,
            EvaluationPeriods=25,
            DatapointsToAlarm=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )

    def started(self) -> list[dict[str, Any]]:
        """What the outer loop was started with."""
        states = self.emulator.client("stepfunctions")
        found = states.list_executions(stateMachineArn=self.loop)["executions"]
        inputs = [states.describe_execution(executionArn=each["executionArn"])["input"] for each in found]
        return [json.loads(each) for each in inputs]

    def release(self, *, at: datetime, run: str = "run-1") -> None:
        """Make a model the champion, with the baseline that its evaluation left."""
        drift, evaluation = documents()
        self.put(f"{EVALUATION}drift_baseline.json", json.dumps(drift))
        self.put(f"{EVALUATION}evaluation.json", json.dumps(evaluation))
        values = {
            "pk": "PROJECT#census",
            "sk": "CHAMPION#dev-census",
            "model_package_arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/dev-census/7",
            "evaluation_uri": f"s3://{ARTIFACTS}/{EVALUATION}evaluation.json",
            "run_id": run,
            "released_at": f"{at:%Y-%m-%dT%H:%M:%S.123Z}",
        }
        self.table.put_item(TableName="drift", Item={name: {"S": value} for name, value in values.items()})

    def put(self, key: str, body: str | bytes, *, bucket: str = ARTIFACTS) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def capture(self, lines: list[str], *, at: datetime, name: str) -> None:
        """Lay down a file as an endpoint does."""
        self.put(f"{CAPTURE}{at:%Y/%m/%d/%H}/{name}.jsonl", "\n".join(lines) + "\n")

    def measure(self) -> dict[str, Any]:
        """Run the machine to its end."""
        ended: dict[str, Any] = self.emulator.execute(self.machine, seconds=90)
        return ended

    def told(self) -> list[dict[str, str]]:
        """What people were sent since the last look; a moment is left for it to arrive."""
        sqs = self.emulator.client("sqs")
        request = {"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 2}
        found = sqs.receive_message(**request).get("Messages", [])
        for each in found:
            sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"]) for each in found]

    def published(self, name: str, *, run: str | None = None) -> list[float]:
        """The hourly maxima of a metric, of all models or of the one that a run released."""
        now = datetime.now(UTC)
        found = self.emulator.client("cloudwatch").get_metric_statistics(
            Namespace="DualPipeline",
            MetricName=name,
            Dimensions=DIMENSIONS + ([{"Name": "Run", "Value": run}] if run else []),
            StartTime=now - timedelta(hours=2),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Maximum"],
        )
        return [point["Maximum"] for point in found["Datapoints"]]

    def clear(self) -> None:
        """Forget what was captured and told."""
        for prefix, bucket in ((CAPTURE, ARTIFACTS), ("census/ground-truth/", DATA)):
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for each in page.get("Contents", ()):
                    self.s3.delete_object(Bucket=bucket, Key=each["Key"])
        self.told()


def _job_statements() -> list[dict[str, Any]]:
    artifacts, data = f"arn:aws:s3:::{ARTIFACTS}", f"arn:aws:s3:::{DATA}"
    readable = [f"{artifacts}/{name}/*" for name in ("code", "census/executions", "census/capture")]
    return [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [*readable, f"{data}/census/ground-truth/*"]},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": [artifacts, data]},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{artifacts}/census/drift/*"},
    ]


def _policy(statement: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": list(statement.actions),
        "Resource": list(statement.resources),
        **({"Condition": dict(statement.conditions)} if statement.conditions else {}),
    }


@pytest.fixture(scope="module")
def everything(emulator: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for the tests of this module, with the job's code in place."""
    world = World(emulator)
    bundle = write_platform_bundle(ROOT / "pipeline_code", job="drift", folder=tmp_path_factory.mktemp("code"))
    world.put("code/drift.zip", bundle.read_bytes())
    return world


@pytest.fixture
def world(everything: World) -> World:
    """The world without anything captured, its champion a month old."""
    everything.clear()
    everything.release(at=datetime.now(UTC) - timedelta(days=30))
    return everything


def test_nothing_drifts_before_the_first_release(world: World) -> None:
    """Without a champion the machine ends well and starts no job."""
    world.table.delete_item(TableName="drift", Key={"pk": {"S": "PROJECT#census"}, "sk": {"S": "CHAMPION#dev-census"}})
    ended = world.measure()
    assert "SUCCEEDED" == ended["status"]
    assert {"status": "nothing serves yet, so nothing can drift"} == json.loads(ended["output"])


def test_drifted_traffic_is_found_told_and_starts_a_run(world: World) -> None:
    """Report, metrics, one message with the feature's numbers and a proposal; the alarm's event starts the outer loop."""
    hour = datetime.now(UTC) - timedelta(hours=1)
    world.capture(captured(rows(600, older=8), at=hour), at=hour, name="a")
    world.watch()
    assert [] == world.started()
    ended = world.measure()
    assert "SUCCEEDED" == ended["status"], ended
    output = json.loads(ended["output"])
    assert ("measured", "retrain") == (output["status"], output["decision"])
    folder = output["report_uri"].removeprefix(f"s3://{ARTIFACTS}/").removesuffix("report.html")
    report = json.loads(world.s3.get_object(Bucket=ARTIFACTS, Key=f"{folder}report.json")["Body"].read())
    assert (600, True) == (report["rows"], report["features"][0]["moved"])
    assert b"age" in world.s3.get_object(Bucket=ARTIFACTS, Key=f"{folder}report.html")["Body"].read()
    assert [1.0] == world.published("DriftFindings")
    assert [600.0] == world.published("DriftRows")
    (told,) = world.told()
    assert "Drift of dev-census: retrain" == told["Subject"]
    assert "  age: PSI 0." in told["Message"]
    assert f"Report: {output['report_uri']}" in told["Message"]
    until(world.started, seconds=60)
    (started, *_) = world.started()
    assert "drift" == started["reason"]
    assert started["detail"].startswith("the alarm dev-census-drift rings: ")


def test_a_new_champion_is_not_judged_by_what_its_predecessor_was_asked(world: World) -> None:
    """Released after the drifted traffic, it has had none, and nothing is published."""
    hour = datetime.now(UTC) - timedelta(hours=2)
    world.capture(captured(rows(600, older=8), at=hour), at=hour, name="a")
    world.release(at=datetime.now(UTC) - timedelta(hours=1))
    output = json.loads(world.measure()["output"])
    assert ("thin", "nothing") == (output["status"], output["decision"])
    assert output["sentence"].startswith("0 rows were captured")
    assert [] == world.told()


def test_a_release_while_the_job_runs_leaves_nothing_to_say(world: World) -> None:
    """What it found of the predecessor is neither published nor told."""
    before = world.published("DriftRows")
    hour = datetime.now(UTC) - timedelta(hours=1)
    world.capture(captured(rows(700, older=8), at=hour), at=hour, name="a")
    sagemaker = world.emulator.client("sagemaker")
    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(world.measure)
        until(lambda: sagemaker.list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"])
        world.release(at=datetime.now(UTC), run="run-2")
        output = json.loads(measuring.result()["output"])
    assert output["status"].startswith("superseded: another model was released meanwhile")
    assert ([], before) == (world.told(), world.published("DriftRows"))


def test_labels_that_come_late_are_joined(world: World) -> None:
    """A file below ground-truth/ judges answers of the week before, and their quality is published."""
    then = datetime.now(UTC) - timedelta(days=7)
    answered = [line([row], [number % 10 / 10], at=then, id_=f"q{number}") for number, row in enumerate(rows(300))]
    world.capture(answered, at=then, name="a")
    hour = datetime.now(UTC) - timedelta(hours=1)
    world.capture(captured(rows(200), at=hour), at=hour, name="b")
    labels = "".join(f"q{number},{int(number % 10 > 5)}\n" for number in range(300))
    world.put("census/ground-truth/a.csv", f"inference_id,label\n{labels}", bucket=DATA)
    output = json.loads(world.measure()["output"])
    assert ("measured", 200) == (output["status"], int(output["sentence"].split(" rows")[0].split()[-1]))
    assert [1.0] == world.published("LiveAuc") == world.published("LiveAuc", run="run-1")
    assert [] == world.published("LiveAuc", run="run-2")


def test_ruined_capture_is_told_and_fails_loudly(world: World) -> None:
    """It is not called a window without drift, nothing is published, and the machine's failure rings its alarm."""
    before = world.published("DriftRows")
    hour = datetime.now(UTC) - timedelta(hours=1)
    world.capture(["{"] * 300 + captured(rows(200), at=hour), at=hour, name="a")
    ended = world.measure()
    assert ("FAILED", "DualPipeline.DriftNotMeasured") == (ended["status"], ended["error"])
    assert ended["cause"].startswith("Most of what was captured ")
    (told,) = world.told()
    assert "Drift of dev-census: not measured" == told["Subject"]
    assert "the line is no captured request (300)" in told["Message"]
    assert before == world.published("DriftRows")


def test_a_champion_without_a_baseline_says_what_to_do(world: World) -> None:
    """The job's own sentence reaches people."""
    world.put(f"{EVALUATION}drift_baseline.json", "{}")
    ended = world.measure()
    assert "FAILED" == ended["status"]
    (told,) = world.told()
    assert "drift_baseline.json of the champion cannot be compared with" in told["Message"]
    assert "section 'Drift not measured'" in told["Message"]


def test_what_an_endpoint_captures_is_what_the_job_reads(world: World) -> None:
    """Requests to a real endpoint, alone and several rows at once, are all counted and none is damaged."""
    corner = _endpoint(world)
    given = rows(150)
    for at in range(0, 150, 3):
        body = "\n".join(",".join(row) for row in given[at : at + 3])
        corner.invoke_endpoint(EndpointName="dev-census", ContentType="text/csv", Body=body)
    pages = world.s3.get_paginator("list_objects_v2")

    def lines() -> int:
        keys = [
            each["Key"]
            for page in pages.paginate(Bucket=ARTIFACTS, Prefix=CAPTURE)
            for each in page.get("Contents", ())
        ]
        return sum(world.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read().count(b"\n") for key in keys)

    until(lambda: lines() == 50)
    time.sleep(1)  # the window ends before the second in which it is measured
    ended = world.measure()
    assert "SUCCEEDED" == ended["status"], ended
    output = json.loads(ended["output"])
    assert "measured" == output["status"]
    key = output["report_uri"].removeprefix(f"s3://{ARTIFACTS}/").replace("report.html", "report.json")
    report = json.loads(world.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read())
    assert (150, 0, 50) == (report["rows"], report["read"]["corrupt_lines"], report["read"]["lines"])
    assert report["predictions"]["moved"]


def _endpoint(world: World) -> Any:
    from sagemaker_bench import tar

    world.put("models/model.tar.gz", tar({"code/inference.py": INFERENCE}))
    bucket = f"arn:aws:s3:::{ARTIFACTS}"
    role = world.emulator.role(
        "drift-endpoint",
        "sagemaker.amazonaws.com",
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{bucket}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
        {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
    )
    sagemaker = world.emulator.client("sagemaker")
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{ARTIFACTS}/models/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
    }
    sagemaker.create_model(ModelName="drift", ExecutionRoleArn=role, PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName="drift",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "drift",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1,
            }
        ],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{ARTIFACTS}/census/capture/",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        },
    )
    sagemaker.create_endpoint(EndpointName="dev-census", EndpointConfigName="drift")
    until(lambda: sagemaker.describe_endpoint(EndpointName="dev-census")["EndpointStatus"] == "InService")
    return world.emulator.client("sagemaker-runtime")

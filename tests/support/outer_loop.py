"""The outer loop as it ships, run by a server of its own with the answers of Glue, SageMaker and S3 injected.

Locks, trailing runs, the ledger, metrics and notifications are real; the answers come in the format of
https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Approval, Limits
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.setting import Setting, TrainingCode
from dual_pipeline.reaper import reaper_definition
from pipeline_code.census.project import CENSUS
from verdicts import verdict_document

REGION, ACCOUNT = "eu-west-1", "000000000000"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:people"
STATES = f"arn:aws:states:{REGION}:{ACCOUNT}"
PACKAGE = f"{ARN}:model-package/dev-census/7"
MODEL = "s3://artifact-bucket/census/executions/abc123/evaluate/model/model.tar.gz"
GOLDEN = {
    "content_type": "text/csv",
    "accept": "application/json",
    "body": "39,Private\n50,?\n",
    "expected": [0.25, 0.75],
    "tolerance": 1e-6,
}
EVALUATION = {
    "binary_classification_metrics": {"auc": {"value": 0.92, "standard_deviation": 0.002}},
    "gate": {"passed": True, "reasons": []},
}


def body(document: object) -> dict[str, str]:
    """An object in S3 whose JSON comes as text."""
    return {"Body": json.dumps(document)}


def throw(error: str, cause: str = "") -> dict[str, Any]:
    """A failing call."""
    return {"Throw": {"Error": error, "Cause": cause}}


def approval(status: str, **more: object) -> dict[str, Any]:
    container = {"ModelDataUrl": MODEL}
    registered = {
        "InferenceSpecification": {"Containers": [container]},
        "CustomerMetadataProperties": {"definition_hash": "0123"},
    }
    times = {"CreationTime": "2026-11-20T09:00:00Z"}
    return {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": status, **times, **registered, **more}


def endpoint(config: str, status: str = "InService", *, count: int = 1, **more: object) -> dict[str, Any]:
    arn = f"{ARN}:endpoint/dev-census"
    serving = {
        "ProductionVariants": [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}],
        "DataCaptureConfig": {"EnableCapture": True, "CurrentSamplingPercentage": 20},
    }
    return {"EndpointArn": arn, "EndpointStatus": status, "EndpointConfigName": config, **serving, **more}


def checked(*problems: str, status: str = "", ringing: tuple[str, ...] = (), count: int = 1) -> dict[str, Any]:
    """What the preflight machine answers of an endpoint in `status`, which serves `config-old` if it is there."""
    serving = {"config": "config-old", "count": count} if status else {"config": "", "count": 0}
    found = {"problems": problems, "ringing": ringing, "status": status, **serving}
    return {"Status": "SUCCEEDED", "Output": json.dumps(found)}


def steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"PipelineExecutionSteps": [{"StepName": "Train", "StepStatus": "Succeeded"}, *steps]}


def snapshot(*keys: str) -> dict[str, str]:
    """What ingest leaves when it accepted these files, oldest first, the one that started the run among them."""
    return body(
        {
            "status": "accepted",
            "snapshot_uri": "s3://data-bucket/census/snapshots/1/",
            "trigger": "accepted",
            "files": {"accepted": len(keys), "rejected": 0},
            "sources": [{"key": key, "rows": 9, "bytes": 99} for key in keys],
        }
    )


def judged(verdict: str, *reasons: str, broken: tuple[int, ...] = ()) -> dict[str, str]:
    """What the quality job leaves; the world fills in the run's id and the project's name."""
    snapshot_uri = "s3://data-bucket/census/snapshots/1/"
    changes = {"verdict": verdict, "reasons": [*reasons], "broken": broken}
    return body(verdict_document(CENSUS.ruleset, run_id="<run>", snapshot_uri=snapshot_uri, **changes))


REGISTERED = {
    "StepName": "Register",
    "StepStatus": "Succeeded",
    "Metadata": {"RegisterModel": {"Arn": PACKAGE}},
}
EXECUTION = f"{ARN}:pipeline/dev-census/execution/abc123"
HAPPY: dict[str, Any] = {
    "ReadCode": {"Tags": [{"Key": "dual-pipeline:code", "Value": "c0de"}]},
    "ScheduleTrailing": {"ScheduleArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/group/name"},
    "IngestData": {"JobRunState": "SUCCEEDED"},
    "ReadIngest": body({"status": "accepted", "snapshot_uri": "s3://data-bucket/census/snapshots/1/"}),
    "EvaluateDataQuality": {"JobRunState": "SUCCEEDED"},
    "ReadVerdict": judged("warn", "few rows"),
    "SmokeTrain": {"TrainingJobStatus": "Completed"},
    "TrainModel": {"TrainingJobStatus": "Completed", "ModelArtifacts": {"S3ModelArtifacts": MODEL}},
    "SaveModel": {"ModelArn": f"{ARN}:model/model-new"},
    "ListApproved": {"ModelPackageSummaryList": []},
    "StartTraining": {"PipelineExecutionArn": EXECUTION},
    "AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Succeeded"},
    "StopTraining": {"PipelineExecutionArn": EXECUTION},
    "ListSteps": steps(REGISTERED),
    "ReadEvaluation": body(EVALUATION),
    "AwaitApproval": approval("Approved", ApprovalDescription="looks good", LastModifiedBy={"UserProfileName": "ada"}),
    "CheckApproval": approval("Approved"),
    "RejectPackage": {"ModelPackageArn": PACKAGE},
    "Preflight": checked(),
    "StartTraffic": {"ExecutionArn": f"{STATES}:execution:dev-census-traffic:1"},
    "DeleteEndpointConfig": {},
    "DeleteModel": {},
    "CreateModel": {"ModelArn": f"{ARN}:model/model-new"},
    "CreateEndpointConfig": {"EndpointConfigArn": f"{ARN}:endpoint-config/config-new"},
    "CreateEndpoint": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "UpdateEndpoint": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "RollBack": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "AwaitRollout": endpoint("config-new"),
    "AwaitRollBack": endpoint("config-old"),
    "ReadGoldenRows": body(GOLDEN),
    "SmokeTest": {"Body": '{"predictions": [0.25, 0.7500001]}'},
    "FindRecords": {"Contents": [{"Key": "batch/people.csv", "Size": 9}]},
    "SmokeScore": {"TransformJobStatus": "Completed"},
    "ReadAnswers": {"Body": '{"predictions": [0.25, 0.7500001]}'},
    "ScoreRecords": {"TransformJobStatus": "Completed"},
    "StopScoring": {},
    "SetAlarms": {},
    "Quarantine": {},
    "RemoveQuarantined": {},
}
# How a run ends that is recorded and counted, but of which nobody is told.
QUIET_END = ["Record", "CountOutcome", "IsAnybodyTold", "Ended"]


def mock_config(scenarios: Mapping[str, Mapping[str, Any]], *, reaper: Mapping[str, Any]) -> dict[str, Any]:
    """All scenarios as one mock configuration: a response for each state of each."""
    machines, responses = {}, {}
    for name, changes in scenarios.items():
        cases = {}
        for state, given in (HAPPY | dict(changes)).items():
            answer = json.loads(json.dumps(given).replace("data-bucket/census/", f"data-bucket/{name}/"))
            cases[state] = f"{name}-{state}"
            responses[cases[state]] = _in_turn(answer if isinstance(answer, list) else [answer])
        machines[f"dev-{name}-outer-loop"] = {"TestCases": {"Test": cases}}
    training = {state: f"reaper-{state}" for state in reaper if state != "ReadLock"}
    machines["dev-reaper"] = {
        "TestCases": {"Test": {state: f"reaper-{state}" for state in reaper}, "Reaping": training}
    }
    responses |= {f"reaper-{state}": {"0-1000": {"Return": answer}} for state, answer in reaper.items()}
    return {"StateMachines": machines, "MockedResponses": responses}


def _in_turn(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """What a state gets each time it calls; the last answer for ever."""
    given = [answer if "Throw" in answer else {"Return": answer} for answer in answers]
    return {str(turn): answer for turn, answer in enumerate(given[:-1])} | {f"{len(given) - 1}-1000": given[-1]}


def setting(
    name: str, *, approval: Approval | None = None, inner_loop: bool = True, in_batch: bool = False, **limits: Any
) -> Setting:
    project = replace(CENSUS, name=name, limits=Limits(**limits), approval=approval or CENSUS.approval)
    if in_batch:
        project = replace(project, target="batch")
    if not inner_loop:
        project = replace(project, inner_loop=False, tuning=None)
    return Setting(
        environment=Environment(name="dev", region=REGION, projects=(project,)),
        project=project,
        partition="aws",
        account=ACCOUNT,
        data_bucket="data-bucket",
        artifact_bucket="artifact-bucket",
        table_name="ledger",
        key_arn=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/key",
        topic_arn=TOPIC,
        model_role_arn=f"arn:aws:iam::{ACCOUNT}:role/model",
        rollback_alarms=("errors",),
        starter_role_arn=f"arn:aws:iam::{ACCOUNT}:role/starter",
        dead_letters_arn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead-letters",
        repository_arn=f"arn:aws:ecr:{REGION}:141502667606:repository/sagemaker-xgboost",
        training_code=TrainingCode(
            image="image", role_arn=f"arn:aws:iam::{ACCOUNT}:role/training", uri="s3://code/alone.gz", file="alone.gz"
        ),
    )


def shortened(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with deadlines and slices of a second, and with the run's id in the injected verdict."""
    read = definition["States"]["ReadVerdict"]["Assign"]
    filled = "$replace($states.result.Body, '<run>', $runId)"
    read["verdict"] = read["verdict"].replace("$states.result.Body", filled)
    for name, state in definition["States"].items():
        if name.endswith("Sleep"):
            state["TimeoutSeconds"] = 1
        if name.endswith("Decide"):
            (late,) = (rule for rule in state["Choices"] if "$waiting.since" in rule["Condition"])
            late["Condition"] = "{% $millis() - $waiting.since >= 1000 %}"
    return definition


_SERVER = """
import runpy
from dual_pipeline_local import jsonata_clock
jsonata_clock.install()
runpy.run_module("ministack.app", run_name="__main__")
"""


class World:
    """The server with its ledger, topic, and one machine per scenario: its name, and what differs from a release.

    An answer may be a list: one for each call, the last one for ever. `limits` are those of a scenario's project,
    `approval` its policy, projects of `alone` have no inner loop, those of `in_batch` score in batch, `reaper` the answers
    that the reaper's test case `Test` gets; in its test case `Reaping` the lock is the real one.
    """

    def __init__(
        self,
        folder: Path,
        scenarios: Mapping[str, Mapping[str, Any]],
        *,
        limits: Mapping[str, Mapping[str, Any]] | None = None,
        approval: Mapping[str, Approval] | None = None,
        reaper: Mapping[str, Any] | None = None,
        alone: Collection[str] = (),
        in_batch: Collection[str] = (),
    ) -> None:
        config = folder / "mock.json"
        config.write_text(json.dumps(mock_config(scenarios, reaper=reaper or {})))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "SFN_MOCK_CONFIG": str(config),
            "SFN_WAIT_SCALE": "0",
        }
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVER], env=environment, stdout=log, stderr=log, cwd=folder
            )
        self._wait()
        self.states, self.table = self.client("stepfunctions"), self.client("dynamodb")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        self.table.create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        sns, sqs = self.client("sns"), self.client("sqs")
        sns.create_topic(Name="people")
        self.queue = sqs.create_queue(QueueName="people")["QueueUrl"]
        sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:people")
        projects = []
        for name in scenarios:
            own = (limits or {}).get(name, {})
            policy = (approval or {}).get(name)
            made = setting(name, approval=policy, inner_loop=name not in alone, in_batch=name in in_batch, **own)
            projects.append(made.project)
            definition = outer_loop_definition(made)
            self._machine(f"dev-{name}-outer-loop", shortened(definition))
        dev = Environment(name="dev", region=REGION, projects=tuple(projects))
        self._machine("dev-reaper", reaper_definition(environment=dev, table_name="ledger", topic_arn=TOPIC))

    def client(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False)
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config,
        )

    def start(self, name: str, given: object, *, run: str = "") -> str:
        machine = f"{STATES}:stateMachine:dev-{name}-outer-loop#Test"
        named = {"name": run} if run else {}
        arn: str = self.states.start_execution(stateMachineArn=machine, input=json.dumps(given), **named)[
            "executionArn"
        ]
        return arn

    def ended(self, arn: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.05)
        raise AssertionError(f"{arn} still runs")

    def run(self, name: str, given: object, *, run: str = "") -> dict[str, Any]:
        """Run a scenario to its end: its record in the ledger, and the names of the states it went through."""
        arn = self.start(name, given, run=run)
        self.ended(arn)
        return self.record(name, arn)

    def record(self, name: str, arn: str) -> dict[str, Any]:
        item = self.item(name, f"RUN#{arn.rsplit(':', 1)[1]}")
        ended = self.states.describe_execution(executionArn=arn)
        output = json.loads(ended.get("output", "{}"))
        return item | {"states": self.entered(arn), "status": ended["status"], "output": output}

    def entered(self, arn: str) -> list[str]:
        events = self.states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]

    def item(self, name: str, sort_key: str) -> dict[str, Any]:
        key = {"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": sort_key}}
        found = self.table.get_item(TableName="ledger", Key=key).get("Item", {})
        return {field: next(iter(value.values())) for field, value in found.items()}

    def put(self, name: str, sort_key: str, **fields: Mapping[str, str]) -> None:
        key = {"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": sort_key}}
        self.table.put_item(TableName="ledger", Item=key | fields)

    def executions(self, name: str) -> list[dict[str, Any]]:
        machine = f"{STATES}:stateMachine:dev-{name}-outer-loop"
        found: list[dict[str, Any]] = self.states.list_executions(stateMachineArn=machine)["executions"]
        return found

    def _machine(self, name: str, definition: dict[str, Any]) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/machine"
        self.states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")


@contextmanager
def world_of(folder: Path, scenarios: Mapping[str, Mapping[str, Any]], **more: Any) -> Iterator[World]:
    """A world that ends."""
    world = World(folder, scenarios, **more)
    try:
        yield world
    finally:
        world.process.terminate()
        world.process.wait(10)


def source(name: str, version: str = "v1") -> dict[str, str]:
    return {"bucket": "data-bucket", "key": f"{name}/raw/a b.csv", "version_id": version, "etag": "e", "sequencer": "1"}


def trigger(name: str, version: str = "v1") -> dict[str, Any]:
    return {"reason": "data", "detail": "a file", "source": source(name, version)}

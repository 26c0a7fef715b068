"""Every outcome of the outer loop: the shipped definition runs, with the answers of Glue, SageMaker and S3 injected.

Locks, trailing runs, the ledger, metrics and notifications are real; the answers come in the format of
https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Limits
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.setting import Setting
from dual_pipeline.reaper import reaper_definition
from pipeline_code.census.project import CENSUS

pytestmark = pytest.mark.local

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
    return {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": status, **registered, **more}


def endpoint(config: str, status: str = "InService", **more: object) -> dict[str, Any]:
    arn = f"{ARN}:endpoint/dev-census"
    return {"EndpointArn": arn, "EndpointStatus": status, "EndpointConfigName": config, **more}


def steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"PipelineExecutionSteps": [{"StepName": "Train", "StepStatus": "Succeeded"}, *steps]}


def snapshot(*keys: str) -> dict[str, str]:
    """What ingest leaves when it accepted these files, oldest first."""
    sources = [{"key": key, "rows": 9, "bytes": 99} for key in keys]
    return body({"status": "accepted", "snapshot_uri": "s3://data-bucket/census/snapshots/1/", "sources": sources})


REGISTERED = {
    "StepName": "Register",
    "StepStatus": "Succeeded",
    "Metadata": {"RegisterModel": {"Arn": PACKAGE}},
}
EXECUTION = f"{ARN}:pipeline/dev-census/execution/abc123"
HAPPY: dict[str, Any] = {
    "IngestData": {"JobRunState": "SUCCEEDED"},
    "ReadIngest": body({"status": "accepted", "snapshot_uri": "s3://data-bucket/census/snapshots/1/"}),
    "EvaluateDataQuality": {"JobRunState": "SUCCEEDED"},
    "ReadVerdict": {"Body": base64.b64encode(b'{"verdict": "warn", "reasons": ["few rows"]}').decode()},
    "ListApproved": {"ModelPackageSummaryList": []},
    "StartTraining": {"PipelineExecutionArn": EXECUTION},
    "AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Succeeded"},
    "StopTraining": {"PipelineExecutionArn": EXECUTION},
    "ListSteps": steps(REGISTERED),
    "ReadEvaluation": body(EVALUATION),
    "AwaitApproval": approval("Approved", ApprovalDescription="looks good", LastModifiedBy={"UserProfileName": "ada"}),
    "RejectPackage": {"ModelPackageArn": PACKAGE},
    "FindEndpoint": {"Endpoints": [{"EndpointName": "dev-other", "EndpointStatus": "InService"}]},
    "ReadEndpoint": endpoint("config-old"),
    "CreateModel": {"ModelArn": f"{ARN}:model/model-new"},
    "CreateEndpointConfig": {"EndpointConfigArn": f"{ARN}:endpoint-config/config-new"},
    "CreateEndpoint": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "UpdateEndpoint": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "RollBack": {"EndpointArn": f"{ARN}:endpoint/dev-census"},
    "AwaitRollout": endpoint("config-new"),
    "AwaitRollBack": endpoint("config-old"),
    "ReadGoldenRows": body(GOLDEN),
    "SmokeTest": {"Body": '{"predictions": [0.25, 0.7500001]}'},
    "SetAlarms": {},
    "SetErrorAlarm": {},
    "Quarantine": {},
    "RemoveQuarantined": {},
}
# How a run ends that is recorded and counted, but of which nobody is told.
QUIET_END = ["Record", "CountOutcome", "IsAnybodyTold", "Ended"]
FAILED_STEP = {"StepName": "Evaluate", "StepStatus": "Failed", "FailureReason": "ValueError: no rows"}


def live(name: str) -> dict[str, Any]:
    """An endpoint that exists already, so that the release is an update."""
    return {"FindEndpoint": {"Endpoints": [{"EndpointName": f"dev-{name}", "EndpointStatus": "InService"}]}}


# name (also the project's): what differs from a release
SCENARIOS: dict[str, dict[str, Any]] = {
    "first": {},
    "update": live("update"),
    "trailing": {},
    "capped": {},
    "reaped": {},
    # The lock is as a first attempt, whose answer was lost, left it: free, with what is pending.
    "lost-answer": {"AdmitRun": {}},
    "rejected-files": {"ReadIngest": body({"status": "rejected", "reasons": ["no header"], "rejected": []})},
    "spoiled": {
        "ReadIngest": body(
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/spoiled/snapshots/1/",
                "rejected": [{"key": "spoiled/raw/a b.csv", "reason": "is empty"}],
                "reasons": ["spoiled/raw/a b.csv is empty"],
            }
        )
    },
    "bad-ingest": {"ReadIngest": body(["neither"])},
    "blocked": {
        "ReadIngest": snapshot("blocked/raw/a b.csv"),
        "ReadVerdict": body({"verdict": "block", "reasons": ["too few rows", "age negative"]}),
    },
    "blocked-among": {
        "ReadIngest": snapshot("blocked-among/raw/old.csv", "blocked-among/raw/a b.csv"),
        "ReadVerdict": body({"verdict": "block", "reasons": ["age negative"]}),
    },
    "no-verdict": {"ReadVerdict": throw("S3.NoSuchKeyException", "The specified key does not exist.")},
    "odd-verdict": {"ReadVerdict": body({"verdict": "perhaps"})},
    "glue-fails": {
        "IngestData": throw("States.TaskFailed", '{"JobRunState":"FAILED","ErrorMessage":"KeyError: \\"age\\""}')
    },
    "training-fails": {
        "AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Failed"},
        "ListSteps": steps(FAILED_STEP),
    },
    "below-gate": {
        "ListSteps": steps(),
        "ReadEvaluation": body({"gate": {"passed": False, "reasons": ["auc 0.5 is below 0.88"]}}),
    },
    "refused": {
        "AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Failed"},
        "ListSteps": steps({"StepName": "Refused", "StepStatus": "Failed", "FailureReason": "no"}),
        "ReadEvaluation": body({"gate": {"passed": False, "reasons": ["auc 0.5 is below 0.88"]}}),
    },
    "lost-champion": {"ListApproved": {"ModelPackageSummaryList": [{"ModelPackageArn": PACKAGE}]}},
    "scoring-fails": {
        "AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Failed"},
        "ListSteps": steps(REGISTERED, FAILED_STEP),
    },
    "unregistered": {"ListSteps": steps()},
    "rejected": {"AwaitApproval": approval("Rejected", ApprovalDescription="biased against the young")},
    "expired": {"AwaitApproval": approval("PendingManualApproval")},
    "slow-training": {"AwaitTraining": {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Executing"}},
    "updating": {"FindEndpoint": {"Endpoints": [{"EndpointName": "dev-updating", "EndpointStatus": "Updating"}]}},
    "alarm-rang": live("alarm-rang") | {"AwaitRollout": endpoint("config-old")},
    "unheard-update": live("unheard-update")
    | {
        "UpdateEndpoint": throw("SageMaker.SageMakerException", "Cannot update in-progress endpoint"),
        "LookAtEndpoint": endpoint("config-old", "Updating"),
    },
    "unheard-create": {
        "CreateEndpoint": throw("SageMaker.SageMakerException", "Cannot create already existing endpoint"),
        "LookAtEndpoint": endpoint("config-new", "Creating"),
    },
    "no-update": live("no-update")
    | {
        "UpdateEndpoint": throw("SageMaker.SageMakerException", "the variants do not fit"),
        "LookAtEndpoint": endpoint("config-old"),
    },
    "no-create": {
        "CreateEndpoint": throw("SageMaker.ResourceLimitExceededException", "0 instances of ml.m5.large"),
        "LookAtEndpoint": throw("SageMaker.SageMakerException", "Could not find endpoint"),
    },
    "never-up": {"AwaitRollout": endpoint("config-new", "Failed", FailureReason="no capacity")},
    "wrong-answers": live("wrong-answers") | {"SmokeTest": {"Body": '{"predictions": [0.25, 0.9]}'}},
    "few-answers": live("few-answers") | {"SmokeTest": {"Body": '{"predictions": [0.25]}'}},
    "model-error": live("model-error") | {"SmokeTest": throw("SageMakerRuntime.ModelErrorException", "500 from model")},
    "alarm-denied": live("alarm-denied") | {"SetAlarms": throw("CloudWatch.CloudWatchException", "AccessDenied")},
    "way-back-fails": live("way-back-fails")
    | {"SmokeTest": {"Body": "{}"}, "RollBack": throw("SageMaker.SageMakerException", "throttled")},
    "wrong-first": {"SmokeTest": {"Body": '{"predictions": [1, 1]}'}},
}


def mock_config() -> dict[str, Any]:
    """All scenarios as one mock configuration: a response for each state of each."""
    machines, responses = {}, {}
    for name, changes in SCENARIOS.items():
        cases = {}
        for state, answer in (HAPPY | changes).items():
            cases[state] = f"{name}-{state}"
            responses[cases[state]] = {"0-1000": answer if "Throw" in answer else {"Return": answer}}
        machines[f"dev-{name}-outer-loop"] = {"TestCases": {"Test": cases}}
    freed = {"Item": {"owner": {"S": f"{STATES}:execution:dev-lost-answer-outer-loop:lost"}}}
    machines["dev-reaper"] = {"TestCases": {"LostAnswer": {"ReadLock": "reaper-ReadLock"}}}
    responses["reaper-ReadLock"] = {"0-1000": {"Return": freed}}
    return {"StateMachines": machines, "MockedResponses": responses}


def setting(name: str, **limits: Any) -> Setting:
    project = replace(CENSUS, name=name, limits=Limits(**limits))
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
    )


def shortened(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with deadlines and slices of a second."""
    for name, state in definition["States"].items():
        if name.endswith("Sleep"):
            state["TimeoutSeconds"] = 1
        if name.endswith("Decide"):
            late = state["Choices"][1]
            late["Condition"] = "{% $millis() - $waiting.since >= 1000 %}"
    return definition


class World:
    """The server with its ledger, topic, and one machine per scenario."""

    def __init__(self, folder: Path) -> None:
        config = folder / "mock.json"
        config.write_text(json.dumps(mock_config()))
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
                [sys.executable, "-m", "ministack.app"], env=environment, stdout=log, stderr=log, cwd=folder
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
        for name in SCENARIOS:
            limits = {"runs_per_day": 1} if name == "capped" else {}
            self._machine(f"dev-{name}-outer-loop", shortened(outer_loop_definition(setting(name, **limits))))
        self._machine("dev-reaper", reaper_definition(environment="dev", table_name="ledger", topic_arn=TOPIC))

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

    def start(self, name: str, given: object) -> str:
        machine = f"{STATES}:stateMachine:dev-{name}-outer-loop#Test"
        arn: str = self.states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]
        return arn

    def ended(self, arn: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.05)
        raise AssertionError(f"{arn} still runs")

    def run(self, name: str, given: object) -> dict[str, Any]:
        """Run a scenario to its end: its record in the ledger, and the names of the states it went through."""
        arn = self.start(name, given)
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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.process.terminate()
    world.process.wait(10)


def source(name: str, version: str = "v1") -> dict[str, str]:
    return {"bucket": "data-bucket", "key": f"{name}/raw/a b.csv", "version_id": version, "etag": "e", "sequencer": "1"}


def trigger(name: str, version: str = "v1") -> dict[str, Any]:
    return {"reason": "data", "detail": "a file", "source": source(name, version)}


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, dict[str, Any]]:
    """Every scenario that is one run, side by side."""
    special = ("trailing", "capped", "reaped", "lost-answer")
    names = [name for name in SCENARIOS if name not in special]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda name: world.run(name, trigger(name)), names), strict=True))


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("first", "released", "the model answers its golden rows on the endpoint"),
        ("update", "released", "approved by ada: looks good"),
        ("rejected-files", "blocked", "raw files were rejected: no header"),
        ("spoiled", "blocked", "raw files were rejected: spoiled/raw/a b.csv is empty"),
        ("bad-ingest", "failed", "ReadIngest failed: ingest.json has no status accepted or rejected"),
        ("blocked", "blocked", "the data failed its quality rules: too few rows; age negative"),
        (
            "blocked-among",
            "blocked",
            "age negative; no file was moved, for any of these may be the cause, newest first: "
            "blocked-among/raw/a b.csv, blocked-among/raw/old.csv",
        ),
        ("no-verdict", "failed", "ReadVerdict failed with S3.NoSuchKeyException: The specified key does not exist."),
        ("odd-verdict", "failed", "verdict.json says neither pass, warn nor block"),
        ("glue-fails", "failed", 'IngestData failed with States.TaskFailed: KeyError: \\"age\\"'),
        ("training-fails", "failed", "the pipeline execution failed; step Evaluate: ValueError: no rows"),
        ("slow-training", "failed", "was stopped, for it took longer than"),
        ("below-gate", "below-gate", "the model is below its gate: auc 0.5 is below 0.88"),
        ("refused", "below-gate", "the model is below its gate: auc 0.5 is below 0.88"),
        ("lost-champion", "failed", f"the ledger names no champion although {PACKAGE} is Approved"),
        ("scoring-fails", "failed", "the pipeline execution failed; step Evaluate: ValueError: no rows"),
        ("unregistered", "failed", "passed its gate but no step registered a model"),
        ("rejected", "rejected", "the model was rejected: biased against the young"),
        ("expired", "expired", "expired: nobody approved or rejected the model within 3 days"),
        ("updating", "failed", "the endpoint dev-updating is Updating and takes no new model"),
        ("alarm-rang", "rolled-back", "SageMaker rolled the endpoint dev-alarm-rang back to config-old"),
        ("unheard-update", "released", "the model answers its golden rows on the endpoint"),
        ("unheard-create", "released", "the model answers its golden rows on the endpoint"),
        ("no-update", "failed", "UpdateEndpoint failed with SageMaker.SageMakerException: the variants do not fit"),
        ("no-create", "failed", "CreateEndpoint failed with SageMaker.ResourceLimitExceededException: 0 instances"),
        ("never-up", "failed", "is Failed after at most 5400 s: no capacity"),
        ("wrong-answers", "rolled-back", "1 of 2 golden rows are answered wrongly, the first with 0.9 instead of 0.75"),
        (
            "few-answers",
            "rolled-back",
            "the endpoint gave 1 answers to 2 golden rows; the endpoint is back on config-old",
        ),
        ("model-error", "rolled-back", "SmokeTest failed with SageMakerRuntime.ModelErrorException: 500 from model"),
        ("alarm-denied", "rolled-back", "SetAlarms failed with CloudWatch.CloudWatchException: AccessDenied"),
        ("way-back-fails", "failed", "the way back failed with SageMaker.SageMakerException"),
        (
            "wrong-first",
            "failed",
            "this was the first deployment, so the endpoint dev-wrong-first still serves config-new",
        ),
    ],
)
def test_outcome(runs: dict[str, dict[str, Any]], name: str, outcome: str, reason: str) -> None:
    """A run ends with its outcome and a sentence, in the ledger, and fails as an execution only if it failed."""
    run = runs[name]
    assert (run["outcome"], run["status"]) == (outcome, "FAILED" if outcome == "failed" else "SUCCEEDED"), run
    assert reason in run["reason"]
    assert run["output"].get("outcome") == (None if outcome == "failed" else outcome)
    assert "trouble" not in run["reason"]


def test_no_lock_survives_its_run(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """However a run ended, nobody owns its locks any more."""
    owners = {
        (name, lock): world.item(name, lock).get("owner")
        for name in runs
        for lock in ("LOCK#training", f"LOCK#release#dev-{name}")
    }
    assert {lock: owner for lock, owner in owners.items() if owner} == {}


def test_only_a_release_moves_the_champion(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The champion pointer names the released run and package, and nothing else sets it."""
    champions = {name: world.item(name, f"CHAMPION#dev-{name}") for name in runs}
    assert {name for name, item in champions.items() if item} == {"first", "update", "unheard-update", "unheard-create"}
    assert champions["update"]["model_package_arn"] == PACKAGE
    assert champions["update"]["endpoint_config"] == "config-new"
    assert champions["update"]["evaluation_uri"] == (
        "s3://artifact-bucket/update/executions/abc123/evaluate/evaluation/evaluation.json"
    )
    assert (champions["update"]["model_uri"], champions["update"]["definition_hash"]) == (MODEL, "0123")


def test_a_released_run_is_cheap(runs: dict[str, dict[str, Any]]) -> None:
    """A released run takes at most 70 state transitions, whether it creates the endpoint or updates it."""
    assert {name: len(runs[name]["states"]) for name in ("first", "update") if len(runs[name]["states"]) > 70} == {}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("blocked", ["GateData", "ChooseQuarantine", "Quarantine", "RemoveQuarantined", "FreeLocks"]),
        ("blocked-among", ["GateData", "ChooseQuarantine", "FreeLocks"]),
        ("rejected-files", ["CheckIngest", "ChooseQuarantine", "FreeLocks"]),
        ("spoiled", ["CheckIngest", "ChooseQuarantine", "Quarantine", "RemoveQuarantined", "FreeLocks"]),
        ("scoring-fails", ["CheckTraining", "IsRegistered", "RejectPackage", "FreeLocks"]),
        ("updating", ["CanMove", "RejectPackage", "FreeLocks"]),
        ("never-up", ["CheckRollout", "RejectPackage", "FreeLocks"]),
        ("no-create", ["LookAtEndpoint", "RejectPackage", "FreeLocks"]),
        ("expired", ["ApprovalExpired", "RejectPackage", "FreeLocks"]),
        ("alarm-rang", ["CheckRollout", "RejectPackage", "FreeLocks"]),
        ("wrong-answers", ["JudgeAnswers", "ChooseWayBack", "RollBack", "AwaitRollBack"]),
        ("wrong-first", ["JudgeAnswers", "ChooseWayBack", "RejectPackage", "FreeLocks"]),
        ("first", ["CountOutcome", "IsAnybodyTold", "Notify", "HowItEnded", "Ended"]),
        ("slow-training", ["AwaitTrainingDecide", "StopTraining", "TrainingTooLong", "FreeLocks"]),
    ],
)
def test_way(runs: dict[str, dict[str, Any]], name: str, way: list[str]) -> None:
    """Refused data is quarantined and a refused model is rejected before the tail."""
    states = runs[name]["states"]
    start = states.index(way[0], len(states) - 1 - states[::-1].index(way[0]))
    assert way == states[start : start + len(way)]


def test_every_run_tells_people(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """Each run that was admitted publishes one message with a short subject and the reason."""
    sqs, subjects = world.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            subjects.append(json.loads(message["Body"])["Subject"])
            sqs.delete_message(QueueUrl=world.queue, ReceiptHandle=message["ReceiptHandle"])
    wanted = {f"{name} in dev: {run['outcome']}" for name, run in runs.items()}
    assert wanted - set(subjects) == set()
    assert max(map(len, subjects)) <= 100


def test_a_duplicate_event_is_suppressed(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The same version of the same object starts one run; another version starts another."""
    again = world.run("first", trigger("first"))
    assert (again["outcome"], "duplicate event" in again["reason"]) == ("suppressed", True)
    assert "AdmitRun" not in again["states"]
    assert again["output"]["outcome"] == "suppressed"
    assert QUIET_END == again["states"][-len(QUIET_END) :]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "reason must be one of data, person, trailing, schedule, drift, code, got nothing"),
        ({"reason": "whim"}, "got whim"),
        ({"reason": 7}, "got 7"),
        ([1], "the input must be an object with a reason, got array"),
        ("text", "the input must be an object with a reason, got string"),
        (None, "the input must be an object with a reason, got null"),
        ({"reason": "person", "detail": {}}, "detail must be text, got object"),
        ({"reason": "person", "source": "s3://x"}, "source must be null or an object with bucket and key"),
        ({"reason": "person", "source": {"bucket": "data-bucket"}}, "source must be null or an object"),
        (
            {"reason": "data", "source": {"bucket": "data-bucket", "key": "other/raw/x"}},
            "source must lie below s3://data-bucket/first/raw/, got s3://data-bucket/other/raw/x",
        ),
    ],
)
def test_malformed_input_fails_with_a_sentence(world: World, given: object, problem: str) -> None:
    """Input that breaks the contract ends as failed and says what was wrong; it is never stuck."""
    run = world.run("first", given)
    assert (run["outcome"], run["state"]) == ("failed", "CheckInput")
    assert problem in run["reason"]


def test_a_held_lock_leaves_exactly_one_trailing_run(world: World) -> None:
    """Triggers refused while a run trains become one trailing run when the lock frees."""
    held = {"owner": {"S": "somebody"}, "lease_until": {"N": str(int(time.time()) + 3600)}}
    world.put("trailing", "LOCK#training", **held)
    refused = [world.run("trailing", trigger("trailing", version)) for version in ("v1", "v2", "v3")]
    assert [run["outcome"] for run in refused] == ["suppressed"] * 3
    assert [run["states"][-len(QUIET_END) :] for run in refused] == [QUIET_END] * 3
    pending = json.loads(world.item("trailing", "LOCK#training")["pending"])
    assert pending == {"reason": "data", "detail": "a file", "source": source("trailing", "v3")}

    running = world.start("trailing", {"reason": "person"})
    holder = world.record("trailing", world.ended(running)["executionArn"])
    assert holder["outcome"] == "suppressed"

    world.put("trailing", "LOCK#training", owner=held["owner"], lease_until={"N": "1"}, pending={"S": "{}"})
    taken = world.run("trailing", {"reason": "person"})
    assert taken["outcome"] == "released", "an expired lease is taken over"
    assert len(world.executions("trailing")) == 5, "the run that takes the lock takes what was pending along"


def test_the_holder_starts_the_trailing_run(world: World) -> None:
    """A trigger that comes during a run starts one more run when the lock frees, and repeating that changes nothing."""
    name = "trailing"
    before = {execution["name"] for execution in world.executions(name)}
    first = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:dev-{name}-outer-loop:holder"
    kept = trigger(name, "v9")
    # The holder is re-entrant on its own lock; `pending` is put there while it trains.
    machine = f"{STATES}:stateMachine:dev-{name}-outer-loop#Test"
    world.states.start_execution(
        stateMachineArn=machine, name="holder", input=json.dumps({"reason": "person", "detail": "by hand"})
    )
    deadline = time.monotonic() + 10
    while world.item(name, "LOCK#training").get("owner") != first and time.monotonic() < deadline:
        time.sleep(0.001)
    key = {"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": "LOCK#training"}}
    world.table.update_item(
        TableName="ledger",
        Key=key,
        UpdateExpression="SET pending = :p",
        ConditionExpression="#owner = :me",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":p": {"S": json.dumps(kept)}, ":me": {"S": first}},
    )
    world.ended(first)
    new = [e for e in world.executions(name) if e["name"] not in before | {"holder"}]
    assert len(new) == 1
    assert new[0]["name"].startswith("trailing-")
    given = json.loads(world.states.describe_execution(executionArn=new[0]["executionArn"])["input"])
    assert given == {"reason": "trailing", "detail": "follows run holder", "source": kept["source"]}
    trailing = world.record(name, world.ended(new[0]["executionArn"])["executionArn"])
    assert "AdmitRun" in trailing["states"]
    assert "ClaimEvent" not in trailing["states"]


def test_a_lost_answer_loses_no_trailing_run(world: World) -> None:
    """A lock that was freed without our hearing of it is read, and its trailing run starts; a taken one is left alone."""
    name = "lost-answer"
    pending = {"S": json.dumps(trigger(name))}
    world.put(name, "LOCK#training", pending=pending, owner={"S": "another"}, lease_until={"N": "1"})
    taken = world.run(name, {"reason": "person"})
    assert (taken["outcome"], len(world.executions(name))) == ("released", 1)
    world.put(name, "LOCK#training", pending=pending)
    freed = world.run(name, {"reason": "person"})
    assert "ReadFreedLock" in freed["states"]
    assert freed["outcome"] == "released"
    assert len(world.executions(name)) == 3
    trailing = next(e for e in world.executions(name) if e["name"].startswith("trailing-"))
    world.ended(trailing["executionArn"])


def test_the_reaper_reads_a_lock_that_it_freed_unheard(world: World) -> None:
    """Its trailing run starts although the answer that told of it was lost."""
    name = "lost-answer"
    world.put(name, "LOCK#training", pending={"S": json.dumps(trigger(name))})
    before = len(world.executions(name))
    given = {
        "execution": f"{STATES}:execution:dev-{name}-outer-loop:lost",
        "machine": f"{STATES}:stateMachine:dev-{name}-outer-loop",
        "name": "lost",
        "status": "ABORTED",
        "project": name,
    }
    machine = f"{STATES}:stateMachine:dev-reaper#LostAnswer"
    arn = world.states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]
    assert world.ended(arn)["status"] == "SUCCEEDED"
    assert len(world.executions(name)) == before + 1


def test_the_daily_cap_suppresses_and_keeps_the_trigger(world: World) -> None:
    """The run after the day's last one is suppressed, leaves the lock free and its trigger pending."""
    assert world.run("capped", trigger("capped", "v1"))["outcome"] == "released"
    over = world.run("capped", trigger("capped", "v2"))
    assert (over["outcome"], over["status"]) == ("suppressed", "SUCCEEDED")
    assert "Notify" in over["states"], "the cap is people's to raise"
    assert "the cap of 1 runs a day (limits.runs_per_day) is used up" in over["reason"]
    lock = world.item("capped", "LOCK#training")
    assert "owner" not in lock
    assert json.loads(lock["pending"])["source"]["version_id"] == "v2"
    assert len(world.executions("capped")) == 2


def test_the_reaper_cleans_up_once(world: World) -> None:
    """What an aborted run left is freed, recorded and told, and its trailing run starts; twice is as once."""
    loop = f"{STATES}:stateMachine:dev-reaped-outer-loop"
    execution = f"{STATES}:execution:dev-reaped-outer-loop:lost"
    far = str(int(time.time()) + 3600)
    pending = {"S": json.dumps(trigger("reaped"))}
    world.put("reaped", "LOCK#training", owner={"S": execution}, lease_until={"N": far}, pending=pending)
    world.put("reaped", "LOCK#release#dev-reaped", owner={"S": execution}, lease_until={"N": far})
    given = {"execution": execution, "machine": loop, "name": "lost", "status": "ABORTED", "project": "reaped"}
    for _ in range(2):
        arn = world.states.start_execution(
            stateMachineArn=f"{STATES}:stateMachine:dev-reaper", input=json.dumps(given)
        )["executionArn"]
        assert world.ended(arn)["status"] == "SUCCEEDED"
    assert "owner" not in world.item("reaped", "LOCK#release#dev-reaped")
    run = world.item("reaped", "RUN#lost")
    assert (run["outcome"], run["reason"].startswith("the execution ended as ABORTED")) == ("failed", True)
    assert len(world.executions("reaped")) == 1


def test_the_reaper_leaves_others_alone(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """A run that recorded its own end is not recorded again, and a lock of another run is not touched."""
    other = {"owner": {"S": "another"}, "lease_until": {"N": "1"}}
    world.put("never-up", "LOCK#training", **other)
    recorded = next(e for e in world.executions("never-up"))
    given = {
        "execution": recorded["executionArn"],
        "machine": f"{STATES}:stateMachine:dev-never-up-outer-loop",
        "name": recorded["name"],
        "status": "FAILED",
        "project": "never-up",
    }
    before = world.item("never-up", f"RUN#{recorded['name']}")
    arn = world.states.start_execution(stateMachineArn=f"{STATES}:stateMachine:dev-reaper", input=json.dumps(given))
    assert world.ended(arn["executionArn"])["status"] == "SUCCEEDED"
    assert world.item("never-up", "LOCK#training")["owner"] == "another"
    assert world.item("never-up", f"RUN#{recorded['name']}") == before

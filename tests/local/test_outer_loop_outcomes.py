"""Every outcome of the outer loop, its reason and the way there: one run of the shipped definition for each."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from outer_loop import (
    ARN,
    EXECUTION,
    MODEL,
    PACKAGE,
    QUIET_END,
    REGISTERED,
    World,
    approval,
    body,
    checked,
    endpoint,
    judged,
    snapshot,
    steps,
    throw,
    trigger,
    world_of,
)

pytestmark = pytest.mark.local

FAILED_STEP = {"StepName": "Evaluate", "StepStatus": "Failed", "FailureReason": "ValueError: no rows"}


def live() -> dict[str, Any]:
    """An endpoint that exists already, so that the release is an update."""
    return {"Preflight": checked(status="InService")}


def training_fails(step: str, reason: str) -> dict[str, Any]:
    """A pipeline execution that failed at a step."""
    failed = {"StepName": step, "StepStatus": "Failed", "FailureReason": reason}
    execution = {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Failed"}
    return {"AwaitTraining": execution, "ListSteps": steps(failed)}


TO_NEW = {"EndpointConfigName": "config-new"}
IN_PROGRESS = throw("SageMaker.SageMakerException", "Cannot update in-progress endpoint")
# name (also the project's): what differs from a release
SCENARIOS: dict[str, dict[str, Any]] = {
    "first": {},
    "update": live(),
    "rejected-files": {"ReadIngest": body({"status": "rejected", "trigger": "none", "reasons": ["no header"]})},
    "spoiled": {
        "ReadIngest": body(
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/spoiled/snapshots/1/",
                "trigger": "rejected",
                "reasons": ["spoiled/raw/a b.csv is empty"],
            }
        )
    },
    "vanished": {
        "ReadIngest": body({"status": "rejected", "trigger": "absent", "reasons": ["vanished/raw/a b.csv is gone"]})
    },
    "bad-ingest": {"ReadIngest": body(["neither"])},
    "blocked": {
        "ReadIngest": snapshot("blocked/raw/a b.csv"),
        "ReadVerdict": judged("block", "too few rows", "age negative", broken=(0,)),
    },
    "blocked-among": {
        "ReadIngest": snapshot("blocked-among/raw/old.csv", "blocked-among/raw/a b.csv"),
        "ReadVerdict": judged("block", "age negative", broken=(0,)),
    },
    "no-verdict": {"ReadVerdict": throw("S3.NoSuchKeyException", "The specified key does not exist.")},
    "odd-verdict": {"ReadVerdict": body({"verdict": "perhaps"})},
    "forged-verdict": {"ReadVerdict": judged("pass", broken=(0,))},
    "glue-fails": {
        "IngestData": throw("States.TaskFailed", '{"JobRunState":"FAILED","ErrorMessage":"KeyError: \\"age\\""}')
    },
    "training-fails": training_fails("Evaluate", "ValueError: no rows"),
    "bad-gate": training_fails("Gate", "gate.passed in s3://artifact-bucket/evaluation.json has no value: it is null"),
    "tuner-fails": training_fails("Tune", "No training job succeeded after 4 attempts."),
    "bad-parameters": training_fails("BadParameters", "parameters out of range: HyperEta=7"),
    "callback-refused": training_fails("ExternalCheck", "the sample is not fair"),
    "forged-report": {"ReadEvaluation": body({"gate": {"passed": "true"}}), "ListSteps": steps()},
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
    "updating": {"Preflight": checked(status="Updating"), "AwaitRest": endpoint("config-old", "Updating")},
    "rests": {
        "Preflight": [checked(status="Updating"), checked(status="InService")],
        "AwaitRest": endpoint("config-old"),
    },
    "ringing": {"Preflight": checked(status="InService", ringing=("errors",))},
    "unfit": {"Preflight": checked("the image is gone", "no rollback alarm x exists", status="InService")},
    "unchecked": {"Preflight": {"Status": "TIMED_OUT", "Error": "States.Timeout"}},
    "too-few": live() | {"AwaitRollout": endpoint("config-new", ProductionVariants=[])},
    "uncaptured": live() | {"AwaitRollout": endpoint("config-new", DataCaptureConfig={"EnableCapture": False})},
    "no-config": live() | {"CreateEndpointConfig": throw("SageMaker.SageMakerException", "no such instance")},
    "unseen": live() | {"AwaitRollout": [throw("SageMaker.AccessDeniedException", "no"), endpoint("config-new")]},
    "never-seen": live() | {"AwaitRollout": throw("SageMaker.AccessDeniedException", "no")},
    "unheard-way-back": live()
    | {
        "SmokeTest": {"Body": "{}"},
        "RollBack": throw("SageMaker.ResourceNotFoundException", "in progress"),
        "AwaitRollBack": endpoint("config-old"),
    },
    "lost-lock": {
        "CommitRelease": throw("DynamoDb.TransactionCanceledException", "ConditionalCheckFailed"),
        "ReadReleaseLock": {"Item": {"owner": {"S": "another"}}},
    },
    "unread-pointer": {
        "CommitRelease": throw("DynamoDb.ResourceNotFoundException", "no"),
        "ReadBack": throw("DynamoDb.ResourceNotFoundException", "no"),
    },
    "uncommitted": live() | {"CommitRelease": throw("DynamoDb.ResourceNotFoundException", "no")},
    "many": {"Preflight": checked(status="InService", count=4), "AwaitRollout": endpoint("config-new", count=4)},
    "still-there": live()
    | {"AwaitRollout": endpoint("config-old"), "DeleteModel": throw("SageMaker.SageMakerException", "denied")},
    "no-traffic": live() | {"StartTraffic": throw("StepFunctions.StateMachineDoesNotExistException", "gone")},
    "alarm-rang": live() | {"AwaitRollout": endpoint("config-old")},
    "unheard-update": live()
    | {
        "UpdateEndpoint": throw("SageMaker.SageMakerException", "Cannot update in-progress endpoint"),
        "LookAtEndpoint": endpoint("config-old", "Updating", PendingDeploymentSummary=TO_NEW),
    },
    # Instances come, so that it takes no update for a while.
    "scaling": live()
    | {
        "UpdateEndpoint": [*5 * [IN_PROGRESS], {"EndpointArn": "x"}],
        "LookAtEndpoint": endpoint("config-old", "Updating"),
    },
    "ever-scaling": live() | {"UpdateEndpoint": IN_PROGRESS, "LookAtEndpoint": endpoint("config-old", "Updating")},
    "not-looked-at": live()
    | {"UpdateEndpoint": IN_PROGRESS, "LookAtEndpoint": throw("SageMaker.AccessDeniedException", "no")},
    "goes-back-already": live()
    | {
        "UpdateEndpoint": IN_PROGRESS,
        "LookAtEndpoint": endpoint("config-old", "RollingBack"),
        "AwaitRollout": endpoint("config-old"),
    },
    "unheard-create": {
        "CreateEndpoint": throw("SageMaker.SageMakerException", "Cannot create already existing endpoint"),
        "LookAtEndpoint": endpoint("config-new", "Creating"),
    },
    "no-update": live()
    | {
        "UpdateEndpoint": throw("SageMaker.SageMakerException", "the variants do not fit"),
        "LookAtEndpoint": endpoint("config-old"),
    },
    "no-create": {
        "CreateEndpoint": throw("SageMaker.ResourceLimitExceededException", "0 instances of ml.m5.large"),
        "LookAtEndpoint": throw("SageMaker.SageMakerException", "Could not find endpoint"),
    },
    "never-up": {"AwaitRollout": endpoint("config-new", "Failed", FailureReason="no capacity")},
    "wrong-answers": live() | {"SmokeTest": {"Body": '{"predictions": [0.25, 0.9]}'}},
    "few-answers": live() | {"SmokeTest": {"Body": '{"predictions": [0.25]}'}},
    "model-error": live() | {"SmokeTest": throw("SageMakerRuntime.ModelErrorException", "500 from model")},
    "alarm-denied": live() | {"SetAlarms": throw("CloudWatch.CloudWatchException", "AccessDenied")},
    "way-back-fails": live()
    | {
        "SmokeTest": {"Body": "{}"},
        "RollBack": throw("SageMaker.SageMakerException", "throttled"),
        "AwaitRollBack": endpoint("config-new"),
    },
    "second-way-back": live()
    | {
        "SmokeTest": {"Body": "{}"},
        "RollBack": [*5 * [IN_PROGRESS], {"EndpointArn": "x"}],
        "AwaitRollBack": [endpoint("config-new"), endpoint("config-old")],
    },
    "withdrawn-while-it-moved": {
        "Preflight": [checked(status="Updating"), checked(status="InService")],
        "AwaitRest": endpoint("config-old"),
        "CheckApproval": [approval("Approved"), approval("Rejected", ApprovalDescription="no, after all")],
    },
    "wrong-first": {"SmokeTest": {"Body": '{"predictions": [1, 1]}'}},
}


_REGISTERED = approval(
    "Approved",
    CustomerMetadataProperties={"snapshot_uri": "s3://data-bucket/snapshot/", "execution_id": "abc123"},
    ModelMetrics={
        "ModelQuality": {
            "Statistics": {"S3Uri": "s3://artifact-bucket/census/executions/abc123/evaluate/evaluation/evaluation.json"}
        }
    },
)
ROLLBACKS: dict[str, dict[str, Any]] = {
    "back": live() | {"ReadPackage": _REGISTERED},
    "back-wrong": {
        "Preflight": checked(status="InService", ringing=("errors",)),
        "ReadPackage": _REGISTERED,
        "SmokeTest": {"Body": '{"predictions": [1, 1]}'},
    },
    "back-rejected": {"ReadPackage": approval("Rejected")},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every scenario."""
    with world_of(tmp_path_factory.mktemp("world"), SCENARIOS | ROLLBACKS) as world:
        yield world


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, dict[str, Any]]:
    """Every scenario that is one run, side by side."""
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(SCENARIOS, pool.map(lambda name: world.run(name, trigger(name)), SCENARIOS), strict=True))


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("first", "released", "the model answers its golden rows on the endpoint"),
        ("update", "released", "approved by ada: looks good"),
        ("rejected-files", "blocked", "raw files were rejected: no header"),
        ("spoiled", "blocked", "raw files were rejected: spoiled/raw/a b.csv is empty"),
        ("vanished", "blocked", "raw files were rejected: vanished/raw/a b.csv is gone"),
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
        ("forged-verdict", "failed", "ReadVerdict failed: verdict.json does not block though a rule does"),
        ("glue-fails", "failed", 'IngestData failed with States.TaskFailed: KeyError: \\"age\\"'),
        ("training-fails", "failed", "the pipeline execution failed; step Evaluate: ValueError: no rows"),
        (
            "bad-gate",
            "failed",
            "failed; step Gate: gate.passed in s3://artifact-bucket/evaluation.json has no value: it is null",
        ),
        ("tuner-fails", "failed", "the pipeline execution failed; step Tune: No training job succeeded after 4"),
        ("bad-parameters", "failed", "failed; step BadParameters: parameters out of range: HyperEta=7"),
        ("callback-refused", "failed", "the pipeline execution failed; step ExternalCheck: the sample is not fair"),
        ("forged-report", "below-gate", "the model is below its gate: the evaluation gives no reason"),
        ("slow-training", "failed", "was stopped, for it took longer than"),
        ("below-gate", "below-gate", "the model is below its gate: auc 0.5 is below 0.88"),
        ("refused", "below-gate", "the model is below its gate: auc 0.5 is below 0.88"),
        ("lost-champion", "failed", f"the ledger names no champion although {PACKAGE} is Approved"),
        ("scoring-fails", "failed", "the pipeline execution failed; step Evaluate: ValueError: no rows"),
        ("unregistered", "failed", "passed its gate but no step registered a model"),
        ("rejected", "rejected", "the model was rejected: biased against the young"),
        ("expired", "expired", "expired: nobody approved or rejected the model within 3 days"),
        ("updating", "failed", "the endpoint dev-updating is Updating and takes no new model"),
        ("rests", "released", "the model answers its golden rows on the endpoint"),
        ("ringing", "failed", "Preflight: the rollback alarm errors rings already, so SageMaker would send any model"),
        ("unfit", "failed", "Preflight: the image is gone; no rollback alarm x exists"),
        ("unchecked", "failed", "Preflight: the checks ended as TIMED_OUT States.Timeout"),
        ("too-few", "rolled-back", "is not as asked: it has 0 instances where 1 were asked for; the endpoint is back"),
        ("uncaptured", "rolled-back", "it captures 0 % of its requests where 20 % were asked for; the endpoint is"),
        ("unseen", "released", "the model answers its golden rows on the endpoint"),
        (
            "never-seen",
            "rolled-back",
            "AwaitRollout failed with SageMaker.AccessDeniedException: no; the endpoint is back",
        ),
        (
            "unheard-way-back",
            "rolled-back",
            "UpdateEndpoint said SageMaker.ResourceNotFoundException; the endpoint is back",
        ),
        ("lost-lock", "failed", "the release lock belongs to another by now, so nothing more was touched"),
        (
            "unread-pointer",
            "failed",
            "whether the release stands could not be read (DynamoDb.ResourceNotFoundException)",
        ),
        (
            "uncommitted",
            "rolled-back",
            "CommitRelease failed with DynamoDb.ResourceNotFoundException: no; the endpoint is",
        ),
        ("no-config", "failed", "CreateEndpointConfig failed with SageMaker.SageMakerException: no such instance"),
        ("alarm-rang", "rolled-back", "SageMaker rolled the endpoint dev-alarm-rang back to config-old"),
        ("unheard-update", "released", "the model answers its golden rows on the endpoint"),
        ("scaling", "released", "the model answers its golden rows on the endpoint"),
        (
            "ever-scaling",
            "failed",
            "UpdateEndpoint failed with SageMaker.SageMakerException: Cannot update in-progress",
        ),
        ("not-looked-at", "released", "the model answers its golden rows on the endpoint"),
        ("goes-back-already", "rolled-back", "SageMaker rolled the endpoint dev-goes-back-already back to config-old"),
        ("second-way-back", "rolled-back", "UpdateEndpoint said SageMaker.SageMakerException; the endpoint is back on"),
        ("withdrawn-while-it-moved", "rejected", "no, after all"),
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
        (
            "way-back-fails",
            "failed",
            "UpdateEndpoint said SageMaker.SageMakerException; and the way back failed: the endpoint",
        ),
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


@pytest.mark.parametrize(
    ("name", "outcome", "trouble"),
    [
        ("alarm-denied", "released", "no alarm watches the model: CloudWatch.CloudWatchException"),
        ("no-traffic", "released", "no golden rows were asked during the bake: StepFunctions.StateMachineDoesNotExist"),
        ("many", "released", "4 instances serve where 1 are configured, and a release keeps them"),
        ("still-there", "rolled-back", "the model model-new could not be deleted and serves nobody"),
    ],
)
def test_what_goes_wrong_beside_is_told(runs: dict[str, dict[str, Any]], name: str, outcome: str, trouble: str) -> None:
    """An outcome stands whatever else could not be done, and its sentence says what."""
    assert (outcome, True) == (runs[name]["outcome"], f"(trouble: {trouble}" in runs[name]["reason"])


def _back(name: str) -> dict[str, str]:
    return {"reason": "rollback", "detail": "it is slow", "package": f"{ARN}:model-package/dev-{name}/3"}


def test_an_endpoint_is_brought_back(world: World) -> None:
    """A rollback trains nothing and is released like any model, with the evaluation and baseline of its own run."""
    run = world.run("back", _back("back"))
    assert ("released", True) == (run["outcome"], "was brought back: it is slow" in run["reason"])
    assert ["CheckInput", "ReadPackage", "MayRollBack", "ReadEvaluation", "GateModel"] == run["states"][:5]
    assert {"TakeReleaseLock", "Preflight", "SmokeTest", "CommitRelease"} <= set(run["states"])
    champion = world.item("back", "CHAMPION#dev-back")
    folder = "s3://artifact-bucket/census/executions/abc123/evaluate/evaluation"
    assert (f"{ARN}:model-package/dev-back/3", f"{folder}/evaluation.json", "s3://data-bucket/snapshot/") == (
        champion["model_package_arn"],
        champion["evaluation_uri"],
        champion["snapshot_uri"],
    )
    assert "" == world.item("back", "LOCK#training").get("owner", "")


def test_a_rollback_that_fails_leaves_the_package_approved(world: World) -> None:
    """A version that served stays approved, and the alarm that rings for the present model does not hinder."""
    run = world.run("back-wrong", _back("back-wrong"))
    assert ("rolled-back", True) == (run["outcome"], "the endpoint is back on config-old" in run["reason"])
    assert "SmokeTest" in run["states"]


def test_only_an_approved_version_comes_back(world: World) -> None:
    """A rejected package is refused with a sentence, before any lock is taken."""
    run = world.run("back-rejected", _back("back-rejected"))
    assert ("failed", True) == (run["outcome"], "is Rejected, and only an approved version may serve" in run["reason"])
    assert "TakeReleaseLock" not in run["states"]


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
    released = {
        "first",
        "update",
        "unheard-update",
        "unheard-create",
        "scaling",
        "not-looked-at",
        "rests",
        "alarm-denied",
        "no-traffic",
        "unseen",
        "many",
    }
    assert {name for name, item in champions.items() if item} == released
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
        ("vanished", ["CheckIngest", "ChooseQuarantine", "FreeLocks"]),
        ("spoiled", ["CheckIngest", "ChooseQuarantine", "Quarantine", "RemoveQuarantined", "FreeLocks"]),
        ("scoring-fails", ["CheckTraining", "IsRegistered", "RejectPackage", "FreeLocks"]),
        ("updating", ["Preflight", "CanRelease", "RejectPackage", "FreeLocks"]),
        ("never-up", ["CheckRollout", "RejectPackage", "FreeLocks"]),
        (
            "no-create",
            ["LookAtEndpoint", "DoesItMove", "RejectPackage", "FreeLocks", "ForgetJudgement", "FreeLocks"],
        ),
        ("unseen", ["MayLookAgain", "PauseRollout", "AwaitRollout"]),
        ("lost-lock", ["IsLockOurs", "RejectPackage", "FreeLocks"]),
        ("unread-pointer", ["ReadBack", "FreeLocks"]),
        (
            "no-update",
            ["DoesItMove", "RejectPackage", "FreeLocks", "ForgetJudgement", "FreeLocks", "DeleteEndpointConfig"],
        ),
        ("no-config", ["CreateEndpointConfig", "RejectPackage", "FreeLocks", "ForgetJudgement", "FreeLocks"]),
        ("update", ["SmokeTest", "JudgeAnswers", "CommitRelease", "SetAlarms", "FreeReleaseLock"]),
        ("expired", ["ApprovalExpired", "RejectPackage", "FreeLocks"]),
        (
            "alarm-rang",
            ["CheckRollout", "RejectPackage", "FreeLocks", "DeleteEndpointConfig", "DeleteModel", "FreeLocks"],
        ),
        ("wrong-answers", ["JudgeAnswers", "ChooseWayBack", "RollBack", "AwaitRollBack"]),
        ("wrong-first", ["JudgeAnswers", "ChooseWayBack", "RejectPackage", "FreeLocks"]),
        ("first", ["CountOutcome", "IsAnybodyTold", "Notify"]),
        ("glue-fails", ["CountOutcome", "IsAnybodyTold", "NotifyFailed", "Failed"]),
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


def test_what_people_write_is_recorded(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """Quotes, line breaks, backslashes and emoji of a trigger's detail stand in the ledger as they were given."""
    detail = 'ada: "again",\n\tplease \\ 🎉'
    run = world.run("update", {"reason": "person", "detail": detail, "force": True})
    assert ("released", detail) == (run["outcome"], json.loads(run["trigger"])["detail"])


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
        ({}, "reason must be one of data, person, trailing, schedule, drift, code, rollback, got nothing"),
        ({"reason": "whim"}, "got whim"),
        ({"reason": 7}, "got 7"),
        ([1], "the input must be an object with a reason, got array"),
        ("text", "the input must be an object with a reason, got string"),
        (None, "the input must be an object with a reason, got null"),
        ({"reason": "person", "detail": {}}, "detail must be text, got object"),
        ({"reason": "person", "source": "s3://x"}, "source must be null or an object with bucket and key"),
        ({"reason": "person", "source": {"bucket": "data-bucket"}}, "source must be null or an object"),
        ({"reason": "rollback"}, "package must be the ARN of a version of dev-first, got nothing"),
        ({"reason": "rollback", "package": PACKAGE}, f"of a version of dev-first, got {PACKAGE}"),
        ({"reason": "person", "package": PACKAGE}, "package is for a rollback (reason rollback), got it with reason"),
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

"""Every outcome of a release to batch inference: one run of the shipped definition for each, with answers injected."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from outer_loop import MODEL, PACKAGE, World, approval, throw, trigger, world_of
from waiting import until

pytestmark = pytest.mark.local


def failed(reason: str) -> dict[str, Any]:
    """A transform job that failed."""
    return throw(
        "States.TaskFailed",
        json.dumps({"TransformJobName": "job", "TransformJobStatus": "Failed", "FailureReason": reason}),
    )


# name (also the project's): what differs from a release
SCENARIOS: dict[str, dict[str, Any]] = {
    "scored": {},
    "nothing": {"FindRecords": {"KeyCount": 0}},
    "wrong": {"ReadAnswers": {"Body": '{"predictions": [0.25, 0.9]}'}},
    "bad-record": {"ScoreRecords": failed("ClientError: a.csv: 400 Message: row 7: age must be a number, got 'x'")},
    "slow": {"ScoreRecords": throw("States.Timeout", "")},
    "slow-gone": {
        "SmokeScore": throw("States.Timeout", ""),
        "StopScoring": throw("SageMaker.SageMakerException", "the job is in status Stopped"),
    },
    "no-model": {"CreateModel": throw("SageMaker.SageMakerException", "Could not access model data")},
    "no-golden": {"ReadGoldenRows": throw("S3.NoSuchKeyException", "The specified key does not exist.")},
    "withdrawn": {"CheckApproval": approval("Rejected", ApprovalDescription="on second thoughts")},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every scenario."""
    with world_of(tmp_path_factory.mktemp("batch"), SCENARIOS, in_batch=tuple(SCENARIOS)) as world:
        yield world


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, dict[str, Any]]:
    """Every scenario, side by side."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(SCENARIOS, pool.map(lambda name: world.run(name, trigger(name)), SCENARIOS), strict=True))


@pytest.mark.parametrize(
    ("name", "outcome", "state", "reason"),
    [
        ("scored", "released", "", "scored the records below s3://data-bucket/scored/batch/; the scores lie in s3://"),
        ("nothing", "released", "", "found nothing to score below s3://data-bucket/nothing/batch/; package"),
        (
            "wrong",
            "failed",
            "SmokeScore",
            "SmokeScore: 1 of 2 golden rows are answered wrongly, the first with 0.9 instead of 0.75; nothing was scored",
        ),
        ("bad-record", "failed", "ScoreRecords", "ClientError: a.csv: 400 Message: row 7: age must be a number"),
        (
            "slow",
            "failed",
            "ScoreRecords",
            "the transform job was stopped, for it took longer than 7200 s (batch.max_time)",
        ),
        ("slow-gone", "failed", "SmokeScore", "the transform job was stopped, for it took longer than 900 s"),
        ("no-model", "failed", "CreateModel", "CreateModel failed with SageMaker.SageMakerException: Could not access"),
        ("no-golden", "failed", "ReadGoldenRows", "ReadGoldenRows failed with S3.NoSuchKeyException"),
        ("withdrawn", "rejected", "", "the approval was withdrawn: the package became Rejected"),
    ],
)
def test_outcome(runs: dict[str, dict[str, Any]], name: str, outcome: str, state: str, reason: str) -> None:
    """A run ends with its outcome and a sentence; only `failed` fails the execution."""
    run = runs[name]
    assert (outcome, state) == (run["outcome"], run["state"]), run
    assert ("FAILED" if outcome == "failed" else "SUCCEEDED") == run["status"]
    assert reason in run["reason"]
    assert "trouble" not in run["reason"]


def test_only_a_release_moves_the_champion(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The pointer names package, model and where the scores lie, and no endpoint; nothing that failed sets it."""
    champions = {name: world.item(name, f"CHAMPION#dev-{name}") for name in runs}
    assert {"scored", "nothing"} == {name for name, item in champions.items() if item}
    champion = champions["scored"]
    assert (PACKAGE, MODEL) == (champion["model_package_arn"], champion["model_uri"])
    run_id = runs["scored"]["sk"].removeprefix("RUN#")
    assert f"s3://artifact-bucket/scored/scores/{run_id}/records/" == champion["scores_uri"]
    assert "" == champions["nothing"]["scores_uri"]
    assert "endpoint_config" not in champion


def test_what_failed_is_rejected_and_keeps_no_lock(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """Whatever fails after the approval rejects its package, and nobody owns the release lock any more."""
    assert {"wrong", "bad-record", "slow", "slow-gone", "no-model", "no-golden"} == {
        name for name, run in runs.items() if "RejectPackage" in run["states"]
    }
    assert not [name for name in runs if world.item(name, f"LOCK#release#dev-{name}").get("owner")]


def test_what_goes_on_is_stopped(runs: dict[str, dict[str, Any]]) -> None:
    """A job that outlived its task is stopped, and one that cannot be stopped any more hinders nothing."""
    assert {"slow", "slow-gone"} == {name for name, run in runs.items() if "StopScoring" in run["states"]}


def test_a_release_is_short(runs: dict[str, dict[str, Any]]) -> None:
    """A release to batch takes fewer transitions than one to an endpoint, and nothing to score is skipped."""
    assert len(runs["scored"]["states"]) <= 60
    assert "ScoreRecords" not in runs["nothing"]["states"]


def test_the_champion_is_the_one_to_beat(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The next run finds the champion by the pointer that the release left."""
    assert "released" == runs["scored"]["outcome"]
    again = world.run("scored", {"reason": "person", "detail": "again", "force": True, "source": None})
    assert "released" == again["outcome"], again
    assert "ListApproved" not in again["states"]


def test_people_hear_of_scores(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The message says what became of the model in the words of batch."""
    assert "released" == runs["scored"]["outcome"]
    sqs = world.client("sqs")
    kept: list[str] = []

    def found() -> str | None:
        arrived = sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10).get("Messages", [])
        kept.extend(json.loads(each["Body"])["Message"] for each in arrived)
        return next((text for text in kept if text.startswith("scored in dev: a new model is the champion")), None)

    assert "the scores lie in s3://artifact-bucket/scored/scores/" in str(until(found))

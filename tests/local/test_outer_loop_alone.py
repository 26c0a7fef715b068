"""Every outcome of an outer loop without an inner loop, and of the smoke training before one, with answers injected."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outer_loop import World, judged, throw, trigger, world_of
from waiting import until

pytestmark = pytest.mark.local


def failed(**fields: str) -> dict[str, Any]:
    """A training job that ended otherwise than Completed."""
    return throw("States.TaskFailed", json.dumps({"TrainingJobName": "job", "TrainingJobStatus": "Failed", **fields}))


# name (also the project's): what differs from a run that ends well
SMOKE: dict[str, dict[str, Any]] = {
    "broken-script": {"SmokeTrain": failed(FailureReason="AlgorithmError: no column age, exit code: 1")},
    "slow-smoke": {"SmokeTrain": failed(TrainingJobStatus="Stopped", SecondaryStatus="MaxRuntimeExceeded")},
    "denied": {"SmokeTrain": throw("SageMaker.AmazonSageMakerException", "not authorized to perform: iam:PassRole")},
}
ALONE: dict[str, dict[str, Any]] = {
    "saved": {},
    "bad-data": {"ReadVerdict": judged("block", "age negative", broken=(0,))},
    "bad-script": {"TrainModel": failed(FailureReason="AlgorithmError: no column age, exit code: 1")},
    "slow-training": {"TrainModel": failed(TrainingJobStatus="Stopped", SecondaryStatus="MaxRuntimeExceeded")},
    "no-model": {"SaveModel": throw("SageMaker.AmazonSageMakerException", "Could not access model data")},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("alone")
    with world_of(folder, SMOKE | ALONE, alone=tuple(ALONE)) as world:
        yield world


@pytest.fixture(scope="module")
def messages(world: World) -> Callable[[str], str]:
    """The message of the one run of a scenario, once it has come."""
    kept: list[str] = []

    def message(name: str) -> str:
        sqs = world.client("sqs")

        def found() -> str | None:
            arrived = sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10).get("Messages", [])
            kept.extend(json.loads(each["Body"])["Message"] for each in arrived)
            return next((text for text in kept if text.startswith(f"{name} in dev: ")), None)

        return str(until(found))

    return message


REASONS = {
    "broken-script": "SmokeTrain failed with States.TaskFailed: AlgorithmError: no column age, exit code: 1",
    "slow-smoke": "SmokeTrain: the training job was stopped, for it took longer than 900 s (smoke_training.max_time)",
    "denied": "SmokeTrain failed with SageMaker.AmazonSageMakerException: not authorized to perform: iam:PassRole",
    "bad-script": "TrainModel failed with States.TaskFailed: AlgorithmError: no column age, exit code: 1",
    "slow-training": "TrainModel: the training job was stopped, for it took longer than 7200 s (limits.job)",
    "no-model": "SaveModel failed with SageMaker.AmazonSageMakerException: Could not access model data",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_failed_job_ends_the_run(world: World, name: str) -> None:
    """Whatever fails is named with its own words, nothing expensive follows, and the lock is free."""
    ended = world.run(name, trigger(name))
    assert ("failed", REASONS[name].split()[0].rstrip(":")) == (ended["outcome"], ended["state"])
    assert REASONS[name] == ended["reason"]
    assert not {"ReadChampion", "StartTraining"} & set(ended["states"])
    assert "owner" not in world.item(name, "LOCK#training")


def test_a_model_is_saved(world: World, messages: Callable[[str], str]) -> None:
    """A run without an inner loop ends as released, says that nothing is deployed, and keeps the model's file."""
    ended = world.run("saved", trigger("saved"))
    assert "released" == ended["outcome"]
    assert (
        "the model model-new was trained and saved; none is deployed, for this project has no inner loop"
        == ended["reason"]
    )
    assert ended["model_uri"].endswith("/model.tar.gz")
    assert "a new model is saved, and none is deployed." in messages("saved")
    between = ended["states"][ended["states"].index("GateData") + 1 : ended["states"].index("FreeLocks")]
    assert ["SmokeTrain", "TrainModel", "SaveModel"] == between
    assert len(ended["states"]) < 30
    assert "owner" not in world.item("saved", "LOCK#training")


def test_blocked_data_is_not_trained_on(world: World, messages: Callable[[str], str]) -> None:
    """The rules hold for such a project as for any."""
    ended = world.run("bad-data", trigger("bad-data"))
    assert "blocked" == ended["outcome"]
    assert "new data was refused." in messages("bad-data")
    assert not {"SmokeTrain", "TrainModel"} & set(ended["states"])


def test_the_same_data_and_code_are_trained_once(world: World) -> None:
    """Another trigger on what a model was saved of has nothing to do."""
    if not world.item("saved", "LOCK#training").get("trained_run"):
        world.run("saved", trigger("saved"))
    again = world.run("saved", trigger("saved", "v2"))
    assert ("suppressed", True) == (again["outcome"], "nothing to do" in again["reason"]), again["reason"]
    assert not {"SmokeTrain", "TrainModel"} & set(again["states"])

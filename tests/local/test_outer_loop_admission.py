"""Which runs of the outer loop are admitted, what follows a refused or lost one, and what the reaper cleans up."""

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from outer_loop import (
    ACCOUNT,
    QUIET_END,
    REGION,
    STATES,
    World,
    body,
    endpoint,
    setting,
    source,
    throw,
    trigger,
    world_of,
)

pytestmark = pytest.mark.local


def execution(name: str, status: str, id_: str) -> dict[str, str]:
    """A pipeline execution in a list."""
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/dev-reaped/execution/{id_}"
    return {"PipelineExecutionDisplayName": name, "PipelineExecutionStatus": status, "PipelineExecutionArn": arn}


SCENARIOS: dict[str, dict[str, Any]] = {
    "trailing": {},
    "capped": {},
    "reaped": {},
    "recorded": {"AwaitRollout": endpoint("config-new", "Failed", FailureReason="no capacity")},
    "cooling": {},
    "broken-release": {"CreateModel": throw("SageMaker.SageMakerException", "no such image")},
    "given-back": {
        "ReadIngest": body({"status": "accepted", "snapshot_uri": "", "trigger": "rejected", "reasons": ["b is empty"]})
    },
    "carried": {},
    "left-out": {
        "ReadIngest": body(
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/left-out/snapshots/1/",
                "trigger": "absent",
                "reasons": ["left-out/raw/a b.csv is gone"],
            }
        )
    },
    "again": {},
    "crowd": {},
    "rush": {},
    # The lock is as a first attempt, whose answer was lost, left it: free, with what is pending.
    "lost-answer": {"AdmitRun": {}},
}
LOST = f"{STATES}:execution:dev-lost-answer-outer-loop:lost"
LIMITS = {
    "capped": {"runs_per_day": 1},
    "cooling": {"cool_down": timedelta(hours=1)},
    "crowd": {"runs_per_day": 1000},
    "rush": {"runs_per_day": 1000},
}
REAPED = hashlib.sha256(f"{STATES}:execution:dev-reaped-outer-loop:lost".encode()).hexdigest()[:12]
REAPER = {
    "ReadLock": {"Item": {"owner": {"S": LOST}}},
    "FindTraining": {
        "PipelineExecutionSummaries": [
            execution(f"run-{REAPED}", "Executing", "mine"),
            execution(f"run-{REAPED}", "Succeeded", "over"),
            execution("run-0123456789ab", "Executing", "anothers"),
        ]
    },
    "StopTraining": {"PipelineExecutionArn": "x"},
    "LookAtEndpoint": {"EndpointStatus": "InService", "EndpointConfigName": "dev-census-0123456789ab-00"},
    "FindEndpointConfigs": {"EndpointConfigs": []},
    "FindModels": {"Models": []},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every scenario."""
    with world_of(tmp_path_factory.mktemp("world"), SCENARIOS, limits=LIMITS, reaper=REAPER) as world:
        yield world


def test_a_held_lock_leaves_exactly_one_trailing_run(world: World) -> None:
    """Triggers refused while a run trains become one trailing run when the lock frees."""
    held = {"owner": {"S": "somebody"}, "lease_until": {"N": str(int(time.time()) + 3600)}}
    world.put("trailing", "LOCK#training", **held)
    refused = [world.run("trailing", trigger("trailing", version)) for version in ("v1", "v2", "v3")]
    assert [run["outcome"] for run in refused] == ["suppressed"] * 3
    assert [run["states"][-len(QUIET_END) :] for run in refused] == [QUIET_END] * 3
    pending = json.loads(world.item("trailing", "LOCK#training")["pending"])
    assert pending == {**trigger("trailing", "v3"), "force": False}
    assert "run somebody is training" in refused[0]["reason"]

    running = world.start("trailing", {"reason": "person"})
    holder = world.record("trailing", world.ended(running)["executionArn"])
    assert holder["outcome"] == "suppressed"

    world.put("trailing", "LOCK#training", owner=held["owner"], lease_until={"N": "1"}, pending={"S": "{}"})
    taken = world.run("trailing", {"reason": "person"})
    assert taken["outcome"] == "released", "an expired lease is taken over"
    assert len(world.executions("trailing")) == 5, "the run that takes the lock takes what was pending along"


def kept_while_it_trains(world: World, name: str, arn: str, waiting: dict[str, Any]) -> bool:
    """Whether a trigger could be left on the lock while an execution held it; a run may be over before."""
    while world.states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        with suppress(world.table.exceptions.ConditionalCheckFailedException):
            world.table.update_item(
                TableName="ledger",
                Key={"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": "LOCK#training"}},
                UpdateExpression="SET pending = :p",
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":p": {"S": json.dumps(waiting)}, ":me": {"S": arn}},
            )
            return True
    return False


def test_the_holder_starts_the_trailing_run(world: World) -> None:
    """A trigger that comes during a run starts one more run when the lock frees, and repeating that changes nothing."""
    name, kept = "trailing", trigger("trailing", "v9")
    for _ in range(20):
        before = {execution["name"] for execution in world.executions(name)}
        holder = world.start(name, {"reason": "person", "force": True})
        if kept_while_it_trains(world, name, holder, kept):
            break
    world.ended(holder)
    run_id = holder.rpartition(":")[2]
    (new,) = (e for e in world.executions(name) if e["name"] not in before | {run_id})
    assert new["name"].startswith("trailing-")
    given = json.loads(world.states.describe_execution(executionArn=new["executionArn"])["input"])
    follows = {"reason": "trailing", "detail": f"follows run {run_id}", "force": False, "source": kept["source"]}
    assert given == follows
    trailing = world.record(name, world.ended(new["executionArn"])["executionArn"])
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
    freed = world.run(name, {"reason": "person", "force": True})
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
    }
    machine = f"{STATES}:stateMachine:dev-reaper#Test"
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
    assert {"PutOff", "ScheduleTrailing"} <= set(over["states"])
    assert len(world.executions("capped")) == 2


def test_the_reaper_cleans_up_once(world: World) -> None:
    """What an aborted run left is freed, recorded and told, and its trailing run starts; twice is as once."""
    loop = f"{STATES}:stateMachine:dev-reaped-outer-loop"
    execution = f"{STATES}:execution:dev-reaped-outer-loop:lost"
    far = str(int(time.time()) + 3600)
    pending = {"S": json.dumps(trigger("reaped"))}
    world.put("reaped", "LOCK#training", owner={"S": execution}, lease_until={"N": far}, pending=pending)
    world.put("reaped", "LOCK#release#dev-reaped", owner={"S": execution}, lease_until={"N": far})
    given = {"execution": execution, "machine": loop, "name": "lost", "status": "ABORTED"}
    for _ in range(2):
        arn = world.states.start_execution(
            stateMachineArn=f"{STATES}:stateMachine:dev-reaper#Reaping", input=json.dumps(given)
        )["executionArn"]
        assert world.ended(arn)["status"] == "SUCCEEDED"
        assert {"ChooseTraining", "StopTraining"} <= set(world.entered(arn)), "its training costs money for nobody"
    assert "owner" not in world.item("reaped", "LOCK#release#dev-reaped")
    run = world.item("reaped", "RUN#lost")
    assert (run["outcome"], run["reason"].startswith("the execution ended as ABORTED")) == ("failed", True)
    assert len(world.executions("reaped")) == 1


def test_a_run_that_died_after_its_commit_was_released(world: World) -> None:
    """Its model is the champion: it is recorded and told so, and what it has judged stays judged."""
    name, execution = "reaped", f"{STATES}:execution:dev-reaped-outer-loop:late"
    world.put(name, "CHAMPION#dev-reaped", run_id={"S": "late"}, model_package_arn={"S": "package/7"})
    world.put(name, "LOCK#training", trained_run={"S": "late"})
    loop = f"{STATES}:stateMachine:dev-reaped-outer-loop"
    given = {"execution": execution, "machine": loop, "name": "late", "status": "TIMED_OUT"}
    reaper = f"{STATES}:stateMachine:dev-reaper#Reaping"
    arn = world.states.start_execution(stateMachineArn=reaper, input=json.dumps(given))["executionArn"]
    assert "SUCCEEDED" == world.ended(arn)["status"]
    run = world.item(name, "RUN#late")
    assert ("released", "package/7") == (run["outcome"], run["model_package_arn"])
    assert run["reason"].startswith("the release stands, the model is the champion; then the execution ended as TIMED_")
    assert "late" == world.item(name, "LOCK#training")["trained_run"]
    assert "FindModels" not in world.entered(arn), "its model is the way back of the next release"


def test_the_reaper_leaves_others_alone(world: World) -> None:
    """A run that recorded its own end is not recorded again, and a lock of another run is not touched."""
    name = "recorded"
    world.run(name, {"reason": "person"})
    other = {"owner": {"S": "another"}, "lease_until": {"N": "1"}}
    world.put(name, "LOCK#training", **other)
    recorded = next(e for e in world.executions(name))
    given = {
        "execution": recorded["executionArn"],
        "machine": f"{STATES}:stateMachine:dev-{name}-outer-loop",
        "name": recorded["name"],
        "status": "FAILED",
    }
    before = world.item(name, f"RUN#{recorded['name']}")
    reaper = f"{STATES}:stateMachine:dev-reaper#Reaping"
    arn = world.states.start_execution(stateMachineArn=reaper, input=json.dumps(given))
    assert "StopTraining" not in world.entered(arn["executionArn"])
    assert world.ended(arn["executionArn"])["status"] == "SUCCEEDED"
    assert world.item(name, "LOCK#training")["owner"] == "another"
    assert world.item(name, f"RUN#{recorded['name']}") == before


def test_the_cool_down_puts_off(world: World) -> None:
    """A trigger too soon after a run began is kept for a schedule at its end; a person who insists is not put off."""
    name = "cooling"
    assert world.run(name, trigger(name, "v1"))["outcome"] == "released"
    until = float(world.item(name, "LOCK#training")["cool_until"])
    assert 3500 < until - time.time() <= 3600
    put_off = world.run(name, trigger(name, "v2"))
    assert (put_off["outcome"], put_off["status"]) == ("suppressed", "SUCCEEDED")
    assert "the cool-down (limits.cool_down) lasts until" in put_off["reason"]
    assert ["Postpone", "ScheduleTrailing"] == put_off["states"][-7:-5]
    lock = world.item(name, "LOCK#training")
    assert ("owner" not in lock, json.loads(lock["pending"])["source"]["version_id"]) == (True, "v2")
    insists = world.run(name, {"reason": "person", "force": True})
    assert insists["outcome"] == "released"
    assert "pending" not in world.item(name, "LOCK#training"), "it took what was pending along"
    late = world.run(name, {"reason": "trailing", "detail": "put off"})
    assert (late["outcome"], late["states"][-len(QUIET_END) :]) == ("suppressed", QUIET_END)
    assert "another run was admitted meanwhile" in late["reason"]


def test_nothing_is_trained_twice(world: World) -> None:
    """The same data under the same code is not trained on again, unless a person insists; a duplicate event is none."""
    name = "again"
    first = world.run(name, trigger(name, "v1"))
    assert first["outcome"] == "released"
    again = world.run(name, trigger(name, "v2"))
    assert (again["outcome"], again["states"][-len(QUIET_END) :]) == ("suppressed", QUIET_END)
    assert "nothing to do: run" in again["reason"]
    assert "StartTraining" not in again["states"]
    assert world.run(name, trigger(name, "v2"))["reason"].endswith("a duplicate event")
    drift = world.run(name, {"reason": "drift"})
    assert (drift["outcome"], "Notify" in drift["states"]) == ("suppressed", True), "people must look at the drift"
    assert world.run(name, {"reason": "person", "force": True})["outcome"] == "released"
    key = {"pk": {"S": f"PROJECT#{name}"}, "sk": {"S": "LOCK#training"}}
    other = {":code": {"S": "other/code"}}
    world.table.update_item(
        TableName="ledger", Key=key, UpdateExpression="SET trained_code = :code", ExpressionAttributeValues=other
    )
    assert world.run(name, {"reason": "code"})["outcome"] == "released"


def test_force_outlives_the_triggers_after_it(world: World) -> None:
    """Of the triggers that wait for one run the last is kept, and that a person insisted."""
    name = "again"
    held = {"owner": {"S": "somebody"}, "lease_until": {"N": str(int(time.time()) + 3600)}}
    world.put(name, "LOCK#training", **held)
    world.run(name, {"reason": "person", "force": True})
    world.run(name, trigger(name, "v7"))
    lock = world.item(name, "LOCK#training")
    assert (json.loads(lock["pending"])["reason"], lock["pending_force"]) == ("data", "yes")


def crowd(world: World, name: str) -> list[dict[str, Any]]:
    """200 triggers at once, each with a different file; their records when all have ended."""
    given = [{**trigger(name), "source": {**source(name), "key": f"{name}/raw/{at}.csv"}} for at in range(200)]
    with ThreadPoolExecutor(16) as pool:
        started = list(pool.map(lambda each: world.start(name, each), given))
        return list(pool.map(lambda arn: world.record(name, world.ended(arn)["executionArn"]), started))


def test_a_crowd_during_a_run_makes_one_trailing_run(world: World) -> None:
    """200 triggers that find the lock taken end well and say why; freeing it starts one run, for all of them."""
    name = "crowd"
    holder = f"{STATES}:execution:dev-{name}-outer-loop:holder"
    far = str(int(time.time()) + 3600)
    world.put(name, "LOCK#training", owner={"S": holder}, lease_until={"N": far})
    runs = crowd(world, name)
    assert [run for run in runs if run["outcome"] != "suppressed"] == []
    assert {run["reason"] for run in runs} == {
        "run holder is training; the trigger is kept as pending and one trailing run follows"
    }
    loop = f"{STATES}:stateMachine:dev-{name}-outer-loop"
    given = {"execution": holder, "machine": loop, "name": "holder", "status": "ABORTED"}
    for _ in range(2):
        reaper = f"{STATES}:stateMachine:dev-reaper#Reaping"
        world.ended(world.states.start_execution(stateMachineArn=reaper, input=json.dumps(given))["executionArn"])
    trailing = [e for e in world.executions(name) if e["name"].startswith("trailing-")]
    assert len(trailing) == 1
    world.ended(trailing[0]["executionArn"])
    assert {"owner", "pending"} & set(world.item(name, "LOCK#training")) == set()


def test_a_crowd_on_a_free_lock_loses_nothing(world: World) -> None:
    """Whoever of 200 is admitted when, each ingests, or one ingests after it, or a schedule was made; none fails."""
    name = "rush"
    runs = crowd(world, name)
    assert [run for run in runs if run["status"] != "SUCCEEDED"] == []
    suppressed = [run for run in runs if "IngestData" not in run["states"]]
    assert {run["outcome"] for run in suppressed} <= {"suppressed"}
    assert all("one trailing run follows" in run["reason"] or "one run follows" in run["reason"] for run in suppressed)
    for started in (e for e in world.executions(name) if e["name"].startswith("trailing-")):
        world.ended(started["executionArn"])
    left = world.item(name, "LOCK#training")
    assert "owner" not in left
    assert "pending" not in left or any("ScheduleTrailing" in run["states"] for run in suppressed)


def test_a_release_that_broke_may_be_tried_again(world: World) -> None:
    """What was judged, but not released for another reason than the model, is trained on again without being forced."""
    name = "broken-release"
    first = world.run(name, trigger(name, "v1"))
    assert (first["outcome"], "ForgetJudgement" in first["states"]) == ("failed", True)
    assert "trained_run" not in world.item(name, "LOCK#training")
    again = world.run(name, {"reason": "schedule"})
    assert "StartTraining" in again["states"]


def test_a_bad_file_gives_back_what_its_run_took_along(world: World) -> None:
    """Data that waited for a run waits again when that run's own file was refused, and a trailing run follows at once."""
    name = "given-back"
    world.put(name, "LOCK#training", pending={"S": json.dumps({**trigger(name, "v0"), "force": False})})
    bad = world.run(name, trigger(name, "v1"))
    assert (bad["outcome"], "StartTrailing" in bad["states"]) == ("blocked", True)
    (trailing,) = (e["executionArn"] for e in world.executions(name) if e["name"].startswith("trailing-"))
    followed = world.record(name, world.ended(trailing)["executionArn"])
    assert "CountRun" in followed["states"], "it is admitted, for something is pending"
    assert {"owner", "pending"} & set(world.item(name, "LOCK#training")) == set()


def test_whoever_takes_a_forced_trigger_along_is_forced(world: World) -> None:
    """A person who insisted while a run was on is not forgotten, whoever is admitted next."""
    name = "carried"
    assert world.run(name, trigger(name, "v1"))["outcome"] == "released"
    lock = world.item(name, "LOCK#training")
    kept = {key: {"S": value} for key, value in lock.items() if key.startswith("trained_")}
    waiting = {"S": json.dumps({"reason": "person", "detail": "", "force": True, "source": None})}
    world.put(name, "LOCK#training", pending=waiting, pending_force={"S": "yes"}, **kept)
    assert world.run(name, {"reason": "schedule"})["outcome"] == "released"
    assert world.run(name, {"reason": "schedule"})["outcome"] == "suppressed"


def test_what_was_left_out_is_told_even_if_nothing_is_new(world: World) -> None:
    """Whoever delivered a file that could not be read hears of it although the rest was trained on before."""
    name = "left-out"
    code = f"c0de/{setting(name).rules_hash}"
    known = {"trained_snapshot": {"S": "s3://data-bucket/left-out/snapshots/1/"}, "trained_code": {"S": code}}
    world.put(name, "LOCK#training", trained_run={"S": "before"}, **known)
    run = world.run(name, trigger(name))
    assert (run["outcome"], "Notify" in run["states"]) == ("suppressed", True)
    assert "raw files were left out: left-out/raw/a b.csv is gone" in run["reason"]

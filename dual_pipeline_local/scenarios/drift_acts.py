"""The acts of a story in which the people who are asked about become other people than those who were learned from."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dual_pipeline.loop_contract import CAPTURE_FOLDER, DRIFT_ALARM_SUFFIX

from ..lifecycle import EmulatorTrouble
from .act import Played
from .clients import as_csv, batches
from .data_variant import DataVariant
from .world import World

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class PauseNewData:
    """An operator switches the rule off that trains on each new file: from now on drift decides when."""

    title: str = "the rule on new data is paused"

    def play(self, world: World) -> Played:
        """Disable the rules on objects whose target is the outer loop."""
        events, paused = world.aws.client("events"), []
        machine = world.deployment["StateMachineArn"]
        for rule in events.list_rules()["Rules"]:
            targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            if "aws.s3" in rule.get("EventPattern", "") and machine in [target["Arn"] for target in targets]:
                events.disable_rule(Name=rule["Name"])
                paused.append(rule["Name"])
        return Played(expected="1 rule", got=f"{len(paused)} rule{'' if len(paused) == 1 else 's'}")


@dataclass(frozen=True, kw_only=True)
class Deliver:
    """Labelled data arrives while the rule is paused."""

    variant: DataVariant

    @property
    def title(self) -> str:
        return f"labelled data: {self.variant.says}"

    def play(self, world: World) -> Played:
        """Upload it, and see that nothing starts."""
        before = len(world.driver.observer.executions())
        bucket, prefix = world.deployment.raw_data
        data = self.variant.write(world.request.data, world.folder)
        world.aws.client("s3").upload_file(str(data), bucket, prefix + data.name)
        time.sleep(1)
        started = len(world.driver.observer.executions()) - before
        return Played(expected="no run", got="no run" if not started else f"{started} runs")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Clients ask about a variant of the data, `size` rows a request, until `rows` of them have been captured."""

    variant: DataVariant
    rows: int = 2000
    size: int = 100

    @property
    def title(self) -> str:
        return f"requests: {self.variant.says}"

    def play(self, world: World) -> Played:
        """Ask, and count what data capture writes."""
        runtime, asked, captured = world.aws.client("sagemaker-runtime"), 0, 0
        deadline = time.monotonic() + _PATIENCE_S
        for batch in batches(world.records(self.variant), self.size):
            runtime.invoke_endpoint(EndpointName=world.endpoint, ContentType="text/csv", Body=as_csv(batch))
            asked += len(batch)
            if asked % (20 * self.size) == 0:
                captured = _captured(world)
                if captured >= self.rows or time.monotonic() > deadline:
                    break
        while (captured := _captured(world)) < self.rows and time.monotonic() < deadline:
            time.sleep(0.5)
        got = "enough captured" if captured >= self.rows else "too few captured"
        return Played(expected="enough captured", got=got, why=f"{asked} rows asked about, {captured} captured")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A day passes, and the machine that measures drift starts by its schedule; `finds` is what it advises."""

    finds: str
    title: str = "a day passes, and drift is measured"

    def play(self, world: World) -> Played:
        """Let the schedule fall due, and wait for the machine."""
        machine = world.deployment["StateMachineArn"].rpartition(":")[0] + f":{world.endpoint}{DRIFT_ALARM_SUFFIX}"
        before = _executions(world, machine)
        world.pass_time(_until_due(world, machine))
        ended = _ended(world, machine, other_than=before)
        world.tell_mail()
        output = json.loads(ended.get("output") or "{}")
        got = str(output.get("decision") or output.get("status") or ended["status"])
        return Played(expected=self.finds, got=got, why=str(output.get("sentence") or ended.get("cause", "")))


@dataclass(frozen=True, kw_only=True)
class AlarmRetrains:
    """The drift alarm rings and starts a run by itself."""

    ends: str
    title: str = "the drift alarm rings"

    def play(self, world: World) -> Played:
        """Wait for its run, and follow it."""
        execution = world.driver.started(
            lambda trigger: trigger.get("reason") == "drift", by="drift", otherwise="does its alarm ring?"
        )
        report = world.follow(execution)
        detail = world.driver.observer.trigger(execution)["detail"]
        return Played(expected=self.ends, got=report.view.outcome, why=f"{detail}; {report.reason}")


def _captured(world: World) -> int:
    """How many rows of requests the endpoint's data capture has written down."""
    s3, bucket = world.aws.client("s3"), world.deployment["ArtifactBucketName"]
    prefix = f"{world.request.project}/{CAPTURE_FOLDER}/{world.endpoint}/"
    rows = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            lines = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().splitlines()
            rows += sum(json.loads(line)["captureData"]["endpointInput"]["data"].count("\n") for line in lines)
    return rows


def _until_due(world: World, machine: str) -> timedelta:
    """How long it is until the machine's schedule is due for the first time since it was made."""
    schedules = world.aws.client("scheduler")
    named = [(found["GroupName"], found["Name"]) for found in schedules.list_schedules()["Schedules"]]
    described = [schedules.get_schedule(GroupName=group, Name=name) for group, name in named]
    found = next((each for each in described if each["Target"]["Arn"] == machine), None)
    if found is None:
        raise EmulatorTrouble(f"no schedule starts {machine}: does the project watch for drift?")
    amount, unit = found["ScheduleExpression"].removeprefix("rate(").removesuffix(")").split()
    every = timedelta(**{f"{unit.removesuffix('s')}s": int(amount)})
    until: timedelta = found["CreationDate"] + every - datetime.now(UTC)
    return until + timedelta(seconds=1)


def _executions(world: World, machine: str) -> dict[str, str]:
    """The machine's executions with their status, newest first."""
    listed = world.aws.client("stepfunctions").list_executions(stateMachineArn=machine, maxResults=100)
    return {execution["executionArn"]: execution["status"] for execution in listed["executions"]}


def _ended(world: World, machine: str, *, other_than: Collection[str]) -> dict[str, Any]:
    """The machine's next execution, as soon as there is one and it has ended."""
    deadline = time.monotonic() + 2 * _PATIENCE_S
    while time.monotonic() < deadline:
        for arn, status in _executions(world, machine).items():
            if arn not in other_than and status != "RUNNING":
                found: dict[str, Any] = world.aws.client("stepfunctions").describe_execution(executionArn=arn)
                return found
        time.sleep(0.2)
    raise EmulatorTrouble(f"{machine} did not end within {2 * _PATIENCE_S:.0f} s: is its schedule enabled?")

"""Deployment guardrails: what a DeploymentConfig may say, how long it waits, what its alarms say.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.aws_time import AwsTime
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled

_SIZE = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_MOST_PERCENT = 50
_LEAST_LINEAR_PERCENT = 10


@dataclass(frozen=True)
class Step:
    """A part of a deployment: the share of traffic that the new fleet then has, on how many instances, and how long.

    `wait_s` is in seconds of AWS.
    """

    share: float
    instances: int
    wait_s: int


@dataclass(frozen=True)
class Deployment:
    """A checked DeploymentConfig; an empty one is AWS's default, all at once and unguarded."""

    config: Record

    @classmethod
    def checked(cls, config: Record, *, instances: Sequence[int]) -> "Deployment":
        """Refuse what AWS refuses for variants of so many instances, and rolling updates by name."""
        if "RollingUpdatePolicy" in config:
            raise not_modelled("DeploymentConfig with RollingUpdatePolicy")
        policy = config.get("BlueGreenUpdatePolicy")
        if policy is None:
            if "AutoRollbackConfiguration" in config:
                raise invalid("AutoRollbackConfiguration requires a BlueGreenUpdatePolicy or a RollingUpdatePolicy")
            return cls(config)
        routing = policy["TrafficRoutingConfiguration"]
        for kind, member in _SIZE.items():
            if (routing["Type"] == kind) != (member in routing):
                raise invalid(f"{member} must be given if and only if the traffic routing type is {kind}")
        if routing["Type"] in _SIZE:
            _check_size(routing[_SIZE[routing["Type"]]], routing["Type"], instances)
        deployment = cls(config)
        longest = policy.get("MaximumExecutionTimeoutInSeconds")
        waits_s = max(deployment.wait_s(count) for count in instances)
        if longest is not None and longest <= waits_s:
            raise invalid(
                f"MaximumExecutionTimeoutInSeconds {longest} must be greater than the deployment's waiting times "
                f"together, {waits_s} seconds"
            )
        return deployment

    @property
    def alarms(self) -> list[str]:
        """Names of the rollback alarms."""
        alarms = self.config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        return [alarm["AlarmName"] for alarm in alarms]

    @property
    def is_guarded(self) -> bool:
        """Whether this is a deployment with guardrails, which sends deployment events."""
        return "BlueGreenUpdatePolicy" in self.config

    @property
    def longest_s(self) -> float:
        """Seconds after which the deployment is rolled back."""
        policy = self.config.get("BlueGreenUpdatePolicy", {})
        return float(policy.get("MaximumExecutionTimeoutInSeconds", math.inf))

    def steps(self, instances: int) -> list[Step]:
        """The steps in which traffic moves to a new fleet of so many instances; the last one moves all of it.

        After a canary or linear step comes WaitIntervalInSeconds, in which alarms are watched, after the last one the
        final baking period TerminationWaitInSeconds; a last step that is not a canary's rest also has its own interval.
        """
        policy = self.config.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {})
        wait_s, final_s = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
        kind = routing.get("Type")
        if kind not in _SIZE:
            return [Step(1.0, instances, wait_s + final_s)]
        size = routing[_SIZE[kind]]
        share = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)
        if kind == "CANARY":
            return [Step(share, max(1, round(share * instances)), wait_s), Step(1.0, instances, final_s)]
        count = math.ceil(round(1 / share, 9))
        shares = [min(round(share * number, 9), 1.0) for number in range(1, count + 1)]
        return [
            Step(each, max(1, round(each * instances)), wait_s + (final_s if number == count else 0))
            for number, each in enumerate(shares, 1)
        ]

    def wait_s(self, instances: int) -> int:
        """Seconds that the deployment waits in all: between its steps and before the old fleet ends."""
        return sum(step.wait_s for step in self.steps(instances))


class DeploymentClock:
    """How long a deployment took: its waits in seconds of AWS, everything else in real ones."""

    def __init__(self, aws_time: AwsTime, *, longest_s: float) -> None:
        self._aws_time = aws_time
        self._longest_s = longest_s
        self._started = time.monotonic()
        self._waited_s = 0.0

    def waited(self, seconds: float) -> None:
        """Count a wait of so many seconds of AWS, which has just ended."""
        self._waited_s += seconds

    def is_over(self) -> bool:
        """Whether the deployment took longer than it may."""
        elsewhere_s = time.monotonic() - self._started - self._aws_time.real_s(self._waited_s)
        return elsewhere_s + self._waited_s > self._longest_s


def alarms_in_alarm(cloudwatch: Any, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the alarms do not exist and which are in ALARM."""
    if not names:
        return [], []
    answer = cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    found = [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}
    return [name for name in names if name not in states], [name for name in names if states.get(name) == "ALARM"]


def _check_size(size: Record, kind: str, instances: Sequence[int]) -> None:
    value, unit = size["Value"], size["Type"]
    least = _LEAST_LINEAR_PERCENT if kind == "LINEAR" else 1
    if unit == "CAPACITY_PERCENT" and not least <= value <= _MOST_PERCENT:
        raise invalid(f"{_SIZE[kind]} must be between {least} and {_MOST_PERCENT} percent of capacity, got {value}")
    for count in instances:
        if count < 2 or (unit == "INSTANCE_COUNT" and value * 2 > count):
            raise invalid(
                f"{_SIZE[kind]} must be at most half of a variant's instances, which must be at least 2; "
                f"got {value} {unit} of {count} instances"
            )

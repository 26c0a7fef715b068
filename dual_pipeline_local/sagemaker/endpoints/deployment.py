"""Deployment guardrails: what a DeploymentConfig may say, how long it waits, what its alarms say.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled

_SIZE = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_MOST_PERCENT = 50
_LEAST_LINEAR_PERCENT = 10


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
        if longest is not None and longest <= deployment.wait_s:
            raise invalid(
                f"MaximumExecutionTimeoutInSeconds {longest} must be greater than the deployment's waiting times "
                f"together, {deployment.wait_s} seconds"
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
    def wait_s(self) -> int:
        """Seconds that the deployment waits in all: between its steps and before the old fleet ends."""
        policy = self.config.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {})
        size = routing.get("LinearStepSize", {})
        percent = size.get("Value", 100) if size.get("Type") == "CAPACITY_PERCENT" else 100
        waits: int = routing.get("WaitIntervalInSeconds", 0) * -(-100 // percent)
        return waits + int(policy.get("TerminationWaitInSeconds", 0))


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

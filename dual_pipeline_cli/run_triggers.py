"""What starts runs by itself: rules and schedules of the stacks, which are switched off before runs are stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline_local.deployment import Clients

from .absence import is_absent
from .runtime_resources import RuntimeResource
from .stacks import Resource

_STARTED = ":stateMachine:"
# Rules on ended executions clean up after them, which a teardown waits for.
_CLEANERS = "aws.states"
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html: what is left out is reset.
_KEPT = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "GroupName",
    "KmsKeyArn",
    "Name",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "Target",
)


def run_triggers(aws: Clients, resources: Iterable[Resource]) -> Iterator[RuntimeResource]:
    """Each rule and schedule of these stacks that is on and starts a state machine, but for what cleans up."""
    for resource in resources:
        try:
            match resource.type:
                case "AWS::Events::Rule":
                    yield from _rule(aws.client("events"), resource.id)
                case "AWS::Scheduler::Schedule":
                    yield from _schedule(aws.client("scheduler"), resource.id)
        except ClientError as error:
            if not is_absent(error):
                raise


def _rule(events: Any, name: str) -> Iterator[RuntimeResource]:
    rule = events.describe_rule(Name=name)
    if rule["State"] == "DISABLED" or _CLEANERS in json.loads(rule.get("EventPattern") or "{}").get("source", []):
        return
    pages = events.get_paginator("list_targets_by_rule").paginate(Rule=name)
    if any(_STARTED in target["Arn"] for page in pages for target in page["Targets"]):
        yield RuntimeResource(kind="rule", name=name, remove=partial(events.disable_rule, Name=name))


def _schedule(scheduler: Any, name: str) -> Iterator[RuntimeResource]:
    pages = scheduler.get_paginator("list_schedules").paginate(NamePrefix=name)
    for each in (found for page in pages for found in page["Schedules"]):
        if each["Name"] == name and each["State"] == "ENABLED" and _STARTED in each["Target"]["Arn"]:
            yield RuntimeResource(kind="schedule", name=name, remove=partial(_switch_off, scheduler, each))


def _switch_off(scheduler: Any, listed: Mapping[str, Any]) -> None:
    found = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
    scheduler.update_schedule(**{name: found[name] for name in _KEPT if name in found}, State="DISABLED")

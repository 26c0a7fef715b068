"""What people see of an environment, and what stops it when its budget is spent."""

from collections.abc import Sequence
from typing import Final, Literal

from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.environment_dashboard import EnvironmentDashboard
from dual_pipeline.loop_contract import outer_loop_name
from dual_pipeline.machine import machine_arn
from dual_pipeline.operator_alarm import OperatorAlarm
from dual_pipeline.spending_budget import SpendingStop
from stacks.environment_stack import EnvironmentStack
from stacks.foundation import FoundationStack
from stacks.outer_loop import OuterLoopStack

_APPROVAL: Final[dict[str, Literal["AUTOMATIC", "MANUAL"]]] = {"stop": "AUTOMATIC", "ask": "MANUAL"}


class WatchStack(EnvironmentStack):
    """One environment's dashboard and the action of its budget: what needs all projects of it to be there."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        foundation: FoundationStack,
        outers: Sequence[OuterLoopStack],
        alarms: Sequence[OperatorAlarm],
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            description=f"Dual pipeline {environment.name}: dashboard, and the stop when the budget is spent",
        )
        EnvironmentDashboard(self, "Overview", environment=environment, alarms=[alarm.name for alarm in alarms])
        approval = _APPROVAL.get(environment.over_budget)
        if environment.monthly_budget_usd is None or approval is None:
            return
        SpendingStop(
            self,
            "SpendingStop",
            environment=environment.name,
            roles=[*foundation.starters, *(role for outer in outers for role in outer.outer_loop.starters)],
            machine_arns=[
                machine_arn(self, outer_loop_name(environment.name, project.name)) for project in environment.projects
            ],
            approval=approval,
            topic=foundation.topic,
        )
        # The action knows its budget by name only.
        self.add_stack_dependency(foundation)

"""What people see and hear of a project."""

from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.loop_alarms import LoopAlarms
from dual_pipeline.loop_dashboard import LoopDashboard
from dual_pipeline.model_project import ModelProject
from stacks.environment_stack import EnvironmentStack
from stacks.foundation import FoundationStack
from stacks.outer_loop import OuterLoopStack


class MonitoringStack(EnvironmentStack):
    """One project's alarms and dashboard."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        foundation: FoundationStack,
        outer: OuterLoopStack,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            project=project,
            description=f"Dual pipeline {environment.name}: alarms and dashboard of {project.name}",
        )
        machine_arn = outer.outer_loop.machine.arn
        LoopAlarms(
            self,
            "Alarms",
            environment=environment.name,
            project=project.name,
            machine_arn=machine_arn,
            dead_letters=outer.outer_loop.dead_letters,
            job_names=outer.jobs.job_names,
            topic=foundation.topic,
        )
        LoopDashboard(
            self,
            "Dashboard",
            environment=environment.name,
            project=project.name,
            machine_arn=machine_arn,
            endpoint_name=outer.endpoint_name if project.deploys_endpoint else None,
        )

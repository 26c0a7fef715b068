"""What people hear of a project."""

from constructs import Construct

from dual_pipeline.endpoint_alarms import EndpointAlarms
from dual_pipeline.environment import Environment
from dual_pipeline.loop_alarms import LoopAlarms
from dual_pipeline.loop_contract import outer_loop_name
from dual_pipeline.machine_alarms import MachineAlarms
from dual_pipeline.model_project import ModelProject
from stacks.environment_stack import EnvironmentStack
from stacks.foundation import FoundationStack
from stacks.outer_loop import OuterLoopStack

_HELPERS = (
    ("preflight", True, "a release was not checked, so its run failed: see why", "Release refused by its preflight"),
    ("traffic", False, "a new model may have passed its bake unasked: see why, and ask it", "Bake without traffic"),
)


class MonitoringStack(EnvironmentStack):
    """One project's alarms, but for those that its endpoint's rollouts need beforehand."""

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
            description=f"Dual pipeline {environment.name}: alarms of {project.name}",
        )
        self.alarms = LoopAlarms(
            self,
            "Alarms",
            environment=environment.name,
            project=project.name,
            machine_name=outer_loop_name(environment.name, project.name),
            machine_arn=outer.outer_loop.machine.arn,
            dead_letters=outer.outer_loop.dead_letters,
            job_names=outer.jobs.job_names,
            topic=foundation.topic,
            quiet=project.watch.quiet_loop,
        ).alarms
        if project.deploys_endpoint:
            self.alarms += EndpointAlarms(
                self,
                "Endpoint",
                endpoint_name=outer.endpoint_name,
                instance_type=project.instances.endpoint,
                watch=project.watch,
                topic=foundation.topic,
            ).alarms
            for name, express, advice, runbook in _HELPERS:
                helper = outer.outer_loop.helpers[name]
                self.alarms += MachineAlarms(
                    self,
                    name.capitalize(),
                    name=helper.name,
                    machine_arn=helper.arn,
                    express=express,
                    advice=advice,
                    runbook=runbook,
                    topic=foundation.topic,
                ).alarms

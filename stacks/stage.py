"""One environment: what its projects share, two to five stacks per project, then what looks at all of them."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.images import image_uri
from dual_pipeline.job_roles import Workspace
from dual_pipeline.model_project import ModelProject
from dual_pipeline.operator_alarm import OperatorAlarm
from stacks.foundation import FoundationStack
from stacks.inner_loop import InnerLoopStack
from stacks.monitoring import MonitoringStack
from stacks.outer_loop import OuterLoopStack
from stacks.registry import RegistryStack
from stacks.watch import WatchStack
from stacks.workflows import WorkflowsStack

ROOT = Path(__file__).parent.parent


class EnvironmentStage(cdk.Stage):
    """Everything of one environment, in its account and region, under its permissions boundary if it has one.

    `root` is the folder that the projects' code lies below, `commit` what names this state of it.
    """

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, commit: str = "unknown", root: Path = ROOT
    ) -> None:
        boundary = environment.permissions_boundary
        super().__init__(
            scope,
            id_,
            env=cdk.Environment(account=environment.account, region=environment.region),
            permissions_boundary=cdk.PermissionsBoundary.from_name(boundary) if boundary else None,
        )
        foundation = FoundationStack(self, "Foundation", environment=environment)
        outers: list[OuterLoopStack] = []
        alarms = [*foundation.alarms]
        for project in environment.projects:
            outer, more = self._add_project(
                project,
                environment=environment,
                foundation=foundation,
                root=root,
                commit=commit,
            )
            outers.append(outer)
            alarms += more
        WatchStack(
            self,
            "Watch",
            environment=environment,
            foundation=foundation,
            outers=outers,
            alarms=alarms,
        )

    def _add_project(
        self,
        project: ModelProject,
        *,
        environment: Environment,
        foundation: FoundationStack,
        root: Path,
        commit: str,
    ) -> tuple[OuterLoopStack, tuple[OperatorAlarm, ...]]:
        """The project's stacks; its outer loop's, and the alarms of all of them."""
        project_folder = root / project.folder
        prefix = project.stack_prefix
        image = image_uri("xgboost", region=environment.region)
        workspace = Workspace(
            environment=environment.name,
            cost_center=environment.cost_center,
            project=project.name,
            data_bucket=foundation.data_bucket,
            artifact_bucket=foundation.artifact_bucket,
            key=foundation.key,
            vpc=environment.vpc,
            existing_roles=environment.existing_roles,
        )
        inner: InnerLoopStack | None = None
        if project.inner_loop:
            registry = RegistryStack(
                self,
                f"{prefix}Registry",
                environment=environment,
                project=project,
                workspace=workspace,
                ledger=foundation.ledger,
            )
            inner = InnerLoopStack(
                self,
                f"{prefix}InnerLoop",
                environment=environment,
                project=project,
                project_folder=project_folder,
                workspace=workspace,
                registry=registry.registry,
                ledger=foundation.ledger,
                commit=commit,
            )
        outer = OuterLoopStack(
            self,
            f"{prefix}OuterLoop",
            environment=environment,
            project=project,
            project_folder=project_folder,
            workspace=workspace,
            foundation=foundation,
            image=image,
            training_code=inner.training_code if inner else None,
        )
        if inner is not None:
            # The outer loop knows the pipeline by its name only, so nothing but this puts them in order.
            outer.add_stack_dependency(inner)
        workflows: WorkflowsStack | None = None
        if project.workflows:
            workflows = WorkflowsStack(
                self,
                f"{prefix}Workflows",
                environment=environment,
                project=project,
                project_folder=project_folder,
                root=root,
                workspace=workspace,
                foundation=foundation,
                image=image,
            )
        monitoring = MonitoringStack(
            self,
            f"{prefix}Monitoring",
            environment=environment,
            project=project,
            foundation=foundation,
            outer=outer,
        )
        return outer, (*monitoring.alarms, *outer.alarms, *(workflows.alarms if workflows else ()))

"""The platform team's half of a project."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.access_policies import OperatorPolicy
from dual_pipeline.data_jobs import DataJobs
from dual_pipeline.drift_watch import DriftWatch
from dual_pipeline.environment import Environment
from dual_pipeline.job_roles import BatchRole, EndpointRole, Workspace
from dual_pipeline.loop_contract import RECORDS, SCORES
from dual_pipeline.model_project import ModelProject
from dual_pipeline.operator_alarm import OperatorAlarm
from dual_pipeline.outer_loop.outer_loop import OuterLoop
from dual_pipeline.outer_loop.setting import TrainingCode
from dual_pipeline.rollback_alarms import RollbackAlarms
from dual_pipeline.training_alone import TrainingAlone
from stacks.environment_stack import EnvironmentStack
from stacks.foundation import FoundationStack


class OuterLoopStack(EnvironmentStack):
    """One project's state machine, the Glue jobs it runs, and what its models need before the first release.

    `training_code` is the inner loop's; without an inner loop the code and the role of training lie here.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        project_folder: Path,
        workspace: Workspace,
        foundation: FoundationStack,
        image: str,
        training_code: TrainingCode | None,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            project=project,
            description=f"Dual pipeline {environment.name}: release of {project.name}",
        )
        self.endpoint_name = workspace.name
        self.jobs = DataJobs(self, "Data", project=project, package_folder=project_folder.parent, workspace=workspace)
        model = (
            BatchRole(self, "Model", workspace=workspace, image=image)
            if project.scores_in_batch
            else EndpointRole(self, "Model", workspace=workspace, image=image)
        )
        needed: list[Construct] = [self.jobs, model]
        self.alarms: tuple[OperatorAlarm, ...] = ()
        if project.deploys_endpoint:
            rollback = RollbackAlarms(
                self,
                "Rollback",
                endpoint_name=self.endpoint_name,
                max_error_percent=project.rollout.max_error_percent,
                max_p99_latency=cdk.Duration.millis(project.rollout.max_p99_latency_ms),
                topic=foundation.topic,
            )
            self.alarms = rollback.alarms
            needed.append(rollback)
        elif not project.inner_loop:
            alone = TrainingAlone(
                self,
                "Alone",
                project_folder=project_folder,
                workspace=workspace,
                image=image,
                steps=["alone"],
                checkpoints=project.training.spot,
            )
            training_code = alone.training_code("alone")
            needed.append(alone)
        self.outer_loop = OuterLoop(
            self,
            "OuterLoop",
            environment=environment,
            project=project,
            data_bucket=foundation.data_bucket,
            artifact_bucket=foundation.artifact_bucket,
            ledger=foundation.ledger,
            key=foundation.key,
            topic=foundation.topic,
            model_role=model.role,
            rollback_alarms=self.alarms,
            training_code=training_code,
            image=image,
        )
        # New data may start a run as soon as the rule stands: all it needs stands before.
        self.outer_loop.node.add_dependency(*needed)
        if project.watched is not None:
            drift = DriftWatch(
                self,
                "Drift",
                environment=environment,
                project=project,
                drift=project.watched,
                package_folder=project_folder.parent,
                workspace=workspace,
                image=image,
                ledger=foundation.ledger,
                topic=foundation.topic,
            )
            self.alarms += drift.alarms
        OperatorPolicy(self, "Operators", workspace=workspace, ledger=foundation.ledger)
        for name, value in (
            ("StateMachineArn", self.outer_loop.machine.arn),
            ("RawDataUri", f"s3://{foundation.data_bucket.bucket_name}/{project.name}/raw/"),
            *((("EndpointName", self.endpoint_name),) if project.deploys_endpoint else ()),
            *(_batch_places(project, foundation) if project.scores_in_batch else ()),
            ("ApprovalMode", project.approval.mode),
        ):
            cdk.CfnOutput(self, name, value=value)


def _batch_places(project: ModelProject, foundation: FoundationStack) -> tuple[tuple[str, str], ...]:
    """Where records to score are put, and where the scores of runs appear."""
    return (
        ("RecordsUri", f"s3://{foundation.data_bucket.bucket_name}/{project.name}/{RECORDS}/"),
        ("ScoresUri", f"s3://{foundation.artifact_bucket.bucket_name}/{project.name}/{SCORES}/"),
    )

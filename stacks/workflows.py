"""A project's own workflows."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.job_roles import EndpointRole, Workspace
from dual_pipeline.model_project import ModelProject
from dual_pipeline.operator_alarm import OperatorAlarm
from dual_pipeline.own_workflow import OwnWorkflow
from dual_pipeline.training_alone import TrainingAlone
from stacks.environment_stack import EnvironmentStack
from stacks.foundation import FoundationStack


class WorkflowsStack(EnvironmentStack):
    """The state machines of `project.workflows`, and the roles of the jobs and models that they make."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        project_folder: Path,
        root: Path,
        workspace: Workspace,
        foundation: FoundationStack,
        image: str,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            project=project,
            description=f"Dual pipeline {environment.name}: own workflows of {project.name}",
        )
        model = EndpointRole(self, "Model", workspace=workspace, image=image)
        training = TrainingAlone(
            self,
            "Training",
            project_folder=project_folder,
            workspace=workspace,
            image=image,
            steps=sorted({each.step for each in project.workflows if each.step}),
        )
        shared = {
            "AccountId": self.account,
            "ArtifactBucket": foundation.artifact_bucket.bucket_name,
            "CostCenter": environment.cost_center,
            "DataBucket": foundation.data_bucket.bucket_name,
            "Environment": environment.name,
            "KmsKeyArn": foundation.key.key_arn,
            "ModelRoleArn": model.role.role_arn,
            "Partition": self.partition,
            "Project": project.name,
            "Region": self.region,
            "TopicArn": foundation.topic.topic_arn,
            "TrainingRoleArn": training.role.role_arn,
            "XgboostImage": image,
        }
        self.alarms: tuple[OperatorAlarm, ...] = ()
        for workflow in project.workflows:
            code = training.code_of(workflow.step) if workflow.step else {}
            own = OwnWorkflow(
                self,
                "".join(part.capitalize() for part in workflow.name.split("-")),
                workflow=workflow,
                root=root,
                values={**shared, **code, "NamePrefix": f"{workspace.name}-{workflow.name}"},
                key=foundation.key,
                topic=foundation.topic,
            )
            own.node.add_dependency(model, training)
            self.alarms += own.alarms
        cdk.CfnOutput(self, "TrainingRoleArn", value=training.role.role_arn)

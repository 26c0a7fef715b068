"""The stateful part of a project."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from dual_pipeline.access_policies import ApproverPolicy
from dual_pipeline.environment import Environment
from dual_pipeline.job_roles import Workspace
from dual_pipeline.model_project import ModelProject
from dual_pipeline.model_registry import ModelRegistry
from stacks.environment_stack import EnvironmentStack


class RegistryStack(EnvironmentStack):
    """One project's model package group, and what its approvers may do."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        workspace: Workspace,
        ledger: dynamodb.ITable,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            project=project,
            description=f"Dual pipeline {environment.name}: models of {project.name}",
        )
        self.registry = ModelRegistry(
            self,
            "Registry",
            name=workspace.name,
            description=project.description,
            removal_policy=self.removal_policy,
        )
        ApproverPolicy(self, "Approvers", workspace=workspace, ledger=ledger, group_arn=self.registry.group_arn)
        cdk.CfnOutput(self, "ModelPackageGroupName", value=self.registry.group_name)

"""The data scientists' half of a project."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.access_policies import DataScientistPolicy
from dual_pipeline.environment import Environment
from dual_pipeline.inner_loop import InnerLoop
from dual_pipeline.job_roles import Workspace
from dual_pipeline.ledger import Ledger
from dual_pipeline.model_project import ModelProject
from dual_pipeline.model_registry import ModelRegistry
from dual_pipeline.sandbox import Sandbox
from stacks.environment_stack import EnvironmentStack


class InnerLoopStack(EnvironmentStack):
    """One project's SageMaker Pipeline with its code and roles, and what data scientists may do with it."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        project_folder: Path,
        workspace: Workspace,
        registry: ModelRegistry,
        ledger: Ledger,
        commit: str,
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            project=project,
            description=f"Dual pipeline {environment.name}: training of {project.name}",
        )
        inner_loop = InnerLoop(
            self,
            "InnerLoop",
            project=project,
            project_folder=project_folder,
            workspace=workspace,
            registry=registry,
            commit=commit,
        )
        self.training_code = inner_loop.training_code
        sandbox = None
        if environment.sandboxes:
            sandbox = Sandbox(
                self,
                "Sandbox",
                workspace=workspace,
                images=inner_loop.images,
                definition=inner_loop.definition,
                placeholders=inner_loop.placeholders,
                removal_policy=self.removal_policy,
            )
        DataScientistPolicy(self, "DataScientists", workspace=workspace, ledger=ledger, sandbox=sandbox)
        queue = inner_loop.external_check_queue
        outputs = {
            "PipelineName": inner_loop.pipeline_name,
            **({"ExternalCheckQueueUrl": queue.queue_url} if queue else {}),
            **(sandbox.outputs if sandbox else {}),
        }
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)

"""The inner loop as a resource: a project's compiled SageMaker Pipeline with an environment's values in it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from dual_pipeline.code_bundle import write_processing_bundle, write_training_bundle
from dual_pipeline.definition import render_definition
from dual_pipeline.environment import VpcConfig
from dual_pipeline.job_roles import PipelineRole, ProcessingRole, TrainingRole, Workspace
from dual_pipeline.model_project import ModelProject
from dual_pipeline.model_registry import ModelRegistry
from dual_pipeline.retained_code import RetainedCode


class InnerLoop(Construct):
    """The pipeline `<environment>-<project>`, its code and its roles.

    `project_folder` holds the project's code and compiled definition; nothing of it is imported.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        project: ModelProject,
        project_folder: Path,
        workspace: Workspace,
        registry: ModelRegistry,
        image: str,
    ) -> None:
        super().__init__(scope, id_)
        with TemporaryDirectory() as name:
            folder = Path(name)
            bundles = {
                "preprocess": write_processing_bundle(project_folder, step="preprocess", folder=folder),
                "train": write_training_bundle(project_folder, step="train", folder=folder),
                "evaluate": write_processing_bundle(project_folder, step="evaluate", folder=folder),
            }
            code = RetainedCode(self, "Code", workspace=workspace, files=bundles)
        processing = ProcessingRole(self, "Processing", workspace=workspace, image=image, code=[])
        training = TrainingRole(self, "Training", workspace=workspace, image=image, code=[])
        pipeline_role = PipelineRole(
            self,
            "Execution",
            workspace=workspace,
            image=image,
            registry=registry,
            job_roles=[processing.role, training.role],
        )
        self.placeholders = {
            "environment": workspace.environment,
            "cost_center": workspace.cost_center,
            "region": Stack.of(self).region,
            "artifact_bucket": workspace.artifact_bucket.bucket_name,
            "kms_key_arn": workspace.key.key_arn,
            "model_package_group": registry.group_name,
            "processing_role_arn": processing.role.role_arn,
            "training_role_arn": training.role.role_arn,
            "xgboost_image": image,
            **{f"{step}_code_uri": code.uri(step) for step in bundles},
            **{f"{step}_code_file": code.file(step) for step in bundles},
        }
        definition = render_definition(project, project_folder=project_folder, placeholders=self.placeholders)
        if workspace.vpc is not None:
            definition = in_network(definition, vpc=workspace.vpc)
        self.pipeline_name = workspace.name
        pipeline = sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=workspace.name,
            pipeline_description=project.description or None,
            pipeline_definition={"PipelineDefinitionBody": compact(definition)},
            role_arn=pipeline_role.role.role_arn,
        )
        # Nobody can start the pipeline before every policy stands, not just every role.
        pipeline.node.add_dependency(processing, training, pipeline_role, code)


def compact(definition: str) -> str:
    """The definition without the white space that people read and CloudFormation counts."""
    return json.dumps(json.loads(definition), separators=(",", ":"), ensure_ascii=False)


def in_network(definition: str, *, vpc: VpcConfig) -> str:
    """The definition with every processing and training job in `vpc`.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/infrastructure-give-access.html
    """
    network = {"Subnets": list(vpc.subnet_ids), "SecurityGroupIds": list(vpc.security_group_ids)}
    document = json.loads(definition)

    def visit(steps: list[dict[str, Any]]) -> None:
        for step in steps:
            arguments = step.get("Arguments", {})
            match step["Type"]:
                case "Processing":
                    arguments.setdefault("NetworkConfig", {})["VpcConfig"] = network
                case "Training":
                    arguments["VpcConfig"] = network
                case "Condition":
                    visit(arguments["IfSteps"])
                    visit(arguments["ElseSteps"])

    visit(document["Steps"])
    return json.dumps(document, ensure_ascii=False)

"""The inner loop as a resource: a project's compiled SageMaker Pipeline with an environment's values in it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import CfnTag, Stack
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from dual_pipeline.code_bundle import write_alone_bundle, write_bundle
from dual_pipeline.decide_function import DecideFunction
from dual_pipeline.definition import DEFINITION_FILE, compact, in_network, load_definition, render_definition, steps_of
from dual_pipeline.external_check import ExternalCheckQueue
from dual_pipeline.images import image_uri
from dual_pipeline.job_roles import PipelineRole, ProcessingRole, ScoringRole, TrainingRole, Workspace
from dual_pipeline.loop_contract import TAG_CODE
from dual_pipeline.model_project import ModelProject
from dual_pipeline.model_registry import ModelRegistry
from dual_pipeline.outer_loop.setting import TrainingCode
from dual_pipeline.pipeline_parameters import parameter_defaults
from dual_pipeline.placeholders import placeholders_in
from dual_pipeline.retained_code import RetainedCode

# What the defaults of an execution by hand point to: nobody to beat, and data that nobody judged.
ABSENT = {"no_champion": '{"champion": null}\n', "no_verdict": '{"verdict": null}\n'}


class InnerLoop(Construct):
    """The pipeline `<environment>-<project>`, its code, its roles, and what its optional steps need.

    `project_folder` holds the project's code and compiled definition; nothing of it is imported. `commit` names the
    checkout in the models' lineage. `placeholders` are the definition's, filled; `training_code` is what the outer
    loop's smoke training runs.
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
        commit: str,
    ) -> None:
        super().__init__(scope, id_)
        region = Stack.of(self).region
        definition = load_definition(project_folder)
        used = sorted(placeholders_in(definition))
        images = {
            name: image_uri(name.removesuffix("_image"), region=region) for name in used if name.endswith("_image")
        }
        # The pipeline, nobody else, must wait for every policy, not just for every role.
        parts: list[Construct] = []

        with TemporaryDirectory() as name:
            folder = Path(name)
            bundles = {
                step: write_bundle(project_folder, step=step, kind=kind, folder=folder)
                for step, kind in steps_of(definition).items()
            }
            alone = {}
            if project.smoke_training:
                alone["alone"] = write_alone_bundle(project_folder, step="alone", folder=folder)
            absent = {name: folder / f"{name}.json" for name in ABSENT}
            for name_, file in absent.items():
                file.write_text(ABSENT[name_], encoding="utf-8")
            files = {**bundles, **alone, "definition": project_folder / DEFINITION_FILE, **absent}
            code = RetainedCode(self, "Code", workspace=workspace, files=files)
            decide = None
            if "decide_function_arn" in used:
                decide = DecideFunction(self, "Decide", workspace=workspace, code=bundles["decide"])
                parts.append(decide)

        processing = ProcessingRole(self, "Processing", workspace=workspace, images=list(images.values()))
        training = TrainingRole(
            self,
            "Training",
            workspace=workspace,
            image=images["xgboost_image"],
            checkpoints=project.training.spot,
            snapshots=["snapshots/*/sample"] if project.smoke_training else [],
        )
        jobs: list[ProcessingRole | TrainingRole | ScoringRole] = [processing, training]
        optional: dict[str, str] = {}
        if "scoring_role_arn" in used:
            scoring = ScoringRole(self, "Scoring", workspace=workspace, image=images["xgboost_image"])
            jobs.append(scoring)
            optional["scoring_role_arn"] = scoring.role.role_arn
        check_queue = None
        if "external_check_queue_url" in used:
            check_queue = ExternalCheckQueue(self, "ExternalCheck", key=workspace.key)
            optional["external_check_queue_url"] = check_queue.queue_url
        if decide is not None:
            optional["decide_function_arn"] = decide.function.function_arn
        pipeline_role = PipelineRole(
            self,
            "Execution",
            workspace=workspace,
            images=list(images.values()),
            pipeline=workspace.name,
            registry=registry,
            job_roles=[job.role for job in jobs],
            definition=definition,
            check_queue=check_queue,
            decide_function=decide.function if decide else None,
        )
        self.training_code = None
        if project.smoke_training:
            self.training_code = TrainingCode(
                image=images["xgboost_image"],
                role_arn=training.role.role_arn,
                uri=code.uri("alone"),
                file=code.file("alone"),
            )
        self.images: Mapping[str, str] = images
        self.definition = definition
        self.external_check_queue = check_queue
        self.placeholders: Mapping[str, str] = {
            "environment": workspace.environment,
            "cost_center": workspace.cost_center,
            "region": region,
            "commit": commit,
            "artifact_bucket": workspace.artifact_bucket.bucket_name,
            "data_bucket": workspace.data_bucket.bucket_name,
            "executions_folder": workspace.outputs,
            "no_champion_uri": code.uri("no_champion"),
            "no_verdict_uri": code.uri("no_verdict"),
            "kms_key_arn": workspace.key.key_arn,
            "model_package_group": registry.group_name,
            "processing_role_arn": processing.role.role_arn,
            "training_role_arn": training.role.role_arn,
            **images,
            **optional,
            **{f"{step}_code_uri": code.uri(step) for step in bundles},
            **{f"{step}_code_file": code.file(step) for step in bundles},
        }
        rendered = render_definition(project, project_folder=project_folder, placeholders=self.placeholders)
        if workspace.vpc is not None:
            vpc = workspace.vpc
            rendered = in_network(rendered, subnet_ids=vpc.subnet_ids, security_group_ids=vpc.security_group_ids)
        self.pipeline_name = workspace.name
        identity = _identity(project, definition, *images.values(), *map(code.file, bundles))
        most = project.limits.parallel_steps
        pipeline = sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=workspace.name,
            pipeline_description=project.description or None,
            pipeline_definition={"PipelineDefinitionBody": compact(rendered)},
            role_arn=pipeline_role.role.role_arn,
            tags=[CfnTag(key=TAG_CODE, value=identity)],
            parallelism_configuration={"MaxParallelExecutionSteps": most} if most else None,
        )
        pipeline.node.add_dependency(code, *jobs, pipeline_role, *parts)


def _identity(project: ModelProject, definition: str, *files: str) -> str:
    """The SHA-256 of what decides, with a snapshot, which model comes out: definition, settings, images and code."""
    decides = [definition, parameter_defaults(project), sorted(files)]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

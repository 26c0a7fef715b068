"""What data scientists' own copies of an inner loop run as, apart from the pipeline that the outer loop starts."""

from collections.abc import Mapping
from dataclasses import replace

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.job_roles import PipelineRole, ProcessingRole, ScoringRole, TrainingRole, Workspace
from dual_pipeline.model_registry import ModelRegistry
from dual_pipeline.sandbox_contract import FOLDER, copy_name, output_name
from dual_pipeline.service_role import ServiceRole

# What differs from one working tree to the next, which the copy's owner fills in.
_OWN = ("commit", "definition_hash")
_OWN_ENDINGS = ("_code_uri", "_code_file")


class Sandbox(Construct):
    """Roles, package group and schedule group of the copies `<environment>-<project>--<user>` of one inner loop.

    Copies read what the project's own jobs read and write below `<project>/sandbox/` only. Their models go to a group
    of their own: the endpoint's role reads nothing of it, so none of them can be deployed. A copy expires by a one-time
    schedule in `schedule_group`, which deletes it as `janitor_role`.

    `placeholders` are those of the deployed `definition`, `images` those that its jobs run; `outputs` holds, by the
    name of a stack output, those of a copy and what else is needed to make one.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workspace: Workspace,
        images: Mapping[str, str],
        definition: str,
        placeholders: Mapping[str, str],
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id_)
        sagemaker = permissions.sagemaker_arn(self)
        # Existing roles are the production jobs' own: copies never borrow them.
        apart = replace(workspace, outputs=FOLDER, existing_roles={})
        registry = ModelRegistry(
            self,
            "Registry",
            name=copy_name(workspace.name, FOLDER),
            description=f"Models of personal copies of {workspace.name}, never deployed",
            removal_policy=removal_policy,
        )
        processing = ProcessingRole(self, "Processing", workspace=apart, images=list(images.values()))
        training = TrainingRole(self, "Training", workspace=apart, image=images["xgboost_image"])
        job_roles = [processing.role, training.role]
        optional: dict[str, str] = {}
        if "scoring_role_arn" in placeholders:
            scoring = ScoringRole(self, "Scoring", workspace=apart, image=images["xgboost_image"])
            job_roles.append(scoring.role)
            optional["scoring_role_arn"] = scoring.role.role_arn
        pipeline = PipelineRole(
            self,
            "Execution",
            workspace=apart,
            images=list(images.values()),
            pipeline=copy_name(workspace.name, "*"),
            registry=registry,
            job_roles=job_roles,
            definition=definition,
        )
        self.schedule_group = copy_name(workspace.name, FOLDER)
        group = scheduler.CfnScheduleGroup(self, "Schedules", name=self.schedule_group)
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
        janitor = ServiceRole(
            self,
            "Janitor",
            service="scheduler",
            description=f"Deletes expired copies of {workspace.name}",
            statements=[
                iam.PolicyStatement(
                    sid="DeleteCopies",
                    actions=["sagemaker:DeletePipeline"],
                    resources=[f"{sagemaker}:pipeline/{copy_name(workspace.name, '*')}"],
                )
            ],
        )
        self.pipeline_role = pipeline.role
        self.janitor_role = janitor.role
        self.registry = registry
        shared = {
            name: value for name, value in placeholders.items() if name not in _OWN and not name.endswith(_OWN_ENDINGS)
        }
        copies = {
            **shared,
            "model_package_group": registry.group_name,
            "processing_role_arn": processing.role.role_arn,
            "training_role_arn": training.role.role_arn,
            **optional,
            "executions_folder": FOLDER,
        }
        self.outputs: Mapping[str, str] = {
            **{output_name(name): value for name, value in copies.items()},
            output_name("pipeline_role_arn"): pipeline.role.role_arn,
            output_name("janitor_role_arn"): janitor.role.role_arn,
            output_name("schedule_group"): group.ref,
        }
        if workspace.vpc is not None:
            self.outputs = {
                **self.outputs,
                output_name("subnet_ids"): ",".join(workspace.vpc.subnet_ids),
                output_name("security_group_ids"): ",".join(workspace.vpc.security_group_ids),
            }

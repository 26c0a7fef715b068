"""The project's own function that has the last word before a model is registered."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.job_roles import Workspace
from dual_pipeline.service_role import ServiceRole


class DecideFunction(Construct):
    """A Lambda function from a zip whose `handler.handler` reads an evaluation, and refuses by raising.

    A Lambda step waits ten minutes at the most.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-lambda
    """

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, code: Path) -> None:
        super().__init__(scope, id_)
        log_group = logs.LogGroup(
            self,
            "Logs",
            encryption_key=workspace.key,
            retention=logs.RetentionDays.SIX_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        evaluations = [f"{workspace.project}/{workspace.outputs}/*/evaluate/*"]
        role = ServiceRole(
            self,
            "Deciding",
            service="lambda",
            description=f"Decision on models of {workspace.name}",
            statements=[
                permissions.read_objects(sid="ReadEvaluations", bucket=workspace.artifact_bucket, keys=evaluations),
                # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#require-sse-kms
                iam.PolicyStatement(sid="Decrypt", actions=["kms:Decrypt"], resources=[workspace.key.key_arn]),
                permissions.write_log_group(log_group),
            ],
            existing_arn=workspace.existing_roles.get("decide"),
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Decides on models of {workspace.name}",
            code=lambda_.Code.from_asset(str(code)),
            environment_encryption=workspace.key,
            handler="handler.handler",
            log_group=log_group,
            role=role.role.without_policy_updates() if isinstance(role.role, iam.Role) else role.role,
            runtime=lambda_.Runtime.PYTHON_3_14,
            timeout=cdk.Duration.minutes(5),
        )
        # A function must not be asked before its role may answer.
        self.function.node.add_dependency(role)

"""What people may do: policies to attach to their own roles, apart from everything the platform runs as."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.job_roles import Workspace


class ApproverPolicy(iam.ManagedPolicy):
    """Look at a project's registered models and their reports, approve or reject them, and nothing else."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, group_arn: str) -> None:
        stack = cdk.Stack.of(scope)
        packages = f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}:model-package/{workspace.name}/*"
        reports = [f"{workspace.project}/executions/*/evaluate/*"]
        super().__init__(
            scope,
            id_,
            path=f"/dual-pipeline/{workspace.environment}/",
            description=f"Approve or reject models of {workspace.name}",
            statements=[
                # https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-approve.html
                iam.PolicyStatement(
                    sid="Decide",
                    actions=["sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"],
                    resources=[packages],
                ),
                iam.PolicyStatement(
                    sid="Browse",
                    actions=["sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages"],
                    resources=[group_arn],
                ),
                permissions.read_objects(sid="ReadReports", bucket=workspace.artifact_bucket, keys=reports),
                permissions.list_objects(sid="ListReports", bucket=workspace.artifact_bucket, prefixes=reports),
                _decrypt(workspace),
            ],
        )


class DataScientistPolicy(iam.ManagedPolicy):
    """Run personal copies of a project's inner loop, named `<environment>-<project>--...`, and read what jobs left.

    A copy runs as the project's own pipeline role; the pipeline that the outer loop starts can be read, not changed.
    """

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, pipeline_role: iam.IRole) -> None:
        stack = cdk.Stack.of(scope)
        sagemaker = f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}"
        logs = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:/aws/sagemaker"
        # No project's name holds two hyphens in a row, so no other project's pipeline looks like a copy.
        copies = f"{sagemaker}:pipeline/{workspace.name}--*"
        super().__init__(
            scope,
            id_,
            path=f"/dual-pipeline/{workspace.environment}/",
            description=f"Run copies of the inner loop of {workspace.name}",
            statements=[
                # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
                iam.PolicyStatement(
                    sid="RunCopies",
                    actions=[
                        "sagemaker:AddTags",
                        "sagemaker:CreatePipeline",
                        "sagemaker:DeletePipeline",
                        "sagemaker:RetryPipelineExecution",
                        "sagemaker:StartPipelineExecution",
                        "sagemaker:StopPipelineExecution",
                        "sagemaker:UpdatePipeline",
                    ],
                    resources=[copies],
                ),
                iam.PolicyStatement(
                    sid="PassPipelineRole",
                    actions=["iam:PassRole"],
                    resources=[pipeline_role.role_arn],
                    conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
                ),
                iam.PolicyStatement(
                    sid="ReadPipelines",
                    actions=[
                        "sagemaker:DescribePipeline",
                        "sagemaker:DescribePipelineDefinitionForExecution",
                        "sagemaker:DescribePipelineExecution",
                        "sagemaker:ListPipelineExecutionSteps",
                        "sagemaker:ListPipelineExecutions",
                        "sagemaker:ListPipelineParametersForExecution",
                    ],
                    resources=[f"{sagemaker}:pipeline/{workspace.name}", copies],
                ),
                iam.PolicyStatement(
                    sid="ReadJobs",
                    actions=["sagemaker:DescribeProcessingJob", "sagemaker:DescribeTrainingJob"],
                    resources=[f"{sagemaker}:{kind}/pipelines-*" for kind in ("processing-job", "training-job")],
                ),
                # https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
                iam.PolicyStatement(
                    sid="ReadLogs",
                    actions=["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
                    resources=[f"{logs}/{kind}:*" for kind in ("ProcessingJobs", "TrainingJobs")],
                ),
                permissions.read_objects(
                    sid="ReadSnapshots", bucket=workspace.data_bucket, keys=workspace.objects("snapshots")
                ),
                permissions.list_objects(
                    sid="ListSnapshots", bucket=workspace.data_bucket, prefixes=workspace.objects("snapshots")
                ),
                permissions.read_objects(
                    sid="ReadArtifacts", bucket=workspace.artifact_bucket, keys=workspace.objects("executions")
                ),
                permissions.list_objects(
                    sid="ListArtifacts", bucket=workspace.artifact_bucket, prefixes=workspace.objects("executions")
                ),
                _decrypt(workspace),
            ],
        )


def _decrypt(workspace: Workspace) -> iam.PolicyStatement:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#require-sse-kms
    return iam.PolicyStatement(sid="Decrypt", actions=["kms:Decrypt"], resources=[workspace.key.key_arn])

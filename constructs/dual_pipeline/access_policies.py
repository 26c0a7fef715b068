"""What people may do: policies to attach to their own roles, apart from everything the platform runs as."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.job_roles import Workspace
from dual_pipeline.loop_contract import outer_loop_name
from dual_pipeline.machine import machine_arn
from dual_pipeline.sandbox import Sandbox
from dual_pipeline.sandbox_contract import FOLDER, copy_name


class ApproverPolicy(iam.ManagedPolicy):
    """Look at a project's registered models, their reports and what the ledger says of them, and decide on them."""

    def __init__(
        self, scope: Construct, id_: str, *, workspace: Workspace, ledger: dynamodb.ITable, group_arn: str
    ) -> None:
        packages = f"{permissions.sagemaker_arn(scope)}:model-package/{workspace.name}/*"
        reports = [f"{workspace.project}/executions/*/evaluate/*"]
        super().__init__(
            scope,
            id_,
            path=f"/dual-pipeline/{workspace.environment}/",
            description=f"Approve or reject models of {workspace.name}",
            statements=[
                # https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-approve.html
                iam.PolicyStatement(sid="Look", actions=["sagemaker:DescribeModelPackage"], resources=[packages]),
                # An update of anything else names no status, and is refused.
                # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
                iam.PolicyStatement(
                    sid="Decide",
                    actions=["sagemaker:UpdateModelPackage"],
                    resources=[packages],
                    conditions={"StringEquals": {"sagemaker:ModelApprovalStatus": ["Approved", "Rejected"]}},
                ),
                iam.PolicyStatement(
                    sid="Browse", actions=["sagemaker:DescribeModelPackageGroup"], resources=[group_arn]
                ),
                _list_packages(),
                _find_stacks(),
                _read_ledger(workspace, ledger, "dynamodb:GetItem"),
                permissions.read_objects(sid="ReadReports", bucket=workspace.artifact_bucket, keys=reports),
                permissions.list_objects(sid="ListReports", bucket=workspace.artifact_bucket, prefixes=reports),
                _use_key(workspace, "kms:Decrypt"),
            ],
        )


class DataScientistPolicy(iam.ManagedPolicy):
    """Read what a project's inner loop did, and run personal copies of it where the environment has a sandbox.

    Copies are named `<environment>-<project>--...` and run as the sandbox's roles. The pipeline that the outer loop
    starts, its models and its endpoint can be looked at, not changed.
    """

    def __init__(
        self, scope: Construct, id_: str, *, workspace: Workspace, ledger: dynamodb.ITable, sandbox: Sandbox | None
    ) -> None:
        super().__init__(
            scope,
            id_,
            path=f"/dual-pipeline/{workspace.environment}/",
            description=f"Read the inner loop of {workspace.name}" + (" and run copies of it" if sandbox else ""),
            statements=[
                *_read_runs(scope, workspace),
                *_read_release(scope, workspace, ledger),
                *_read_data(workspace),
                *(_run_copies(scope, workspace, sandbox) if sandbox else []),
                _use_key(workspace, "kms:Decrypt", *(["kms:GenerateDataKey"] if sandbox else [])),
            ],
        )


class OperatorPolicy(iam.ManagedPolicy):
    """Start, roll back, stop and explain a project's runs, as whoever is on call must.

    Every run goes through admission, gates, approval and the guarded release all the same. An operator decides on no
    model, changes nothing that is deployed, and sees neither data nor models.
    """

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, ledger: dynamodb.ITable) -> None:
        reports = workspace.objects("drift", "executions/*/evaluate", "runs")
        super().__init__(
            scope,
            id_,
            path=f"/dual-pipeline/{workspace.environment}/",
            description=f"Start, roll back, stop and explain runs of {workspace.name}",
            statements=[
                *_read_runs(scope, workspace),
                *_read_release(scope, workspace, ledger),
                *_operate(scope, workspace),
                permissions.read_objects(sid="ReadReports", bucket=workspace.artifact_bucket, keys=reports),
                permissions.list_objects(sid="ListReports", bucket=workspace.artifact_bucket, prefixes=reports),
                _use_key(workspace, "kms:Decrypt"),
            ],
        )


def _operate(scope: Construct, workspace: Workspace) -> list[iam.PolicyStatement]:
    stack = cdk.Stack.of(scope)
    here = f"{stack.region}:{stack.account}"
    machines = [f"{workspace.name}-*", f"{workspace.environment}-reaper"]
    groups = (
        f"/aws/vendedlogs/states/{workspace.environment}-*",
        f"/aws/sagemaker/Endpoints/{workspace.name}",
        "/aws-glue/jobs*",
    )
    return [
        # The reaper is started again where it broke off; it only cleans up after runs that have ended.
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
        iam.PolicyStatement(
            sid="StartRuns",
            actions=["states:StartExecution"],
            resources=[
                machine_arn(stack, outer_loop_name(workspace.environment, workspace.project)),
                machine_arn(stack, f"{workspace.environment}-reaper"),
            ],
        ),
        iam.PolicyStatement(
            sid="FindRuns",
            actions=["states:DescribeStateMachine", "states:ListExecutions"],
            resources=[machine_arn(stack, machine) for machine in machines],
        ),
        iam.PolicyStatement(
            sid="FollowRuns",
            actions=["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"],
            resources=[f"arn:{stack.partition}:states:{here}:execution:{machine}:*" for machine in machines],
        ),
        iam.PolicyStatement(
            sid="SeeAlarms",
            actions=["cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms"],
            resources=[f"arn:{stack.partition}:cloudwatch:{here}:alarm:{workspace.environment}-*"],
        ),
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsglue.html
        iam.PolicyStatement(
            sid="SeeDataJobs",
            actions=["glue:GetJobRun", "glue:GetJobRuns"],
            resources=[f"arn:{stack.partition}:glue:{here}:job/{workspace.name}-*"],
        ),
        _read_logs(stack, groups, sid="ReadMoreLogs"),
    ]


def _read_runs(scope: Construct, workspace: Workspace) -> list[iam.PolicyStatement]:
    sagemaker, stack = permissions.sagemaker_arn(scope), cdk.Stack.of(scope)
    groups = [workspace.name, copy_name(workspace.name, FOLDER)]
    kinds = ("processing-job", "training-job", "transform-job")
    return [
        _find_stacks(),
        # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
        iam.PolicyStatement(
            sid="ReadPipelines",
            actions=[
                "sagemaker:DescribePipeline",
                "sagemaker:DescribePipelineDefinitionForExecution",
                "sagemaker:DescribePipelineExecution",
                "sagemaker:ListPipelineExecutionSteps",
                "sagemaker:ListPipelineExecutions",
                "sagemaker:ListPipelineParametersForExecution",
                "sagemaker:ListTags",
            ],
            resources=[f"{sagemaker}:pipeline/{name}" for name in _with_executions(workspace)],
        ),
        iam.PolicyStatement(
            sid="ReadJobs",
            actions=[
                "sagemaker:DescribeProcessingJob",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:DescribeTransformJob",
            ],
            resources=[f"{sagemaker}:{kind}/*" for kind in kinds],
        ),
        iam.PolicyStatement(
            sid="ReadTuning",
            actions=[
                "sagemaker:DescribeHyperParameterTuningJob",
                "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
            ],
            resources=[f"{sagemaker}:hyper-parameter-tuning-job/*"],
        ),
        iam.PolicyStatement(
            sid="ReadModels",
            actions=["sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup"],
            resources=[
                *(f"{sagemaker}:model-package-group/{name}" for name in groups),
                *(f"{sagemaker}:model-package/{name}/*" for name in groups),
            ],
        ),
        _list_packages(),
        _read_logs(
            stack,
            [f"/aws/sagemaker/{kind}" for kind in ("ProcessingJobs", "TrainingJobs", "TransformJobs")],
            sid="ReadLogs",
        ),
    ]


def _read_logs(stack: cdk.Stack, groups: Sequence[str], *, sid: str) -> iam.PolicyStatement:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
    here = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group"
    return iam.PolicyStatement(
        sid=sid,
        actions=["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
        resources=[f"{here}:{group}:*" for group in groups],
    )


def _read_release(scope: Construct, workspace: Workspace, ledger: dynamodb.ITable) -> list[iam.PolicyStatement]:
    """What serves and where it came from, for `dual-pipeline plan` and `lineage`."""
    return [
        _read_ledger(workspace, ledger, "dynamodb:GetItem", "dynamodb:Query"),
        iam.PolicyStatement(
            sid="ReadEndpoint",
            actions=["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
            resources=[
                f"{permissions.sagemaker_arn(scope)}:{resource}"
                for resource in (
                    f"endpoint/{workspace.name}",
                    f"endpoint-config/{workspace.name}-*",
                    f"model/{workspace.name}-*",
                )
            ],
        ),
    ]


def _find_stacks() -> iam.PolicyStatement:
    # The command line finds an environment's stacks by their tags, which takes a look at all of them:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
    return iam.PolicyStatement(
        sid="FindStacks", actions=["cloudformation:DescribeStacks", "cloudformation:ListStacks"], resources=["*"]
    )


def _read_ledger(workspace: Workspace, ledger: dynamodb.ITable, *actions: str) -> iam.PolicyStatement:
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    return iam.PolicyStatement(
        sid="ReadLedger",
        actions=list(actions),
        resources=[ledger.table_arn],
        conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"PROJECT#{workspace.project}"]}},
    )


def _list_packages() -> iam.PolicyStatement:
    # The reference names no resource for it:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
    return iam.PolicyStatement(sid="ListPackages", actions=["sagemaker:ListModelPackages"], resources=["*"])


def _with_executions(workspace: Workspace) -> list[str]:
    return [workspace.name, f"{workspace.name}/*", copy_name(workspace.name, "*")]


def _read_data(workspace: Workspace) -> list[iam.PolicyStatement]:
    snapshots, artifacts = workspace.objects("snapshots"), workspace.objects("code", "executions", FOLDER)
    return [
        permissions.read_objects(sid="ReadSnapshots", bucket=workspace.data_bucket, keys=snapshots),
        permissions.list_objects(sid="ListSnapshots", bucket=workspace.data_bucket, prefixes=snapshots),
        permissions.read_objects(sid="ReadArtifacts", bucket=workspace.artifact_bucket, keys=artifacts),
        permissions.list_objects(sid="ListArtifacts", bucket=workspace.artifact_bucket, prefixes=artifacts),
    ]


def _run_copies(scope: Construct, workspace: Workspace, sandbox: Sandbox) -> list[iam.PolicyStatement]:
    stack = cdk.Stack.of(scope)
    schedules = f"arn:{stack.partition}:scheduler:{stack.region}:{stack.account}:schedule/{sandbox.schedule_group}/*"
    return [
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
            resources=[f"{permissions.sagemaker_arn(scope)}:pipeline/{copy_name(workspace.name, '*')}"],
        ),
        iam.PolicyStatement(sid="FindCopies", actions=["sagemaker:ListPipelines"], resources=["*"]),
        permissions.pass_roles(sandbox.pipeline_role, sid="PassPipelineRole", service="sagemaker"),
        # Code lies under its own hash: what is there is never written again.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
        iam.PolicyStatement(
            sid="AddCode",
            actions=["s3:PutObject"],
            resources=[workspace.artifact_bucket.arn_for_objects(key) for key in workspace.objects("code")],
            conditions={"Null": {"s3:if-none-match": "false"}},
        ),
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html
        iam.PolicyStatement(
            sid="ExpireCopies",
            actions=[
                "scheduler:CreateSchedule",
                "scheduler:DeleteSchedule",
                "scheduler:GetSchedule",
                "scheduler:UpdateSchedule",
            ],
            resources=[schedules],
        ),
        permissions.pass_roles(sandbox.janitor_role, sid="PassJanitorRole", service="scheduler"),
    ]


def _use_key(workspace: Workspace, *actions: str) -> iam.PolicyStatement:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#require-sse-kms
    return iam.PolicyStatement(sid="UseKey", actions=list(actions), resources=[workspace.key.key_arn])

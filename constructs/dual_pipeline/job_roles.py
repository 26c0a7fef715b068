"""The roles of one project, one per kind of job: what each may read, write and start, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.environment import VpcConfig
from dual_pipeline.model_registry import ModelRegistry
from dual_pipeline.rollback_alarms import rollback_alarm_names
from dual_pipeline.service_role import ServiceRole


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a project's jobs live: its buckets, the key, the network, and roles that exist already by kind.

    `outputs` is the folder of the artifact bucket, below the project's, that the inner loop's jobs write.
    """

    environment: str
    cost_center: str
    project: str
    data_bucket: s3.IBucket
    artifact_bucket: s3.IBucket
    key: kms.IKey
    vpc: VpcConfig | None = None
    existing_roles: Mapping[str, str] = field(default_factory=dict)
    outputs: str = "executions"

    @property
    def name(self) -> str:
        """What the project's operators type: `<environment>-<project>`."""
        return f"{self.environment}-{self.project}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The folders of the artifact bucket that the inner loop's jobs read: code, artifacts and their own outputs."""
        return tuple(dict.fromkeys(("code", "executions", self.outputs)))

    def objects(self, *folders: str) -> list[str]:
        """Key patterns of the objects in the project's `folders` of a bucket."""
        return [f"{self.project}/{folder}/*" for folder in folders]


class ProcessingRole(ServiceRole):
    """What preprocessing and evaluation run as: snapshot and earlier artifacts in, artifacts out."""

    def __init__(
        self, scope: Construct, id_: str, *, workspace: Workspace, image: str, code: Sequence[s3_assets.Asset]
    ) -> None:
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Processing jobs of {workspace.name}",
            statements=_job_statements(scope, workspace, image=image, code=code, kind="ProcessingJobs"),
            existing_arn=workspace.existing_roles.get("processing"),
        )


class TrainingRole(ServiceRole):
    """What training runs as: prepared data in, a model out."""

    def __init__(
        self, scope: Construct, id_: str, *, workspace: Workspace, image: str, code: Sequence[s3_assets.Asset]
    ) -> None:
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Training jobs of {workspace.name}",
            statements=_job_statements(scope, workspace, image=image, code=code, kind="TrainingJobs"),
            existing_arn=workspace.existing_roles.get("training"),
        )


class PipelineRole(ServiceRole):
    """What SageMaker Pipelines acts as: it starts this project's jobs, reads their reports and registers models."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workspace: Workspace,
        image: str,
        registry: ModelRegistry,
        job_roles: Sequence[iam.IRole],
    ) -> None:
        stack = cdk.Stack.of(scope)
        sagemaker = f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}"
        packages = f"{sagemaker}:model-package/{registry.group_name}/*"
        jobs = [f"{sagemaker}:{kind}/pipelines-*" for kind in ("processing-job", "training-job")]
        statements = [
            # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
            iam.PolicyStatement(
                sid="RunJobs",
                actions=[
                    "sagemaker:AddTags",
                    "sagemaker:CreateProcessingJob",
                    "sagemaker:CreateTrainingJob",
                    "sagemaker:DescribeProcessingJob",
                    "sagemaker:DescribeTrainingJob",
                    "sagemaker:StopProcessingJob",
                    "sagemaker:StopTrainingJob",
                ],
                resources=jobs,
            ),
            iam.PolicyStatement(
                sid="PassJobRoles",
                actions=["iam:PassRole"],
                resources=[role.role_arn for role in job_roles],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
            # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
            iam.PolicyStatement(
                sid="RegisterModels",
                actions=["sagemaker:AddTags", "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage"],
                resources=[registry.group_arn, packages],
            ),
            iam.PolicyStatement(
                sid="DescribeGroup",
                actions=["sagemaker:DescribeModelPackageGroup"],
                resources=[registry.group_arn],
            ),
            # Property files and model data are read as the pipeline's role:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-propertyfile.html
            permissions.read_objects(
                sid="ReadReports", bucket=workspace.artifact_bucket, keys=workspace.objects(*workspace.inputs)
            ),
            permissions.list_objects(
                sid="ListReports", bucket=workspace.artifact_bucket, prefixes=workspace.objects(*workspace.inputs)
            ),
            *permissions.pull_image(scope, image=image),
            *permissions.use_key(workspace.key),
        ]
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Inner loop of {workspace.name}",
            statements=statements,
            existing_arn=workspace.existing_roles.get("pipeline"),
        )


class EndpointRole(ServiceRole):
    """What the endpoint's containers run as: they read a model, answer, and capture what they were asked."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, image: str) -> None:
        stack = cdk.Stack.of(scope)
        alarms = f"arn:{stack.partition}:cloudwatch:{stack.region}:{stack.account}:alarm"
        statements = [
            # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms
            permissions.read_objects(
                sid="ReadModels", bucket=workspace.artifact_bucket, keys=workspace.objects("executions")
            ),
            # https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
            permissions.write_objects(
                sid="WriteCapture", bucket=workspace.artifact_bucket, keys=workspace.objects("capture")
            ),
            permissions.list_objects(
                sid="ListModels", bucket=workspace.artifact_bucket, prefixes=workspace.objects("executions", "capture")
            ),
            permissions.write_logs(scope, log_groups=f"/aws/sagemaker/Endpoints/{workspace.name}"),
            permissions.put_metrics(namespaces=["/aws/sagemaker/Endpoints", "AWS/SageMaker"]),
            # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
            iam.PolicyStatement(
                sid="WatchRollbackAlarms",
                actions=["cloudwatch:DescribeAlarms"],
                resources=[f"{alarms}:{name}" for name in rollback_alarm_names(workspace.name)],
            ),
            *permissions.pull_image(scope, image=image),
            *permissions.use_key(workspace.key),
            *_network(scope, workspace),
        ]
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Endpoint of {workspace.name}",
            statements=statements,
            existing_arn=workspace.existing_roles.get("endpoint"),
        )


class IngestRole(ServiceRole):
    """What ingestion runs as: raw files in, a snapshot and a result out."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, code: Sequence[s3_assets.Asset]) -> None:
        super().__init__(
            scope,
            id_,
            service="glue",
            description=f"Data ingestion of {workspace.name}",
            statements=_glue_statements(scope, workspace, code=code, reads="raw", writes=("snapshots", "runs")),
            existing_arn=workspace.existing_roles.get("ingest"),
        )


class QualityRole(ServiceRole):
    """What the data-quality job runs as: a snapshot in, a verdict out."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, code: Sequence[s3_assets.Asset]) -> None:
        super().__init__(
            scope,
            id_,
            service="glue",
            description=f"Data quality of {workspace.name}",
            statements=_glue_statements(scope, workspace, code=code, reads="snapshots", writes=("runs",)),
            existing_arn=workspace.existing_roles.get("quality"),
        )


def _job_statements(
    scope: Construct, workspace: Workspace, *, image: str, code: Sequence[s3_assets.Asset], kind: str
) -> list[iam.PolicyStatement]:
    artifacts = workspace.objects(*workspace.inputs)
    snapshots = workspace.objects("snapshots")
    return [
        permissions.read_objects(sid="ReadSnapshots", bucket=workspace.data_bucket, keys=snapshots),
        permissions.list_objects(sid="ListSnapshots", bucket=workspace.data_bucket, prefixes=snapshots),
        permissions.read_objects(sid="ReadArtifacts", bucket=workspace.artifact_bucket, keys=artifacts),
        permissions.list_objects(sid="ListArtifacts", bucket=workspace.artifact_bucket, prefixes=artifacts),
        permissions.write_objects(
            sid="WriteArtifacts", bucket=workspace.artifact_bucket, keys=workspace.objects(workspace.outputs)
        ),
        *(permissions.read_assets(sid="Code", assets=code) if code else []),
        permissions.write_logs(scope, log_groups=f"/aws/sagemaker/{kind}"),
        permissions.put_metrics(namespaces=[f"/aws/sagemaker/{kind}"]),
        *permissions.pull_image(scope, image=image),
        *permissions.use_key(workspace.key),
        *_network(scope, workspace),
    ]


def _glue_statements(
    scope: Construct, workspace: Workspace, *, code: Sequence[s3_assets.Asset], reads: str, writes: Sequence[str]
) -> list[iam.PolicyStatement]:
    stack = cdk.Stack.of(scope)
    # Hadoop's S3A, the default of Glue 5.1, also asks for the folder itself, without a slash, before it writes to it:
    # https://docs.aws.amazon.com/glue/latest/dg/migrating-version-51.html
    folders = [f"{workspace.project}/{folder}" for folder in (reads, *writes)]
    written = workspace.objects(*writes)
    return [
        permissions.read_objects(
            sid="ReadData",
            bucket=workspace.data_bucket,
            keys=[*folders, *workspace.objects(reads, *writes)],
        ),
        permissions.write_objects(sid="WriteData", bucket=workspace.data_bucket, keys=written),
        # The output committer removes its own temporary objects.
        iam.PolicyStatement(
            sid="RemoveTemporaryData",
            actions=["s3:DeleteObject"],
            resources=[workspace.data_bucket.arn_for_objects(key) for key in written],
        ),
        # A missing object answers 404 only to who may list the whole bucket, and S3A tells "missing" from "denied":
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        iam.PolicyStatement(sid="ListData", actions=["s3:ListBucket"], resources=[workspace.data_bucket.bucket_arn]),
        *permissions.read_assets(sid="Code", assets=code),
        # https://docs.aws.amazon.com/glue/latest/dg/set-up-encryption.html
        permissions.write_logs(scope, log_groups="/aws-glue/*"),
        iam.PolicyStatement(
            sid="EncryptLogs",
            actions=["logs:AssociateKmsKey"],
            resources=[f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:/aws-glue/*"],
        ),
        permissions.put_metrics(namespaces=["Glue"]),
        permissions.use_key(workspace.key)[0],
    ]


def _network(scope: Construct, workspace: Workspace) -> list[iam.PolicyStatement]:
    if workspace.vpc is None:
        return []
    return permissions.join_vpc(
        scope, subnet_ids=workspace.vpc.subnet_ids, security_group_ids=workspace.vpc.security_group_ids
    )

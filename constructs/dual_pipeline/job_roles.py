"""The roles of one project, one per kind of job: what each may read, write and start, and nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.definition import all_steps
from dual_pipeline.environment import VpcConfig
from dual_pipeline.loop_contract import CAPTURE_FOLDER, DRIFT_FOLDER, GROUND_TRUTH_FOLDER, RECORDS, SCORES
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
    """What processing jobs run as: snapshot, code and earlier artifacts in, artifacts out."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, images: Sequence[str]) -> None:
        snapshots = workspace.objects("snapshots")
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Processing jobs of {workspace.name}",
            statements=[
                permissions.read_objects(sid="ReadSnapshots", bucket=workspace.data_bucket, keys=snapshots),
                permissions.list_objects(sid="ListSnapshots", bucket=workspace.data_bucket, prefixes=snapshots),
                *_job_statements(scope, workspace, images=images, kind="ProcessingJobs"),
            ],
            existing_arn=workspace.existing_roles.get("processing"),
        )


class TrainingRole(ServiceRole):
    """What training and tuning run as: prepared data in, a model out; with `checkpoints` also what Spot interrupted.

    `snapshots` are the folders of the data bucket, below the project's, that its jobs read themselves.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workspace: Workspace,
        image: str,
        checkpoints: bool = False,
        snapshots: Sequence[str] = (),
    ) -> None:
        read = workspace.objects(*snapshots)
        data = [
            permissions.read_objects(sid="ReadSnapshots", bucket=workspace.data_bucket, keys=read),
            permissions.list_objects(sid="ListSnapshots", bucket=workspace.data_bucket, prefixes=read),
        ]
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Training jobs of {workspace.name}",
            statements=[
                *(data if snapshots else []),
                *_job_statements(
                    scope,
                    workspace,
                    images=[image],
                    kind="TrainingJobs",
                    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
                    keeps=["checkpoints"] if checkpoints else [],
                ),
            ],
            existing_arn=workspace.existing_roles.get("training"),
        )


class ScoringRole(ServiceRole):
    """What batch scoring runs as: records and a model in, answers out."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, image: str) -> None:
        records = workspace.objects("scoring")
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Batch scoring of {workspace.name}",
            statements=[
                permissions.read_objects(sid="ReadRecords", bucket=workspace.data_bucket, keys=records),
                permissions.list_objects(sid="ListRecords", bucket=workspace.data_bucket, prefixes=records),
                *_job_statements(scope, workspace, images=[image], kind="TransformJobs"),
            ],
            existing_arn=workspace.existing_roles.get("scoring"),
        )


class PipelineRole(ServiceRole):
    """What SageMaker Pipelines acts as: it starts this project's jobs, reads their reports and registers models.

    It may do what the steps of `definition` take. `pipeline` is the name, or a pattern of the names, of the pipelines
    that run as it; `check_queue` is where it asks an outside system, `decide_function` the function that it asks, if it
    has such steps.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workspace: Workspace,
        images: Sequence[str],
        pipeline: str,
        registry: ModelRegistry,
        job_roles: Sequence[iam.IRole],
        definition: str,
        check_queue: sqs.IQueue | None = None,
        decide_function: lambda_.IFunction | None = None,
    ) -> None:
        sagemaker = permissions.sagemaker_arn(scope)
        packages = f"{sagemaker}:model-package/{registry.group_name}/*"
        readable = workspace.objects(*workspace.inputs)
        statements = [
            *_step_statements(json.loads(definition), sagemaker=sagemaker, pipeline=pipeline),
            permissions.pass_roles(*job_roles, sid="PassJobRoles", service="sagemaker"),
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
            permissions.read_objects(sid="ReadReports", bucket=workspace.artifact_bucket, keys=readable),
            permissions.list_objects(sid="ListReports", bucket=workspace.artifact_bucket, prefixes=readable),
            *permissions.pull_images(scope, images=images),
            *permissions.use_key(workspace.key),
        ]
        if check_queue is not None:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-callback
            statements.append(
                iam.PolicyStatement(sid="Ask", actions=["sqs:SendMessage"], resources=[check_queue.queue_arn])
            )
        if decide_function is not None:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-lambda
            statements.append(
                iam.PolicyStatement(
                    sid="LetDecide", actions=["lambda:InvokeFunction"], resources=[decide_function.function_arn]
                )
            )
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
            *permissions.pull_images(scope, images=[image]),
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


class BatchRole(ServiceRole):
    """What models released to batch run as: they read a model and records, and write scores."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, image: str) -> None:
        records, scores = workspace.objects(RECORDS), workspace.objects(SCORES)
        models = workspace.objects("executions")
        data, artifacts = workspace.data_bucket, workspace.artifact_bucket
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Batch inference of {workspace.name}",
            # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms
            statements=[
                permissions.read_objects(sid="ReadRecords", bucket=data, keys=records),
                permissions.list_objects(sid="ListRecords", bucket=data, prefixes=records),
                permissions.read_objects(sid="ReadModels", bucket=artifacts, keys=models),
                permissions.list_objects(sid="ListModels", bucket=artifacts, prefixes=models),
                permissions.write_objects(sid="WriteScores", bucket=artifacts, keys=scores),
                *_running(scope, workspace, images=[image], kind="TransformJobs"),
            ],
            existing_arn=workspace.existing_roles.get("batch"),
        )


class IngestRole(ServiceRole):
    """What ingestion runs as: raw files in, a snapshot and a result out."""

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, code: Sequence[s3_assets.Asset]) -> None:
        super().__init__(
            scope,
            id_,
            service="glue",
            description=f"Data ingestion of {workspace.name}",
            statements=_glue_statements(scope, workspace, code=code, reads=("raw",), writes=("snapshots", "runs")),
            existing_arn=workspace.existing_roles.get("ingest"),
        )


class QualityRole(ServiceRole):
    """What the data-quality job runs as: a snapshot and the history in; a verdict, the history, and, where rows are set
    apart, those and a snapshot of the others out.
    """

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, code: Sequence[s3_assets.Asset]) -> None:
        super().__init__(
            scope,
            id_,
            service="glue",
            description=f"Data quality of {workspace.name}",
            statements=_glue_statements(
                scope, workspace, code=code, reads=(), writes=("snapshots", "runs", "quality", "quarantine")
            ),
            existing_arn=workspace.existing_roles.get("quality"),
        )


class DriftRole(ServiceRole):
    """What the drift job runs as: captured data, labels and the champion's evaluation in, a report out."""

    def __init__(
        self, scope: Construct, id_: str, *, workspace: Workspace, image: str, code: Sequence[s3_assets.Asset]
    ) -> None:
        artifacts, data = workspace.artifact_bucket, workspace.data_bucket
        readable = workspace.objects("executions", CAPTURE_FOLDER)
        labels = workspace.objects(GROUND_TRUTH_FOLDER)
        super().__init__(
            scope,
            id_,
            service="sagemaker",
            description=f"Drift of {workspace.name}",
            statements=[
                permissions.read_objects(sid="ReadCapture", bucket=artifacts, keys=readable),
                permissions.list_objects(sid="ListCapture", bucket=artifacts, prefixes=readable),
                permissions.read_objects(sid="ReadLabels", bucket=data, keys=labels),
                permissions.list_objects(sid="ListLabels", bucket=data, prefixes=labels),
                permissions.write_objects(sid="WriteReports", bucket=artifacts, keys=workspace.objects(DRIFT_FOLDER)),
                *permissions.read_assets(sid="Code", assets=code),
                *_running(scope, workspace, images=[image], kind="ProcessingJobs"),
            ],
            existing_arn=workspace.existing_roles.get("drift"),
        )


# What a step of a type makes, by the noun of its API calls and its kind of ARN. SageMaker Pipelines names such things
# `pipelines-<execution id>-<step>-<suffix>`.
_MADE = {
    "Processing": ("ProcessingJob", "processing-job"),
    "Training": ("TrainingJob", "training-job"),
    "Transform": ("TransformJob", "transform-job"),
}


def _step_statements(definition: Mapping[str, Any], *, sagemaker: str, pipeline: str) -> Iterator[iam.PolicyStatement]:
    """What starting, following and stopping the steps takes.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
    """
    steps = list(all_steps(definition["Steps"]))
    types = {step["Type"] for step in steps}
    made = [each for type_, each in _MADE.items() if type_ in types]
    yield iam.PolicyStatement(
        sid="RunJobs",
        actions=[
            "sagemaker:AddTags",
            *(f"sagemaker:{verb}{noun}" for noun, _ in made for verb in ("Create", "Describe", "Stop")),
        ],
        resources=[f"{sagemaker}:{kind}/pipelines-*" for _, kind in made],
    )
    # A tuning job's name has 32 characters at the most, so `pipelines-` does not fit: it is the execution's id, the
    # step's first 8 characters and a suffix.
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
    # IAM tells upper from lower case, and SageMaker has spelled the step in ARNs both as named and in lower case:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/run-pipeline.html
    names = [step["Name"][:8] for step in steps if step["Type"] == "Tuning"]
    tuners = sorted({*names, *(name.lower() for name in names)})
    if tuners:
        yield iam.PolicyStatement(
            sid="Tune",
            actions=[
                "sagemaker:AddTags",
                "sagemaker:CreateHyperParameterTuningJob",
                "sagemaker:DescribeHyperParameterTuningJob",
                "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
                "sagemaker:StopHyperParameterTuningJob",
            ],
            resources=[f"{sagemaker}:hyper-parameter-tuning-job/*-{name}-*" for name in tuners],
        )
    if "Model" in types:
        yield iam.PolicyStatement(
            sid="CreateModels",
            actions=["sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:DescribeModel"],
            resources=[f"{sagemaker}:model/pipelines-*"],
        )
    if definition.get("PipelineExperimentConfig"):
        # An experiment by the pipeline's name, a trial by the execution's id, a component by each job's name:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-experiments.html
        yield iam.PolicyStatement(
            sid="TrackExperiments",
            actions=[
                "sagemaker:AddTags",
                "sagemaker:AssociateTrialComponent",
                "sagemaker:CreateExperiment",
                "sagemaker:CreateTrial",
                "sagemaker:CreateTrialComponent",
                "sagemaker:DescribeExperiment",
                "sagemaker:DescribeTrial",
                "sagemaker:DescribeTrialComponent",
                "sagemaker:UpdateTrialComponent",
            ],
            resources=[
                f"{sagemaker}:experiment/{pipeline}",
                f"{sagemaker}:experiment-trial/*",
                f"{sagemaker}:experiment-trial-component/pipelines-*",
            ],
        )


def _job_statements(
    scope: Construct, workspace: Workspace, *, images: Sequence[str], kind: str, keeps: Sequence[str] = ()
) -> list[iam.PolicyStatement]:
    """What every job takes; it reads and writes `keeps` too, folders of the artifact bucket beside the executions'."""
    readable = workspace.objects(*workspace.inputs, *keeps)
    bucket = workspace.artifact_bucket
    return [
        permissions.read_objects(sid="ReadArtifacts", bucket=bucket, keys=readable),
        permissions.list_objects(sid="ListArtifacts", bucket=bucket, prefixes=readable),
        permissions.write_objects(
            sid="WriteArtifacts", bucket=bucket, keys=workspace.objects(workspace.outputs, *keeps)
        ),
        *_running(scope, workspace, images=images, kind=kind),
    ]


def _running(scope: Construct, workspace: Workspace, *, images: Sequence[str], kind: str) -> list[iam.PolicyStatement]:
    """What running takes, whatever is read and written: logs and metrics of the kind, images, key and network."""
    return [
        permissions.write_logs(scope, log_groups=f"/aws/sagemaker/{kind}"),
        permissions.put_metrics(namespaces=[f"/aws/sagemaker/{kind}"]),
        *permissions.pull_images(scope, images=images),
        *permissions.use_key(workspace.key),
        *_network(scope, workspace),
    ]


def _glue_statements(
    scope: Construct,
    workspace: Workspace,
    *,
    code: Sequence[s3_assets.Asset],
    reads: Sequence[str],
    writes: Sequence[str],
) -> list[iam.PolicyStatement]:
    stack = cdk.Stack.of(scope)
    # Hadoop's S3A, the default of Glue 5.1, also asks for the folder itself, without a slash, before it writes to it:
    # https://docs.aws.amazon.com/glue/latest/dg/migrating-version-51.html
    folders = [f"{workspace.project}/{folder}" for folder in (*reads, *writes)]
    written = workspace.objects(*writes)
    return [
        permissions.read_objects(
            sid="ReadData",
            bucket=workspace.data_bucket,
            keys=[*folders, *workspace.objects(*reads, *writes)],
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

"""IAM statements that jobs need, each beside the page that asks for it."""

import re
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct


def sagemaker_arn(scope: Construct) -> str:
    """How the ARN of everything of SageMaker begins in the account and region of `scope`."""
    stack = cdk.Stack.of(scope)
    return f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}"


def pass_roles(*roles: iam.IRole, sid: str, service: str) -> iam.PolicyStatement:
    """Hand `roles` to a service, by the first part of its principal's name, and to no other."""
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    return iam.PolicyStatement(
        sid=sid,
        actions=["iam:PassRole"],
        resources=[role.role_arn for role in roles],
        conditions={"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}},
    )


def read_objects(*, sid: str, bucket: s3.IBucket, keys: Sequence[str]) -> iam.PolicyStatement:
    """Read the objects of `bucket` whose keys match `keys`, old versions too."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    return iam.PolicyStatement(
        sid=sid,
        actions=["s3:GetObject", "s3:GetObjectVersion"],
        resources=[bucket.arn_for_objects(key) for key in keys],
    )


def write_objects(*, sid: str, bucket: s3.IBucket, keys: Sequence[str]) -> iam.PolicyStatement:
    """Write objects of `bucket` whose keys match `keys`, in parts if they are large."""
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
    return iam.PolicyStatement(
        sid=sid,
        actions=["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
        resources=[bucket.arn_for_objects(key) for key in keys],
    )


def list_objects(*, sid: str, bucket: s3.IBucket, prefixes: Sequence[str]) -> iam.PolicyStatement:
    """List those keys of `bucket` that match `prefixes`."""
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html#condition-key-bucket-ops-2
    return iam.PolicyStatement(
        sid=sid,
        actions=["s3:ListBucket"],
        resources=[bucket.bucket_arn],
        conditions={"StringLike": {"s3:prefix": list(prefixes)}},
    )


def read_assets(*, sid: str, assets: Sequence[s3_assets.Asset]) -> list[iam.PolicyStatement]:
    """Read exactly these deployed files, and list exactly their keys, as a job's input of type S3Prefix does."""
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    bucket = assets[0].bucket
    keys = [asset.s3_object_key for asset in assets]
    return [
        read_objects(sid=f"Read{sid}", bucket=bucket, keys=keys),
        list_objects(sid=f"List{sid}", bucket=bucket, prefixes=keys),
    ]


def use_key(key: kms.IKey) -> list[iam.PolicyStatement]:
    """Encrypt and decrypt with `key`, and let the service attach volumes under it."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    # https://docs.aws.amazon.com/kms/latest/developerguide/services-ebs.html#ebs-permissions
    return [
        iam.PolicyStatement(
            sid="UseKey",
            actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
            resources=[key.key_arn],
        ),
        iam.PolicyStatement(
            sid="AttachVolumes",
            actions=["kms:CreateGrant"],
            resources=[key.key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    ]


def write_logs(scope: Construct, *, log_groups: str) -> iam.PolicyStatement:
    """Write to the log groups that match `log_groups`, which the service creates on first use."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    stack = cdk.Stack.of(scope)
    arn = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:{log_groups}"
    return iam.PolicyStatement(
        sid="WriteLogs",
        actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        resources=[arn, f"{arn}:*"],
    )


def write_log_group(log_group: logs.ILogGroup) -> iam.PolicyStatement:
    """Write to a log group that exists already, as a Lambda function with a group of its own does."""
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
    return iam.PolicyStatement(
        sid="WriteLogs",
        actions=["logs:CreateLogStream", "logs:PutLogEvents"],
        resources=[log_group.log_group_arn],
    )


def put_metrics(*, namespaces: Sequence[str]) -> iam.PolicyStatement:
    """Publish metrics in `namespaces`; CloudWatch knows no resource for it, so the condition is the scope."""
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
    return iam.PolicyStatement(
        sid="PutMetrics",
        actions=["cloudwatch:PutMetricData"],
        resources=["*"],
        conditions={"StringEquals": {"cloudwatch:namespace": list(namespaces)}},
    )


def pull_images(scope: Construct, *, images: Sequence[str]) -> list[iam.PolicyStatement]:
    """Pull `images`, each given as `<account>.dkr.ecr.<region>.<domain>/<repository>:<tag>`."""
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_id-based-policy-examples.html
    return [
        iam.PolicyStatement(sid="LogInToImages", actions=["ecr:GetAuthorizationToken"], resources=["*"]),
        iam.PolicyStatement(
            sid="PullImages",
            actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            resources=[repository_arn(scope, image) for image in images],
        ),
    ]


def repository_arn(scope: Construct, image: str) -> str:
    """The repository of an image `<account>.dkr.ecr.<region>.<domain>/<repository>:<tag>`; raises ValueError."""
    if cdk.Token.is_unresolved(image):
        raise ValueError("image must be known at synth, got a token: choose the image by the environment's region")
    parts = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[a-z.]+/([\w./-]+):[\w.-]+", image)
    if parts is None:
        raise ValueError(f"image must be <account>.dkr.ecr.<region>.<domain>/<repository>:<tag>, got {image!r}")
    account, region, repository = parts.groups()
    return f"arn:{cdk.Stack.of(scope).partition}:ecr:{region}:{account}:repository/{repository}"


def join_vpc(
    scope: Construct, *, subnet_ids: Sequence[str], security_group_ids: Sequence[str]
) -> list[iam.PolicyStatement]:
    """Attach a job to these subnets and security groups."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    stack = cdk.Stack.of(scope)
    ec2 = f"arn:{stack.partition}:ec2:{stack.region}:{stack.account}"
    interfaces = f"{ec2}:network-interface/*"
    subnets = [f"{ec2}:subnet/{id_}" for id_ in subnet_ids]
    return [
        iam.PolicyStatement(
            sid="CreateInterfaces",
            actions=["ec2:CreateNetworkInterface"],
            resources=[interfaces, *subnets, *(f"{ec2}:security-group/{id_}" for id_ in security_group_ids)],
        ),
        iam.PolicyStatement(
            sid="AttachInterfaces",
            actions=[
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            resources=[interfaces],
            conditions={"ArnEquals": {"ec2:Subnet": subnets}},
        ),
        iam.PolicyStatement(
            sid="DescribeNetwork",
            actions=[
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            resources=["*"],
        ),
    ]

"""Step code and definitions kept for good: what made a model is there as long as the model is."""

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from dual_pipeline import permissions
from dual_pipeline.job_roles import Workspace
from dual_pipeline.service_role import ServiceRole


class RetainedCode(Construct):
    """Files of the deployed checkout, as `<project>/code/<hash>.<ending>` in the artifact bucket; none is ever removed.

    CDK's own assets may be garbage-collected, and with them what a registered model was made by. A JSON file's hash is
    the SHA-256 of its text. Whatever reads a file at deployment depends on this construct.
    """

    def __init__(self, scope: Construct, id_: str, *, workspace: Workspace, files: Mapping[str, Path]) -> None:
        super().__init__(scope, id_)
        self._folder = f"s3://{workspace.artifact_bucket.bucket_name}/{workspace.project}/code"
        assets = {name: _asset(self, name, path) for name, path in files.items()}
        self._keys = {name: asset.s3_object_key for name, asset in assets.items()}
        log_group = logs.LogGroup(
            self,
            "Logs",
            encryption_key=workspace.key,
            retention=logs.RetentionDays.SIX_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = ServiceRole(
            self,
            "Copying",
            service="lambda",
            description=f"Keeps the code of {workspace.name}",
            statements=_statements(workspace, assets=list(assets.values()), log_group=log_group),
            existing_arn=workspace.existing_roles.get("code"),
        )
        deployment = s3_deployment.BucketDeployment(
            self,
            "Copies",
            sources=[s3_deployment.Source.bucket(asset.bucket, asset.s3_object_key) for asset in assets.values()],
            # Known by its name only: the construct would tag the bucket of another stack, once per project.
            destination_bucket=s3.Bucket.from_bucket_name(self, "Bucket", workspace.artifact_bucket.bucket_name),
            destination_key_prefix=f"{workspace.project}/code/",
            extract=False,
            prune=False,
            retain_on_delete=True,
            output_object_keys=False,
            log_group=log_group,
            # The construct's own grants are wider than the statements above.
            role=role.role.without_policy_updates() if isinstance(role.role, iam.Role) else role.role,
        )
        deployment.node.add_dependency(role)

    def file(self, name: str) -> str:
        """The file's name: its hash and ending."""
        return self._keys[name]

    def uri(self, name: str) -> str:
        """Where the file lies."""
        return f"{self._folder}/{self._keys[name]}"


def _asset(scope: Construct, name: str, path: Path) -> s3_assets.Asset:
    # A hash that is given is hashed once more, so that a text becomes its own SHA-256.
    text = path.read_text(encoding="utf-8") if path.suffix == ".json" else None
    id_ = "".join(word.capitalize() for word in name.split("_"))
    return s3_assets.Asset(scope, f"{id_}File", path=str(path), asset_hash=text)


def _statements(
    workspace: Workspace, *, assets: list[s3_assets.Asset], log_group: logs.ILogGroup
) -> list[iam.PolicyStatement]:
    bucket = workspace.artifact_bucket
    return [
        # The function runs `aws s3 cp` and `aws s3 sync`:
        # https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_s3_deployment-readme.html
        iam.PolicyStatement(
            sid="ReadAssets",
            actions=["s3:GetObject"],
            resources=[asset.bucket.arn_for_objects(asset.s3_object_key) for asset in assets],
        ),
        permissions.write_objects(sid="WriteCode", bucket=bucket, keys=workspace.objects("code")),
        permissions.list_objects(sid="ListCode", bucket=bucket, prefixes=[f"{workspace.project}/code/"]),
        permissions.use_key(workspace.key)[0],
        permissions.write_log_group(log_group),
    ]

"""Buckets as every environment wants them: versioned, private, encrypted in transit and at rest, kept by default."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct


class AccessLogBucket(s3.Bucket):
    """Where the other buckets log who read and wrote what; S3 delivers such logs only to a bucket with S3's own key.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
    """

    def __init__(self, scope: Construct, id_: str, *, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(
            scope,
            id_,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            lifecycle_rules=[
                s3.LifecycleRule(expiration=cdk.Duration.days(365), noncurrent_version_expiration=cdk.Duration.days(30))
            ],
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            versioned=True,
        )


class DataStore(s3.Bucket):
    """A versioned bucket under the environment's key; `sends_events` reports every change of an object to EventBridge.

    Versions are kept: a run is reproducible as long as the bytes it read are there. Only what lies below a prefix of
    `expirations` goes after its time, and its old versions a week later.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        key: kms.IKey,
        access_logs: s3.IBucket,
        removal_policy: cdk.RemovalPolicy,
        expirations: Mapping[str, cdk.Duration] | None = None,
        sends_events: bool = False,
    ) -> None:
        super().__init__(
            scope,
            id_,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            bucket_key_enabled=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            enforce_ssl=True,
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(7)),
                *(
                    s3.LifecycleRule(
                        prefix=prefix, expiration=after, noncurrent_version_expiration=cdk.Duration.days(7)
                    )
                    for prefix, after in (expirations or {}).items()
                ),
            ],
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{id_}/",
            versioned=True,
        )
        if sends_events:
            # The L2's event_bridge_enabled brings a custom-resource Lambda; the property itself needs none.
            bucket = self.node.default_child
            assert isinstance(bucket, s3.CfnBucket)
            bucket.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)

"""A Spark job of AWS Glue as both jobs of the outer loop want it."""

import hashlib
import math

import aws_cdk as cdk
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct


class GlueSecurity(Construct):
    """Encryption of what Glue itself writes (data, logs, bookmarks) with the environment's key.

    Source: https://docs.aws.amazon.com/glue/latest/dg/encryption-security-configuration.html
    """

    def __init__(self, scope: Construct, id_: str, *, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        # Every change replaces a security configuration, which must have a name: it follows the key. The ARN of a key
        # that is made here is not known yet, its place in the tree is.
        identity = key.node.addr if cdk.Token.is_unresolved(key.key_arn) else key.key_arn
        name = cdk.Names.unique_resource_name(self, max_length=246, separator="-")
        configuration = glue.CfnSecurityConfiguration(
            self,
            "Configuration",
            name=f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}",
            encryption_configuration=glue.CfnSecurityConfiguration.EncryptionConfigurationProperty(
                cloud_watch_encryption=glue.CfnSecurityConfiguration.CloudWatchEncryptionProperty(
                    cloud_watch_encryption_mode="SSE-KMS", kms_key_arn=key.key_arn
                ),
                job_bookmarks_encryption=glue.CfnSecurityConfiguration.JobBookmarksEncryptionProperty(
                    job_bookmarks_encryption_mode="CSE-KMS", kms_key_arn=key.key_arn
                ),
                s3_encryptions=[
                    glue.CfnSecurityConfiguration.S3EncryptionProperty(
                        s3_encryption_mode="SSE-KMS", kms_key_arn=key.key_arn
                    )
                ],
            ),
        )
        self.name = configuration.ref


class GlueJob(Construct):
    """A Glue 5.1 job under `name`, run once at a time and never retried by Glue: the outer loop decides on retries.

    `library` is a zip on the job's Python path.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        role: iam.IRole,
        script: s3_assets.Asset,
        library: s3_assets.Asset,
        security: GlueSecurity,
        worker_type: str,
        workers: int,
        timeout: cdk.Duration,
    ) -> None:
        super().__init__(scope, id_)
        # https://docs.aws.amazon.com/glue/latest/webapi/API_CreateJob.html
        if not cdk.Token.is_unresolved(workers) and workers < 2:
            raise ValueError(f"workers must be at least 2, got {workers}: a driver needs an executor")
        minutes = timeout.to_minutes(integral=False)
        if not 1 <= minutes <= 7 * 24 * 60:
            raise ValueError(f"timeout must be from 1 minute to 7 days, got {minutes:g} minutes")
        job = glue.CfnJob(
            self,
            "Job",
            name=name,
            description=description,
            role=role.role_arn,
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl", python_version="3", script_location=script.s3_object_url
            ),
            default_arguments={
                "--extra-py-files": library.s3_object_url,
                "--enable-metrics": "true",
                "--job-language": "python",
            },
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=1),
            glue_version="5.1",
            max_retries=0,
            number_of_workers=workers,
            security_configuration=security.name,
            timeout=math.ceil(minutes),
            worker_type=worker_type,
        )
        job.node.add_dependency(role)
        self.job_name = name

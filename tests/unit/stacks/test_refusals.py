"""Constructs refuse what cannot work before anything is deployed."""

from typing import cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk.assertions import Template

from dual_pipeline.glue_job import GlueJob, GlueSecurity
from dual_pipeline.permissions import pull_images


@pytest.fixture
def stack() -> cdk.Stack:
    return cdk.Stack(cdk.App(), "Stack")


@pytest.mark.parametrize("image", ["xgboost:1", "nginx", "123.dkr.ecr.eu-west-1.amazonaws.com/xgboost:1"])
def test_image_outside_ecr_is_refused(stack: cdk.Stack, image: str) -> None:
    """An image that no ECR permission could name is refused."""
    with pytest.raises(ValueError, match=f"image must be .*, got '{image}'"):
        pull_images(stack, images=[image])


def test_image_unknown_at_synth_is_refused(stack: cdk.Stack) -> None:
    """An image behind a token has no repository to name in a policy."""
    with pytest.raises(ValueError, match="image must be known at synth"):
        pull_images(stack, images=[cdk.Aws.STACK_NAME])


@pytest.mark.parametrize(
    ("workers", "minutes", "message"),
    [
        (1, 60, "workers must be at least 2, got 1"),
        (2, 0, "timeout must be from 1 minute to 7 days, got 0 minutes"),
        (2, 10081, "timeout must be from 1 minute to 7 days, got 10081 minutes"),
    ],
)
def test_glue_job_that_glue_would_refuse(stack: cdk.Stack, workers: int, minutes: int, message: str) -> None:
    """Sizes and time limits that Glue does not take are refused with the value got."""
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("glue.amazonaws.com"))
    file = s3_assets.Asset(stack, "File", path=__file__)
    with pytest.raises(ValueError, match=message):
        GlueJob(
            stack,
            "Job",
            name="job",
            description="job",
            role=role,
            script=file,
            library=file,
            security=GlueSecurity(stack, "Security", key=cdk.aws_kms.Key(stack, "Key")),
            worker_type="G.1X",
            workers=workers,
            timeout=cdk.Duration.minutes(minutes),
        )


def test_another_key_is_another_glue_security() -> None:
    """Glue replaces a security configuration whose key changes, which CloudFormation only does under another name."""

    def name(key_arn: str | None) -> str:
        stack = cdk.Stack(cdk.App(), "Stack")
        key = kms.Key.from_key_arn(stack, "Given", key_arn) if key_arn else kms.Key(stack, "Key")
        GlueSecurity(stack, "Security", key=key)
        found = Template.from_stack(stack).find_resources("AWS::Glue::SecurityConfiguration")
        (properties,) = (resource["Properties"] for resource in found.values())
        return str(properties["Name"])

    keys = [f"arn:aws:kms:eu-west-1:111122223333:key/{at}2345678-1234-1234-1234-123456789012" for at in (1, 2)]
    names = [name(key) for key in (None, *keys)]
    assert 3 == len(set(names))
    assert names == [name(key) for key in (None, *keys)]


def test_glue_job_sized_by_token(stack: cdk.Stack) -> None:
    """A size known only at deployment is not judged at synth."""
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("glue.amazonaws.com"))
    file = s3_assets.Asset(stack, "File", path=__file__)
    GlueJob(
        stack,
        "Job",
        name="job",
        description="job",
        role=role,
        script=file,
        library=file,
        security=GlueSecurity(stack, "Security", key=cdk.aws_kms.Key(stack, "Key")),
        worker_type="G.1X",
        workers=cast(int, cdk.Token.as_number({"Ref": "Workers"})),
        timeout=cdk.Duration.minutes(5),
    )

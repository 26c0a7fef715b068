"""The CDK's BucketDeployment, done here: its Lambda function runs the AWS CLI from a layer built for AWS's Linux.

It asks S3 for what the function would ask for, as the function's role, so that a missing permission shows. Modelled is
what copies files as they are and keeps them (`extract=False, prune=False, retain_on_delete=True`).
Source: aws-cdk-lib/aws-s3-deployment/README.md and the handler that it deploys.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from . import sessions
from .errors import ApiError

RESOURCE_TYPE: Final = "Custom::CDKBucketDeployment"

Properties = Mapping[str, Any]
_ONLY: Final = {"Extract": "false", "Prune": "false", "RetainOnDelete": "true"}
_LAMBDA: Final = "lambda.amazonaws.com"


def create(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, dict[str, Any]]:
    """Copy the sources and name the deployment."""
    _copy(properties)
    return f"aws.cdk.s3deployment.{uuid.uuid4()}", _attributes(properties)


def update(identifier: str, _old: Properties, new: Properties, _stack: str) -> tuple[str, dict[str, Any]]:
    """Copy the sources of the new template; those of the old one stay."""
    _copy(new)
    return identifier, _attributes(new)


def delete(_identifier: str, _properties: Properties) -> None:
    """Leave everything where it is."""


def _attributes(properties: Properties) -> dict[str, Any]:
    return {"DestinationBucketArn": properties.get("DestinationBucketArn"), "SourceObjectKeys": []}


def _copy(properties: Properties) -> None:
    for name, wanted in _ONLY.items():
        if (given := str(properties.get(name, "true")).lower()) != wanted:
            raise ValueError(f"{RESOURCE_TYPE} with {name}={given} is not modelled by the local emulator")
    token = properties["ServiceToken"]
    try:
        role = sessions.root_client("lambda").get_function_configuration(FunctionName=token)["Role"]
        s3 = sessions.client(role, "s3", service=_LAMBDA, source_arn=token)
        bucket, folder = properties["DestinationBucketName"], str(properties.get("DestinationBucketKeyPrefix", ""))
        folder = f"{folder.strip('/')}/" if folder.strip("/") else ""
        sources = [
            (key.rpartition("/")[2], s3.get_object(Bucket=source, Key=key)["Body"].read())
            for source, key in zip(properties["SourceBucketNames"], properties["SourceObjectKeys"], strict=True)
        ]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
        there = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}
        for name, content in sources:
            if there.get(f"{folder}{name}") != len(content):
                s3.put_object(Bucket=bucket, Key=f"{folder}{name}", Body=content)
    except (ApiError, ClientError) as error:
        raise ValueError(
            f"Received response status [FAILED] from custom resource. Message returned: {error}"
        ) from error

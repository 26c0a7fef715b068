"""What stays of an environment when its stacks are gone: how much it is, what it costs, and how a person removes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.deployment import Clients

from .absence import unless_absent
from .price_table import Amount, PriceTable
from .stacks import BUCKET, KEY, LOG_GROUP, PACKAGE_GROUP, TABLE, Resource

# A bucket of more versions than this is counted no further: 1,000 a page.
_MOST_PAGES = 100
_GIB = 1024**3
_LOOKS = {
    BUCKET: ("s3", "head_bucket", "Bucket"),
    TABLE: ("dynamodb", "describe_table", "TableName"),
    KEY: ("kms", "describe_key", "KeyId"),
    PACKAGE_GROUP: ("sagemaker", "describe_model_package_group", "ModelPackageGroupName"),
}
# https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html
_ENDING = ("PendingDeletion", "PendingReplicaDeletion")
_OF_GLUE = "/aws-glue/"
_LOG_GROUPS = (
    "/aws/sagemaker/ProcessingJobs",
    "/aws/sagemaker/TrainingJobs",
    "/aws/sagemaker/TransformJobs",
)


@dataclass(frozen=True, kw_only=True)
class KeptResource:
    """One thing that stays; `cost` is what it costs in a month, None if no price is known. Only a key has its `arn`."""

    resource: Resource
    size: str
    cost: Amount | None
    how: str
    arn: str = ""


def measure(aws: Clients, resources: Iterable[Resource], *, prices: PriceTable, region: str) -> Iterator[KeptResource]:
    """What of `resources` still exists, with its size and price a month."""
    for resource in (each for each in resources if is_there(aws, each)):
        match resource.type:
            case "AWS::S3::Bucket":
                yield _bucket(aws, resource, prices, region)
            case "AWS::DynamoDB::Table":
                yield _table(aws, resource, prices, region)
            case "AWS::KMS::Key":
                yield _key(aws, resource, prices, region)
            case "AWS::SageMaker::ModelPackageGroup":
                yield _package_group(aws, resource)
            case _:
                yield KeptResource(resource=resource, size="", cost=None, how="delete it in the console")


def is_there(aws: Clients, resource: Resource) -> bool:
    """Whether a resource that a stack left is there still; a key that waits for its end is not."""
    if resource.type == LOG_GROUP:
        return any(each["logGroupName"] == resource.id for each in _log_groups(aws, resource.id))
    if resource.type not in _LOOKS:
        return True
    service, operation, name = _LOOKS[resource.type]
    look = getattr(aws.client(service), operation)
    found = unless_absent(lambda: look(**{name: resource.id.rpartition("/")[2]}))
    return found is not None and found.get("KeyMetadata", {}).get("KeyState") not in _ENDING


def job_logs(
    aws: Clients, name: str, *, secured_by: Collection[str], prices: PriceTable, region: str
) -> Iterator[KeptResource]:
    """Log groups that SageMaker and Glue made: most hold every project's logs, so nobody removes them for one.

    Glue names those of a job with a security configuration after it, and `secured_by` are the project's own:
    https://docs.aws.amazon.com/glue/latest/dg/monitor-continuous-logging-enable.html
    """
    of_endpoint = f"/aws/sagemaker/Endpoints/{name}"
    for begin in (*_LOG_GROUPS, of_endpoint, _OF_GLUE):
        for found in _log_groups(aws, begin):
            group = found["logGroupName"]
            if begin in (group, _OF_GLUE):
                size = found.get("storedBytes", 0)
                own = group == of_endpoint or any(each in group for each in secured_by)
                shared = "" if own else "may hold logs of others: "
                yield KeptResource(
                    resource=Resource(stack="", logical_id="", type=LOG_GROUP, id=group),
                    size=_bytes(size),
                    cost=prices.amount("logs-storage-gb-month", region, size / _GIB),
                    how=f"{shared}aws logs delete-log-group --log-group-name {group}",
                )


def _log_groups(aws: Clients, begin: str) -> Iterator[Mapping[str, Any]]:
    for page in aws.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=begin):
        yield from page["logGroups"]


def lone_endpoint(listed: Mapping[str, Any]) -> KeptResource:
    """An endpoint that nobody removed, for nothing says whose it is."""
    name = listed["EndpointName"]
    return KeptResource(
        resource=Resource(stack="", logical_id="", type="AWS::SageMaker::Endpoint", id=name),
        size=listed["EndpointStatus"],
        cost=None,
        how=f"runs, and bears no tags that say whose it is: aws sagemaker delete-endpoint --endpoint-name {name}",
    )


def _bucket(aws: Clients, resource: Resource, prices: PriceTable, region: str) -> KeptResource:
    size = versions = 0
    pages = aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=resource.id)
    more = ""
    for number, page in enumerate(pages):
        for version in page.get("Versions", []):
            size, versions = size + version["Size"], versions + 1
        if number + 1 == _MOST_PAGES and page.get("IsTruncated"):
            more = "more than "
            break
    return KeptResource(
        resource=resource,
        size=f"{more}{_bytes(size)} in {versions:,} versions",
        cost=prices.amount("s3-standard-gb-month", region, size / _GIB),
        how=f"empty it with all versions in the console, then aws s3api delete-bucket --bucket {resource.id}",
    )


def _table(aws: Clients, resource: Resource, prices: PriceTable, region: str) -> KeptResource:
    table = aws.client("dynamodb").describe_table(TableName=resource.id)["Table"]
    size = table.get("TableSizeBytes", 0)
    return KeptResource(
        resource=resource,
        size=f"{_bytes(size)} in {table.get('ItemCount', 0):,} items",
        cost=prices.amount("dynamodb-storage-gb-month", region, size / _GIB),
        how=(
            f"aws dynamodb update-table --table-name {resource.id} --no-deletion-protection-enabled, then aws dynamodb"
            f" delete-table --table-name {resource.id}"
        ),
    )


def _key(aws: Clients, resource: Resource, prices: PriceTable, region: str) -> KeptResource:
    key = aws.client("kms").describe_key(KeyId=resource.id)["KeyMetadata"]
    return KeptResource(
        resource=resource,
        size=key["KeyState"].lower(),
        cost=prices.amount("kms-key-month", region, 1),
        how=(
            "last, for all that it encrypted is lost with it: aws kms schedule-key-deletion --key-id"
            f" {resource.id} --pending-window-in-days 30"
        ),
        arn=key["Arn"],
    )


def _package_group(aws: Clients, resource: Resource) -> KeptResource:
    name = resource.id.rpartition("/")[2]
    pages = aws.client("sagemaker").get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
    count = sum(len(page["ModelPackageSummaryList"]) for page in pages)
    return KeptResource(
        resource=resource,
        size=f"{count:,} model packages",
        cost=Amount.nothing(),
        how=(
            "delete its versions (aws sagemaker delete-model-package), then aws sagemaker delete-model-package-group"
            f" --model-package-group-name {name}"
        ),
    )


def empty(aws: Clients, resource: Resource) -> None:
    """Delete what a bucket or a package group holds, which CloudFormation deletes empty only; one that is gone is."""
    unless_absent(lambda: _empty(aws, resource))


def holds_data(resource: Resource) -> bool:
    """Whether a resource is of the kinds that an environment's data lies in."""
    return resource.type in (BUCKET, TABLE, KEY, PACKAGE_GROUP)


def _empty(aws: Clients, resource: Resource) -> None:
    if resource.type == BUCKET:
        _empty_bucket(aws.client("s3"), resource.id)
    elif resource.type == PACKAGE_GROUP:
        sagemaker = aws.client("sagemaker")
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=resource.id.rpartition("/")[2]
        )
        for package in [each for page in pages for each in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])


def _empty_bucket(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if found:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"

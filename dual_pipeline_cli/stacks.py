"""The stacks of an environment as CloudFormation knows them, and what deleted ones left behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dual_pipeline.loop_contract import TAG_ENVIRONMENT, TAG_PROJECT
from dual_pipeline_local.deployment import Clients

from .absence import unless_absent

PACKAGE_GROUP, LOG_GROUP = "AWS::SageMaker::ModelPackageGroup", "AWS::Logs::LogGroup"
BUCKET, TABLE, KEY = "AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key"
# The identifier that CloudFormation imports a resource of a type by; each equals the resource's physical id.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
IDENTIFIERS: Mapping[str, str] = {
    BUCKET: "BucketName",
    TABLE: "TableName",
    KEY: "KeyId",
    PACKAGE_GROUP: "ModelPackageGroupArn",
    LOG_GROUP: "LogGroupName",
}
_NOT_BEGUN = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of a stack; `id` is its physical one."""

    stack: str
    logical_id: str
    type: str
    id: str


@dataclass(frozen=True, kw_only=True)
class DeployedStack:
    """A stack that exists; `project` is None for what all projects of its environment share."""

    name: str
    project: str | None
    status: str


@dataclass(frozen=True, kw_only=True)
class DeletedStack:
    """A stack that was deleted, and the resources that stayed."""

    id: str
    name: str
    deleted: datetime
    kept: tuple[Resource, ...]


class Stacks:
    """What CloudFormation says of the stacks of an account."""

    def __init__(self, aws: Clients) -> None:
        self._cloudformation = aws.client("cloudformation")

    def deployed(self, environment: str) -> list[DeployedStack]:
        """The stacks whose tags name an environment, in order of their names."""
        found = []
        for page in self._pages("describe_stacks"):
            for stack in page["Stacks"]:
                tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
                # what an aborted import or deployment leaves holds nothing
                if tags.get(TAG_ENVIRONMENT) == environment and stack["StackStatus"] != "REVIEW_IN_PROGRESS":
                    project = tags.get(TAG_PROJECT)
                    found.append(DeployedStack(name=stack["StackName"], project=project, status=stack["StackStatus"]))
        return sorted(found, key=lambda stack: stack.name)

    def exists(self, name: str) -> bool:
        """Whether a stack of that name exists; what failed to begin does not, for CDK replaces it."""
        found = (stack for page in self._pages("describe_stacks") for stack in page["Stacks"])
        return any(each["StackName"] == name and each["StackStatus"] not in _NOT_BEGUN for each in found)

    def resources(self, name: str) -> list[Resource]:
        """What a stack holds, if it is there; after a deletion that failed half-way it still lists what is gone."""
        pages = unless_absent(lambda: list(self._pages("list_stack_resources", StackName=name))) or []
        return [
            Resource(
                stack=name,
                logical_id=each["LogicalResourceId"],
                type=each["ResourceType"],
                id=each["PhysicalResourceId"],
            )
            for page in pages
            for each in page["StackResourceSummaries"]
            if each.get("PhysicalResourceId") and each["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def retained(self, name: str) -> list[Resource]:
        """What would stay if a stack were deleted now, by the template that was deployed."""
        kept = {
            logical_id
            for logical_id, resource in (unless_absent(lambda: self._declared(name)) or {}).items()
            if resource.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate")
        }
        return [resource for resource in self.resources(name) if resource.logical_id in kept]

    def deleted(self, name: str) -> list[DeletedStack]:
        """Deleted stacks of that name, the latest first; CloudFormation remembers them for 90 days.

        Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
        """
        found = []
        for page in self._pages("list_stacks", StackStatusFilter=["DELETE_COMPLETE"]):
            for each in page["StackSummaries"]:
                if each["StackName"] == name:
                    events = list(self._events(each["StackId"]))
                    found.append(
                        DeletedStack(
                            id=each["StackId"],
                            name=name,
                            deleted=max(event["Timestamp"] for event in events),
                            kept=tuple(_skipped(events, name)),
                        )
                    )
        return sorted(found, key=lambda stack: stack.deleted, reverse=True)

    def left_by(self, name: str) -> Iterator[Resource]:
        """What every deleted stack of a name left, the latest first, each thing once; not what a stack holds again."""
        held = {each.id for each in self.resources(name)} if self.exists(name) else set()
        for deleted in self.deleted(name):
            for each in deleted.kept:
                if each.id not in held:
                    held.add(each.id)
                    yield each

    def _declared(self, name: str) -> dict[str, Any]:
        body = self._cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
        declared: dict[str, Any] = body["Resources"]
        return declared

    def _events(self, stack_id: str) -> Iterator[dict[str, Any]]:
        for page in self._pages("describe_stack_events", StackName=stack_id):
            yield from page["StackEvents"]

    def _pages(self, operation: str, **request: Any) -> Iterator[dict[str, Any]]:
        yield from self._cloudformation.get_paginator(operation).paginate(**request)


def _skipped(events: Iterable[Mapping[str, Any]], stack: str) -> Iterator[Resource]:
    """What CloudFormation did not delete because the template says so."""
    for event in events:
        if event["ResourceStatus"] == "DELETE_SKIPPED":
            yield Resource(
                stack=stack,
                logical_id=event["LogicalResourceId"],
                type=event["ResourceType"],
                id=event["PhysicalResourceId"],
            )

"""Personal copies of a deployed pipeline: SageMaker pipelines that run as the sandbox's roles and delete themselves."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline.loop_contract import TAG_COST_CENTER, TAG_ENVIRONMENT, TAG_PROJECT
from dual_pipeline.placeholders import PLACEHOLDERS
from dual_pipeline.sandbox_contract import TAG_EXPIRES, copy_name, output_name

from .environment import EnvironmentClient, EnvironmentTrouble
from .working_tree import StepCode

_DELETE = "arn:aws:scheduler:::aws-sdk:sagemaker:deletePipeline"
# Names of schedules have 64 characters at most, those of pipelines up to here 39.
_LONGEST_OWNER = 24
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeletePipeline.html: not while an execution runs, so
# the schedule tries again until it has ended.
_RETRIES = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One copy; `expires` is None when nothing will delete it."""

    owner: str
    pipeline: str
    modified: datetime
    expires: datetime | None


class Copies:
    """The copies of an environment's pipeline.

    Raises EnvironmentTrouble when the environment has no sandbox.
    """

    def __init__(self, environment: EnvironmentClient) -> None:
        if output_name("pipeline_role_arn") not in environment.outputs:
            raise EnvironmentTrouble(
                f"environment {environment.environment} has no sandbox for {environment.project}: copies of the"
                " pipeline run where environments.py says sandboxes=True and that is deployed, usually in dev"
            )
        self._environment = environment
        self._production = environment["PipelineName"]
        self._group = environment[output_name("schedule_group")]
        self._sagemaker = environment.client("sagemaker")
        self._scheduler = environment.client("scheduler")

    @property
    def placeholders(self) -> dict[str, str]:
        """What a definition's placeholders stand for in a copy, apart from its step code."""
        outputs = self._environment.outputs
        return {name: outputs[output_name(name)] for name in PLACEHOLDERS if output_name(name) in outputs}

    @property
    def network(self) -> dict[str, list[str]] | None:
        """The subnets and security groups that jobs run in, if the environment has a VPC."""
        names = ("subnet_ids", "security_group_ids")
        outputs = self._environment.outputs
        if any(output_name(name) not in outputs for name in names):
            return None
        return {name: outputs[output_name(name)].split(",") for name in names}

    def code_uri(self, code: StepCode) -> str:
        """Where a copy's step finds its code."""
        return f"s3://{self._environment[output_name('artifact_bucket')]}/{self._code_key(code)}"

    def keep(self, code: StepCode) -> None:
        """Upload a step's code under its hash, which nobody may write twice: what is there has the same bytes."""
        try:
            self._environment.client("s3").put_object(
                Bucket=self._environment[output_name("artifact_bucket")],
                Key=self._code_key(code),
                Body=code.content,
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise

    def name(self, owner: str) -> str:
        """The name of an owner's copy."""
        return copy_name(self._production, owner)

    def exists(self, owner: str) -> bool:
        """Whether the owner has a copy."""
        return self._described(owner) is not None

    def definition(self, owner: str) -> dict[str, Any]:
        """What an owner's copy runs.

        Raises EnvironmentTrouble when there is no such copy.
        """
        described = self._described(owner)
        if described is None:
            raise EnvironmentTrouble(
                f"there is no copy {self.name(owner)}: dual-pipeline sandbox up makes one, sandbox list shows all"
            )
        definition: dict[str, Any] = json.loads(described["PipelineDefinition"])
        return definition

    def put(self, owner: str, definition: str, *, expires: datetime, description: str) -> bool:
        """Create an owner's copy or bring it up to date, to be deleted at `expires`; True when it is new."""
        name = self.name(owner)
        self._expire(name, expires)
        request = {
            "PipelineName": name,
            "PipelineDescription": description,
            "PipelineDefinition": definition,
            "RoleArn": self._environment[output_name("pipeline_role_arn")],
        }
        tags = [{"Key": key, "Value": value} for key, value in self._tags(expires).items()]
        if self.exists(owner):
            arn = self._sagemaker.update_pipeline(**request)["PipelineArn"]
            self._sagemaker.add_tags(ResourceArn=arn, Tags=tags)
            return False
        self._sagemaker.create_pipeline(**request, ClientRequestToken=client_token(), Tags=tags)
        return True

    def remove(self, owner: str) -> None:
        """Delete an owner's copy, none of whose executions runs, and its schedule."""
        name = self.name(owner)
        self._sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=client_token())
        try:
            self._scheduler.delete_schedule(Name=name, GroupName=self._group)
        except self._scheduler.exceptions.ResourceNotFoundException:
            return

    def all(self) -> Iterator[Copy]:
        """Every copy, of whomever, in order of name."""
        prefix = self.name("")
        pages = self._sagemaker.get_paginator("list_pipelines").paginate(
            PipelineNamePrefix=self._production, SortBy="Name", SortOrder="Ascending"
        )
        for page in pages:
            for summary in page["PipelineSummaries"]:
                name = summary["PipelineName"]
                if name.startswith(prefix):
                    yield Copy(
                        owner=name.removeprefix(prefix),
                        pipeline=name,
                        modified=summary["LastModifiedTime"],
                        expires=self._expiry(name),
                    )

    def _code_key(self, code: StepCode) -> str:
        return f"{self._environment.project}/code/{code.file}"

    def _described(self, owner: str) -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = self._sagemaker.describe_pipeline(PipelineName=self.name(owner))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFound":
                return None
            raise
        return described

    def _tags(self, expires: datetime) -> Mapping[str, str]:
        return {
            TAG_ENVIRONMENT: self._environment.environment,
            TAG_PROJECT: self._environment.project,
            TAG_COST_CENTER: self._environment[output_name("cost_center")],
            TAG_EXPIRES: _moment(expires),
        }

    def _expire(self, name: str, expires: datetime) -> None:
        schedule = {
            "Name": name,
            "GroupName": self._group,
            "ScheduleExpression": f"at({_moment(expires)})",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": _DELETE,
                "RoleArn": self._environment[output_name("janitor_role_arn")],
                "Input": json.dumps({"PipelineName": name, "ClientRequestToken": client_token()}),
                "RetryPolicy": _RETRIES,
            },
        }
        try:
            self._scheduler.create_schedule(**schedule)
        except self._scheduler.exceptions.ConflictException:
            self._scheduler.update_schedule(**schedule)

    def _expiry(self, name: str) -> datetime | None:
        try:
            found = self._scheduler.get_schedule(Name=name, GroupName=self._group)
        except self._scheduler.exceptions.ResourceNotFoundException:
            return None
        return datetime.fromisoformat(found["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)


def owner_of(environment: EnvironmentClient, name: str | None) -> str:
    """Whose copy is meant: that of `name`, else of who calls, the IAM user or the session of an assumed role."""
    if name is not None:
        return clean_owner(name)
    arn: str = environment.client("sts").get_caller_identity()["Arn"]
    return clean_owner(re.split("[/:]", arn)[-1].partition("@")[0])


def clean_owner(name: str) -> str:
    """A name as a part of a pipeline's name: `Ann.Lee` -> `ann-lee`.

    Raises EnvironmentTrouble when nothing is left of it.
    """
    cleaned = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_LONGEST_OWNER].strip("-")
    if not cleaned:
        raise EnvironmentTrouble(f"{name!r} holds no letter or digit to name a copy by: give another with --name")
    return cleaned


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def client_token() -> str:
    """A new idempotency token, as long as SageMaker wants one."""
    return uuid.uuid4().hex

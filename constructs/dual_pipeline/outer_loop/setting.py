"""What the outer loop's states have to know: names, places and limits, all decided before anything runs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from dual_pipeline.asl import DYNAMODB_ERRORS, State, Statement, catch, jsonata, quote, retry, task
from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import (
    RECORDS,
    TAG_COST_CENTER,
    TAG_ENVIRONMENT,
    TAG_PROJECT,
    TAG_RUN,
    outer_loop_name,
)
from dual_pipeline.model_project import STARTING, ModelProject, Rollout

# How long a wait sleeps before it looks for itself.
SLICE_S = 900
STARTING_S = int(STARTING.total_seconds())
# How long a model's transform of its few golden rows may take.
CHECK_S = 900
# The name of the failed state and what it said; a job's own message where the error is a job's whole description, and
# before the service's words the code's: of a processing job's log AWS tells nothing.
# JSONata trips over a backslash before a bracket, so it is \x5c there.
CAUSE_TEXT = r"""(
  $cause := $states.errorOutput.Cause;
  $said := $match($cause, /"(ExitMessage|ErrorMessage|FailureReason)" *: *"((?:\\.|[^"\x5c])*)"/);
  $message := $append($said[groups[0] = 'ExitMessage'], $said)[0].groups[1];
  $states.context.State.Name & ' failed with ' & $states.errorOutput.Error
    & ($exists($cause) ? ': ' & $substring($exists($message) ? $message : $cause, 0, 1500) : '')
)"""
CAUSE = jsonata(CAUSE_TEXT)
# A name that a lost answer may have used already is never asked for again: each retry and each redrive has its own.
RETRY = "$states.context.State.RetryCount"
REDRIVE = "($exists($states.context.Execution.RedriveCount) ? $string($states.context.Execution.RedriveCount) : '0')"
# The epoch second, as DynamoDB takes numbers.
NOW_S = "$string($floor($millis() / 1000))"
LEDGER = [retry(DYNAMODB_ERRORS)]
FAILED_ASSIGNED: State = {"outcome": "failed", "failedState": jsonata("$states.context.State.Name"), "reason": CAUSE}
FAILED = catch(next_="FreeLocks", assign=FAILED_ASSIGNED)
# What sends an endpoint back, and in which state it showed.
WRONG_ASSIGNED: State = {"wrong": CAUSE, "wrongState": jsonata("$states.context.State.Name")}
# Approved means champion, or about to be: what fails in between leaves its package rejected.
FAILED_AFTER_APPROVAL = FAILED | {"Next": "RejectPackage"}


def endpoint_deadline_s(rollout: Rollout) -> int:
    """How long an endpoint may move: the rollout's own deadline, and half an hour for SageMaker's way back."""
    return seconds(rollout.deadline) + 1800


def read_item(table_name: str, key: State, *, assign: State, next_: str, catches: Sequence[State] = ()) -> State:
    """Read an item of the ledger as it is at this moment; `assign` takes it from `$states.result.Item`."""
    return task(
        "aws-sdk:dynamodb:getItem",
        arguments={"TableName": table_name, "Key": key, "ConsistentRead": True},
        timeout_s=60,
        retries=LEDGER,
        catches=catches,
        assign=assign,
        next_=next_,
    )


def in_seconds(seconds: int) -> str:
    """JSONata for the epoch second so many seconds from now, as DynamoDB takes numbers."""
    return f"$string($floor($millis() / 1000) + {seconds})"


def decoded(body: str) -> str:
    """JSONata for the JSON document in `body`: text, base64 of text, or already parsed.

    AWS does not document which of these a blob becomes in a task's result.
    """
    return (
        f"($b := {body}; $type($b) = 'string'"
        r" ? $parse($contains($b, /^\s*[\{\[]/) ? $b : $base64decode($b)) : $b)"
    )


def last_segment(arn: str) -> str:
    """JSONata for what follows the last slash of an ARN."""
    return f"$split({arn}, '/')[-1]"


def seconds(duration: timedelta) -> int:
    """Whole seconds of `duration`."""
    return int(duration.total_seconds())


def network_of(environment: Environment) -> State:
    """The network of an environment's jobs, as their requests take it; nothing without a VPC."""
    vpc = environment.vpc
    if vpc is None:
        return {}
    return {"VpcConfig": {"Subnets": list(vpc.subnet_ids), "SecurityGroupIds": list(vpc.security_group_ids)}}


@dataclass(frozen=True, kw_only=True)
class TrainingCode:
    """What a run's own training jobs are made of: the project's folder `alone` as a bundle, their image and role."""

    image: str
    role_arn: str
    uri: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One project's outer loop in one environment; strings may be CDK tokens.

    `repository_arn` is where the models' image comes from; `slice_s` is how long a wait lasts before the machine looks
    for itself, however events behave.
    """

    environment: Environment
    project: ModelProject
    partition: str
    account: str
    data_bucket: str
    artifact_bucket: str
    table_name: str
    key_arn: str
    topic_arn: str
    model_role_arn: str
    rollback_alarms: tuple[str, ...]
    starter_role_arn: str
    dead_letters_arn: str
    repository_arn: str = ""
    training_code: TrainingCode | None = None
    slice_s: int = SLICE_S

    @property
    def prefix(self) -> str:
        """`<environment>-<project>`: the name of pipeline, package group and endpoint, and the start of every other."""
        return f"{self.environment.name}-{self.project.name}"

    @property
    def machine_name(self) -> str:
        """The outer loop's own name."""
        return outer_loop_name(self.environment.name, self.project.name)

    @property
    def preflight_arn(self) -> str:
        """The machine that checks what a release needs."""
        return self.arn("states", f"stateMachine:{self.prefix}-preflight")

    @property
    def traffic_arn(self) -> str:
        """The machine that asks golden rows while a release bakes."""
        return self.arn("states", f"stateMachine:{self.prefix}-traffic")

    @property
    def raw_prefix(self) -> str:
        """Where raw files arrive in the data bucket."""
        return f"{self.project.name}/raw/"

    @property
    def records(self) -> str:
        """Where records that a released model scores in batch lie in the data bucket."""
        return f"{self.project.name}/{RECORDS}/"

    @property
    def snapshots(self) -> str:
        """Where the project's snapshots lie."""
        return f"s3://{self.data_bucket}/{self.project.name}/snapshots/"

    def is_snapshot(self, value: str) -> str:
        """JSONata for whether `value` is text that begins with where the project's snapshots lie."""
        place = quote(self.snapshots)
        return f"($u := {value}; $type($u) = 'string' ? $substring($u, 0, $length({place})) = {place} : false)"

    @property
    def approval_state(self) -> str:
        """The first state of the approval: people are asked unless the policy has approved already."""
        return "AwaitApproval" if self.project.approval.mode == "auto" else "AskForApproval"

    @property
    def training_state(self) -> str:
        """The first state of the expensive part."""
        return "ReadChampion" if self.project.inner_loop else "TrainModel"

    @property
    def checked_data_state(self) -> str:
        """What follows on data that passed its rules."""
        return "SmokeTrain" if self.project.smoke_training else self.training_state

    @property
    def smoke_limit_s(self) -> int:
        """How long the smoke training may take, the start of its instance included; nothing if there is none."""
        smoke = self.project.smoke_training
        return seconds(smoke.max_time) + STARTING_S if smoke else 0

    @property
    def training_lease_s(self) -> int:
        """Longer than everything between taking and freeing the training lock, retries included."""
        limits = self.project.limits
        phases = seconds(limits.ingest) + seconds(limits.quality) + self.smoke_limit_s + seconds(limits.training)
        return phases + self.slice_s + 2 * 3600

    @property
    def release_lease_s(self) -> int:
        """Longer than the endpoint may take to rest, to move, and to go back; in batch, than the transform jobs."""
        if self.project.scores_in_batch:
            return seconds(self.project.batch.max_time) + CHECK_S + 2 * STARTING_S + 2 * 3600
        return 3 * (self.endpoint_deadline_s + self.slice_s) + 2 * 3600

    @property
    def endpoint_deadline_s(self) -> int:
        """How long the project's endpoint may move."""
        return endpoint_deadline_s(self.project.rollout)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account and region by its name."""
        return f"arn:{self.partition}:{service}:{self.environment.region}:{self.account}:{resource}"

    def bucket_arn(self, bucket: str, path: str = "") -> str:
        """The ARN of a bucket, or of the objects at `path` in it."""
        return f"arn:{self.partition}:s3:::{bucket}" + (f"/{path}" if path else "")

    @property
    def schedule_group(self) -> str:
        """The group of the project's schedules: its own and those that start what was put off."""
        return self.machine_name

    @property
    def rules_hash(self) -> str:
        """A short name of the data-quality rules: other rules are another judgement of the same data."""
        return hashlib.sha256(self.project.ruleset.to_json().encode()).hexdigest()[:12]

    @property
    def table_arn(self) -> str:
        """The ledger's ARN."""
        return self.arn("dynamodb", f"table/{self.table_name}")

    def item_key(self, sort_key: str) -> State:
        """The key of one of the project's ledger items; `sort_key` is literal or `{% JSONata %}`."""
        return {"pk": {"S": f"PROJECT#{self.project.name}"}, "sk": {"S": sort_key}}

    @property
    def training_lock(self) -> State:
        """The key of the lock that one training run holds."""
        return self.item_key("LOCK#training")

    @property
    def release_lock(self) -> State:
        """The key of the lock that one release of the endpoint, or of the scores, holds."""
        return self.item_key(f"LOCK#release#{self.prefix}")

    @property
    def champion_key(self) -> State:
        """The key of the pointer to the model that serves."""
        return self.item_key(f"CHAMPION#{self.prefix}")

    def tags(self) -> list[State]:
        """Tags of everything a run makes."""
        values: Mapping[str, str] = {
            TAG_ENVIRONMENT: self.environment.name,
            TAG_PROJECT: self.project.name,
            TAG_RUN: jsonata("$runId"),
            TAG_COST_CENTER: self.environment.cost_center,
        }
        return [{"Key": key, "Value": value} for key, value in values.items()]

    def model(self, *, name: str, **container: object) -> State:
        """A request for CreateModel; `container` is its container, or its containers, by SageMaker's names.

        Serving calls nobody, and what it loads was made from data: it is isolated.
        """
        return {
            "ModelName": name,
            "ExecutionRoleArn": self.model_role_arn,
            **container,
            "EnableNetworkIsolation": True,
            "Tags": self.tags(),
            **self.network,
        }

    def passes_model_role(self) -> Statement:
        """What handing the model's role to CreateModel takes."""
        return Statement(
            actions=("iam:PassRole",),
            resources=(self.model_role_arn,),
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms",
        )

    @property
    def network(self) -> State:
        """The network of jobs and models, as their requests take it; nothing without a VPC."""
        return network_of(self.environment)

    def reads(self, bucket: str, path: str) -> tuple[Statement, Statement]:
        """What reading objects at `path` takes, and telling a missing one from a denied one.

        S3 answers 404 only to who may list the bucket; GetObject has no prefix, so a condition on it would never hold.
        """
        page = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestSyntax"
        return (
            Statement(actions=("s3:GetObject",), resources=(self.bucket_arn(bucket, path),), source=page),
            Statement(actions=("s3:ListBucket",), resources=(self.bucket_arn(bucket),), source=page),
        )

"""States of the Amazon States Language as plain JSON, and the IAM statements that running them takes.

The states speak JSONata: https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

State = dict[str, object]

# Errors worth another attempt, by integration; anything else fails at once. `SdkClientException` is the SDK's own
# connection trouble. SageMaker and S3 model few errors: throttling arrives as the service's base exception, which the
# optimised integration calls otherwise: https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
DYNAMODB_ERRORS = (
    "DynamoDb.InternalServerErrorException",
    "DynamoDb.ProvisionedThroughputExceededException",
    "DynamoDb.RequestLimitExceededException",
    "DynamoDb.SdkClientException",
    "DynamoDb.ThrottlingException",
    "DynamoDb.TransactionConflictException",
)
SAGEMAKER_ERRORS = ("SageMaker.SageMakerException", "SageMaker.SdkClientException")
SAGEMAKER_JOB_ERRORS = ("SageMaker.AmazonSageMakerException", "SageMaker.SdkClientException")
S3_ERRORS = ("S3.S3Exception", "S3.SdkClientException")
GLUE_ERRORS = (
    "Glue.ConcurrentRunsExceededException",
    "Glue.InternalServiceException",
    "Glue.OperationTimeoutException",
    "Glue.ResourceNumberLimitExceededException",
    "Glue.ThrottlingException",
)
SCHEDULER_ERRORS = (
    "Scheduler.InternalServerException",
    "Scheduler.SdkClientException",
    "Scheduler.ThrottlingException",
)
CLOUDWATCH_ERRORS = (
    "CloudWatch.CloudWatchException",
    "CloudWatch.InternalServiceException",
    "CloudWatch.SdkClientException",
)
CONDITION_FAILED = "DynamoDb.ConditionalCheckFailedException"
# JSONata for whether a call was refused for what is not there: SageMaker's error has no name of its own for it.
NOT_FOUND = "$contains($states.errorOutput.Cause & '', 'Could not find')"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """An IAM statement beside `source`, the page that asks for it; `reason` says why a resource is `*`."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    source: str
    conditions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        if "*" in self.resources and not self.reason:
            raise ValueError(f"a statement on every resource needs a reason, got {self.actions}: give one")


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """A part of a state machine: states by name, and what its role must be allowed."""

    states: Mapping[str, State]
    statements: tuple[Statement, ...] = ()


def jsonata(expression: str) -> str:
    """`expression` as a field's value."""
    return "{% " + expression + " %}"


def quote(text: str) -> str:
    """`text` as a JSONata string literal; JSONata knows JSON's escapes only."""
    return json.dumps(text, ensure_ascii=False)


def retry(errors: Sequence[str], *, attempts: int = 5, interval_s: int = 2, most_s: int = 60) -> State:
    """A retrier with full jitter, so that runs throttled together do not come back together."""
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": interval_s,
        "BackoffRate": 2,
        "MaxAttempts": attempts,
        "MaxDelaySeconds": most_s,
        "JitterStrategy": "FULL",
    }


def catch(*errors: str, next_: str, assign: Mapping[str, object] | None = None) -> State:
    """A catcher of `errors`; none means all that can be caught."""
    catcher: State = {"ErrorEquals": list(errors) or ["States.ALL"], "Next": next_}
    return catcher | {"Assign": dict(assign)} if assign else catcher


def task(
    integration: str,
    *,
    arguments: Mapping[str, object] | str,
    timeout_s: int,
    next_: str,
    retries: Sequence[State],
    catches: Sequence[State],
    assign: Mapping[str, object] | None = None,
) -> State:
    """A call of `integration`, such as `aws-sdk:s3:getObject`; its result is kept only as far as `assign` keeps it.

    `arguments` may be one JSONata value.
    """
    state: State = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{integration}",
        "Arguments": arguments if isinstance(arguments, str) else dict(arguments),
        "TimeoutSeconds": timeout_s,
        "Retry": list(retries),
        "Catch": list(catches),
        "Output": {},
        "Next": next_,
    }
    return state | {"Assign": dict(assign)} if assign else state


def assign(values: Mapping[str, object], *, next_: str) -> State:
    """A state that only sets variables."""
    return {"Type": "Pass", "Assign": dict(values), "Output": {}, "Next": next_}


def choice(
    *branches: tuple[str, str] | tuple[str, str, Mapping[str, object]],
    default: str,
    otherwise: Mapping[str, object] | None = None,
) -> State:
    """The first branch (condition, next state, variables to set) that holds, else `default`, setting `otherwise`."""
    choices: list[State] = []
    for condition, next_, *assigned in branches:
        rule: State = {"Condition": jsonata(condition), "Next": next_}
        choices.append(rule | {"Assign": dict(assigned[0])} if assigned and assigned[0] else rule)
    state: State = {"Type": "Choice", "Choices": choices, "Default": default}
    return state | {"Assign": dict(otherwise)} if otherwise else state

"""Task resources, member names and definitions, without a server."""

import json
from typing import Any

import pytest

from dual_pipeline_local import definitions, integrations, stepfunctions


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "arn:aws:states:::glue:startJobRun.sync",
        "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
        "arn:aws:states:::aws-sdk:dynamodb:transactWriteItems",
        "arn:aws:states:::aws-sdk:applicationautoscaling:registerScalableTarget",
        "arn:aws:states:::aws-sdk:sagemakerruntime:invokeEndpoint",
        "arn:aws:states:::states:startExecution.sync:2",
        "arn:aws:states:::sns:publish",
    ],
)
def test_integrations_of_aws(resource: str) -> None:
    """Integrations that AWS documents are taken apart."""
    assert integrations.parse(resource).resource == resource


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:states:::dynamodb:putItem.waitForTaskToken",
        "arn:aws:states:::sagemaker:createEndpoint.sync",
        "arn:aws:states:::sagemaker:createModel.waitForTaskToken",
        "arn:aws:states:::aws-sdk:glue:startJobRun.sync",
        "arn:aws:states:::aws-sdk:s3:noSuchAction",
        "arn:aws:states:::cloudwatch:putMetricData",
        "arn:aws:states:::aws-sdk:s3:GetObject",
        "arn:aws:states:::batch:submitJob.sync",
        "not-an-arn",
    ],
)
def test_what_aws_or_the_emulator_lacks_is_refused(resource: str) -> None:
    """An integration that does not exist is refused with its name."""
    with pytest.raises(ValueError, match="is not recognized"):
        integrations.parse(resource)


@pytest.mark.parametrize(
    ("api", "sdk", "optimised"),
    [
        ("ETag", "ETag", "ETag"),
        ("NULL", "Nul", "NULL"),
        ("SSEKMSKeyId", "SsekmsKeyId", "SSEKMSKeyId"),
        ("OKActions", "OkActions", "OKActions"),
        ("ScalableTargetARN", "ScalableTargetArn", "ScalableTargetARN"),
        ("S3Uri", "S3Uri", "S3Uri"),
        ("taskToken", "TaskToken", "TaskToken"),
    ],
)
def test_members_are_spelled_as_step_functions_does(api: str, sdk: str, optimised: str) -> None:
    """aws-sdk integrations use the Java SDK 2's names, optimised ones the API's."""
    assert (integrations._member_name(api, True), integrations._member_name(api, False)) == (sdk, optimised)


def test_literal_arguments_are_checked() -> None:
    """A misspelled argument and a missing one are both named."""
    integration = integrations.parse("arn:aws:states:::aws-sdk:s3:getObject")
    assert integrations.unknown_arguments(integration, {"Bucket": "b", "Kee": "k"}) == [
        "The field 'Kee' is not supported by Step Functions",
        "The field 'Key' is required but was missing",
    ]


@pytest.mark.parametrize(
    ("names", "error", "matches"),
    [
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.DataLimitExceeded"], "States.DataLimitExceeded", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.Runtime"], "States.Runtime", False),
        (["States.TaskFailed"], "S3.S3Exception", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.Timeout"], "States.HeartbeatTimeout", True),
        (["S3.S3Exception"], "S3.NoSuchKeyException", False),
    ],
)
def test_which_errors_a_handler_takes(names: list[str], error: str, matches: bool) -> None:
    """Retry and Catch match as AWS documents, wildcards with their exceptions."""
    assert stepfunctions.error_matches(names, error) is matches


def test_retries_back_off_to_a_cap() -> None:
    """Delays grow by the rate, stop at the maximum, and full jitter stays below them."""
    retrier = {"IntervalSeconds": 2, "BackoffRate": 3, "MaxDelaySeconds": 10}
    assert [stepfunctions.retry_delay(retrier, attempt) for attempt in range(3)] == [2, 6, 10]
    jittered = [stepfunctions.retry_delay({**retrier, "JitterStrategy": "FULL"}, 1) for _ in range(50)]
    assert 0 <= min(jittered) < max(jittered) <= 6


def machine(**states: Any) -> str:
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "INVALID_JSON_DESCRIPTION"),
        (machine(A={"Type": "Pass", "Next": "B"}), "Missing 'Next' target: B at /States/A"),
        (machine(A={"Type": "Pass"}), "needs either Next or End at /States/A"),
        (machine(A={"Type": "Pass", "End": True, "ResultPath": "$.x"}), "'ResultPath' is not supported"),
        (
            machine(
                A={
                    "Type": "Parallel",
                    "Branches": [],
                    "End": True,
                    "Catch": [{"ErrorEquals": ["States.ALL", "X"], "Next": "A"}],
                }
            ),
            "'States.ALL' must be alone and last at /States/A/Catch/0",
        ),
        (machine(A={"Type": "Dance", "End": True}), "'Dance' is not a state type at /States/A"),
    ],
)
def test_broken_definitions_are_refused(text: str, expected: str) -> None:
    """CreateStateMachine names what is wrong and where."""
    assert expected in (definitions.problem(text) or "")


def test_express_machines_cannot_wait() -> None:
    """An Express machine may neither follow a job nor wait for a token."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Arguments": {"JobName": "j"},
        "End": True,
    }
    assert definitions.problem(machine(A=task), kind="STANDARD") is None
    assert "Express state machine does not support" in (definitions.problem(machine(A=task), kind="EXPRESS") or "")

"""Pieces of the emulator's services that need no server."""

import pytest

from dual_pipeline_local import glue, resources, s3
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.gateway import json_body

WHERE = {"region": "eu-west-1", "account": "123456789012"}
BASE = "arn:aws:sagemaker:eu-west-1:123456789012:"


@pytest.mark.parametrize(
    ("operation", "request_", "expected"),
    [
        ("CreateTrainingJob", {"TrainingJobName": "t"}, BASE + "training-job/t"),
        ("DescribeProcessingJob", {"ProcessingJobName": "p"}, BASE + "processing-job/p"),
        ("StartPipelineExecution", {"PipelineName": "dev"}, BASE + "pipeline/dev"),
        ("StartPipelineExecution", {"PipelineName": BASE + "pipeline/dev"}, BASE + "pipeline/dev"),
        ("ListPipelineExecutionSteps", {"PipelineExecutionArn": BASE + "x"}, BASE + "x"),
        ("ListModelPackages", {"ModelPackageGroupName": "g"}, "*"),
        ("DescribeModelPackage", {"ModelPackageName": BASE + "model-package/g/1"}, BASE + "model-package/g/1"),
        ("InvokeEndpoint", {"EndpointName": "e"}, BASE + "endpoint/e"),
    ],
)
def test_sagemaker_resources(operation: str, request_: dict[str, str], expected: str) -> None:
    """IAM checks a SageMaker call on the resource the Service Authorization Reference names."""
    assert resources.sagemaker_resource(operation, request_, **WHERE) == expected


def test_tags_and_configurations_are_checked_too() -> None:
    """CreateEndpoint also needs the configuration, and tags need sagemaker:AddTags."""
    request = {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{"Key": "k", "Value": "v"}]}
    checks = resources.sagemaker_extra_checks("CreateEndpoint", request, BASE + "endpoint/e", **WHERE)
    assert list(checks) == [
        ("sagemaker:AddTags", BASE + "endpoint/e"),
        ("sagemaker:CreateEndpoint", BASE + "endpoint-config/c"),
    ]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({"AlarmNames": ["a", "b"]}, ["a", "b"]),
        ({"AlarmNames.member.1": "a", "AlarmNames.member.2": "b"}, ["a", "b"]),
        ({"AlarmNamePrefix": "a"}, ["*"]),
    ],
)
def test_alarms_are_checked_one_by_one(request_: dict[str, object], names: list[str]) -> None:
    """DescribeAlarms is checked on each alarm it names, or on all alarms."""
    base = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:"
    assert resources.alarm_resources("cloudwatch:DescribeAlarms", request_, **WHERE) == [base + name for name in names]


ONE = {"pk": {"S": "A#1"}, "sk": {"S": "x"}}
TWO = {"pk": {"N": "2"}, "sk": {"S": "pk"}}
VALUES = {"ExpressionAttributeValues": {":p": {"S": "A#1"}, ":s": {"S": "x"}}}


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ({"TableName": "t", "Key": ONE}, ["A#1"]),
        ({"TableName": "arn:aws:dynamodb:eu-west-1:123456789012:table/t", "Item": TWO}, ["2"]),
        ({"TableName": "t", "KeyConditionExpression": "sk = :s AND pk=:p", **VALUES}, ["A#1"]),
        (
            {
                "TableName": "t",
                "KeyConditionExpression": "(#k = :p) AND begins_with(sk, :s)",
                "ExpressionAttributeNames": {"#k": "pk"},
                **VALUES,
            },
            ["A#1"],
        ),
        ({"TableName": "t", "IndexName": "by-sk", "KeyConditionExpression": "sk = :s", **VALUES}, ["x"]),
        ({"TableName": "t", "KeyConditions": {"pk": {"AttributeValueList": [{"S": "A#1"}]}}}, ["A#1"]),
        ({"TransactItems": [{"Put": {"TableName": "t", "Item": ONE}}, {"Get": {"TableName": "t", "Key": TWO}}]}, 2),
        ({"RequestItems": {"t": {"Keys": [ONE, TWO, ONE]}}}, 2),
        ({"RequestItems": {"t": [{"PutRequest": {"Item": ONE}}, {"DeleteRequest": {"Key": TWO}}]}}, 2),
        ({"TableName": "t"}, []),
        ({"TableName": "unknown", "Key": ONE}, []),
    ],
)
def test_leading_keys(request_: dict[str, object], keys: list[str] | int) -> None:
    """dynamodb:LeadingKeys holds the partition keys that a call names, of the table or of its index."""

    def hash_key(table: str, index: str | None) -> str | None:
        return {("t", None): "pk", ("t", "by-sk"): "sk"}.get((table, index))

    assert resources.leading_keys(request_, hash_key) == (["A#1", "2"] if keys == 2 else keys)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "x\nTraceback (most recent call last):\n  File\nValueError: bad\n24/01 INFO SparkContext: stop\n",
            "ValueError: bad",
        ),
        (
            "Traceback (most recent call last):\n  a\nKeyError: 1\nTraceback (most recent call last):\n  b\nOSError: 2\n",
            "OSError: 2",
        ),
        ("no trace\nlast words\n", "last words"),
        ("", ""),
    ],
)
def test_the_last_exception_of_a_log(log: str, line: str) -> None:
    """A failed run is explained by the line that names its last exception."""
    assert glue.last_exception(log) == line


def test_versions_in_s3_events() -> None:
    """The object of an event carries its version."""
    assert s3.with_version({"object": {"key": "k"}}, "v") == {"object": {"key": "k", "version-id": "v"}}


@pytest.mark.parametrize("body", [b"[]", b"{", b'"x"'])
def test_bodies_that_are_no_objects(body: bytes) -> None:
    """A request body that is no JSON object is a SerializationException."""
    with pytest.raises(ApiError) as refused:
        json_body(body)
    assert refused.value.code == "SerializationException"

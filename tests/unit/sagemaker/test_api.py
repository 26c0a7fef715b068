"""Requests against botocore's model, lists and pages."""

from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.listing import Listing

ROUTED: dict[str, Any] = {"EndpointName": "a", "EndpointConfigName": "b"}
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model/m"
MODELS = Listing(operation="ListModels", name="ModelName")


def fault(operation: str, request: dict[str, Any]) -> str:
    """The message of a refusal."""
    with pytest.raises(ApiError) as refusal:
        api.check(operation, request)
    return f"{refusal.value.code}: {refusal.value.message}"


def test_faults_are_told_in_the_words_of_aws() -> None:
    """One sentence names every fault by its path."""
    assert (
        "ValidationException: 2 validation errors detected: Value null at 'endpointConfigName' failed to satisfy "
        "constraint: Member must not be null; Value 'a_b' at 'endpointName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    ) == fault("CreateEndpoint", {"EndpointName": "a_b"})


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"EndpointName": 1, "EndpointConfigName": "b"}, "SerializationException: endpointName: int is not a string"),
        (
            {"EndpointName": "a", "EndpointConfigName": "b", "Typo": 1},
            "Unknown member 'Typo' at '/', allowed are: DeploymentConfig, EndpointConfigName, EndpointName, Tags",
        ),
        (
            ROUTED | {"DeploymentConfig": {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL"}}}},
            "Value 'ALL' at 'deploymentConfig.blueGreenUpdatePolicy.trafficRoutingConfiguration.type' failed to satisfy "
            "constraint: Member must satisfy enum value set: [ALL_AT_ONCE, CANARY, LINEAR]",
        ),
        (
            ROUTED | {"DeploymentConfig": {"BlueGreenUpdatePolicy": {"MaximumExecutionTimeoutInSeconds": 10}}},
            "Value '10' at 'deploymentConfig.blueGreenUpdatePolicy.maximumExecutionTimeoutInSeconds' failed to satisfy "
            "constraint: Member must have value greater than or equal to 600",
        ),
        (
            {"EndpointName": "a", "EndpointConfigName": "b", "Tags": [{"Key": "k", "Value": "v" * 257}]},
            "at 'tags.1.member.value' failed to satisfy constraint: Member must have length less than or equal to 256",
        ),
    ],
)
def test_each_kind_of_fault(request_: dict[str, Any], told: str) -> None:
    """Types, unknown members, enumerations, ranges and lengths."""
    found = fault("CreateEndpoint", request_)
    assert told in found


def test_every_pattern_of_the_model_can_be_checked() -> None:
    """AWS writes patterns for Java; all of them compile here, and tags take what AWS lets through."""
    service = api._service()
    for name in service.shape_names:
        pattern = service.shape_for(name).metadata.get("pattern")
        if pattern:
            api._regex(pattern)
    api.check("AddTags", {"ResourceArn": ARN, "Tags": [{"Key": "größe:a/b", "Value": "1 + 2 = 3@x"}]})


def test_tokens_are_filled_in_as_sdks_do() -> None:
    """An idempotency token that the caller left out is generated."""
    request: dict[str, Any] = {"PipelineName": "p"}
    api.complete("StartPipelineExecution", request)
    assert 36 == len(request["ClientRequestToken"])


def test_lists_filter_sort_and_page() -> None:
    """NameContains, times, order and pages compose; the pages together are the list."""
    records = [{"ModelName": f"m-{n}", "CreationTime": float(n), "Secret": n} for n in range(25)]
    request: dict[str, Any] = {"NameContains": "M-1", "CreationTimeAfter": 1.0, "SortBy": "Name", "MaxResults": 4}
    names: list[str] = []
    while True:
        answer = MODELS.page(request, records)
        assert all(set(model) <= {"ModelName", "CreationTime", "ModelArn"} for model in answer["Models"])
        names += [model["ModelName"] for model in answer["Models"]]
        if "NextToken" not in answer:
            break
        request["NextToken"] = answer["NextToken"]
    assert [f"m-{n}" for n in range(19, 9, -1)] == names
    assert 10 == len(MODELS.page({}, records)["Models"])
    with pytest.raises(ApiError, match="Invalid pagination token"):
        MODELS.page({"NextToken": "!"}, records)

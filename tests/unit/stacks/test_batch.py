"""What a project whose models score in batch is deployed as."""

import json

import pytest

from synthesis import Synthesis, joined

pytestmark = pytest.mark.xdist_group("synthesis")


def test_nothing_of_an_endpoint_stands(synthesis: Synthesis) -> None:
    """The same stacks as with an endpoint, but no rollback alarm, no endpoint's output and none on the dashboard."""
    least = {path.removeprefix("Least/") for path in synthesis.templates if path.startswith("Least/")}
    assert least == {path.removeprefix("Batch/") for path in synthesis.templates if path.startswith("Batch/")}
    outer = synthesis.templates["Batch/CensusOuterLoop"]
    assert "EndpointName" not in outer["Outputs"]
    assert {} == synthesis.resources("AWS::CloudWatch::Alarm", stack="Batch/CensusOuterLoop")
    assert synthesis.resources("AWS::CloudWatch::Alarm", stack="Least/CensusOuterLoop")
    assert "EndpointName" not in json.dumps(synthesis.templates["Batch/CensusMonitoring"])


def test_records_and_scores_have_their_places(synthesis: Synthesis) -> None:
    """The stack says where to put records and where scores appear."""
    outputs = synthesis.templates["Batch/CensusOuterLoop"]["Outputs"]
    assert joined(outputs["RecordsUri"]["Value"]).endswith("/census/batch/")
    assert joined(outputs["ScoresUri"]["Value"]).endswith("/census/scores/")


def test_its_models_may_read_records_and_write_scores_only(synthesis: Synthesis) -> None:
    """The role of the models knows records, models and scores, no capture, no alarm and no endpoint."""
    policies = synthesis.resources("AWS::IAM::Policy", stack="Batch/CensusOuterLoop")
    (policy,) = [resource for path, resource in policies.items() if "/Model" in path]
    statements = {each["Sid"]: each for each in policy["Properties"]["PolicyDocument"]["Statement"]}
    where = {sid: json.dumps(statement["Resource"]) for sid, statement in statements.items()}
    assert "/census/batch/*" in where["ReadRecords"]
    assert "/census/executions/*" in where["ReadModels"]
    assert "/census/scores/*" in where["WriteScores"]
    text = json.dumps(policy)
    assert not [word for word in ("capture", "ndpoint", "DescribeAlarms") if word in text]
    assert {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"} == {
        *statements["WriteScores"]["Action"]
    }

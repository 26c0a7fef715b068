"""What is stored or sent is encrypted, kept and tagged."""

from typing import Any

import pytest

from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")


def denies_plain_text(document: dict[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement.get("Condition", {}).get("Bool") == {"aws:SecureTransport": "false"}
        for statement in document["Statement"]
    )


@pytest.mark.parametrize(
    ("kind", "policy_kind", "reference"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
    ],
)
def test_transport_is_encrypted(synthesis: Synthesis, kind: str, policy_kind: str, reference: str) -> None:
    """Every bucket, topic and queue has a policy that denies access without TLS."""
    protected = {
        f"{path.rsplit('/', 1)[0]}/{target['Ref']}"
        for path, policy in synthesis.resources(policy_kind).items()
        if denies_plain_text(policy["Properties"]["PolicyDocument"])
        for target in ([policy["Properties"][reference]] if reference == "Bucket" else policy["Properties"][reference])
    }
    assert set(synthesis.resources(kind)) == protected


def test_buckets_are_private_versioned_and_encrypted(synthesis: Synthesis) -> None:
    """Every bucket blocks public access, keeps versions and is encrypted; all but the log bucket with the key."""
    for path, bucket in synthesis.resources("AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, path
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}, path
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        wanted = "AES256" if "AccessLogs" in path else "aws:kms"
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == wanted, path


def test_log_groups_are_encrypted_and_expire(synthesis: Synthesis) -> None:
    """Every log group has the key and a retention."""
    groups = synthesis.resources("AWS::Logs::LogGroup")
    assert groups
    for path, group in groups.items():
        assert {"KmsKeyId", "RetentionInDays"} <= set(group["Properties"]), path


def test_table_and_topic_use_the_key(synthesis: Synthesis) -> None:
    """The ledger and the topic are encrypted with the customer's key; the ledger can be restored."""
    for path, table in synthesis.resources("AWS::DynamoDB::Table").items():
        assert "KMSMasterKeyId" in table["Properties"]["SSESpecification"], path
        assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, path
    for path, topic in synthesis.resources("AWS::SNS::Topic").items():
        assert "KmsMasterKeyId" in topic["Properties"], path


def test_key_rotates(synthesis: Synthesis) -> None:
    """Every key rotates."""
    for path, key in synthesis.resources("AWS::KMS::Key").items():
        assert key["Properties"]["EnableKeyRotation"] is True, path


STATEFUL = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SageMaker::ModelPackageGroup")


@pytest.mark.parametrize("kind", STATEFUL)
def test_data_outlives_its_stack(synthesis: Synthesis, kind: str) -> None:
    """Data is retained, unless both switches of the environment are thrown."""
    resources = synthesis.resources(kind)
    assert resources
    for path, resource in resources.items():
        wanted = "Delete" if path.startswith("Most/") else "Retain"
        assert (wanted, wanted) == (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), path


def test_logical_ids_of_data_are_pinned(synthesis: Synthesis) -> None:
    """A changed logical id would leave the data behind in a resource that no stack knows any more."""
    found = {
        path.removeprefix("Least/")
        for kind in STATEFUL
        for path in synthesis.resources(kind)
        if path.startswith("Least/")
    }
    assert {
        "Foundation/Key961B73FD",
        "Foundation/AccessLogs8B620ECA",
        "Foundation/Data666C94C7",
        "Foundation/Artifacts82DD59A1",
        "Foundation/LedgerB7379752",
        "CensusRegistry/RegistryGroupF9A457C4",
    } == found


TAGGED = (
    "AWS::DynamoDB::Table",
    "AWS::Glue::Job",
    "AWS::IAM::Role",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::Pipeline",
    "AWS::StepFunctions::StateMachine",
)


@pytest.mark.parametrize("kind", TAGGED)
def test_resources_are_tagged(synthesis: Synthesis, kind: str) -> None:
    """Resources carry environment and cost centre, and those of a project its name."""
    resources = synthesis.resources(kind)
    assert resources
    for path, resource in resources.items():
        tags = resource["Properties"]["Tags"]
        keys = set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
        wanted = {"dual-pipeline:environment", "dual-pipeline:cost-center"}
        assert (
            wanted | (set() if path.split("/")[1] in ("Foundation", "Watch") else {"dual-pipeline:project"}) <= keys
        ), path

"""What the templates allow: nothing on everything without a reason, no role for strangers, no open door."""

from collections.abc import Iterator
from typing import Any

import pytest

from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")

# Actions that IAM cannot scope to a resource, each with what keeps it small.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
ON_EVERY_RESOURCE = {
    "cloudformation:DescribeStacks": "asked of all stacks; the command line finds an environment's by their tags",
    "cloudformation:ListStacks": "has no resource; asked for by DescribeStacks of all stacks",
    "cloudwatch:PutMetricData": "has no resource; a condition names the namespace",
    "ec2:DescribeDhcpOptions": "has no resource; asked for by SageMaker in a VPC",
    "ec2:DescribeNetworkInterfaces": "has no resource; asked for by SageMaker in a VPC",
    "ec2:DescribeSecurityGroups": "has no resource; asked for by SageMaker in a VPC",
    "ec2:DescribeSubnets": "has no resource; asked for by SageMaker in a VPC",
    "ec2:DescribeVpcs": "has no resource; asked for by SageMaker in a VPC",
    "ecr:GetAuthorizationToken": "has no resource; a token opens nothing without the right to an image",
    "logs:CreateLogDelivery": "has no resource; Step Functions sets up its vended logs",
    "logs:DeleteLogDelivery": "has no resource; Step Functions sets up its vended logs",
    "logs:DescribeLogGroups": "has no resource; Step Functions sets up its vended logs",
    "logs:DescribeResourcePolicies": "has no resource; Step Functions sets up its vended logs",
    "logs:GetLogDelivery": "has no resource; Step Functions sets up its vended logs",
    "logs:ListLogDeliveries": "has no resource; Step Functions sets up its vended logs",
    "logs:PutResourcePolicy": "has no resource; Step Functions sets up its vended logs",
    "logs:UpdateLogDelivery": "has no resource; Step Functions sets up its vended logs",
    "sagemaker:ListModelPackages": "has no documented resource; tells whether a model is approved, by its ARN only",
    "sagemaker:ListPipelines": "has no resource; finds data scientists' copies",
    "sagemaker:ListModels": "has no resource; finds what a release that broke off made",
    "sagemaker:ListEndpointConfigs": "has no resource; finds what a release that broke off made",
    "sagemaker:ListEndpoints": "has no resource; tells whether an endpoint exists, which Describe does not",
}
WILDCARD_ACTIONS = {
    "kms:*": "the account's own access to its key, from which IAM policies derive theirs",
    "kms:GenerateDataKey*": "as the page on encrypted log groups asks for, by the Logs service only",
    "kms:ReEncrypt*": "as the page on encrypted log groups asks for, by the Logs service only",
    "s3:*": "denied, without TLS",
    "sqs:*": "denied, without TLS",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policies(synthesis: Synthesis) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy document that a template holds, by the resource that holds it."""
    for kind, names in {
        "AWS::IAM::Policy": ["PolicyDocument"],
        "AWS::IAM::ManagedPolicy": ["PolicyDocument"],
        "AWS::IAM::Role": ["AssumeRolePolicyDocument"],
        "AWS::KMS::Key": ["KeyPolicy"],
        "AWS::S3::BucketPolicy": ["PolicyDocument"],
        "AWS::SNS::TopicPolicy": ["PolicyDocument"],
        "AWS::SQS::QueuePolicy": ["PolicyDocument"],
    }.items():
        for path, resource in synthesis.resources(kind).items():
            for name in names:
                yield path, resource["Properties"][name]


def identity_statements(synthesis: Synthesis) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for path, resource in synthesis.resources(kind).items():
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                yield path, statement


def test_all_policies_are_documents_of_their_own(synthesis: Synthesis) -> None:
    """No role holds inline or AWS-managed policies, so the documents checked here are all there are."""
    for path, role in synthesis.resources("AWS::IAM::Role").items():
        assert {"ManagedPolicyArns", "Policies"}.isdisjoint(role["Properties"]), path


def test_actions_on_every_resource_have_recorded_reasons(synthesis: Synthesis) -> None:
    """An identity statement on `*` holds only actions with a reason above, and every reason is needed."""
    found = {
        action
        for _, statement in identity_statements(synthesis)
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    assert set(ON_EVERY_RESOURCE) == found


def test_wildcard_actions_have_recorded_reasons(synthesis: Synthesis) -> None:
    """No statement names actions by a pattern but those recorded above, and none in an identity policy."""
    found = {
        action
        for _, document in policies(synthesis)
        for statement in document["Statement"]
        for action in listed(statement["Action"])
        if "*" in action
    }
    assert set(WILDCARD_ACTIONS) == found
    assert [] == [path for path, s in identity_statements(synthesis) if any("*" in a for a in listed(s["Action"]))]


def test_metrics_stay_in_their_namespace(synthesis: Synthesis) -> None:
    """Whoever publishes metrics may do so in named namespaces only."""
    for path, statement in identity_statements(synthesis):
        if "cloudwatch:PutMetricData" in listed(statement["Action"]):
            assert "cloudwatch:namespace" in statement["Condition"]["StringEquals"], path


def test_roles_are_passed_to_one_service(synthesis: Synthesis) -> None:
    """Every PassRole names its roles and the one service that they may be passed to."""
    passes = [(path, s) for path, s in identity_statements(synthesis) if "iam:PassRole" in listed(s["Action"])]
    assert passes
    for path, statement in passes:
        assert ["iam:PassRole"] == listed(statement["Action"]), path
        assert "*" not in str(statement["Resource"]), path
        assert "iam:PassedToService" in statement["Condition"]["StringEquals"], path


def test_services_assume_roles_for_this_account_only(synthesis: Synthesis) -> None:
    """Every trust policy admits one service, on behalf of this account's own resources."""
    roles = synthesis.resources("AWS::IAM::Role")
    assert roles
    for path, role in roles.items():
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            assert isinstance(statement["Principal"]["Service"], str), path
            assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], path


# EventBridge's messages to a topic carry nothing that a topic's policy could be conditioned on:
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
WITHOUT_CONDITION = {("events.amazonaws.com", "sns:Publish")}


def test_services_use_shared_resources_for_this_account_only(synthesis: Synthesis) -> None:
    """A service admitted by key, bucket, topic or queue acts for this account, or for its own log groups or topics."""
    contexts = {"kms:EncryptionContext:aws:logs:arn", "kms:EncryptionContext:aws:sns:topicArn"}
    open_doors = set()
    for path, document in policies(synthesis):
        for statement in document["Statement"]:
            principal = statement.get("Principal")
            if statement["Effect"] == "Allow" and isinstance(principal, dict) and "Service" in principal:
                keys = {key for condition in statement.get("Condition", {}).values() for key in condition}
                if keys:
                    assert keys & {"aws:SourceAccount", *contexts}, path
                else:
                    open_doors |= {(principal["Service"], action) for action in listed(statement["Action"])}
    assert WITHOUT_CONDITION == open_doors


def test_eventbridge_reaches_the_topic(synthesis: Synthesis) -> None:
    """Neither topic nor key asks EventBridge for a source account, which its messages to a topic do not carry."""
    found = [
        (path, statement.get("Condition", {}))
        for path, document in policies(synthesis)
        for statement in document["Statement"]
        if statement.get("Principal") == {"Service": "events.amazonaws.com"}
        and {"sns:Publish", "kms:GenerateDataKey"} & set(listed(statement["Action"]))
    ]
    assert found
    for path, condition in found:
        assert "aws:Source" not in str(condition), path


def test_nobody_is_everybody(synthesis: Synthesis) -> None:
    """Statements for every principal only deny."""
    for path, document in policies(synthesis):
        for statement in document["Statement"]:
            if statement.get("Principal") in ("*", {"AWS": "*"}):
                assert statement["Effect"] == "Deny", path


def test_permissions_boundary_bounds_every_role(synthesis: Synthesis) -> None:
    """With a boundary configured, no role goes without it."""
    for path, role in synthesis.resources("AWS::IAM::Role").items():
        assert path.startswith("Most/") == ("PermissionsBoundary" in role["Properties"]), path

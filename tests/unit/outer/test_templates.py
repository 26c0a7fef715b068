"""The constructs' resources: machines, rules, roles and dead-letter queues as CloudFormation gets them."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Match, Template

from dual_pipeline.environment import Environment
from dual_pipeline.machine import Machine
from dual_pipeline.outer_loop.outer_loop import OuterLoop
from dual_pipeline.outer_loop.setting import TrainingCode
from dual_pipeline.reaper import Reaper
from dual_pipeline.resumer import Resumer
from pipeline_code.census.project import CENSUS


@pytest.fixture(scope="module")
def template() -> Template:
    """One stack with an outer loop, the resumer and the reaper, beside resources that exist."""
    stack = cdk.Stack(cdk.App(), "Stack", env=cdk.Environment(account="111122223333", region="eu-west-1"))
    environment = Environment(name="dev", region="eu-west-1", projects=(CENSUS,))
    key = kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:eu-west-1:111122223333:key/key")
    ledger = dynamodb.Table.from_table_name(stack, "Ledger", "ledger")
    topic = sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:eu-west-1:111122223333:topic")
    alarm = cloudwatch.Alarm.from_alarm_name(stack, "Alarm", "errors")
    OuterLoop(
        stack,
        "OuterLoop",
        environment=environment,
        project=CENSUS,
        data_bucket=s3.Bucket.from_bucket_name(stack, "Data", "data-bucket"),
        artifact_bucket=s3.Bucket.from_bucket_name(stack, "Artifacts", "artifact-bucket"),
        ledger=ledger,
        key=key,
        topic=topic,
        model_role=iam.Role.from_role_arn(stack, "Model", "arn:aws:iam::111122223333:role/model"),
        image="141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5",
        rollback_alarms=[alarm],
        training_code=TrainingCode(
            image="image", role_arn="arn:aws:iam::111122223333:role/training", uri="s3://code/alone.gz", file="alone.gz"
        ),
    )
    Resumer(stack, "Resumer", name="dev-resumer", ledger=ledger, key=key, prefix="dev-")
    Reaper(stack, "Reaper", environment=environment, ledger=ledger, key=key, topic=topic)
    return Template.from_stack(stack)


def rules(template: Template) -> list[Any]:
    return [rule["Properties"] for rule in template.find_resources("AWS::Events::Rule").values()]


def test_machines(template: Template) -> None:
    """Standard machines and Express ones, under the names that operators type."""
    machines = template.find_resources("AWS::StepFunctions::StateMachine").values()
    assert {m["Properties"]["StateMachineName"]: m["Properties"]["StateMachineType"] for m in machines} == {
        "dev-census-outer-loop": "STANDARD",
        "dev-census-preflight": "EXPRESS",
        "dev-census-traffic": "STANDARD",
        "dev-resumer": "EXPRESS",
        "dev-reaper": "STANDARD",
    }


@pytest.mark.parametrize(("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn")])
def test_integrations_are_those_of_the_partition(region: str, partition: str) -> None:
    """A task calls its integration by the ARN of the partition that the stack is deployed to."""
    app = cdk.App(context={"@aws-cdk/core:enablePartitionLiterals": True})
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(account="111122223333", region=region))
    Machine(
        stack,
        "Machine",
        name="machine",
        definition={"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::sns:publish"}}},
        statements=(),
        key=kms.Key(stack, "Key"),
    )
    machines = Template.from_stack(stack).find_resources("AWS::StepFunctions::StateMachine").values()
    (definition,) = (json.loads(machine["Properties"]["DefinitionString"]) for machine in machines)
    assert f"arn:{partition}:states:::sns:publish" == definition["States"]["A"]["Resource"]


def test_new_data_starts_the_outer_loop(template: Template) -> None:
    """An object created below raw/ becomes the pinned input, with retries and a dead-letter queue."""
    template.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": ["data-bucket"]}, "object": {"key": [{"prefix": "census/raw/"}]}},
            },
            "Targets": [
                Match.object_like(
                    {
                        "DeadLetterConfig": {"Arn": Match.any_value()},
                        "RetryPolicy": {"MaximumEventAgeInSeconds": 21600, "MaximumRetryAttempts": 24},
                        "RoleArn": Match.any_value(),
                    }
                )
            ],
        },
    )


def test_input_templates_are_json_once_filled(template: Template) -> None:
    """Every variable of a rule's template is taken from the event, and the filled template is an object."""
    for rule in rules(template):
        (target,) = rule["Targets"]
        transformer = target["InputTransformer"]
        filled = transformer["InputTemplate"]
        for name in transformer["InputPathsMap"]:
            assert f"<{name}>" in filled
            filled = filled.replace(f"<{name}>", '"x"')
        assert isinstance(json.loads(filled), dict)


def test_the_reaper_hears_of_every_unnatural_end(template: Template) -> None:
    """Failed, timed-out and aborted executions of the environment's outer loops reach it, and no others."""
    (pattern,) = (rule["EventPattern"] for rule in rules(template) if rule["EventPattern"]["source"] == ["aws.states"])
    assert pattern["detail"]["status"] == ["FAILED", "TIMED_OUT", "ABORTED"]
    assert json.dumps(pattern["detail"]["stateMachineArn"]).endswith(':stateMachine:dev-census-outer-loop"]]}]')


def test_roles_trust_one_service_of_this_account(template: Template) -> None:
    """No role can be used by a service on behalf of another account."""
    roles = template.find_resources("AWS::IAM::Role").values()
    for role in roles:
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}


def test_events_are_not_lost(template: Template) -> None:
    """Every rule has a dead-letter queue that only EventBridge of this account may fill, over TLS only."""
    assert all(target["DeadLetterConfig"] for rule in rules(template) for target in rule["Targets"])
    template.resource_count_is("AWS::SQS::Queue", 3)
    template.resource_count_is("AWS::SQS::QueuePolicy", 3)

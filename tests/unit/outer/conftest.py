"""A setting of literal names, and JSONata evaluated for real by the engine that the emulator runs."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline.environment import Environment, VpcConfig
from dual_pipeline.model_project import Approval, BatchInference, Rollout, Training
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.setting import Setting, TrainingCode
from pipeline_code.census.project import CENSUS

stepfunctions = importlib.import_module("ministack.services.stepfunctions")
Evaluate = Callable[..., Any]


def make_setting(environment: Environment) -> Setting:
    """The outer loop of an environment's first project, with names instead of tokens."""
    return Setting(
        environment=environment,
        project=environment.projects[0],
        partition="aws",
        account="111122223333",
        data_bucket="data-bucket",
        artifact_bucket="artifact-bucket",
        table_name="ledger",
        key_arn="arn:aws:kms:eu-west-1:111122223333:key/key",
        topic_arn="arn:aws:sns:eu-west-1:111122223333:topic",
        model_role_arn="arn:aws:iam::111122223333:role/model",
        rollback_alarms=("errors", "latency"),
        starter_role_arn="arn:aws:iam::111122223333:role/starter",
        dead_letters_arn="arn:aws:sqs:eu-west-1:111122223333:dead-letters",
        repository_arn="arn:aws:ecr:eu-west-1:141502667606:repository/sagemaker-xgboost",
        training_code=TrainingCode(
            image="111122223333.dkr.ecr.eu-west-1.amazonaws.com/xgboost:1",
            role_arn="arn:aws:iam::111122223333:role/training",
            uri="s3://artifact-bucket/census/code/0123.tar.gz",
            file="0123.tar.gz",
        ),
    )


@pytest.fixture(scope="session")
def setting() -> Setting:
    """The least: one instance, no scaling."""
    return make_setting(Environment(name="dev", region="eu-west-1", projects=(CENSUS,)))


@pytest.fixture(scope="session")
def scaled_setting() -> Setting:
    """The most: canary and scaling."""
    rollout = Rollout(strategy="canary", instance_count=2, max_instance_count=6)
    return make_setting(Environment(name="dev", region="eu-west-1", projects=(replace(CENSUS, rollout=rollout),)))


@pytest.fixture(scope="session")
def alone_setting() -> Setting:
    """A project without an inner loop, on Spot capacity and in a VPC."""
    project = replace(CENSUS, inner_loop=False, tuning=None, training=Training(spot=True))
    vpc = VpcConfig(vpc_id="vpc-01234567", subnet_ids=("subnet-01234567",), security_group_ids=("sg-01234567",))
    return make_setting(Environment(name="dev", region="eu-west-1", projects=(project,), vpc=vpc))


@pytest.fixture(scope="session")
def batch_setting() -> Setting:
    """A project whose models score records in batch, on an instance with a disk of its own."""
    batch = BatchInference(instance="ml.g4dn.xlarge", instance_count=2, max_payload_mb=1)
    project = replace(CENSUS, target="batch", batch=batch)
    return make_setting(Environment(name="dev", region="eu-west-1", projects=(project,)))


@pytest.fixture(scope="session")
def definition(setting: Setting) -> Any:
    """The whole machine as JSON."""
    return json.loads(json.dumps(outer_loop_definition(setting)))


@pytest.fixture(scope="session")
def scaled_definition(scaled_setting: Setting) -> Any:
    """The whole machine of the most demanding project."""
    return json.loads(json.dumps(outer_loop_definition(scaled_setting)))


@pytest.fixture(scope="session")
def guarded_definition(setting: Setting) -> Any:
    """The whole machine of a project that asks for two approvers."""
    project = replace(setting.project, approval=Approval(mode="two"))
    return json.loads(json.dumps(outer_loop_definition(replace(setting, project=project))))


@pytest.fixture(scope="session")
def alone_definition(alone_setting: Setting) -> Any:
    """The whole machine of a project without an inner loop."""
    return json.loads(json.dumps(outer_loop_definition(alone_setting)))


@pytest.fixture(scope="session")
def batch_definition(batch_setting: Setting) -> Any:
    """The whole machine of a project that scores in batch."""
    return json.loads(json.dumps(outer_loop_definition(batch_setting)))


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """Evaluate a field as Step Functions does: literals stay, `{% ... %}` sees $states and the variables."""

    def evaluate(
        field: Any,
        *,
        given: Any = None,
        result: Any = None,
        error: Any = None,
        variables: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> Any:
        ctx = {"State": {"Name": "Here", "RetryCount": 0}, **(context or {}), "variables": variables or {}}
        return stepfunctions._apply_jsonata_template(field, given, ctx, result=result, error_output=error)

    return evaluate


@pytest.fixture(scope="session")
def jsonata_problem() -> Callable[[str], Any]:
    """The first expression of a definition that does not parse, or None."""
    check: Callable[[str], Any] = stepfunctions._validate_definition_jsonata
    return check

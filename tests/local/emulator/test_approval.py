"""Two people approve in the local AWS: real registry, real ledger, real rights, and the very states that ship."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dual_pipeline.asl import jsonata
from dual_pipeline.await_status import INITIAL, wait_statement
from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Approval
from dual_pipeline.outer_loop.approval import approval
from dual_pipeline.outer_loop.finish import tell_statements
from dual_pipeline.outer_loop.setting import Setting
from dual_pipeline_local.approver import Approver
from dual_pipeline_local.safety import LocalAws
from outer_loop import setting
from pipeline_code.census.project import CENSUS
from waiting import until

pytestmark = pytest.mark.local

ROOT = "arn:aws:iam::123456789012:root"
SECOND = "arn:aws:iam::123456789012:user/second-approver"


def settings(account: str, region: str) -> Setting:
    """Two approvers, and slices of three seconds, so that no resumer is needed."""
    project = replace(CENSUS, approval=Approval(mode="two", deadline=timedelta(minutes=5)))
    return replace(
        setting(CENSUS.name),
        environment=Environment(name="dev", region=region, projects=(project,)),
        project=project,
        account=account,
        topic_arn=f"arn:aws:sns:{region}:{account}:people",
        slice_s=1,
    )


@pytest.fixture(scope="module")
def machine(emulator: Any) -> str:
    """The approval's states between a Pass that sets their variables and the ends of the phase."""
    places = settings(emulator.settings.account, emulator.settings.region)
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    emulator.client("dynamodb").create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    emulator.client("sns").create_topic(Name="people")
    fragment = approval(places)
    ledger = {"Effect": "Allow", "Action": ["dynamodb:PutItem", "dynamodb:UpdateItem"], "Resource": places.table_arn}
    statements = [
        {"Effect": "Allow", "Action": list(each.actions), "Resource": list(each.resources)}
        for each in (*fragment.statements, wait_statement(places.table_arn), *tell_statements(places.topic_arn))
    ]
    role = emulator.role("machine", "states.amazonaws.com", ledger, *statements)
    variables = {
        "packageArn": jsonata("$states.input.package"),
        "runId": "run",
        "trigger": {"reason": "person", "detail": "try"},
        "evaluation": {"metrics": {"auc": {"value": 0.9}}, "champion": {}, "folder": "x/"},
        "champion": {},
        "approval": {},
        "reminded": False,
        **INITIAL,
    }
    states = {
        "Set": {"Type": "Pass", "Assign": variables, "Next": "AskForApproval"},
        **fragment.states,
        "TakeReleaseLock": {"Type": "Succeed", "Output": jsonata("$approval")},
        "FreeLocks": {"Type": "Fail", "Cause": jsonata("$reason")},
    }
    arn: str = emulator.machine("approval", role, {"QueryLanguage": "JSONata", "StartAt": "Set", "States": states})
    return arn


@pytest.fixture
def package(emulator: Any) -> str:
    """A registered model that waits."""
    sagemaker = emulator.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="dev-census")
    container = {
        "Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/any:1",
        "ModelDataUrl": "s3://artifacts/m.tar.gz",
    }
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arn: str = sagemaker.create_model_package(
        ModelPackageGroupName="dev-census",
        InferenceSpecification=specification,
        ModelApprovalStatus="PendingManualApproval",
    )["ModelPackageArn"]
    return arn


def test_it_takes_another_person(emulator: Any, machine: str, package: str) -> None:
    """The root user's two approvals are one; another user's is the second, and the registry names each honestly."""
    sagemaker = emulator.client("sagemaker")
    execution = emulator.client("stepfunctions").start_execution(
        stateMachineArn=machine, input=json.dumps({"package": package})
    )["executionArn"]
    aws = LocalAws(emulator.settings)
    for _ in range(2):
        assert Approver(aws).approve(package)
        described = until(lambda: waits(sagemaker, package), seconds=30)
        assert (
            f"approved by {ROOT}; a second person, other than that one, has to approve"
            == described["ApprovalDescription"]
        )
        assert ":assumed-role/machine/" in described["LastModifiedBy"]["IamIdentity"]["Arn"]
    people = Approver(aws)
    assert people.approve(package)
    assert until(lambda: waits(sagemaker, package), seconds=30)
    assert people.approve(package)
    assert SECOND == sagemaker.describe_model_package(ModelPackageName=package)["LastModifiedBy"]["IamIdentity"]["Arn"]
    ended = emulator.ended(execution)
    assert ("SUCCEEDED", f"{ROOT} and {SECOND}") == (ended["status"], json.loads(ended["output"])["by"])
    key = {"pk": {"S": "PROJECT#census"}, "sk": {"S": f"DECISION#{package}#run"}}
    record = emulator.client("dynamodb").get_item(TableName="ledger", Key=key)["Item"]
    assert ("Approved", f"{ROOT} and {SECOND}") == (record["decision"]["S"], record["person"]["S"])
    described = sagemaker.describe_model_package(ModelPackageName=package)
    created = json.loads(ended["output"])["created"]
    assert abs(described["CreationTime"].timestamp() * 1000 - created) < 1000
    assert not people.approve(package)
    assert [] == emulator.unmapped()


def waits(sagemaker: Any, package: str) -> Any:
    """The package if it waits for approval."""
    described = sagemaker.describe_model_package(ModelPackageName=package)
    return described if described["ModelApprovalStatus"] == "PendingManualApproval" else None

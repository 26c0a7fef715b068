"""The server as a process: where it listens, what it leaves behind, what it refuses to deploy."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

STATES = "states.amazonaws.com"


def running(*words: str) -> list[str]:
    """Command lines of the processes whose command line holds all the words."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if all(word in line for word in words)]


def listening(pid: int) -> set[str]:
    """Local addresses (hex) of a process' listening TCP sockets."""
    inodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_alone(emulator: Any) -> None:
    """One port, on 127.0.0.1."""
    assert listening(emulator.process.pid) == {f"0100007F:{emulator.settings.port:04X}"}


def test_a_taken_port_is_named(emulator: Any, tmp_path: Path) -> None:
    """A second server on the port ends at once with a sentence."""
    arguments = ["--port", str(emulator.settings.port), "--work", str(tmp_path / "w"), "--region", "eu-west-1"]
    command = [sys.executable, "-m", "dual_pipeline_local.server", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert f"port {emulator.settings.port} is taken on 127.0.0.1" in done.stderr


FRONT = """
import json, sys, time
from pathlib import Path
from conftest import Emulator

emulator = Emulator(Path(sys.argv[1]))
trust = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}
s3, glue = emulator.client("s3"), emulator.client("glue")
s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
s3.put_object(Bucket="code", Key="orphan.py", Body="import time; time.sleep(300)")
role = emulator.role("job", "glue.amazonaws.com", trust)
command = {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": "s3://code/orphan.py"}
glue.create_job(Name="orphan", Role=role, Command=command)
glue.start_job_run(JobName="orphan")
print("started", flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("victim", ["front", "server"])
def test_kill_9_leaves_nothing(tmp_path: Path, victim: str) -> None:
    """Killing the process that started the server, or the server, ends the server and its jobs."""
    work = tmp_path / "orphaned"
    root = str(Path(__file__).parents[3])
    front = subprocess.Popen(
        [sys.executable, "-c", FRONT, str(work)],
        cwd=root,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root}/tests/local"},
    )
    try:
        assert front.stdout is not None
        assert front.stdout.readline() == b"started\n"
        assert until(lambda: len(running(f"{work}/glue/")) >= 1)
        pid = int((work / "emulator.pid").read_text())
        os.kill(front.pid if victim == "front" else pid, signal.SIGKILL)
        assert until(lambda: running(f"{work}/glue/") == [], seconds=8)
        assert until(lambda: running("dual_pipeline_local.server", str(work)) == [], seconds=8)
    finally:
        front.kill()
        front.wait()


def template(**resources: Any) -> str:
    return json.dumps({"Resources": resources})


def test_an_unknown_type_fails_before_anything_is_created(emulator: Any) -> None:
    """A template with a type the emulator lacks is refused by the type's name, and its other resources stay away."""
    body = template(
        Table={"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "never"}},
        Odd={"Type": "AWS::SageMaker::NotebookInstance", "Properties": {}},
    )
    with pytest.raises(ClientError, match=r"AWS::SageMaker::NotebookInstance"):
        emulator.client("cloudformation").create_stack(StackName="odd", TemplateBody=body)
    assert emulator.client("sqs").list_queues(QueueNamePrefix="never").get("QueueUrls", []) == []


@pytest.mark.parametrize(
    ("operation", "named"),
    [("create_stack", {}), ("create_change_set", {"ChangeSetName": "red", "ChangeSetType": "CREATE"})],
)
def test_an_unknown_property_fails_before_anything_is_created(
    emulator: Any, operation: str, named: dict[str, str]
) -> None:
    """A property that its type lacks and a missing one are refused by name, and the other resources stay away."""
    body = template(
        Queue={"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "never"}},
        Pot={"Type": "AWS::S3::Bucket", "Properties": {"Colour": "red", "VersioningConfiguration": {"State": "On"}}},
        Group={"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {}},
    )
    with pytest.raises(ClientError) as caught:
        getattr(emulator.client("cloudformation"), operation)(StackName="red", TemplateBody=body, **named)
    assert "resource Pot with message:\n[#: extraneous key [Colour] is not permitted]" in str(caught.value)
    assert "[#/VersioningConfiguration: extraneous key [State] is not permitted]" in str(caught.value)
    assert "[#: required key [ModelPackageGroupName] not found]" in str(caught.value)
    assert emulator.client("sqs").list_queues(QueueNamePrefix="never").get("QueueUrls", []) == []


def test_added_types_are_created_updated_and_deleted(emulator: Any) -> None:
    """Model package group, budget, composite alarm and security configuration follow their stack."""
    alarm = {"MetricName": "m", "Namespace": "n", "Threshold": 1, "EvaluationPeriods": 1, "Period": 60}
    alarm |= {"ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum", "AlarmName": "one"}
    limit = {"BudgetLimit": {"Amount": 100, "Unit": "USD"}, "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    resources: dict[str, Any] = {
        "Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": "group"}},
        "Budget": {"Type": "AWS::Budgets::Budget", "Properties": {"Budget": {"BudgetName": "budget", **limit}}},
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm},
        "Either": {
            "Type": "AWS::CloudWatch::CompositeAlarm",
            "DependsOn": "Alarm",
            "Properties": {"AlarmName": "either", "AlarmRule": "ALARM(one)"},
        },
        "Security": {
            "Type": "AWS::Glue::SecurityConfiguration",
            "Properties": {
                "Name": "secure",
                "EncryptionConfiguration": {"S3Encryptions": [{"S3EncryptionMode": "SSE-S3"}]},
            },
        },
    }
    stacks, alarms = emulator.client("cloudformation"), emulator.client("cloudwatch")
    stacks.create_stack(StackName="types", TemplateBody=template(**resources))

    def status() -> str:
        return str(stacks.describe_stacks(StackName="types")["Stacks"][0]["StackStatus"])

    assert until(lambda: status() == "CREATE_COMPLETE"), stacks.describe_stack_events(StackName="types")
    sagemaker = emulator.client("sagemaker")
    assert (
        sagemaker.describe_model_package_group(ModelPackageGroupName="group")["ModelPackageGroupStatus"] == "Completed"
    )
    assert emulator.client("glue").get_security_configuration(Name="secure")
    assert emulator.client("budgets").describe_budget(AccountId="123456789012", BudgetName="budget")
    alarms.set_alarm_state(AlarmName="one", StateValue="ALARM", StateReason="by hand")
    found = alarms.describe_alarms(AlarmNames=["either"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert [(item["AlarmName"], item["StateValue"]) for item in found] == [("either", "ALARM")]
    resources["Either"]["Properties"]["AlarmDescription"] = "changed"
    stacks.update_stack(StackName="types", TemplateBody=template(**resources))
    assert until(lambda: status() == "UPDATE_COMPLETE"), status()
    stacks.delete_stack(StackName="types")
    groups = sagemaker.list_model_package_groups
    assert until(lambda: groups()["ModelPackageGroupSummaryList"] == [])


def test_a_budgets_action_follows_its_stack(emulator: Any) -> None:
    """It is taken with the policy and the roles that it names, updated in place, and refused where a role is missing."""
    trust = {"Effect": "Allow", "Principal": {"Service": "budgets.amazonaws.com"}, "Action": "sts:AssumeRole"}
    deny = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    limit = {"BudgetLimit": {"Amount": 100, "Unit": "USD"}, "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    roles: list[Any] = [{"Ref": "Role"}]
    action: dict[str, Any] = {
        "BudgetName": {"Ref": "Budget"},
        "ActionType": "APPLY_IAM_POLICY",
        "NotificationType": "ACTUAL",
        "ActionThreshold": {"Type": "PERCENTAGE", "Value": 100},
        "ApprovalModel": "AUTOMATIC",
        "ExecutionRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
        "Definition": {"IamActionDefinition": {"PolicyArn": {"Ref": "Deny"}, "Roles": roles}},
        "Subscribers": [{"Type": "EMAIL", "Address": "people@example.com"}],
    }
    resources: dict[str, Any] = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}},
        },
        "Deny": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": {"Version": "2012-10-17", "Statement": [deny]}},
        },
        "Budget": {"Type": "AWS::Budgets::Budget", "Properties": {"Budget": {"BudgetName": "spent", **limit}}},
        "Action": {"Type": "AWS::Budgets::BudgetsAction", "Properties": action},
    }
    outputs = {"Action": {"Value": {"Fn::GetAtt": ["Action", "ActionId"]}}}
    stacks = emulator.client("cloudformation")

    def deployed() -> dict[str, Any]:
        found: dict[str, Any] = stacks.describe_stacks(StackName="spending")["Stacks"][0]
        return found

    def body() -> str:
        return json.dumps({**json.loads(template(**resources)), "Outputs": outputs})

    stacks.create_stack(StackName="spending", TemplateBody=body(), Capabilities=["CAPABILITY_IAM"])
    assert until(lambda: deployed()["StackStatus"] == "CREATE_COMPLETE"), stacks.describe_stack_events(
        StackName="spending"
    )
    made = deployed()["Outputs"]
    action["ApprovalModel"] = "MANUAL"
    stacks.update_stack(StackName="spending", TemplateBody=body(), Capabilities=["CAPABILITY_IAM"])
    assert until(lambda: deployed()["StackStatus"] == "UPDATE_COMPLETE"), deployed()
    assert made == deployed()["Outputs"]
    roles.append("nobody")
    stacks.update_stack(StackName="spending", TemplateBody=body(), Capabilities=["CAPABILITY_IAM"])
    assert until(lambda: deployed()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"), deployed()
    events = stacks.describe_stack_events(StackName="spending")["StackEvents"]
    assert any("GetRole" in event.get("ResourceStatusReason", "") for event in events)
    stacks.delete_stack(StackName="spending")


def test_pass_role_is_checked(emulator: Any) -> None:
    """A task that hands a role to SageMaker needs iam:PassRole for that role and service."""
    model_role = emulator.role(
        "model", "sagemaker.amazonaws.com", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    )
    allow = {"Effect": "Allow", "Action": "sagemaker:CreateModel", "Resource": "*"}
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": model_role}
    to_glue = {**passing, "Condition": {"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}}}
    arguments = {"ModelName": "m", "ExecutionRoleArn": model_role, "PrimaryContainer": {"Image": "i"}}
    resource = "arn:aws:states:::sagemaker:createModel"
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}
    definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}}
    causes = []
    for name, statements in (("none", [allow]), ("glue", [allow, to_glue])):
        role = emulator.role(f"passing-{name}", STATES, *statements)
        done = emulator.execute(emulator.machine(f"passing-{name}", role, definition))
        assert (done["status"], done["error"]) == ("FAILED", "SageMaker.AmazonSageMakerException")
        causes.append(done["cause"])
    assert ["iam:PassRole" in cause for cause in causes] == [True, True]


def test_leading_keys_are_checked(emulator: Any) -> None:
    """A task writes only the items whose partition key its role's statement covers."""
    table = emulator.client("dynamodb").create_table(
        TableName="led",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]["TableArn"]
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["WAIT#*"]}}
    allow = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table, "Condition": keys}
    role = emulator.role("leading", STATES, allow)

    def written(how: str, arguments: dict[str, Any]) -> str:
        resource = f"arn:aws:states:::aws-sdk:dynamodb:{how}"
        state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}
        definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}}
        machine = emulator.machine(f"leading-{how}", role, definition)
        done = emulator.execute(machine)
        emulator.client("stepfunctions").delete_state_machine(stateMachineArn=machine)
        time.sleep(0.1)
        assert done["status"] == "SUCCEEDED" or "not authorized to perform: dynamodb:PutItem" in done["cause"], done
        return str(done["status"])

    def puts(*names: str) -> list[dict[str, Any]]:
        return [{"Put": {"TableName": "led", "Item": {"pk": {"S": name}}}} for name in names]

    single = [written("putItem", {"TableName": "led", "Item": {"pk": {"S": name}}}) for name in ("WAIT#1", "RUN#1")]
    many = [written("transactWriteItems", {"TransactItems": puts("WAIT#2", name)}) for name in ("WAIT#3", "RUN#3")]
    assert (single, many) == (["SUCCEEDED", "FAILED"], ["SUCCEEDED", "FAILED"])


def test_scaling_is_registered_by_a_task(emulator: Any) -> None:
    """A task may register a scalable target by Application Auto Scaling's own condition keys."""
    keys = {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}
    action = "application-autoscaling:RegisterScalableTarget"
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", "Condition": keys}
    role = emulator.role("scaler", STATES, statement)
    target = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/AllTraffic"}
    target["ScalableDimension"] = "sagemaker:variant:DesiredInstanceCount"
    resource = "arn:aws:states:::aws-sdk:applicationautoscaling:registerScalableTarget"
    arguments = {**target, "MinCapacity": 1, "MaxCapacity": 2}
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}
    definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}}
    done = emulator.execute(emulator.machine("scaler", role, definition))
    # It was let in, and found no endpoint.
    assert done["error"] == "ApplicationAutoScaling.ValidationException", done
    assert "No SageMaker endpoint variant found" in done["cause"]


def test_every_call_was_authorized(emulator: Any) -> None:
    """No call of this module reached a service without an IAM action."""
    assert emulator.unmapped() == []


def test_what_was_attached_by_hand_is_not_deleted(emulator: Any) -> None:
    """Neither the role nor the policy goes with its stack while one holds the other, and both go afterwards."""
    stacks, iam = emulator.client("cloudformation"), emulator.client("iam")
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": STATES}}
    deny = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    starter = {"RoleName": "starter", "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [assume]}}
    spent = {"ManagedPolicyName": "spent", "PolicyDocument": {"Version": "2012-10-17", "Statement": [deny]}}
    for kind, properties in (("Role", starter), ("ManagedPolicy", spent)):
        body = template(It={"Type": f"AWS::IAM::{kind}", "Properties": properties})
        stacks.create_stack(StackName=kind, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])

    def statuses() -> dict[str, str]:
        found = {each["StackName"]: each["StackStatus"] for each in stacks.describe_stacks()["Stacks"]}
        return {kind: found[kind] for kind in ("Role", "ManagedPolicy") if kind in found}

    assert until(lambda: set(statuses().values()) == {"CREATE_COMPLETE"})
    attached = {"RoleName": "starter", "PolicyArn": "arn:aws:iam::123456789012:policy/spent"}
    iam.attach_role_policy(**attached)
    for kind in statuses():
        stacks.delete_stack(StackName=kind)
    assert {"Role": "DELETE_FAILED", "ManagedPolicy": "DELETE_FAILED"} == statuses()
    iam.detach_role_policy(**attached)
    for kind in statuses():
        stacks.delete_stack(StackName=kind)
    assert {} == statuses()

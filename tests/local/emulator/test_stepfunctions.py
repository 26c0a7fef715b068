"""Executions against the running emulator: permissions, integrations, errors, time-outs."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

STATES = "states.amazonaws.com"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/ledger"


def allow(*actions: str, on: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def task(resource: str, arguments: Any, **more: Any) -> dict[str, Any]:
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True, **more}
    return {"QueryLanguage": "JSONata", "StartAt": "Work", "States": {"Work": state}}


@pytest.fixture(scope="module")
def ledger(emulator: Any) -> str:
    emulator.client("dynamodb").create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return "ledger"


def test_a_task_does_what_the_role_allows(emulator: Any, ledger: str) -> None:
    """A task acts as the machine's role and its answer is shaped as Step Functions shapes it."""
    role = emulator.role("writer", STATES, allow("dynamodb:PutItem", "dynamodb:GetItem", on=TABLE))
    put = {"TableName": ledger, "Item": {"pk": {"S": "a"}, "none": {"Nul": True}, "yes": {"Bool": True}}}
    states = {
        "Put": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem",
            "Arguments": put,
            "Next": "Get",
        },
        "Get": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:getItem",
            "Arguments": {"TableName": ledger, "Key": {"pk": {"S": "a"}}},
            "End": True,
        },
    }
    machine = emulator.machine("writer", role, {"QueryLanguage": "JSONata", "StartAt": "Put", "States": states})
    done = emulator.execute(machine)
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"]) == {"Item": {"pk": {"S": "a"}, "none": {"Nul": True}, "yes": {"Bool": True}}}


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("nothing", [allow("s3:ListBucket")]),
        ("other-action", [allow("dynamodb:GetItem", on=TABLE)]),
        ("other-resource", [allow("dynamodb:PutItem", on=f"{TABLE}2")]),
        ("denied", [allow("dynamodb:*"), {"Effect": "Deny", "Action": "dynamodb:PutItem", "Resource": TABLE}]),
    ],
)
def test_a_task_is_denied_what_the_role_lacks(
    emulator: Any, ledger: str, name: str, policy: list[dict[str, Any]]
) -> None:
    """A call outside the role's policy fails the task with AWS's error name, and a Catch can take it."""
    role = emulator.role(f"denied-{name}", STATES, *policy)
    definition = task("aws-sdk:dynamodb:putItem", {"TableName": ledger, "Item": {"pk": {"S": "b"}}})
    done = emulator.execute(emulator.machine(f"denied-{name}", role, definition))
    assert (done["status"], done["error"]) == ("FAILED", "DynamoDb.DynamoDbException")
    assert "is not authorized to perform: dynamodb:PutItem" in done["cause"]


def test_a_permissions_boundary_limits_the_role(emulator: Any, ledger: str) -> None:
    """A boundary that does not allow the action wins over the role's policy."""
    iam = emulator.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:*")]})
    boundary = iam.create_policy(PolicyName="boundary", PolicyDocument=document)["Policy"]["Arn"]
    role = emulator.role("bounded", STATES, allow("dynamodb:*"))
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary=boundary)
    definition = task("aws-sdk:dynamodb:putItem", {"TableName": ledger, "Item": {"pk": {"S": "b"}}})
    done = emulator.execute(emulator.machine("bounded", role, definition))
    assert (done["status"], done["error"]) == ("FAILED", "DynamoDb.DynamoDbException")


def test_error_names_of_optimised_and_sdk_integrations_differ(emulator: Any, ledger: str) -> None:
    """A failed condition is DynamoDb.* from the SDK integration and DynamoDB.* from the optimised one."""
    role = emulator.role("conditions", STATES, allow("dynamodb:PutItem", on=TABLE))
    arguments = {"TableName": ledger, "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(nope)"}
    arguments["ConditionExpression"] = "attribute_exists(nope)"
    names = []
    for index, resource in enumerate(("aws-sdk:dynamodb:putItem", "dynamodb:putItem")):
        machine = emulator.machine(f"conditions-{index}", role, task(resource, arguments))
        names.append(emulator.execute(machine)["error"])
    assert names == ["DynamoDb.ConditionalCheckFailedException", "DynamoDB.ConditionalCheckFailedException"]


def test_s3_objects_as_text(emulator: Any) -> None:
    """putObject takes an object as body, getObject answers text, a missing object is S3.NoSuchKeyException."""
    emulator.client("s3").create_bucket(Bucket="texts", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    role = emulator.role("texts", STATES, allow("s3:GetObject", "s3:PutObject", "s3:ListBucket"))
    place = {"Bucket": "texts", "Key": "a.json"}
    put = task("aws-sdk:s3:putObject", {**place, "Body": {"rows": 3}})
    assert emulator.execute(emulator.machine("texts-put", role, put))["status"] == "SUCCEEDED"
    get = emulator.execute(emulator.machine("texts-get", role, task("aws-sdk:s3:getObject", place)))
    answer = json.loads(get["output"])
    assert json.loads(answer["Body"]) == {"rows": 3}
    assert {"ETag", "ContentLength", "LastModified"} <= set(answer)
    listed = task("aws-sdk:s3:listObjectsV2", {"Bucket": "texts"})
    assert json.loads(emulator.execute(emulator.machine("texts-list", role, listed))["output"])["KeyCount"] == 1
    missing = task("aws-sdk:s3:getObject", {**place, "Key": "none"})
    assert emulator.execute(emulator.machine("texts-missing", role, missing))["error"] == "S3.NoSuchKeyException"


@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        (
            "dynamodb:putItem.waitForTaskToken",
            {"TableName": "t", "Item": {"t": {"S": "{% $states.context.Task.Token %}"}}},
        ),
        ("aws-sdk:sagemaker:createTrainingJob.sync", {}),
        ("sagemaker:createModel.sync", {}),
        ("cloudwatch:putMetricData", {}),
        ("aws-sdk:s3:fetchObject", {}),
        ("aws-sdk:dynamodb:putItem.waitForTaskToken", {"TableName": "t", "Item": {"t": {"S": "no token"}}}),
        ("aws-sdk:dynamodb:putItem", {"TableName": "t", "Item": {}, "Colour": "red"}),
        ("aws-sdk:dynamodb:putItem", {"TableName": "t"}),
    ],
)
def test_what_aws_does_not_have_is_refused_on_creation(emulator: Any, resource: str, arguments: Any) -> None:
    """CreateStateMachine refuses integrations, patterns and arguments that AWS does not have."""
    try:
        role = emulator.role("any", STATES)
    except ClientError:
        role = "arn:aws:iam::123456789012:role/any"
    with pytest.raises(ClientError) as refused:
        emulator.machine("refused", role, task(resource, arguments))
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


def test_sync_needs_the_managed_rule(emulator: Any) -> None:
    """A machine with a SageMaker `.sync` task cannot be created without the permissions for the managed rule."""
    role = emulator.role("no-rule", STATES, allow("sagemaker:*"))
    arguments = dict.fromkeys(("TrainingJobName", "AlgorithmSpecification", "RoleArn"), "{% $states.input.x %}")
    arguments |= dict.fromkeys(("OutputDataConfig", "ResourceConfig", "StoppingCondition"), "{% $states.input.x %}")
    with pytest.raises(ClientError) as refused:
        emulator.machine("no-rule", role, task("sagemaker:createTrainingJob.sync", arguments))
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "managed-rule" in refused.value.response["Error"]["Message"]


def test_a_role_that_does_not_trust_step_functions_is_refused(emulator: Any) -> None:
    """CreateStateMachine needs a role that states.amazonaws.com may assume."""
    role = emulator.role("glue-only", "glue.amazonaws.com")
    with pytest.raises(ClientError) as refused:
        emulator.machine("untrusted", role, {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_names_are_idempotency_keys(emulator: Any) -> None:
    """Same name and input while running is the same execution; another input, or a closed one, already exists."""
    role = emulator.role("waiter", STATES)
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 5, "End": True}}}
    machine = emulator.machine("waiter", role, wait)
    client = emulator.client("stepfunctions")
    first = client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
    again = client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
    assert (first["executionArn"], first["startDate"]) == (again["executionArn"], again["startDate"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="one", input='{"a": 2}')
    emulator.ended(first["executionArn"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')


def test_input_that_is_no_json_is_refused(emulator: Any) -> None:
    """StartExecution refuses what no reader of JSON in UTF-8 could take, before an execution exists."""
    role = emulator.role("inputs", STATES)
    machine = emulator.machine("inputs", role, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    client = emulator.client("stepfunctions")
    for text in ('{"a": NaN}', '{"a": -Infinity}', r'{"a": "\ud800"}', "{a", ""):
        with pytest.raises(client.exceptions.InvalidExecutionInput):
            client.start_execution(stateMachineArn=machine, input=text)
    assert client.list_executions(stateMachineArn=machine)["executions"] == []


def test_only_express_machines_answer_at_once(emulator: Any) -> None:
    """StartSyncExecution of a Standard machine is refused and starts nothing."""
    role = emulator.role("at-once", STATES)
    machine = emulator.machine("at-once", role, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    client = emulator.client("stepfunctions")
    with pytest.raises(client.exceptions.StateMachineTypeNotSupported):
        client.start_sync_execution(stateMachineArn=machine)
    assert client.list_executions(stateMachineArn=machine)["executions"] == []


def test_a_definition_is_validated_as_on_creation(emulator: Any) -> None:
    """ValidateStateMachineDefinition finds what CreateStateMachine refuses; TestState is refused by name."""
    client = emulator.client("stepfunctions")
    good = json.dumps(task("aws-sdk:sqs:listQueues", {}))
    assert client.validate_state_machine_definition(definition=good)["result"] == "OK"
    bad = json.dumps(task("aws-sdk:sqs:listQueues", {"Colour": "red"}))
    answer = client.validate_state_machine_definition(definition=bad)
    assert answer["result"] == "FAIL"
    assert "'Colour' is not supported" in answer["diagnostics"][0]["message"]
    assert answer["diagnostics"][0]["code"] == "SCHEMA_VALIDATION_FAILED"
    with pytest.raises(client.exceptions.ValidationException, match="TestState is not modelled"):
        client.test_state(definition=good)


def test_stop_time_out_and_failure_are_announced(emulator: Any) -> None:
    """A machine's time-out ends as TIMED_OUT, a stop as ABORTED, and both reach an EventBridge rule with its role."""
    role = emulator.role("endings", STATES)
    wait: dict[str, Any] = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}}
    slow = emulator.machine("slow", role, {**wait, "TimeoutSeconds": 1})
    stopped = emulator.machine("stopped", role, wait)
    failing = emulator.machine("failing", role, {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}})
    reaper = emulator.machine("reaper", role, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    events, client = emulator.client("events"), emulator.client("stepfunctions")
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"status": ["FAILED", "TIMED_OUT", "ABORTED"], "stateMachineArn": [slow, stopped, failing]},
    }
    events.put_rule(Name="endings", EventPattern=json.dumps(pattern))
    starter = emulator.role("starter", "events.amazonaws.com", allow("states:StartExecution", on=reaper))
    events.put_targets(Rule="endings", Targets=[{"Id": "1", "Arn": reaper, "RoleArn": starter}])
    running = client.start_execution(stateMachineArn=stopped)["executionArn"]
    assert emulator.execute(slow)["status"] == "TIMED_OUT"
    client.stop_execution(executionArn=running, error="Reason", cause="by hand")
    assert emulator.ended(running)["status"] == "ABORTED"
    assert emulator.execute(failing)["status"] == "FAILED"
    time.sleep(0.5)
    reaped = client.list_executions(stateMachineArn=reaper)["executions"]
    inputs = [json.loads(client.describe_execution(executionArn=one["executionArn"])["input"]) for one in reaped]
    assert sorted(item["detail"]["status"] for item in inputs) == ["ABORTED", "FAILED", "TIMED_OUT"]
    assert all(len(one["name"]) == 73 and one["name"].count("_") == 1 for one in reaped)


def test_a_rule_without_permission_starts_nothing(emulator: Any) -> None:
    """A rule's role must be trusted and allowed, else the event goes to the target's dead-letter queue."""
    role = emulator.role("unstarted", STATES)
    machine = emulator.machine("unstarted", role, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    poor = emulator.role("poor", "events.amazonaws.com", allow("states:StartExecution", on=f"{machine}-other"))
    sqs, events = emulator.client("sqs"), emulator.client("events")
    arn = "arn:aws:sqs:eu-west-1:123456789012:dead"
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    events.put_rule(Name="poor", EventPattern=json.dumps({"source": ["mine"]}))
    target = {"Id": "1", "Arn": machine, "RoleArn": poor, "DeadLetterConfig": {"Arn": arn}}
    events.put_targets(Rule="poor", Targets=[target])
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": service_may("events", "sqs:SendMessage", arn)})
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert emulator.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"] == []
    assert len(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2, MaxNumberOfMessages=10).get("Messages", [])) == 1


def test_eventbridge_names_no_source_to_a_topic(emulator: Any) -> None:
    """A topic whose policy asks EventBridge for its account gets nothing, as on AWS; without a condition it does."""
    events, sns, sqs = emulator.client("events"), emulator.client("sns"), emulator.client("sqs")
    arn = "arn:aws:sqs:eu-west-1:123456789012:inbox"
    policy = service_may("sns", "sqs:SendMessage", arn)
    inbox = sqs.create_queue(QueueName="inbox", Attributes={"Policy": policy})["QueueUrl"]
    events.put_rule(Name="tells", EventPattern=json.dumps({"source": ["teller"]}))
    for name, condition in (("asking", {"StringEquals": {"aws:SourceAccount": "123456789012"}}), ("open", {})):
        topic = sns.create_topic(Name=name)["TopicArn"]
        policy = service_may("events", "sns:Publish", topic, condition)
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        events.put_targets(Rule="tells", Targets=[{"Id": name, "Arn": topic}])
    events.put_events(Entries=[{"Source": "teller", "DetailType": "x", "Detail": "{}"}])
    messages = sqs.receive_message(QueueUrl=inbox, WaitTimeSeconds=2, MaxNumberOfMessages=10).get("Messages", [])
    assert [json.loads(message["Body"])["TopicArn"].split(":")[-1] for message in messages] == ["open"]


def service_may(service: str, action: str, resource: str, condition: dict[str, Any] | None = None) -> str:
    """A resource's policy that lets a service in."""
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_callback_resumes_and_times_out(emulator: Any, ledger: str) -> None:
    """putItem.waitForTaskToken stores the token; SendTaskSuccess resumes; the time-out can be caught."""
    role = emulator.role("callback", STATES, allow("dynamodb:PutItem", on=TABLE))
    item = {"pk": {"S": "wait"}, "token": {"S": "{% $states.context.Task.Token %}"}}
    definition = task(
        "aws-sdk:dynamodb:putItem.waitForTaskToken",
        {"TableName": ledger, "Item": item},
        TimeoutSeconds="{% $states.input.seconds %}",
        Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
    )
    definition["States"]["Late"] = {"Type": "Pass", "Output": "late", "End": True}
    machine = emulator.machine("callback", role, definition)
    client = emulator.client("stepfunctions")
    running = client.start_execution(stateMachineArn=machine, input='{"seconds": 20}')["executionArn"]
    table, found = emulator.client("dynamodb"), None
    while not (found and found.get("Item")):
        found = table.get_item(TableName=ledger, Key={"pk": {"S": "wait"}})
    client.send_task_success(taskToken=found["Item"]["token"]["S"], output='{"ok": true}')
    assert json.loads(emulator.ended(running)["output"]) == {"ok": True}
    assert json.loads(emulator.execute(machine, {"seconds": 1})["output"]) == "late"


def test_a_payload_above_the_limit_is_not_caught_by_all(emulator: Any) -> None:
    """States.DataLimitExceeded ends the execution in spite of a Catch on States.ALL."""
    role = emulator.role("large", STATES)
    grow = {"Type": "Pass", "Output": "{% $pad('', 300000, 'x') %}", "End": True}
    catching = {
        "Type": "Parallel",
        "Branches": [{"StartAt": "Grow", "States": {"Grow": grow}}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }
    states = {"Both": catching, "Caught": {"Type": "Succeed"}}
    machine = emulator.machine("large", role, {"QueryLanguage": "JSONata", "StartAt": "Both", "States": states})
    done = emulator.execute(machine)
    assert (done["status"], done["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_history_tells_states_and_tasks(emulator: Any, ledger: str) -> None:
    """The history names each state entered and left, and each task scheduled, started and ended."""
    role = emulator.role("told", STATES, allow("dynamodb:GetItem", on=TABLE))
    definition = task("aws-sdk:dynamodb:getItem", {"TableName": ledger, "Key": {"pk": {"S": "none"}}})
    done = emulator.execute(emulator.machine("told", role, definition))
    assert [event["type"] for event in emulator.history(done["executionArn"])] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]


def test_every_call_was_authorized(emulator: Any) -> None:
    """No call of this module reached a service without an IAM action."""
    assert emulator.unmapped() == []


def test_a_copied_object_may_have_any_name(emulator: Any) -> None:
    """CopySource is percent-encoded, as S3 wants it, and names the object that was meant, in the version that was meant."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="names", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="names", VersioningConfiguration={"Status": "Enabled"})
    key = "raw/my file+ü %41?.csv"
    version = s3.put_object(Bucket="names", Key=key, Body=b"old")["VersionId"]
    s3.put_object(Bucket="names", Key=key, Body=b"new")
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::names", "arn:aws:s3:::names/*"]}
    source = "{% 'names/' & $join($split($states.input.key, '/').$encodeUrlComponent($), '/')"
    copy = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:copyObject",
        "Arguments": {
            "Bucket": "names",
            "Key": "{% 'moved/' & $states.input.key %}",
            "CopySource": source + " & '?versionId=' & $states.input.version %}",
        },
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Copy", "States": {"Copy": copy}}
    machine = emulator.machine("copier", emulator.role("copier", "states.amazonaws.com", everything), definition)
    ended = emulator.execute(machine, {"key": key, "version": version})
    assert ended["status"] == "SUCCEEDED", ended
    assert s3.get_object(Bucket="names", Key=f"moved/{key}")["Body"].read() == b"old"

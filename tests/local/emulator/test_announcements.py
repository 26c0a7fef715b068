"""What AWS's services tell the event bus of themselves: alarms that change their state, stacks that were deployed."""

import json
import re
from typing import Any

import pytest

from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]


def listen(emulator: Any, name: str, pattern: dict[str, Any]) -> str:
    """A queue that receives the events that match."""
    sqs, events = emulator.client("sqs"), emulator.client("events")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return url


def heard(emulator: Any, url: str) -> list[dict[str, Any]]:
    """The events in a queue, in their order."""
    sqs, found = emulator.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_an_alarm_tells_of_its_changes(emulator: Any) -> None:
    """One event per change of state, none where nothing changes, with the names that AWS documents."""
    url = listen(emulator, "alarms", {"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"]})
    watch = emulator.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="dev-census-drift",
        MetricName="Psi",
        Namespace="DualPipeline",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.2,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
        AlarmDescription="the data moved",
    )
    heard(emulator, url)
    for state in ("OK", "ALARM", "ALARM"):
        watch.set_alarm_state(AlarmName="dev-census-drift", StateValue=state, StateReason=f"now {state}")
    events = heard(emulator, url)
    times = [event["detail"]["state"].pop("timestamp") for event in events]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", each) for each in times)
    metric = {"namespace": "DualPipeline", "name": "Psi", "dimensions": {}}
    configuration = {
        "description": "the data moved",
        "metrics": [
            {"id": "m1", "returnData": True, "metricStat": {"metric": metric, "period": 60, "stat": "Maximum"}}
        ],
    }
    assert [event["detail"] for event in events] == [
        {
            "alarmName": "dev-census-drift",
            "configuration": configuration,
            "state": {"value": "OK", "reason": "now OK"},
            "previousState": {"value": "INSUFFICIENT_DATA", "reason": "Unchecked: Initial alarm creation"},
        },
        {
            "alarmName": "dev-census-drift",
            "configuration": configuration,
            "state": {"value": "ALARM", "reason": "now ALARM"},
            "previousState": {"value": "OK", "reason": "now OK", "timestamp": times[0]},
        },
    ]
    assert events[0]["resources"] == ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:dev-census-drift"]


def test_a_stack_tells_of_its_changes(emulator: Any) -> None:
    """Creation and update end with an event that names the stack by its id."""
    pattern = {"source": ["aws.cloudformation"], "detail-type": ["CloudFormation Stack Status Change"]}
    url = listen(emulator, "stacks", pattern)
    cloudformation = emulator.client("cloudformation")

    def template(name: str) -> str:
        return json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}}})

    def status() -> str:
        return str(cloudformation.describe_stacks(StackName="told")["Stacks"][0]["StackStatus"])

    stack = cloudformation.create_stack(StackName="told", TemplateBody=template("first"))["StackId"]
    until(lambda: status() == "CREATE_COMPLETE")
    cloudformation.update_stack(StackName="told", TemplateBody=template("second"))
    until(lambda: status() == "UPDATE_COMPLETE")
    found: list[dict[str, Any]] = []

    def all_told() -> bool:
        found.extend(heard(emulator, url))
        return len(found) >= 4

    assert until(all_told)
    assert {event["detail"]["stack-id"] for event in found} == {stack}
    statuses = [event["detail"]["status-details"]["status"] for event in found]
    assert [each for each in statuses if "CLEANUP" not in each] == [
        "CREATE_IN_PROGRESS",
        "CREATE_COMPLETE",
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE",
    ]


def test_a_pipelines_tags_follow_its_template(emulator: Any) -> None:
    """UpdatePipeline takes no tags; an updated stack changes, adds and removes them all the same."""
    cloudformation, sagemaker = emulator.client("cloudformation"), emulator.client("sagemaker")
    role = emulator.role("tagged", "sagemaker.amazonaws.com")
    steps = [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "not meant to run"}}]
    body = json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps})

    def template(**tags: str) -> str:
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        properties = {
            "PipelineName": "tagged",
            "PipelineDefinition": {"PipelineDefinitionBody": body},
            "RoleArn": role,
            "Tags": listed,
        }
        return json.dumps({"Resources": {"P": {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}}})

    def status() -> str:
        return str(cloudformation.describe_stacks(StackName="tagged")["Stacks"][0]["StackStatus"])

    cloudformation.create_stack(StackName="tagged", TemplateBody=template(code="old", gone="x"))
    assert until(lambda: status() == "CREATE_COMPLETE")
    cloudformation.update_stack(StackName="tagged", TemplateBody=template(code="new", more="y"))
    assert until(lambda: status() == "UPDATE_COMPLETE")
    arn = sagemaker.describe_pipeline(PipelineName="tagged")["PipelineArn"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert {key: value for key, value in tags.items() if not key.startswith("aws:")} == {"code": "new", "more": "y"}

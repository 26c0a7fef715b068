"""Alarms that evaluate what was published: dimensions, missing data, actions, metric math, all three protocols."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

TIME_SCALE = 0.005
"""A minute lasts 0.3 s."""


@pytest.fixture(scope="module")
def watch(emulator: Any) -> Any:
    """A CloudWatch client."""
    return emulator.client("cloudwatch")


def alarm(name: str, **changes: Any) -> dict[str, Any]:
    """A PutMetricAlarm request: failed runs of one project."""
    return {
        "AlarmName": name,
        "Namespace": "DualPipeline",
        "MetricName": "Outcome",
        "Dimensions": [{"Name": "Project", "Value": "census"}, {"Name": "Outcome", "Value": name}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **changes,
    }


def publish(watch: Any, dimensions: Mapping[str, str], value: float = 1.0) -> None:
    """Publish one value of the outcome metric."""
    given = [{"Name": name, "Value": each} for name, each in dimensions.items()]
    watch.put_metric_data(
        Namespace="DualPipeline", MetricData=[{"MetricName": "Outcome", "Dimensions": given, "Value": value}]
    )


def state(watch: Any, name: str) -> str:
    """The state of an alarm."""
    found: str = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]
    return found


def test_an_alarm_hears_only_its_own_dimensions(watch: Any) -> None:
    """The alarm on one outcome rings for it and clears again when time has passed; its neighbour stays quiet."""
    for name in ("failed", "blocked"):
        watch.put_metric_alarm(**alarm(name))
        assert "OK" == state(watch, name)
    publish(watch, {"Project": "census"})
    publish(watch, {"Project": "census", "Outcome": "failed", "Environment": "dev"})
    publish(watch, {"Project": "census", "Outcome": "failed"})
    assert until(lambda: state(watch, "failed") == "ALARM")
    described = watch.describe_alarms(AlarmNames=["failed"])["MetricAlarms"][0]
    assert "datapoints [1.0 (" in described["StateReason"]
    assert [1.0] == json.loads(described["StateReasonData"])["recentDatapoints"]
    assert "OK" == state(watch, "blocked")
    assert until(lambda: state(watch, "failed") == "OK")


def test_a_silent_metric_rings_where_silence_is_bad(watch: Any) -> None:
    """Missing data that breaches rings the alarm until there is news."""
    watch.put_metric_alarm(
        **alarm("news", TreatMissingData="breaching", ComparisonOperator="LessThanThreshold", Threshold=1)
    )
    assert "ALARM" == state(watch, "news")
    publish(watch, {"Project": "census", "Outcome": "news"})
    assert until(lambda: state(watch, "news") == "OK")
    assert until(lambda: state(watch, "news") == "ALARM")


def test_a_state_set_by_hand_lasts_until_the_next_evaluation(watch: Any) -> None:
    """SetAlarmState is a test of what follows, not of the metric; an unknown state is refused."""
    watch.put_metric_alarm(**alarm("by-hand"))
    watch.set_alarm_state(AlarmName="by-hand", StateValue="ALARM", StateReason="test")
    assert until(lambda: state(watch, "by-hand") == "OK")
    with pytest.raises(ClientError, match="failed to satisfy constraint: Member must satisfy enum value set"):
        watch.set_alarm_state(AlarmName="by-hand", StateValue="RED", StateReason="test")


def test_actions_go_to_topics_that_let_cloudwatch_in(emulator: Any, watch: Any) -> None:
    """Each change is published to the topics for its new state, unless a topic's policy shuts CloudWatch out."""
    sns, sqs = emulator.client("sns"), emulator.client("sqs")
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns_may = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**sns_may, "Resource": arn}]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    topics = [sns.create_topic(Name=name)["TopicArn"] for name in ("open", "shut")]
    for topic in topics:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    only_events = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topics[1],
    }
    everybody = {"Principal": "*", "Action": "sns:Publish", "Resource": topics[0]}
    only_tls = {**everybody, "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    own_alarms = {
        **everybody,
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": emulator.settings.account}},
    }
    for topic, statements in ((topics[0], [only_tls, own_alarms]), (topics[1], [only_events])):
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    watch.put_metric_alarm(
        **alarm("acting", AlarmActions=topics, OKActions=topics[:1], AlarmDescription="see the runbook")
    )
    publish(watch, {"Project": "census", "Outcome": "acting"})
    assert until(lambda: state(watch, "acting") == "ALARM")
    assert until(lambda: state(watch, "acting") == "OK")
    messages: list[dict[str, Any]] = []

    def heard() -> bool:
        for each in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            messages.append(json.loads(json.loads(each["Body"])["Message"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
        return len(messages) >= 3

    assert until(heard)
    changes = [(each["OldStateValue"], each["NewStateValue"]) for each in messages]
    # the first one is of the alarm's creation
    assert [("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM"), ("ALARM", "OK")] == changes
    assert "see the runbook" == messages[1]["AlarmDescription"]
    assert {
        "MetricName": "Outcome",
        "Namespace": "DualPipeline",
        "StatisticType": "Statistic",
        "Statistic": "SUM",
        "Unit": None,
        "Dimensions": [{"value": "census", "name": "Project"}, {"value": "acting", "name": "Outcome"}],
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0.0,
        "TreatMissingData": "notBreaching",
        "EvaluateLowSampleCountPercentile": "",
    } == messages[1]["Trigger"]


def math_alarm(name: str, expression: str) -> dict[str, Any]:
    """A PutMetricAlarm request on an expression over two outcomes."""
    stats = [
        {
            "Id": f"m{at}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "DualPipeline",
                    "MetricName": "Outcome",
                    "Dimensions": [{"Name": "Outcome", "Value": f"{name}-{at}"}],
                },
                "Period": 60,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        for at in (1, 2)
    ]
    return {
        "AlarmName": name,
        "Metrics": [*stats, {"Id": "e1", "Expression": expression, "ReturnData": True}],
        "EvaluationPeriods": 1,
        "Threshold": 1.5,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }


def test_an_alarm_on_an_expression(emulator: Any, watch: Any) -> None:
    """By the API and from a template; an expression that the emulator lacks fails both."""
    watch.put_metric_alarm(**math_alarm("sum", "FILL(m1, 0) + FILL(m2, 0)"))
    for at in (1, 2):
        publish(watch, {"Outcome": f"sum-{at}"})
    assert until(lambda: state(watch, "sum") == "ALARM")
    with pytest.raises(ClientError, match="the function SEARCH is not modelled by the local emulator"):
        watch.put_metric_alarm(**math_alarm("bad", "SEARCH(m1)"))
    stacks = emulator.client("cloudformation")

    def deployed(name: str, expression: str) -> str:
        resource = {"Type": "AWS::CloudWatch::Alarm", "Properties": math_alarm(name, expression)}
        stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Alarm": resource}}))

        def status() -> str:
            return str(stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

        assert until(lambda: not status().endswith("_IN_PROGRESS"))
        return status()

    assert "CREATE_COMPLETE" == deployed("largest", "MAX([m1, m2])")
    publish(watch, {"Outcome": "largest-2"}, 7)
    assert until(lambda: state(watch, "largest") == "ALARM")
    assert "ROLLBACK_COMPLETE" == deployed("searching", "SEARCH(m1)")


def test_statistics_are_of_one_metric(watch: Any) -> None:
    """GetMetricStatistics, GetMetricData and ListMetrics keep dimensions apart; values come with their counts."""
    own, other = ([{"Name": "Kind", "Value": kind}] for kind in ("own", "other"))
    data = [
        {
            "MetricName": "Latency",
            "Dimensions": own,
            "Values": [100.0, 200.0],
            "Counts": [99.0, 1.0],
            "Unit": "Microseconds",
        },
        {"MetricName": "Latency", "Dimensions": other, "Value": 9e6, "Unit": "Microseconds"},
        {
            "MetricName": "Rows",
            "StatisticValues": {"SampleCount": 2, "Sum": 10, "Minimum": 4, "Maximum": 6},
        },
    ]
    watch.put_metric_data(Namespace="Own", MetricData=data)
    span = {
        "StartTime": datetime.now(UTC) - timedelta(seconds=30),
        "EndTime": datetime.now(UTC) + timedelta(seconds=30),
    }

    def statistics(name: str, *names: str, **more: Any) -> list[dict[str, Any]]:
        asked = {"Statistics": list(names)} if names else {}
        found: list[dict[str, Any]] = watch.get_metric_statistics(
            Namespace="Own", MetricName=name, Period=86400, **asked, **more, **span
        )["Datapoints"]
        return [{key: value for key, value in each.items() if key not in ("Timestamp", "Unit")} for each in found]

    assert [{"Sum": 10100.0, "SampleCount": 100.0}] == statistics("Latency", "Sum", "SampleCount", Dimensions=own)
    assert [{"ExtendedStatistics": {"p50": 100.0}}] == statistics("Latency", ExtendedStatistics=["p50"], Dimensions=own)
    assert [] == statistics("Latency", "Sum")
    assert [] == statistics("Latency", "Sum", Dimensions=own, Unit="Count")
    assert [{"Average": 5.0, "Maximum": 6.0}] == statistics("Rows", "Average", "Maximum")
    metric = {"Namespace": "Own", "MetricName": "Latency", "Dimensions": own}
    queries = [
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 86400, "Stat": "Average"}, "ReturnData": False},
        {"Id": "ms", "Expression": "m1 / 1000"},
    ]
    found = watch.get_metric_data(MetricDataQueries=queries, **span)["MetricDataResults"]
    assert [("ms", [0.101], "Complete")] == [(each["Id"], each["Values"], each["StatusCode"]) for each in found]
    listed = watch.list_metrics(Namespace="Own", Dimensions=[{"Name": "Kind"}])["Metrics"]
    assert [own, other] == [each["Dimensions"] for each in listed]


@pytest.mark.parametrize("protocol", ["query", "json"])
def test_every_protocol_carries_metrics_and_alarms(emulator: Any, protocol: str) -> None:
    """What an older SDK sends in forms, or in JSON, means the same."""
    session: Any = boto3.Session(
        aws_access_key_id=emulator.settings.access_key_id, aws_secret_access_key="local", region_name="eu-west-1"
    )
    model = session._session.get_component("data_loader").load_service_model("cloudwatch", "service-2")
    model["metadata"] |= {"protocols": [protocol], "protocol": protocol}
    client = session.client(
        "cloudwatch", endpoint_url=emulator.settings.endpoint_url, config=Config(retries={"total_max_attempts": 1})
    )
    assert protocol == client.meta.service_model.resolved_protocol
    name = f"over-{protocol}"
    client.put_metric_alarm(**alarm(name, DatapointsToAlarm=1, Tags=[{"Key": "owner", "Value": "a b"}]))
    publish(client, {"Project": "census", "Outcome": name})
    assert until(lambda: client.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM")
    answer = client.get_metric_statistics(
        Namespace="DualPipeline",
        MetricName="Outcome",
        Dimensions=alarm(name)["Dimensions"],
        StartTime=datetime.now(UTC) - timedelta(seconds=60),
        EndTime=datetime.now(UTC) + timedelta(seconds=60),
        Period=86400,
        Statistics=["Sum"],
    )
    assert [1.0] == [each["Sum"] for each in answer["Datapoints"]]
    assert abs(answer["Datapoints"][0]["Timestamp"].timestamp() - time.time()) < 1000
    with pytest.raises(ClientError, match="AWS/"):
        client.put_metric_data(Namespace="AWS/SageMaker", MetricData=[{"MetricName": "m", "Value": 1.0}])


def test_a_composite_alarm_follows_its_children(watch: Any) -> None:
    """It rings and clears with the metric alarm below it."""
    watch.put_metric_alarm(**alarm("child"))
    watch.put_composite_alarm(AlarmName="parent", AlarmRule="ALARM(child)")

    def parent() -> str:
        found: str = watch.describe_alarms(AlarmNames=["parent"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0][
            "StateValue"
        ]
        return found

    assert "OK" == parent()
    publish(watch, {"Project": "census", "Outcome": "child"})
    assert until(lambda: parent() == "ALARM")
    assert until(lambda: parent() == "OK")


def test_services_publish_their_own_metrics(emulator: Any, watch: Any) -> None:
    """A failed execution and a message that waits ring the alarms on them, and on nothing else."""
    role = emulator.role("failing", "states.amazonaws.com")
    states = {"Break": {"Type": "Fail", "Error": "Test"}}
    machine = emulator.machine("failing", role, {"StartAt": "Break", "States": states})
    names = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionsStarted")
    patient = {"EvaluationPeriods": 20, "DatapointsToAlarm": 1}
    for name in names:
        own = [{"Name": "StateMachineArn", "Value": machine}]
        own_metric = {"Namespace": "AWS/States", "MetricName": name, "Dimensions": own, "Unit": "Count"}
        watch.put_metric_alarm(**alarm(name, **own_metric, **patient))
    sqs = emulator.client("sqs")
    for name in ("full", "empty"):
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        depth = {"Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible", "Statistic": "Maximum"}
        own = [{"Name": "QueueName", "Value": name}]
        watch.put_metric_alarm(**alarm(name, Dimensions=own, **depth, **patient))
        if name == "full":
            sqs.send_message(QueueUrl=queue, MessageBody="lost")

    def ringing() -> set[str]:
        found = watch.describe_alarms(AlarmNames=[*names, "full", "empty"], StateValue="ALARM")["MetricAlarms"]
        return {each["AlarmName"] for each in found}

    assert "FAILED" == emulator.execute(machine)["status"]
    assert until(lambda: ringing() == {"ExecutionsFailed", "ExecutionsStarted", "full"}), ringing()

"""Traffic that really moves between two models, goes back when an alarm rings, and what a dying model leaves."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from traffic import Traffic
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

TIME_SCALE = 1 / 60
"""A minute lasts a second."""

PER_SECOND = 50

SLOW_S = 1.5
"""What an answer of the slow model takes, by the real clock."""


def guarded(kind: str, *alarms: str, size: int = 50, wait_s: int = 120, final_s: int = 0) -> dict[str, Any]:
    """A DeploymentConfig that moves traffic in steps of `size` percent."""
    member = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}[kind]
    routing = {
        "Type": kind,
        member: {"Type": "CAPACITY_PERCENT", "Value": size},
        "WaitIntervalInSeconds": wait_s,
    }
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": final_s}
    found: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        found["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return found


@pytest.fixture(scope="module")
def models(corner: Any) -> None:
    """A good model, another good one, one that raises, and one that takes its time."""
    for name, content in (
        ("double", {"factor": 2}),
        ("triple", {"factor": 3}),
        ("broken", {"raises": "no"}),
        ("slow", {"factor": 3, "takes_s": SLOW_S}),
    ):
        corner.config(corner.model(name, content))


@pytest.fixture
def endpoint(corner: Any, models: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """An endpoint of the test's own that doubles what it gets."""
    name = request.node.name.replace("_", "-")[:60]
    corner.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="double")
    assert "InService" == corner.settled(name)["EndpointStatus"]
    yield name
    with suppress(ClientError):
        corner.sagemaker.delete_endpoint(EndpointName=name)


def ring_on(corner: Any, name: str, endpoint: str, metric: str, **changes: Any) -> None:
    """An alarm on a metric of the endpoint that rings on the first bad minute."""
    statistic = {} if "ExtendedStatistic" in changes else {"Statistic": "Sum"}
    corner.emulator.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "AWS/SageMaker",
            "MetricName": metric,
            "Dimensions": [
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            **statistic,
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            **changes,
        }
    )


def asking(corner: Any, endpoint: str) -> Callable[[], float]:
    """A request for twice or three times one."""
    runtime = corner.emulator.client("sagemaker-runtime")

    def ask() -> float:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, Body="1", ContentType="text/csv")
        found: float = json.loads(answer["Body"].read())["predictions"][0]
        return found

    return ask


def update(corner: Any, endpoint: str, config: str, deployment: dict[str, Any]) -> None:
    """Start an update."""
    corner.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=deployment)


def statistics(
    corner: Any, endpoint: str, metric: str, *names: str, namespace: str = "AWS/SageMaker"
) -> dict[str, Any]:
    """Statistics of one of the endpoint's metrics since it was created."""
    found = corner.emulator.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        StartTime=datetime.now(UTC) - timedelta(minutes=10),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=864_000,
        Statistics=list(names),
    )["Datapoints"]
    assert 1 >= len(found), found
    return found[0] if found else {}


def servers(corner: Any, endpoint: str) -> list[psutil.Process]:
    """The endpoint's serving processes, oldest first."""
    folder = str(corner.emulator.settings.work / "endpoints" / endpoint)
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        words = process.info["cmdline"] or []
        serves = any(word.endswith("serving.py") for word in words) and any(folder in word for word in words)
        if serves and not any(word.endswith("supervisor.py") for word in words):
            found.append(process)
    return sorted(found, key=lambda process: float(process.info["create_time"]))


def test_a_release_fails_no_request(corner: Any, endpoint: str) -> None:
    """At 50 requests a second a canary takes its share, then all; every request is answered by one of both models."""
    with Traffic(asking(corner, endpoint), per_second=PER_SECOND) as traffic:
        assert until(lambda: len(traffic.seen()) >= PER_SECOND)
        update(corner, endpoint, "triple", guarded("CANARY", wait_s=180, final_s=60))
        described = corner.settled(endpoint)
        time.sleep(0.5)
    print(f"release: {len(traffic.answers)} requests, {traffic.per_second:.1f}/s, {len(traffic.failures)} failed")
    assert [] == traffic.failures
    assert ("InService", "triple") == (described["EndpointStatus"], described["EndpointConfigName"])
    assert {2.0, 3.0} == set(traffic.answers)
    first, last = traffic.answers.index(3.0), len(traffic.answers) - traffic.answers[::-1].index(2.0)
    canary = traffic.answers[first:last]
    assert 0.25 < canary.count(3.0) / len(canary) < 0.75
    assert {3.0} == set(traffic.answers[-10:])


def test_a_rollback_fails_no_request(corner: Any, endpoint: str) -> None:
    """An alarm that rings over wrong answers sends all traffic back, and no request notices."""
    alarm = f"wrong-{endpoint}"
    dimensions = [{"Name": "Endpoint", "Value": endpoint}]
    ring_on(corner, alarm, endpoint, "Wrong", Namespace="Own", Dimensions=dimensions)
    watch = corner.emulator.client("cloudwatch")
    with Traffic(asking(corner, endpoint), per_second=PER_SECOND) as traffic:
        update(corner, endpoint, "triple", guarded("CANARY", alarm, wait_s=1200))
        assert until(lambda: 3.0 in traffic.seen())
        data = {"MetricName": "Wrong", "Dimensions": dimensions, "Value": 1.0}
        watch.put_metric_data(Namespace="Own", MetricData=[data])
        described = corner.settled(endpoint)
        time.sleep(0.5)
    print(f"rollback: {len(traffic.answers)} requests, {traffic.per_second:.1f}/s, {len(traffic.failures)} failed")
    assert [] == traffic.failures
    assert ("InService", "double") == (described["EndpointStatus"], described["EndpointConfigName"])
    assert f"alarms ['{alarm}'] are in ALARM state" in described["FailureReason"]
    assert "PendingDeploymentSummary" not in described
    assert {2.0} == set(traffic.answers[-10:])


def test_a_model_that_raises_is_rolled_back_by_its_own_errors(corner: Any, endpoint: str) -> None:
    """The canary's server errors ring the alarm on the endpoint's 5XX rate; only its share of requests fails."""
    alarm = f"5xx-{endpoint}"
    ring_on(corner, alarm, endpoint, "Invocation5XXErrors", Statistic="Average", Threshold=0.02)
    with Traffic(asking(corner, endpoint), per_second=PER_SECOND) as traffic:
        update(corner, endpoint, "broken", guarded("CANARY", alarm, size=10, wait_s=1200))
        described = corner.settled(endpoint)
        time.sleep(0.2)
    assert "double" == described["EndpointConfigName"]
    assert "are in ALARM state" in described["FailureReason"]
    assert 0 < len(traffic.failures) < 0.3 * len(traffic.answers)
    errors = statistics(corner, endpoint, "Invocation5XXErrors", "Sum", "SampleCount")
    assert len(traffic.failures) == errors["Sum"]
    assert len(traffic.failures) + len(traffic.answers) == errors["SampleCount"]
    assert errors["Sum"] == statistics(corner, endpoint, "InvocationModelErrors", "Sum")["Sum"]


def test_a_slow_model_is_rolled_back_by_its_own_latency(corner: Any, endpoint: str) -> None:
    """The canary's right but late answers ring the alarm on the p99 of ModelLatency, which counts microseconds."""
    alarm = f"p99-{endpoint}"
    two_of_three = {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}
    ring_on(corner, alarm, endpoint, "ModelLatency", ExtendedStatistic="p99", Threshold=1e6, **two_of_three)

    def state() -> str:
        found = corner.emulator.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]
        return str(found["StateValue"])

    with Traffic(asking(corner, endpoint), per_second=5) as traffic:
        assert until(lambda: len(traffic.seen()) >= 10)
        assert until(lambda: state() == "OK")
        update(corner, endpoint, "slow", guarded("CANARY", alarm, size=20, wait_s=1800))
        described = corner.settled(endpoint)
    assert ("InService", "double") == (described["EndpointStatus"], described["EndpointConfigName"])
    assert f"alarms ['{alarm}'] are in ALARM state" in described["FailureReason"]
    assert [] == traffic.failures
    assert {2.0, 3.0} == set(traffic.answers)
    latency = statistics(corner, endpoint, "ModelLatency", "Maximum")
    assert "Microseconds" == latency["Unit"]
    assert SLOW_S * 1e6 <= latency["Maximum"] < 60e6


def test_a_deployment_tells_each_of_its_steps(corner: Any, endpoint: str) -> None:
    """Linear: the new fleet is launched, then each step activates traffic and bakes; Describe shows the same."""
    emulator = corner.emulator
    sqs, events = emulator.client("sqs"), emulator.client("events")
    url = sqs.create_queue(QueueName="deployments")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**allowed, "Resource": arn}]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    pattern = {"detail-type": [{"prefix": "SageMaker Endpoint"}], "detail": {"EndpointName": [endpoint]}}
    events.put_rule(Name="deployments", EventPattern=json.dumps({"source": ["aws.sagemaker"], **pattern}))
    events.put_targets(Rule="deployments", Targets=[{"Id": "1", "Arn": arn}])
    update(corner, endpoint, "triple", guarded("LINEAR", wait_s=60))
    assert "InService" == corner.settled(endpoint)["EndpointStatus"]
    told: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            event = json.loads(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            summary = event["detail"].get("PendingDeploymentSummary")
            if event["detail-type"] == "SageMaker Endpoint State Change":
                told.append(event["detail"]["EndpointStatus"])
            else:
                variant = summary["ProductionVariants"][0]
                status = variant["VariantStatus"][0]
                told.append(f"{variant['CurrentInstanceCount']} of 2: {status['StatusMessage']}")
    assert [
        "UPDATING",
        "0 of 2: Launching 2 instance(s).",
        "1 of 2: Activating traffic on canary capacity of 1 instance(s).",
        "1 of 2: Baking for 60 seconds with traffic enabled on canary capacity of 1 instance(s).",
        "2 of 2: Activating traffic on full capacity of 2 instance(s).",
        "2 of 2: Baking for 60 seconds with traffic enabled on full capacity of 2 instance(s).",
        "IN_SERVICE",
    ] == told


def test_a_model_that_dies_is_restarted(corner: Any, endpoint: str) -> None:
    """Requests meanwhile fail by the model's fault, are counted as 5XX, and are answered again afterwards."""
    ask = asking(corner, endpoint)
    assert 2.0 == ask()
    servers(corner, endpoint)[0].kill()
    with pytest.raises(ClientError) as failure:
        until(lambda: ask() and None, seconds=5)
    error: Any = failure.value.response
    assert ("ModelError", 424, 0) == (
        error["Error"]["Code"],
        error["ResponseMetadata"]["HTTPStatusCode"],
        error["OriginalStatusCode"],
    )

    def answers() -> bool:
        with suppress(ClientError):
            return ask() == 2.0
        return False

    assert until(answers)
    assert 1 <= statistics(corner, endpoint, "Invocation5XXErrors", "Sum")["Sum"]
    assert "InService" == corner.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]


def test_a_rollback_to_a_dead_fleet_fails(corner: Any, endpoint: str) -> None:
    """When the old fleet cannot come back the endpoint says UpdateRollbackFailed, answers on, and can only be deleted."""
    alarm = f"wrong-{endpoint}"
    dimensions = [{"Name": "Endpoint", "Value": endpoint}]
    ring_on(corner, alarm, endpoint, "Wrong", Namespace="Own", Dimensions=dimensions)
    old = servers(corner, endpoint)[0]
    folder = Path(next(word for word in old.cmdline() if word.endswith("/model")))
    update(corner, endpoint, "triple", guarded("CANARY", alarm, wait_s=1200))
    assert until(lambda: len(servers(corner, endpoint)) == 2)

    def stage() -> str:
        summary = corner.sagemaker.describe_endpoint(EndpointName=endpoint)["PendingDeploymentSummary"]
        return str(summary["ProductionVariants"][0]["VariantStatus"][0]["Status"])

    assert until(lambda: stage() == "Baking")
    shutil.rmtree(folder)
    old.kill()
    data = {"MetricName": "Wrong", "Dimensions": dimensions, "Value": 1.0}
    corner.emulator.client("cloudwatch").put_metric_data(Namespace="Own", MetricData=[data])
    described = corner.wait_until(
        lambda: corner.sagemaker.describe_endpoint(EndpointName=endpoint),
        lambda found: found["EndpointStatus"] not in ("Updating", "RollingBack"),
    )
    assert "UpdateRollbackFailed" == described["EndpointStatus"]
    assert "The rollback failed: on the old fleet production variant AllTraffic" in described["FailureReason"]
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        update(corner, endpoint, "triple", guarded("CANARY"))
    corner.sagemaker.delete_endpoint(EndpointName=endpoint)
    assert until(lambda: not servers(corner, endpoint))


def test_requests_and_instances_are_measured(corner: Any, endpoint: str) -> None:
    """Counts per request, latencies in microseconds, percentages of the serving process."""
    ask = asking(corner, endpoint)
    for _ in range(4):
        ask()
    with pytest.raises(ClientError):
        corner.predict(endpoint, "1", content_type="text/plain")
    assert 5.0 == statistics(corner, endpoint, "Invocations", "Sum")["Sum"]
    assert 2.5 == statistics(corner, endpoint, "InvocationsPerInstance", "Sum")["Sum"]
    assert 0.2 == statistics(corner, endpoint, "Invocation4XXErrors", "Average")["Average"]
    assert 0.0 == statistics(corner, endpoint, "Invocation5XXErrors", "Sum")["Sum"]
    for name in ("ModelLatency", "OverheadLatency"):
        latency = statistics(corner, endpoint, name, "Minimum", "SampleCount")
        assert ("Microseconds", 5.0) == (latency["Unit"], latency["SampleCount"])
        assert 1 < latency["Minimum"] < 10_000_000
    for name in ("CPUUtilization", "MemoryUtilization", "DiskUtilization"):
        found = until(partial(statistics, corner, endpoint, name, "Maximum", namespace="/aws/sagemaker/Endpoints"))
        assert found["Unit"] == "Percent"
        assert 0 <= found["Maximum"] <= 100 * (psutil.cpu_count() or 1)

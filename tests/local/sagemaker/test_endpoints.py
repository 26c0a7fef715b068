"""Endpoints that answer, their guarded updates and what is refused."""

import json
import threading
import time
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local


def blue_green(*alarms: str, **routing: Any) -> dict[str, Any]:
    """A DeploymentConfig."""
    traffic = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0, **routing}
    config: dict[str, Any] = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic}}
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return config


@pytest.fixture(scope="module")
def endpoint(corner: Any) -> str:
    """An endpoint in service that doubles what it gets."""
    corner.config(corner.model("double", {"factor": 2}))
    corner.config(corner.model("triple", {"factor": 3}))
    corner.config(corner.model("dead", {}, inference="raise RuntimeError('no such library')"))
    corner.sagemaker.create_endpoint(EndpointName="answers", EndpointConfigName="double")
    assert "InService" == corner.settled("answers")["EndpointStatus"]
    for name, value in (("calm", 0), ("ringing", 9)):
        cloudwatch = corner.emulator.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="Test",
            MetricName=name,
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=5,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        state = "ALARM" if value > 5 else "OK"
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
    return "answers"


def test_an_endpoint_answers_with_its_model(corner: Any, endpoint: str) -> None:
    """A request goes through input_fn, predict_fn and output_fn of the code in the model's archive."""
    assert {"predictions": [2.0, 5.0]} == corner.predict(endpoint, "1\n2.5\n")
    described = corner.sagemaker.describe_endpoint(EndpointName=endpoint)
    variant = described["ProductionVariants"][0]
    assert ("AllTraffic", 2, 1.0) == (
        variant["VariantName"],
        variant["CurrentInstanceCount"],
        variant["CurrentWeight"],
    )


def test_an_answer_keeps_its_type_and_names_its_variant(corner: Any, endpoint: str) -> None:
    """ContentType is the model's own, InvokedProductionVariant the one that answered."""
    answer = corner.runtime.invoke_endpoint(EndpointName=endpoint, Body="1", ContentType="text/csv")
    assert ("application/json", "AllTraffic") == (answer["ContentType"], answer["InvokedProductionVariant"])


def test_what_invocations_lack_is_refused_by_name(corner: Any, endpoint: str) -> None:
    """Targets, streams and asynchronous calls are not quietly answered as a plain call, and IAM knows their actions."""
    request = {"EndpointName": endpoint, "Body": "1", "ContentType": "text/csv"}
    with pytest.raises(ClientError, match="TargetVariant is not modelled"):
        corner.runtime.invoke_endpoint(**request, TargetVariant="none")
    with pytest.raises(ClientError, match="InvokeEndpointWithResponseStream is not modelled"):
        corner.runtime.invoke_endpoint_with_response_stream(**request)
    with pytest.raises(ClientError, match="InvokeEndpointAsync is not modelled"):
        corner.runtime.invoke_endpoint_async(EndpointName=endpoint, InputLocation="s3://bucket/key")
    assert [] == corner.emulator.unmapped()


def test_a_body_beyond_the_limit_is_refused(corner: Any, endpoint: str) -> None:
    """A request of more than 6 MB never reaches the model."""
    with pytest.raises(ClientError, match="more than the limit of 6291456") as caught:
        corner.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"1" * 6_291_457, ContentType="text/csv")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_bad_request_is_a_model_error_and_kills_nothing(corner: Any, endpoint: str) -> None:
    """What input_fn refuses comes back as a client error of the model with its status and reason."""
    with pytest.raises(ClientError) as refusal:
        corner.predict(endpoint, "x", content_type="text/plain")
    error: Any = refusal.value.response
    assert "ModelError" == error["Error"]["Code"]
    assert 424 == error["ResponseMetadata"]["HTTPStatusCode"]
    assert (415, "cannot read text/plain") == (error["OriginalStatusCode"], error["OriginalMessage"])
    assert {"predictions": [2.0]} == corner.predict(endpoint, "1")


def test_an_unknown_endpoint_is_a_validation_error(corner: Any, endpoint: str) -> None:
    """The runtime names the account."""
    with pytest.raises(ClientError, match="Endpoint nowhere of account 123456789012 not found"):
        corner.predict("nowhere", "1")


def test_an_update_fails_no_request(corner: Any, endpoint: str) -> None:
    """While fleets are switched every request is answered by the old or the new model."""
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(corner.predict(endpoint, "1")["predictions"][0])
            except ClientError as error:
                answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    corner.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName="triple", DeploymentConfig=blue_green("calm")
    )
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        corner.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="double")
    described = corner.settled(endpoint)
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert {2.0, 3.0} == set(answers)
    assert ("InService", "triple") == (described["EndpointStatus"], described["EndpointConfigName"])
    assert blue_green("calm") == described["LastDeploymentConfig"]
    corner.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="double")
    assert "double" == corner.settled(endpoint)["EndpointConfigName"]


@pytest.mark.parametrize(
    ("config", "alarm", "reason"),
    [("triple", "ringing", "alarms ['ringing'] are in ALARM state"), ("dead", "calm", "no such library")],
)
def test_a_bad_deployment_rolls_back(corner: Any, endpoint: str, config: str, alarm: str, reason: str) -> None:
    """A ringing alarm or a fleet that does not come up leaves the old configuration in service, with the reason."""
    corner.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=blue_green(alarm)
    )
    described = corner.settled(endpoint)
    assert ("InService", "double") == (described["EndpointStatus"], described["EndpointConfigName"])
    assert reason in described["FailureReason"]
    assert {"predictions": [2.0]} == corner.predict(endpoint, "1")


@pytest.mark.usefixtures("endpoint")
def test_bounds_of_scaling_move_what_lies_outside(corner: Any) -> None:
    """Every registration brings instances within the bounds, whether it gives these or not."""
    scaling, name = corner.emulator.client("application-autoscaling"), "bounded"
    corner.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="double")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    assert 2 == corner.settled(name)["ProductionVariants"][0]["DesiredInstanceCount"]
    for change, count in (
        ({"MinCapacity": 1, "MaxCapacity": 4}, 2),
        ({"MinCapacity": 3, "MaxCapacity": 4}, 3),
        ({"SuspendedState": {"DynamicScalingInSuspended": True}}, 3),
        ({"MinCapacity": 1, "MaxCapacity": 1}, 1),
    ):
        scaling.register_scalable_target(**target, **change)
        assert count == corner.settled(name)["ProductionVariants"][0]["DesiredInstanceCount"]
    by_hand = {"VariantName": "AllTraffic", "DesiredInstanceCount": 5}
    corner.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[by_hand])
    assert 5 == corner.settled(name)["ProductionVariants"][0]["DesiredInstanceCount"]
    scaling.register_scalable_target(**target, SuspendedState={"DynamicScalingInSuspended": False})
    assert 1 == corner.settled(name)["ProductionVariants"][0]["DesiredInstanceCount"], "kept bounds count as well"
    corner.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize("resource", ["endpoint/nowhere/variant/AllTraffic", "endpoint/answers/variant/B", "answers"])
def test_what_is_not_there_cannot_scale(corner: Any, endpoint: str, resource: str) -> None:
    """A misspelt endpoint or variant is refused."""
    scaling = corner.emulator.client("application-autoscaling")
    with pytest.raises(ClientError, match="ValidationException"):
        scaling.register_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=resource,
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
            MinCapacity=1,
            MaxCapacity=2,
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}], "without instances"),
        ([{"VariantName": "AllTraffic", "DesiredWeight": 0}], "none would get a request"),
        (2 * [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}], "more than once"),
    ],
)
def test_an_endpoint_keeps_something_that_answers(corner: Any, endpoint: str, changes: Any, said: str) -> None:
    """Nothing takes all instances or all traffic away, and the endpoint goes on."""
    with pytest.raises(ClientError, match=said):
        corner.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=changes
        )
    assert {"predictions": [2.0]} == corner.predict(endpoint, "1")


@pytest.mark.parametrize("operation", ["update_endpoint", "update_endpoint_weights_and_capacities"])
def test_an_endpoint_that_never_served_takes_no_update(corner: Any, endpoint: str, operation: str) -> None:
    """It is refused as one that moves is, whatever it was to keep."""
    name = f"never-served-{len(operation)}"
    corner.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="dead")
    more: dict[str, Any] = (
        {"EndpointConfigName": "double", "RetainAllVariantProperties": True}
        if operation == "update_endpoint"
        else {"DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]}
    )
    for _ in range(2):
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            getattr(corner.sagemaker, operation)(EndpointName=name, **more)
        assert "Failed" == corner.settled(name)["EndpointStatus"]
    corner.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize("header", ["ContentType", "Accept", "CustomAttributes"])
def test_headers_have_an_end(corner: Any, endpoint: str, header: str) -> None:
    """What AWS refuses for its length never reaches the model."""
    with pytest.raises(ClientError, match=f"{header} must be at most 1024 characters"):
        corner.runtime.invoke_endpoint(
            **{"EndpointName": endpoint, "ContentType": "text/csv", "Body": "1", header: "x" * 1025}
        )


def test_capacity_is_kept_on_request(corner: Any, endpoint: str) -> None:
    """RetainAllVariantProperties carries a scaled instance count over, excluding it takes the configuration's."""
    corner.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint,
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 7}],
    )
    assert 7 == corner.settled(endpoint)["ProductionVariants"][0]["CurrentInstanceCount"]
    counts = []
    for config, excluded in (("triple", []), ("double", [{"VariantPropertyType": "DesiredInstanceCount"}])):
        corner.sagemaker.update_endpoint(
            EndpointName=endpoint,
            EndpointConfigName=config,
            RetainAllVariantProperties=True,
            ExcludeRetainedVariantProperties=excluded,
        )
        counts.append(corner.settled(endpoint)["ProductionVariants"][0]["DesiredInstanceCount"])
    assert [7, 2] == counts


def test_requests_and_answers_are_captured(corner: Any, endpoint: str) -> None:
    """Sampled exchanges lie in S3 as JSON lines below endpoint, variant and hour; a capture that is off writes none."""
    for name, enabled in (("captured", True), ("silent", False)):
        corner.model(name, {"factor": 4})
        corner.config(
            name,
            capture={
                "EnableCapture": enabled,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": f"s3://corner/capture/{name}/",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
            },
        )
        corner.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        shown = corner.settled(name)["DataCaptureConfig"]
        assert (enabled, "Started" if enabled else "Stopped") == (shown["EnableCapture"], shown["CaptureStatus"])
        corner.predict(name, "1\n2")
    listing = corner.wait_until(
        lambda: corner.s3.list_objects_v2(Bucket="corner", Prefix="capture/"), lambda found: found["KeyCount"] > 0
    )
    keys = [item["Key"] for item in listing["Contents"]]
    assert all(key.startswith("capture/captured/captured/AllTraffic/20") and key.endswith(".jsonl") for key in keys)
    line = json.loads(corner.get(f"s3://corner/{keys[0]}"))["captureData"]
    assert ("1\n2", "CSV") == (line["endpointInput"]["data"], line["endpointInput"]["encoding"])
    assert ('{"predictions": [4.0, 8.0]}', "JSON") == (
        line["endpointOutput"]["data"],
        line["endpointOutput"]["encoding"],
    )
    for name in ("captured", "silent"):
        corner.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        (blue_green("absent"), "The rollback alarms ['absent'] do not exist"),
        (blue_green(Type="CANARY"), "CanarySize must be given if and only if"),
        (
            blue_green(Type="CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 60}),
            "CanarySize must be between 1 and 50 percent of capacity, got 60",
        ),
        (
            blue_green(Type="LINEAR", LinearStepSize={"Type": "INSTANCE_COUNT", "Value": 2}),
            "LinearStepSize must be at most half of a variant's instances",
        ),
        (
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    "WaitIntervalInSeconds": 0,
                }
            },
            "DeploymentConfig with RollingUpdatePolicy is not modelled by the local emulator",
        ),
    ],
)
def test_bad_deployments_are_refused(corner: Any, endpoint: str, deployment: dict[str, Any], message: str) -> None:
    """An update that AWS would refuse, or that is absent here, changes nothing."""
    with pytest.raises(ClientError) as refusal:
        corner.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName="triple", DeploymentConfig=deployment
        )
    assert message in refusal.value.response["Error"]["Message"]
    assert "InService" == corner.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]


def test_an_endpoint_that_cannot_start_fails_and_goes(corner: Any, endpoint: str) -> None:
    """Failed tells why; deleting leaves no process behind."""
    corner.sagemaker.create_endpoint(EndpointName="stillborn", EndpointConfigName="dead")
    described = corner.settled("stillborn")
    assert "Failed" == described["EndpointStatus"]
    assert "did not pass the ping health check" in described["FailureReason"]
    assert "no such library" in described["FailureReason"]
    corner.sagemaker.delete_endpoint(EndpointName="stillborn")
    corner.wait_until(
        lambda: corner.sagemaker.list_endpoints(NameContains="stillborn"), lambda found: not found["Endpoints"]
    )
    assert 1 == len(_servers(corner))
    corner.sagemaker.delete_endpoint(EndpointName=endpoint)
    corner.wait_until(lambda: {"left": _servers(corner)}, lambda found: not found["left"])
    with pytest.raises(ClientError, match="Could not find endpoint"):
        corner.sagemaker.describe_endpoint(EndpointName=endpoint)


def test_the_server_takes_its_endpoints_along(emulator: Any, corner: Any) -> None:
    """Killing the server outright ends every serving process."""
    corner.sagemaker.create_endpoint(EndpointName="orphan", EndpointConfigName="double")
    assert "InService" == corner.settled("orphan")["EndpointStatus"]
    servers = _servers(corner)
    assert servers
    emulator.process.kill()
    emulator.process.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(_alive(process) for process in servers):
        time.sleep(0.05)
    assert [] == [process for process in servers if _alive(process)]


def _servers(corner: Any) -> list[psutil.Process]:
    """Serving processes whose files lie under the emulator's work folder."""
    work = str(corner.emulator.settings.work)
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("serving.py") for word in words[:4]) and any(work in word for word in words):
            found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

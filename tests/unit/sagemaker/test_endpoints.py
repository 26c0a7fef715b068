"""Serving, deployments and capture without a server."""

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.aws_time import AwsTime
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker import serving
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.endpoints.capture import captured
from dual_pipeline_local.sagemaker.endpoints.configs import EndpointConfigs
from dual_pipeline_local.sagemaker.endpoints.deployment import Deployment, DeploymentClock, Step
from dual_pipeline_local.sagemaker.endpoints.endpoints import Endpoints, RolledBack
from dual_pipeline_local.sagemaker.endpoints.fleet import Fleet, UnhealthyFleet
from dual_pipeline_local.sagemaker.endpoints.invocation import Invocation
from dual_pipeline_local.sagemaker.model_server import Answer
from dual_pipeline_local.sagemaker.models import Models
from dual_pipeline_local.sagemaker.serving import GenericInferenceToolkitError, RequestError, Transformer


def module(**functions: Any) -> types.ModuleType:
    """A user's module."""
    made = types.ModuleType("inference")
    vars(made).update({"model_fn": lambda folder: folder, **functions})
    return made


class TooLarge(Exception):
    """An error that knows its status but is none of the toolkit's."""

    status_code = 413


def raiser(error: Exception) -> Any:
    """A handler that raises."""

    def handler(*_arguments: object) -> None:
        raise error

    return handler


STEPS: dict[str, Any] = {
    "input_fn": lambda body, _type: body,
    "predict_fn": lambda data, _model: data,
    "output_fn": lambda prediction, _accept: prediction,
}


def test_a_request_goes_through_the_handlers() -> None:
    """Text types arrive as text; an answer may be text, bytes, or name its content type."""
    assert (b"a", "x/y") == Transformer(module(**STEPS), Path()).transform(b"a", "text/csv", "x/y")
    seen: list[object] = []
    steps = STEPS | {"input_fn": lambda body, _type: seen.append(body), "output_fn": lambda _p, _a: (b"\xff", "z/z")}
    assert (b"\xff", "z/z") == Transformer(module(**steps), Path()).transform(b"\x00", "application/x-npy", "x/y")
    assert [b"\x00"] == seen


def test_handlers_may_take_the_context() -> None:
    """transform_fn stands for all three; one argument more is the context."""
    whole = module(transform_fn=lambda model, body, content_type, accept, context: f"{model}{body}{context}")
    assert (b".aNone", "x/y") == Transformer(whole, Path()).transform(b"a", "text/csv", "x/y")
    with pytest.raises(ValueError, match="Cannot use transform_fn implementation in conjunction with input_fn"):
        Transformer(module(transform_fn=max, **STEPS), Path())


@pytest.mark.parametrize(
    ("changed", "body", "status", "reason"),
    [
        ({"input_fn": raiser(GenericInferenceToolkitError(400, "3 columns"))}, b"a", 400, "3 columns"),
        ({"output_fn": raiser(GenericInferenceToolkitError(406, "no such type"))}, b"a", 406, "no such type"),
        ({"input_fn": raiser(ValueError("3 columns"))}, b"a", 500, "ValueError: 3 columns"),
        ({"predict_fn": raiser(ValueError("bug"))}, b"a", 500, "ValueError: bug"),
        ({"predict_fn": raiser(TooLarge("big"))}, b"a", 500, "TooLarge: big"),
        ({}, b"\xff", 500, "UnicodeDecodeError"),
        ({"output_fn": raiser(KeyError("x"))}, b"a", 500, "KeyError: 'x'"),
    ],
)
def test_errors_have_a_status(changed: dict[str, Any], body: bytes, status: int, reason: str) -> None:
    """As in AWS's image only an exception of the toolkit's has a status of its own; all else is the model's fault."""
    with pytest.raises(RequestError) as refusal:
        Transformer(module(**(STEPS | changed)), Path()).transform(body, "text/csv", "x/y")
    assert status == refusal.value.status
    assert str(refusal.value).startswith(reason)


MODULE = """
from sagemaker_inference import content_types
from sagemaker_inference.errors import BaseInferenceToolkitError

class Refused(BaseInferenceToolkitError):
    pass

content_types.UTF8_TYPES.clear()
"""


def test_a_module_finds_the_toolkit(tmp_path: Path) -> None:
    """The process that serves offers the toolkit's errors and types, and a module may have its bodies undecoded."""
    (tmp_path / "inference.py").write_text(MODULE)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(serving.__file__).parent)!r}]; import serving;"
        " serving.install_toolkit(); import inference; print(serving._UTF8_TYPES,"
        " issubclass(inference.Refused, serving.BaseInferenceToolkitError))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "[] True\n" == done.stdout


def deployment(wait_s: int, termination_s: int, longest_s: int, **routing: Any) -> dict[str, Any]:
    """A DeploymentConfig."""
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": wait_s, **routing},
            "TerminationWaitInSeconds": termination_s,
            "MaximumExecutionTimeoutInSeconds": longest_s,
        }
    }


def test_a_deployment_knows_how_long_it_waits() -> None:
    """A linear deployment waits once per step; the longest time must hold all of it."""
    linear = {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 30}}
    assert 4 * 100 + 50 == Deployment.checked(deployment(100, 50, 600, **linear), instances=[4]).wait_s(4)
    with pytest.raises(ApiError, match="MaximumExecutionTimeoutInSeconds 600 must be greater than"):
        Deployment.checked(deployment(300, 300, 600), instances=[1])


def test_traffic_moves_in_steps() -> None:
    """A canary and the rest, equal steps up to all, or all at once; the last step has the final baking period."""
    share = {"Type": "CAPACITY_PERCENT", "Value": 30}
    one = {"Type": "INSTANCE_COUNT", "Value": 1}
    assert [
        [Step(1.0, 4, 110)],
        [Step(0.25, 1, 100), Step(1.0, 4, 10)],
        [Step(0.3, 1, 100), Step(0.6, 2, 100), Step(0.9, 4, 100), Step(1.0, 4, 110)],
        [Step(0.25, 1, 100), Step(0.5, 2, 100), Step(0.75, 3, 100), Step(1.0, 4, 110)],
    ] == [
        Deployment.checked(deployment(100, 10, 600, **routing), instances=[4]).steps(4)
        for routing in (
            {},
            {"Type": "CANARY", "CanarySize": one},
            {"Type": "LINEAR", "LinearStepSize": share},
            {"Type": "LINEAR", "LinearStepSize": one},
        )
    ]


def test_a_deployment_that_takes_too_long_is_over() -> None:
    """Waits count in seconds of AWS, everything else in real ones."""
    clock = DeploymentClock(AwsTime(0.001), longest_s=600)
    clock.waited(599)
    assert not clock.is_over()
    clock.waited(2)
    assert clock.is_over()


def test_a_canary_needs_two_instances() -> None:
    """At most half of the instances take the first traffic, so one instance has no canary."""
    canary = {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    assert Deployment.checked(deployment(1, 0, 600, **canary), instances=[2]).is_guarded
    with pytest.raises(ApiError, match="CanarySize must be at most half of a variant's instances"):
        Deployment.checked(deployment(1, 0, 600, **canary), instances=[2, 1])


def test_captured_bytes_of_an_unknown_type_are_base64() -> None:
    """Only the modes asked for are captured; what is called text and is none is captured as bytes."""
    config: dict[str, Any] = {"CaptureOptions": [{"CaptureMode": "Output"}]}
    request = Invocation(b"a", "text/csv", inference_id="row-1", custom_attributes="trace=7")
    line = json.loads(captured(config, request, Answer(200, b"\xff", "application/x-npy")))
    output = {"observedContentType": "application/x-npy", "mode": "OUTPUT", "data": "/w==", "encoding": "BASE64"}
    assert {"endpointOutput": output} == line["captureData"]
    event = line["eventMetadata"]
    assert ("row-1", ["trace=7"]) == (event["inferenceId"], event["customAttributes"])
    config["CaptureContentTypeHeader"] = {"CsvContentTypes": ["text/csv"]}
    latin = json.loads(captured(config, request, Answer(200, "é".encode("latin-1"), "text/csv")))
    assert ("BASE64", "6Q==") == tuple(latin["captureData"]["endpointOutput"][name] for name in ("encoding", "data"))
    plain = json.loads(captured(config, Invocation(b"a"), Answer(200, b"", "text/csv")))
    assert {"eventId", "inferenceTime"} == plain["eventMetadata"].keys()


class Alarms:
    """A CloudWatch client and the cloud around it; its alarm rings from the third look on."""

    def __init__(self) -> None:
        self.looks = 0

    def client(self, _role: str, service: str) -> "Alarms":
        """CloudWatch."""
        assert service == "cloudwatch"
        return self

    def describe_alarms(self, **_request: object) -> dict[str, Any]:
        """The alarm."""
        self.looks += 1
        return {"MetricAlarms": [{"AlarmName": "errors", "StateValue": "ALARM" if self.looks > 2 else "OK"}]}


def test_a_server_that_comes_too_late_is_stopped() -> None:
    """Whatever started while its fleet was stopped ends with it."""
    fleet, server = Fleet(role="role", capture=None), Server()
    fleet.stop()
    with pytest.raises(UnhealthyFleet, match="stopping"):
        fleet.add("AllTraffic", server, weight=1, instances=1)  # type: ignore[arg-type]
    assert server.stopped


class Server:
    """A model server that knows whether it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_an_alarm_that_rings_while_baking_rolls_back(tmp_path: Path) -> None:
    """Alarms are looked at all through the scaled waiting time, not at its ends only."""
    cloud: Any = Alarms()
    control = Control(cloud=cloud, work=tmp_path, call=lambda *_: {})
    configs = EndpointConfigs(control)
    endpoints = Endpoints(control, models=Models(control), configs=configs, aws_time=AwsTime(0.01))
    config = deployment(300, 0, 600) | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    with pytest.raises(RolledBack, match=r"alarms \['errors'\] are in ALARM state"):
        endpoints._bake(
            Fleet(role="role", capture=None),
            Deployment.checked(config, instances=[1]),
            DeploymentClock(AwsTime(0.01), longest_s=600),
            300,
        )
    assert 3 == cloud.looks

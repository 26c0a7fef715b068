"""Pipeline definitions for tests, put together from their steps."""

import json
from collections.abc import Sequence
from typing import Any


def define(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> str:
    """The text of a definition."""
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)})


def process(name: str, *arguments: Any, **more: Any) -> dict[str, Any]:
    """A Processing step with an output `out` and a property file Report in it."""
    output = {"OutputName": "out", "S3Output": {"S3Uri": f"s3://bucket/{name}"}}
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {"ContainerArguments": list(arguments)},
            "ProcessingOutputConfig": {"Outputs": [output]},
        },
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}],
        **more,
    }


def condition(name: str, *tests: dict[str, Any], then: Any = (), otherwise: Any = ()) -> dict[str, Any]:
    """A Condition step."""
    arguments = {"Conditions": list(tests), "IfSteps": list(then), "ElseSteps": list(otherwise)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def is_(kind: str, left: Any, right: Any) -> dict[str, Any]:
    """A comparison."""
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def report(step: str, path: str) -> dict[str, Any]:
    """A JsonGet of a step's report."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.Report"}, "Path": path}}


def fail(name: str, message: Any) -> dict[str, Any]:
    """A Fail step."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def job(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A step of a type that takes any arguments, given as `arguments`."""
    return {"Name": name, "Type": kind, "Arguments": more.pop("arguments", {}), **more}


def callback(name: str, *outputs: tuple[str, str], url: str, **more: Any) -> dict[str, Any]:
    """A Callback step with these outputs (name, type), its arguments given as `arguments`."""
    return job(name, "Callback", SqsQueueUrl=url, OutputParameters=_outputs(outputs), **more)


def function(name: str, *outputs: tuple[str, str], arn: str, **more: Any) -> dict[str, Any]:
    """A Lambda step with these outputs (name, type), its arguments given as `arguments`."""
    return job(name, "Lambda", FunctionArn=arn, OutputParameters=_outputs(outputs), **more)


def _outputs(outputs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"OutputName": name, "OutputType": kind} for name, kind in outputs]

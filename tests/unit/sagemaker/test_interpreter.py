"""What the interpreter makes of definitions, over a fake control plane."""

import json
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError


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


def test_references_order_steps_whatever_their_place(plane: Any) -> None:
    """A step runs after those it refers to, depends on or lies in, and sees their properties by name."""
    text = define(
        process("Third", {"Get": "Steps.Second.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}),
        process("Second", DependsOn=["First"]),
        process(
            "First",
            {"Get": "Parameters.Count"},
            {"Std:Join": {"On": "-", "Values": ["a", {"Get": "Parameters.Count"}, True]}},
        ),
        parameters=[{"Name": "Count", "Type": "Integer", "DefaultValue": 1}],
    )
    execution, steps = plane.run(text, Count="5")
    assert "Succeeded" == execution["PipelineExecutionStatus"]
    assert ["First", "Second", "Third"] == list(steps)
    arguments = [request["AppSpecification"]["ContainerArguments"] for _, request in plane.calls]
    assert [[5, "a-5-true"], [], ["s3://bucket/Second"]] == arguments
    assert all(request["RoleArn"] == "arn:aws:iam::123456789012:role/pipeline" for _, request in plane.calls)


def test_steps_that_need_a_skipped_step_are_skipped(plane: Any) -> None:
    """The branch not taken and everything behind it leave no trace, and the execution succeeds."""
    text = define(
        condition("Gate", is_("Equals", 1, 2), then=[process("Then")], otherwise=[process("Else")]),
        process("BehindThen", DependsOn=["Then"]),
        process("BehindElse", DependsOn=["Else"]),
        process("BehindGate", DependsOn=["Gate"]),
    )
    execution, steps = plane.run(text)
    assert "Succeeded" == execution["PipelineExecutionStatus"]
    assert {"Gate", "Else", "BehindElse", "BehindGate"} == set(steps)


def test_conditions_nest(plane: Any) -> None:
    """A step's conditions all hold; Or, Not and In nest; branches hold conditions in turn."""
    either = {
        "Type": "Or",
        "Conditions": [is_("LessThan", 2, 1), {"Type": "Not", "Condition": is_("Equals", "a", "b")}],
    }
    within = {"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}
    inner = condition("Inner", is_("GreaterThan", 1.5, 2), then=[process("Never")], otherwise=[process("Last")])
    execution, steps = plane.run(
        define(condition("Outer", either, within, is_("LessThanOrEqualTo", 1, 1.0), then=[inner]))
    )
    assert "Succeeded" == execution["PipelineExecutionStatus"]
    assert ["Outer", "Inner", "Last"] == list(steps)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"auc": NaN}', "is not valid JSON: NaN is no JSON"),
        (b'{"auc": null}', "has no value: it is null"),
        (b"{}", "'auc' does not exist"),
        (b'{"auc": "0.9"}', "cannot compare '0.9' (str) with 0.5 (float)"),
        (b'{"auc": true}', "cannot compare True (bool) with 0.5 (float)"),
        (None, "NoSuchKey"),
    ],
)
def test_a_metric_that_is_no_number_never_passes(plane: Any, content: bytes | None, reason: str) -> None:
    """Missing, null, NaN and mistyped values fail the Condition step with their reason, on neither branch."""
    if content is not None:
        plane.cloud.objects.by_uri["s3://bucket/Evaluate/report.json"] = content
    gate = condition(
        "Gate", is_("GreaterThan", report("Evaluate", "auc"), 0.5), then=[process("Then")], otherwise=[process("Else")]
    )
    execution, steps = plane.run(define(process("Evaluate"), gate))
    assert ("Failed", "Step failure: One or multiple steps failed.") == (
        execution["PipelineExecutionStatus"],
        execution["FailureReason"],
    )
    assert {"Evaluate", "Gate"} == set(steps)
    assert reason in steps["Gate"]["FailureReason"]


def test_a_metric_is_read_from_the_property_file(plane: Any) -> None:
    """Paths go through objects, lists and quoted names."""
    plane.cloud.objects.by_uri["s3://bucket/Evaluate/report.json"] = b'{"a": [{"b c": 3}]}'
    gate = condition("Gate", is_("Equals", report("Evaluate", "a[0]['b c']"), 3), then=[process("Then")])
    _, steps = plane.run(define(process("Evaluate"), gate))
    assert "Then" in steps


def test_a_fail_step_ends_the_execution_with_its_message(plane: Any) -> None:
    """Nothing starts after it."""
    message = {"Std:Join": {"On": "", "Values": ["no: ", {"Get": "Execution.PipelineName"}]}}
    end = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": message}}
    execution, steps = plane.run(define(end, process("After", DependsOn=["End"])))
    assert ("Failed", "no: p1") == (execution["PipelineExecutionStatus"], execution["FailureReason"])
    assert ["End"] == list(steps)


def test_retry_policies_are_followed(plane: Any, throttled: ApiError) -> None:
    """A step is tried again for the errors its policy names, and only so often."""
    refusals = [throttled, throttled]

    def create(_request: dict[str, Any]) -> dict[str, Any]:
        if refusals:
            raise refusals.pop()
        return {}

    plane.answers["CreateProcessingJob"] = create
    policy = {"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 0.01, "BackoffRate": 1, "MaxAttempts": 2}
    execution, steps = plane.run(define(process("Work", RetryPolicies=[policy])))
    assert ("Succeeded", 3) == (execution["PipelineExecutionStatus"], steps["Work"]["AttemptCount"])
    refusals += [throttled] * 3
    execution, steps = plane.run(define(process("Work", RetryPolicies=[policy])))
    assert "Failed" == execution["PipelineExecutionStatus"]
    assert steps["Work"]["FailureReason"].startswith("ThrottlingException: Failed to invoke sagemaker:CreateProcessing")


def test_events_follow_every_step(plane: Any) -> None:
    """Each change of status is told once, in order."""
    plane.run(define(process("Only")))
    steps = [
        (detail.get("previousStepStatus"), detail["currentStepStatus"])
        for kind, detail in plane.cloud.events
        if "Step Status" in kind
    ]
    assert [(None, "Starting"), ("Starting", "Executing"), ("Executing", "Succeeded")] == steps
    executions = [
        detail["currentPipelineExecutionStatus"] for kind, detail in plane.cloud.events if "Execution Status" in kind
    ]
    assert ["Executing", "Succeeded"] == executions

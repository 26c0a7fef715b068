"""What the interpreter makes of definitions, over a fake control plane."""

import threading
from typing import Any

import pytest

from pipeline_definitions import condition, define, fail, is_, process, report


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
    requests = plane.requests("CreateProcessingJob")
    arguments = [request["AppSpecification"]["ContainerArguments"] for request in requests]
    assert [[5, "a-5-true"], [], ["s3://bucket/Second"]] == arguments
    assert all(request["RoleArn"] == "arn:aws:iam::123456789012:role/pipeline" for request in requests)


def test_steps_that_need_a_skipped_step_are_skipped(plane: Any) -> None:
    """The branch not taken and everything behind it leave no trace, and the execution succeeds."""
    text = define(
        condition("Gate", is_("Equals", 1, 2), then=[process("Then")], otherwise=[process("Else")]),
        process("BehindThen", DependsOn=["Then"]),
        process("BehindElse", DependsOn=["Else"]),
    )
    execution, steps = plane.run(text)
    assert "Succeeded" == execution["PipelineExecutionStatus"]
    assert {"Gate", "Else", "BehindElse"} == set(steps)


def test_all_conditions_of_a_step_hold(plane: Any) -> None:
    """A step's conditions are joined by and; Or, Not and In nest in them."""
    either = {
        "Type": "Or",
        "Conditions": [is_("LessThan", 2, 1), {"Type": "Not", "Condition": is_("Equals", "a", "b")}],
    }
    within = {"Type": "In", "QueryValue": "b", "Values": ["a", "b"]}
    good = condition("Good", either, within, is_("LessThanOrEqualTo", 1, 1.0), then=[process("First")])
    bad = condition("Bad", within, is_("GreaterThan", 1.5, 2), then=[process("Never")], otherwise=[process("Last")])
    execution, steps = plane.run(define(good, bad))
    assert "Succeeded" == execution["PipelineExecutionStatus"]
    assert {"Good", "First", "Bad", "Last"} == set(steps)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"auc": NaN}', "the file is not valid JSON: NaN is no JSON"),
        (b'{"auc": 0.', "the file is not valid JSON: "),
        (b"\x1f\x8b\x08", "the file is not valid JSON: "),
        (b"[" * 100_000, "the file is not valid JSON: "),
        (b"", "the file is not valid JSON: "),
        (b'[{"auc": 1}]', "'auc' does not exist"),
        (b'{"auc": null}', "has no value: it is null"),
        (b"{}", "'auc' does not exist"),
        (b'{"auc": "0.9"}', "cannot compare '0.9' (str) with 0.5 (float)"),
        (b'{"auc": true}', "cannot compare True (bool) with 0.5 (float)"),
        (None, "NoSuchKey"),
    ],
)
def test_a_metric_that_is_no_number_never_passes(plane: Any, content: bytes | None, reason: str) -> None:
    """Missing, null, NaN, mistyped and truncated fail the Condition step, naming file and path, on neither branch."""
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
    assert steps["Gate"]["FailureReason"].startswith("ClientError: ")
    if "compare" not in reason:
        assert "auc in s3://bucket/Evaluate/report.json" in steps["Gate"]["FailureReason"]
    assert content == plane.cloud.objects.by_uri.get("s3://bucket/Evaluate/report.json")


def test_a_metric_is_read_from_the_property_file(plane: Any) -> None:
    """Paths go through objects, lists and quoted names."""
    plane.cloud.objects.by_uri["s3://bucket/Evaluate/report.json"] = b'{"a": [{"b c": 3}]}'
    gate = condition("Gate", is_("Equals", report("Evaluate", "a[0]['b c']"), 3), then=[process("Then")])
    _, steps = plane.run(define(process("Evaluate"), gate))
    assert "Then" in steps


def test_a_fail_step_ends_the_execution_with_its_message(plane: Any) -> None:
    """Nothing starts after it."""
    message = {"Std:Join": {"On": "", "Values": ["no: ", {"Get": "Execution.PipelineName"}]}}
    hold = threading.Event()
    plane.answers["CreateProcessingJob"] = lambda _request: {"Waited": hold.wait(10)}
    gate = condition("Gate", is_("Equals", 1, 1), then=[fail("End", message)])
    arn = plane.start(plane.create(define(gate, process("Before"), process("After", DependsOn=["Before"]))))
    plane.until(lambda: [detail for _, detail in plane.cloud.events if detail.get("currentStepStatus") == "Failed"])
    hold.set()
    execution, steps = plane.ended(arn)
    assert ("Failed", "no: p1") == (execution["PipelineExecutionStatus"], execution["FailureReason"])
    assert {"Gate", "Before", "End"} == set(steps)


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

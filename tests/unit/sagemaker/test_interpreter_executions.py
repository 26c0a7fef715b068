"""Executions over a fake control plane: selected steps, retries, parallelism, stops, experiments."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from pipeline_definitions import condition, define, is_, job, process

ROLE = "arn:aws:iam::123456789012:role/pipeline"
NO_SOURCE = "Invalid SourcePipelineExecutionArn: null. The selected steps [{}] have dependencies on [{}]"


def chain() -> str:
    """A -> B -> C -> D in the if branch of a gate, which is taken for a Yes of 1; E beside all."""
    uri = "Steps.{}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"
    taken = is_("Equals", {"Get": "Parameters.Yes"}, 1)
    return define(
        process("A"),
        process("B", {"Get": uri.format("A")}),
        process("C", {"Get": uri.format("B")}),
        condition("Gate", taken, then=[process("D", {"Get": uri.format("C")})]),
        process("E", {"Get": "Parameters.Yes"}),
        parameters=[{"Name": "Yes", "Type": "Integer", "DefaultValue": 1}],
    )


def select(*steps: str, source: str | None = None) -> dict[str, Any]:
    """A SelectiveExecutionConfig."""
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": name} for name in steps]}
    return config | ({"SourcePipelineExecutionArn": source} if source else {})


def test_unselected_steps_answer_from_the_source(plane: Any) -> None:
    """What the selected steps need is taken over and marked; nothing else runs; Describe shows the selection."""
    pipeline = plane.create(chain())
    source = plane.start(pipeline)
    plane.ended(source)
    before = len(plane.requests("CreateProcessingJob"))
    config = select("B", "C", source=source)
    execution, steps = plane.ended(plane.start(pipeline, SelectiveExecutionConfig=config))
    assert ("Succeeded", config) == (execution["PipelineExecutionStatus"], execution["SelectiveExecutionConfig"])
    assert ["A", "B", "C"] == list(steps)
    assert {"SourcePipelineExecutionArn": source} == steps["A"]["SelectiveExecutionResult"]
    assert not any("SelectiveExecutionResult" in steps[name] for name in ("B", "C"))
    requests = plane.requests("CreateProcessingJob")[before:]
    expected = [["s3://bucket/A"], ["s3://bucket/B"]]
    assert expected == [request["AppSpecification"]["ContainerArguments"] for request in requests]


def test_a_selected_branch_goes_by_the_sources_condition(plane: Any) -> None:
    """A step whose branch the source did not take cannot be selected without its condition."""
    pipeline = plane.create(chain())
    took, took_not = (plane.start(pipeline, parameters={"Yes": yes}) for yes in ("1", "2"))
    plane.ended(took)
    plane.ended(took_not)
    _, steps = plane.ended(plane.start(pipeline, SelectiveExecutionConfig=select("D", source=took)))
    assert {"C", "Gate", "D"} == set(steps)
    with pytest.raises(ApiError, match=r"The step \[Gate\] did not take the branch of \[D\] there"):
        plane.start(pipeline, SelectiveExecutionConfig=select("D", source=took_not))
    again = select("Gate", "D", source=took_not)
    _, steps = plane.ended(plane.start(pipeline, SelectiveExecutionConfig=again))
    assert {"C", "Gate", "D"} == set(steps)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["B", "C"], NO_SOURCE.format("B, C", "A")),
        (["D"], NO_SOURCE.format("D", "Gate, C")),
        (["X", "A"], "Invalid SelectedSteps: [X] are not steps of the pipeline"),
        (["A", "A"], "Invalid SelectedSteps: [A, A] names a step more than once"),
        (["A", "C"], "Invalid SelectedSteps: [B] lie between the selected steps and must be selected too"),
        (["A", "E"], "Invalid SelectedSteps: [E] are not connected with [A]"),
    ],
)
def test_selections_that_cannot_run_are_refused(plane: Any, steps: list[str], message: str) -> None:
    """Before anything starts."""
    pipeline = plane.create(chain())
    with pytest.raises(ApiError) as refusal:
        plane.start(pipeline, SelectiveExecutionConfig=select(*steps))
    assert ("ValidationException", message) == (refusal.value.code, refusal.value.message)
    assert [] == plane.calls


def test_sources_that_cannot_stand_in_are_refused(plane: Any) -> None:
    """Of another pipeline, still running, or without the steps that are needed."""
    pipeline, other = plane.create(chain()), plane.create(chain())
    foreign = plane.start(other)
    plane.ended(foreign)
    hold = threading.Event()
    plane.answers["CreateProcessingJob"] = lambda _request: {"Waited": hold.wait(10)}
    running = plane.start(pipeline)
    first = select("A")  # needs no source
    for source, message in ((foreign, "It is no execution of"), (running, "Its status is Executing")):
        with pytest.raises(ApiError, match=f"Invalid SourcePipelineExecutionArn: {source}. {message}"):
            plane.start(pipeline, SelectiveExecutionConfig=select("B", source=source))
    hold.set()
    plane.ended(running)
    only_first = plane.start(pipeline, SelectiveExecutionConfig=first)
    plane.ended(only_first)
    with pytest.raises(ApiError, match=r"The steps \[B\] have not succeeded there"):
        plane.start(pipeline, SelectiveExecutionConfig=select("C", source=only_first))


def test_a_retry_keeps_what_succeeded(plane: Any) -> None:
    """The same execution goes on where it failed; a token retries once."""
    ends = iter(["Failed", "Completed"])
    plane.answers["CreateTrainingJob"] = lambda _request: {"TrainingJobStatus": next(ends), "FailureReason": "once"}
    text = define(process("A"), job("B", "Training", DependsOn=["A"]), process("C", DependsOn=["B"]))
    arn = plane.start(plane.create(text))
    execution, steps = plane.ended(arn)
    assert ("Failed", {"A", "B"}) == (execution["PipelineExecutionStatus"], set(steps))
    token = "r" * 32
    limit = {"MaxParallelExecutionSteps": 1}
    request = {"PipelineExecutionArn": arn, "ClientRequestToken": token, "ParallelismConfiguration": limit}
    assert {"PipelineExecutionArn": arn} == plane.ask("RetryPipelineExecution", **request)
    execution, again = plane.ended(arn)
    assert ("Succeeded", limit) == (execution["PipelineExecutionStatus"], execution["ParallelismConfiguration"])
    assert "FailureReason" not in execution
    assert steps["A"] == again["A"]
    assert 2 == len(plane.requests("CreateProcessingJob"))
    plane.ask("RetryPipelineExecution", **request)
    with pytest.raises(ApiError, match="ConflictException"):
        plane.ask("RetryPipelineExecution", PipelineExecutionArn=arn, ClientRequestToken=token)
    with pytest.raises(ApiError, match="Only a failed or stopped pipeline execution can be retried, this one is Succ"):
        plane.ask("RetryPipelineExecution", PipelineExecutionArn=arn)
    statuses = [
        (detail.get("previousPipelineExecutionStatus"), detail["currentPipelineExecutionStatus"])
        for kind, detail in plane.cloud.events
        if "Execution Status" in kind
    ]
    assert [(None, "Executing"), ("Executing", "Failed"), ("Failed", "Executing"), ("Executing", "Succeeded")] == (
        statuses
    )


def test_a_stopped_execution_can_be_retried(plane: Any) -> None:
    """Its jobs are stopped and made again."""
    hanging = [{"hangs": True}]
    plane.answers["CreateProcessingJob"] = lambda _request: hanging.pop() if hanging else {}
    arn = plane.start(plane.create(define(process("A"), process("B", DependsOn=["A"]))))
    plane.until(lambda: plane.requests("CreateProcessingJob"))
    plane.ask("StopPipelineExecution", PipelineExecutionArn=arn)
    execution, steps = plane.ended(arn)
    assert ("Stopped", "Stopped") == (execution["PipelineExecutionStatus"], steps["A"]["StepStatus"])
    plane.ask("RetryPipelineExecution", PipelineExecutionArn=arn)
    execution, steps = plane.ended(arn)
    assert ("Succeeded", ["A", "B"]) == (execution["PipelineExecutionStatus"], list(steps))


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns at every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_a_stop_at_the_last_moment_leaves_no_execution_behind(plane: Any) -> None:
    """However it meets the end of an execution, that stays ended and can be deleted."""
    text = define(condition("Gate", is_("Equals", 1, 1)))

    def stop(arn: str) -> None:
        with contextlib.suppress(ApiError):
            plane.ask("StopPipelineExecution", PipelineExecutionArn=arn)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            pipeline = plane.create(text)
            arn = plane.start(pipeline)
            stops = [pool.submit(stop, arn) for _ in range(4)]
            plane.ended(arn)
            wait(stops)
            assert plane.ended(arn)[0]["PipelineExecutionStatus"] in ("Stopped", "Succeeded")
            plane.ask("DeletePipeline", PipelineName=pipeline)


@pytest.mark.usefixtures("hurried")
def test_a_token_starts_one_execution_however_often_it_comes(plane: Any) -> None:
    """Callers that repeat themselves at the same time are all answered with the same execution."""
    many = [{"Name": f"P{number}", "Type": "Float", "DefaultValue": 1.5} for number in range(200)]
    pipeline = plane.create(define(process("A"), parameters=many))
    together = threading.Barrier(8)

    def start(_number: int) -> str:
        together.wait()
        arn: str = plane.start(pipeline, ClientRequestToken="t" * 32)
        return arn

    with ThreadPoolExecutor(8) as pool:
        assert 1 == len(set(pool.map(start, range(8))))


@pytest.mark.parametrize("where", ["create", "update", "start"])
def test_parallelism_is_limited(plane: Any, where: str) -> None:
    """By the pipeline's ParallelismConfiguration, overridden by the execution's."""
    most = current = 0
    lock = threading.Lock()

    def create(_request: dict[str, Any]) -> dict[str, Any]:
        nonlocal most, current
        with lock:
            current += 1
            most = max(most, current)
        time.sleep(0.02)
        with lock:
            current -= 1
        return {}

    plane.answers["CreateProcessingJob"] = create
    two = {"ParallelismConfiguration": {"MaxParallelExecutionSteps": 2}}
    text = define(*(process(f"S{number}") for number in range(6)))
    pipeline = plane.create(text, **(two if where == "create" else {}))
    if where == "update":
        plane.ask("UpdatePipeline", PipelineName=pipeline, **two)
    arn = plane.start(pipeline, **(two if where == "start" else {}))
    execution, steps = plane.ended(arn)
    assert (2, 6, two["ParallelismConfiguration"]) == (most, len(steps), execution["ParallelismConfiguration"])


def test_parameters_are_listed_as_they_are_given(plane: Any) -> None:
    """Every value is text that StartPipelineExecution takes, booleans as Std:Join writes them."""
    values = {"I": ("Integer", 3), "F": ("Float", 0.5), "S": ("String", "a"), "B": ("Boolean", True)}
    declared = [{"Name": name, "Type": kind, "DefaultValue": value} for name, (kind, value) in values.items()]
    arn = plane.start(plane.create(define(process("A"), parameters=declared)), parameters={"I": "4"})
    listed = plane.ask("ListPipelineParametersForExecution", PipelineExecutionArn=arn)["PipelineParameters"]
    assert {"I": "4", "F": "0.5", "S": "a", "B": "true"} == {each["Name"]: each["Value"] for each in listed}


def test_an_execution_is_renamed_while_it_runs(plane: Any) -> None:
    """UpdatePipelineExecution."""
    arn = plane.start(plane.create(define(process("A"))))
    plane.ask("UpdatePipelineExecution", PipelineExecutionArn=arn, PipelineExecutionDisplayName="other")
    assert "other" == plane.ended(arn)[0]["PipelineExecutionDisplayName"]


def test_a_definition_in_s3_that_is_no_text_is_refused(plane: Any) -> None:
    """As a ValidationException that names the object."""
    plane.cloud.objects.by_uri["s3://bucket/definition"] = b"\xff\xfe"
    location = {"Bucket": "bucket", "ObjectKey": "definition"}
    with pytest.raises(ApiError, match="Unable to read the pipeline definition at s3://bucket/definition: 'utf-8'"):
        plane.ask("CreatePipeline", PipelineName="p", PipelineDefinitionS3Location=location, RoleArn=ROLE)


def with_experiment() -> str:
    """A definition that belongs to an experiment."""
    names = {"ExperimentName": {"Get": "Execution.PipelineName"}, "TrialName": "Trial"}
    return define(process("A")).replace(
        '"Version"', f'"PipelineExperimentConfig": {names}, "Version"'.replace("'", '"')
    )


def test_an_execution_belongs_to_its_experiment(plane: Any) -> None:
    """PipelineExperimentConfig is resolved and shown."""
    execution, _ = plane.run(with_experiment())
    assert {"ExperimentName": "p1", "TrialName": "Trial"} == execution["PipelineExperimentConfig"]


@pytest.mark.parametrize("action", ["sagemaker:CreateExperiment", "sagemaker:CreateTrial"])
def test_experiments_need_the_pipeline_roles_permission(plane: Any, action: str) -> None:
    """Without it the execution fails before any step."""
    plane.cloud.denied = {action}
    execution, steps = plane.run(with_experiment())
    assert {} == steps
    assert execution["FailureReason"].startswith(f"ClientError: Failed to invoke {action}. Error Details: ")

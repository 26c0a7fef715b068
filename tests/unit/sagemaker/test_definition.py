"""What is refused at CreatePipeline and StartPipelineExecution."""

import json
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.pipelines.definition import Definition

END = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}


def end(name: str = "End", message: Any = "x", **more: Any) -> dict[str, Any]:
    """A Fail step."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **more}


def parse(*steps: Any, **more: Any) -> Definition:
    """Parse a definition of these steps."""
    return Definition.parse(json.dumps({"Version": "2020-12-01", "Steps": list(steps), **more}))


def gate(*conditions: Any) -> dict[str, Any]:
    """A Condition step."""
    return {"Name": "Gate", "Type": "Condition", "Arguments": {"Conditions": list(conditions), "IfSteps": [end()]}}


def work(name: str = "Work", kind: str = "Processing", **more: Any) -> dict[str, Any]:
    """A step of any type, Processing with an output `out`."""
    outputs = [{"OutputName": "out", "S3Output": {"S3Uri": "s3://bucket/out"}}]
    arguments = {"ProcessingOutputConfig": {"Outputs": outputs}} if kind == "Processing" else {}
    return {"Name": name, "Type": kind, "Arguments": arguments, **more}


def uses(*texts: str, name: str = "Uses") -> dict[str, Any]:
    """A Training step that refers to all of these."""
    return {"Name": name, "Type": "Training", "Arguments": {"HyperParameters": {text: {"Get": text} for text in texts}}}


def callback(**more: Any) -> dict[str, Any]:
    """A Callback step with an output `grade`."""
    declared = [{"OutputName": "grade", "OutputType": "Integer"}]
    step = {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": {},
        "SqsQueueUrl": "https://q",
        "OutputParameters": declared,
    }
    return step | more


def function(arguments: Any = (), **more: Any) -> dict[str, Any]:
    """A Lambda step."""
    return {"Name": "Call", "Type": "Lambda", "Arguments": dict(arguments), "FunctionArn": "arn", **more}


ALWAYS = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([], "Steps must be a list of at least one step"),
        ([END, END], "step name End is not unique"),
        ([gate(ALWAYS), END], "step name End is not unique"),
        ([end("a b")], "step name 'a b' must match [A-Za-z0-9\\-_]{1,64}"),
        ([end("a" * 65)], "must match [A-Za-z0-9\\-_]{1,64}"),
        ([work("T", "EMR")], "step T of type EMR is not modelled by the local emulator"),
        ([end(Typo=1)], "step End: properties that a Fail step cannot have: ['Typo']"),
        ([end(DisplayName="d" * 83)], "step End: DisplayName must be a string of at most 82 characters"),
        ([end(Description="d" * 3073)], "step End: Description must be a string of at most 3072 characters"),
        ([end(DependsOn="A")], "step End: DependsOn must be a list of step names"),
        ([end(DependsOn=["Lost"])], "step End depends on Lost, which does not exist"),
        ([end(message={"Get": "Parameters.Lost"})], "Get of Parameters.Lost, which does not exist"),
        ([end(message={"Get": "Steps.Lost.Arn"})], "Get of Steps.Lost.Arn, which does not exist"),
        ([end(message={"Get": "Execution.Lost"})], "Get of Execution.Lost, which does not exist"),
        ([end(message={"Get": "Lost"})], "Get of 'Lost' is no reference to Parameters, Execution or Steps"),
        ([end(message={"Std:Upper": "x"})], "function Std:Upper is not supported"),
        ([end(message={"Std:Join": {"Values": "x"}})], "Std:Join takes On and a list Values"),
        (
            [work("A", DependsOn=["B"]), work("B", DependsOn=["C"]), work("C", DependsOn=["A"])],
            "steps depend on each other in a cycle",
        ),
        ([uses("Steps.Uses.ModelArtifacts")], "steps depend on each other in a cycle: Uses -> Uses"),
        ([gate({"Type": "Similar"})], "condition type 'Similar' is not one of Equals, GreaterThan"),
        ([gate({"Type": "Not", "Condition": {"Type": "In", "Values": []}})], "condition In takes QueryValue, Values"),
        ([gate()], "step Gate: no Conditions"),
        ([gate({"Type": "Or", "Conditions": []})], "step Gate: condition Or takes a list Conditions of at least one"),
        ([gate({"Type": "In", "QueryValue": 1, "Values": 1})], "condition In takes a list Values of at least one"),
        ([end(message=3)], "step End: a Fail step takes ErrorMessage, a string or an expression"),
        (
            [work(PropertyFiles=[{"PropertyFileName": "f", "OutputName": "out", "FilePath": 1}])],
            "step Work: a PropertyFile takes PropertyFileName, OutputName and FilePath, each a string",
        ),
        ([{"Name": "E", "Type": "Fail", "Arguments": []}], "step E has no Arguments"),
        ([{"Name": "G", "Type": "Condition", "Arguments": {"IfSteps": 1}}], "a property has the wrong type"),
        (
            [end(message={"Std:JsonGet": {"Path": "a", "PropertyFile": {"Get": "Lost"}}})],
            "Get of 'Lost' is no reference to Parameters, Execution or Steps",
        ),
    ],
)
def test_faults_of_steps_are_named(steps: list[Any], fault: str) -> None:
    """The whole definition is checked before anything runs."""
    with pytest.raises(ApiError) as refusal:
        parse(*steps)
    assert "ValidationException" == refusal.value.code
    assert refusal.value.message.startswith("Unable to parse pipeline definition. ")
    assert fault in refusal.value.message


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (
            [{**gate(ALWAYS), "Name": "Outer", "Arguments": {"Conditions": [ALWAYS], "ElseSteps": [gate(ALWAYS)]}}],
            "Condition step Gate lies in Condition step Outer: conditions do not nest",
        ),
        (
            [{**gate(ALWAYS), "Arguments": {"Conditions": [ALWAYS], "IfSteps": [work()], "ElseSteps": [work()]}}],
            "step name Work is not unique",
        ),
        ([gate(ALWAYS), work(DependsOn=["Gate"])], "step Work depends on Gate: a Condition step cannot be depended on"),
        ([gate(ALWAYS), work(DependsOn=["End"])], "step Work depends on End: a Fail step cannot be depended on"),
        ([end(), uses("Steps.End.ErrorMessage")], "Get of Steps.End.ErrorMessage, which does not exist"),
    ],
)
def test_branches_are_as_aws_allows_them(steps: list[Any], fault: str) -> None:
    """Conditions do not nest, a step lies in one branch, nothing depends on a Condition or Fail step."""
    with pytest.raises(ApiError) as refusal:
        parse(*steps)
    assert fault in refusal.value.message


@pytest.mark.parametrize(
    ("step", "known", "unknown"),
    [
        (
            work(),
            "ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri",
            "ProcessingOutputConfig.Outputs['lost'].S3Uri",
        ),
        (work("Work", "Training"), "ModelArtifacts.S3ModelArtifacts", "ModelArtifact.S3ModelArtifacts"),
        (work("Work", "Tuning"), "BestTrainingJob.TrainingJobName", "Best.TrainingJobName"),
        (work("Work", "Tuning"), "TrainingJobSummaries[0].TrainingJobName", "TrainingJobs[0]"),
        (work("Work", "Transform"), "TransformOutput.S3OutputPath", "S3OutputPath"),
        (work("Work", "Model"), "ModelName", "Name"),
        (work("Work", "RegisterModel"), "ModelPackageArn", "ModelArn"),
        (callback(Name="Work"), "OutputParameters['grade']", "OutputParameters['mark']"),
        (function(Name="Work", OutputParameters=callback()["OutputParameters"]), "OutputParameters['grade']", "grade"),
    ],
)
def test_a_get_names_a_property_that_its_step_has(step: dict[str, Any], known: str, unknown: str) -> None:
    """Outputs by declared name, other properties by what the step's job describes."""
    parse(step, uses(f"Steps.Work.{known}"))
    with pytest.raises(ApiError) as refusal:
        parse(step, uses(f"Steps.Work.{unknown}"))
    assert f"step Uses: Get of Steps.Work.{unknown}, which does not exist" in refusal.value.message


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (callback(SqsQueueUrl=""), "step Ask: SqsQueueUrl must be the URL of a queue"),
        (callback(RetryPolicies=[]), "step Ask: properties that a Callback step cannot have: ['RetryPolicies']"),
        (callback(OutputParameters={}), "step Ask: OutputParameters must be a list of OutputName and OutputType"),
        (callback(OutputParameters=[{"OutputName": "a"}]), "an output parameter takes OutputName"),
        (
            callback(OutputParameters=[{"OutputName": "a", "OutputType": "Number"}]),
            "output parameter a has type 'Number', allowed are String, Integer, Float, Boolean",
        ),
        (
            callback(OutputParameters=[{"OutputName": "a", "OutputType": "String"}] * 2),
            "output parameter name a is not unique",
        ),
        (
            callback(OutputParameters=[{"OutputName": f"o{n}", "OutputType": "String"} for n in range(51)]),
            "there are 51 OutputParameters, the limit is 50",
        ),
        (function(FunctionArn=None), "step Call: FunctionArn must be the ARN of a function"),
        (function({"deep": {"a": 1}}), "argument deep of a Lambda step must be a string, a number or a boolean"),
        (end(CacheConfig={"Enabled": True, "ExpireAfter": "P1D"}), "a Fail step cannot have: ['CacheConfig']"),
        (work(CacheConfig={"Enabled": "yes"}), "CacheConfig takes Enabled (true or false) and ExpireAfter"),
        (work(CacheConfig={"Enabled": True}), "ExpireAfter 'None' is no ISO 8601 duration"),
        (
            work(CacheConfig={"Enabled": True, "ExpireAfter": "30 days"}),
            "ExpireAfter '30 days' is no ISO 8601 duration",
        ),
        (work(RetryPolicies=[{"ExceptionType": ["Any"]}]), "ExceptionType of a retry policy must list some of Step."),
        (
            work(RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 21}]),
            "MaxAttempts of a retry policy must be an integer from 0 to 20, got 21",
        ),
        (
            work(RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "BackoffRate": -1}]),
            "BackoffRate of a retry policy must be a number that is not negative, got -1",
        ),
    ],
)
def test_properties_of_steps_are_checked(step: dict[str, Any], fault: str) -> None:
    """Queues, functions, outputs, caching and retries are checked before anything runs."""
    with pytest.raises(ApiError) as refusal:
        parse(step)
    assert fault in refusal.value.message


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"Name": "x"}, "PipelineExperimentConfig takes ExperimentName and TrialName"),
        ({"ExperimentName": 1}, "ExperimentName of PipelineExperimentConfig must be a string or an expression"),
        ({"TrialName": {"Get": "Steps.End.Arn"}}, "Get of Steps.End.Arn, which does not exist"),
    ],
)
def test_experiment_names_are_known_before_the_steps(config: Any, fault: str) -> None:
    """They are texts, parameters or execution variables."""
    parse(END, PipelineExperimentConfig={"ExperimentName": {"Get": "Execution.PipelineName"}, "TrialName": "x"})
    with pytest.raises(ApiError) as refusal:
        parse(END, PipelineExperimentConfig=config)
    assert fault in refusal.value.message


def test_a_definition_has_a_limit() -> None:
    """1,048,576 characters."""
    with pytest.raises(ApiError, match="the limit is 1048576"):
        parse(END, Metadata={"note": "x" * 1_048_576})


def test_the_projects_own_definition_parses() -> None:
    """The compiled inner loop is one the interpreter can run."""
    root = Path(__file__).parents[3]
    for path in sorted((root / "pipeline_code").glob("*/definition.json")):
        assert Definition.parse(path.read_text()).steps


def test_no_json_is_refused() -> None:
    """Text that is no JSON, or no object, is a ValidationException."""
    for text in ("{", "[]", "null", "[" * 100_000, '{"Version": NaN}'):
        with pytest.raises(ApiError, match="Unable to parse pipeline definition"):
            Definition.parse(text)

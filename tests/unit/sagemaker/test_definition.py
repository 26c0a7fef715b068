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


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([], "Steps must be a list of at least one step"),
        ([END, END], "step name End is not unique"),
        ([gate({"Type": "Equals", "LeftValue": 1, "RightValue": 1}), END], "step name End is not unique"),
        ([end("a b")], "step name 'a b' must match [A-Za-z0-9\\-_]{1,64}"),
        (
            [{"Name": "T", "Type": "Tuning", "Arguments": {}}],
            "step T of type Tuning is not modelled by the local emulator",
        ),
        ([end(Typo=1)], "step End has properties that a Fail step cannot have: ['Typo']"),
        ([end(DependsOn=["Lost"])], "step End depends on Lost, which does not exist"),
        ([end(message={"Get": "Parameters.Lost"})], "Get of Parameters.Lost, which does not exist"),
        ([end(message={"Get": "Steps.Lost.Arn"})], "Get of Steps.Lost.Arn, which does not exist"),
        ([end(message={"Get": "Execution.Lost"})], "Get of Execution.Lost, which does not exist"),
        ([end(message={"Get": "Lost"})], "Get of 'Lost' is no reference to Parameters, Execution or Steps"),
        ([end(message={"Std:Upper": "x"})], "function Std:Upper is not supported"),
        ([end(message={"Std:Join": {"Values": "x"}})], "Std:Join takes On and a list Values"),
        ([end("A", DependsOn=["B"]), end("B", DependsOn=["A"])], "steps depend on each other in a cycle"),
        ([gate({"Type": "Similar"})], "condition type 'Similar' is not one of Equals, GreaterThan"),
        ([gate({"Type": "Not", "Condition": {"Type": "In", "Values": []}})], "condition In takes QueryValue, Values"),
        ([gate()], "step Gate has no Conditions"),
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
    ("parameter", "fault"),
    [
        ({"Name": "P", "Type": "Number"}, "parameter P has type 'Number', allowed are String, Integer, Float, Boolean"),
        ({"Name": "P", "Type": "Integer", "DefaultValue": "1"}, "the default '1' of parameter P is no Integer"),
        ({"Name": "P", "Type": "Integer", "DefaultValue": True}, "the default True of parameter P is no Integer"),
        (
            {"Name": "P", "Type": "String", "DefaultValue": "c", "EnumValues": ["a", "b"]},
            "the default 'c' of parameter P is not in its EnumValues",
        ),
    ],
)
def test_faults_of_parameters_are_named(parameter: dict[str, Any], fault: str) -> None:
    """Types, defaults and enumerations of parameters agree."""
    with pytest.raises(ApiError, match=r"Unable to parse pipeline definition\.") as refusal:
        parse(END, Parameters=[parameter])
    assert fault in refusal.value.message


def test_values_are_typed_and_checked() -> None:
    """What is given as text becomes a value of the parameter's type, or is refused."""
    definition = parse(
        END,
        Parameters=[
            {"Name": "Text", "Type": "String", "EnumValues": ["a", "b"], "DefaultValue": "a"},
            {"Name": "Count", "Type": "Integer"},
            {"Name": "Share", "Type": "Float", "DefaultValue": 1},
            {"Name": "Yes", "Type": "Boolean", "DefaultValue": False},
        ],
    )
    assert {"Text": "b", "Count": 3, "Share": 0.5, "Yes": True} == definition.values(
        {"Text": "b", "Count": "3", "Share": "0.5", "Yes": "true"}
    )
    for given, message in (
        ({}, "[Count] has no default value"),
        ({"Count": "x"}, "[Count] must be of type Integer, got 'x'"),
        ({"Count": "1", "Yes": "maybe"}, "[Yes] must be of type Boolean, got 'maybe'"),
        ({"Count": "1", "Text": "c"}, "[Text] must be one of ['a', 'b'], got 'c'"),
        ({"Count": "1", "More": "c"}, "['More'] are not defined"),
    ):
        with pytest.raises(ApiError) as refusal:
            definition.values(given)
        assert message in refusal.value.message


def test_the_projects_own_definition_parses() -> None:
    """The compiled inner loop is one the interpreter can run."""
    root = Path(__file__).parents[3]
    for path in sorted((root / "pipeline_code").glob("*/definition.json")):
        assert Definition.parse(path.read_text()).steps


def test_no_json_is_refused() -> None:
    """Text that is no JSON, or no object, is a ValidationException."""
    for text in ("{", "[]", "null"):
        with pytest.raises(ApiError, match="Unable to parse pipeline definition"):
            Definition.parse(text)

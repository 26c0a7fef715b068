"""Parameters of a definition: what may be declared, and which texts are values."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.expressions import text_of
from dual_pipeline_local.sagemaker.pipelines.parameters import read, read_outputs

END = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}


def parse(*parameters: dict[str, Any]) -> Definition:
    """Parse a definition of these parameters."""
    return Definition.parse(json.dumps({"Version": "2020-12-01", "Steps": [END], "Parameters": list(parameters)}))


@pytest.mark.parametrize(
    ("parameter", "fault"),
    [
        ({"Name": "P", "Type": "Number"}, "parameter P has type 'Number', allowed are String, Integer, Float, Boolean"),
        ({"Name": "P P", "Type": "String"}, "parameter name 'P P' must match [A-Za-z0-9"),
        ({"Name": "P", "Type": "Integer", "DefaultValue": "1"}, "the default '1' of parameter P is no Integer"),
        ({"Name": "P", "Type": "Integer", "DefaultValue": True}, "the default True of parameter P is no Integer"),
        ({"Name": "P", "Type": "Integer", "DefaultValue": 1.5}, "the default 1.5 of parameter P is no Integer"),
        ({"Name": "P", "Type": "Boolean", "DefaultValue": 0}, "the default 0 of parameter P is no Boolean"),
        ({"Name": "P", "Type": "String", "DefaultValue": None}, "the default None of parameter P is no String"),
        (
            {"Name": "P", "Type": "String", "DefaultValue": "x" * 1025},
            "the default of parameter P has 1025 characters, the limit is 1024",
        ),
        (
            {"Name": "P", "Type": "String", "DefaultValue": "c", "EnumValues": ["a", "b"]},
            "the default 'c' of parameter P is not in its EnumValues",
        ),
        (
            {"Name": "P", "Type": "Integer", "EnumValues": ["1"]},
            "EnumValues of parameter P must be a list of at least one Integer",
        ),
        ({"Name": "P", "Type": "Integer", "EnumValues": []}, "EnumValues of parameter P must be a list"),
    ],
)
def test_faults_of_parameters_are_named(parameter: dict[str, Any], fault: str) -> None:
    """Types, defaults and enumerations of parameters agree."""
    with pytest.raises(ApiError, match=r"Unable to parse pipeline definition\.") as refusal:
        parse(parameter)
    assert fault in refusal.value.message


def test_there_are_at_most_200_parameters() -> None:
    """200 are accepted, one more is not."""
    many = [{"Name": f"P{number}", "Type": "String"} for number in range(201)]
    assert 200 == len(parse(*many[:200]).parameters)
    with pytest.raises(ApiError, match="there are 201 parameters, the limit is 200"):
        parse(*many)


def test_values_are_typed_and_checked() -> None:
    """What is given as text becomes a value of the parameter's type, or is refused."""
    definition = parse(
        {"Name": "Text", "Type": "String", "EnumValues": ["a", "b"], "DefaultValue": "a"},
        {"Name": "Count", "Type": "Integer"},
        {"Name": "Share", "Type": "Float", "DefaultValue": 1},
        {"Name": "Yes", "Type": "Boolean", "DefaultValue": False},
    )
    assert {"Text": "b", "Count": 3, "Share": 0.5, "Yes": True} == definition.values(
        {"Text": "b", "Count": "3", "Share": "0.5", "Yes": "true"}
    )
    for values, message in (
        ({}, "[Count] has no default value"),
        ({"Count": "x"}, "[Count] must be of type Integer, got 'x'"),
        ({"Count": "1.0"}, "[Count] must be of type Integer, got '1.0'"),
        ({"Count": "1", "Share": "NaN"}, "[Share] must be of type Float, got 'NaN'"),
        ({"Count": "1", "Share": "1e999"}, "[Share] must be of type Float, got '1e999'"),
        ({"Count": "1", "Yes": "maybe"}, "[Yes] must be of type Boolean, got 'maybe'"),
        ({"Count": "1", "Text": "c"}, "[Text] must be one of ['a', 'b'], got 'c'"),
        ({"Count": "1", "Text": "x" * 1025}, "[Text] must be of type String, 1025 characters, the limit is 1024"),
        ({"Count": "1", "More": "c"}, "['More'] are not defined"),
    ):
        with pytest.raises(ApiError) as refusal:
            definition.values(values)
        assert message in refusal.value.message


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_64_bits_is_read(number: int) -> None:
    """As an Integer and as a Float."""
    assert number == read("Integer", text_of(number))
    assert float(number) == read("Float", text_of(number))


@given(st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_what_is_written_is_read(value: float | bool) -> None:
    """Finite numbers and booleans survive as text."""
    assert value == read("Boolean" if isinstance(value, bool) else "Float", text_of(value))


@given(st.sampled_from(["Integer", "Float", "Boolean"]), st.text(max_size=30))
def test_any_other_text_is_refused(kind: str, text: str) -> None:
    """A text has a finite value of the type or a ValueError; nothing else happens."""
    try:
        value = read(kind, text)
    except ValueError:
        return
    assert text.isascii()
    assert text == text.strip()
    assert math.isfinite(value)


OUTPUTS = [{"OutputName": "grade", "OutputType": "Integer"}, {"OutputName": "note", "OutputType": "String"}]


@given(st.dictionaries(st.sampled_from(["grade", "note", "other"]), st.text(max_size=5) | st.just("7")))
def test_outputs_are_complete_and_typed_or_refused(answer: dict[str, str]) -> None:
    """A step's outputs are those it declares, each of its type."""
    if set(answer) == {"grade", "note"} and re.fullmatch("[+-]?[0-9]+", answer["grade"]):
        assert {"grade": int(answer["grade"]), "note": answer["note"]} == read_outputs(OUTPUTS, answer)
    else:
        with pytest.raises(ValueError, match=r"output parameter (grade|note|other)"):
            read_outputs(OUTPUTS, answer)

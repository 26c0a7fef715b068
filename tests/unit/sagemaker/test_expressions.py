"""Get, Std:Join and conditions, by property."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local.sagemaker.pipelines.conditions import holds
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Reference, Scope, follow, split_path

KEYS = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), min_size=1)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


def scope(**parameters: Any) -> Scope:
    """A scope of parameters only."""
    return Scope(parameters, lambda name: name, lambda _uri: b"{}")


@given(st.lists(KEYS | st.integers(0, 3), min_size=1, max_size=5))
def test_a_quoted_path_leads_where_it_says(path: list[str | int]) -> None:
    """Any nesting of objects and lists is reached by the path written for it."""
    value: Any = "found"
    for part in reversed(path):
        value = {part: value} if isinstance(part, str) else [*[None] * part, value]
    text = "".join(f"[{part}]" if isinstance(part, int) else f"['{part}']" for part in path)
    assert "found" == follow(value, tuple(split_path(text)), text)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text(max_size=5) | st.integers(), max_size=5))
def test_join_is_pythons_join(on: str, values: list[str | int]) -> None:
    """Std:Join puts On between its values."""
    assert on.join(map(str, values)) == scope().resolve({"Std:Join": {"On": on, "Values": values}})


@given(st.recursive(NUMBERS | st.text() | st.booleans() | st.none(), st.lists, max_leaves=10))
def test_values_without_expressions_stay_themselves(value: Any) -> None:
    """Resolving changes expressions only."""
    assert value == scope().resolve(value)


@given(NUMBERS, NUMBERS)
def test_comparisons_are_those_of_numbers(left: float, right: float) -> None:
    """Integers and floats compare by value, from parameters as from literals; Not and Or are logical."""
    here = scope(Left=left)

    def compare(kind: str) -> bool:
        return holds({"Type": kind, "LeftValue": {"Get": "Parameters.Left"}, "RightValue": right}, here)

    assert (left == right, left > right, left >= right, left < right, left <= right) == tuple(
        compare(kind) for kind in ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
    )
    less = {"Type": "LessThan", "LeftValue": left, "RightValue": right}
    greater = {"Type": "GreaterThan", "LeftValue": left, "RightValue": right}
    either = {"Type": "Or", "Conditions": [less, greater]}
    assert (left != right) == holds(either, here)
    assert (left == right) == holds({"Type": "Not", "Condition": either}, here)


@pytest.mark.parametrize("text", ["", "Steps", "Steps.A", "Parameters.A.B", "Other.A", "Steps.A['b", "Steps.A..b"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    """A Get needs a known root, a name, and a path for steps only."""
    with pytest.raises(ExpressionError):
        Reference.parse(text)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_without_a_value_are_refused(number: str) -> None:
    """A file with what no metric can be is broken: no condition is taken by it."""
    here = Scope({}, str, lambda _uri: f'{{"auc": {number}}}'.encode())
    with pytest.raises(ExpressionError, match="the file is not valid JSON"):
        here.resolve({"Std:JsonGet": {"S3Uri": "s3://b/x.json", "Path": "auc"}})


def test_json_get_takes_an_uri() -> None:
    """Std:JsonGet reads any S3 URI put together at run time."""
    objects = {"s3://b/x.json": json.dumps({"a": {"b": 1}}).encode()}
    here = Scope({"Name": "x"}, str, objects.__getitem__)
    uri = {"Std:Join": {"On": "", "Values": ["s3://b/", {"Get": "Parameters.Name"}, ".json"]}}
    assert 1 == here.resolve({"Std:JsonGet": {"S3Uri": uri, "Path": "$.a.b"}})

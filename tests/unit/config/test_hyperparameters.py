"""Hyperparameters, their limits and the tuner's ranges refuse what a job would fail on."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline.errors import ConfigError
from dual_pipeline.hyperparameters import Choices, FloatRange, Hyperparameter, IntegerRange
from dual_pipeline.model_project import Tuning
from pipeline_code.census.project import CENSUS


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (IntegerRange, {"low": 5, "high": 5}, "IntegerRange.high must be a whole number from 6 to 1000000000, got 5"),
        (IntegerRange, {"low": 0.5, "high": 5}, "IntegerRange.low must be a whole number from -1000000000 to 1000000000, got 0.5"),
        (FloatRange, {"low": 1.0, "high": 0.5}, "FloatRange.high must be above low (1), got 0.5"),
        (FloatRange, {"low": math.nan, "high": 0.5}, "FloatRange.low must be a number from -1e+09 to 1e+09, got nan"),
        (FloatRange, {"low": 0.0, "high": 0.5, "scale": "Logarithmic"}, "FloatRange.low must be above 0 on a logarithmic scale, got 0.0"),
        (FloatRange, {"low": 0.1, "high": 1.0, "scale": "ReverseLogarithmic"}, "FloatRange.high must be below 1, and low 0 or more, on this scale, got 1.0"),
        (FloatRange, {"low": 0.1, "high": 1.0, "scale": "log"}, "FloatRange.scale must be one of Auto, Linear, Logarithmic, ReverseLogarithmic, got 'log'"),
        (Choices, {"values": ("a",)}, "Choices.values must be a tuple of 2 to 30 different words, got ('a',)"),
        (Choices, {"values": ("a", "a")}, "Choices.values must be a tuple of 2 to 30 different words, got ('a', 'a')"),
        (Hyperparameter, {"default": None}, "Hyperparameter.default must be a boolean, a number or a word, got None"),
        (Hyperparameter, {"default": math.nan}, "Hyperparameter.default must be a boolean, a number or a word, got nan"),
        (Hyperparameter, {"default": 7, "limits": (1, 5)}, "Hyperparameter.limits must be an IntegerRange, a FloatRange, Choices or None, got (1, 5)"),
        (Hyperparameter, {"default": 7, "limits": IntegerRange(low=1, high=5)}, "Hyperparameter.default must be a whole number from 1 to 5, got 7"),
        (Hyperparameter, {"default": True, "limits": IntegerRange(low=0, high=5)}, "Hyperparameter.default must be a whole number from 0 to 5, got True"),
        (Hyperparameter, {"default": "c", "limits": Choices(values=("a", "b"))}, "Hyperparameter.default must be one of a, b, got 'c'"),
    ],
)  # fmt: skip
def test_bad_field_is_named_with_value_and_what_is_allowed(kind: Any, fields: dict[str, Any], message: str) -> None:
    """A field out of range raises one error that names it, the value got and what is allowed."""
    with pytest.raises(ConfigError) as error:
        kind(**fields)
    assert message == str(error.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "Boolean"), (6, "Integer"), (0.1, "Float"), ("gbtree", "String")],
)
def test_the_type_follows_from_the_default(value: Any, kind: str) -> None:
    """A plain value declares a hyperparameter without limits, a boolean is no integer."""
    project = replace(CENSUS, smoke_training=None, tuning=None, hyperparameters={"this": value})
    assert Hyperparameter(default=value) == project.declared_hyperparameters["this"]
    assert kind == project.declared_hyperparameters["this"].kind


def test_a_whole_default_in_a_range_of_floats_is_a_float() -> None:
    """`eta = 1` must not forbid 0.3 later."""
    assert "Float" == Hyperparameter(default=1, limits=FloatRange(low=0.0, high=2.0)).kind


@pytest.mark.parametrize("name", ["Eta", "max-depth", "", "device", "1st", "l_1"])
def test_names_are_words_of_the_command_line(name: str) -> None:
    """Names that would clash (`l_1` with `l1`) or become no parameter name are refused; `device` is Training's."""
    with pytest.raises(ConfigError, match=r"^ModelProject\.hyperparameters must be a mapping from names in snake_case"):
        replace(CENSUS, tuning=None, hyperparameters={name: 1})


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        ("gamma", FloatRange(low=0.0, high=1.0), r"\['gamma'\] tunes no hyperparameter of the project: add it to"),
        ("max_depth", FloatRange(low=3.0, high=9.0), r"\['max_depth'\] must be a range for a Integer, which the"),
        ("max_depth", IntegerRange(low=3, high=99), r"must stay within .* limits, a whole number from 1 to 16, got \[99\]"),
        ("eta", Choices(values=("a", "b")), r"\['eta'\] must be a range for a Float"),
    ],
)  # fmt: skip
def test_the_tuner_searches_what_training_takes(name: str, limits: Any, message: str) -> None:
    """A range for nothing, of another type or beyond the hyperparameter's own limits is refused."""
    with pytest.raises(ConfigError, match=r"^Tuning\.ranges" + ("" if name in message else r".*") + message):
        replace(CENSUS, tuning=Tuning(ranges={name: limits}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ranges": {}}, r"^Tuning\.ranges must be a mapping of 1 to 30 hyperparameters"),
        ({"ranges": {"eta": (0, 1)}}, r"^Tuning\.ranges must be a mapping of 1 to 30 hyperparameters"),
        ({"max_jobs": 0}, r"^Tuning\.max_jobs must be a whole number from 1 to 750, got 0"),
        ({"max_jobs": 3, "max_parallel_jobs": 4}, r"^Tuning\.max_parallel_jobs must be a whole number from 1 to 3, got 4"),
        ({"strategy": "Grid"}, r"^Tuning\.strategy must be one of Bayesian, Random, got 'Grid'"),
    ],
)  # fmt: skip
def test_a_search_has_a_budget(fields: dict[str, Any], message: str) -> None:
    """Jobs, parallel jobs and strategy are those that SageMaker takes."""
    with pytest.raises(ConfigError, match=message):
        Tuning(**{"ranges": {"eta": FloatRange(low=0.1, high=0.3)}, **fields})


@given(st.integers(-5, 25))
def test_limits_hold_what_they_say(value: int) -> None:
    """A default exists exactly when it lies within its limits."""
    if 1 <= value <= 16:
        assert value == Hyperparameter(default=value, limits=IntegerRange(low=1, high=16)).default
    else:
        with pytest.raises(ConfigError):
            Hyperparameter(default=value, limits=IntegerRange(low=1, high=16))

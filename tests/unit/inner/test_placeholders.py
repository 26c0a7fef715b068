"""Filling a compiled definition."""

import json

import pytest

from dual_pipeline.placeholders import (
    PLACEHOLDERS,
    canonical,
    code_file,
    code_uri,
    fill,
    placeholders_in,
    without_placeholders,
)

DEFINITION = canonical(
    {
        "Parameters": [{"Name": "MinAuc", "Type": "Float", "DefaultValue": 0.5}],
        "Steps": [{"Arguments": {"Key": PLACEHOLDERS["kms_key_arn"], "Path": f"/in/{code_file('train')}"}}],
    }
)
VALUES = {"kms_key_arn": "arn:aws:kms:eu-west-1:111122223333:key/1", "train_code_file": "abc.tar.gz"}
LITERALS = [*PLACEHOLDERS.values(), *(each(step) for step in ("train", "train_fast") for each in (code_uri, code_file))]


def test_every_occurrence_is_replaced() -> None:
    """Whole strings and parts of strings take their values."""
    arguments = json.loads(fill(DEFINITION, VALUES))["Steps"][0]["Arguments"]
    assert {"Key": VALUES["kms_key_arn"], "Path": "/in/abc.tar.gz"} == arguments


def test_values_are_escaped_as_json() -> None:
    """A value with quotes stays one string."""
    filled = fill(DEFINITION, {**VALUES, "train_code_file": 'a"b\\c'})
    assert json.loads(filled)["Steps"][0]["Arguments"]["Path"] == '/in/a"b\\c'


def test_a_missing_value_is_refused() -> None:
    """The error names what the definition needs."""
    with pytest.raises(ValueError, match=r"no value given for placeholders \['train_code_file'\]"):
        fill(DEFINITION, {"kms_key_arn": "x"})


def test_an_unknown_value_is_refused() -> None:
    """A misspelt placeholder is not passed over."""
    with pytest.raises(ValueError, match=r"unknown placeholders \['kms_key'\]"):
        fill(DEFINITION, {**VALUES, "kms_key": "x"})


def test_parameter_defaults_are_set_by_name() -> None:
    """An environment's own default replaces the compiled one, and may hold placeholders itself."""
    filled = json.loads(fill(DEFINITION, VALUES, parameter_defaults={"MinAuc": 0.9}))
    assert [{"Name": "MinAuc", "Type": "Float", "DefaultValue": 0.9}] == filled["Parameters"]
    with pytest.raises(ValueError, match=r"no value given for placeholders \['data_bucket'\]"):
        fill(DEFINITION, VALUES, parameter_defaults={"MinAuc": PLACEHOLDERS["data_bucket"]})


def test_an_unknown_parameter_is_refused() -> None:
    """A project's setting that the pipeline does not declare is an error, not a silent loss."""
    with pytest.raises(ValueError, match="declares no parameter 'HyperLambda'"):
        fill(DEFINITION, VALUES, parameter_defaults={"HyperLambda": 1})


def test_any_step_folder_has_placeholders() -> None:
    """A step's code has literals by its folder's name, found again in any text."""
    text = f"{code_uri('train_fast')} and {code_file('train')}, {PLACEHOLDERS['region']}"
    assert {"train_fast_code_uri", "train_code_file", "region"} == placeholders_in(text)
    assert " and , " == without_placeholders(text)


def test_no_placeholder_is_part_of_another() -> None:
    """Replacing one can never damage another."""
    assert [] == [(a, b) for a in LITERALS for b in LITERALS if a != b and a in b]

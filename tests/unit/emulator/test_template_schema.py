"""Properties of templates against the resource providers' schemas."""

import json
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local import settings, template_schema

REF = {"Ref": "Other"}


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator of one region."""
    monkeypatch.setattr(settings, "_current", settings.Settings(work=Path("none"), port=1, region="eu-west-1"))


@pytest.mark.parametrize(
    ("type_", "properties", "expected"),
    [
        ("AWS::S3::Bucket", {"BucketName": REF, "Tags": REF}, []),
        ("AWS::S3::Bucket", {"Colour": REF}, ["#: extraneous key [Colour] is not permitted"]),
        (
            "AWS::S3::Bucket",
            {"VersioningConfiguration": {"Status": "Enabled", "Colour": 1}},
            ["#/VersioningConfiguration: extraneous key [Colour] is not permitted"],
        ),
        (
            "AWS::SQS::Queue",
            {"Tags": [REF, {"Key": "k", "Colour": "v"}]},
            ["#/Tags/1: extraneous key [Colour] is not permitted", "#/Tags/1: required key [Value] not found"],
        ),
        (
            "AWS::S3::Bucket",
            {"VersioningConfiguration": {"Fn::If": ["Kept", {"Status": "Enabled"}, {"Colour": 1, "Status": "x"}]}},
            ["#/VersioningConfiguration: extraneous key [Colour] is not permitted"],
        ),
        ("AWS::IAM::Policy", {"PolicyName": "p", "PolicyDocument": {"Statement": [{"Any": 1}]}}, []),
        ("AWS::Glue::Job", {"Role": "r"}, ["#: required key [Command] not found"]),
        ("Custom::Thing", {"Colour": "red"}, []),
    ],
)
def test_names_are_checked(type_: str, properties: dict[str, Any], expected: list[str]) -> None:
    """Unknown and missing names are found at every depth, and functions are left to their results."""
    assert list(template_schema.faults(type_, properties)) == expected


def test_resources_that_are_not_made_are_not_checked() -> None:
    """A resource whose condition is false is left alone."""
    resource = {"Type": "AWS::S3::Bucket", "Condition": "Kept", "Properties": {"Colour": "red"}}
    template_schema.check({"Resources": {"Pot": resource}}, {"Kept": False})
    with pytest.raises(ValueError, match=r"resource Pot with message:\n\[#: extraneous key \[Colour\]"):
        template_schema.check(json.loads(json.dumps({"Resources": {"Pot": resource}})), {"Kept": True})

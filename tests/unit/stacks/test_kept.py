"""What is kept can be handed to the next deployment: CloudFormation can import it, alone."""

import json
import re
from typing import Any

import pytest

from dual_pipeline_cli.stacks import IDENTIFIERS
from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")


def kept(template: dict[str, Any]) -> dict[str, Any]:
    """The resources of a template that survive its stack."""
    return {name: each for name, each in template["Resources"].items() if each.get("DeletionPolicy") == "Retain"}


def test_everything_that_is_kept_can_be_taken_over(synthesis: Synthesis) -> None:
    """Of each kind it is known by which identifier CloudFormation imports it."""
    found = {each["Type"] for template in synthesis.templates.values() for each in kept(template).values()}
    assert {"AWS::S3::Bucket", "AWS::KMS::Key", "AWS::DynamoDB::Table"} < found <= set(IDENTIFIERS)


def test_what_is_kept_refers_to_nothing_that_goes(synthesis: Synthesis) -> None:
    """The template of an import holds the imported resources alone, so each reference must lead to one of them."""
    for path, template in synthesis.templates.items():
        own = kept(template)
        text = json.dumps(own)
        references = set(re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"([^"]+)"', text))
        assert {name for name in references if not name.startswith("AWS::")} <= set(own), path
        assert "Fn::GetStackOutput" not in text, path
        assert "Fn::ImportValue" not in text, path
        assert [] == [name for name, each in own.items() if "DependsOn" in each], path

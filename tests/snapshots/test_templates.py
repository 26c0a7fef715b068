"""The templates themselves, with everything at its default and with everything switched on."""

import json
import re
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from synthesis import Synthesis, Template

pytestmark = pytest.mark.xdist_group("synthesis")


def without_hashes(template: Template) -> dict[str, Any]:
    """The template with asset hashes left out, so that a changed step of a model changes no snapshot."""
    normalised: dict[str, Any] = json.loads(re.sub(r"\b[0-9a-f]{64}\b", "<hash>", json.dumps(template)))
    return normalised


@pytest.mark.parametrize("environment", ["Least", "Most"])
@pytest.mark.parametrize(
    "stack", ["Foundation", "CensusRegistry", "CensusInnerLoop", "CensusOuterLoop", "CensusMonitoring", "Watch"]
)
def test_template(synthesis: Synthesis, snapshot: SnapshotAssertion, environment: str, stack: str) -> None:
    """A stack's template changes only when its infrastructure is meant to."""
    template = without_hashes(synthesis.templates[f"{environment}/{stack}"])
    assert snapshot(extension_class=JSONSnapshotExtension) == template


@pytest.mark.parametrize("stack", ["CensusOuterLoop", "CensusWorkflows", "CensusMonitoring"])
def test_template_without_an_inner_loop(synthesis: Synthesis, snapshot: SnapshotAssertion, stack: str) -> None:
    """The same of a project that trains in one job, with a workflow of its own."""
    template = without_hashes(synthesis.templates[f"Alone/{stack}"])
    assert snapshot(extension_class=JSONSnapshotExtension) == template

"""Script mode without a network: the image installs the code by pip before it trains or serves."""

import json
from typing import Any

import pytest

from compiled import compile_everything
from dual_pipeline.definition import all_steps


@pytest.fixture(scope="module")
def steps() -> dict[str, dict[str, Any]]:
    """The arguments of every step."""
    return {step["Name"]: step["Arguments"] for step in all_steps(json.loads(compile_everything())["Steps"])}


def test_pip_fetches_no_build_tools(steps: dict[str, dict[str, Any]]) -> None:
    """Pip builds with what the image has: pip 25.3 and later would look for setuptools in an index, 0 forbids it."""
    starting = {
        "Train": steps["Train"],
        "Tune": steps["Tune"]["TrainingJobDefinition"],
        "Register": steps["Register"]["InferenceSpecification"]["Containers"][0],
        "CreateModel": steps["CreateModel"]["PrimaryContainer"],
    }
    found = {name: request["Environment"].get("PIP_NO_BUILD_ISOLATION") for name, request in starting.items()}
    assert dict.fromkeys(starting, "0") == found

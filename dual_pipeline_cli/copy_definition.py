"""The definition that a personal copy runs: the checkout's, with nothing that anybody outside would notice."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dual_pipeline.definition import all_steps
from dual_pipeline.sandbox_contract import FOLDER

from .environment import EnvironmentTrouble

_OUTSIDE = ("Callback", "Lambda")


def as_copy(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without the steps that reach outside, and with checkpoints where a copy's jobs may write.

    Raises EnvironmentTrouble when another step needs what such a step answers.
    """
    document: dict[str, Any] = json.loads(json.dumps(definition))
    left_out = {step["Name"] for step in all_steps(document["Steps"]) if step["Type"] in _OUTSIDE}
    for name in left_out:
        if f'"Steps.{name}.' in json.dumps(document):
            raise EnvironmentTrouble(
                f"a copy leaves out step {name}, which asks systems outside, but another step uses what it answers"
            )
    document["Steps"] = _without(document["Steps"], left_out)
    for step in all_steps(document["Steps"]):
        job = step["Arguments"].get("TrainingJobDefinition", step["Arguments"])
        if place := job.get("CheckpointConfig"):
            place["S3Uri"] = _apart(place["S3Uri"])
    return document


def _without(steps: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    kept = [step for step in steps if step["Name"] not in names]
    for step in kept:
        if "DependsOn" in step:
            step["DependsOn"] = [each for each in step["DependsOn"] if each not in names]
        if step["Type"] == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                step["Arguments"][branch] = _without(step["Arguments"][branch], names)
    return kept


def _apart(uri: Any) -> Any:
    return re.sub(r"^(s3://[^/]+/[^/]+)/(?!sandbox/)", rf"\1/{FOLDER}/", uri) if isinstance(uri, str) else uri

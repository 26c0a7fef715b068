"""The definition that repeats a run's jobs: what they computed again, and nothing that anybody else would notice."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline.definition import all_steps
from dual_pipeline.sandbox_contract import FOLDER

from .environment import EnvironmentTrouble

_JOBS = ("Processing", "Training", "Tuning")
# What a tuner's job definition has beyond that of a training job.
_TUNER_ONLY = ("DefinitionName", "TuningObjective", "HyperParameterRanges", "StaticHyperParameters", "RetryStrategy")
_TUNER_HYPERPARAMETER = "_tuning"
_TUNER_REFERENCE = r"^Steps\.({steps})\.(TrainingJobDefinition|BestTrainingJob)\."
_OUTPUTS = ("ProcessingOutputConfig", "OutputDataConfig")
_STEP_REFERENCE = re.compile(r"^Steps\.([\w-]+)\.")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What a replay's jobs run as."""

    processing: str
    training: str


def replay_definition(
    definition: Mapping[str, Any],
    *,
    executed: Collection[str],
    winners: Mapping[str, Mapping[str, str]],
    roles: Roles,
    name: str,
) -> dict[str, Any]:
    """A run's definition cut down to the jobs in `executed`, without cache, written below the sandbox's folder.

    A tuning step becomes the training of its winner, whose hyperparameters are in `winners` by step: a search need not
    be repeated to show what its model was made of. Checkpoints lie apart under `name`, so that nothing is resumed.
    Raises EnvironmentTrouble when a job needs what only a step that is left out would answer.
    """
    kept = [
        step for step in all_steps(json.loads(json.dumps(definition["Steps"])))
        if step["Type"] in _JOBS and step["Name"] in executed
    ]  # fmt: skip
    names = {step["Name"] for step in kept}
    tuned = re.compile(_TUNER_REFERENCE.format(steps="|".join(map(re.escape, winners)) or "(?!)"))
    steps = [_as_trained(_repeated(step, names, winners, roles, name), tuned) for step in kept]
    for step in steps:
        for text in _references(step):
            match = _STEP_REFERENCE.match(text)
            if match and match[1] not in names:
                raise EnvironmentTrouble(
                    f"step {step['Name']} needs {text}, and step {match[1]} is no job that a replay can repeat"
                )
    return {
        "Version": definition["Version"],
        "Metadata": definition.get("Metadata", {}),
        "Parameters": definition["Parameters"],
        "Steps": steps,
    }


def _repeated(
    step: dict[str, Any], names: Collection[str], winners: Mapping[str, Mapping[str, str]], roles: Roles, name: str
) -> dict[str, Any]:
    arguments = step["Arguments"]
    if step["Type"] == "Tuning":
        job = arguments["TrainingJobDefinition"]
        given = winners[step["Name"]].items()
        arguments = {
            **{key: value for key, value in job.items() if key not in _TUNER_ONLY},
            "HyperParameters": {key: value for key, value in given if not key.startswith(_TUNER_HYPERPARAMETER)},
            **({"Tags": arguments["Tags"]} if "Tags" in arguments else {}),
        }
    kind = "Processing" if step["Type"] == "Processing" else "Training"
    arguments = {**arguments, "RoleArn": roles.processing if kind == "Processing" else roles.training}
    arguments.pop("ExperimentConfig", None)
    for member in _OUTPUTS:
        if member in arguments:
            arguments[member] = _below_sandbox(arguments[member])
    if "CheckpointConfig" in arguments:
        place = _below_sandbox(arguments["OutputDataConfig"]["S3OutputPath"])
        root = re.match(r"s3://[^/]+/[^/]+", next(_texts(place)))
        if root is None:
            raise EnvironmentTrouble(f"step {step['Name']} writes to no place that a replay could lie beside")
        uri = f"{root[0]}/{FOLDER}/checkpoints/{name}/{step['Name'].lower()}"
        arguments["CheckpointConfig"] = {**arguments["CheckpointConfig"], "S3Uri": uri}
    repeated = {"Name": step["Name"], "Type": kind, "Arguments": arguments}
    if depends := [each for each in step.get("DependsOn", []) if each in names]:
        repeated["DependsOn"] = depends
    if "RetryPolicies" in step:
        repeated["RetryPolicies"] = step["RetryPolicies"]
    return repeated


def _below_sandbox(node: Any) -> Any:
    """The same outputs with the executions' folder, second below the bucket, replaced by the sandbox's."""
    if isinstance(node, str):
        return re.sub(r"^(s3://[^/]+/[^/]+)/executions(?=/|$)", rf"\1/{FOLDER}", node)
    if isinstance(node, dict):
        return {key: _below_sandbox(value) for key, value in node.items()}
    return [_below_sandbox(item) for item in node] if isinstance(node, list) else node


def _as_trained(node: Any, tuned: re.Pattern[str]) -> Any:
    """References to a tuner's best job or job definition as references to the one training that stands for it."""
    if isinstance(node, dict):
        return {
            key: tuned.sub(r"Steps.\1.", value)
            if key == "Get" and isinstance(value, str)
            else _as_trained(value, tuned)
            for key, value in node.items()
        }
    return [_as_trained(item, tuned) for item in node] if isinstance(node, list) else node


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("Get"), str):
            yield node["Get"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from (text for text in _texts(item) if text.startswith("s3://"))

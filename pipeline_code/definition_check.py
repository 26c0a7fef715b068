"""Prove a compiled definition offline: what SageMaker, the outer loop or the platform would refuse, a sentence each."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from dual_pipeline.definition import all_steps
from dual_pipeline.loop_contract import (
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
)
from dual_pipeline.placeholders import without_placeholders
from pipeline_code.policy_check import policy_problems
from pipeline_code.reference_check import DESCRIBED_BY, describe, reference_problems
from pipeline_code.request_check import check_request
from pipeline_code.step_check import parameter_problems, step_problems

Json: TypeAlias = dict[str, Any]

_CONTRACT = (
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_RUN_ID,
    PARAMETER_TRIGGER_REASON,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
)
_OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
}
_GIVEN_BY_SERVICE = (
    "ProcessingJobName",
    "TrainingJobName",
    "TransformJobName",
    "HyperParameterTuningJobName",
    "ModelName",
)

# https://docs.aws.amazon.com/general/latest/gr/sagemaker.html#limits_sagemaker and botocore's CreatePipeline shape
_MOST_CHARACTERS = 1_048_576
_MOST_PARAMETERS = 200
_STEP_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9_]){0,63}")
_LEAK = re.compile(r"arn:aws|\b\d{12}\b|amazonaws|s3://\w|\b[a-z]{2}(-gov|-iso\w?)?-[a-z]+-\d\b")
_SAMPLE_URI = "s3://sample/sample"


def definition_problems(document: Json, definition: str) -> list[str]:
    """What would be refused in a compiled document and its text, a sentence each; references first if any dangle."""
    if dangling := sorted(set(reference_problems(document))):
        return dangling
    return sorted(set(_problems(document, definition)))


def _problems(document: Json, definition: str) -> Iterator[str]:
    parameters = {parameter["Name"]: parameter for parameter in document["Parameters"]}
    for name in sorted(set(_CONTRACT) - parameters.keys()):
        yield f"the outer loop passes parameter {name}, which the pipeline does not declare"
    if len(definition) > _MOST_CHARACTERS:
        yield f"{len(definition)} characters, at most {_MOST_CHARACTERS} are allowed"
    if len(parameters) > _MOST_PARAMETERS:
        yield f"{len(parameters)} parameters, at most {_MOST_PARAMETERS} are allowed"
    for parameter in document["Parameters"]:
        yield from parameter_problems(parameter)
    for leak in _LEAK.finditer(without_placeholders(definition)):
        yield f"{leak.group()!r} belongs to one account or region; use a placeholder"
    steps = {step["Name"]: step for step in all_steps(document["Steps"])}
    for name, step in steps.items():
        if not _STEP_NAME.fullmatch(name):
            yield f"step name {name!r} must match {_STEP_NAME.pattern}"
        for problem in _step_problems(step, parameters, steps):
            yield f"step {name}: {problem}"


def _step_problems(step: Json, parameters: Mapping[str, Json], steps: Mapping[str, Json]) -> Iterator[str]:
    if wrong := list(step_problems(step)):
        yield from wrong
        return
    if operation := _OPERATIONS.get(step["Type"]):
        request = sample(step["Arguments"], parameters, steps)
        yield from check_request(operation, request, given=_GIVEN_BY_SERVICE)
    yield from policy_problems(step, parameters)


def sample(node: Any, parameters: Mapping[str, Json], steps: Mapping[str, Json]) -> Any:
    """The request that a step might send: every pipeline variable replaced by a likely value of its type."""
    if isinstance(node, list):
        return [sample(item, parameters, steps) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Get"}:
        return _sample_of(node["Get"], parameters, steps)
    if node.keys() == {"Std:Join"}:
        join = node["Std:Join"]
        return join["On"].join(str(sample(value, parameters, steps)) for value in join["Values"])
    return {key: sample(value, parameters, steps) for key, value in node.items()}


def _sample_of(reference: str, parameters: Mapping[str, Json], steps: Mapping[str, Json]) -> Any:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        return parameters[rest].get("DefaultValue", _SAMPLE_URI)
    name, _, path = rest.partition(".")
    if kind == "Steps" and (step_type := steps[name]["Type"]) in DESCRIBED_BY:
        shape = describe(step_type, path)
        if shape is not None and shape.type_name in ("integer", "long", "float", "double"):
            return 1
        return _SAMPLE_URI if path.endswith(("Uri", "S3ModelArtifacts", "S3OutputPath")) else "sample"
    return "sample"

"""What this platform demands of every job of a definition, beyond what SageMaker demands."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.loop_contract import (
    PARAMETER_RUN_ID,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
    TAG_COST_CENTER,
    TAG_ENVIRONMENT,
    TAG_PROJECT,
    TAG_RUN,
)
from dual_pipeline.placeholders import PLACEHOLDERS

Json: TypeAlias = dict[str, Any]

CACHE = {"Enabled": True, "ExpireAfter": "P30D"}
TAGS = frozenset({TAG_ENVIRONMENT, TAG_PROJECT, TAG_RUN, TAG_COST_CENTER})
# Given anew to every execution.
_OF_THE_RUN = (PARAMETER_RUN_ID, PARAMETER_TRIGGER_REASON, PARAMETER_TRIGGER_DETAIL)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribePipelineExecution.html: FailureReason
_LONGEST_MESSAGE = 1300
_LONGEST_VALUE = 24

_JOBS = ("Processing", "Training", "Tuning", "Transform")
# Where a job of each type keeps its instance type and volume key, its output key, its isolation and its time limit.
_RESOURCES: Mapping[str, Sequence[str]] = {
    "Processing": ("ProcessingResources", "ClusterConfig"),
    "Training": ("ResourceConfig",),
    "Tuning": ("TrainingJobDefinition", "ResourceConfig"),
    "Transform": ("TransformResources",),
}
_OUTPUT: Mapping[str, Sequence[str]] = {
    "Processing": ("ProcessingOutputConfig",),
    "Training": ("OutputDataConfig",),
    "Tuning": ("TrainingJobDefinition", "OutputDataConfig"),
    "Transform": ("TransformOutput",),
}
_OUTPUT_NAMES = frozenset(path[-1] for path in _OUTPUT.values())
_ISOLATION: Mapping[str, Sequence[str]] = {
    "Processing": ("NetworkConfig",),
    "Training": (),
    "Tuning": ("TrainingJobDefinition",),
    "Model": (),
}
_TIME_LIMIT: Mapping[str, Sequence[str]] = {
    "Processing": ("StoppingCondition",),
    "Training": ("StoppingCondition",),
    "Tuning": ("TrainingJobDefinition", "StoppingCondition"),
}
_SECRET_NAME = re.compile(r"passw|secret|token|api[-_]?key|access[-_]?key|credential|private[-_]?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}")


def policy_problems(step: Json, parameters: Mapping[str, Json]) -> Iterator[str]:
    """What of one step breaks the platform's rules, a sentence each; `parameters` are the definition's, by name."""
    yield from _encryption(step, parameters)
    for check in _CHECKS:
        yield from check(step)


def _encryption(step: Json, parameters: Mapping[str, Json]) -> Iterator[str]:
    if step["Type"] not in _JOBS:
        return
    resources, key = _at(step, _RESOURCES), PLACEHOLDERS["kms_key_arn"]
    instance_type = _value(resources.get("InstanceType"), parameters)
    if takes_volume_key(str(instance_type)):
        if resources.get("VolumeKmsKeyId") != key:
            yield "its volume is not encrypted with the environment's key: set VolumeKmsKeyId"
    elif "VolumeKmsKeyId" in resources:
        yield f"SageMaker refuses VolumeKmsKeyId on {instance_type}, whose local disks its hardware encrypts"
    if _at(step, _OUTPUT).get("KmsKeyId") != key:
        yield "its output is not encrypted with the environment's key: set KmsKeyId"


def _isolation(step: Json) -> Iterator[str]:
    if step["Type"] in _ISOLATION and _at(step, _ISOLATION).get("EnableNetworkIsolation") is not True:
        yield "it can reach the network: set EnableNetworkIsolation"


def _time_limit(step: Json) -> Iterator[str]:
    if step["Type"] not in _TIME_LIMIT:
        return
    limit = _at(step, _TIME_LIMIT)
    if "MaxRuntimeInSeconds" not in limit:
        yield "nothing ends it if it hangs: set StoppingCondition.MaxRuntimeInSeconds"
    definition = step["Arguments"].get("TrainingJobDefinition", step["Arguments"])
    if definition.get("EnableManagedSpotTraining"):
        if "MaxWaitTimeInSeconds" not in limit:
            yield "it waits for Spot capacity for ever: set StoppingCondition.MaxWaitTimeInSeconds"
        if "CheckpointConfig" not in definition:
            yield "an interruption of Spot capacity loses its work: set CheckpointConfig"


def _tags(step: Json) -> Iterator[str]:
    if step["Type"] in (*_JOBS, "Model"):
        missing = sorted(TAGS - {tag["Key"] for tag in step["Arguments"].get("Tags", [])})
        if missing:
            yield f"it lacks the tags {', '.join(missing)}"


def _caching(step: Json) -> Iterator[str]:
    """Cache keys: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html"""
    if step["Type"] not in _JOBS:
        return
    if step.get("CacheConfig") != CACHE:
        yield f"its results are not reused: set CacheConfig to {json.dumps(CACHE)}"
    text = json.dumps(_without_outputs(step["Arguments"]))
    changing = sorted(set(re.findall(r'"Get": "(Execution\.\w+)"', text)))
    changing += [name for name in _OF_THE_RUN if f'"Get": "Parameters.{name}"' in text]
    if changing:
        yield f"it would never be taken from the cache: {', '.join(changing)} in its inputs differs from run to run"


def _own_prefix(step: Json) -> Iterator[str]:
    if step["Type"] not in _JOBS:
        return
    output = _at(step, _OUTPUT)
    uris = [each["S3Output"]["S3Uri"] for each in output.get("Outputs", [])] or [output.get("S3OutputPath")]
    for uri in uris:
        values = uri.get("Std:Join", {}).get("Values", []) if isinstance(uri, dict) else []
        if {"Get": "Execution.PipelineExecutionId"} not in values:
            yield "two executions would write to one place: begin its outputs with jobs.output_uri"


def _retries(step: Json) -> Iterator[str]:
    if step["Type"] in (*_JOBS, "Model", "RegisterModel") and not step.get("RetryPolicies"):
        yield "throttling would fail it: give it retry_policies"


def _secrets(step: Json) -> Iterator[str]:
    for name, value in _texts(step["Arguments"] if step["Type"] != "Condition" else {}):
        label = value.partition("=")[0] if value.startswith("--") else name
        if _SECRET_VALUE.search(value) or _SECRET_NAME.search(label):
            yield f"{label} looks like a secret in clear text: let the step read it from AWS Secrets Manager"


def _metrics(step: Json) -> Iterator[str]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html lists the metrics that its image defines."""
    definition = step["Arguments"].get("TrainingJobDefinition", step["Arguments"])
    algorithm = definition.get("AlgorithmSpecification", {})
    if "MetricDefinitions" in algorithm and algorithm.get("TrainingImage") == PLACEHOLDERS["xgboost_image"]:
        yield "SageMaker refuses MetricDefinitions for its own XGBoost image: print one of the image's metrics"


def _message(step: Json) -> Iterator[str]:
    if step["Type"] == "Fail":
        message = step["Arguments"]["ErrorMessage"]
        values = message["Std:Join"]["Values"] if isinstance(message, dict) else [message]
        length = sum(len(value) if isinstance(value, str) else _LONGEST_VALUE for value in values)
        if length > _LONGEST_MESSAGE:
            yield f"its message may have {length} characters, a failure reason at most {_LONGEST_MESSAGE}"


_CHECKS: Sequence[Callable[[Json], Iterator[str]]] = (
    _isolation,
    _time_limit,
    _tags,
    _caching,
    _own_prefix,
    _retries,
    _secrets,
    _metrics,
    _message,
)


def _at(step: Json, paths: Mapping[str, Sequence[str]]) -> Json:
    node: Json = step["Arguments"]
    for name in paths[step["Type"]]:
        node = node.get(name, {})
    return node


def _value(node: Any, parameters: Mapping[str, Json]) -> Any:
    """A literal, or the default of the parameter that it gets."""
    if isinstance(node, dict) and str(node.get("Get", "")).startswith("Parameters."):
        return parameters.get(node["Get"].removeprefix("Parameters."), {}).get("DefaultValue")
    return node


def _without_outputs(arguments: Json) -> Json:
    left = {name: value for name, value in arguments.items() if name not in ("Tags", *_OUTPUT_NAMES)}
    if definition := left.get("TrainingJobDefinition"):
        left["TrainingJobDefinition"] = _without_outputs(definition)
    return left


def _texts(node: Any, name: str = "Arguments") -> Iterator[tuple[str, str]]:
    """Every literal text with the name it stands under."""
    if isinstance(node, str):
        yield name, node
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item, name)
    elif isinstance(node, dict) and node.keys() != {"Get"}:
        for key, value in node.items():
            yield from _texts(value, key)

"""Step caching: what makes two runs of a step equal, and for how long.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html and pipelines-default-keys.html (the
cache keys are a documented subset of the arguments: outputs, resources and tags do not count). AWS documents no keys of
Callback and Lambda steps, which the SDK lets be cached: here all their arguments count.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Tuning": (
        "HyperParameterTuningJobConfig",
        "TrainingJobDefinition.AlgorithmSpecification",
        "TrainingJobDefinition.HyperParameterRanges",
        "TrainingJobDefinition.InputDataConfig",
        "TrainingJobDefinition.StaticHyperParameters",
        "TrainingJobDefinition.TuningObjective",
        "TrainingJobDefinitions",
    ),
    "Transform": ("DataProcessing", "Environment", "ModelName", "TransformInput"),
    "Callback": (),
    "Lambda": (),
}
# years to minutes, each at most once; "30d", "5y", "T12m", "30dT5h" are AWS's own examples, the SDK's have a P
_DURATION = re.compile(r"P?(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?)?", re.I | re.A)
_SECONDS = (365 * 86_400, 30 * 86_400, 7 * 86_400, 86_400, 3_600, 60)

CACHED_TYPES = frozenset(_MEMBERS)
"""The types of steps that may have a CacheConfig."""


@dataclass(frozen=True)
class Hit:
    """An earlier run of a step: its properties, metadata, and the execution it belongs to."""

    properties: Record
    metadata: Record
    execution_arn: str
    finished: float


class Cache:
    """The successful runs of one pipeline's steps."""

    def __init__(self) -> None:
        self._runs: dict[str, Hit] = {}

    def find(self, key: str, config: Record) -> Hit | None:
        """The latest equal run for a step of that CacheConfig, unless caching is off or the run has expired."""
        hit = self._runs.get(key) if config.get("Enabled") else None
        if hit is None or api.now() - hit.finished > expiry_s(config["ExpireAfter"]):
            return None
        return hit

    def keep(self, key: str, hit: Hit) -> None:
        """Remember a successful run."""
        self._runs[key] = hit


def cache_key_members(step_type: str) -> tuple[str, ...]:
    """The members of a step's arguments that its cache key consists of, as dotted paths.

    Empty where all arguments count (Callback, Lambda) and where there is no caching.
    """
    return _MEMBERS.get(step_type, ())


def cache_key_values(step_type: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a step's resolved arguments have at each member of its cache key; None where they have nothing."""
    members = cache_key_members(step_type)
    return {member: _at(arguments, member) for member in members} if members else dict(arguments)


def cache_key(step_name: str, step_type: str, arguments: Mapping[str, Any]) -> str:
    """The key under which runs of a step with these resolved arguments are equal."""
    return json.dumps([step_name, step_type, cache_key_values(step_type, arguments)], sort_keys=True)


def expiry_s(text: str) -> int:
    """Seconds of a duration such as `P30D`, `30d` or `T12m` (a month has 30 days); raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(
            f"ExpireAfter {text!r} is no ISO 8601 duration of years, months, weeks, days, hours, minutes such as P30D"
        )
    return sum(int(number) * seconds for number, seconds in zip(match.groups(), _SECONDS, strict=True) if number)


def _at(arguments: Mapping[str, Any], member: str) -> Any:
    first, _, rest = member.partition(".")
    value = arguments.get(first)
    return _at(value, rest) if rest and isinstance(value, Mapping) else None if rest else value

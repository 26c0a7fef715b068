"""Step caching: what makes two runs of a step equal, and for how long.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html and pipelines-default-keys.html (the
cache keys are a documented subset of the arguments: outputs, resources and tags do not count).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.pipelines.definition import Step

_KEYS: Mapping[str, tuple[str, ...]] = {
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
}
_DURATION = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.I)
_SECONDS = (365 * 86_400, 30 * 86_400, 7 * 86_400, 86_400, 3_600, 60, 1)


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

    def find(self, step: Step, arguments: Record) -> Hit | None:
        """The latest equal run of a step that has caching on, unless it has expired."""
        config = step.source.get("CacheConfig", {})
        hit = self._runs.get(_key(step, arguments)) if config.get("Enabled") else None
        if hit is None or api.now() - hit.finished > expiry_s(config.get("ExpireAfter", "P365D")):
            return None
        return hit

    def keep(self, step: Step, arguments: Record, hit: Hit) -> None:
        """Remember a successful run."""
        if step.type in _KEYS:
            self._runs[_key(step, arguments)] = hit


def expiry_s(text: str) -> int:
    """Seconds of an ISO 8601 duration such as `P30D` or `PT1H` (a month has 30 days)."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise invalid(f"ExpireAfter {text!r} is no ISO 8601 duration")
    return sum(int(number) * seconds for number, seconds in zip(match.groups(), _SECONDS, strict=True) if number)


def _key(step: Step, arguments: Record) -> str:
    return json.dumps([step.name, step.type, {name: arguments.get(name) for name in _KEYS[step.type]}], sort_keys=True)

"""Which steps of a pipeline's next execution are taken from the cache, and why the others are not.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html (a step hits when the latest successful
run of a step of its name had the same values at the members of its cache key, and is not older than ExpireAfter).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from dual_pipeline_local.sagemaker.pipelines.cache import CACHED_TYPES, cache_key_values, expiry_s
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Reference, Scope
from dual_pipeline_local.sagemaker.pipelines.step import Step

from .differences import UNKNOWN, differences


class Verdict(Enum):
    """What becomes of a step."""

    HIT = "hit"
    MISS = "miss"
    UNCACHED = "uncached"


@dataclass(frozen=True, kw_only=True)
class PastStep:
    """A job step that succeeded by itself in an earlier execution; `properties` are what `Steps.<name>` shows of it."""

    finished: datetime
    properties: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PastExecution:
    """An earlier execution: its definition, parameters by name, and steps, those from the cache included.

    `cached` names the steps that were themselves taken from the cache.
    """

    arn: str
    run: str
    definition: Definition
    values: Mapping[str, Any]
    steps: Mapping[str, PastStep]
    cached: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class StepForecast:
    """What becomes of one step: from which execution it is taken and until when, or why it runs."""

    step: str
    type: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    source: PastExecution | None = None
    expires: datetime | None = None


@dataclass(frozen=True)
class _Candidate:
    execution: PastExecution
    step: PastStep
    key: Mapping[str, Any]


@dataclass
class _Next:
    """The next execution as far as it is known: what each step that hits will show."""

    scope: Scope
    anew: set[str] = field(default_factory=set)
    sources: dict[str, PastExecution] = field(default_factory=dict)


def forecast(
    definition: Definition,
    values: Mapping[str, Any],
    history: Sequence[PastExecution],
    *,
    now: datetime,
    read: Callable[[str], bytes] | None = None,
) -> list[StepForecast]:
    """Every job step of the definition in an order in which it can run; `history` is newest first.

    `values` are all parameters' values, `read` answers the bytes of an S3 object.
    """
    following = _Next(Scope(values, _no_variable, read or _no_file, property_files=_property_files(definition)))
    found = []
    for step in definition.steps:
        if step.type not in CACHED_TYPES:
            following.anew.add(step.name)
            continue
        one = _forecast(step, following, history, now=now)
        found.append(one)
        if one.source is None:
            following.anew.add(step.name)
        else:
            following.sources[step.name] = one.source
            following.scope.steps[step.name] = dict(one.source.steps[step.name].properties())
    return found


def _forecast(step: Step, following: _Next, history: Sequence[PastExecution], *, now: datetime) -> StepForecast:
    if not step.caching.get("Enabled"):
        return StepForecast(step=step.name, type=step.type, verdict=Verdict.UNCACHED, reasons=("caching is off",))
    key = _resolved_key(step, following.scope, anew=following.anew)
    candidates = list(_candidates(step, history))
    lifetime = timedelta(seconds=expiry_s(step.caching.get("ExpireAfter", "P365D")))
    unknown = _unknown(key)
    equal = [candidate for candidate in candidates if candidate.key == key and unknown is None]
    for candidate in equal:
        expires = candidate.step.finished + lifetime
        if expires > now:
            return StepForecast(
                step=step.name, type=step.type, verdict=Verdict.HIT, source=candidate.execution, expires=expires
            )
    if equal:
        ago = duration(now - equal[0].step.finished - lifetime)
        reasons: tuple[str, ...] = (f"its run of {equal[0].execution.run} expired {ago} ago",)
    elif candidates:
        nearest = min((_reasons(step, candidate, key, following) for candidate in candidates), key=len)
        reasons = nearest or (str(unknown),)
    else:
        reasons = (unknown or "it has not succeeded before",)
    return StepForecast(step=step.name, type=step.type, verdict=Verdict.MISS, reasons=reasons)


def _candidates(step: Step, history: Sequence[PastExecution]) -> Iterator[_Candidate]:
    """Runs of a step of that name that succeeded by themselves, with the cache keys they had, newest first."""
    for execution in history:
        ran = execution.steps.get(step.name)
        old = next((other for other in execution.definition.steps if other.name == step.name), None)
        if ran is None or old is None or step.name in execution.cached or old.type != step.type:
            continue
        scope = Scope(
            execution.values,
            _no_variable,
            _no_file,
            steps=_Properties(execution.steps),
            property_files=_property_files(execution.definition),
        )
        yield _Candidate(execution, ran, _resolved_key(old, scope, anew=set()))


def _resolved_key(step: Step, scope: Scope, *, anew: set[str]) -> dict[str, Any]:
    """The values at the members of a step's cache key; what is not known yet is marked, and equals nothing."""
    key: dict[str, Any] = _resolve(cache_key_values(step.type, step.arguments), scope, anew)
    return key


def _resolve(value: Any, scope: Scope, anew: set[str]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            return _get(value, scope, anew)
        if set(value) == {"Std:Join"}:
            join = value["Std:Join"]
            parts = [_resolve(part, scope, anew) for part in join["Values"]]
            unknown = next((part for part in parts if _unknown(part)), None)
            return unknown if unknown else scope.resolve({"Std:Join": {**join, "Values": parts}})
        if len(value) == 1 and next(iter(value)).startswith("Std:"):
            return _known(value, scope, f"{UNKNOWN}an argument is read from a file that is not written yet")
        return {name: _resolve(item, scope, anew) for name, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, scope, anew) for item in value]
    return value


def _get(value: dict[str, Any], scope: Scope, anew: set[str]) -> Any:
    reference = Reference.parse(value["Get"])
    if reference.root == "Execution":
        return f"{UNKNOWN}an argument names the execution itself ({reference.name}), so it can never hit"
    if reference.root == "Steps" and reference.name in anew:
        return f"{UNKNOWN}because {reference.name} runs anew"
    return _known(value, scope, f"{UNKNOWN}{reference.text} is not known before the execution")


def _known(value: Any, scope: Scope, otherwise: str) -> Any:
    try:
        return scope.resolve(value)
    except (ExpressionError, KeyError):
        return otherwise


def _reasons(step: Step, candidate: _Candidate, key: Mapping[str, Any], following: _Next) -> tuple[str, ...]:
    told = list(differences(step, dict(candidate.key), dict(key)))
    parameters = _inputs_by_source(step)
    said = []
    for difference in told:
        source = parameters.get(difference.place)
        origin = following.sources.get(source or "")
        if origin and difference.place in parameters:
            said.append(f"{source} is taken from run {origin.run}, this step last ran after another one")
        else:
            said.append(difference.sentence)
    return tuple(dict.fromkeys(said))


def _inputs_by_source(step: Step) -> dict[str, str]:
    """Inputs of a step by name, and the step each comes from."""
    entries: list[dict[str, Any]] = [
        *step.arguments.get("ProcessingInputs", []),
        *step.arguments.get("InputDataConfig", []),
        *step.arguments.get("TrainingJobDefinition", {}).get("InputDataConfig", []),
    ]
    found = {}
    for entry in entries:
        source = entry.get("S3Input") or entry.get("DataSource", {}).get("S3DataSource", {})
        uri = source.get("S3Uri")
        if isinstance(uri, dict) and set(uri) == {"Get"}:
            reference = Reference.parse(uri["Get"])
            if reference.root == "Steps":
                found[str(entry.get("InputName") or entry.get("ChannelName"))] = reference.name
    return found


def _unknown(key: Any) -> str | None:
    """Why a cache key cannot be known before the execution, if so."""
    if isinstance(key, str) and key.startswith(UNKNOWN):
        return key.removeprefix(UNKNOWN)
    inner = key.values() if isinstance(key, Mapping) else key if isinstance(key, list) else ()
    return next((found for found in map(_unknown, inner) if found), None)


def _property_files(definition: Definition) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (step.name, file["PropertyFileName"]): (file["OutputName"], file["FilePath"])
        for step in definition.steps
        for file in step.source.get("PropertyFiles", [])
    }


class _Properties(dict[str, dict[str, Any]]):
    """What `Steps.<name>` shows, asked for only when it is needed."""

    def __init__(self, steps: Mapping[str, PastStep]) -> None:
        super().__init__()
        self._steps = steps

    def __missing__(self, name: str) -> dict[str, Any]:
        self[name] = dict(self._steps[name].properties())
        return self[name]


def _no_variable(name: str) -> Any:
    raise ExpressionError(f"Execution.{name} is not known before the execution starts")


def _no_file(uri: str) -> bytes:
    raise ExpressionError(f"{uri} is not read")


def duration(length: timedelta) -> str:
    """A length of time in its two greatest units: `29 d 4 h`, `12 min`."""
    minutes = int(length.total_seconds() // 60)
    units = [(minutes // 1440, "d"), (minutes % 1440 // 60, "h"), (minutes % 60, "min")]
    told = [f"{number} {unit}" for number, unit in units if number]
    return " ".join(told[:2]) or "less than a minute"

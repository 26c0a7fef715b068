"""Two cache keys of a step compared, each difference told in a data scientist's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from dual_pipeline_local.sagemaker.pipelines.step import Step

# Begins what stands for a value that is not known before the execution, followed by the reason; it equals nothing.
UNKNOWN = "\0unknown:"
_CODE = "code"
_NAMES = ("InputName", "ChannelName", "OutputName", "Name", "MetricName")
_SHORT_HASH = 12
_LONG_HASH = re.compile(r"[0-9a-f]{32,64}")
_ARGUMENT = re.compile(r"(--[\w-]+)=(.*)", re.DOTALL)
_INPUTS = ("ProcessingInputs", "InputDataConfig", "TrainingJobDefinition.InputDataConfig")
_SPECIAL = {"snapshot": "another snapshot", "champion": "another champion"}


@dataclass(frozen=True)
class Difference:
    """One difference: the input, hyperparameter or member it is about, and a sentence."""

    place: str
    sentence: str


def differences(step: Step, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs between the cache key of an earlier run and that of the next one, code and inputs first."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    hashes = _code_hashes(before, after)
    if hashes:
        sentence = f"code of {step.name} changed: {hashes[0][:_SHORT_HASH]} -> {hashes[1][:_SHORT_HASH]}"
        yield Difference(_CODE, sentence)
    for place in sorted({*before, *after}, key=lambda place: (place[0] not in _INPUTS, place)):
        then, now = before.get(place), after.get(place)
        if then == now or (hashes and (_CODE in place or _same_but_code(then, now, hashes))):
            continue
        yield _tell(place, then, now)


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that holds no others, by the names that lead to it; list members go by their own name."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, (*place, str(name)))
    elif isinstance(value, list) and value:
        members = _arguments(value) if place and place[-1] == "ContainerArguments" else _members(value)
        for name, item in members:
            yield from _leaves(item, (*place, name))
    else:
        yield place, value


def _members(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(items):
        named = (str(item[key]) for key in _NAMES if key in item) if isinstance(item, Mapping) else iter(())
        yield next(named, str(number)), item


def _arguments(words: list[Any]) -> Iterator[tuple[str, Any]]:
    """Command line arguments by name."""
    for number, word in enumerate(words):
        match = _ARGUMENT.fullmatch(word) if isinstance(word, str) else None
        if match:
            yield match[1], match[2]
        elif number and isinstance(words[number - 1], str) and re.fullmatch(r"--[\w-]+", words[number - 1]):
            yield words[number - 1], word
        elif not (isinstance(word, str) and word.startswith("--") and number + 1 < len(words)):
            yield str(number), word


def _code_hashes(before: Mapping[tuple[str, ...], Any], after: Mapping[tuple[str, ...], Any]) -> tuple[str, str] | None:
    """The names, made of hashes, of the code then and now where they differ."""
    for place, then in before.items():
        now = after.get(place)
        if _CODE in place and place[-1] == "S3Uri" and then != now and isinstance(then, str) and isinstance(now, str):
            return _stem(then), _stem(now)
    return None


def _same_but_code(then: Any, now: Any, hashes: tuple[str, str]) -> bool:
    return isinstance(then, str) and then.replace(*hashes) == now


def _tell(place: tuple[str, ...], then: Any, now: Any) -> Difference:
    name = place[1] if place[0] in _INPUTS and len(place) > 1 else place[-1]
    if isinstance(now, str) and now.startswith(UNKNOWN):
        return Difference(name, now.removeprefix(UNKNOWN))
    change = _change(then, now)
    match place:
        case (_, input_name, *_, "S3Uri"):
            return Difference(input_name, f"{_SPECIAL.get(input_name, f'another {input_name}')}: {change}")
        case ("HyperParameters" | "TrainingJobDefinition.StaticHyperParameters", hyperparameter):
            return Difference(name, f"hyperparameter {hyperparameter} {change}")
        case ("Environment", variable):
            return Difference(name, f"environment variable {variable} {change}")
        case (*_, "ContainerArguments", argument):
            return Difference(name, f"argument {argument} {change}")
        case (*_, "ImageUri" | "TrainingImage"):
            return Difference(name, f"image {change}")
        case _:
            return Difference(name, f"{'.'.join(place)} {change}")


def _change(then: Any, now: Any) -> str:
    """Both values; of URIs only the parts in which they differ, so that they look different."""
    if not (isinstance(then, str) and isinstance(now, str) and "/" in then and "/" in now):
        return f"{_short(then)} -> {_short(now)}"
    before, after = (text.removeprefix("s3://").strip("/").split("/") for text in (then, now))
    start = min(_alike(before, after), len(before) - 1, len(after) - 1)
    end = _alike(before[:start:-1], after[:start:-1])
    return " -> ".join(_hashes_cut("/".join(parts[start : len(parts) - end])) for parts in (before, after))


def _alike(before: list[str], after: list[str]) -> int:
    """How many parts both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))


def _hashes_cut(text: str) -> str:
    return _LONG_HASH.sub(lambda match: match[0][:_SHORT_HASH], text)


def _stem(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2].partition(".")[0]


def _short(value: Any) -> str:
    """A value short enough for a sentence: of a URI its last part, of a hash its beginning."""
    if value is None:
        return "none"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text.startswith(UNKNOWN):
        return "unknown"
    if "/" in text:
        parts = [part for part in text.removeprefix("s3://").split("/") if part]
        text = "/".join(parts[-2:]) if text.startswith("s3://") and len(parts[-1]) < 16 else parts[-1]
    return _hashes_cut(text) or "empty"

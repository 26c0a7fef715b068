"""What Step Functions would refuse in a document of the Amazon States Language, found at synth and said in sentences.

Source: https://states-language.net/spec.html and
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dual_pipeline.errors import ConfigError

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_BYTES: Final = 1_048_576
MAX_NAME: Final = 80
LANGUAGES: Final = ("JSONPath", "JSONata")
TYPES: Final = ("Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
_ENDS: Final = ("Succeed", "Fail")
# A field of one query language, and what the other one calls it.
_OTHER_LANGUAGE: Final = {
    "JSONata": {
        "Parameters": "Arguments",
        "InputPath": "Arguments",
        "ResultSelector": "Output",
        "ResultPath": "Output",
        "OutputPath": "Output",
        "ItemsPath": "Items",
        "MaxConcurrencyPath": "MaxConcurrency",
        "SecondsPath": "Seconds",
        "TimestampPath": "Timestamp",
        "TimeoutSecondsPath": "TimeoutSeconds",
        "HeartbeatSecondsPath": "HeartbeatSeconds",
        "ErrorPath": "Error",
        "CausePath": "Cause",
    },
    "JSONPath": {"Arguments": "Parameters", "Output": "ResultSelector", "Items": "ItemsPath"},
}
_TESTS: Final = {"JSONata": ("Condition",), "JSONPath": ("Variable", "And", "Or", "Not")}
_TIMES: Final = {
    "JSONata": ("Seconds", "Timestamp"),
    "JSONPath": ("Seconds", "Timestamp", "SecondsPath", "TimestampPath"),
}

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A state of a document: its name, where it lies, what it says and in which query language."""

    name: str
    where: str
    state: Mapping[str, Any]
    language: str


def read(text: str) -> Document:
    """The document in `text`; raises ConfigError when it is too large, no JSON, or no object."""
    if (size := len(text.encode(errors="replace"))) > MAX_BYTES:
        raise ConfigError(f"the document must have at most {MAX_BYTES} bytes, got {size}: split the workflow")
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"the document must be JSON, got {error.msg} at line {error.lineno}, column {error.colno}: correct it there"
        ) from None
    except RecursionError:
        raise ConfigError("the document must be JSON that can be read, got one nested too deeply: flatten it") from None
    if not isinstance(document, dict):
        raise ConfigError(
            f"the document must be a JSON object with StartAt and States, got {_short(document)}: export it"
        )
    return document


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with its states and the ways between them, in sentences; nothing for a sound document."""
    language = document.get("QueryLanguage", "JSONPath")
    if language not in LANGUAGES:
        yield f"/QueryLanguage must be JSONPath or JSONata, got {_short(language)}: correct it"
        language = "JSONPath"
    yield from _machine_problems(document, "")
    seen: dict[str, str] = {}
    for place in places(document):
        if place.name in seen:
            yield (
                f"{place.where} must have a name of its own in the whole document, got that of {seen[place.name]}:"
                " rename one"
            )
        seen.setdefault(place.name, place.where)
        yield from _state_problems(place)


def places(machine: Mapping[str, Any], where: str = "", language: str | None = None) -> Iterator[Place]:
    """Every state that is an object, those in Parallel branches and Map processors too."""
    language = language or ("JSONata" if machine.get("QueryLanguage") == "JSONata" else "JSONPath")
    for name, state in _states(machine).items():
        if not isinstance(state, dict):
            continue
        spoken = state.get("QueryLanguage", language)
        place = Place(
            name=name, where=f"{where}/States/{name}", state=state, language=spoken if spoken in LANGUAGES else language
        )
        yield place
        for at, inner in _inner_machines(state, place.where):
            yield from places(inner, at, place.language)


def strings(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value, keys of objects left out, with where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{where}/{key}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from strings(item, f"{where}/{at}")


def _machine_problems(machine: Mapping[str, Any], where: str) -> Iterator[str]:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        yield f"{where}/States must be an object with at least one state, got {_short(states)}: add one"
        return
    for name, state in states.items():
        if not isinstance(state, dict):
            yield f"{where}/States/{name} must be an object, got {_short(state)}: describe the state"
    start = machine.get("StartAt")
    if not isinstance(start, str) or start not in states:
        yield f"{where}/StartAt must name a state, got {_short(start)}: there are {_names(states)}"
    else:
        yield from _way_problems(states, start, where)
    yield from _target_problems(states, where)
    for name, state in states.items():
        for at, inner in _inner_machines(state, f"{where}/States/{name}"):
            yield from _machine_problems(inner, at)


def _way_problems(states: Mapping[str, Any], start: str, where: str) -> Iterator[str]:
    """States that nothing leads to, and states that lead to no end."""
    ways = {
        name: [to for _, to in _targets(state) if isinstance(to, str) and to in states]
        for name, state in states.items()
    }
    reached = _closure({start}, ways)
    for name in states:
        if name not in reached:
            yield f"{where}/States/{name} must be reached from StartAt, got no way to it: lead one there or delete it"
    back: dict[str, list[str]] = {name: [] for name in states}
    for name, targets in ways.items():
        for target in targets:
            back[target].append(name)
    ending = _closure({name for name, state in states.items() if _is_end(state)}, back)
    for name in states:
        if name in reached and name not in ending:
            yield (
                f'{where}/States/{name} must have a way to an end, got none: end it by "End": true, or lead it to a'
                " Succeed or Fail state"
            )


def _state_problems(place: Place) -> Iterator[str]:
    state, where, kind = place.state, place.where, place.state.get("Type")
    if len(place.name) > MAX_NAME:
        yield f"{where} must have a name of at most {MAX_NAME} characters, got {len(place.name)}: shorten it"
    if kind not in TYPES:
        yield f"{where}/Type must be one of {', '.join(TYPES)}, got {_short(kind)}: correct it"
        return
    if (spoken := state.get("QueryLanguage", place.language)) not in LANGUAGES:
        yield f"{where}/QueryLanguage must be JSONPath or JSONata, got {_short(spoken)}: correct it"
    if kind in ("Choice", *_ENDS):
        for field in sorted({"Next", "End"} & set(state)):
            yield f"{where} must have no {field}, for it is a {kind}, got {_short(state[field])}: delete it"
    elif ("Next" in state) == (state.get("End") is True):
        got = "both" if "Next" in state else "neither"
        yield f'{where} must have either Next or "End": true, got {got}: choose one'
    yield from _body_problems(place)
    for field, instead in _OTHER_LANGUAGE[place.language].items():
        if field in state and not (field == "Output" and kind == "Fail"):
            yield f"{where} must speak {place.language}, got {field}, which it does not know: use {instead}"


def _body_problems(place: Place) -> Iterator[str]:
    """What a state of its type cannot do without."""
    state, where, kind = place.state, place.where, place.state.get("Type")
    if kind == "Task" and not isinstance(state.get("Resource"), str):
        yield f"{where}/Resource must be the ARN of an integration, got {_short(state.get('Resource'))}: add it"
    if kind == "Parallel" and not (isinstance(state.get("Branches"), list) and state["Branches"]):
        yield f"{where}/Branches must be a list with at least one branch, got {_short(state.get('Branches'))}: add one"
    if kind == "Map" and not {"ItemProcessor", "Iterator"} & set(state):
        yield f"{where}/ItemProcessor must be an object with StartAt and States, got nothing: add it"
    if kind == "Wait" and len(given := sorted(set(_TIMES["JSONPath"]) & set(state))) != 1:
        times = ", ".join(_TIMES[place.language])
        yield f"{where} must have one time to wait for, got {', '.join(given) or 'none'}: give one of {times}"
    if kind == "Choice":
        rules = state.get("Choices")
        if not (isinstance(rules, list) and rules):
            yield f"{where}/Choices must be a list with at least one rule, got {_short(rules)}: add one"
        for at, rule in enumerate(rules if isinstance(rules, list) else []):
            yield from _rule_problems(rule, f"{where}/Choices/{at}", place.language)


def _rule_problems(rule: Any, where: str, language: str) -> Iterator[str]:
    if not isinstance(rule, dict):
        yield f"{where} must be an object, got {_short(rule)}: describe the rule"
        return
    own = _TESTS[language]
    foreign = sorted({field for fields in _TESTS.values() for field in fields if field in rule} - set(own))
    for field in foreign:
        yield f"{where} must speak {language}, got {field}, which it does not know: use {own[0]}"
    if not foreign and not set(own) & set(rule):
        yield f"{where} must have something to test, got none of {', '.join(own)}: add it"


def _target_problems(states: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, state in states.items():
        for at, target in _targets(state):
            if not isinstance(target, str) or target not in states:
                there = _names(states)
                yield f"{where}/States/{name}/{at} must name a state beside it, got {_short(target)}: there are {there}"


def _targets(state: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(state, dict):
        return
    for field in ("Next", "Default"):
        if field in state:
            yield field, state[field]
    for field in ("Choices", "Catch"):
        rules = state.get(field)
        for at, rule in enumerate(rules if isinstance(rules, list) else []):
            yield f"{field}/{at}/Next", rule.get("Next") if isinstance(rule, dict) else rule


def _is_end(state: Any) -> bool:
    return isinstance(state, dict) and (state.get("End") is True or state.get("Type") in _ENDS)


def _inner_machines(state: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(state, dict):
        return
    branches = state.get("Branches") if state.get("Type") == "Parallel" else None
    for at, branch in enumerate(branches if isinstance(branches, list) else []):
        yield f"{where}/Branches/{at}", branch if isinstance(branch, dict) else {}
    for field in ("ItemProcessor", "Iterator"):
        if state.get("Type") == "Map" and field in state:
            yield f"{where}/{field}", state[field] if isinstance(state[field], dict) else {}


def _states(machine: Mapping[str, Any]) -> Mapping[str, Any]:
    states = machine.get("States")
    return states if isinstance(states, dict) else {}


def _closure(start: set[str], ways: Mapping[str, list[str]]) -> set[str]:
    seen, ahead = set(start), list(start)
    while ahead:
        for target in ways[ahead.pop()]:
            if target not in seen:
                seen.add(target)
                ahead.append(target)
    return seen


def _once(pairs: list[tuple[str, Any]]) -> Document:
    found: Document = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"the document must name each key once, got {key!r} twice in one object: rename one")
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ConfigError(f"the document must be JSON, got {name}, which is none: write a number")


def _names(states: Mapping[str, Any]) -> str:
    names = sorted(states)
    return ", ".join(name[:MAX_NAME] for name in names[:10]) + (
        f" and {len(names) - 10} more" if len(names) > 10 else ""
    )


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."

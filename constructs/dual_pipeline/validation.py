"""Checks of configuration fields; each failure names the field, the value got and what is allowed."""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from dual_pipeline.errors import ConfigError


def check(*, owner: object, field: str, allowed: str, ok: bool) -> None:
    """Raise ConfigError for `owner.field` unless `ok`; `allowed` completes the sentence "must be ..."."""
    if not ok:
        value: Any = getattr(owner, field)
        raise ConfigError(f"{type(owner).__name__}.{field} must be {allowed}, got {value!r}")


def check_number(*, owner: object, field: str, low: float, high: float) -> None:
    """Require a finite number with low <= value <= high; booleans are refused, they are integers by accident."""
    value = getattr(owner, field)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    check(owner=owner, field=field, allowed=f"a number from {low:g} to {high:g}", ok=number and low <= value <= high)


def check_whole(*, owner: object, field: str, low: int, high: int) -> None:
    """Require an integer with low <= value <= high."""
    value = getattr(owner, field)
    whole = isinstance(value, int) and not isinstance(value, bool)
    check(owner=owner, field=field, allowed=f"a whole number from {low} to {high}", ok=whole and low <= value <= high)


def check_duration(*, owner: object, field: str, low: timedelta, high: timedelta) -> None:
    """Require a timedelta of whole seconds with low <= value <= high."""
    value = getattr(owner, field)
    ok = isinstance(value, timedelta) and low <= value <= high and not value.microseconds
    check(owner=owner, field=field, allowed=f"a timedelta of whole seconds from {low} to {high}", ok=ok)


def check_match(*, owner: object, field: str, pattern: str, allowed: str) -> None:
    """Require a string that matches `pattern` as a whole."""
    value = getattr(owner, field)
    check(owner=owner, field=field, allowed=allowed, ok=isinstance(value, str) and bool(re.fullmatch(pattern, value)))


def check_choice(*, owner: object, field: str, choices: Collection[str]) -> None:
    """Require one of `choices`."""
    value = getattr(owner, field)
    ok = isinstance(value, str) and value in choices
    check(owner=owner, field=field, allowed="one of " + ", ".join(sorted(choices)), ok=ok)


def check_type(*, owner: object, field: str, kind: type) -> None:
    """Require an instance of `kind`."""
    ok = isinstance(getattr(owner, field), kind)
    check(owner=owner, field=field, allowed=f"a {kind.__name__}", ok=ok)


def check_unique(*, owner: object, field: str, names: Collection[str]) -> None:
    """Require that `names`, taken from `owner.field`, holds no name twice."""
    check(owner=owner, field=field, allowed="without duplicate names", ok=len(set(names)) == len(names))


def check_mapping(*, owner: object, field: str, keys: Collection[str]) -> None:
    """Require a mapping whose keys are among `keys`."""
    value = getattr(owner, field)
    ok = isinstance(value, Mapping) and set(value) <= set(keys)
    check(owner=owner, field=field, allowed="a mapping with keys among " + ", ".join(sorted(keys)), ok=ok)

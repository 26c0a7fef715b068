"""When a schedule is due: `at(...)`, `rate(...)` and `cron(...)` in a time zone.

Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import ministack
from .errors import ApiError

# The first time that is due at or after an instant, in UTC, or None when there is none any more.
Due = Callable[[datetime], datetime | None]

_EXPRESSION: Final = re.compile(r"(at|rate|cron)\((.+)\)")
_RATE: Final = re.compile(r"([1-9]\d*) (minute|hour|day)s?", re.ASCII)
_MONTHS: Final = tuple("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split())
_DAYS: Final = tuple("SUN MON TUE WED THU FRI SAT".split())


def parse(expression: str, *, timezone: str, start: datetime) -> Due:
    """What `expression` asks for; rates count from `start`. Raises ValidationException for one that AWS does not have.

    Cron expressions are ministack's to read: six fields with AWS's `?`, `L`, `W` and `#`.
    """
    zone = _zone(timezone)
    match = _EXPRESSION.fullmatch(expression)
    due = _KINDS[match[1]](match[2], zone, start) if match else None
    if due is None:
        raise ApiError("ValidationException", f"Invalid Schedule Expression {expression}.")
    return due


def _at(text: str, zone: ZoneInfo, _start: datetime) -> Due | None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return lambda after: moment if moment >= after else None


def _rate(text: str, _zone: ZoneInfo, start: datetime) -> Due | None:
    match = _RATE.fullmatch(text)
    if match is None:
        return None
    try:
        step = timedelta(**{f"{match[2]}s": int(match[1])})
    except OverflowError:
        return None

    def due(after: datetime) -> datetime | None:
        try:
            return start + max(0, -((start - after) // step)) * step
        except OverflowError:  # after the year 9999
            return None

    return due


def _cron(text: str, zone: ZoneInfo, _start: datetime) -> Due | None:
    rules = ministack.load("services.eventbridge")
    fields: Any = rules._parse_cron_fields(f"cron({text})") if _is_cron(text.upper().split()) else None
    if fields is None:
        return None

    def due(after: datetime) -> datetime | None:
        # ministack answers with the first minute that begins later than the one given
        found: datetime | None = rules._cron_next_fire(fields, (after - timedelta(microseconds=1)).astimezone(zone))
        return found.astimezone(UTC) if found else None

    return due


def _is_cron(fields: list[str]) -> bool:
    """Whether these are six fields with values that there are, one of the two for days being `?`."""
    if len(fields) != len(_CRON) or (fields[2] == "?") == (fields[4] == "?"):
        return False
    return all(kind.has(item) for kind, field in zip(_CRON, fields, strict=True) for item in field.split(","))


@dataclass(frozen=True)
class _Field:
    """What a field of a cron expression may say: numbers, names for them, and words of its own."""

    numbers: range
    names: tuple[str, ...] = ()
    words: str = "(?!)"

    def has(self, item: str) -> bool:
        match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/[1-9]\d*)?", item, re.ASCII)
        values = match.groups() if match else ()
        is_value = bool(match) and all(value is None or self._has_value(value) for value in values)
        return is_value or re.fullmatch(self.words, item, re.ASCII) is not None

    def _has_value(self, text: str) -> bool:
        return text in self.names or (text.isdigit() and int(text) in self.numbers)


_CRON: Final = (
    _Field(range(60)),
    _Field(range(24)),
    _Field(range(1, 32), words=r"\?|L|LW|\d{1,2}W"),
    _Field(range(1, 13), names=_MONTHS),
    _Field(range(1, 8), names=_DAYS, words=r"\?|L|[1-7]L|[1-7]#[1-5]|\w{3}#[1-5]"),
    _Field(range(1970, 2200)),
)
_KINDS: Final[dict[str, Callable[[str, ZoneInfo, datetime], Due | None]]] = {"at": _at, "rate": _rate, "cron": _cron}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ApiError("ValidationException", f"Invalid Schedule Expression Timezone {name}.") from None

"""When a schedule is due: `at(...)`, `rate(...)` and `cron(...)` in a time zone.

Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import ministack
from .errors import ApiError

# The first time that is due at or after an instant, in UTC, or None when there is none any more.
Due = Callable[[datetime], datetime | None]

_EXPRESSION: Final = re.compile(r"(at|rate|cron)\((.+)\)")
_RATE: Final = re.compile(r"([1-9]\d*) (minute|hour|day)s?")


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
    except ValueError:
        return None
    return lambda after: moment if moment >= after else None


def _rate(text: str, _zone: ZoneInfo, start: datetime) -> Due | None:
    match = _RATE.fullmatch(text)
    if match is None:
        return None
    step = timedelta(**{f"{match[2]}s": int(match[1])})
    return lambda after: start + max(0, -((start - after) // step)) * step


def _cron(text: str, zone: ZoneInfo, _start: datetime) -> Due | None:
    rules = ministack.load("services.eventbridge")
    fields: Any = rules._parse_cron_fields(f"cron({text})")
    if fields is None:
        return None

    def due(after: datetime) -> datetime | None:
        # ministack answers with the first minute that begins later than the one given
        found: datetime | None = rules._cron_next_fire(fields, (after - timedelta(microseconds=1)).astimezone(zone))
        return found.astimezone(UTC) if found else None

    return due


_KINDS: Final[dict[str, Callable[[str, ZoneInfo, datetime], Due | None]]] = {"at": _at, "rate": _rate, "cron": _cron}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ApiError("ValidationException", f"Invalid Schedule Expression Timezone {name}.") from None

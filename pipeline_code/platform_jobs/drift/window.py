"""Which stretch of time is looked at, and in which captured files it lies."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from .errors import DriftError

_SECOND = "%Y-%m-%dT%H:%M:%S"
# Capture is written in batches, so that a request may lie in a file of the hour after its own.
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
_LATE = timedelta(hours=1)


class Window(NamedTuple):
    """From `start` up to, but without, `end`, to the second, in UTC."""

    start: datetime
    end: datetime

    def holds(self, moment: str) -> bool:
        """Whether a moment, written as captured requests have it, lies inside."""
        return self.first <= moment[:19] < self.last

    @property
    def first(self) -> str:
        """The first second of it, as captured requests write it."""
        return self.start.strftime(_SECOND)

    @property
    def last(self) -> str:
        """The first second after it."""
        return self.end.strftime(_SECOND)

    def days(self) -> list[str]:
        """The folders of days, `yyyy/mm/dd/`, whose files may hold a part of it."""
        day, last = self.start.date(), (self.end + _LATE).date()
        return [f"{day + timedelta(days=number):%Y/%m/%d/}" for number in range((last - day).days + 1)]

    def picks(self, keys: Iterable[str], prefix: str) -> list[str]:
        """Those files, `<prefix>yyyy/mm/dd/hh/<name>.jsonl`, of the hours that it touches."""
        first, last = f"{self.start:%Y/%m/%d/%H}", f"{self.end + _LATE:%Y/%m/%d/%H}"
        named = ((key, key[len(prefix) : len(prefix) + len(first)]) for key in keys if key.endswith(".jsonl"))
        return sorted(key for key, hour in named if first <= hour <= last)


def window_before(end: datetime, *, length: timedelta, released: datetime) -> Window:
    """So long before `end`, but nothing that an earlier model was asked."""
    # The second of the release belongs to whoever served at its begin.
    fresh = released.replace(microsecond=0) + timedelta(seconds=1)
    start = max(end.replace(microsecond=0) - length, fresh)
    return Window(min(start, end.replace(microsecond=0)), end.replace(microsecond=0))


def moment(text: str) -> datetime:
    """A moment as Step Functions writes it, such as `2026-11-27T08:00:00.000Z`; raises DriftError for anything else."""
    for form in (f"{_SECOND}.%fZ", f"{_SECOND}Z"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc)  # noqa: UP017 - images have Python 3.10
        except ValueError:
            continue
    raise DriftError(f"a moment must look like 2026-11-27T08:00:00Z, got {text!r}")

"""The clock that Step Functions and EventBridge Scheduler live by here; it can be moved forward, never back.

What waits for people waits for days. All else, from the clocks of jobs to the times of objects and metrics, keeps real
time.
"""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

CLOCK_PATH: Final = "/_dual_pipeline/clock"
_LONGEST_LOOK_S: Final = 0.5
_FURTHEST_S: Final = 400 * 24 * 3600.0


class Clock:
    """Real time, and as far ahead of it as the clock was moved."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._moving = threading.Lock()

    def forward(self, seconds: float) -> None:
        """Move it forward; ValueError for what is no number of seconds, or more than 400 days in all."""
        with self._moving:
            number = not isinstance(seconds, bool) and isinstance(seconds, int | float) and math.isfinite(seconds)
            if not number or not 0 <= seconds <= _FURTHEST_S - self._ahead_s:
                most = _FURTHEST_S - self._ahead_s
                raise ValueError(f"forward_s must be a number of seconds from 0 to {most:.0f}, got {seconds!r}")
            self._ahead_s += seconds

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s)

    def millis(self) -> int:
        """Milliseconds since 1970."""
        return round(self.now().timestamp() * 1000)

    def monotonic(self) -> float:
        """Seconds since some moment, to measure how long something takes."""
        return time.monotonic() + self._ahead_s

    def stamp(self) -> str:
        """The time of day as an ISO 8601 text with milliseconds."""
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def wait(self, ended: threading.Event, seconds: float) -> bool:
        """Wait until something has ended or, by this clock, the seconds have passed; whether it has ended."""
        deadline = self.monotonic() + seconds
        while (left := deadline - self.monotonic()) > 0:
            if ended.wait(min(left, _LONGEST_LOOK_S)):
                return True
        return ended.is_set()


CLOCK: Final = Clock()

"""How long a second of AWS lasts here, for everything that AWS waits for by the clock.

A moment of AWS is a whole number of its seconds since 1970; at a scale of 1 that is the epoch second.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from .errors import EmulatorError

DEFAULT_SCALE: Final = 1 / 60
LEAST_SCALE: Final = 0.001
_LEAST_PAUSE_SCALE: Final = 0.1


@dataclass(frozen=True)
class AwsTime:
    """Converts between real seconds and seconds of AWS, one of which lasts `scale` real seconds."""

    scale: float

    def now(self) -> int:
        """The present moment."""
        return self.moment(time.time())

    def moment(self, epoch_s: float) -> int:
        """The moment at or before a real time in epoch seconds."""
        return math.floor(epoch_s / self.scale)

    def epoch_s(self, moment: int) -> float:
        """The real time of a moment in epoch seconds."""
        return moment * self.scale

    def real_s(self, seconds: float) -> float:
        """How many real seconds so many seconds of AWS last."""
        return seconds * self.scale

    @property
    def pause_scale(self) -> float:
        """The scale of pauses between retries: a tenth at least, for the jobs and locks behind them take real time."""
        return max(self.scale, _LEAST_PAUSE_SCALE)


def parse_scale(text: str) -> float:
    """A scale as people write it, `0.1` or `1/60`; raises EmulatorError.

    It is never 0: alarm periods without length would hold no data.
    """
    try:
        scale = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        scale = math.nan
    if not LEAST_SCALE <= scale <= 1:
        raise EmulatorError(
            f"time scale {text!r} is not between {LEAST_SCALE} and 1: "
            "give the real seconds that a second of AWS lasts, for example 1/60"
        )
    return scale

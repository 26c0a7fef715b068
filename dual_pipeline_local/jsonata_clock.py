"""The time that a JSONata expression may take, in CPU time of its own thread, and the time that it reads.

The engine measures by the clock of the wall, so that on a busy machine an innocent expression runs out of its second.
What `$now` and `$millis` answer is the time of Step Functions.
"""

from __future__ import annotations

import math
import time
from typing import Any

from jsonata.timebox import Timebox

from .clock import CLOCK


def install() -> None:
    """Let the limit count what an expression itself costs, and let `$now` and `$millis` read the emulator's clock."""
    check = Timebox.check_runaway

    def check_runaway(box: Any) -> None:
        spent = time.thread_time_ns() // 1_000_000
        # The first look is at the beginning.
        began = box.__dict__.setdefault("_began", spent)
        # A beginning long ago or never to come: what the wall's clock says makes no difference.
        box.time = 0 if box.timeout is not None and spent - began > box.timeout else math.inf
        check(box)

    Timebox.check_runaway = check_runaway
    Timebox.current_milli_time = CLOCK.millis

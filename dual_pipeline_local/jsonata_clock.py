"""The time that a JSONata expression may take, in CPU time of its own thread.

The engine measures by the clock of the wall, so that on a busy machine an innocent expression runs out of its second.
"""

from __future__ import annotations

import time

from jsonata.timebox import Timebox


def install() -> None:
    """Let the engine's limit count what an expression itself costs."""
    Timebox.current_milli_time = staticmethod(lambda: time.thread_time_ns() // 1_000_000)

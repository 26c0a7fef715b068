"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import Any


def until(found: Callable[[], Any], *, seconds: float = 15) -> Any:
    """What `found` answers as soon as that is something, or None when the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    return None

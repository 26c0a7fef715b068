"""The clock of the local Step Functions and its scheduler."""

import math
import threading
import time

import pytest

from dual_pipeline_local.clock import Clock

DAY = 24 * 3600.0


def test_it_is_this_machines_until_it_is_moved() -> None:
    """A clock that nobody moved tells real time."""
    assert abs(Clock().millis() / 1000 - time.time()) < 5


def test_all_readings_move_together() -> None:
    """A day later it is a day later for dates, milliseconds and durations."""
    clock = Clock()
    today, millis, measured = clock.now(), clock.millis(), clock.monotonic()
    clock.forward(DAY)
    passed = ((clock.now() - today).total_seconds(), (clock.millis() - millis) / 1000, clock.monotonic() - measured)
    assert [True] * 3 == [DAY <= each < DAY + 60 for each in passed]


def test_a_wait_ends_when_the_clock_is_moved_past_it() -> None:
    """Who waits for an hour waits no longer once the hour has passed by this clock."""
    clock, ended = Clock(), threading.Event()
    threading.Timer(0.2, clock.forward, args=(3600,)).start()
    began = time.monotonic()
    assert not clock.wait(ended, 3600)
    assert time.monotonic() - began < 30


def test_a_wait_ends_with_what_it_waits_for() -> None:
    """The event comes before the time is over."""
    clock, ended = Clock(), threading.Event()
    threading.Timer(0.1, ended.set).start()
    assert clock.wait(ended, 3600)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, True, "60", None, 401 * DAY])
def test_what_is_no_way_forward_is_refused(seconds: object) -> None:
    """It is never moved back, nor by something that is no number, nor beyond 400 days in all."""
    clock = Clock()
    with pytest.raises(ValueError, match=r"forward_s must be a number of seconds from 0 to 34560000, got"):
        clock.forward(seconds)  # type: ignore[arg-type]
    assert abs(clock.millis() / 1000 - time.time()) < 5

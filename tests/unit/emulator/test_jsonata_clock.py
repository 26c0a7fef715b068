"""How long an expression may take in the local Step Functions."""

import importlib
import time
from typing import Any

import pytest
from jsonata.timebox import Timebox

from dual_pipeline_local import jsonata_clock

stepfunctions = importlib.import_module("ministack.services.stepfunctions")


class Expression:
    """What the engine hands to its time box."""

    def set_evaluate_entry_callback(self, _: Any) -> None:
        """Nothing is evaluated here."""

    def set_evaluate_exit_callback(self, _: Any) -> None:
        """Nothing is evaluated here."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's clock, for these tests only."""
    monkeypatch.setattr(Timebox, "check_runaway", Timebox.check_runaway)
    jsonata_clock.install()


def test_waiting_costs_nothing() -> None:
    """Time in which the thread does not run is none of the expression's."""
    box = Timebox(Expression(), timeout=100)
    box.check_runaway()
    time.sleep(0.3)
    box.check_runaway()


def test_work_is_counted() -> None:
    """An expression that computes for longer than it may is stopped."""
    box = Timebox(Expression(), timeout=50)
    with pytest.raises(Exception, match="Evaluation timeout after 50 milliseconds"):
        _work(box)


def _work(box: Any) -> None:
    while True:
        box.check_runaway()


def test_time_goes_on() -> None:
    """What an expression reads of the clock is the wall's."""
    now = stepfunctions._apply_jsonata_template("{% $millis() %}", {}, {"variables": {}, "State": {"Name": "S"}})
    assert abs(now / 1000 - time.time()) < 60

"""How long an expression may take in the local Step Functions."""

import importlib
import time

import pytest
from jsonata.timebox import Timebox

from dual_pipeline_local import jsonata_clock

stepfunctions = importlib.import_module("ministack.services.stepfunctions")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's clock, for these tests only."""
    monkeypatch.setattr(Timebox, "current_milli_time", Timebox.current_milli_time)
    jsonata_clock.install()


def test_waiting_costs_nothing() -> None:
    """Time in which the thread does not run is none of the expression's."""
    before = Timebox.current_milli_time()
    time.sleep(0.3)
    assert Timebox.current_milli_time() - before < 100


def test_an_endless_expression_ends() -> None:
    """An expression that goes on and on is stopped as on AWS."""
    endless = "{% ($f := function($n) { $f($n + 1) }; $f(0)) %}"
    with pytest.raises(Exception, match=r"timeout|overflow") as caught:
        stepfunctions._apply_jsonata_template(endless, {}, {"variables": {}, "State": {"Name": "S"}})
    assert caught.value.error == "States.QueryEvaluationError"  # type: ignore[attr-defined]

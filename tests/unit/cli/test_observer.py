"""Reading a run from what AWS's APIs answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dual_pipeline_local.observer import count_transitions, find_pipeline_execution, read_states

START = datetime(2026, 1, 1, tzinfo=UTC)


def _history(*events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": kind, "timestamp": START + timedelta(seconds=second), "id": second + 1, **details}
        for second, (kind, details) in enumerate(events)
    ]


def _entered(name: str, kind: str = "Task") -> tuple[str, dict[str, Any]]:
    return f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name}}


def _exited(name: str, kind: str = "Task") -> tuple[str, dict[str, Any]]:
    return f"{kind}StateExited", {"stateExitedEventDetails": {"name": name}}


FAILED = ("TaskFailed", {"taskFailedEventDetails": {"error": "Glue.Trouble", "cause": "it broke"}})
SCHEDULED: tuple[str, dict[str, Any]] = ("TaskScheduled", {"taskScheduledEventDetails": {}})


def test_states_in_order_with_durations() -> None:
    """Each entered state is told once, with the time between entering and leaving it."""
    history = _history(
        ("ExecutionStarted", {}),
        _entered("A", "Choice"),
        _exited("A", "Choice"),
        _entered("B"),
        SCHEDULED,
        _exited("B"),
    )
    states = list(read_states(history, failed=False))
    assert [("A", "succeeded", 1.0), ("B", "succeeded", 2.0)] == [(s.name, s.status, s.duration_s) for s in states]


def test_caught_error_is_told_with_its_cause() -> None:
    """A state left through its Catch keeps error and cause."""
    (state,) = read_states(_history(_entered("A"), SCHEDULED, FAILED, _exited("A")), failed=False)
    assert ("caught", "Glue.Trouble", "it broke") == (state.status, state.error, state.cause)


def test_retried_state_that_succeeds_is_no_failure() -> None:
    """An error followed by another attempt is forgotten."""
    (state,) = read_states(_history(_entered("A"), SCHEDULED, FAILED, SCHEDULED, _exited("A")), failed=False)
    assert ("succeeded", "") == (state.status, state.error)


def test_last_state_of_a_failed_run_failed() -> None:
    """A state never left is where a failed run ended, and still running in any other."""
    history = _history(_entered("A"), SCHEDULED, FAILED, ("ExecutionFailed", {}))
    (state,) = read_states(history, failed=True)
    assert ("failed", 3.0) == (state.status, state.duration_s)
    (state,) = read_states(history[:2], failed=False)
    assert ("running", None) == (state.status, state.ended_at)


def test_transitions_count_states_and_retries() -> None:
    """AWS bills each state entered and each retry."""
    history = _history(
        _entered("A"), SCHEDULED, FAILED, SCHEDULED, _exited("A"), _entered("B"), SCHEDULED, _exited("B")
    )
    assert 3 == count_transitions(history)


def test_the_pipeline_execution_is_the_one_that_was_started() -> None:
    """An execution that the run only read about, the champion's, is not its own."""

    def answered(resource: str, output: str) -> tuple[str, dict[str, Any]]:
        return "TaskSucceeded", {"taskSucceededEventDetails": {"resource": resource, "output": output}}

    read = answered("getItem", '{"Item": {"execution": {"S": "arn:aws:sagemaker:r:1:pipeline/p/execution/old"}}}')
    started = answered(
        "startPipelineExecution", '{"PipelineExecutionArn": "arn:aws:sagemaker:r:1:pipeline/p/execution/new"}'
    )
    assert find_pipeline_execution(_history(read)) is None
    assert "arn:aws:sagemaker:r:1:pipeline/p/execution/new" == find_pipeline_execution(_history(read, started))

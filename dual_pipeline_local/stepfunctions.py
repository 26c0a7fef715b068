"""Step Functions: executions that act as the state machine's role."""

from __future__ import annotations


def install() -> None:
    """Put role-bound task execution in place of ministack's."""

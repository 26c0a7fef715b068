"""Tells a local run as it happens: a line as each thing ends and, on a terminal, what is going on now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from .observer import RunView, StateRecord, StepRecord

_STYLES = {"succeeded": "green", "caught": "yellow", "failed": "bold red", "stopped": "bold red"}


class Narrator:
    """Prints progress; the times in front are seconds since the narrator was made."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def say(self, *parts: str | tuple[str, str]) -> None:
        """One line with the time in front."""
        self.console.print(Text.assemble((f"{self.elapsed_s:7.1f} s  ", "dim"), *parts))

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """A piece of work: a line when it begins and one with its duration when it is done."""
        began = time.monotonic()
        self.say((title, "bold"))
        with self.console.status(title):
            yield
        self.say(f"{title}: {time.monotonic() - began:.1f} s")

    @contextmanager
    def run(self, title: str) -> Iterator[RunNarrator]:
        """A run of both loops, told view by view."""
        self.say((title, "bold"))
        with self.console.status(title) as status:
            yield RunNarrator(self, status.update)


class RunNarrator:
    """Tells what is new in each view of one run."""

    def __init__(self, narrator: Narrator, update: object) -> None:
        self._narrator = narrator
        self._update = update
        self._states = 0
        self._steps: set[str] = set()

    def show(self, view: RunView) -> None:
        """Print states and steps that have ended since the last view; the spinner names those under way."""
        for step in view.steps:
            if step.ended_at and step.name not in self._steps:
                self._steps.add(step.name)
                self._tell("inner", step, f"{step.name} ({step.type})" if step.type else step.name)
        for state in view.states[self._states :]:
            if state.ended_at is None:
                break
            self._states += 1
            self._tell("outer", state, state.name)
        running = [f"{record.name} {record.duration_s:.0f} s" for record in _running(view)]
        if callable(self._update):
            self._update(" / ".join(running) or "waiting")

    def _tell(self, loop: str, record: StateRecord | StepRecord, name: str) -> None:
        status = record.status.lower()
        cached = isinstance(record, StepRecord) and record.cached
        self._narrator.say(
            (f"{loop}  ", "dim"),
            f"{'  ' if loop == 'inner' else ''}{name:<34} {record.duration_s:6.1f} s  ",
            ("cached" if cached else status, _STYLES.get(status, "")),
        )


def _running(view: RunView) -> Iterator[StateRecord | StepRecord]:
    yield from (state for state in view.states if state.ended_at is None)
    yield from (step for step in view.steps if step.ended_at is None)

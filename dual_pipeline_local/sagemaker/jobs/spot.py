"""Managed Spot training: when an instance is taken away, and how long a job may run and wait.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from dual_pipeline_local.sagemaker.api import Record

INTERRUPTIONS = "SAGEMAKER_SPOT_INTERRUPTIONS"
"""Environment variable: how many times each Spot training job is interrupted; 0 by default."""

_POLL_S = 0.02
_WITHOUT_CHECKPOINTS_S = 0.5


class SpotClock:
    """What is left of MaxRuntimeInSeconds, which all attempts share, and of MaxWaitTimeInSeconds, since creation."""

    def __init__(self, *, runtime_s: float, waiting_s: float | None) -> None:
        self._runtime_left_s = runtime_s
        self._wait_until = None if waiting_s is None else time.monotonic() + waiting_s

    @classmethod
    def of(cls, record: Record) -> "SpotClock":
        """The clock of a training job that begins now."""
        stopping = record["StoppingCondition"]
        return cls(runtime_s=stopping["MaxRuntimeInSeconds"], waiting_s=stopping.get("MaxWaitTimeInSeconds"))

    @property
    def left_s(self) -> float:
        """Seconds until the first of the two limits."""
        waiting = self._waiting_left_s
        return self._runtime_left_s if waiting is None else max(0.0, min(self._runtime_left_s, waiting))

    @property
    def has_waited_out(self) -> bool:
        """Whether the waiting time is over."""
        waiting = self._waiting_left_s
        return waiting is not None and waiting <= 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of one attempt."""
        began = time.monotonic()
        yield
        self._runtime_left_s -= time.monotonic() - began

    @property
    def _waiting_left_s(self) -> float | None:
        return None if self._wait_until is None else self._wait_until - time.monotonic()


class Interruption:
    """An event that is set when the job is stopped or, if an interruption is due, when its instance is taken away.

    That is once a checkpoint was written since the start, so that every attempt gets on; without a checkpoint folder,
    soon after the start.
    """

    def __init__(self, stop: threading.Event, checkpoints: Path | None, *, is_due: bool) -> None:
        self._stop, self._checkpoints, self._is_due = stop, checkpoints, is_due
        self._before = self._written()
        self._taken_at = time.monotonic() + _WITHOUT_CHECKPOINTS_S
        self._over = threading.Event()
        self._halt = threading.Event()

    def __enter__(self) -> threading.Event:
        if not self._is_due:
            return self._stop
        threading.Thread(target=self._watch, daemon=True).start()
        return self._halt

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(_POLL_S):
            if self._stop.is_set() or self._is_taken():
                self._halt.set()
                return

    def _is_taken(self) -> bool:
        if self._checkpoints is None:
            return time.monotonic() >= self._taken_at
        return bool(self._written() - self._before)

    def _written(self) -> set[tuple[str, int]]:
        found = set()
        for path in self._checkpoints.rglob("*") if self._checkpoints else ():
            with suppress(FileNotFoundError):  # renamed in between
                if path.is_file():
                    found.add((str(path), path.stat().st_mtime_ns))
        return found

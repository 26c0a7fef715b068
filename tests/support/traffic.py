"""Requests at a steady rate, whatever their answers take."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Traffic:
    """Calls `ask` so often a second for as long as the context lasts, and keeps what it answered or raised.

    A request is due by the clock, not when the one before it has ended; `workers` bounds how many wait at once.
    """

    def __init__(self, ask: Callable[[], Any], *, per_second: float, workers: int = 32) -> None:
        self._ask = ask
        self._pause_s = 1 / per_second
        self._pool = ThreadPoolExecutor(workers)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._clock = threading.Thread(target=self._run, daemon=True)
        self._started = time.monotonic()
        self._lasted_s = 0.0
        self.answers: list[Any] = []
        self.failures: list[Exception] = []
        self.latencies_s: list[float] = []

    def __enter__(self) -> "Traffic":
        self._started = time.monotonic()
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._clock.join()
        self._lasted_s = time.monotonic() - self._started
        self._pool.shutdown(wait=True)

    @property
    def per_second(self) -> float:
        """Requests a second that were made, once the context is over."""
        return (len(self.answers) + len(self.failures)) / self._lasted_s

    def seen(self) -> list[Any]:
        """The answers so far."""
        with self._lock:
            return [*self.answers]

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._pool.submit(self._one)
            due += self._pause_s

    def _one(self) -> None:
        started = time.monotonic()
        try:
            answer = self._ask()
        except Exception as error:
            with self._lock:
                self.failures.append(error)
            return
        with self._lock:
            self.answers.append(answer)
            self.latencies_s.append(time.monotonic() - started)

"""Child processes that are killed whole: on stop, on time-out and with this process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended; `exit_code` is None when it was killed by a stop or a time-out."""

    exit_code: int | None
    timed_out: bool
    stopped: bool
    log_tail: str


class ProcessGroup:
    """A running command with all its descendants, in a process group of their own."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> None:
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), *argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """Id of the process group."""
        return self._supervisor.pid

    def poll(self) -> int | None:
        """Exit code of the command, None while it runs."""
        return self._supervisor.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait up to `timeout_s` for the command; its exit code or None."""
        with suppress(subprocess.TimeoutExpired):
            return self._supervisor.wait(timeout_s)
        return None

    def kill(self, *, grace_s: float = 0.0) -> None:
        """End the whole group: SIGTERM first if there is a grace, then SIGKILL."""
        if grace_s > 0:
            self._signal(signal.SIGTERM)
            self.wait(grace_s)
        self._signal(signal.SIGKILL)
        self._supervisor.wait()
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            os.killpg(self.pid, number)


def run_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    timeout_s: float | None,
    stop: threading.Event,
    grace_s: float = 2.0,
) -> ProcessResult:
    """Run a command to its end, its output in `log`; nothing it started survives it.

    `stop` ends it early: SIGTERM, then SIGKILL after `grace_s`. So does the time-out.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    timed_out = stopped = False
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        group = ProcessGroup(argv, env=env, cwd=cwd, log=stream)
        try:
            code = None
            while code is None:
                stopped = stop.is_set()
                timed_out = not stopped and deadline is not None and time.monotonic() >= deadline
                if stopped or timed_out:
                    break
                code = group.wait(0.1)
        finally:
            group.kill(grace_s=grace_s if stopped or timed_out else 0.0)
    return ProcessResult(exit_code=code, timed_out=timed_out, stopped=stopped, log_tail=tail(log))


def tail(log: Path, *, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log file."""
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(text.rstrip().splitlines()[-lines:])

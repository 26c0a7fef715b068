"""Starting, finding and stopping the emulator, so that nothing of it outlives who asked for it."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from dual_pipeline.errors import DualPipelineError

from .aws_time import DEFAULT_SCALE
from .clock import CLOCK_PATH
from .settings import Settings

_START_S = 60.0
_STOP_S = 15.0


class EmulatorTrouble(DualPipelineError):
    """The emulator cannot be started, found or used as asked."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The folder of one local AWS: state, logs and reports."""

    folder: Path

    @property
    def emulator(self) -> Path:
        """Everything the emulator itself writes."""
        return self.folder / "emulator"

    @property
    def state_file(self) -> Path:
        return self.folder / "emulator.json"

    @property
    def runs(self) -> Path:
        """Notes about the runs of the present or the last emulator."""
        return self.folder / "runs"

    def log(self, name: str) -> Path:
        """Log file of a part: server, cdk."""
        return self.folder / f"{name}.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one command; a second command is refused while the first one works.

        Raises EmulatorTrouble when it is held, cannot be made or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise EmulatorTrouble(f"cannot write to {self.folder}: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EmulatorTrouble(f"another local run is using {self.folder}: wait for it or stop it") from error
            yield


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A running emulator: its process and where it answers."""

    settings: Settings
    process: psutil.Process
    environment: str

    def save(self, workplace: Workplace) -> None:
        """Write down how later commands find it."""
        state = {
            "pid": self.process.pid,
            "created": self.process.create_time(),
            "environment": self.environment,
            "port": self.settings.port,
            "region": self.settings.region,
            "account": self.settings.account,
            "time_scale": self.settings.time_scale,
        }
        workplace.state_file.write_text(json.dumps(state, indent=1) + "\n")

    def pass_time(self, duration: timedelta) -> None:
        """Move the clock of Step Functions and the scheduler forward.

        Raises EmulatorTrouble when it does not go that far.
        """
        body = json.dumps({"forward_s": duration.total_seconds()}).encode()
        try:
            with _opener().open(self.settings.endpoint_url + CLOCK_PATH, body, timeout=10):
                pass
        except OSError as error:
            raise EmulatorTrouble(f"the clock of the local AWS cannot be moved by {duration}: {error}") from error

    def stop(self) -> None:
        """End it politely, then by force whatever is left of it and the processes below it; no signal disturbs that."""
        with _undisturbed():
            self._stop()

    def _stop(self) -> None:
        family = [self.process, *_descendants(self.process)]
        with suppress(psutil.Error):
            self.process.terminate()
        psutil.wait_procs([self.process], timeout=_STOP_S)
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        deadline = time.monotonic() + _STOP_S
        while any(map(_runs, family)) and time.monotonic() < deadline:
            time.sleep(0.02)


def start(
    workplace: Workplace,
    *,
    environment: str,
    account: str,
    region: str,
    port: int | None,
    background: bool,
    time_scale: float = DEFAULT_SCALE,
) -> Emulator:
    """Start an empty emulator and wait until it answers; in the background it outlives this process.

    A second of AWS lasts `time_scale` real seconds.

    Raises EmulatorTrouble when one already runs here, the port is taken or the server dies.
    """
    check_free(workplace, port)
    settings = Settings(
        work=workplace.emulator, port=_choose_port(port), region=region, account=account, time_scale=time_scale
    )
    for folder in (workplace.emulator, workplace.runs):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "dual_pipeline_local.server", "--work", str(settings.work)]
    command += ["--port", str(settings.port), "--account", account, "--region", region]
    command += ["--time-scale", str(time_scale)]
    if not background:
        command.append("--die-with-parent")
    with workplace.log("server").open("wb") as log:
        # a session of its own: Ctrl-C reaches only the front process, which then stops this one in order
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    emulator = Emulator(settings=settings, process=psutil.Process(server.pid), environment=environment)
    try:
        _wait_until_ready(server, settings, workplace.log("server"))
        emulator.save(workplace)
    except BaseException:
        emulator.stop()
        raise
    return emulator


def check_free(workplace: Workplace, port: int | None) -> None:
    """Refuse to go on where `start` would be refused.

    Raises EmulatorTrouble when an emulator already runs here or the port is taken.
    """
    if running := find(workplace):
        raise EmulatorTrouble(
            f"an emulator already runs at {running.settings.endpoint_url}: "
            "use `dual-pipeline local run`, or stop it with `dual-pipeline local down`"
        )
    _choose_port(port)


def find(workplace: Workplace) -> Emulator | None:
    """The emulator that runs in this folder; traces of a dead one are cleared away."""
    try:
        state = json.loads(workplace.state_file.read_text())
        process = psutil.Process(state["pid"])
        same = process.create_time() == state["created"] and _runs(process)
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        same = False
    if not same:
        workplace.state_file.unlink(missing_ok=True)
        return None
    settings = Settings(
        work=workplace.emulator,
        port=state["port"],
        region=state["region"],
        account=state["account"],
        time_scale=state.get("time_scale", DEFAULT_SCALE),
    )
    return Emulator(settings=settings, process=process, environment=state["environment"])


def stop(workplace: Workplace, emulator: Emulator) -> None:
    """Stop an emulator and forget it."""
    emulator.stop()
    workplace.state_file.unlink(missing_ok=True)


class MemoryMeter:
    """Peak memory of this process and all below it, in MB; shared pages count once where the system tells them."""

    def __init__(self, *, interval_s: float = 0.5) -> None:
        self._roots = {psutil.Process()}
        self._interval_s = interval_s
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="memory-meter")

    def __enter__(self) -> MemoryMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def include(self, process: psutil.Process) -> None:
        """Count another process, and all below it, from now on."""
        self._roots = {*self._roots, process}

    @property
    def peak_mb(self) -> int:
        """The most seen so far."""
        return round(self._peak / 1e6)

    def _sample(self) -> None:
        while True:
            family = {process for root in self._roots for process in (root, *_descendants(root))}
            self._peak = max(self._peak, sum(map(_memory, family)))
            if self._ended.wait(self._interval_s):
                return


@contextmanager
def _undisturbed() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _memory(process: psutil.Process) -> int:
    try:
        # proportional set size exists on Linux only
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except psutil.Error:
        return 0


def _choose_port(port: int | None) -> int:
    if port is not None and not 1024 <= port <= 65_535:
        raise EmulatorTrouble(f"port {port} is not between 1024 and 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise EmulatorTrouble(f"port {port} is taken: choose another one, or none for any free port") from error
        chosen: int = probe.getsockname()[1]
        return chosen


def _opener() -> urllib.request.OpenerDirector:
    """Asks this machine itself, whatever proxy the shell names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _wait_until_ready(server: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    opener = _opener()
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise EmulatorTrouble(f"the emulator did not start:\n{log.read_text(errors='replace').strip()}")
        with suppress(OSError), opener.open(f"{settings.endpoint_url}/_ministack/health", timeout=2) as response:
            if response.status == 200:
                return
        time.sleep(0.1)
    raise EmulatorTrouble(f"the emulator did not answer within {_START_S:.0f} s: see {log}")

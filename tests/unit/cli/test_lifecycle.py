"""Finding and stopping what runs, and refusing what cannot run."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dual_pipeline_local import lifecycle
from dual_pipeline_local.lifecycle import Emulator, EmulatorTrouble, MemoryMeter, Workplace
from dual_pipeline_local.settings import Settings

CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"


def _emulator(folder: Path, code: str) -> Emulator:
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)
    settings = Settings(work=folder, port=1, region="eu-west-1")
    return Emulator(settings=settings, process=psutil.Process(process.pid), environment="dev")


def test_stop_ends_the_whole_family(tmp_path: Path) -> None:
    """Children of the emulator end with it, and its state file is gone."""
    workplace = Workplace(folder=tmp_path)
    emulator = _emulator(tmp_path, CHILD)
    emulator.save(workplace)
    while not (children := emulator.process.children()):
        pass
    found = lifecycle.find(workplace)
    assert found is not None
    assert ("dev", emulator.process.pid) == (found.environment, found.process.pid)
    lifecycle.stop(workplace, found)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert lifecycle.find(workplace) is None


def test_another_process_with_the_same_id_is_not_the_emulator(tmp_path: Path) -> None:
    """A state file of a dead emulator is cleared away, whoever has its process id now."""
    workplace = Workplace(folder=tmp_path)
    state = {
        "pid": psutil.Process().pid,
        "created": 1.0,
        "environment": "dev",
        "port": 1,
        "region": "r",
        "account": "a",
    }
    workplace.state_file.write_text(json.dumps(state))
    assert lifecycle.find(workplace) is None
    assert not workplace.state_file.exists()


def test_second_command_is_refused(tmp_path: Path) -> None:
    """Two local runs cannot use one folder at a time."""
    workplace = Workplace(folder=tmp_path / "local")
    with workplace.held(), pytest.raises(EmulatorTrouble, match="another local run is using"), workplace.held():
        pass


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where build/ should be, or a missing permission, is one sentence."""
    (tmp_path / "build").write_text("")
    workplace = Workplace(folder=tmp_path / "build" / "local")
    with pytest.raises(EmulatorTrouble, match=r"cannot write to .*build/local"), workplace.held():
        pass


def test_taken_port_is_refused_by_number(tmp_path: Path) -> None:
    """A port in use is refused before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorTrouble, match=f"port {port} is taken"):
            lifecycle.start(
                Workplace(folder=tmp_path),
                environment="dev",
                account="000000000000",
                region="eu-west-1",
                port=port,
                background=False,
            )


def test_memory_of_children_counts(tmp_path: Path) -> None:
    """The peak holds what a child process used."""
    emulator = _emulator(tmp_path, "block = bytearray(150_000_000); import time; time.sleep(60)")
    try:
        with MemoryMeter(interval_s=0.02) as meter:
            while emulator.process.memory_info().rss < 150_000_000:
                pass
            time.sleep(0.2)
    finally:
        emulator.stop()
    assert meter.peak_mb >= 150

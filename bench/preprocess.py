"""Preprocess against its reference in pandas and scikit-learn, on generated rows, each run a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FEW, SOME, MANY = 10_000, 1_000_000, 10_000_000
STEP = "pipeline_code.census.preprocess"
REFERENCE = "bench.preprocess_reference"


class Cost(NamedTuple):
    """What a process took, by its own account."""

    cpu_s: float
    peak_mb: float


def measure_preprocess(folder: Path) -> dict[str, float]:
    """Processor time and peak memory at ten million rows, and how processor time grows from one million."""
    few, some, many = (cost_of(STEP, rows, folder) for rows in (FEW, SOME, MANY))
    reference = cost_of(REFERENCE, MANY, folder)
    # What starting takes would make few rows look dear, and many rows cheap.
    growth = (many.cpu_s - few.cpu_s) / (some.cpu_s - few.cpu_s) / (MANY / SOME)
    return {
        "cpu_s": round(many.cpu_s, 1),
        "peak_mb": round(many.peak_mb),
        "reference_cpu_s": round(reference.cpu_s, 1),
        "reference_peak_mb": round(reference.peak_mb),
        "reference_ratio": round(reference.cpu_s / many.cpu_s, 2),
        "growth": round(growth, 2),
    }


def snapshot_of(rows: int, folder: Path) -> Path:
    """A snapshot of so many rows, which is made once and kept."""
    snapshot = folder / f"rows-{rows}"
    if not snapshot.exists():
        unfinished = folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "bench.rows", str(rows), str(unfinished)], cwd=ROOT, check=True)
        unfinished.rename(snapshot)
    return snapshot


def cost_of(module: str, rows: int, folder: Path) -> Cost:
    """Run a module with the step's arguments on a snapshot of so many rows."""
    snapshot = snapshot_of(rows, folder)
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    resources = out / "resources.json"
    resources.write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    outputs = [f"--output-{name}={out / name}" for name in ("train", "validation", "holdout", "encoding")]
    arguments = [f"--input-snapshot={snapshot}", *outputs, f"--resource-config={resources}", "--seed=17"]
    return cost([sys.executable, "-m", module, *arguments])


def cost(command: list[str]) -> Cost:
    """The cost of a command that must succeed."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)

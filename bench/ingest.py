"""Ingest on local Spark against its reference in pandas, on generated rows, each run with all its processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench.preprocess import ROOT, Cost, snapshot_of
from dual_pipeline_local import spark
from dual_pipeline_local.lifecycle import MemoryMeter
from pipeline_code.census.contract import RENAMED
from pipeline_code.census.project import CENSUS

ROWS = 10_000_000
CONTRACT = CENSUS.contract.to_json()


def measure_ingest(folder: Path) -> dict[str, float]:
    """Processor time and peak memory of ten million rows of CSV."""
    raw = raw_files(ROWS, folder)
    ours, reference = ingest(raw, folder), ingest_by_reference(raw, folder)
    return {
        "cpu_s": round(ours.cpu_s, 1),
        "peak_mb": round(ours.peak_mb),
        "reference_cpu_s": round(reference.cpu_s, 1),
        "reference_peak_mb": round(reference.peak_mb),
        "cpu_ratio": round(ours.cpu_s / reference.cpu_s, 2),
        "memory_ratio": round(reference.peak_mb / ours.peak_mb, 2),
    }


def raw_files(rows: int, folder: Path) -> Path:
    """A folder with so many rows of CSV, a million to a file, which is made once and kept."""
    raw = folder / f"raw-{rows}"
    if not raw.exists():
        snapshot, unfinished = snapshot_of(rows, folder), _emptied(folder / "unfinished")
        headers = {name: header for header, name in RENAMED.items()}
        for part in sorted((snapshot / "data").iterdir()):
            table = pq.read_table(part)
            index = pa.array(range(table.num_rows))
            named = table.rename_columns([headers.get(name, name) for name in table.column_names])
            pacsv.write_csv(named.add_column(0, "", index), unfinished / f"{part.stem}.csv")
        unfinished.rename(raw)
    return raw


def ingest(raw: Path, folder: Path) -> Cost:
    """The cost of the job, given what the local run gives Spark."""
    out = _emptied(folder / "ingested")
    environment = spark.environment(out, scratch=out, options={})
    documents = [f"--output_{name}={(out / name).as_uri()}.json" for name in ("result", "files")]
    folders = [f"--input_raw={raw.as_uri()}/", f"--output_snapshots={(out / 'snapshots').as_uri()}/"]
    return _cost("bench.ingest_job", [*folders, *documents, f"--contract={CONTRACT}"], environment)


def ingest_by_reference(raw: Path, folder: Path) -> Cost:
    """The cost of the reference."""
    out = _emptied(folder / "ingested-by-reference")
    return _cost(
        "bench.ingest_reference", [f"--input_raw={raw}", f"--output_snapshots={out}", f"--contract={CONTRACT}"], {}
    )


def _cost(module: str, arguments: list[str], environment: Mapping[str, str]) -> Cost:
    """What a module took that must succeed, with the processes that it started."""
    command = [sys.executable, "-m", module, *arguments]
    with MemoryMeter(interval_s=0.1) as meter:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{module} failed")
    return Cost(usage.ru_utime + usage.ru_stime, meter.peak_mb)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

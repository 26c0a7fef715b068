"""Census snapshots as the ingest job writes them, and their way through preprocess."""

import csv
import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_code.census.contract import FEATURES, LABEL, MISSING, NUMERIC, RENAMED
from pipeline_code.census.preprocess.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
HOST = "algo-1"
FOLDERS = ("train", "validation", "holdout", "encoding")


@cache
def census() -> pa.Table:
    """The census data as ingest types it."""
    with (ROOT / "data" / "census.csv").open() as file:
        rows = [{RENAMED.get(name, name): text.strip() for name, text in row.items()} for row in csv.DictReader(file)]

    def value(name: str, text: str) -> Any:
        return None if text in MISSING else int(text) if name in NUMERIC else text

    return pa.table({name: [value(name, row[name]) for row in rows] for name in (*FEATURES, LABEL)})


def shuffled_labels(table: pa.Table) -> pa.Table:
    """The table with its labels dealt out anew, so that there is nothing to learn."""
    labels = table.column(LABEL).to_pylist()
    random.Random(1).shuffle(labels)
    return table.set_column(table.column_names.index(LABEL), LABEL, [labels])


def write_snapshot(folder: Path, *parts: pa.Table, **options: Any) -> Path:
    """Write a snapshot of these parts; `options` are those of pyarrow's writer."""
    (folder / "data").mkdir(parents=True)
    for at, part in enumerate(parts):
        pq.write_table(part, folder / "data" / f"part-{at:05}.parquet", **options)
    (folder / "manifest.json").write_text("{}")
    return folder


def preprocess_arguments(
    snapshot: Path, work: Path, *, seed: int = 17, host: str = HOST, hosts: Sequence[str] = (HOST,)
) -> list[str]:
    """The arguments with which the step writes below `work`, as one of these hosts."""
    resources = work / f"resources-{host}.json"
    work.mkdir(parents=True, exist_ok=True)
    resources.write_text(json.dumps({"current_host": host, "hosts": list(hosts)}))
    outputs = [f"--output-{name}={work / name}" for name in FOLDERS]
    return [f"--input-snapshot={snapshot}", *outputs, f"--resource-config={resources}", f"--seed={seed}"]


def preprocess(snapshot: Path, work: Path, **options: Any) -> Path:
    """Run the step in this process; returns `work`."""
    main(preprocess_arguments(snapshot, work, **options))
    return work

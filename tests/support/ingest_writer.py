"""One writer of a snapshot as a process of its own: `ingest_writer.py together|killed FOLDER`.

`together` waits before it moves anything into place until another writer is as far; `killed` dies after one move.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

from lake import contract
from pipeline_code.platform_jobs import snapshot
from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest

mode, folder = sys.argv[1], Path(sys.argv[2])
snapshot._PART_ROWS = 2
move = snapshot._move
moved: list[str] = []


def slowly(files: Files, path: str, target: str) -> None:
    """Move a file once the moment has come."""
    if mode == "killed" and moved:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "together" and not moved:
        (folder / f"ready-{os.getpid()}").touch()
        while len([*folder.glob("ready-*")]) < 2:
            time.sleep(0.01)
    move(files, path, target)
    moved.append(target)


snapshot._move = slowly
spark = SparkSession.builder.getOrCreate()
places = {name: (folder / name).as_uri() + "/" for name in ("raw", "snapshots")}
print(json.dumps(ingest(spark, Files(spark), **places, contract=contract())))

"""A snapshot: typed rows under a prefix that their content determines, complete once its manifest is there.

Which rows lie in which file, and in which order, follows from the rows alone. So whoever writes a snapshot writes the
same files: two writers at once, or one after another that was killed, cannot mix what differs. A file comes into place
whole, and nobody replaces one that is there.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import reduce
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.files import Files

# Another way of cutting rows into files, ordering them or drawing the sample needs another number.
_LAYOUT = 2
_PART_ROWS = 1_000_000
_SAMPLE_ROWS = 2_000
# Longer than a Glue job may run: https://docs.aws.amazon.com/glue/latest/webapi/API_CreateJob.html
_ABANDONED_MS = 8 * 24 * 3600 * 1000


def write_snapshot(
    files: Files,
    rows: DataFrame,
    *,
    snapshots: str,
    sources: Sequence[Mapping[str, Any]],
    schema: Mapping[str, str],
    label: str,
) -> dict[str, Any]:
    """Write `<snapshots>/<id>/` unless it is complete: `data/`, `sample/`, and the manifest last.

    `sources` says what the rows were made of and `schema` names each column's type; both go into the manifest alone.
    """
    snapshot_id, count = fingerprint(rows, label=label)
    uri = f"{snapshots.rstrip('/')}/{snapshot_id}/"
    if not files.exists(f"{uri}manifest.json"):
        with unfinished(files, snapshots) as folder:
            _in_parts(rows, count).write.parquet(f"{folder}/data", compression="snappy")
            written = rows.sparkSession.read.parquet(f"{folder}/data")
            _sample(written, label).write.parquet(f"{folder}/sample", compression="snappy")
            parts = _place(files, f"{folder}/data", f"{uri}data")
            _place(files, f"{folder}/sample", f"{uri}sample")
            manifest = {
                "snapshot_id": snapshot_id,
                "schema": {**schema},
                "label": label,
                "rows": count,
                "parts": parts,
                "sources": [*sources],
            }
            files.write_json(f"{folder}/manifest.json", manifest)
            _move(files, f"{folder}/manifest.json", f"{uri}manifest.json")
    return {"snapshot_uri": uri, "snapshot_id": snapshot_id, "rows": count}


def fingerprint(rows: DataFrame, *, label: str) -> tuple[str, int]:
    """An identity of the rows as a multiset, whatever their order and files, and their number."""
    # A null leaves Spark's hash as it was, so that where the nulls are is hashed too. Sums of 32 bits cannot overflow.
    content = [F.col(name) for name in rows.columns] + [F.col(name).isNull() for name in rows.columns]
    hashes = [F.xxhash64(F.lit(seed), *content) for seed in (1, 2, 3)]
    halves = [half for each in hashes for half in (each.bitwiseAND(0xFFFFFFFF), F.shiftrightunsigned(each, 32))]
    row = rows.agg(F.count("*"), *map(F.sum, halves)).collect()[0]
    identity = json.dumps([_LAYOUT, label, rows.dtypes, list(row)])
    return hashlib.sha256(identity.encode()).hexdigest()[:32], row[0]


@contextmanager
def unfinished(files: Files, snapshots: str) -> Iterator[str]:
    """A folder beside the snapshots for what is not one yet, removed at the end with what killed jobs left long ago."""
    folder = f"{snapshots.rstrip('/')}/_unfinished"
    own = f"{folder}/{uuid.uuid4().hex}"
    try:
        yield own
    finally:
        files.delete(own)
        # Where another writer removes its own meanwhile a listing may fail; the next one finds what is left.
        with suppress(Py4JJavaError):
            for file in files.list(folder):
                if file.modified_ms < time.time() * 1000 - _ABANDONED_MS:
                    files.delete(file.path)


def _in_parts(rows: DataFrame, count: int) -> DataFrame:
    """The rows cut into parts by a hash of their content, and in its order."""
    parts = 1 + (count - 1) // _PART_ROWS if count else 1
    hashed = rows.withColumn("_order", F.xxhash64(*rows.columns)).repartition(parts, "_order")
    return hashed.sortWithinPartitions("_order", *rows.columns).drop("_order")


def _sample(rows: DataFrame, label: str) -> DataFrame:
    """As many rows of each of the two commonest labels, drawn by the hash of their content."""
    order: list[Column] = [F.xxhash64(*rows.columns), *map(F.col, rows.columns)]
    counted = rows.groupBy(label).count().orderBy(F.desc("count"), label).limit(2).collect()
    drawn = [
        rows.where(F.col(label).eqNullSafe(row[0])).orderBy(*order).limit(_SAMPLE_ROWS // len(counted))
        for row in counted
    ]
    return reduce(DataFrame.unionAll, drawn).coalesce(1).sortWithinPartitions(*order)


def _place(files: Files, written: str, target: str) -> int:
    """Move what Spark wrote into place under names without Spark's random part; how many files these are."""
    parts = files.list(written)
    names = [f"part-{at:05}.parquet" for at in range(len(parts))]
    for part, name in zip(parts, names, strict=True):
        _move(files, part.path, f"{target}/{name}")
    for file in files.list(target):
        if file.path.rpartition("/")[2] not in names:
            files.delete(file.path)
    return len(parts)


def _move(files: Files, path: str, target: str) -> None:
    """Move a file to where nobody has put the same one yet."""
    try:
        if not files.exists(target):
            files.rename(path, target)
    except (OSError, Py4JJavaError):
        if not files.exists(target):
            raise

"""A snapshot: typed rows under a prefix that their content determines, complete once its manifest is there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.files import Files

_PART = 128 << 20


def write_snapshot(
    files: Files,
    rows: DataFrame,
    *,
    snapshots: str,
    sources: Sequence[Mapping[str, Any]],
    schema: Mapping[str, str],
) -> dict[str, Any]:
    """Write `<snapshots>/<id>/` unless it is complete; its manifest comes last and makes it so.

    `sources` says what the rows were made of, `schema` names each column's type; both go into the manifest alone.
    """
    snapshot_id, count = fingerprint(rows)
    uri = f"{snapshots.rstrip('/')}/{snapshot_id}/"
    if not files.exists(f"{uri}manifest.json"):
        files.delete(f"{uri}data")
        size = sum(source["bytes"] for source in sources)
        rows.coalesce(1 + size // _PART).write.parquet(f"{uri}data")
        # Names without Spark's random part: writing the same snapshot again overwrites instead of adding.
        for at, part in enumerate(files.list(f"{uri}data")):
            files.rename(part.path, f"{uri}data/part-{at:05}.parquet")
        manifest = {"snapshot_id": snapshot_id, "schema": {**schema}, "rows": count, "sources": [*sources]}
        files.write_json(f"{uri}manifest.json", manifest)
    return {"snapshot_uri": uri, "snapshot_id": snapshot_id, "rows": count}


def fingerprint(rows: DataFrame) -> tuple[str, int]:
    """An identity of the rows as a multiset, whatever their order and files, and their number."""
    digest = F.sha2(F.to_json(F.struct(*rows.columns)), 256)
    halves = [F.conv(F.substring(digest, start, 15), 16, 10).cast("decimal(38,0)") for start in (1, 16, 31, 46)]
    row = rows.agg(F.count("*"), *(F.sum(half).cast("string") for half in halves)).collect()[0]
    identity = json.dumps([rows.dtypes, list(row)])
    return hashlib.sha256(identity.encode()).hexdigest()[:32], row[0]

"""Check raw files against the contract and write the snapshot of those that keep it."""

from collections.abc import Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.files import File, Files
from pipeline_code.platform_jobs.ingest.checks import count, problem_of, typed
from pipeline_code.platform_jobs.ingest.contract import Contract, columns_of
from pipeline_code.platform_jobs.ingest.raw_files import GONE, RawFile, count_parquet_rows, inspect, read_lines
from pipeline_code.platform_jobs.ingest.result import result_of
from pipeline_code.platform_jobs.snapshot import unfinished, write_snapshot

REPLACED = "was replaced while it was read: the newer version is left to the next run"


def ingest(
    spark: SparkSession, files: Files, *, raw: str, snapshots: str, contract: Contract, trigger: str = ""
) -> dict[str, Any]:
    """Write the snapshot of every file that keeps the contract, and answer what became of each.

    A file is read once, and its checks, its rows and the snapshot's identity come from that reading: whatever happens
    to it meanwhile, what was checked is what is written. `trigger` is the key of the file that started the run.
    """
    found = sorted(files.list(raw), key=lambda file: (file.modified_ms, file.key))
    inspected = inspect(spark, files, found, contract)
    problems = {file: each for file, each in zip(found, inspected, strict=True) if isinstance(each, str)}
    readable = [each for each in inspected if isinstance(each, RawFile)]
    accepted: dict[File, int] = {}
    snapshot: dict[str, Any] | None = None
    with unfinished(files, snapshots) as folder:
        staged, claimed = _stage(spark, files, readable, contract, folder)
        now = {file.path: file for file in files.list(raw)}
        counts = count(spark.read.parquet(folder), len(staged), contract) if staged else []
        for each, counted in zip(staged, counts, strict=True):
            if each.file != now.get(each.file.path):
                problems[each.file] = REPLACED if each.file.path in now else GONE
            elif problem := problem_of(each, counted, contract, claimed=claimed.get(each.file.uri, 0)):
                problems[each.file] = problem
            else:
                accepted[each.file] = counted["rows"]
        problems |= {each.file: GONE for each in readable if each not in staged}
        sources = [{"key": file.key, "rows": rows, "bytes": file.bytes} for file, rows in accepted.items()]
        if accepted:
            positions = [at for at, each in enumerate(staged) if each.file in accepted]
            snapshot = write_snapshot(
                files,
                _typed(spark.read.parquet(folder), positions, contract),
                snapshots=snapshots,
                sources=sources,
                schema=columns_of(contract),
                label=contract["label"],
            )
    rejected = [{"key": file.key, "reason": problems[file]} for file in found if file in problems]
    unread = {file.key for file, problem in problems.items() if problem in (GONE, REPLACED)}
    return result_of(snapshot, sources, rejected, raw=raw, trigger=trigger, unread=unread)


def _stage(
    spark: SparkSession, files: Files, raw: Sequence[RawFile], contract: Contract, folder: str
) -> tuple[Sequence[RawFile], dict[str, int]]:
    """Write the lines of the files that are still there to `folder`; these files, and the rows Parquet files claim."""
    while raw:
        try:
            claimed = count_parquet_rows(spark, raw)
            read_lines(spark, raw, contract).write.mode("overwrite").parquet(folder)
        except AnalysisException:
            # Spark refuses paths where nothing is, but lives with files that are deleted later.
            there = [each for each in raw if files.exists(each.file.path)]
            if len(there) == len(raw):
                raise
            raw = there
        else:
            return raw, claimed
    return [], {}


def _typed(lines: DataFrame, positions: Sequence[int], contract: Contract) -> DataFrame:
    """The rows of the files at these positions; of rows that share a key, one of the file written last."""
    chosen = lines.where(F.col("_row") & F.col("_source").isin(list(positions)))
    columns = columns_of(contract)
    if contract["key"]:
        newest_first = (F.col("_source").desc(), F.to_json(F.struct(*columns)))
        rank = F.row_number().over(Window.partitionBy(*contract["key"]).orderBy(*newest_first))
        chosen = chosen.withColumn("_rank", rank).where("_rank = 1")
    return chosen.select(*(typed(name, kind).alias(name) for name, kind in columns.items()))

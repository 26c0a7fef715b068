"""Check raw files against the contract and write the snapshot of those that keep it."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.files import File, Files
from pipeline_code.platform_jobs.snapshot import write_snapshot

Contract = Mapping[str, Any]

_HEAD = 1 << 16
_CORRUPT = "_corrupt"
_SOURCE = "_source"
_NUMBER = {"integer": r"[+-]?\d+", "double": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"}


class RejectedError(Exception):
    """Why a file is refused; reads on from its key: `<key> is empty`."""


def ingest(spark: SparkSession, files: Files, *, raw: str, snapshots: str, contract: Contract) -> dict[str, Any]:
    """The result document; the snapshot lies under `snapshots` when its status is `accepted`."""
    found = sorted(files.list(raw), key=lambda file: (file.modified_ms, file.key))
    headers: dict[File, list[str]] = {}
    problems: dict[File, str] = {}
    for file in found:
        try:
            headers[file] = read_header(files.head(file.path, _HEAD), contract)
        except RejectedError as error:
            problems[file] = str(error)
    accepted: dict[File, int] = {}
    if headers:
        lines = _read(spark, headers, contract)
        for file, counts in zip(headers, _counts(lines, len(headers), contract), strict=True):
            if problem := _row_problem(counts, contract):
                problems[file] = problem
            else:
                accepted[file] = counts["rows"]
    sources = [{"key": file.key, "rows": rows, "bytes": file.bytes} for file, rows in accepted.items()]
    rejected = [{"key": file.key, "reason": problems[file]} for file in found if file in problems]
    reasons = [f"{file['key']} {file['reason']}" for file in rejected] if found else [f"there is no file in {raw}"]
    result: dict[str, Any] = {
        "status": "rejected",
        "snapshot_uri": None,
        "snapshot_id": None,
        "rows": 0,
        "sources": sources,
        "rejected": rejected,
        "reasons": reasons,
    }
    if accepted:
        typed = _typed(lines, [at for at, file in enumerate(headers) if file in accepted], contract)
        written = write_snapshot(files, typed, snapshots=snapshots, sources=sources, schema=_columns(contract))
        result |= {"status": "accepted", **written}
    if headers:
        lines.unpersist()
    return result


def read_header(head: bytes, contract: Contract) -> list[str]:
    """The header of a raw file, from its first bytes; raises RejectedError when it is not the contract's.

    Columns may come in any order.
    """
    if not head.strip():
        raise RejectedError("is empty")
    try:
        # A character may be cut in two at the end of a full head.
        text = head.decode("utf-8-sig", errors="ignore" if len(head) == _HEAD else "strict")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RejectedError("is not text in UTF-8")
    header = [name.strip() for name in next(csv.reader(text.splitlines()[:1]), [])]
    expected = Counter([*contract["dropped"], *(column["header"] for column in contract["columns"])])
    if len(header) == 1 and len(expected) > 1:
        raise RejectedError(f"has one column, {header[0][:80]!r}: fields must be separated by commas")
    missing, extra = expected - Counter(header), Counter(header) - expected
    if missing or extra:
        raise RejectedError(f"has another header: missing {list(missing)}, unexpected {list(extra)}")
    return header


def _columns(contract: Contract) -> dict[str, str]:
    return {column["name"]: column["type"] for column in contract["columns"]}


def _read(spark: SparkSession, headers: Mapping[File, Sequence[str]], contract: Contract) -> DataFrame:
    """The lines of all files as trimmed text, each with the position of its file, oldest first."""
    # A line with too few or too many fields is only noticed when every column is read.
    spark.conf.set("spark.sql.csv.parser.columnPruning.enabled", "false")
    names = {column["header"]: column["name"] for column in contract["columns"]}
    frames = []
    for at, (file, header) in enumerate(headers.items()):
        fields = [names.get(column, f"_dropped{place}") for place, column in enumerate(header)]
        frame = spark.read.csv(
            re.sub(r"([\\{}\[\]*?])", r"\\\1", file.path),
            schema=", ".join(f"`{field}` string" for field in (*fields, _CORRUPT)),
            header=True,
            mode="PERMISSIVE",
            columnNameOfCorruptRecord=_CORRUPT,
        )
        frames.append(frame.select(*_columns(contract), _CORRUPT, F.lit(at).alias(_SOURCE)))
    missing = list(contract["missing"])
    texts = {name: F.trim(F.col(name)) for name in _columns(contract)}
    values = {name: F.when(~text.isin(missing), text) for name, text in texts.items()}
    return reduce(DataFrame.unionAll, frames).withColumns(values).cache()


def _counts(lines: DataFrame, files: int, contract: Contract) -> list[dict[str, Any]]:
    """Of each file: its rows, how many are malformed or hold a value of another type, and an example of each."""
    # Bytes that are not UTF-8 arrive as the replacement character.
    garbled = F.concat_ws("", *_columns(contract)).contains("\ufffd")
    line = F.coalesce(F.col(_CORRUPT), F.concat_ws(",", *_columns(contract)))
    measures = [F.count("*").alias("rows"), *_measure("malformed", F.col(_CORRUPT).isNotNull() | garbled, line)]
    for name, kind in _columns(contract).items():
        if kind in _NUMBER:
            measures += _measure(f"untyped_{name}", F.col(name).isNotNull() & _cast(name, kind).isNull(), F.col(name))
    counted = {row[_SOURCE]: row.asDict() for row in lines.groupBy(_SOURCE).agg(*measures).collect()}
    return [counted.get(at, {"rows": 0}) for at in range(files)]


def _measure(name: str, bad: Column, example: Column) -> list[Column]:
    return [F.count_if(bad).alias(name), F.min(F.when(bad, example)).alias(f"{name}_example")]


def _cast(name: str, kind: str) -> Column:
    # Spark alone would take 3.7 for an integer and NaN for a number.
    value = F.col(name)
    return (
        F.when(value.rlike(f"^{_NUMBER[kind]}$"), F.expr(f"try_cast(`{name}` as {kind})")) if kind in _NUMBER else value
    )


def _row_problem(counts: Mapping[str, Any], contract: Contract) -> str | None:
    if counts["rows"] == 0:
        return "holds a header but no rows"
    if counts["malformed"]:
        example = str(counts["malformed_example"])[:80]
        return f"has {counts['malformed']} malformed lines of {counts['rows']}, for example {example!r}"
    for name, kind in _columns(contract).items():
        if counts.get(f"untyped_{name}"):
            example = str(counts[f"untyped_{name}_example"])[:80]
            return f"has {counts[f'untyped_{name}']} values of {name} that are no {kind}, for example {example!r}"
    return None


def _typed(lines: DataFrame, positions: Sequence[int], contract: Contract) -> DataFrame:
    """The rows of the files at these positions; of rows that share a key, one of the file written last."""
    chosen = lines.where(F.col(_SOURCE).isin(list(positions)))
    if contract["key"]:
        newest_first = (F.col(_SOURCE).desc(), F.to_json(F.struct(*_columns(contract))))
        rank = F.row_number().over(Window.partitionBy(*contract["key"]).orderBy(*newest_first))
        chosen = chosen.withColumn("_rank", rank).where("_rank = 1")
    return chosen.select(*(_cast(name, kind).alias(name) for name, kind in _columns(contract).items()))

"""What is wrong with the lines of raw files: counted in Spark, told in a sentence per file."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.ingest.contract import LINE, Contract, columns_of
from pipeline_code.platform_jobs.ingest.raw_files import RawFile

Counts = Mapping[str, Any]

_FAULTS = {
    "encoding": "lines that are not text in UTF-8",
    "quotes": "lines with an unclosed quote",
    "fields": "malformed lines",
}
_NUMBERS = {"integer": r"[+-]?\d+", "double": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"}


def typed(name: str, kind: str) -> Column:
    """A column of text as the contract's type; null where it holds no such value."""
    # Spark alone would take 3.7 for an integer and NaN for a number.
    value = F.col(name)
    if kind not in _NUMBERS:
        return value
    return F.when(value.rlike(f"^{_NUMBERS[kind]}$"), F.expr(f"try_cast(`{name}` as {kind})"))


def count(lines: DataFrame, files: int, contract: Contract) -> Sequence[Counts]:
    """Of each file: its rows, header lines and bytes, how many lines are bad in which way, and an example of each."""
    bad = {fault: (F.col("_fault") == fault, F.col("_start")) for fault in _FAULTS}
    for name, kind in columns_of(contract).items():
        if kind in _NUMBERS:
            bad[_untyped(name)] = (F.col(name).isNotNull() & typed(name, kind).isNull(), F.substring(name, 1, 200))
    none = {"rows": 0, "headers": 0, "bytes": 0, "longest": 0, **dict.fromkeys(bad, 0)}
    counted = lines.groupBy("_source").agg(
        F.count_if("_row").alias("rows"),
        F.count_if("_header").alias("headers"),
        F.sum("_bytes").alias("bytes"),
        F.max("_bytes").alias("longest"),
        *(F.count_if(F.col("_row") & condition).alias(name) for name, (condition, _) in bad.items()),
    )
    counts: list[dict[str, Any]] = [{**none, "examples": {}} for _ in range(files)]
    for row in counted.collect():
        counts[row["_source"]] |= row.asDict()
    if any(count[name] for count in counts for name in bad):
        # Apart from the counts, because Spark sorts all that it reads for the least of a text.
        wrong = reduce(or_, (condition for condition, _ in bad.values()))
        examples = [F.min(F.when(condition, example)).alias(name) for name, (condition, example) in bad.items()]
        for row in lines.where(F.col("_row") & wrong).groupBy("_source").agg(*examples).collect():
            counts[row["_source"]]["examples"] = row.asDict()
    return counts


def problem_of(raw: RawFile, counts: Counts, contract: Contract, *, claimed: int) -> str | None:
    """Why a file is refused, reading on from its key, if it is; `claimed` rows a Parquet file says that it holds."""
    if problem := _lost(raw, counts, claimed):
        return problem
    if counts["rows"] == 0:
        return "holds a header but no rows"
    if counts["headers"] > 1:
        return f"holds its header {counts['headers']} times"
    for fault, what in _FAULTS.items():
        if counts[fault]:
            return f"has {counts[fault]} {what} of {counts['rows']}, for example {_example(counts, fault)}"
    for name, kind in columns_of(contract).items():
        if number := counts.get(_untyped(name)):
            return f"has {number} values of {name} that are no {kind}, for example {_example(counts, _untyped(name))}"
    return None


def _lost(raw: RawFile, counts: Counts, claimed: int) -> str | None:
    """Why Spark did not read all of a file, if so."""
    if raw.format == "parquet":
        read = counts["rows"]
        return None if read == claimed else f"is damaged: only {read} of its {claimed} rows can be read"
    # Its byte-order mark is not read, and its last line may have no end.
    lost = raw.file.bytes - counts["bytes"]
    if counts["longest"] > LINE or lost > LINE:
        return f"has a line of more than {LINE:,} bytes"
    return None if -1 <= lost <= 3 else f"could not be read to its end: {lost} of its bytes are missing"


def _untyped(name: str) -> str:
    return f"untyped_{name}"


def _example(counts: Counts, name: str) -> str:
    return repr(str(counts["examples"].get(name))[:80])

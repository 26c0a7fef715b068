"""Raw files as one table of text: a row per line of CSV and per row of Parquet, with what is wrong with it."""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from operator import or_
from typing import NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from pipeline_code.platform_jobs.files import File, Files
from pipeline_code.platform_jobs.ingest.contract import (
    HEAD,
    LINE,
    Contract,
    Format,
    RejectedError,
    check_schema,
    columns_of,
    format_of,
    header_line,
    read_header,
)

GONE = "was deleted before it was read"
# A line with more fields would end the job instead of being malformed: the limit of Spark's CSV parser is 20,480.
_FIELDS = 20_000
_THREADS = 16


class RawFile(NamedTuple):
    """A file that may be read: its columns in file order, and the header's line of CSV or the schema of Parquet."""

    file: File
    format: Format
    header: tuple[str, ...]
    description: str


def inspect(spark: SparkSession, files: Files, found: Sequence[File], contract: Contract) -> list[RawFile | str]:
    """Of each file what it is, or why it is refused."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(partial(_inspect, spark, files, contract), found))


def read_lines(spark: SparkSession, raw: Sequence[RawFile], contract: Contract) -> DataFrame:
    """The lines of all files: `_source` is a file's position, the contract's columns are text or null.

    `_bytes` is a CSV line's length with its end, `_header` marks the first lines, `_row` those with values, `_fault`
    what is wrong and `_start` how such a line begins. Of a file that is gone lines are missing.
    """
    groups: dict[tuple[str, ...], list[RawFile]] = {}
    for each in raw:
        schema = each.description if each.format == "parquet" else ""
        groups.setdefault((each.format, schema, *each.header), []).append(each)
    frames = [_READERS[group[0].format](spark, group, contract) for group in groups.values()]
    # Spark names a file by its URI alone.
    known = spark.createDataFrame(
        [(each.file.uri, at, each.description) for at, each in enumerate(raw)],
        "_uri string, _source int, _first string",
    )
    lines = reduce(DataFrame.unionAll, frames).join(F.broadcast(known), "_uri")
    header = F.coalesce(F.col("_text") == F.col("_first"), F.lit(False))
    row = ~header & F.coalesce(F.trim("_text") != "", F.lit(True))
    missing = list(contract["missing"])
    trimmed = lines.withColumns({name: F.trim(name) for name in columns_of(contract)})
    return trimmed.select(
        "_source",
        "_bytes",
        header.alias("_header"),
        row.alias("_row"),
        "_fault",
        F.when(F.col("_fault").isNotNull(), F.substring("_text", 1, 200)).alias("_start"),
        *(F.when(~F.col(name).isin(missing), F.col(name)).alias(name) for name in columns_of(contract)),
    )


def count_parquet_rows(spark: SparkSession, raw: Sequence[RawFile]) -> dict[str, int]:
    """How many rows each Parquet file claims to hold, by its URI."""
    paths = [each.file.path for each in raw if each.format == "parquet"]
    if not paths:
        return {}
    rows = _parquet_reader(spark).schema(StructType([])).parquet(*map(_literal, paths)).select("_metadata.file_path")
    return {row[0]: row[1] for row in rows.groupBy("file_path").count().collect()}


def _inspect(spark: SparkSession, files: Files, contract: Contract, file: File) -> RawFile | str:
    try:
        head = files.head(file.path, HEAD)
        kind = format_of(file.key, head)
        if kind == "csv":
            return RawFile(file, kind, tuple(read_header(head, contract)), header_line(head))
        schema = _schema(spark, files, file)
        check_schema([(field.name, field.dataType.simpleString()) for field in schema], contract)
        return RawFile(file, kind, tuple(schema.names), schema.json())
    except FileNotFoundError:
        return GONE
    except RejectedError as error:
        return str(error)


def _schema(spark: SparkSession, files: Files, file: File) -> StructType:
    try:
        return spark.read.parquet(_literal(file.path)).schema
    except (Py4JJavaError, PySparkException) as error:
        if not files.exists(file.path):
            raise FileNotFoundError(file.path) from error
        raise RejectedError("is damaged: its Parquet schema cannot be read") from error


def _csv_lines(spark: SparkSession, group: Sequence[RawFile], contract: Contract) -> DataFrame:
    names = {column["header"]: column["name"] for column in contract["columns"]}
    fields = [names.get(header, f"_dropped{at}") for at, header in enumerate(group[0].header)]
    schema = ", ".join(f"`{field}` string" for field in (*fields, "_corrupt"))
    # A line of any length takes no more memory than this. What is cut off is missed when the bytes are counted, and
    # they can be counted because every line ends in one byte.
    reader = _reader(spark).options(lineSep="\n", **{"mapreduce.input.linerecordreader.line.maxlength": LINE})
    lines = reader.text([_literal(each.file.path) for each in group]).select(
        F.col("_metadata.file_path").alias("_uri"),
        (F.octet_length("value") + 1).alias("_bytes"),
        # Bytes that are not UTF-8 become the replacement character.
        F.decode(F.expr(r"cast(trim(trailing '\r' from value) as binary)"), "UTF-8").alias("_text"),
    )
    text, length = F.col("_text"), F.octet_length("_text")
    quotes, commas = (length - F.octet_length(F.replace(text, F.lit(sign))) for sign in ('"', ","))
    unreadable = reduce(or_, (text.contains(sign) for sign in ("\ufffd", "\r", "\0")))
    fault = (
        F.when(unreadable, "encoding")
        .when(text.contains('"') & (quotes % 2 == 1), "quotes")
        .when((length > _FIELDS) & (commas > _FIELDS), "fields")
    )
    options = {"columnNameOfCorruptRecord": "_corrupt", "mode": "PERMISSIVE", "escape": '"'}
    return (
        lines.withColumn("_fault", fault)
        .withColumn("_values", F.from_csv(F.when(F.col("_fault").isNull(), text), schema, options))
        .select(
            "_uri",
            "_bytes",
            "_text",
            F.coalesce("_fault", F.when(F.col("_values._corrupt").isNotNull(), "fields")).alias("_fault"),
            *(F.col(f"_values.{name}") for name in columns_of(contract)),
        )
    )


def _parquet_rows(spark: SparkSession, group: Sequence[RawFile], contract: Contract) -> DataFrame:
    schema = StructType.fromJson(json.loads(group[0].description))
    rows = _parquet_reader(spark).schema(schema).parquet(*(_literal(each.file.path) for each in group))
    # Values are compared and checked as a CSV file holds them, so that equal rows are equal in either format.
    places = {header: at for at, header in enumerate(group[0].header)}
    texts = {column["name"]: F.col(f"_{places[column['header']]}").cast("string") for column in contract["columns"]}
    return (
        rows.select(*(F.col(_quoted(name)) for name in schema.names), "_metadata.file_path")
        .toDF(*(f"_{at}" for at in range(len(places))), "_uri")
        .select(
            "_uri",
            F.lit(0).alias("_bytes"),
            F.lit(None).cast("string").alias("_text"),
            F.lit(None).cast("string").alias("_fault"),
            *(text.alias(name) for name, text in texts.items()),
        )
    )


def _reader(spark: SparkSession) -> DataFrameReader:
    """Of a file that is deleted meanwhile rows are missing, instead of the job failing."""
    return spark.read.options(ignoreMissingFiles=True)


def _parquet_reader(spark: SparkSession) -> DataFrameReader:
    """The same of a damaged file."""
    return _reader(spark).options(ignoreCorruptFiles=True)


def _literal(path: str) -> str:
    """A path in which Hadoop finds no pattern."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_READERS: dict[Format, Callable[[SparkSession, Sequence[RawFile], Contract], DataFrame]] = {
    "csv": _csv_lines,
    "parquet": _parquet_rows,
}

"""What a raw file is and whether its columns are the contract's: decided by its first bytes or its schema alone."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Contract = Mapping[str, Any]
Format = Literal["csv", "parquet"]

HEAD = 1 << 16
LINE = 1 << 20
_PARQUET = b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Hadoop would unpack these by their names, at a cost that their sizes do not tell.
_COMPRESSED = (".bz2", ".deflate", ".gz", ".lz4", ".snappy", ".zst", ".zip")
# Of each type of the contract, the types of Parquet whose values it holds; out-of-range values are found in the rows.
_INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint", "void"})
_COMPATIBLE = {
    "string": frozenset({"string", "void"}),
    "integer": _INTEGERS,
    "double": _INTEGERS | {"float", "double", "decimal"},
}


class RejectedError(Exception):
    """Why a file is refused; reads on from its key: `<key> is empty`."""


def columns_of(contract: Contract) -> dict[str, str]:
    """The snapshot's columns and their types."""
    return {column["name"]: column["type"] for column in contract["columns"]}


def format_of(key: str, head: bytes) -> Format:
    """What a file is by its name and its first bytes; raises RejectedError for one that is neither CSV nor Parquet."""
    if key.lower().endswith(_COMPRESSED):
        raise RejectedError("is compressed: deliver CSV as it is, or Parquet, which compresses by itself")
    if head.startswith(_PARQUET):
        return "parquet"
    if not head.strip():
        raise RejectedError("is empty")
    if key.lower().endswith(".parquet"):
        raise RejectedError("is no Parquet file, although it is called one")
    return "csv"


def read_header(head: bytes, contract: Contract) -> list[str]:
    """The header of a CSV file, from its first bytes; raises RejectedError when it is not the contract's.

    Columns may come in any order.
    """
    if head.startswith(_UTF16):
        raise RejectedError("is text in UTF-16: it must be UTF-8")
    line = header_line(head)
    if "\r" in line:
        raise RejectedError("ends its lines with a carriage return alone: they must end with a line feed")
    try:
        header = [name.strip() for name in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        raise RejectedError(f"has a header with an unclosed quote: {line[:80]!r}") from None
    if len(header) == 1 and len(contract["columns"]) > 1:
        raise RejectedError(f"has one column, {header[0][:80]!r}: fields must be separated by commas")
    _check_names(header, contract)
    return header


def header_line(head: bytes) -> str:
    """The first line of a CSV file, without what ends it; raises RejectedError where it is no text or has no end."""
    line, end, _ = head.partition(b"\n")
    try:
        # A character may be cut in two at the end of a head that holds no whole line.
        text = line.decode("utf-8-sig", errors="strict" if end or len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or b"\0" in head:
        raise RejectedError("is not text in UTF-8")
    if not end and len(head) == HEAD:
        raise RejectedError(f"has no line feed in its first {HEAD:,} bytes")
    return text.rstrip("\r")


def check_schema(types: Sequence[tuple[str, str]], contract: Contract) -> None:
    """Hold the names and Spark SQL types of a Parquet file's columns to the contract; raises RejectedError."""
    _check_names([name for name, _ in types], contract)
    found = dict(types)
    for column in contract["columns"]:
        kind = found[column["header"]]
        if kind.partition("(")[0] not in _COMPATIBLE[column["type"]]:
            raise RejectedError(f"holds {column['header']} as {kind[:80]}: it must be {column['type']}")


def _check_names(header: Sequence[str], contract: Contract) -> None:
    """A dropped column may be there or not; every other one must be there once."""
    wanted = Counter(column["header"] for column in contract["columns"])
    missing, extra = wanted - Counter(header), Counter(header) - wanted - Counter(contract["dropped"])
    if missing or extra:
        raise RejectedError(f"has another header: missing {_names(missing)}, unexpected {_names(extra)}")


def _names(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{[name[:80] for name in names[:10]]}{more}"

"""Lines of data capture as requests and answers; a line that cannot be read is counted, never guessed at.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

# A request has 25 MB at the most, and base64 and JSON may make three times as much of it and its answer:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
MOST_LINE = 100 << 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SCALAR = (str, int, float, type(None))


class Unreadable(Exception):
    """A line that is no captured request; the words say why, the same for the same kind of damage."""


class Exchange(NamedTuple):
    """A request with its rows, in the baseline's columns, and one score a row, or None where no answer was captured."""

    time: str
    id: str
    rows: Sequence[Sequence[Any]]
    scores: Sequence[float] | None


class Reading:
    """How much was read, and how much of it could not be."""

    def __init__(self) -> None:
        self.files = 0
        self.lines = 0
        self.corrupt_lines = 0
        self.corrupt_files = 0
        self.reasons: Counter[str] = Counter()

    def exchanges(self, chunks: Iterable[bytes], columns: Sequence[str]) -> Iterator[Exchange]:
        """The exchanges of one file, given in pieces of any size; its damaged lines are left out and counted."""
        self.files += 1
        sound = damaged = 0
        for line in split_lines(chunks):
            self.lines += 1
            try:
                exchange = read_line(line, columns)
            except Unreadable as error:
                damaged += 1
                self.corrupt_lines += 1
                self.reasons[str(error)] += 1
                continue
            sound += 1
            yield exchange
        if damaged > sound:
            self.corrupt_files += 1

    @property
    def corrupt_share(self) -> float:
        """The share of damaged lines, or of files that consist of little else, whichever is greater."""
        lines = self.corrupt_lines / self.lines if self.lines else 0.0
        files = self.corrupt_files / self.files if self.files else 0.0
        return max(lines, files)


def split_lines(chunks: Iterable[bytes], *, most: int = MOST_LINE) -> Iterator[bytes | None]:
    """The lines that are not blank; None for one longer than `most`, of which no more than that is ever kept."""
    rest, skipping = b"", False
    for chunk in chunks:
        *lines, tail = chunk.split(b"\n")
        for line in lines:
            if skipping or len(rest) + len(line) > most:
                yield None
            elif whole := (rest + line).strip():
                yield whole
            rest, skipping = b"", False
        if skipping or len(rest) + len(tail) > most:
            rest, skipping = b"", True
        else:
            rest += tail
    if skipping:
        yield None
    elif last := rest.strip():
        yield last


def read_line(line: bytes | None, columns: Sequence[str]) -> Exchange:
    """One captured exchange; raises Unreadable."""
    if line is None:
        raise Unreadable("the line is too long")
    try:
        document = json.loads(line)
        data, event = document["captureData"], document["eventMetadata"]
        time, id_ = event["inferenceTime"], event.get("inferenceId") or event["eventId"]
        asked, answered = data["endpointInput"], data.get("endpointOutput")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unreadable("the line is no captured request") from None
    if not isinstance(id_, str) or not isinstance(time, str) or not _TIME.fullmatch(time):
        raise Unreadable("the request has no time or no id")
    rows = _rows(*_content(asked), columns)
    scores = None if answered is None else _scores(*_content(answered))
    if scores is not None and len(scores) != len(rows):
        raise Unreadable("the answer does not fit the request")
    return Exchange(time, id_, rows, scores)


def _content(part: Any) -> tuple[str, str]:
    """Text and content type of a request or an answer."""
    try:
        kind, encoding, data = part["observedContentType"], part["encoding"], part["data"]
        text = base64.b64decode(data, validate=True).decode("utf-8") if encoding == "BASE64" else data
        if not isinstance(text, str):
            raise TypeError
        return text, str(kind).partition(";")[0].strip().lower()
    except (KeyError, TypeError, ValueError):
        raise Unreadable("a body cannot be decoded") from None


def _rows(text: str, kind: str, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
    rows: Sequence[Sequence[Any]]
    if kind == "text/csv":
        rows = _records(text)
    elif kind == "application/json":
        rows = _instances(text, columns)
    else:
        raise Unreadable("a request is neither text/csv nor application/json")
    if not rows or any(len(row) != len(columns) for row in rows):
        raise Unreadable("a request does not fit the model's columns")
    return rows


def _records(text: str) -> list[list[str]]:
    if '"' not in text:
        return [line.split(",") for line in text.splitlines() if line]
    try:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        raise Unreadable("a body cannot be decoded") from None


def _instances(text: str, columns: Sequence[str]) -> list[list[Any]]:
    try:
        instances = json.loads(text)["instances"]
        rows = [[row.get(name) for name in columns] if isinstance(row, dict) else list(row) for row in instances]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("a body cannot be decoded") from None
    if not all(isinstance(value, _SCALAR) for row in rows for value in row):
        raise Unreadable("a request does not fit the model's columns")
    return rows


def _scores(text: str, kind: str) -> list[float]:
    try:
        if kind == "application/json":
            return [float(score) for score in json.loads(text)["predictions"]]
        return [float(score) for score in text.replace("\n", ",").split(",") if score.strip()]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise Unreadable("an answer holds no scores") from None

"""What became true, told later: labels by inference id, joined with the answers that were captured.

A file holds CSV with a header (`inference_id,label` and, for requests of several rows, `row`, counted from 0) if its
name ends in `.csv`, or one JSON object of these names a line if it ends in `.jsonl`.
"""

import csv
import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .capture import Unreadable, split_lines
from .quality import LiveQuality

CSV, JSON_LINES = ".csv", ".jsonl"
_NUMBERS = {"0": 0, "1": 1}


class GroundTruth:
    """Labels in nine bytes each; of two for one row the later delivered is taken."""

    def __init__(self, classes: Mapping[str, int]) -> None:
        spelled = {text.strip(): value for text, value in classes.items()}
        # Where the contract spells a class 0 or 1, that is what it means, and the other is none of its spellings.
        self._classes = spelled if spelled.keys() & _NUMBERS.keys() else spelled | _NUMBERS
        self._ids, self._labels = array("Q"), array("b")
        self._keys = np.empty(0, dtype=np.uint64)
        self._values = np.empty(0, dtype=np.int8)
        self._met = np.empty(0, dtype=bool)
        self.lines = 0
        self.corrupt_lines = 0
        self.reasons: Counter[str] = Counter()
        self.joined = [0, 0]

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Take a file's labels; what cannot be read is left out and counted."""
        parsed = _csv_labels(chunks) if name.endswith(CSV) else _json_labels(chunks)
        for found in parsed:
            self.lines += 1
            try:
                id_, row, label = self._label(found)
            except Unreadable as error:
                self.corrupt_lines += 1
                self.reasons[str(error)] += 1
                continue
            self._ids.append(_hash(id_, row))
            self._labels.append(label)

    def ready(self) -> None:
        """Sort what was taken; nothing is added any more."""
        ids = np.frombuffer(self._ids, dtype=np.uint64) if self._ids else np.empty(0, dtype=np.uint64)
        labels = np.frombuffer(self._labels, dtype=np.int8) if self._labels else np.empty(0, dtype=np.int8)
        order = np.argsort(ids, kind="stable")
        sorted_ids = ids[order]
        last = np.append(sorted_ids[1:] != sorted_ids[:-1], True) if len(order) else np.empty(0, dtype=bool)
        self._keys, self._values = sorted_ids[last], labels[order][last]
        self._met = np.zeros(len(self._keys), dtype=bool)

    @property
    def offered(self) -> int:
        """How many rows have a label."""
        return len(self._keys)

    def join(self, answers: Sequence[tuple[str, int, float]], quality: LiveQuality) -> None:
        """Give `quality` the scores, by id and row of the request, whose label is known; each label counts once."""
        if not len(self._keys) or not answers:
            return
        wanted = np.fromiter((_hash(id_, row) for id_, row, _ in answers), dtype=np.uint64, count=len(answers))
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        hits = np.flatnonzero((self._keys[at] == wanted) & ~self._met[at])
        # The same id twice in one batch is one request told of twice.
        _, first = np.unique(at[hits], return_index=True)
        hits = hits[first]
        self._met[at[hits]] = True
        scores = np.array([answers[hit][2] for hit in hits.tolist()], dtype=np.float64)
        labels = self._values[at[hits]]
        for label in (0, 1):
            self.joined[label] += int((labels == label).sum())
        quality.add(labels, scores)

    def _label(self, found: Mapping[str, Any] | None) -> tuple[str, int, int]:
        if found is None:
            raise Unreadable("a line of ground truth is neither CSV under a header nor a JSON object")
        id_, row, label = found.get("inference_id"), found.get("row"), found.get("label")
        if not isinstance(id_, str) or not id_:
            raise Unreadable("a label has no inference_id")
        try:
            number = 0 if row in (None, "") else int(row)
        except (TypeError, ValueError, OverflowError):
            raise Unreadable("a label's row is no number") from None
        text = str(label).strip()
        if text not in self._classes:
            raise Unreadable("a label is none of the model's")
        return id_, number, self._classes[text]


def _csv_labels(chunks: Iterable[bytes]) -> Iterator[Mapping[str, Any] | None]:
    texts = _texts(chunks)
    header = [name.strip() for name in _fields(next(texts, None)) or ()]
    if not {"inference_id", "label"} <= set(header):
        yield None
        return
    for text in texts:
        fields = _fields(text)
        yield dict(zip(header, fields, strict=True)) if fields is not None and len(fields) == len(header) else None


def _fields(text: str | None) -> list[str] | None:
    try:
        return None if text is None else next(csv.reader([text]), [])
    except csv.Error:
        return None


def _json_labels(chunks: Iterable[bytes]) -> Iterator[Mapping[str, Any] | None]:
    for text in _texts(chunks):
        try:
            found = json.loads(text or "")
        except (ValueError, RecursionError):
            found = None
        yield found if isinstance(found, dict) else None


def _texts(chunks: Iterable[bytes]) -> Iterator[str | None]:
    for line in split_lines(chunks):
        try:
            yield None if line is None else line.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield None


def _hash(id_: str, row: int) -> int:
    # JSON can spell half a character, which utf-8 has no bytes for.
    text = f"{row} {id_}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")

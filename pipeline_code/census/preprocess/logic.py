"""How rows become examples, and which split each belongs to; a batch of columns in, a batch or an array out."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from ..contract import CATEGORICAL, FEATURES, LABEL, MISSING, NEGATIVE, NUMERIC, POSITIVE, DataError

COLUMNS = (*FEATURES, LABEL)
SPLITS = ("train", "validation", "holdout")
_ENDS = np.array([int(share * 2**64) for share in (0.7, 0.8)], dtype=np.uint64)

_CATEGORY = pa.dictionary(pa.int32(), pa.string())
EXAMPLES = pa.schema(
    [(name, _CATEGORY if name in CATEGORICAL else pa.float64()) for name in FEATURES] + [(LABEL, pa.int8())]
)
_LARGEST = np.finfo(np.float32).max  # the booster computes in float32


def check_schema(schema: pa.Schema) -> None:
    """Refuse columns that are missing or of another type; columns that the contract does not know are ignored."""
    if absent := [name for name in COLUMNS if name not in schema.names]:
        raise DataError(f"the snapshot lacks the columns {absent}; it has {schema.names}")
    for name in COLUMNS:
        wanted, fits = ("numbers", _is_number) if name in NUMERIC else ("text", _is_text)
        kind = schema.field(name).type
        if not fits(kind) and not pa.types.is_null(kind):
            raise DataError(f"{name} must hold {wanted}, but the snapshot holds it as {kind}")


def to_examples(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Categories as dictionaries, numbers as float64, the label as int8; what is missing is null, NaN included."""
    features = [
        rows.column(name).cast(_CATEGORY) if name in CATEGORICAL else _numbers(name, rows.column(name))
        for name in FEATURES
    ]
    return pa.RecordBatch.from_arrays([*features, _labels(rows.column(LABEL).cast(_CATEGORY))], schema=EXAMPLES)


def split_of(examples: pa.RecordBatch, *, seed: int) -> np.ndarray:
    """The position in SPLITS of each example.

    It is a hash of the features' values and the seed, nothing else: equal features share a split whatever their label,
    so no answer leaks into the holdout, and whichever batch, file or host they come in.
    """
    # Each value of each column stands for 64 random-looking bits; the row for their exclusive or, mixed with the seed.
    bits = np.full(examples.num_rows, seed % 2**64, dtype=np.uint64)
    for name in FEATURES:
        bits ^= (_category_bits if name in CATEGORICAL else _number_bits)(name, examples.column(name))
    return np.searchsorted(_ENDS, _mix(bits), side="right")


def encoding_of(categories: Mapping[str, set[str]]) -> dict[str, Any]:
    """The categories of each column in order, and what inference needs to read a request."""
    known = {name: sorted({category.strip() for category in categories[name]} - {*MISSING}) for name in CATEGORICAL}
    return {"features": list(FEATURES), "categories": known, "missing": list(MISSING)}


def check_classes(rows: Mapping[str, int], positives: Mapping[str, int]) -> None:
    """Refuse a split from which nothing can be learned or judged."""
    for name in SPLITS:
        if not 0 < positives[name] < rows[name]:
            raise DataError(
                f"the {name} split has {rows[name]} of {sum(rows.values())} rows, {positives[name]} of them "
                f"{POSITIVE!r}; a classifier needs both values of {LABEL} in every split"
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numbers(name: str, column: pa.Array) -> pa.Array:
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0  # -0.0 equals 0.0: one hash
    if (beyond := np.abs(values) > _LARGEST).any():
        raise DataError(f"{name} must be a finite number that float32 can hold, got {values[beyond][0]}")
    return pa.array(values, from_pandas=True)


def _labels(column: pa.DictionaryArray) -> pa.Array:
    label_of = {NEGATIVE: 0, POSITIVE: 1}
    labels = np.array([*(label_of.get(value, -1) for value in column.dictionary.to_pylist()), -1], dtype=np.int8)
    labels = labels[_positions(column)]
    if (unknown := labels < 0).any():
        value = column[int(unknown.argmax())].as_py()
        raise DataError(f"{LABEL} must be {NEGATIVE!r} or {POSITIVE!r}, got {value!r}")
    return pa.array(labels)


def _positions(column: pa.DictionaryArray) -> np.ndarray:
    """Where each value lies in the dictionary; a missing one just behind its end."""
    return np.asarray(column.indices.fill_null(len(column.dictionary)))


def _category_bits(name: str, column: pa.DictionaryArray) -> np.ndarray:
    bits = np.array([_text_bits(name, text) for text in [*column.dictionary.to_pylist(), None]], dtype=np.uint64)
    return np.asarray(bits[_positions(column)])


def _number_bits(name: str, column: pa.Array) -> np.ndarray:
    return _mix(column.to_numpy(zero_copy_only=False).view(np.uint64) ^ np.uint64(_text_bits(name, None)))


@lru_cache(maxsize=2**16)
def _text_bits(name: str, text: str | None) -> int:
    # Python's own hash differs from process to process.
    content = name if text is None else f"{name}={text}"
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "little")


def _mix(bits: np.ndarray) -> np.ndarray:
    """Spread every bit over all: the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable PRNGs, 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))

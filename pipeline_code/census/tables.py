"""Reads what preprocess writes, for every step alike: a split as columns, the hosts' encodings as one.

A split is a folder of `part-<host>.parquet`, an encoding a folder of `part-<host>.json`, one of each per instance that
preprocess ran on.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .contract import CATEGORICAL, FEATURES, LABEL, DataError

Encoding = dict[str, Any]


def read_split(folder: Path, name: str) -> pa.Table:
    """The rows of the split `name`, all parts in name order; categories stay dictionaries, which are small.

    Raises DataError when there is no row at all.
    """
    parts = [
        pq.read_table(path, columns=[*FEATURES, LABEL], read_dictionary=list(CATEGORICAL))
        for path in sorted(folder.glob("part-*.parquet"))
    ]
    if sum(part.num_rows for part in parts) == 0:
        raise DataError(f"the {name} split has no rows; give preprocess more data")
    return pa.concat_tables(parts)


def read_encoding(folder: Path) -> Encoding:
    """What all hosts saw: the sorted union of their categories, and what inference needs to read a request."""
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("part-*.json"))]
    if not parts:
        raise DataError(f"the encoding has no part-*.json, only {sorted(path.name for path in folder.iterdir())}")
    categories = {
        name: sorted(set().union(*(part["categories"][name] for part in parts))) for name in parts[0]["categories"]
    }
    return {**parts[0], "categories": categories}


def columns_to_matrix(table: pa.Table, encoding: Encoding) -> np.ndarray:
    """Rows as float32 just as inference.py reads a request: categories as codes, missing or unseen as NaN."""
    matrix = np.empty((table.num_rows, len(encoding["features"])), dtype=np.float32)
    for at, name in enumerate(encoding["features"]):
        known = encoding["categories"].get(name)
        matrix[:, at] = table.column(name).to_numpy() if known is None else _codes(table.column(name), known)
    return matrix


def labels_of(table: pa.Table) -> np.ndarray:
    """The labels as int8: 1 for the positive class."""
    return np.asarray(table.column(LABEL).to_numpy(), dtype=np.int8)


def _codes(column: pa.ChunkedArray, known: list[str]) -> np.ndarray:
    # A dictionary is looked up once, its rows follow by position; the last position stands for a missing value.
    code_of = {category: float(code) for code, category in enumerate(known)}
    codes = [np.empty(0, dtype=np.float32)]
    for chunk in column.chunks:
        values = chunk.dictionary.to_pylist()
        lookup = np.array([*(code_of.get(value.strip(), np.nan) for value in values), np.nan], dtype=np.float32)
        codes.append(lookup[chunk.indices.fill_null(len(values)).to_numpy()])
    return np.concatenate(codes)

"""What the registry remembers of a model: golden rows, the baseline of its drift, a sample request."""

import csv
import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import MISSING, NEGATIVE, POSITIVE

GOLDEN_ROWS = 8
TOLERANCE = 1e-6
# Every twentieth, and the ends: few people have a capital loss, but many more or none would be news.
CUTS = [0.01, *(at / 20 for at in range(1, 20)), 0.99]


def golden_rows(table: pa.Table, scores: np.ndarray, answer: Callable[[str], list[float]]) -> dict[str, Any]:
    """Rows from the lowest to the highest score and one with gaps, with what the model answers to them."""
    order = np.argsort(scores, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(GOLDEN_ROWS, len(order))).astype(int)]
    gaps = np.flatnonzero(np.any([column.is_null().to_numpy() for column in table.columns], axis=0))[:1]
    text = io.StringIO()
    rows = table.take(np.concatenate([picked, gaps])).to_pylist()
    csv.writer(text, lineterminator="\n").writerows(row.values() for row in rows)
    body = text.getvalue()
    return {
        "content_type": "text/csv",
        "accept": "application/json",
        "body": body,
        "expected": answer(body),
        "tolerance": TOLERANCE,
    }


def sample_payload(body: str) -> bytes:
    """A tar.gz of `sample.csv`, the same bytes for the same body: nothing in it is compressed or dated.

    Source: SamplePayloadUrl, https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html
    """
    content = body.encode()
    member = tarfile.TarInfo("sample.csv")
    member.size = len(content)
    archive, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as opened:
        opened.addfile(member, io.BytesIO(content))
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=0, mtime=0) as opened_gzip:
        opened_gzip.write(archive.getvalue())
    return packed.getvalue()


def drift_baseline(
    features: Mapping[str, Any], *, train_rows: int, labels: np.ndarray, scores: np.ndarray
) -> dict[str, Any]:
    """What later data is compared with: features as the model learned them, predictions and labels of the holdout.

    It also says how requests and ground truth are read: columns in their order, texts that stand for no value,
    how labels are spelled.
    """
    edges = np.union1d(np.clip(quantile_edges(scores, slack=TOLERANCE), 0, 1), [0, 1])
    return {
        "description": (
            "features count the train split: counts[i] of a numeric feature are the values from edges[i-1] up to, "
            "but without, edges[i], the first and the last bin open; predictions and labels count the holdout, each "
            "bin of predictions from edges[i] to edges[i+1]"
        ),
        "rows": {"train": train_rows, "holdout": len(labels)},
        "columns": list(features),
        "missing_values": list(MISSING),
        "features": dict(features),
        "predictions": {
            "edges": edges.tolist(),
            "counts": np.histogram(scores, bins=edges)[0].tolist(),
        },
        "labels": {str(label): int((labels == label).sum()) for label in (0, 1)},
        "label_values": {NEGATIVE: 0, POSITIVE: 1},
    }


def feature_distributions(table: pa.Table, encoding: Mapping[str, Any]) -> dict[str, Any]:
    """Each feature's distribution: quantile bins of a number, counts of a category."""
    return {
        name: _categorical(table.column(name), encoding["categories"][name])
        if name in encoding["categories"]
        else _numeric(table.column(name))
        for name in encoding["features"]
    }


def quantile_edges(values: np.ndarray, *, slack: float = 0.0) -> np.ndarray:
    """Edges of bins that hold about as many values each.

    Where many share a number, such as no capital gain, it has a bin of its own, and numbers no further from it than
    the share `slack` are in it: on another processor the same model may answer so much differently.
    """
    cuts, times = np.unique(np.quantile(values, CUTS) if len(values) else [], return_counts=True)
    return np.union1d(cuts * (1 - slack), np.nextafter(cuts[times > 1] * (1 + slack), np.inf))


def _numeric(column: pa.ChunkedArray) -> dict[str, Any]:
    values = column.drop_null().to_numpy()
    edges = quantile_edges(values)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"kind": "numeric", "edges": edges.tolist(), "counts": counts.tolist(), "missing": column.null_count}


def _categorical(column: pa.ChunkedArray, known: list[str]) -> dict[str, Any]:
    found = {item["values"]: item["counts"] for item in pc.value_counts(column.cast(pa.string())).to_pylist()}
    missing = found.pop(None, 0)
    return {
        "kind": "categorical",
        "counts": {value: found.pop(value, 0) for value in known},
        "missing": missing,
        "unseen": sum(found.values()),
    }

"""The split, and what the encoding learns from the train split; plain values in, plain values out."""

import hashlib
from collections.abc import Iterable
from typing import Any

from ..contract import CATEGORICAL, FEATURES, LABEL, MISSING, NEGATIVE, POSITIVE, DataError

Example = tuple[Any, ...]

# Where each split ends on the scale from 0 to 1 that rows are hashed onto.
SPLITS = (("train", 0.7), ("validation", 0.8), ("holdout", 1.0))


def to_examples(rows: Iterable[Example]) -> list[Example]:
    """Rows with numbers as floats and the label as 0 or 1, in an order that depends on nothing but their content."""
    labels = {NEGATIVE: 0, POSITIVE: 1}
    examples = []
    for *features, label in rows:
        if label not in labels:
            raise DataError(f"{LABEL} must be {NEGATIVE!r} or {POSITIVE!r}, got {label!r}")
        values = [
            value if value is None or name in CATEGORICAL else float(value)
            for name, value in zip(FEATURES, features, strict=True)
        ]
        examples.append((*values, labels[label]))
    return sorted(examples, key=repr)


def split(examples: list[Example], *, seed: int) -> dict[str, list[Example]]:
    """Examples by split. Equal features share a split whatever their label, so no answer leaks into the holdout."""
    splits: dict[str, list[Example]] = {name: [] for name, _ in SPLITS}
    for example in examples:
        splits[_split_of(example[:-1], seed)].append(example)
    for name, members in splits.items():
        positives = sum(example[-1] for example in members)
        if not 0 < positives < len(members):
            raise DataError(
                f"the {name} split has {len(members)} of {len(examples)} rows, {positives} of them {POSITIVE!r}; "
                f"a classifier needs both values of {LABEL} in every split"
            )
    return splits


def fit_encoding(examples: list[Example]) -> dict[str, Any]:
    """The categories of each column, from the train split alone, and what inference needs to read a request."""
    return {
        "features": list(FEATURES),
        "categories": {
            name: sorted({example[FEATURES.index(name)] for example in examples} - {None}) for name in CATEGORICAL
        },
        "missing": list(MISSING),
    }


def _split_of(features: Example, seed: int) -> str:
    digest = hashlib.sha256(repr((seed, features)).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return next(name for name, end in SPLITS if share < end)

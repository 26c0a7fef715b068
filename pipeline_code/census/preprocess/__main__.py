"""Read a snapshot, write `train.parquet`, `validation.parquet`, `holdout.parquet` and `encoding.json`."""

import argparse
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import (
    CATEGORICAL,
    ENCODING_FILE,
    FEATURES,
    HOLDOUT_FILE,
    LABEL,
    TRAIN_FILE,
    VALIDATION_FILE,
    DataError,
)
from .logic import Example, fit_encoding, split, to_examples

SCHEMA = pa.schema(
    [(name, pa.string() if name in CATEGORICAL else pa.float64()) for name in FEATURES] + [(LABEL, pa.int8())]
)


def main() -> None:
    """Run the step; a mistake in the data ends it with one sentence."""
    parser = argparse.ArgumentParser(prog="preprocess", description=__doc__)
    parser.add_argument("--input-snapshot", type=Path, required=True, help="folder with data/part-*.parquet")
    parser.add_argument("--output-train", type=Path, required=True)
    parser.add_argument("--output-validation", type=Path, required=True)
    parser.add_argument("--output-holdout", type=Path, required=True)
    parser.add_argument("--output-encoding", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True, help="another seed gives another split")
    options = parser.parse_args()
    try:
        splits = split(to_examples(read_snapshot(options.input_snapshot)), seed=options.seed)
    except DataError as error:
        sys.exit(f"error: {error}")
    write_examples(splits["train"], options.output_train / TRAIN_FILE)
    write_examples(splits["validation"], options.output_validation / VALIDATION_FILE)
    write_examples(splits["holdout"], options.output_holdout / HOLDOUT_FILE)
    options.output_encoding.mkdir(parents=True, exist_ok=True)
    encoding = json.dumps(fit_encoding(splits["train"]), indent=1, sort_keys=True)
    (options.output_encoding / ENCODING_FILE).write_text(encoding, encoding="utf-8")


def read_snapshot(folder: Path) -> list[Example]:
    """The snapshot's rows: features, then the label, as the contract orders them."""
    data = folder / "data"
    if not data.is_dir():
        raise DataError(f"the snapshot has no folder data/, only {sorted(path.name for path in folder.iterdir())}")
    table = pq.read_table(data)
    columns = (*FEATURES, LABEL)
    if absent := [name for name in columns if name not in table.column_names]:
        raise DataError(f"the snapshot lacks the columns {absent}; it has {table.column_names}")
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def write_examples(examples: list[Example], path: Path) -> None:
    """Write one split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = zip(*examples, strict=True)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path)
    print(f"{path.stem}: {len(examples)} rows, {sum(example[-1] for example in examples)} positive")


if __name__ == "__main__":
    main()

"""Fit the baseline on the train split; write its `scores.parquet` of the holdout, row by row, and `baseline.json`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import BASELINE_FILE, SCORES_FILE, DataError
from ..tables import columns_to_matrix, labels_of, read_encoding, read_split
from .logic import fit, score, summary


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step; a mistake in the data ends it with one sentence."""
    parser = argparse.ArgumentParser(prog="baseline", description=__doc__)
    parser.add_argument("--input-train", type=Path, required=True)
    parser.add_argument("--input-holdout", type=Path, required=True)
    parser.add_argument("--input-encoding", type=Path, required=True)
    parser.add_argument("--output-baseline", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        encoding = read_encoding(options.input_encoding)
        train = read_split(options.input_train, "train")
        labels = labels_of(train)
        model = fit(columns_to_matrix(train, encoding), labels, encoding=encoding)
        scores = score(model, columns_to_matrix(read_split(options.input_holdout, "holdout"), encoding))
    except DataError as error:
        sys.exit(f"error: {error}")
    report = summary(model, rows=len(labels))
    options.output_baseline.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"score": scores}), options.output_baseline / SCORES_FILE)
    text = json.dumps(report, indent=1, sort_keys=True, allow_nan=False)
    (options.output_baseline / BASELINE_FILE).write_text(text, encoding="utf-8")
    print(f"scored {len(scores)} holdout rows: {report}")


if __name__ == "__main__":
    main()

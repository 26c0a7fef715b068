"""Split a host's share of the snapshot by a hash of each row's content, batch by batch; fit the encoding of categories.

Writes `part-<host>.parquet` of each split and `part-<host>.json` of the encoding, which knows the train split alone.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..contract import DataError
from .files import SplitFile, read_snapshot
from .logic import SPLITS, check_classes, encoding_of, split_of, to_examples


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step; a mistake in the data ends it with one sentence."""
    parser = argparse.ArgumentParser(prog="preprocess", description=__doc__)
    parser.add_argument("--input-snapshot", type=Path, required=True, help="folder with data/part-*.parquet")
    parser.add_argument("--output-train", type=Path, required=True)
    parser.add_argument("--output-validation", type=Path, required=True)
    parser.add_argument("--output-holdout", type=Path, required=True)
    parser.add_argument("--output-encoding", type=Path, required=True)
    parser.add_argument("--resource-config", type=Path, required=True, help="JSON that names this host and all hosts")
    parser.add_argument("--seed", type=int, required=True, help="another seed gives another split")
    options = parser.parse_args(arguments)
    # https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
    resources = json.loads(options.resource_config.read_text(encoding="utf-8"))
    host = resources["current_host"]
    files = {name: SplitFile(getattr(options, f"output_{name}") / f"part-{host}.parquet") for name in SPLITS}
    try:
        write_splits(options.input_snapshot, files, seed=options.seed)
        if len(resources["hosts"]) == 1:  # of several, one may have got too little; who reads all parts checks
            check_classes(
                {name: file.rows for name, file in files.items()},
                {name: file.positives for name, file in files.items()},
            )
    except DataError as error:
        sys.exit(f"error: {error}")
    encoding = json.dumps(encoding_of(files["train"].categories), indent=1, sort_keys=True)
    options.output_encoding.mkdir(parents=True, exist_ok=True)
    (options.output_encoding / f"part-{host}.json").write_text(encoding, encoding="utf-8")
    for name, file in files.items():
        print(f"{name}: {file.rows} rows, {file.positives} positive")


def write_splits(snapshot: Path, files: Mapping[str, SplitFile], *, seed: int) -> None:
    """Put every row of the snapshot into the file of its split."""
    for rows in read_snapshot(snapshot):
        examples = to_examples(rows)
        split = split_of(examples, seed=seed)
        for position, name in enumerate(SPLITS):
            files[name].append(examples.take(np.flatnonzero(split == position)))
    for file in files.values():
        file.close()


if __name__ == "__main__":
    main()

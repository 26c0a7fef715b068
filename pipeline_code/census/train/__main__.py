"""Train and write the model folder, which becomes model.tar.gz: model.json, encoding.json and code/inference.py.

SageMaker gives hyperparameters as arguments and folders as SM_* variables.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from .. import inference
from ..contract import ENCODING_FILE, FEATURES, LABEL, MODEL_FILE, TRAIN_FILE, VALIDATION_FILE
from ..inference import Row
from .logic import Examples, fit


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--num_round", type=int, required=True)
    parser.add_argument("--early_stopping_rounds", type=int, required=True)
    parser.add_argument("--max_depth", type=int, required=True)
    parser.add_argument("--eta", type=float, required=True)
    parser.add_argument("--subsample", type=float, required=True)
    parser.add_argument("--min_child_weight", type=float, required=True)
    hyperparameters = vars(parser.parse_args())
    encoding = Path(os.environ["SM_CHANNEL_ENCODING"]) / ENCODING_FILE
    booster = fit(
        read_examples(Path(os.environ["SM_CHANNEL_TRAIN"]) / TRAIN_FILE),
        read_examples(Path(os.environ["SM_CHANNEL_VALIDATION"]) / VALIDATION_FILE),
        encoding=json.loads(encoding.read_text(encoding="utf-8")),
        **hyperparameters,
    )
    folder = Path(os.environ["SM_MODEL_DIR"])
    (folder / "code").mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / MODEL_FILE)
    shutil.copyfile(encoding, folder / ENCODING_FILE)
    shutil.copyfile(inference.__file__, folder / "code" / "inference.py")
    print(f"kept {booster.num_boosted_rounds()} rounds")


def read_examples(path: Path) -> Examples:
    """The rows of a split, and their labels."""
    table = pq.read_table(path)
    rows: list[Row] = list(zip(*(table.column(name).to_pylist() for name in FEATURES), strict=True))
    return rows, table.column(LABEL).to_pylist()


if __name__ == "__main__":
    main()

"""Run preprocess and then train in one training job, on the parquet files of the channel `data`.

The outer loop runs it on a sample before it pays for the inner loop; a project without an inner loop, on everything.
Hyperparameters and what becomes of the model are those of train.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from ..preprocess.__main__ import main as preprocess
from ..train.__main__ import main as train

SPLITS = ("train", "validation", "holdout", "encoding")


def main() -> None:
    """Give preprocess a snapshot that holds the channel's files, and train what preprocess wrote."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        snapshot = folder / "snapshot"
        snapshot.mkdir()
        (snapshot / "data").symlink_to(os.environ["SM_CHANNEL_DATA"])
        preprocess(
            [
                f"--input-snapshot={snapshot}",
                *(f"--output-{split}={folder / split}" for split in SPLITS),
                f"--resource-config={Path(os.environ['SM_INPUT_CONFIG_DIR']) / 'resourceconfig.json'}",
                "--seed=17",
            ]
        )
        os.environ.update({f"SM_CHANNEL_{split.upper()}": str(folder / split) for split in SPLITS})
        train()


if __name__ == "__main__":
    main()

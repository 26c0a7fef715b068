"""Train and write the model folder, which becomes model.tar.gz: model.json, encoding.json and code/inference.py.

SageMaker gives hyperparameters as arguments and folders as SM_* variables. With Spot, CHECKPOINT_DIR names the folder
from which an interrupted training goes on.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from .. import inference
from ..contract import ENCODING_FILE, INFERENCE_FILE, MODEL_FILE, DataError
from ..tables import read_encoding, read_split
from .checkpoints import FolderCheckpoints, fingerprint
from .hyperparameters import parser
from .logic import fit, to_dmatrix


def main() -> None:
    """Run the step; a mistake in the data or in a hyperparameter ends it with one sentence."""
    hyperparameters = vars(parser(__doc__).parse_args())
    channels = {name: Path(os.environ[f"SM_CHANNEL_{name.upper()}"]) for name in ("train", "validation", "encoding")}
    checkpoints = None
    if folder := os.environ.get("CHECKPOINT_DIR"):
        identity = fingerprint(hyperparameters, list(channels.values()))
        checkpoints = FolderCheckpoints(Path(folder), fingerprint=identity)
    try:
        encoding = read_encoding(channels["encoding"])
        train = to_dmatrix(read_split(channels["train"], "train"), "train", encoding=encoding)
        validation = to_dmatrix(
            read_split(channels["validation"], "validation"), "validation", encoding=encoding, reference=train
        )
    except DataError as error:
        sys.exit(f"error: {error}")
    booster, score = fit(train, validation, checkpoints=checkpoints, **hyperparameters)
    model = Path(os.environ["SM_MODEL_DIR"])
    (model / INFERENCE_FILE).parent.mkdir(parents=True, exist_ok=True)
    booster.save_model(model / MODEL_FILE)
    (model / ENCODING_FILE).write_text(json.dumps(encoding, indent=1, sort_keys=True), encoding="utf-8")
    shutil.copyfile(inference.__file__, model / INFERENCE_FILE)
    rounds = booster.num_boosted_rounds()
    print(f"kept {rounds} rounds")
    # The tuner's objective, in the only words it knows for this image: requests cannot define metrics of their own.
    # https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
    print(f"[{rounds - 1}]#011validation-auc:{score.auc:.6f}")


if __name__ == "__main__":
    main()

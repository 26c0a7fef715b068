"""Training's newest state in a folder that SageMaker keeps in S3 while a Spot instance may be taken away.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xgboost as xgb

from .. import contract, tables

_DIGEST = 32


class FolderCheckpoints:
    """One file, `<fingerprint>.checkpoint`: the folder outlives the job and may hold those of other trainings."""

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint}.checkpoint"

    def load(self) -> bytes | None:
        """The state of this training if it was kept whole; what is ignored is said in one line."""
        others = [path.name for path in self.path.parent.glob("*.checkpoint") if path != self.path]
        if others:
            print(f"ignored {len(others)} checkpoints of other data, code or hyperparameters")
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        digest, state = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(state).digest() != digest:
            print(f"ignored the corrupt checkpoint {self.path.name}")
            return None
        return state

    def save(self, state: bytes) -> None:
        """Replace the file as a whole: whoever reads it, whenever, finds a state that was complete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SageMaker does not upload files of this suffix:
        # https://github.com/aws/sagemaker-xgboost-container/blob/master/src/sagemaker_xgboost_container/checkpointing.py
        unfinished = self.path.with_suffix(".sagemaker-ignore")
        unfinished.write_bytes(hashlib.sha256(state).digest() + state)
        unfinished.replace(self.path)


def fingerprint(hyperparameters: Mapping[str, Any], data: Sequence[Path]) -> str:
    """Equal only for trainings that give the same model: of hyperparameters, the folders of data, code and library."""
    digest = hashlib.sha256(json.dumps([hyperparameters, xgb.__version__], sort_keys=True).encode())
    code = [*Path(__file__).parent.glob("*.py"), Path(contract.__file__), Path(tables.__file__)]
    files = [path for folder in data for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in [*sorted(code), *files]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]

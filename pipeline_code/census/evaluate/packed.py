"""A model.tar.gz as an endpoint would run it: through the inference.py and the encoding that are packed inside."""

import importlib.util
import json
import math
import tarfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb

from ..contract import ENCODING_FILE, INFERENCE_FILE, DataError
from ..tables import columns_to_matrix

ROWS_A_REQUEST = 10_000
PROOF_ROWS = 500
_JSON = "application/json"


class NoAnswer(DataError):
    """A model that does not answer what it is asked."""


class PackedModel:
    """An unpacked model that answers requests; `name` is what errors call it."""

    def __init__(self, archive: Path, *, folder: Path, name: str) -> None:
        """Unpack into `folder` and load; DataError for what is no model, NoAnswer for one that does not load."""
        self._name = name
        unpack(archive, folder=folder, name=name)
        try:
            self.encoding: dict[str, Any] = json.loads((folder / ENCODING_FILE).read_text(encoding="utf-8"))
            self._features: list[str] = self.encoding["features"]
            self._kinds = ["c" if feature in self.encoding["categories"] else "q" for feature in self._features]
            self._inference = _load(folder / INFERENCE_FILE, "inference_of_the_" + name.replace(" ", "_"))
            self._model = self._inference.model_fn(str(folder))
        except Exception as error:  # whatever code of another day may raise
            raise NoAnswer(f"the {name} cannot be loaded: {_first_line(error)}") from error

    def answer(self, body: str, content_type: str) -> list[float]:
        """The predictions for a request, all handlers passed."""
        try:
            prediction = self._inference.predict_fn(self._inference.input_fn(body, content_type), self._model)
            text, _ = self._inference.output_fn(prediction, _JSON)
            answers = [float(value) for value in json.loads(text)["predictions"]]
        except Exception as error:
            raise NoAnswer(f"the {self._name} does not answer: {_first_line(error)}") from error
        if not all(map(math.isfinite, answers)):
            raise NoAnswer(f"the {self._name} does not answer: among its predictions are some that are no numbers")
        return answers

    def scores(self, table: pa.Table) -> np.ndarray:
        """The probability of the positive class for each row, as the endpoint would answer.

        Rows go as one matrix, which is a hundred times faster, if that gives exactly the endpoint's answers to rows
        taken evenly from everywhere; else all of them go through the handlers.
        """
        proof = np.unique(np.linspace(0, table.num_rows - 1, min(table.num_rows, PROOF_ROWS)).astype(int))
        answers = self._answers(table.take(proof))
        scores = self._predict(table)
        if scores is not None and np.array_equal(scores[proof], answers):
            return scores
        print(f"the {self._name} answers request by request: its matrix gives other answers than its handlers")
        chunks = range(0, table.num_rows, ROWS_A_REQUEST)
        return np.concatenate([self._answers(table.slice(at, ROWS_A_REQUEST)) for at in chunks])

    def importance(self) -> dict[str, float]:
        """The gain of each feature where the booster splits on it, and 0 for one that it never uses."""
        booster = getattr(self._model, "booster", None)
        gains: dict[str, Any] = booster.get_score(importance_type="gain") if booster is not None else {}
        return {name: round(float(gains.get(name, 0.0)), 6) for name in self._features}

    def _answers(self, table: pa.Table) -> np.ndarray:
        # By name, not by position: the champion may have learned from columns in another order, or from fewer.
        if absent := [name for name in self._features if name not in table.column_names]:
            raise NoAnswer(f"the {self._name} learned from columns that the data no longer holds: {absent}")
        answers = self.answer(json.dumps({"instances": table.select(self._features).to_pylist()}), _JSON)
        if len(answers) != table.num_rows:
            raise NoAnswer(f"the {self._name} gives {len(answers)} answers to {table.num_rows} rows")
        return np.array(answers)

    def _predict(self, table: pa.Table) -> np.ndarray | None:
        try:
            matrix = xgb.DMatrix(
                columns_to_matrix(table, self.encoding),
                feature_names=self._features,
                feature_types=self._kinds,
                enable_categorical=True,
            )
            return np.asarray(self._model.booster.predict(matrix), dtype=np.float64)
        except Exception:  # a model of another make: its handlers are asked
            return None


def unpack(archive: Path, *, folder: Path, name: str) -> None:
    """Unpack a model.tar.gz, refusing in one sentence what is none, is cut short or lacks a part."""
    if not archive.is_file():
        found = sorted(path.name for path in archive.parent.glob("*"))
        raise DataError(f"the {name} has no {archive.name}, only {found}; look at the step that trained it")
    try:
        with tarfile.open(archive, "r:gz") as opened:
            opened.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"the {name}'s {archive.name} is no whole tar.gz ({error}); train it again") from error
    if absent := [path for path in (INFERENCE_FILE, ENCODING_FILE) if not (folder / path).is_file()]:
        raise DataError(f"the {name}'s {archive.name} lacks {absent}; it must hold what the train step packs")


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

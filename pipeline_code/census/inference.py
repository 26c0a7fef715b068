"""Answers requests with the trained model; the train step packs this file into the model as code/inference.py.

Stands alone: it knows the columns from the encoding.json beside the model. A value that is missing, or a category that
the training data did not hold, is missing to the model, which learned a direction for it at every split.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost as xgb

MODEL_FILE = "model.json"
ENCODING_FILE = "encoding.json"
_LARGEST = float(np.finfo(np.float32).max)  # the booster computes in float32

Encoding = dict[str, Any]
Row = Sequence[Any] | dict[str, Any]


class Model(NamedTuple):
    """What a request is answered with."""

    booster: xgb.Booster
    encoding: Encoding


class RequestError(ValueError):
    """A request that does not fit the model; the sentence goes to the client."""

    status_code = 400


def model_fn(model_dir: str) -> Model:
    """The model and its encoding, from the folder that model.tar.gz was unpacked into."""
    folder = Path(model_dir)
    encoding = json.loads((folder / ENCODING_FILE).read_text(encoding="utf-8"))
    return Model(xgb.Booster(model_file=folder / MODEL_FILE), encoding)


def input_fn(body: str | bytes, content_type: str) -> list[Row]:
    """Rows of a request: lists from text/csv (no header, no label), dictionaries from application/json."""
    text = _text(body)
    kind = content_type.split(";")[0].strip().lower()
    if kind == "text/csv":
        rows: list[Row] = _records(text)
    elif kind == "application/json":
        rows = _instances(text)
    else:
        raise RequestError(f"content type must be text/csv or application/json, got {content_type!r}")
    if not rows:
        raise RequestError("the request holds no rows")
    return rows


def predict_fn(rows: list[Row], model: Model) -> np.ndarray:
    """The probability of the positive class for each row."""
    return model.booster.predict(to_matrix(rows, model.encoding))


def output_fn(prediction: np.ndarray, accept: str) -> tuple[str, str]:
    """The answer as JSON, the one format offered."""
    if accept.split(";")[0].strip().lower() not in ("application/json", "application/*", "*/*", ""):
        raise RequestError(f"accept must be application/json, got {accept!r}")
    return json.dumps({"predictions": [float(value) for value in prediction]}), "application/json"


def to_matrix(rows: Sequence[Row], encoding: Encoding) -> xgb.DMatrix:
    """What the booster predicts on: categories as such, in the encoding's order."""
    kinds = ["c" if name in encoding["categories"] else "q" for name in encoding["features"]]
    return xgb.DMatrix(
        encode(rows, encoding),
        feature_names=encoding["features"],
        feature_types=kinds,
        enable_categorical=True,
    )


def encode(rows: Sequence[Row], encoding: Encoding) -> np.ndarray:
    """Rows as numbers: a category is its position among those of the training data, whatever is missing is NaN."""
    features = encoding["features"]
    missing = frozenset(encoding["missing"])
    positions = {name: {value: at for at, value in enumerate(known)} for name, known in encoding["categories"].items()}
    numbers = np.full((len(rows), len(features)), np.nan, dtype=np.float32)
    for at, row in enumerate(rows):
        for column, (name, value) in enumerate(zip(features, _values(row, features, at), strict=True)):
            text = value.strip() if isinstance(value, str) else value
            if text is None or (isinstance(text, str) and text in missing):
                continue
            if name not in positions:
                numbers[at, column] = _number(text, name, at)
            elif isinstance(text, str):
                numbers[at, column] = positions[name].get(text, np.nan)
            else:
                raise RequestError(f"row {at + 1}: {name} must be text, got {text!r}")
    return numbers


def _text(body: str | bytes) -> str:
    try:
        return body if isinstance(body, str) else body.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError("the body must be text in UTF-8") from None


def _records(text: str) -> list[Row]:
    try:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise RequestError(f"the body must be CSV, got {error}") from None


def _instances(text: str) -> list[Row]:
    try:
        instances = json.loads(text)["instances"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RequestError('the body must be a JSON object {"instances": [{column: value, ...}, ...]}') from None
    if not isinstance(instances, list):
        raise RequestError(f"instances must be a list, got {type(instances).__name__}")
    return instances


def _values(row: Row, features: list[str], at: int) -> Sequence[Any]:
    if isinstance(row, dict):
        unknown = sorted(set(row) - set(features))
        if unknown:
            raise RequestError(f"row {at + 1} has unknown columns {unknown}; known are {features}")
        return [row.get(name) for name in features]
    if not isinstance(row, list | tuple) or len(row) != len(features):
        raise RequestError(f"row {at + 1} must hold the {len(features)} columns {features}, got {row!r}")
    return row


def _number(value: Any, name: str, at: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if isinstance(value, bool) or not abs(number) <= _LARGEST:
        raise RequestError(f"row {at + 1}: {name} must be a number, got {value!r}")
    return number

"""Answers requests with the trained model; the train step packs this file into the model as code/inference.py.

Stands alone: it knows the columns from the encoding.json beside the model. A value that is missing, or a category that
the training data did not hold, is missing to the model, which learned a direction for it at every split.
"""

import csv
import io
import json
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost as xgb

# The XGBoost image serves with AWS's inference toolkit. It answers 500 for every exception but its own, which carry
# their status; and it decodes text before a handler sees it, so that bytes that are none would be a 500 too. Without
# types to decode, the body arrives as it was sent, and input_fn judges it.
# https://github.com/aws/sagemaker-xgboost-container (handler_service.py)
# https://github.com/aws/sagemaker-inference-toolkit (transformer.py, errors.py; alike from 1.5.5 to 1.10.1)
try:
    from sagemaker_inference import content_types  # type: ignore[import-not-found]
    from sagemaker_inference.errors import BaseInferenceToolkitError  # type: ignore[import-not-found]
except ImportError:  # the evaluation runs the handlers where nothing serves

    class BaseInferenceToolkitError(Exception):  # type: ignore[no-redef]
        """What the toolkit answers with its own status."""

        def __init__(self, status_code: int, message: str, phrase: str) -> None:
            super().__init__(status_code, message, phrase)
            self.status_code, self.message, self.phrase = status_code, message, phrase
else:
    content_types.UTF8_TYPES.clear()

MODEL_FILE = "model.json"
ENCODING_FILE = "encoding.json"
_LARGEST = float(np.finfo(np.float32).max)  # the booster computes in float32
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # Python alone would take 1_000 as well

Encoding = dict[str, Any]
Row = Sequence[Any] | dict[str, Any]


class Model(NamedTuple):
    """What a request is answered with."""

    booster: xgb.Booster
    encoding: Encoding


class RequestError(BaseInferenceToolkitError):  # type: ignore[misc]
    """A request that does not fit the model: 400, with a sentence for the client."""

    def __init__(self, sentence: str) -> None:
        super().__init__(400, sentence, "Bad Request")

    def __str__(self) -> str:
        return str(self.message)


def model_fn(model_dir: str) -> Model:
    """The model and its encoding, from the folder that model.tar.gz was unpacked into."""
    folder = Path(model_dir)
    encoding = json.loads((folder / ENCODING_FILE).read_text(encoding="utf-8"))
    return Model(xgb.Booster(model_file=folder / MODEL_FILE), encoding)


def input_fn(body: str | bytes | None, content_type: str | None) -> list[Row]:
    """Rows of a request: lists from text/csv (no header, no label), dictionaries from application/json."""
    text = _text(body or b"")
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind == "text/csv":
        rows: list[Row] = _records(text)
    elif kind == "application/json":
        rows = _instances(text)
    else:
        raise RequestError(f"content type must be text/csv or application/json, got {_shown(content_type)}")
    if not rows:
        raise RequestError("the request holds no rows")
    return rows


def predict_fn(rows: list[Row], model: Model) -> np.ndarray:
    """The probability of the positive class for each row."""
    return model.booster.predict(to_matrix(rows, model.encoding))


def output_fn(prediction: np.ndarray, accept: str) -> tuple[str, str]:
    """The answer as JSON, or as text/csv: one number a line, in the order of the rows."""
    numbers = [float(value) for value in prediction]
    for each in accept.split(","):
        kind = each.split(";")[0].strip().lower()
        if kind in ("application/json", "application/*", "*/*", ""):
            return json.dumps({"predictions": numbers}), "application/json"
        if kind in ("text/csv", "text/*"):
            return "\n".join(map(repr, numbers)), "text/csv"
    raise RequestError(f"accept must be application/json or text/csv, got {_shown(accept)}")


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
                raise RequestError(f"row {at + 1}: {name} must be text, got {_shown(text)}")
    return numbers


def _shown(value: Any) -> str:
    """A value in a sentence: short, however long or deep it is, and in characters that every log takes."""
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode()


def _text(body: str | bytes) -> str:
    try:
        return body if isinstance(body, str) else body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"the body must be text in UTF-8, got another byte at {error.start}") from None


def _records(text: str) -> list[Row]:
    rows: list[Row] = []
    try:
        for row in csv.reader(io.StringIO(text)):
            # Skipped, it would put every later answer of a batch on the wrong line.
            if not row:
                raise RequestError(f"row {len(rows) + 1} is an empty line: leave it out")
            rows.append(row)
    except csv.Error as error:
        raise RequestError(f"the body must be CSV, got {error}") from None
    return rows


def _instances(text: str) -> list[Row]:
    try:
        instances = json.loads(text, object_pairs_hook=_object)["instances"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RequestError('the body must be a JSON object {"instances": [{column: value, ...}, ...]}') from None
    if not isinstance(instances, list):
        raise RequestError(f"instances must be a list, got {type(instances).__name__}")
    return instances


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    times = Counter(name for name, _ in pairs)
    if len(times) < len(pairs):
        raise RequestError(f"{_shown(times.most_common(1)[0][0])} is given more than once")
    return dict(pairs)


def _values(row: Row, features: list[str], at: int) -> Sequence[Any]:
    if isinstance(row, dict):
        unknown = sorted(set(row) - set(features))
        if unknown:
            raise RequestError(f"row {at + 1} has unknown columns {_shown(unknown)}; known are {features}")
        return [row.get(name) for name in features]
    if not isinstance(row, list | tuple) or len(row) != len(features):
        got = f"{len(row)}: {_shown(row)}" if isinstance(row, list | tuple) else _shown(row)
        raise RequestError(f"row {at + 1} must hold the {len(features)} columns {features}, got {got}")
    if list(row) == features:
        raise RequestError(f"row {at + 1} is a header: leave it out, columns are known by their order")
    return row


def _number(value: Any, name: str, at: int) -> float:
    try:
        number = float(value) if not isinstance(value, str) or _DECIMAL.fullmatch(value) else np.nan
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if isinstance(value, bool) or not abs(number) <= _LARGEST:
        raise RequestError(f"row {at + 1}: {name} must be a number, got {_shown(value)}")
    return number

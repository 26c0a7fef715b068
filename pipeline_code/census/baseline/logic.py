"""The baseline: a linear model that any candidate must beat; arrays in, arrays out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ..contract import DataError

DESCRIPTION = "logistic regression fitted on the same train split and judged on the same holdout"

# A line through twelve columns is settled long before this; more rows would only cost memory.
MOST_ROWS = 1_000_000


def fit(matrix: np.ndarray, labels: np.ndarray, *, encoding: Mapping[str, Any]) -> Pipeline:
    """The fitted pipeline: numbers scaled with gaps at the mean, categories one-hot with a column for the missing."""
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise DataError(
            f"the train split must hold both classes, got {positives} positive of {len(labels)} rows; "
            "look at what preprocess wrote"
        )
    features = encoding["features"]
    categorical = [at for at, name in enumerate(features) if name in encoding["categories"]]
    numeric = [at for at in range(len(features)) if at not in categorical]
    columns = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numeric),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), categorical),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    every = -(-len(labels) // MOST_ROWS)
    return model.fit(matrix[::every].astype(np.float64), labels[::every])


def score(model: Pipeline, matrix: np.ndarray) -> np.ndarray:
    """The probability of the positive class for each row."""
    return np.asarray(model.predict_proba(matrix.astype(np.float64))[:, 1])


def summary(model: Pipeline, *, rows: int) -> dict[str, Any]:
    """What baseline.json says of the fit."""
    regression = model[-1]
    return {
        "description": DESCRIPTION,
        "train_rows": rows,
        "inputs": int(regression.n_features_in_),
        "iterations": int(regression.n_iter_[0]),
    }

"""Fit the booster; deterministic for given data and hyperparameters."""

from typing import Any

import xgboost as xgb

from ..inference import Encoding, Row, to_matrix

SEED = 17

Examples = tuple[list[Row], list[int]]


def fit(
    train: Examples,
    validation: Examples,
    *,
    encoding: Encoding,
    num_round: int,
    early_stopping_rounds: int,
    **parameters: Any,
) -> xgb.Booster:
    """The booster up to its best round on the validation split; `parameters` are XGBoost's own."""
    train_matrix = to_matrix(train[0], encoding, labels=train[1])
    validation_matrix = to_matrix(validation[0], encoding, labels=validation[1])
    booster = xgb.train(
        {
            **parameters,
            "objective": "binary:logistic",
            "eval_metric": ["auc", "logloss"],  # the last one stops training
            "tree_method": "hist",
            "seed": SEED,
        },
        train_matrix,
        num_boost_round=num_round,
        evals=[(train_matrix, "train"), (validation_matrix, "validation")],
        early_stopping_rounds=early_stopping_rounds,
        verbose_eval=25,
    )
    return booster[: booster.best_iteration + 1]

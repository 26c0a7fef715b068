"""Fit the booster; deterministic for given data and hyperparameters, in one go or in several."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import xgboost as xgb

from ..contract import LABEL, POSITIVE, DataError
from ..tables import Encoding, columns_to_matrix, labels_of

SEED = 17
CHECKPOINT_ROUNDS = 10


class Score(NamedTuple):
    """How the validation split is predicted after a round."""

    auc: float
    logloss: float


class Fitted(NamedTuple):
    """The booster up to its best round, and its score there."""

    booster: xgb.Booster
    score: Score


class Checkpoints(Protocol):
    """Keeps the newest state of training where an interruption does not reach it."""

    def load(self) -> bytes | None:
        """The state kept last, if there is one."""

    def save(self, state: bytes) -> None:
        """Keep this state."""


def to_dmatrix(
    table: pa.Table, name: str, *, encoding: Encoding, reference: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    """The split `name` as the booster reads it: a byte or two a value, binned as the `reference` if there is one."""
    labels = labels_of(table)
    if not 0 < (positives := int(labels.sum())) < len(labels):
        raise DataError(
            f"the {name} split has {len(labels)} rows, {positives} of them {POSITIVE!r}; "
            f"a classifier needs both values of {LABEL}"
        )
    return xgb.QuantileDMatrix(
        columns_to_matrix(table, encoding),
        label=labels,
        feature_names=encoding["features"],
        feature_types=["c" if name in encoding["categories"] else "q" for name in encoding["features"]],
        enable_categorical=True,
        ref=reference,
    )


def fit(
    train: xgb.QuantileDMatrix,
    validation: xgb.QuantileDMatrix,
    *,
    num_round: int,
    early_stopping_rounds: int,
    subsample: float = 1.0,
    checkpoints: Checkpoints | None = None,
    report: Callable[[str], None] = print,
    **parameters: Any,
) -> Fitted:
    """Boost until `num_round`, or until the log loss on the validation split gains nothing for so many rounds.

    `parameters` are XGBoost's own.
    """
    booster, scores = _begin(checkpoints, [train, validation], parameters)
    if scores:
        report(f"resumed after round {len(scores)}")
    while len(scores) < num_round and len(scores) - _best(scores) < early_stopping_rounds:
        at = len(scores)
        if subsample < 1:
            train.set_weight(_drawn(train.num_row(), share=subsample, at=at))
        booster.update(train, at)
        scores.append(_score(booster, validation, at))
        if len(scores) % CHECKPOINT_ROUNDS == 0:
            report(f"round {len(scores)}: validation auc {scores[-1].auc:.6f}, log loss {scores[-1].logloss:.6f}")
            if checkpoints:
                checkpoints.save(_state(booster, scores))
    best = _best(scores)
    return Fitted(booster[:best], scores[best - 1])


def _begin(
    checkpoints: Checkpoints | None, data: list[xgb.QuantileDMatrix], parameters: dict[str, Any]
) -> tuple[xgb.Booster, list[Score]]:
    """The booster and the scores so far: as kept, or new."""
    state = checkpoints.load() if checkpoints else None
    booster = xgb.Booster(
        {
            **parameters,
            "objective": "binary:logistic",
            "eval_metric": list(Score._fields),
            "tree_method": "hist",
            "seed": SEED,
        },
        cache=data,
        model_file=None if state is None else bytearray(state),
    )
    scores = [Score(*score) for score in json.loads(booster.attr("scores") or "[]")]
    booster.set_attr(scores=None)
    return booster, scores


def _state(booster: xgb.Booster, scores: list[Score]) -> bytes:
    booster.set_attr(scores=json.dumps(scores))
    state = bytes(booster.save_raw("ubj"))
    booster.set_attr(scores=None)
    return state


def _best(scores: list[Score]) -> int:
    """How many rounds give the lowest log loss, the fewest of them if several do."""
    return min(range(len(scores)), key=lambda at: scores[at].logloss) + 1 if scores else 0


def _score(booster: xgb.Booster, validation: xgb.QuantileDMatrix, at: int) -> Score:
    # "[7]\tvalidation-auc:0.93\tvalidation-logloss:0.29", in the order of eval_metric
    return Score(*(float(part.rpartition(":")[2]) for part in booster.eval(validation, "validation", at).split()[1:]))


def _drawn(rows: int, *, share: float, at: int) -> np.ndarray:
    """Weights that leave a share of the rows in.

    XGBoost's own `subsample` draws from a generator that restarts with the process, even with `seed_per_iteration`, so
    a resumed training would draw other rows.
    """
    return (np.random.default_rng([SEED, at]).random(rows, dtype=np.float32) < share).astype(np.float32)

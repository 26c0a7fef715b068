"""The evaluation itself: what every model says of one holdout, in; evaluation.json, out. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import DataError
from .comparison import bootstrap_auc, gate, percentile_interval, segments
from .metrics import all_or_null, are_probabilities, auc, confusion, curves, deviations, metrics, or_null

COMPARE_NOT = "start the run with CompareWithChampion=false if it shall be replaced all the same"


@dataclass(frozen=True)
class Policy:
    """What a challenger must reach; `segments` maps a column to its values, row by row of the holdout."""

    floors: Mapping[str, float]
    max_auc_drop: float
    compare_with_champion: bool
    segments: Mapping[str, Sequence[Any]]
    seed: int


@dataclass(frozen=True)
class Tuning:
    """The scores of the tuned model and of the default one on the holdout, and their AUCs on the validation split."""

    default: np.ndarray
    tuned: np.ndarray
    validation_auc: Mapping[str, float]


@dataclass(frozen=True)
class Holdout:
    """Labels, and each model's scores of the same rows; the champion's trouble says why it has none."""

    labels: np.ndarray
    challenger: np.ndarray
    baseline: np.ndarray
    champion: np.ndarray | None = None
    champion_trouble: str | None = None


def choose(validation_auc: Mapping[str, float]) -> str:
    """The challenger among the candidates, by AUC on the validation split; the first one wins a tie."""
    return max(validation_auc, key=lambda name: validation_auc[name])


def evaluation(
    holdout: Holdout,
    *,
    policy: Policy,
    source: str,
    baseline_description: str,
    tuning: Tuning | None = None,
    importance: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The report in Model Monitor's model-quality layout, and what the gate made of it.

    A metric that cannot be computed is null and never passes.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
    """
    labels, scores, seed = holdout.labels, holdout.challenger, policy.seed
    check_classes(labels, "holdout")
    judged = [scores] if holdout.champion is None else [scores, holdout.champion]
    sound = all(are_probabilities(column) for column in judged)
    resampled = bootstrap_auc(labels, judged, seed=seed) if sound else None
    values = metrics(labels, scores)
    spread = deviations(
        labels, scores, auc_deviation=math.nan if resampled is None else float(resampled[:, 0].std(ddof=1)), seed=seed
    )
    baseline = metrics(labels, holdout.baseline)
    champion = None
    if holdout.champion is not None:
        champion = _champion(labels, holdout.champion, values["auc"], resampled, margin=policy.max_auc_drop)
    compared = policy.compare_with_champion and (champion is not None or holdout.champion_trouble is not None)
    reasons = gate(
        values,
        baseline_auc=baseline["auc"],
        floors=policy.floors,
        margin=policy.max_auc_drop,
        champion=champion if compared else None,
    )
    if compared and champion is None:
        reasons.append(f"{holdout.champion_trouble}, so it cannot be compared with; {COMPARE_NOT}")
    table = (
        segments(labels, scores, holdout.champion, columns=policy.segments, margin=policy.max_auc_drop, seed=seed)
        if sound
        else []
    )
    tuned = _tuning(labels, tuning, source=source, seed=seed)
    return {
        "binary_classification_metrics": {
            **{
                name: {"value": or_null(value), "standard_deviation": or_null(spread[name])}
                for name, value in values.items()
            },
            "confusion_matrix": confusion(labels, scores),
            **(curves(labels, scores) if sound else {}),
        },
        "challenger": {"source": source},
        "baseline": {"metrics": all_or_null(baseline), "description": baseline_description},
        "champion": champion,
        "tuning": tuned,
        "segments": table,
        "gate": {"passed": not reasons, "reasons": reasons, "rule": _rule(compared, policy)},
        "warnings": _warnings(table, tuned, holdout, policy),
        "dataset": {"rows": len(labels), "positives": int(labels.sum())},
        "importance": dict(importance or {}),
    }


def check_classes(labels: np.ndarray, split: str) -> None:
    """Refuse a split without both classes: no metric is made up for it."""
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise DataError(
            f"the {split} must hold both classes, got {positives} positive of {len(labels)} rows; "
            "give preprocess data of both"
        )


def check_baseline(scores: np.ndarray, *, rows: int) -> np.ndarray:
    """The baseline's scores, if there is one probability for each row of the holdout."""
    if len(scores) != rows:
        raise DataError(
            f"the baseline has {len(scores)} scores for {rows} rows of the holdout; run it on the same holdout"
        )
    if not are_probabilities(scores):
        raise DataError("the baseline's scores must be numbers from 0 to 1; run the baseline step again")
    return scores


def _champion(
    labels: np.ndarray, scores: np.ndarray, challenger_auc: float, resampled: np.ndarray | None, *, margin: float
) -> dict[str, Any]:
    values = metrics(labels, scores)
    found: dict[str, Any] = {"metrics": all_or_null(values), "auc_difference": None, "interval": None}
    if resampled is None:
        return {**found, "sentence": "The two cannot be compared: there are scores that are no probabilities."}
    difference = challenger_auc - values["auc"]
    low, high = percentile_interval(resampled[:, 0] - resampled[:, 1])
    verdict = "it is better" if low > 0 else "it is worse" if high < 0 else "no difference is shown"
    return {
        **found,
        "auc_difference": difference,
        "interval": [low, high],
        "sentence": (
            f"The challenger's AUC is {challenger_auc:.4f}, the champion's on the same rows {values['auc']:.4f}: "
            f"{verdict} ({_with_interval(difference, low, high)}; a loss of at most {margin} is accepted)."
        ),
    }


def _tuning(labels: np.ndarray, tuning: Tuning | None, *, source: str, seed: int) -> dict[str, Any] | None:
    """Tuned against default on the holdout, which neither was chosen on."""
    if tuning is None:
        return None
    validation = all_or_null(tuning.validation_auc)
    if not (are_probabilities(tuning.default) and are_probabilities(tuning.tuned)):
        nothing = dict.fromkeys(("default_auc", "tuned_auc", "difference", "interval"))
        sentence = "Tuned and default cannot be compared: there are scores that are no probabilities."
        return {**nothing, "better": False, "validation_auc": validation, "sentence": sentence}
    default_auc, tuned_auc = auc(labels, tuning.default), auc(labels, tuning.tuned)
    difference = tuned_auc - default_auc
    resampled = bootstrap_auc(labels, [tuning.tuned, tuning.default], seed=seed)
    low, high = percentile_interval(resampled[:, 0] - resampled[:, 1])
    chosen_by = ", ".join(f"{value:.4f} {name}" for name, value in tuning.validation_auc.items())
    verdict = "Tuning beat the default" if low > 0 else "Tuning did not beat the default"
    chance = "; the difference may be chance" if low <= 0 <= high else ""
    return {
        "default_auc": default_auc,
        "tuned_auc": tuned_auc,
        "difference": difference,
        "interval": [low, high],
        "better": low > 0,
        "validation_auc": validation,
        "sentence": (
            f"{verdict} on the holdout: AUC {tuned_auc:.4f} against {default_auc:.4f} "
            f"({_with_interval(difference, low, high)}{chance}). "
            f"The {source} model is the challenger, by its AUC on the validation split: {chosen_by}."
        ),
    }


def _rule(compared: bool, policy: Policy) -> str:
    floors = ", ".join(f"{name} at least {floor}" for name, floor in policy.floors.items())
    if compared:
        return f"{floors}, better than the baseline, and no more than {policy.max_auc_drop} of AUC below the champion"
    why = "there is no champion yet" if policy.compare_with_champion else "the run asked for no comparison"
    return f"{floors}, and better than the baseline; {why}"


def _warnings(
    table: Sequence[Mapping[str, Any]], tuned: Mapping[str, Any] | None, holdout: Holdout, policy: Policy
) -> list[str]:
    found = [
        f"{row['column']} {row['value'] or 'missing'}: AUC fell from {row['champion_auc']:.4f} to {row['auc']:.4f} "
        f"({_with_interval(row['difference'], *row['interval'])})"
        for row in table
        if row["regression"]
    ]
    if tuned is not None and not tuned["better"]:
        found.append(tuned["sentence"])
    if not policy.compare_with_champion and holdout.champion_trouble is not None:
        found.append(f"{holdout.champion_trouble}; the run asked for no comparison")
    elif not policy.compare_with_champion and holdout.champion is not None:
        found.append("the comparison with the champion decided nothing, as the run asked")
    return found


def _with_interval(difference: float, low: float, high: float) -> str:
    return f"{difference:+.4f}, interval {low:+.4f} to {high:+.4f}"

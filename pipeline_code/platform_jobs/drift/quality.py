"""How good the live answers are, once their labels are known; what is kept does not grow with the rows."""

import math

import numpy as np

# Logits up to 40, a score of 4e-18, are counted in steps of 1/2500, a ten-thousandth about a score of one half. Scores
# of rare events lie close to 0, and are told apart there as finely as in the middle.
_REACH, _STEPS = 40.0, 2500
# Fewer of a class say nothing of an AUC.
_LEAST_OF_A_CLASS = 10


class LiveQuality:
    """Counts of labelled answers by class and score; a score counts as positive above 0.5, as in the evaluation."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, int(2 * _REACH * _STEPS) + 1), dtype=np.int64)
        self._right = 0

    def add(self, labels: np.ndarray, scores: np.ndarray) -> None:
        """Count a batch; a score that is no probability is an answer that nobody can judge."""
        sound = (scores >= 0) & (scores <= 1)
        labels, scores = labels[sound], scores[sound]
        with np.errstate(divide="ignore"):
            logits = np.log(scores) - np.log1p(-scores)
        bins = ((np.clip(logits, -_REACH, _REACH) + _REACH) * _STEPS).astype(np.int64)
        np.add.at(self._counts, (labels, bins), 1)
        self._right += int(((scores > 0.5) == (labels == 1)).sum())

    @property
    def rows(self) -> int:
        """How many answers were judged."""
        return int(self._counts.sum())

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, or None without any."""
        return self._right / self.rows if self.rows else None

    @property
    def auc(self) -> float | None:
        """The share of pairs of both classes that the scores order rightly, or None with too few of either.

        Scores whose logits are less than 1/2500 apart may count as a tie, which is half a pair.
        """
        negatives, positives = self._counts
        pairs = int(negatives.sum()) * int(positives.sum())
        if min(negatives.sum(), positives.sum()) < _LEAST_OF_A_CLASS:
            return None
        below = np.cumsum(negatives) - negatives
        return float((positives * (below + negatives / 2)).sum() / pairs)

    @property
    def auc_deviation(self) -> float | None:
        """The standard error of the AUC by Hanley and McNeil, Radiology 143(1), 1982."""
        auc = self.auc
        if auc is None:
            return None
        negatives, positives = map(int, self._counts.sum(axis=1))
        both = auc / (2 - auc) - auc**2
        other = 2 * auc**2 / (1 + auc) - auc**2
        variance = (auc * (1 - auc) + (positives - 1) * both + (negatives - 1) * other) / (negatives * positives)
        return math.sqrt(max(variance, 0.0))


def fall_p_value(drop: float, *deviations: float) -> float:
    """How likely an AUC falls at least so much by the noise of the two samples alone."""
    noise = math.sqrt(sum(deviation**2 for deviation in deviations))
    if noise == 0:
        return 0.0 if drop > 0 else 1.0
    return math.erfc(drop / noise / math.sqrt(2)) / 2

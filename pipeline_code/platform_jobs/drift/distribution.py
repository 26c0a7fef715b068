"""Counts of live values in a baseline's bins; what is kept does not grow with the rows."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MISSING, UNSEEN, BROKEN = "missing", "unseen", "no probability"
_MOST_EXAMPLES = 1000


class NumericCounts:
    """A number's bins: counts[i] are the values from edges[i-1] up to, but without, edges[i]; the ends are open."""

    kind = "numeric"

    def __init__(self, baseline: Mapping[str, Any], missing: frozenset[str]) -> None:
        self._edges = np.asarray(baseline["edges"], dtype=np.float64)
        self._missing_texts = missing
        self.baseline = [*baseline["counts"], baseline["missing"]]
        self._counts = np.zeros(len(baseline["counts"]), dtype=np.int64)
        self.missing = 0
        self.invalid = 0
        self.unseen = 0

    def add(self, values: Sequence[Any]) -> None:
        """Count a batch; a number arrives as text or as a number."""
        numbers, times = [], []
        for value, count in _times(values):
            text = value.strip() if isinstance(value, str) else value
            if text is None or text in self._missing_texts:
                self.missing += count
                continue
            number = _number(text)
            if math.isfinite(number):
                numbers.append(number)
                times.append(count)
            else:
                self.invalid += count
        if numbers:
            bins = np.searchsorted(self._edges, numbers, side="right")
            np.add.at(self._counts, bins, times)

    @property
    def counts(self) -> list[int]:
        """The live counts, in the order of `baseline`; what is no number is as good as missing."""
        return [*self._counts.tolist(), self.missing + self.invalid]

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        return [*interval_names(self._edges.tolist()), MISSING]

    @property
    def ordered(self) -> int:
        """How many bins, from the first, have an order."""
        return len(self._counts)

    @property
    def examples(self) -> list[str]:
        """Nothing: every number has its bin."""
        return []


class CategoryCounts:
    """A category's values as the model knows them, all others together, and the missing."""

    kind = "categorical"
    ordered = 0
    invalid = 0

    def __init__(self, baseline: Mapping[str, Any], missing: frozenset[str]) -> None:
        self._missing_texts = missing
        self._known = dict.fromkeys(baseline["counts"], 0)
        self.baseline = [*baseline["counts"].values(), baseline["unseen"], baseline["missing"]]
        self.missing = 0
        self.unseen = 0
        self._examples: Counter[str] = Counter()

    def add(self, values: Sequence[Any]) -> None:
        """Count a batch."""
        for value, count in _times(values):
            text = value.strip() if isinstance(value, str) else value
            if text is None or text in self._missing_texts:
                self.missing += count
            elif text in self._known:
                self._known[text] += count
            else:
                self.unseen += count
                # A caller's text may hold half a character, which no file of the report could.
                name = str(text)[:100].encode("utf-8", "backslashreplace").decode()
                if name in self._examples or len(self._examples) < _MOST_EXAMPLES:
                    self._examples[name] += count

    @property
    def counts(self) -> list[int]:
        """The live counts, in the order of `baseline`."""
        return [*self._known.values(), self.unseen, self.missing]

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        return [*self._known, UNSEEN, MISSING]

    @property
    def examples(self) -> list[str]:
        """The most frequent of the values that the model does not know."""
        return [name for name, _ in self._examples.most_common(5)]


class ScoreCounts:
    """The answers' bins, each from edges[i] to edges[i+1], and one for what is no probability: a holdout has none."""

    kind = "predictions"
    missing = 0
    unseen = 0

    def __init__(self, baseline: Mapping[str, Any]) -> None:
        self._edges = np.asarray(baseline["edges"], dtype=np.float64)
        self.baseline = [*baseline["counts"], 0]
        self._counts = np.zeros(len(baseline["counts"]), dtype=np.int64)
        self.invalid = 0

    def add(self, scores: Sequence[float]) -> None:
        """Count a batch."""
        values = np.asarray(scores, dtype=np.float64)
        sound = values[(values >= 0) & (values <= 1)]
        self.invalid += len(values) - len(sound)
        self._counts += np.histogram(sound, bins=self._edges)[0]

    @property
    def counts(self) -> list[int]:
        """The live counts, in the order of `baseline`."""
        return [*self._counts.tolist(), self.invalid]

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        return [*interval_names(self._edges.tolist())[1:-1], BROKEN]

    @property
    def ordered(self) -> int:
        """How many bins, from the first, have an order."""
        return len(self._counts)

    @property
    def examples(self) -> list[str]:
        """Nothing: every score has its bin."""
        return []


def _times(values: Sequence[Any]) -> Iterable[tuple[Any, int]]:
    """Each value with how often it came; one and true are equal to Python, and told apart by their type."""
    return ((value, times) for (_, value), times in Counter(zip(map(type, values), values, strict=True)).items())


def interval_names(edges: Sequence[float]) -> list[str]:
    """What the bins between and beyond the edges hold."""
    if not edges:
        return ["any"]
    # From an edge to the very next number a bin holds that one value, and the bin after it begins above.
    alone = {math.nextafter(edge, math.inf): edge for edge in edges}
    starts = [f"above {alone[edge]:g}" if edge in alone else f"{edge:g}" for edge in edges]
    between = [
        start if alone.get(high) == low else f"{start} to {high:g}"
        for start, (low, high) in zip(starts[:-1], itertools.pairwise(edges), strict=True)
    ]
    return [f"below {edges[0]:g}", *between, starts[-1] if edges[-1] in alone else f"from {edges[-1]:g}"]


def _number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan

"""How a tuning job chooses its next hyperparameters: at random, by a model of what it has seen, or all in turn.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html
"""

import itertools
import math
import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled

Values = Mapping[str, str]
"""Hyperparameters by name, as a training job takes them."""

_CANDIDATES = 512
_FIRST_AT_RANDOM = 3
# beyond two orders of magnitude Auto takes logarithms; how AWS decides is not documented
_WIDE = 100.0


class Range(ABC):
    """The values of one hyperparameter, each at a place between 0 and 1."""

    name: str

    @abstractmethod
    def at(self, place: float) -> str:
        """The value at a place."""

    @abstractmethod
    def encoded(self, value: str) -> list[float]:
        """A value as coordinates, near each other where values are alike."""


@dataclass(frozen=True, kw_only=True)
class Number(Range):
    """Numbers from `low` to `high`, `scale` as ScalingType."""

    name: str
    low: float
    high: float
    scale: str
    is_whole: bool

    @classmethod
    def of(cls, given: Record, *, is_whole: bool) -> "Number":
        """Read an IntegerParameterRange or a ContinuousParameterRange, refusing what AWS refuses."""
        name, scale = given["Name"], given.get("ScalingType", "Auto")
        try:
            low, high = ((int if is_whole else float)(given[member]) for member in ("MinValue", "MaxValue"))
        except ValueError:
            kind = "integers" if is_whole else "numbers"
            raise invalid(
                f"MinValue and MaxValue of {name} must be {kind}, got {given['MinValue']} and {given['MaxValue']}"
            ) from None
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise invalid(f"MinValue of {name} must not be greater than MaxValue, got {low} and {high}")
        if scale == "Logarithmic" and low <= 0:
            raise invalid(f"ScalingType Logarithmic of {name} requires values greater than 0, got {low}")
        if scale == "ReverseLogarithmic" and (is_whole or low < 0 or high >= 1):
            raise invalid(
                f"ScalingType ReverseLogarithmic of {name} requires continuous values in [0, 1), got {low} to {high}"
            )
        if scale == "Auto":
            scale = "Logarithmic" if low > 0 and high / low >= _WIDE else "Linear"
        return cls(name=name, low=low, high=high, scale=scale, is_whole=is_whole)

    def at(self, place: float) -> str:
        """See Range."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = min(max(self._unscaled(low + place * (high - low)), self.low), self.high)
        return str(round(value)) if self.is_whole else repr(value)

    def encoded(self, value: str) -> list[float]:
        """See Range."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return [(self._scaled(float(value)) - low) / (high - low) if high > low else 0.0]

    def _scaled(self, value: float) -> float:
        if self.scale == "Logarithmic":
            return math.log(value)
        return -math.log1p(-value) if self.scale == "ReverseLogarithmic" else value

    def _unscaled(self, value: float) -> float:
        if self.scale == "Logarithmic":
            return math.exp(value)
        return -math.expm1(-value) if self.scale == "ReverseLogarithmic" else float(value)


@dataclass(frozen=True, kw_only=True)
class Category(Range):
    """One of several values."""

    name: str
    values: Sequence[str]

    def at(self, place: float) -> str:
        """See Range."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def encoded(self, value: str) -> list[float]:
        """See Range."""
        return [float(value == each) for each in self.values]


def ranges(given: Record) -> list[Range]:
    """Read ParameterRanges."""
    if given.get("AutoParameters"):
        raise not_modelled("CreateHyperParameterTuningJob with AutoParameters")
    found: list[Range] = [
        *(Number.of(each, is_whole=True) for each in given.get("IntegerParameterRanges", [])),
        *(Number.of(each, is_whole=False) for each in given.get("ContinuousParameterRanges", [])),
        *(Category(name=each["Name"], values=each["Values"]) for each in given.get("CategoricalParameterRanges", [])),
    ]
    names = [each.name for each in found]
    if not names or len(set(names)) < len(names):
        raise invalid(f"ParameterRanges must name at least one hyperparameter and none twice, got {names}")
    return found


@dataclass(frozen=True)
class Trial:
    """Values that were chosen; `loss` is what they led to, smaller being better, None while that is not known."""

    values: Values
    loss: float | None


class Search(ABC):
    """Chooses values; the same seed and the same trials lead to the same choice."""

    def __init__(self, space: Sequence[Range], seed: str) -> None:
        self.space = space
        self.random = random.Random(seed)  # noqa: S311

    @abstractmethod
    def next(self, trials: Sequence[Trial]) -> Values | None:
        """What to try after these trials; None when nothing is left."""

    def candidates(self, trials: Sequence[Trial]) -> Iterator[Values]:
        """Values at random that were not tried yet, as long as some are found."""
        tried = [trial.values for trial in trials]
        for _ in range(_CANDIDATES):
            values = {each.name: each.at(self.random.random()) for each in self.space}
            if values not in tried:
                yield values


class Random(Search):
    """Each time something new, as long as there is something new."""

    def next(self, trials: Sequence[Trial]) -> Values | None:
        """See Search."""
        return next(self.candidates(trials), None)


class Grid(Search):
    """Every combination of categories, once."""

    def __init__(self, space: Sequence[Range], seed: str) -> None:
        super().__init__(space, seed)
        self._left: Iterator[Values] = iter(combinations(space))

    def next(self, _trials: Sequence[Trial]) -> Values | None:
        """See Search."""
        return next(self._left, None)


class Bayesian(Search):
    """Where a Gaussian process over the trials expects the greatest improvement; a few at random first.

    Trials that still run count with the mean of the others, so that no two run at the same place. AWS's own model is
    not documented further than this.
    """

    def next(self, trials: Sequence[Trial]) -> Values | None:
        """See Search."""
        known = [trial.loss for trial in trials if trial.loss is not None]
        candidates = list(self.candidates(trials))
        if len(known) < _FIRST_AT_RANDOM or not candidates:
            return next(iter(candidates), None)
        mean = sum(known) / len(known)
        seen = [self._encoded(trial.values) for trial in trials]
        losses = [mean if trial.loss is None else trial.loss for trial in trials]
        gains = _expected_improvements(seen, losses, [self._encoded(values) for values in candidates], best=min(known))
        return candidates[max(range(len(candidates)), key=gains.__getitem__)]

    def _encoded(self, values: Values) -> list[float]:
        return [number for each in self.space for number in each.encoded(values[each.name])]


STRATEGIES: Mapping[str, type[Search]] = {"Random": Random, "Bayesian": Bayesian, "Grid": Grid}


def combinations(space: Sequence[Range]) -> list[Values]:
    """All combinations of categories, which is all that a grid is made of."""
    for each in space:
        if not isinstance(each, Category):
            raise invalid(f"Strategy Grid takes categorical parameters only, got the range {each.name}")
    names = [each.name for each in space]
    products = itertools.product(*(each.values for each in space if isinstance(each, Category)))
    return [dict(zip(names, values, strict=True)) for values in products]


def _expected_improvements(
    seen: list[list[float]], losses: list[float], candidates: list[list[float]], *, best: float
) -> list[float]:
    """How far below `best` each candidate is expected to come.

    Source: Jones, Schonlau and Welch, Efficient Global Optimization of Expensive Black-Box Functions, 1998.
    """
    # here and not above: a second that only servers with a Bayesian tuning job should pay for
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    kernel = Matern(length_scale=0.3, length_scale_bounds=(0.05, 5.0), nu=2.5)
    process: Any = GaussianProcessRegressor(kernel, alpha=1e-3, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(seen, losses)
    means, deviations = process.predict(candidates, return_std=True)
    return [_improvement(best - mean, deviation) for mean, deviation in zip(means, deviations, strict=True)]


def _improvement(ahead: float, deviation: float) -> float:
    if deviation <= 0:
        return max(ahead, 0.0)
    z = ahead / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = (1 + math.erf(z / math.sqrt(2))) / 2
    return float(ahead * below + deviation * density)

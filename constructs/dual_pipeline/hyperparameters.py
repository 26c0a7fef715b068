"""Training settings that an execution may change or the tuner may search: their defaults and what they may be."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dual_pipeline.errors import ConfigError
from dual_pipeline.validation import check, check_choice, check_number, check_whole

Value: TypeAlias = bool | int | float | str

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_IntegerParameterRange.html and
# API_ContinuousParameterRange.html
_SCALES = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
_WIDEST = 1e9


@dataclass(frozen=True, kw_only=True)
class IntegerRange:
    """Whole numbers from `low` to `high`; `scale` is how the tuner walks through them."""

    low: int
    high: int
    scale: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"

    def __post_init__(self) -> None:
        check_whole(owner=self, field="low", low=int(-_WIDEST), high=int(_WIDEST))
        check_whole(owner=self, field="high", low=self.low + 1, high=int(_WIDEST))
        _check_scale(self)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, kw_only=True)
class FloatRange:
    """Numbers from `low` to `high`; `scale` is how the tuner walks through them."""

    low: float
    high: float
    scale: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"

    def __post_init__(self) -> None:
        check_number(owner=self, field="low", low=-_WIDEST, high=_WIDEST)
        check_number(owner=self, field="high", low=-_WIDEST, high=_WIDEST)
        check(owner=self, field="high", allowed=f"above low ({self.low:g})", ok=self.high > self.low)
        _check_scale(self)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """One of several words."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        # 30 is the tuner's limit: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CategoricalParameterRange.html
        ok = isinstance(self.values, tuple) and 2 <= len(set(self.values)) == len(self.values) <= 30
        ok = ok and all(isinstance(value, str) and 0 < len(value) <= 256 for value in self.values)
        check(owner=self, field="values", allowed="a tuple of 2 to 30 different words", ok=ok)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(self.values)


Limits: TypeAlias = IntegerRange | FloatRange | Choices


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """A training setting with the values that an execution may give it; a value outside is refused before any job."""

    default: Value
    limits: Limits | None = None

    def __post_init__(self) -> None:
        ok = isinstance(self.default, bool | int | float | str) and self.default == self.default  # not NaN
        check(owner=self, field="default", allowed="a boolean, a number or a word", ok=ok)
        if self.limits is None:
            return
        ok = isinstance(self.limits, IntegerRange | FloatRange | Choices)
        check(owner=self, field="limits", allowed="an IntegerRange, a FloatRange, Choices or None", ok=ok)
        check(owner=self, field="default", allowed=str(self.limits), ok=self.default in self.limits)

    @property
    def kind(self) -> str:
        """Its type in the words of a pipeline parameter; whole defaults of a FloatRange are floats."""
        if isinstance(self.limits, FloatRange):
            return "Float"
        return {bool: "Boolean", int: "Integer", float: "Float", str: "String"}[type(self.default)]


def check_tunable(name: str, hyperparameter: Hyperparameter | None, limits: Limits) -> None:
    """Require that a tuner's range belongs to a hyperparameter, fits its type and stays within its own limits."""
    where = f"Tuning.ranges[{name!r}]"
    if hyperparameter is None:
        raise ConfigError(f"{where} tunes no hyperparameter of the project: add it to ModelProject.hyperparameters")
    kind = {IntegerRange: "Integer", FloatRange: "Float", Choices: "String"}[type(limits)]
    if kind != hyperparameter.kind:
        raise ConfigError(
            f"{where} must be a range for a {hyperparameter.kind}, which the hyperparameter is, got {limits!r}"
        )
    own = hyperparameter.limits
    ends = limits.values if isinstance(limits, Choices) else (limits.low, limits.high)
    if own is not None and (outside := [end for end in ends if end not in own]):
        raise ConfigError(f"{where} must stay within the hyperparameter's limits, {own}, got {outside}")


def _check_scale(limits: IntegerRange | FloatRange) -> None:
    check_choice(owner=limits, field="scale", choices=_SCALES)
    if limits.scale == "Logarithmic":
        check(owner=limits, field="low", allowed="above 0 on a logarithmic scale", ok=limits.low > 0)
    if limits.scale == "ReverseLogarithmic":
        ok = limits.low >= 0 and limits.high < 1
        check(owner=limits, field="high", allowed="below 1, and low 0 or more, on this scale", ok=ok)

"""How a tuning job chooses hyperparameters."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.jobs.search import STRATEGIES, Number, Trial, Values, combinations, ranges


def _range(low: object, high: object, scale: str = "Auto", name: str = "x") -> dict[str, str]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scale}


SPACE = ranges(
    {
        "IntegerParameterRanges": [_range(1, 1000, name="depth")],
        "ContinuousParameterRanges": [_range(0.001, 1.0, "Logarithmic", name="eta")],
        "CategoricalParameterRanges": [{"Name": "method", "Values": ['"hist"', '"exact"']}],
    }
)


@given(st.floats(0, 1), st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]))
def test_values_stay_in_their_range(place: float, scale: str) -> None:
    """Every place has a value within the bounds, which encodes to about that place."""
    number = Number.of(_range(0.01, 0.99, scale), is_whole=False)
    value = number.at(place)
    assert 0.01 <= float(value) <= 0.99
    assert place == pytest.approx(number.encoded(value)[0], abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "scale", "middle"),
    [
        (1, 3, "Linear", "2"),
        (1, 100, "Logarithmic", "10"),
        (1, 100, "Auto", "10"),
        (1, 99, "Auto", "50"),
        (-5, 5, "Auto", "0"),
        (7, 7, "Linear", "7"),
    ],
)
def test_scaling_decides_where_the_middle_is(low: int, high: int, scale: str, middle: str) -> None:
    """Auto takes logarithms of ranges over two orders of magnitude."""
    assert middle == Number.of(_range(low, high, scale), is_whole=True).at(0.5)


@pytest.mark.parametrize(
    ("given_ranges", "message"),
    [
        ({}, "ParameterRanges must name at least one hyperparameter and none twice, got []"),
        ({"IntegerParameterRanges": [_range(3, 1)]}, "MinValue of x must not be greater than MaxValue, got 3 and 1"),
        ({"IntegerParameterRanges": [_range(0.5, 1)]}, "MinValue and MaxValue of x must be integers, got 0.5 and 1"),
        (
            {"ContinuousParameterRanges": [_range(0, 1, "Logarithmic")]},
            "ScalingType Logarithmic of x requires values greater than 0, got 0.0",
        ),
        (
            {"ContinuousParameterRanges": [_range(0, 1, "ReverseLogarithmic")]},
            "ScalingType ReverseLogarithmic of x requires continuous values in [0, 1), got 0.0 to 1.0",
        ),
        ({"ContinuousParameterRanges": [_range("nan", 1)]}, "MinValue of x must not be greater than MaxValue, got nan"),
    ],
)
def test_bad_ranges_are_refused(given_ranges: dict[str, Any], message: str) -> None:
    """A range that holds nothing, or not what its scaling needs, is refused by name."""
    with pytest.raises(ApiError) as refusal:
        ranges(given_ranges)
    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_the_same_seed_chooses_the_same(strategy: str) -> None:
    """Two searches of one seed agree at every step, another seed differs, and nothing is tried twice."""

    def run(seed: str) -> list[Values]:
        search, trials = STRATEGIES[strategy](SPACE, seed), list[Trial]()
        for number in range(6):
            values = search.next(trials)
            assert values is not None
            trials.append(Trial(values, float(number)))
        return [trial.values for trial in trials]

    first = run("17")
    assert first == run("17")
    assert first != run("18")
    assert len(first) == len({tuple(values.values()) for values in first})


def test_bayesian_search_finds_a_minimum_faster_than_chance() -> None:
    """Fifteen trials on a smooth bowl come closer to its bottom than fifteen at random, summed over seeds."""

    def best(strategy: str, seed: str) -> float:
        space = ranges({"ContinuousParameterRanges": [_range(-5, 5, name="a"), _range(-5, 5, name="b")]})
        search, trials = STRATEGIES[strategy](space, seed), list[Trial]()
        for _ in range(15):
            values = search.next(trials)
            assert values is not None
            trials.append(Trial(values, math.hypot(float(values["a"]) - 1, float(values["b"]) + 2)))
        return min(trial.loss for trial in trials if trial.loss is not None)

    seeds = [str(seed) for seed in range(4)]
    assert sum(best("Bayesian", seed) for seed in seeds) < sum(best("Random", seed) for seed in seeds) / 2


def test_running_trials_keep_others_away() -> None:
    """A trial without a result yet is not proposed again."""
    space = ranges({"CategoricalParameterRanges": [{"Name": "x", "Values": ["a", "b", "c", "d"]}]})
    trials = [Trial({"x": "a"}, 3.0), Trial({"x": "b"}, 2.0), Trial({"x": "c"}, 1.0)]
    assert {"x": "d"} == STRATEGIES["Bayesian"](space, "1").next(trials)
    assert STRATEGIES["Bayesian"](space, "1").next([*trials, Trial({"x": "d"}, None)]) is None


def test_a_grid_is_every_combination_of_categories() -> None:
    """Each combination comes once; a range of numbers is refused."""
    space = ranges({"CategoricalParameterRanges": [{"Name": name, "Values": ["1", "2"]} for name in "ab"]})
    search = STRATEGIES["Grid"](space, "1")
    found = [search.next([]) for _ in range(5)]
    assert [*combinations(space), None] == found
    with pytest.raises(ApiError, match="Strategy Grid takes categorical parameters only, got the range depth"):
        combinations(SPACE)

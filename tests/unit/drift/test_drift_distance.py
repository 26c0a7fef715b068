"""Distances and tests: against values known otherwise, under chance alone, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from pipeline_code.platform_jobs.drift.distance import (
    holm,
    kolmogorov_smirnov,
    p_value,
    population_stability_index,
    total_variation,
)

COUNTS = st.lists(st.integers(0, 10_000), min_size=4, max_size=4)


def test_psi_is_the_published_formula() -> None:
    """The sum of the differences of shares times the logarithm of their ratio."""
    expected = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)
    assert population_stability_index([500_000, 500_000], [300_000, 700_000]) == pytest.approx(expected, abs=1e-4)


@given(COUNTS, COUNTS)
def test_distances_are_finite_and_in_their_range(before: list[int], now: list[int]) -> None:
    """Whatever is counted, empty bins and no rows at all included."""
    assert 0 <= population_stability_index(before, now) < math.inf
    assert 0 <= kolmogorov_smirnov(before, now) <= 1 + 1e-9
    assert 0 <= total_variation(before, now) <= 1 + 1e-9
    assert 0 <= p_value(before, now) <= 1


def test_equal_shares_are_no_distance() -> None:
    """However many rows there are."""
    assert 0 == kolmogorov_smirnov([1, 2, 3], [100, 200, 300]) == total_variation([1, 2, 3], [100, 200, 300])
    assert p_value([100, 200, 300], [1000, 2000, 3000]) == pytest.approx(1)


def test_the_test_is_pearsons() -> None:
    """As scipy has it, where no bin is sparse."""
    table = [[520, 300, 180], [260, 190, 110]]
    assert p_value(*table) == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_sparse_bins_are_counted_together() -> None:
    """A single row in a rare bin proves nothing."""
    assert p_value([10_000, 10_000, 1, 0], [100, 100, 0, 1]) > 0.05
    assert p_value([20_000, 0], [100, 1]) > 0.005


def test_many_rows_where_none_are_expected_are_proof() -> None:
    """Thirty of a hundred requests with a value that nobody had: no merging hides that."""
    assert p_value([10_000, 10_000, 0], [35, 35, 30]) < 1e-9
    assert p_value([20, 0, 0], [0, 490, 490]) < 1e-9


def test_a_few_rows_among_many_are_no_drift_whichever_sample_is_the_smaller() -> None:
    """Where the live rows are many, too few are expected of the baseline; a bin without any row is none."""
    assert p_value([100, 100, 0, 0], [10_000, 10_000, 1, 0]) == pytest.approx(1)
    assert p_value([35, 35, 30, 0], [10_000, 10_000, 0, 0]) < 1e-9
    assert 1 == p_value([100, 0], [5, 0])


def test_chance_alone_is_seldom_taken_for_drift() -> None:
    """Over windows of one distribution the test errs about as often as its level says, PSI alone far more often."""
    chance = np.random.default_rng(11)
    shares = chance.dirichlet(np.ones(22))
    tested, by_psi = 0, 0
    for _ in range(2000):
        before, now = (chance.multinomial(count, shares).tolist() for count in (26_000, 100))
        tested += p_value(before, now) < 0.05
        by_psi += population_stability_index(before, now) >= 0.2
    assert 40 <= tested <= 170
    assert by_psi > 2 * tested


@pytest.mark.parametrize(
    ("weights", "live"),
    [
        pytest.param([1] * 250 + [0], 1000, id="many equal categories"),
        pytest.param([1, 4, *[5] * 18, 4, 1, 0], 100, id="quantile bins on few rows"),
        pytest.param([1 / at for at in range(1, 60)], 2000, id="ever rarer categories"),
        pytest.param([1 / at for at in range(1, 60)], 400_000, id="more live rows than learned ones"),
    ],
)
def test_chance_is_seldom_taken_for_drift_where_it_counts(weights: list[float], live: int) -> None:
    """One of fourteen tests errs with a fourteenth of the level, for that is what Holm holds it to."""
    chance, level, windows = np.random.default_rng(2), 0.01 / 14, 4000
    shares = np.array(weights) / sum(weights)
    before, now = (chance.multinomial(count, shares, windows).tolist() for count in (26_000, live))
    found = sum(p_value(*pair) < level for pair in zip(before, now, strict=True))
    # 2.9 are expected, and eleven or more come once in ten thousand times.
    assert found <= 10


def test_holm_steps_down() -> None:
    """Each p-value times the number of those not smaller, never below the one before, at most 1."""
    assert holm([0.01, 0.03, 0.02]) == pytest.approx([0.03, 0.04, 0.04])
    assert [1.0, 1.0] == holm([0.6, 0.9])
    assert [] == holm([])


def test_all_tests_together_err_with_the_level_of_one() -> None:
    """Of windows without drift at most about alpha ring, though each makes fifty tests that depend on each other."""
    chance = np.random.default_rng(5)
    common = chance.normal(size=(3000, 1))
    values = stats.norm.sf(0.7 * common + math.sqrt(1 - 0.49) * chance.normal(size=(3000, 50)))
    ringing = sum(min(holm(list(row))) < 0.05 for row in values)
    assert ringing / 3000 < 0.06
    assert sum(min(row) < 0.05 for row in values) / 3000 > 0.3

"""How far live counts lie from a baseline's, and whether chance alone would explain it; counts in, numbers out."""

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc  # type: ignore[import-untyped]

_LEAST_EXPECTED = 5.0
# So many rows where fewer than five are expected are no chance, and must not be merged away.
_MANY = 10


def shares(counts: Sequence[float], *, pseudo: float = 0.0) -> np.ndarray:
    """Each bin's share; `pseudo` is added to every count, so that no share is zero."""
    values = np.asarray(counts, dtype=np.float64) + pseudo
    total = values.sum()
    return values / total if total else values


def population_stability_index(baseline: Sequence[int], live: Sequence[int]) -> float:
    """The PSI: the symmetric Kullback-Leibler divergence of the two sets of shares.

    Half a count is added to every bin, or an empty one would make it infinite. It has no scale of its own: by
    convention 0.1 is a small shift and 0.25 a large one (Siddiqi, Credit Risk Scorecards, 2006), and on few rows it
    lies above that by chance (Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020).
    """
    expected, found = shares(baseline, pseudo=0.5), shares(live, pseudo=0.5)
    return float(((found - expected) * np.log(found / expected)).sum())


def kolmogorov_smirnov(baseline: Sequence[int], live: Sequence[int]) -> float:
    """The largest distance of the two distribution functions at the edges of the bins, from 0 to 1."""
    if not sum(baseline) or not sum(live):
        return 0.0
    return float(np.abs(np.cumsum(shares(baseline)) - np.cumsum(shares(live))).max())


def total_variation(baseline: Sequence[int], live: Sequence[int]) -> float:
    """The share of rows that would have to change their bin to make the two alike, from 0 to 1."""
    return float(np.abs(shares(baseline) - shares(live)).sum() / 2)


def p_value(baseline: Sequence[int], live: Sequence[int]) -> float:
    """How likely two samples of one distribution differ at least so much: Pearson's chi-square test of homogeneity.

    Bins in which fewer than five rows are expected, and few were found, are counted together, for the test is no test
    there (Cochran, Biometrics 10(4), 1954).
    """
    table = np.array([baseline, live], dtype=np.float64)
    if not table.sum(axis=1).all():
        return 1.0
    sparse = _sparse(table, table.sum(axis=1))
    kept, rest = table[:, ~sparse], table[:, sparse].sum(axis=1, keepdims=True)
    if _sparse(rest, table.sum(axis=1))[0] and kept.size:
        kept[:, kept.sum(axis=0).argmin()] += rest[:, 0]
    else:
        kept = np.hstack([kept, rest])
    if kept.shape[1] < 2:
        return 1.0
    expected = _expected(kept, table.sum(axis=1))
    return float(chdtrc(kept.shape[1] - 1, ((kept - expected) ** 2 / expected).sum()))


def _expected(table: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[:, None] * table.sum(axis=0) / totals.sum())


def _sparse(table: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.asarray(((_expected(table, totals) < _LEAST_EXPECTED) & (table < _MANY)).any(axis=0))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that all tests together err with the level of one, however they depend on each other.

    Holm, Scandinavian Journal of Statistics 6(2), 1979.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = [float(p_values[at]) * (len(order) - rank) for rank, at in enumerate(order)]
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0) if len(order) else []
    return [float(value) for value in adjusted]

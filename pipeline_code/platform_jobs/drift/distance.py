"""How far live counts lie from a baseline's, and whether chance alone would explain it; counts in, numbers out."""

from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, bdtrc, chdtrc  # type: ignore[import-untyped]

_LEAST_EXPECTED = 5.0


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

    Bins in which fewer than five rows are expected of either sample are joined until five are, for the test is no test
    there (Cochran, Biometrics 10(4), 1954). Which ones these are depends on both samples' sum alone: chosen by what was
    found, they would make chance look like drift. What is left over is tested exactly, so that many rows where none are
    expected are proof, and the smaller of the two p-values counts double (Bonferroni).
    """
    table = np.array([baseline, live], dtype=np.float64)
    sizes = table.sum(axis=1)
    if not sizes.all():
        return 1.0
    cells, (before, now) = _joined(table, least=_LEAST_EXPECTED * sizes.sum() / sizes.min())
    found = []
    if cells.shape[1] > 1 and cells.any(axis=1).all():
        expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / cells.sum()
        found.append(chdtrc(cells.shape[1] - 1, ((cells - expected) ** 2 / expected).sum()))
    if before + now:
        share = sizes[1] / sizes.sum()
        tails = bdtr(now, int(before + now), share), bdtrc(now - 1, int(before + now), share)
        found.append(2 * min(tails))
    return float(min([1.0, *(len(found) * each for each in found)]))


def _joined(table: np.ndarray, *, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells of at least so many rows of both samples together, smaller ones joined in their order; and the rest."""
    cells, rest = [], np.zeros(2)
    for column in table.T:
        if column.sum() >= least:
            cells.append(column)
            continue
        rest = rest + column
        if rest.sum() >= least:
            cells.append(rest)
            rest = np.zeros(2)
    return np.array(cells).reshape(-1, 2).T, rest


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that all tests together err with the level of one, however they depend on each other.

    Holm, Scandinavian Journal of Statistics 6(2), 1979.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = [float(p_values[at]) * (len(order) - rank) for rank, at in enumerate(order)]
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0) if len(order) else []
    return [float(value) for value in adjusted]

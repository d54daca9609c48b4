"""How a selector turns n samples into one answer, given how many of them are right.

A selector has one parameter by problem, of which a law over nodes is kept. Votes: the share of the strongest rival
among the wrong answers; where it is large and the chance of a sample small, more samples make a right answer rarer.
Selectors that score (best-of-n, fusion): how far the scores of right samples lie above those of wrong ones, in
standard deviations of equal normal laws; below 0 the selector prefers wrong answers, the more the more there are.

The law of the parameter is fitted by expectation maximisation to what was selected out of k right samples of n: by how
often it was right at any n, all others follow.

Sources: the plurality of self-consistency (Wang et al. 2022, arXiv:2203.11171) and of votes that fall with n (Chen et
al. 2024, arXiv:2403.02419); best-of-n with a noisy verifier (Cobbe et al. 2021, arXiv:2110.14168). The two forms and
their laws are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import NODES

__all__ = [
    "N_THETAS",
    "RIVALS",
    "VOTES",
    "Selected",
    "SelectorLaw",
    "binomial_table",
    "chance_table",
    "fit_selector",
    "outcome_table",
]

Floats = NDArray[np.float64]

VOTES = frozenset({"adaptive_vote", "list_vote", "majority", "weighted_vote"})
RIVALS = np.array([0.02, 0.08, 0.15, 0.23, 0.32, 0.41, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98])
"""Shares of the wrong answers that the strongest rival holds."""
DISTANCES = np.array([-2.0, -1.0, -0.4, 0.0, 0.4, 0.8, 1.2, 1.7, 2.3, 3.0, 4.0, 6.0])
"""Distances between the scores of right and wrong samples."""
N_THETAS = len(RIVALS)
LAPSE = 0.02
"""Share of outcomes that no parameter explains: a single odd one must not decide."""
PRIOR_PROBLEMS = 8.0
N_STEPS = 25
N_QUADRATURE = 81


@lru_cache(maxsize=512)
def outcome_table(kind: str, n_samples: int) -> Floats:
    """Return the chance that the selected answer is right, by parameter and by right samples.

    Returns:
        Shape (N_THETAS, n_samples + 1); entry [t, k] is for k right samples.
    """
    k = np.arange(n_samples + 1)
    if kind == "first":
        table = np.tile(k / n_samples, (N_THETAS, 1))
    elif kind in VOTES:
        table = np.stack([_vote(kind, n_samples, float(theta)) for theta in RIVALS])
    else:
        table = np.stack([_best_scored(n_samples, float(theta)) for theta in DISTANCES])
    table.setflags(write=False)
    return table


def _vote(kind: str, n_samples: int, theta: float) -> Floats:
    """Right answers must outnumber the strongest rival; a tie goes to the answer drawn first, so to either."""
    k = np.arange(n_samples + 1)
    wrong = n_samples - k
    below = _at_most(k - 1, wrong, theta)
    equal = _at_most(k, wrong, theta) - below
    if kind != "weighted_vote":
        # The rival has one vote at least (with weights it can have next to none); where it has no more, all answers
        # are tied and the first of n wins.
        lone = (k == 1) & (wrong >= 1)
        equal = np.where(lone, (below + equal) * 2 / n_samples, equal)
        below = np.where(lone, 0.0, below)
    result: Floats = np.where(k == 0, 0.0, below + 0.5 * equal)
    return result


def _at_most(k: NDArray[np.int64], n: NDArray[np.int64], chance: float) -> Floats:
    """Return the binomial distribution function, without `scipy.stats`, which takes half a second to import."""
    from scipy.special import betainc

    inside = (k >= 0) & (k < n)
    a, b = np.where(inside, n - k, 1), np.where(inside, k + 1, 1)
    result: Floats = np.where(inside, betainc(a, b, 1 - chance), (k >= n).astype(float))
    return result


def _best_scored(n_samples: int, distance: float) -> Floats:
    """Return the chance that the best score of k draws of N(distance, 1) beats that of n - k draws of N(0, 1)."""
    from scipy.special import log_ndtr

    x = np.linspace(-6.0, 6.0, N_QUADRATURE) + distance
    step = x[1] - x[0]
    log_density = -0.5 * (x - distance) ** 2 - 0.5 * np.log(2 * np.pi)
    k = np.arange(1, n_samples)[:, None]
    log = np.log(k) + log_density + (k - 1) * log_ndtr(x - distance) + (n_samples - k) * log_ndtr(x)
    inner = np.clip(np.exp(log).sum(axis=1) * step, 0.0, 1.0)
    result: Floats = np.concatenate([[0.0], inner, [1.0]])
    return result


@lru_cache(maxsize=512)
def chance_table(kind: str, n_samples: int) -> Floats:
    """Return the chance of a right answer by chance of one sample and by parameter, shape (n_nodes, N_THETAS)."""
    if n_samples == 1 or kind == "first":
        table: Floats = np.tile(NODES[:, None], (1, N_THETAS))
    else:
        table = binomial_table(n_samples) @ outcome_table(kind, n_samples).T
    table.setflags(write=False)
    return table


@lru_cache(maxsize=512)
def binomial_table(n_samples: int) -> Floats:
    """Return the chance of k right samples by chance of one sample, shape (n_nodes, n_samples + 1)."""
    from scipy.special import gammaln

    k = np.arange(n_samples + 1)
    ways = gammaln(n_samples + 1) - gammaln(k + 1) - gammaln(n_samples - k + 1)
    chance = NODES[:, None]
    table: Floats = np.exp(ways + k * np.log(chance) + (n_samples - k) * np.log1p(-chance))
    table.setflags(write=False)
    return table


@dataclass(frozen=True)
class Selected:
    """What one trial's stage selected: by problem, the right samples out of n and the score of the answer."""

    n_samples: int
    problems: NDArray[np.int64]
    """Positions of the problems, shape (n_seen,)."""
    right: Floats
    """Sums of sample scores in [0, n_samples], shape (n_seen,)."""
    score: Floats
    """Scores of the selected answers in [0, 1], shape (n_seen,)."""


@dataclass(frozen=True)
class SelectorLaw:
    """The law of a selector's parameter."""

    population: Floats
    """Shape (N_THETAS,)."""
    problems: Floats
    """By problem, shape (n_problems, N_THETAS)."""


def fit_selector(
    kind: str, uses: Sequence[Selected], n_problems: int, prior: Floats | None = None
) -> SelectorLaw:
    """Return the law of a selector's parameter, from what it selected.

    Args:
        kind: Kind of the selector.
        uses: What it selected, of samples that do not overlap (of runs that share draws, the longest).
        n_problems: Problems in all.
        prior: Law before data, shape (N_THETAS,); `None`: the one of its kind.
    """
    base = _prior(kind) if prior is None else prior
    log = np.zeros((n_problems, N_THETAS))
    seen = np.zeros(n_problems, dtype=bool)
    for use in uses:
        chance = _interpolated(outcome_table(kind, use.n_samples), use.right)
        chance = LAPSE / 2 + (1 - LAPSE) * chance
        score = use.score[:, None]
        log[use.problems] += score * np.log(chance) + (1 - score) * np.log1p(-chance)
        seen[use.problems] = True
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    population = base
    for _ in range(N_STEPS if seen.any() else 0):
        posterior = likelihood[seen] * population
        posterior /= posterior.sum(axis=1, keepdims=True)
        population = (posterior.sum(axis=0) + PRIOR_PROBLEMS * base) / (seen.sum() + PRIOR_PROBLEMS)
    problems = likelihood * population
    problems /= problems.sum(axis=1, keepdims=True)
    return SelectorLaw(population, problems)


def _interpolated(table: Floats, right: Floats) -> Floats:
    """Return the columns of a table at counts that need not be whole, shape (len(right), N_THETAS)."""
    low = np.minimum(np.floor(right).astype(np.int64), table.shape[1] - 2)
    share = (right - low)[:, None]
    result: Floats = table.T[low] * (1 - share) + table.T[low + 1] * share
    return result


def _prior(kind: str) -> Floats:
    weights = (
        np.exp(-((RIVALS - 0.35) ** 2) / (2 * 0.3**2))
        if kind in VOTES
        else np.exp(-((DISTANCES - 1.2) ** 2) / (2 * 1.2**2))
    )
    result: Floats = weights / weights.sum()
    return result

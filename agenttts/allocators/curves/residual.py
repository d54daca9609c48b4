"""A Gaussian process over final scores: the composed prediction, how unsure it is, and what it leaves unexplained.

Its covariance adds four parts: draws of the composition's own posterior; a factor on the composed prediction, so that
it can be found to be worth less than it says, or nothing; a part per stage (same model, near number of samples, same
selector and threshold are alike) with the product of those parts (so that what works together is learnt as such); and
a common level. Amplitudes, and whether the composed prediction is believed in at all, are chosen by how well every
trial is predicted by the others.

Sources: Rasmussen and Williams 2006, Algorithm 2.1, section 2.7 (linear part of the mean) and section 5.4.2 (predictive
probability leaving one out); the kernel is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.samples import run_shares
from agenttts.allocators.curves.stagefits import likeness, unit_prices
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import StageChoice

__all__ = ["Prior", "Residual", "fit_residual"]

Floats = NDArray[np.float64]

OTHER_SELECTOR = 0.75
DOUBLINGS = 2.0
"""Doublings of the number of samples over which scores are alike."""
THRESHOLDS = 0.35
"""Distance of thresholds over which scores are alike."""
AMPLITUDES = (0.01, 0.03, 0.06, 0.12, 0.25)
JOINT_SHARES = (0.15, 0.6)
"""Shares of the variance that the product of the stages' parts gets."""
LEVEL_FLAT = 0.3
LEVEL_COMPOSED = 0.05
"""Standard deviation of the common level around the mean function."""
FACTOR_SD = 0.25
"""Standard deviation of the factor on the composed prediction around 1, or around 0 where it is not believed in."""
CHUNK = 8192
"""Allocations at a time; bounds memory."""
FAVOUR_COMPOSED = 1.5
"""Log-odds in favour of the composed prediction before data."""


@dataclass(frozen=True)
class Prior:
    """What the composition says of some allocations."""

    mean: Floats
    """Composed predictions, shape (n_allocations,)."""
    draws: Floats
    """Deviations of posterior draws from their mean, shape (n_draws, n_allocations)."""

    @classmethod
    def flat(cls, n_allocations: int) -> Prior:
        """Return what is said without a composition."""
        return cls(np.zeros(n_allocations), np.zeros((0, n_allocations)))

    def at(self, rows: NDArray[np.int64] | slice) -> Prior:
        """Return a part."""
        return Prior(self.mean[rows], self.draws[:, rows])


def stage_kernel(choices: Sequence[StageChoice], alike: Floats, models: Sequence[str]) -> Floats:
    """Return how alike the choices of a stage are, shape (n_choices, n_choices), 1 on the diagonal.

    Args:
        choices: The stage's choices.
        alike: Likeness of the models, in the order of `models`.
        models: Names of the models.
    """
    place = np.array([models.index(c.model) for c in choices])
    selectors = np.array([c.select for c in choices])
    doublings = np.log2([c.n_samples for c in choices])
    below = np.array([1.0 if c.below is None else c.below for c in choices])
    select = np.where(selectors[:, None] == selectors[None, :], 1.0, OTHER_SELECTOR)
    near = np.exp(-((doublings[:, None] - doublings[None, :]) ** 2) / (2 * DOUBLINGS**2))
    threshold = np.exp(-((below[:, None] - below[None, :]) ** 2) / (2 * THRESHOLDS**2))
    result: Floats = alike[place[:, None], place[None, :]] * select * near * threshold
    return result


@dataclass(frozen=True)
class Residual:
    """Mean and covariance of the expected score of any allocation."""

    space: Space
    kernels: tuple[Floats, ...]
    seen: Indices
    prior: Prior
    """Of the seen allocations."""
    amplitude: float
    joint_share: float
    believed: bool
    """Whether the composed prediction is the mean function (else the constant is, with the prediction's factor free)."""
    constant: float
    centre: float
    """Mean composed prediction of the seen allocations."""
    cholesky: Floats
    weights: Floats

    @property
    def _level(self) -> float:
        return LEVEL_COMPOSED if self.believed else LEVEL_FLAT

    def prior_mean(self, prior: Prior) -> Floats:
        """Return the mean function, shape (n_allocations,)."""
        return prior.mean if self.believed else np.full(len(prior.mean), self.constant)

    def covariance_of(self, a: Indices, prior_a: Prior, b: Indices, prior_b: Prior) -> Floats:
        """Return prior covariances, shape (len(a), len(b))."""
        added = np.zeros((len(a), len(b)))
        joint = np.ones((len(a), len(b)))
        runs_a, runs_b = run_shares(self.space, a), run_shares(self.space, b)
        for s, kernel in enumerate(self.kernels):
            part = kernel[a[:, s]][:, b[:, s]]
            if s in runs_a:
                # Where a stage does not run, what was chosen for it makes no difference.
                both = np.sqrt(np.outer(runs_a[s], runs_b[s]))
                part = both * part + np.sqrt(np.outer(1 - runs_a[s], 1 - runs_b[s]))
            added += part
            joint *= part
        mixed = (1 - self.joint_share) / len(self.kernels) * added + self.joint_share * joint
        result: Floats = self.amplitude**2 * mixed + self._level**2
        if len(prior_a.draws):
            factor = FACTOR_SD**2 * np.outer(prior_a.mean - self.centre, prior_b.mean - self.centre)
            shared = prior_a.draws.T @ prior_b.draws / len(prior_a.draws) if self.believed else 0.0
            result = result + factor + shared
        return result

    def _own(self, prior: Prior) -> Floats:
        """Return prior variances, shape (n_allocations,)."""
        own = np.full(len(prior.mean), self.amplitude**2 + self._level**2)
        if len(prior.draws):
            own += FACTOR_SD**2 * (prior.mean - self.centre) ** 2
            own += np.mean(prior.draws**2, axis=0) if self.believed else 0.0
        return own

    def at(self, indices: Indices, prior: Prior) -> tuple[Floats, Floats]:
        """Return posterior means and standard deviations, shape (n_allocations,) each.

        Args:
            indices: Allocations.
            prior: What the composition says of them.
        """
        mean, deviation, _ = self.against(indices, prior, None)
        return mean, deviation

    def against(self, indices: Indices, prior: Prior, place: int | None) -> tuple[Floats, Floats, Floats]:
        """Return posterior means, standard deviations, and those of the differences to a seen allocation.

        What all allocations share (the level, how hard the problems are) is in both sides of a difference and cancels.

        Args:
            indices: Allocations.
            prior: What the composition says of them.
            place: Position of the seen allocation; `None`: differences are to a known score.
        """
        blocks = [
            self._block(indices[i : i + CHUNK], prior.at(slice(i, i + CHUNK)), place)
            for i in range(0, len(indices), CHUNK)
        ]
        mean, deviation, gap = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return mean, deviation, gap

    def _block(self, indices: Indices, prior: Prior, place: int | None) -> tuple[Floats, Floats, Floats]:
        from scipy.linalg import solve_triangular

        cross = self.covariance_of(self.seen, self.prior, indices, prior)
        half = solve_triangular(self.cholesky, cross, lower=True, check_finite=False)
        mean = self.prior_mean(prior) + self.weights @ cross
        variance = np.maximum(self._own(prior) - np.sum(half**2, axis=0), 1e-10)
        deviation = np.sqrt(variance)
        if place is None:
            return mean, deviation, deviation
        at = np.array([place])
        of_one = self.covariance_of(self.seen, self.prior, self.seen[at], self.prior.at(at))[:, 0]
        half_one = solve_triangular(self.cholesky, of_one, lower=True, check_finite=False)
        own = float(of_one[place] - half_one @ half_one)
        gap = np.sqrt(np.maximum(variance + own - 2 * (cross[place] - half_one @ half), 1e-10))
        return mean, deviation, gap

    def cheap_mean(self, indices: Indices, composed: Floats) -> Floats:
        """Return posterior means without the parts that cost time per seen trial (product of stages, draws).

        Args:
            indices: Allocations.
            composed: Composed predictions for them, anything where there is no composition.
        """
        result: Floats = composed.copy() if self.believed else np.full(len(indices), self.constant)
        result += self._level**2 * self.weights.sum()
        if len(self.prior.draws):
            result += (
                FACTOR_SD**2
                * float(self.weights @ (self.prior.mean - self.centre))
                * (composed - self.centre)
            )
        share = self.amplitude**2 * (1 - self.joint_share) / len(self.kernels)
        runs, runs_seen = run_shares(self.space, indices), run_shares(self.space, self.seen)
        for s, kernel in enumerate(self.kernels):
            like = kernel[:, self.seen[:, s]]
            if s not in runs:
                result += (share * (like @ self.weights))[indices[:, s]]
                continue
            ran = np.sqrt(runs[s]) * (like @ (self.weights * np.sqrt(runs_seen[s])))[indices[:, s]]
            result += share * (ran + np.sqrt(1 - runs[s]) * float(self.weights @ np.sqrt(1 - runs_seen[s])))
        return result

    def covariance(self, indices: Indices, prior: Prior) -> Floats:
        """Return posterior covariances of a few allocations, shape (n, n)."""
        from scipy.linalg import solve_triangular

        cross = self.covariance_of(self.seen, self.prior, indices, prior)
        half = solve_triangular(self.cholesky, cross, lower=True)
        result: Floats = self.covariance_of(indices, prior, indices, prior) - half.T @ half
        return result


def fit_residual(space: Space, seen: Indices, scores: Floats, noise: Floats, prior: Prior) -> Residual:
    """Return the process that predicts each trial best from the others.

    Args:
        space: For the kernels.
        seen: Evaluated allocations.
        scores: Their mean scores, shape (n_seen,).
        noise: Variances of the scores around the expected score, shape (n_seen,).
        prior: What the composition says of them; no draws where there is none.
    """
    draft = Residual(
        space=space,
        kernels=_kernels(space),
        seen=seen,
        prior=prior,
        amplitude=0.0,
        joint_share=0.0,
        believed=False,
        constant=float(np.average(scores, weights=1 / (noise + 1e-4))),
        centre=float(prior.mean.mean()),
        cholesky=np.zeros((0, 0)),
        weights=np.zeros(0),
    )
    best: tuple[float, Residual] | None = None
    beliefs = (False, True) if len(prior.draws) else (False,)
    for believed, amplitude, joint in product(beliefs, AMPLITUDES, JOINT_SHARES):
        tried = replace(draft, believed=believed, amplitude=amplitude, joint_share=joint)
        value, residual = _condition(tried, scores, noise)
        value += FAVOUR_COMPOSED if believed else 0.0
        if best is None or value > best[0]:
            best = value, residual
    assert best is not None  # noqa: S101 - the grids are not empty
    return best[1]


def _kernels(space: Space) -> tuple[Floats, ...]:
    kernels = []
    for s, choices in enumerate(space.stages):
        prices = unit_prices(space, s)
        kernels.append(stage_kernel(choices, likeness(prices), list(prices)))
    return tuple(kernels)


def _condition(draft: Residual, scores: Floats, noise: Floats) -> tuple[float, Residual]:
    """Return the log predictive probability of the trials, each left out in turn, and the conditioned process."""
    from scipy.linalg import cho_solve, cholesky

    covariance = draft.covariance_of(draft.seen, draft.prior, draft.seen, draft.prior) + np.diag(noise)
    lower = cholesky(covariance, lower=True)
    weights = cho_solve((lower, True), scores - draft.prior_mean(draft.prior))
    precision = np.diag(cho_solve((lower, True), np.eye(len(scores))))
    # Left out, trial i is predicted with variance 1 / precision_i and missed by weights_i / precision_i.
    value = float(np.sum(0.5 * np.log(precision) - 0.5 * weights**2 / precision))
    return value, replace(draft, cholesky=lower, weights=weights)

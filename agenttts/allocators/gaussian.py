"""A Gaussian process over allocations: what the composed prediction leaves unexplained, and how unsure it is.

The kernel adds one part per stage (same model, near number of samples, same selector are alike) and their product (so
that what works together is learnt as such). Amplitudes, and whether the composed prediction is worth using, are chosen
by the evidence.

Source: Rasmussen and Williams 2006, Algorithm 2.1; the kernel is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import StageChoice

__all__ = ["Posterior", "fit"]

Floats = NDArray[np.float64]

OTHER_MODEL = 0.3
OTHER_SELECTOR = 0.75
DOUBLINGS = 2.0
"""Doublings of the number of samples over which scores are alike."""
AMPLITUDES = (0.01, 0.03, 0.06, 0.12, 0.25)
JOINT_SHARES = (0.15, 0.6)
"""Shares of the variance that the product of the stages' parts gets."""
LEVEL_FLAT = 0.3
LEVEL_COMPOSED = 0.05
"""Standard deviation of the common level around the mean function."""
FAVOUR_COMPOSED = 1.0
"""Log-odds in favour of the composed prediction before data."""


def stage_kernel(choices: Sequence[StageChoice]) -> Floats:
    """Return how alike the choices of a stage are, shape (n_choices, n_choices), 1 on the diagonal."""
    models = np.array([c.model for c in choices])
    selectors = np.array([c.select for c in choices])
    doublings = np.log2([c.n_samples for c in choices])
    model = np.where(models[:, None] == models[None, :], 1.0, OTHER_MODEL)
    select = np.where(selectors[:, None] == selectors[None, :], 1.0, OTHER_SELECTOR)
    near = np.exp(-((doublings[:, None] - doublings[None, :]) ** 2) / (2 * DOUBLINGS**2))
    result: Floats = model * select * near
    return result


@dataclass(frozen=True)
class Posterior:
    """Mean and covariance of the expected score of any allocation."""

    kernels: tuple[Floats, ...]
    seen: Indices
    amplitude: float
    joint_share: float
    level: float
    uses_composed: bool
    cholesky: Floats
    weights: Floats

    def prior_covariance(self, a: Indices, b: Indices) -> Floats:
        """Return prior covariances, shape (len(a), len(b))."""
        added = np.zeros((len(a), len(b)))
        joint = np.ones((len(a), len(b)))
        for s, kernel in enumerate(self.kernels):
            part = kernel[:, b[:, s]][a[:, s]]
            added += part
            joint *= part
        mixed = (1 - self.joint_share) / len(self.kernels) * added + self.joint_share * joint
        result: Floats = self.amplitude**2 * mixed + self.level**2
        return result

    def at(self, indices: Indices, mean: Floats, chunk: int = 16384) -> tuple[Floats, Floats]:
        """Return posterior means and standard deviations, shape (n_allocations,) each.

        Args:
            indices: Allocations.
            mean: Their prior means.
            chunk: Allocations at a time; bounds memory.
        """
        from scipy.linalg import solve_triangular

        means, deviations = [], []
        own = self.amplitude**2 + self.level**2
        for start in range(0, len(indices), chunk):
            part = slice(start, start + chunk)
            cross = self.prior_covariance(self.seen, indices[part])
            half = solve_triangular(self.cholesky, cross, lower=True, check_finite=False)
            means.append(mean[part] + self.weights @ cross)
            deviations.append(np.sqrt(np.maximum(own - np.sum(half**2, axis=0), 1e-10)))
        return np.concatenate(means), np.concatenate(deviations)

    def covariance(self, indices: Indices) -> Floats:
        """Return posterior covariances of a few allocations, shape (n, n)."""
        from scipy.linalg import solve_triangular

        half = solve_triangular(self.cholesky, self.prior_covariance(self.seen, indices), lower=True)
        result: Floats = self.prior_covariance(indices, indices) - half.T @ half
        return result


def fit(
    space: Space, seen: Indices, scores: Floats, noise: Floats, composed: Floats | None
) -> tuple[Posterior, float]:
    """Return the posterior with the best evidence, and the constant prior mean (used where it is not composed).

    Args:
        space: For the kernels.
        seen: Evaluated allocations.
        scores: Their mean scores, shape (n_seen,).
        noise: Variances of the scores around the expected score, shape (n_seen,).
        composed: Predictions for them, `None` where there are none.
    """
    kernels = tuple(stage_kernel(choices) for choices in space.stages)
    constant = float(np.average(scores, weights=1 / (noise + 1e-4)))
    means = [(False, np.full(len(scores), constant))]
    if composed is not None:
        means.append((True, composed))
    best: tuple[float, Posterior] | None = None
    for (uses_composed, mean), amplitude, joint in product(means, AMPLITUDES, JOINT_SHARES):
        level = LEVEL_COMPOSED if uses_composed else LEVEL_FLAT
        draft = Posterior(
            kernels, seen, amplitude, joint, level, uses_composed, np.zeros((0, 0)), np.zeros(0)
        )
        evidence, posterior = _condition(draft, scores - mean, noise)
        evidence += FAVOUR_COMPOSED if uses_composed else 0.0
        if best is None or evidence > best[0]:
            best = evidence, posterior
    assert best is not None  # noqa: S101 - the grids are not empty
    return best[1], constant


def _condition(draft: Posterior, residual: Floats, noise: Floats) -> tuple[float, Posterior]:
    from scipy.linalg import cho_solve, cholesky

    covariance = draft.prior_covariance(draft.seen, draft.seen) + np.diag(noise)
    lower = cholesky(covariance, lower=True)
    weights = cho_solve((lower, True), residual)
    evidence = -0.5 * float(residual @ weights) - float(np.log(np.diag(lower)).sum())
    return evidence, Posterior(
        draft.kernels,
        draft.seen,
        draft.amplitude,
        draft.joint_share,
        draft.level,
        draft.uses_composed,
        lower,
        weights,
    )

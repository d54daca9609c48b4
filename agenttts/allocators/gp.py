"""Gaussian process with expected improvement over the encoding of the feasible set.

Kernel: Matérn 5/2 with one length scale per dimension (ARD); categorical dimensions differ by 0 or 1, ordinal ones by
their share of the range. Length scales, amplitude and noise maximise the likelihood times a weak prior. A batch is
chosen one by one, each time taking the last choice to score what was predicted ("Kriging believer").

Source: Jones et al. 1998 (expected improvement); Snoek et al. 2012, arXiv:1206.2944 (kernel); Ginsbourger et al. 2010
(batches). Optuna's `GPSampler` does much the same but needs PyTorch, which is not worth its size here; so this is
written with SciPy. Departures from Optuna's: the acquisition is maximised over listed or sampled feasible allocations
rather than by gradients, so nothing is proposed that would have to be repaired; improvement counts from the best
predicted score rather than the best seen, as scores are noisy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.base import Proposal
from agenttts.allocators.random import untried
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive
from agenttts.task.options import threshold

__all__ = ["Gp"]

Floats = NDArray[np.float64]

N_STARTUP = 10
"""Random trials before the first fit; as in Optuna."""
N_LISTED = 3000
"""Up to so many feasible allocations, all are candidates."""
N_SAMPLED = 1500
N_CENTRES = 5
"""Best trials whose neighbours (one stage changed) are candidates in larger spaces."""
MOST_NEIGHBOURS = 1500
MOST_STEPS = 60
"""Of the optimiser of the likelihood."""
JITTER = 1e-8
PRIOR_LOG_SCALE = (0.0, 1.5)
"""Mean and standard deviation of log length scales; dimensions are at most 1 wide."""
PRIOR_LOG_NOISE = (-2.0, 1.5)
"""Mean and standard deviation of the log of the noise variance, of scores scaled to variance 1."""


@dataclass(frozen=True)
class Gp:
    """Fit a Gaussian process to the archive and propose where the expected improvement is largest."""

    name: str = "gp"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        trials = sorted(archive.valid, key=lambda trial: trial.number)
        rows = [(trial, space.index(trial.allocation)) for trial in trials]
        known = [(trial, row) for trial, row in rows if row is not None]
        found: dict[Allocation, Proposal] = {}
        if len(known) >= N_STARTUP:
            seen = np.array([row for _, row in known], dtype=np.int32)
            scores = np.array([archive.estimate(trial) for trial, _ in known])
            candidates = _candidates(archive, space, seen, scores, rng)
            with _one_thread():
                batch = _best_batch(space, seen, scores, candidates, k)
            for row, predicted in batch:
                allocation = space.allocation(row)
                found[allocation] = Proposal(allocation, self.name, f"predicted score {predicted:.3f}")
        for allocation in untried(space, k - len(found), rng, archive.tried | found.keys()):
            found[allocation] = Proposal(allocation, self.name, "drawn uniformly from what fits")
        return list(found.values())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread: for some hundred rows, several would mostly wait for one another."""
    import scipy.linalg  # noqa: F401 - the limit holds for libraries that are loaded, and SciPy has its own
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


# --- candidates --------------------------------------------------------------------------------------------------


def _candidates(
    archive: Archive, space: Space, seen: Indices, scores: Floats, rng: np.random.Generator
) -> Indices:
    """Return feasible allocations that were not tried, each once, in a fixed order."""
    if space.enumerable and space.n_feasible <= N_LISTED:
        rows = space.feasible_indices()
    else:
        near = _neighbours(space, seen[np.argsort(-scores, kind="stable")[:N_CENTRES]])
        if len(near) > MOST_NEIGHBOURS:
            near = near[np.sort(rng.choice(len(near), MOST_NEIGHBOURS, replace=False))]
        rows = np.unique(np.concatenate([space.sample(rng, N_SAMPLED), near]), axis=0)
    tried = {row for row in map(space.index, archive.tried) if row is not None}
    keep = [tuple(int(i) for i in row) not in tried for row in rows]
    kept: Indices = rows[np.array(keep, dtype=bool)]
    return kept


def _neighbours(space: Space, centres: Indices) -> Indices:
    """Return feasible allocations that differ from a centre in one stage, shape (n, n_stages)."""
    parts = [np.zeros((0, space.n_stages), dtype=np.int32)]
    for centre in centres:
        for s, choices in enumerate(space.stages):
            rows = np.repeat(centre[None, :], len(choices), axis=0)
            rows[:, s] = np.arange(len(choices))
            parts.append(rows)
    rows = np.concatenate(parts)
    fits = np.array([space.feasible(space.allocation(row)) for row in rows], dtype=bool)
    fitting: Indices = rows[fits]
    return fitting


def _best_batch(
    space: Space, seen: Indices, scores: Floats, candidates: Indices, k: int
) -> list[tuple[Indices, float]]:
    """Return up to `k` candidates with their predicted scores, chosen one by one by expected improvement."""
    tables = _tables(space)
    centre, width = float(scores.mean()), float(scores.std()) or 1.0
    y = (scores - centre) / width
    process = Process.fit(_distances(tables, seen, seen), y)
    chosen: list[tuple[Indices, float]] = []
    left = np.ones(len(candidates), dtype=bool)
    to_seen = _distances(tables, candidates, seen)
    while len(chosen) < k and left.any():
        among = _distances(tables, seen, seen)
        mean, deviation = process.at(to_seen, among, y)
        at_seen, _ = process.at(among, among, y)
        gain = np.where(left, expected_improvement(mean, deviation, float(at_seen.max())), -1.0)
        pick = int(np.argmax(gain))
        new = candidates[pick : pick + 1]
        chosen.append((candidates[pick], centre + width * float(mean[pick])))
        left[pick] = False
        seen, y = np.concatenate([seen, new]), np.append(y, mean[pick])
        to_seen = np.concatenate([to_seen, _distances(tables, candidates, new)], axis=2)
    return chosen


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Return E[max(value - best, 0)] of normal values, shape (n,)."""
    from scipy.special import ndtr

    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    result: Floats = deviation * (z * ndtr(z) + density)
    return result


# --- distances ---------------------------------------------------------------------------------------------------


def _tables(space: Space) -> list[list[Floats]]:
    """Return, by stage and dimension, squared distances between choices, shape (n_choices, n_choices) each.

    One sample lies half-way between all selectors, as it is the same whichever is named: so distances stay Euclidean
    and kernels positive definite.
    """
    tables = []
    for choices in space.stages:
        counts = sorted({c.n_samples for c in choices})
        position = [[counts.index(c.n_samples) / max(len(counts) - 1, 1)] for c in choices]
        models = list(dict.fromkeys(c.model for c in choices))
        selectors = list(dict.fromkeys(c.select for c in choices if c.n_samples > 1)) or ["first"]
        share = 1 / len(selectors)
        select = [
            [share if c.n_samples == 1 else float(c.select == label) for label in selectors] for c in choices
        ]
        model = [[float(c.model == label) for label in models] for c in choices]
        thresholds = sorted({threshold(c.below) for c in choices})
        below = [[thresholds.index(threshold(c.below)) / max(len(thresholds) - 1, 1)] for c in choices]
        parts = [(model, 0.5), (position, 1.0), (select, 0.5), (below, 1.0)]
        squares = [scale * _squares(np.array(points)) for points, scale in parts]
        tables.append([square for square in squares if square.any()])
    return tables


def _squares(points: Floats) -> Floats:
    result: Floats = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    return result


def _distances(tables: list[list[Floats]], a: Indices, b: Indices) -> Floats:
    """Return squared distances by dimension, shape (n_dimensions, len(a), len(b))."""
    parts = [square[np.ix_(a[:, s], b[:, s])] for s, squares in enumerate(tables) for square in squares]
    return np.stack(parts) if parts else np.zeros((0, len(a), len(b)))


# --- the process -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """Hyperparameters of a Gaussian process with mean 0 over scores of variance 1."""

    log_scales: Floats
    """Log length scale of each dimension."""
    log_amplitude: float
    """Log variance of what is to be learnt."""
    log_noise: float
    """Log variance of the noise."""

    @classmethod
    def fit(cls, squared: Floats, y: Floats) -> Process:
        """Maximise likelihood times prior.

        Args:
            squared: Squared distances by dimension, shape (n_dimensions, n, n).
            y: Scaled scores, shape (n,).
        """
        from scipy.optimize import minimize

        n_dimensions = len(squared)
        start = np.concatenate([np.full(n_dimensions, PRIOR_LOG_SCALE[0]), [0.0, PRIOR_LOG_NOISE[0]]])
        bounds = [(-3.0, 4.0)] * n_dimensions + [(-4.0, 3.0), (-7.0, 1.0)]
        fitted = minimize(
            _loss,
            start,
            args=(squared, y),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": MOST_STEPS},
        )
        return cls(fitted.x[:n_dimensions], float(fitted.x[-2]), float(fitted.x[-1]))

    def kernel(self, squared: Floats) -> Floats:
        """Return covariances, shape (n, m), from squared distances by dimension."""
        values, _ = _matern(np.tensordot(np.exp(-2 * self.log_scales), squared, axes=1))
        return float(np.exp(self.log_amplitude)) * values

    def at(self, to_seen: Floats, among_seen: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return posterior means and standard deviations, shape (n,) each.

        Args:
            to_seen: Squared distances to what was seen, shape (n_dimensions, n, n_seen).
            among_seen: Shape (n_dimensions, n_seen, n_seen).
            y: Scaled scores seen, shape (n_seen,).
        """
        from scipy.linalg import cho_factor, cho_solve

        noise = (np.exp(self.log_noise) + JITTER) * np.eye(len(y))
        factor = cho_factor(self.kernel(among_seen) + noise, lower=True)
        cross = self.kernel(to_seen)
        mean = cross @ cho_solve(factor, y)
        explained = (cross * cho_solve(factor, cross.T).T).sum(axis=1)
        variance = np.maximum(np.exp(self.log_amplitude) - explained, 1e-12)
        return mean, np.sqrt(variance)


def _matern(squared: Floats) -> tuple[Floats, Floats]:
    """Return Matérn 5/2 of unit variance at squared distances, and its derivative by them."""
    root = np.sqrt(5 * squared)
    decay = np.exp(-root)
    return (1 + root + 5 / 3 * squared) * decay, -5 / 6 * (1 + root) * decay


def _loss(parameters: Floats, squared: Floats, y: Floats) -> tuple[float, Floats]:
    """Return the negative log of likelihood times prior, and its gradient."""
    from scipy.linalg import cho_factor, cho_solve

    log_scales, log_amplitude, log_noise = parameters[:-2], parameters[-2], parameters[-1]
    weights = np.exp(-2 * log_scales)
    shape, slope = _matern(np.tensordot(weights, squared, axes=1))
    amplitude, noise = np.exp(log_amplitude), np.exp(log_noise)
    n = len(y)
    factor = cho_factor(amplitude * shape + (noise + JITTER) * np.eye(n), lower=True)
    inverse = cho_solve(factor, np.eye(n))
    alpha = inverse @ y
    sensitivity = 0.5 * (inverse - np.outer(alpha, alpha))
    loss = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum())
    by_scale = np.tensordot(squared, sensitivity * amplitude * slope, axes=2) * -2 * weights
    by_amplitude = float((sensitivity * amplitude * shape).sum())
    by_noise = float(np.trace(sensitivity) * noise)
    centres = np.concatenate([np.full(len(log_scales), PRIOR_LOG_SCALE[0]), [0.0, PRIOR_LOG_NOISE[0]]])
    widths = np.concatenate([np.full(len(log_scales), PRIOR_LOG_SCALE[1]), [1.0, PRIOR_LOG_NOISE[1]]])
    away = (parameters - centres) / widths
    gradient = np.concatenate([by_scale, [by_amplitude, by_noise]]) + away / widths
    return loss + 0.5 * float(away @ away), gradient

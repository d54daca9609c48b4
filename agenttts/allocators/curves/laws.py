"""How likely one sample of a model is right: a law over problems, fitted by expectation maximisation.

One mean would not do: repeated samples help on problems of middling chance and on no others, so what more samples
bring is decided by how chances differ between problems (Snell et al. 2024, arXiv:2408.03314). The law of a (stage, model) pair is a discrete mixture whose
prior is a Beta law; each problem then has a posterior of its own.

Sources: the Beta-binomial law of repeated samples (Brown et al. 2024, arXiv:2407.21787, who fit coverage of LLM
samples; Chen et al. 2021, arXiv:2107.03374, for pass@k); the nonparametric mixture fitted by EM (Laird 1978), here
smoothed towards the Beta law, because ten problems do not determine a free law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NODES", "Counts", "ProblemLaws", "SketchLaw", "beta_law", "fit_laws"]

Floats = NDArray[np.float64]

EDGES = np.array(
    [0, 0.01, 0.03, 0.07, 0.13, 0.2, 0.28, 0.36, 0.44, 0.5, 0.56, 0.64, 0.72, 0.8, 0.87, 0.93, 0.97, 0.99, 1]
)
NODES: Floats = (EDGES[1:] + EDGES[:-1]) / 2
"""Chances of success that laws are tabulated on, shape (n_nodes,); finer near 0 and 1, where laws pile up."""
LOGITS: Floats = np.log(NODES / (1 - NODES))
PRIOR_OVERDISPERSION = 0.5
PRIOR_PROBLEMS = 10.0
"""Problems that the prior overdispersion, and the Beta law under the mixture, count as."""
PRIOR_MEAN_SAMPLES = 2.0
"""Independent samples that the prior mean counts as."""
SKETCH_PROBLEMS = 2.0
"""Problems that a planner's sketch counts as: a false one is outvoted by any trial."""
N_STEPS = 25
EASE = 0.6
"""How far a problem that is easy for some models of a stage is taken to be easy for one not seen on it."""


@dataclass(frozen=True)
class Counts:
    """Samples of one model at one stage by problem."""

    right: Floats
    """Sum of sample scores, shape (n_problems,)."""
    n: Floats
    """Samples, 0 where the problem was not seen; need not be whole."""


@dataclass(frozen=True)
class SketchLaw:
    """A planner's guess of a curve, as a law: weights over `NODES`."""

    weights: Floats

    @classmethod
    def of(cls, one_sample: float, plateau: float, half_way: float) -> SketchLaw:
        """Return the law of a guess: a share `plateau` of the problems can be solved, the others nearly never.

        Args:
            one_sample: Score of one sample in [0, 1].
            plateau: Score that many samples approach in [0, 1].
            half_way: Samples, above 1, at which half of the rise is done: the more, the more solvable problems differ.
        """
        solvable = float(np.clip(max(plateau, one_sample), 0.02, 1.0))
        mean = float(np.clip(one_sample / solvable, 0.02, 0.98))
        rho = float(np.clip(0.1 + 0.1 * np.log2(max(half_way, 1.0)), 0.1, 0.7))
        return cls(solvable * beta_law(mean, rho) + (1 - solvable) * beta_law(0.02, 0.2))


def beta_law(mean: float, rho: float) -> Floats:
    """Return the weights over `NODES` of the Beta law with this mean and intraclass correlation `rho`, in (0, 1)."""
    from scipy.special import betainc

    strength = (1 - rho) / rho
    weights = np.maximum(np.diff(betainc(mean * strength, (1 - mean) * strength, EDGES)), 1e-9)
    result: Floats = weights / weights.sum()
    return result


@dataclass(frozen=True)
class ProblemLaws:
    """The law of one (stage, model) pair, and what it becomes for each problem."""

    population: Floats
    """Weights over `NODES`, shape (n_nodes,)."""
    problems: Floats
    """Weights by problem, shape (n_problems, n_nodes)."""
    seen: NDArray[np.bool_]
    """Problems with samples, shape (n_problems,)."""

    @property
    def mean(self) -> float:
        """Mean chance over the population."""
        return float(self.population @ NODES)

    @property
    def ease(self) -> Floats:
        """By how much each seen problem is easier than the population's mean, in logits; NaN where unseen."""
        shift = self.problems @ LOGITS - self.population @ LOGITS
        return np.where(self.seen, shift, np.nan)

    def tilted(self, ease: Floats) -> ProblemLaws:
        """Return the laws with the unseen problems moved by an ease, in logits, shape (n_problems,)."""
        spread = float(self.population @ LOGITS**2 - (self.population @ LOGITS) ** 2)
        tilt = np.clip(EASE * ease / max(spread, 0.3), -4, 4)
        weights = self.population * np.exp(tilt[:, None] * LOGITS)
        weights /= weights.sum(axis=1, keepdims=True)
        problems = np.where(self.seen[:, None], self.problems, weights)
        return ProblemLaws(self.population, problems, self.seen)


def fit_laws(
    counts: Counts, prior_mean: float, sketch: SketchLaw | None = None, weight: float = PRIOR_MEAN_SAMPLES
) -> ProblemLaws:
    """Return the law of one (stage, model) pair.

    Args:
        counts: What was seen.
        prior_mean: Mean chance before data.
        sketch: A planner's guess, worth `SKETCH_PROBLEMS` problems.
        weight: Independent samples that the prior mean counts as.
    """
    if sketch is not None:
        guess = float(sketch.weights @ NODES)
        prior_mean = (weight * prior_mean + SKETCH_PROBLEMS * guess) / (weight + SKETCH_PROBLEMS)
        weight += SKETCH_PROBLEMS
    seen = counts.n > 0
    likelihood = _likelihood(counts)
    base = _base(counts, prior_mean, weight)
    if sketch is not None:
        base = (PRIOR_PROBLEMS * base + SKETCH_PROBLEMS * sketch.weights) / (PRIOR_PROBLEMS + SKETCH_PROBLEMS)
    population = base
    for _ in range(N_STEPS if seen.any() else 0):
        posterior = likelihood[seen] * population
        posterior /= posterior.sum(axis=1, keepdims=True)
        population = (posterior.sum(axis=0) + PRIOR_PROBLEMS * base) / (seen.sum() + PRIOR_PROBLEMS)
    problems = likelihood * population
    problems /= problems.sum(axis=1, keepdims=True)
    return ProblemLaws(population, problems, seen)


def _likelihood(counts: Counts) -> Floats:
    """Return binomial likelihoods, largest 1 by problem, shape (n_problems, n_nodes); 1 where unseen."""
    log = counts.right[:, None] * np.log(NODES) + (counts.n - counts.right)[:, None] * np.log1p(-NODES)
    result: Floats = np.exp(log - log.max(axis=1, keepdims=True)) + 1e-300
    return result


def _base(counts: Counts, prior_mean: float, weight: float) -> Floats:
    """Return the Beta law by moments."""
    seen = counts.n > 0
    shares, n = counts.right[seen] / counts.n[seen], counts.n[seen]
    # A problem is worth at most about two samples: those beyond tell of this problem alone.
    worth = n / (1 + PRIOR_OVERDISPERSION * (n - 1)).clip(min=0.5)
    mean = float((np.sum(worth * shares) + weight * prior_mean) / (np.sum(worth) + weight))
    mean = min(max(mean, 0.005), 0.995)
    return beta_law(mean, _overdispersion(shares, n, mean))


def _overdispersion(shares: Floats, n: Floats, mean: float) -> float:
    """Return how much chances differ between problems, in (0, 1), by moments, shrunk to the prior."""
    several = n >= 2
    count = int(several.sum())
    if count < 3:
        return PRIOR_OVERDISPERSION
    noise = float(np.mean(1 / n[several]))
    ratio = float(np.mean((shares[several] - mean) ** 2)) / (mean * (1 - mean))
    moment = min(max((ratio - noise) / max(1 - noise, 1e-3), 0.03), 0.97)
    return (count * moment + PRIOR_PROBLEMS * PRIOR_OVERDISPERSION) / (count + PRIOR_PROBLEMS)

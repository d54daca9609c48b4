"""The default allocator: predict every allocation that fits, propose what is worth its price.

How scores rise with samples at every stage and carry from stage to stage is estimated from single samples (`laws`);
what that leaves unexplained, and how unsure all of it is, from final scores (`gaussian`). Proposals are the largest
expected improvements per unit that is still to be paid, found by going through the whole feasible set.

Sources: expected improvement (Jones et al. 1998) per cost (Snoek et al. 2012, arXiv:1206.2944), with a floor so that
free trials are not preferred without limit; batches by believing the mean (Ginsbourger et al. 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.base import Proposal
from agenttts.allocators.gaussian import Posterior, fit
from agenttts.allocators.laws import compose
from agenttts.allocators.opening import opening
from agenttts.allocators.random import untried
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive, Trial

__all__ = ["Curves"]

Floats = NDArray[np.float64]

MOST_CANDIDATES = 1_000_000
N_SAMPLED = 200_000
POOL = 1500
"""Candidates among which a batch is put together."""
FLOOR = 0.5
"""Share of the budget that every trial counts as costing on top of what it has to pay for."""
PARTLY_HELD = 0.7
"""Share of held draws that serve again at a stage whose prompts depend on other stages' answers."""
N_FEW = 3
"""With fewer scored trials than this nothing is predicted."""
EXPLORE = 0.15
"""Chance that a proposal is drawn uniformly instead, against surfaces that the model cannot see."""
EXPLORE_MORE = 0.04
"""What is added to it for every trial in a row beyond the patience that was not better than the best."""
EXPLORE_MOST = 0.6
PATIENCE = 4


@dataclass(frozen=True)
class Curves:
    """Fit saturation and influence by stage, propose the best expected improvement per unit still to be paid."""

    name: str = "curves"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        ordered = Archive.of(archive.trials)
        proposals = [
            Proposal(allocation, self.name, f"opening: {n_new} model{'s' * (n_new > 1)} new to a stage")
            for allocation, n_new in opening(ordered, space, k, rng)
        ]
        taken = {p.allocation for p in proposals}
        seen = [t for t in ordered.valid if space.index(t.allocation) is not None]
        if len(proposals) < k and len(seen) >= N_FEW:
            fitted = self._fitted(ordered, seen, space, k - len(proposals), rng, taken)
            proposals += fitted
            taken |= {p.allocation for p in fitted}
        filler = untried(space, k - len(proposals), rng, ordered.tried | taken)
        return proposals + [Proposal(a, self.name, "drawn uniformly, to explore") for a in filler]

    def _fitted(
        self,
        archive: Archive,
        seen: list[Trial],
        space: Space,
        k: int,
        rng: np.random.Generator,
        taken: set[Allocation],
    ) -> list[Proposal]:
        k = k - int(np.sum(rng.random(k) < _explore(archive)))
        candidates = _candidates(archive, space, rng, taken)
        if k <= 0 or len(candidates) == 0:
            return []
        forecast = _forecast(archive, seen, space, candidates)
        batch = _batch(forecast, archive, space, k)
        return [
            Proposal(
                space.allocation(forecast.indices[i]),
                self.name,
                f"predicted {forecast.mean[i]:.3f}, sd {forecast.deviation[i]:.3f}; "
                f"about {pay:,.3g} {space.budget.unit.label} a problem still to be paid",
            )
            for i, pay in batch
        ]


def _explore(archive: Archive) -> float:
    """Return the share of uniform proposals: where predicted improvements do not come, the model may be wrong."""
    best = archive.best()
    since = 0 if best is None else sum(trial.number > best.number for trial in archive.valid)
    return min(EXPLORE_MOST, EXPLORE + EXPLORE_MORE * max(0, since - PATIENCE))


def _candidates(archive: Archive, space: Space, rng: np.random.Generator, taken: set[Allocation]) -> Indices:
    """Return untried feasible allocations: all of them, or many with the neighbours of good ones."""
    if space.enumerable and space.n_feasible <= MOST_CANDIDATES:
        rows = space.feasible_indices()
    else:
        near = [_neighbours(space, trial.allocation) for trial in archive.ranked[:20]]
        rows = np.unique(np.concatenate([space.sample(rng, N_SAMPLED), *near]), axis=0)
    known = {space.index(allocation) for allocation in archive.tried | taken}
    codes = _codes(space, rows)
    excluded = [_codes(space, np.array([index]))[0] for index in known if index is not None]
    kept: Indices = rows[~np.isin(codes, np.array(excluded, dtype=codes.dtype))]
    return kept


def _codes(space: Space, rows: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number per allocation. Floats hold them exactly up to 2**53, beyond which twins are ever rarer."""
    codes = np.zeros(len(rows))
    for s, choices in enumerate(space.stages):
        codes = codes * len(choices) + rows[:, s]
    return codes


def _neighbours(space: Space, allocation: Allocation) -> Indices:
    """Return the feasible allocations that differ at one stage."""
    index = space.index(allocation)
    if index is None:
        return np.zeros((0, space.n_stages), dtype=np.int32)
    rows = []
    for s, choices in enumerate(space.stages):
        block = np.tile(np.array(index, dtype=np.int32), (len(choices), 1))
        block[:, s] = np.arange(len(choices))
        rows.append(block)
    every = np.concatenate(rows)
    near: Indices = every[space.cost_array(every) <= space.budget.amount]
    return near


@dataclass(frozen=True)
class _Forecast:
    indices: Indices
    mean: Floats
    deviation: Floats
    posterior: Posterior
    incumbent: float
    """Highest posterior mean of a trial that may win: a lucky measurement is no incumbent."""
    noise: float


def _forecast(archive: Archive, seen: list[Trial], space: Space, candidates: Indices) -> _Forecast:
    rows = np.array([space.index(t.allocation) for t in seen], dtype=np.int32)
    scores = np.array([t.score for t in seen])
    noise = np.array([_noise(t) for t in seen])
    composition = compose(seen, space)
    posterior, constant = fit(
        space, rows, scores, noise, None if composition is None else composition.predict(rows)
    )

    def prior(indices: Indices) -> Floats:
        if composition is not None and posterior.uses_composed:
            return composition.predict(indices)
        return np.full(len(indices), constant)

    mean, deviation = posterior.at(candidates, prior(candidates))
    at_seen, _ = posterior.at(rows, prior(rows))
    may_win = [float(m) for m, t in zip(at_seen, seen, strict=True) if t.status == "ok"]
    incumbent = max(may_win, default=float(at_seen.min()))
    return _Forecast(candidates, mean, deviation, posterior, incumbent, float(noise.mean()))


def _noise(trial: Trial) -> float:
    """Return the variance of a trial's score around its expectation on these problems.

    Part of the binomial variance only: which problems are hard is the same for all trials.
    """
    n = len(trial.scores)
    return max(2.5e-5, 0.3 * max(trial.score * (1 - trial.score), 0.02) / n)


def _batch(forecast: _Forecast, archive: Archive, space: Space, k: int) -> list[tuple[int, float]]:
    """Return the positions of up to `k` candidates, with what each has to pay, best first."""
    held = dict(archive.held)
    value = _worth(
        forecast.mean, forecast.deviation, forecast.incumbent, _to_pay(space, held, forecast.indices)
    )
    pool = np.argsort(-value, kind="stable")[:POOL]
    indices, mean = forecast.indices[pool], forecast.mean[pool]
    covariance = forecast.posterior.covariance(indices)
    incumbent = forecast.incumbent
    found: list[tuple[int, float]] = []
    open_ = np.ones(len(pool), dtype=bool)
    while len(found) < min(k, len(pool)):
        deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-10))
        to_pay = _to_pay(space, held, indices)
        worth = np.where(open_, _worth(mean, deviation, incumbent, to_pay), -np.inf)
        i = int(np.argmax(worth))
        open_[i] = False
        found.append((int(pool[i]), float(to_pay[i])))
        covariance = covariance - np.outer(covariance[i], covariance[i]) / (covariance[i, i] + forecast.noise)
        incumbent = max(incumbent, float(mean[i]))
        for choice in space.allocation(indices[i]).choices:
            place = (choice.stage, choice.model)
            held[place] = max(held.get(place, 0), choice.n_samples)
    return found


def _to_pay(space: Space, held: dict[tuple[str, str], int], indices: Indices) -> Floats:
    """Return the expected cost of the draws that no trial has made yet, per problem, shape (n_allocations,)."""
    total = np.zeros(len(indices))
    for s, (choices, costs) in enumerate(zip(space.stages, space.costs, strict=True)):
        reach = PARTLY_HELD if space.structure.needs.get(choices[0].stage) else 1.0
        shares = [1 - reach * min(1.0, held.get((c.stage, c.model), 0) / c.n_samples) for c in choices]
        total += np.maximum(np.array(costs) * np.array(shares), 0.0)[indices[:, s]]
    return total


def _worth(mean: Floats, deviation: Floats, incumbent: float, to_pay: Floats) -> Floats:
    """Return the logarithm of the expected improvement per unit still to be paid (a common factor left out)."""
    from scipy.special import log_ndtr

    z = (mean - incumbent) / deviation
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    # EI = sd (density + z cdf). Far below the incumbent the two terms cancel; there EI ~ sd density / z**2.
    ratio = np.exp(np.minimum(log_ndtr(z) - log_density, 700.0))
    inner = np.where(z > -8, 1 + z * ratio, 1 / np.maximum(z**2, 1e-12))
    log_improvement = np.log(deviation) + log_density + np.log(np.maximum(inner, 1e-300))
    # z cdf / density is beyond the range of floats for large z, where EI is the plain difference.
    log_improvement = np.where(z > 8, np.log(np.maximum(mean - incumbent, 1e-300)), log_improvement)
    scale = FLOOR * float(np.max(to_pay, initial=0.0)) + 1e-12
    result: Floats = log_improvement - np.log(scale + to_pay)
    return result

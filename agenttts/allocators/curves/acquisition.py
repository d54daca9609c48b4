"""What a trial is worth: the expected improvement over the incumbent per unit that is still to be paid.

Sources: expected improvement (Jones et al. 1998) per cost (Snoek et al. 2012, arXiv:1206.2944), with a floor so that
free trials are not preferred without limit; its logarithm (Ament et al. 2023, arXiv:2310.20708), so that hopeless
candidates can still be told apart; batches by believing the mean (Ginsbourger et al. 2010). We depart in the
improvement: of the true mean over the incumbent's true mean, both unknown, and not over the best measurement, which is
lucky.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.model import CurvesModel
from agenttts.allocators.curves.samples import run_shares
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import StageChoice

__all__ = ["Pick", "best_batch", "log_worth", "to_pay"]

Floats = NDArray[np.float64]

POOL = 1000
"""Candidates among which a batch is put together."""
FLOOR = 0.5
"""Share of the dearest candidate's cost that every trial counts as costing on top of what it has to pay for."""
PARTLY_HELD = 0.7
"""Share of held draws that serve again at a stage whose prompts depend on other stages' answers."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate of a batch."""

    index: tuple[int, ...]
    mean: float
    deviation: float
    to_pay: float
    """Expected cost of the draws that no trial has made yet, per problem, in the unit of the budget."""


def best_batch(
    model: CurvesModel, held: Mapping[tuple[str, str, str], int], candidates: Indices, k: int
) -> list[Pick]:
    """Return up to `k` candidates, best first, each chosen as if those before it had scored as predicted.

    Args:
        model: The fit.
        held: See `Archive.held_by_label`.
        candidates: Allocations to choose from.
        k: Size of the batch.
    """
    mean, deviation, gap = model.against_incumbent(candidates)
    pay = to_pay(model.space, held, candidates)
    value = log_worth(mean, gap, _reference(model, mean), pay)
    pool = np.argsort(-value, kind="stable")[:POOL]
    return _sequence(model, dict(held), candidates[pool], mean[pool], gap[pool] / deviation[pool], k)


def _reference(model: CurvesModel, mean: Floats) -> float:
    return float(mean.min()) if model.incumbent is None else model.incumbent[1]


def _sequence(
    model: CurvesModel,
    held: dict[tuple[str, str, str], int],
    pool: Indices,
    mean: Floats,
    ratio: Floats,
    k: int,
) -> list[Pick]:
    """Choose one by one; what is chosen makes its like less uncertain, and its draws free."""
    covariance = model.residual.covariance(pool, model.prior(pool))
    incumbent = _reference(model, mean)
    open_ = np.ones(len(pool), dtype=bool)
    first = np.sqrt(np.maximum(np.diag(covariance), 1e-10))
    found = []
    for _ in range(min(k, len(pool))):
        own = np.sqrt(np.maximum(np.diag(covariance), 1e-10))
        pay = to_pay(model.space, held, pool)
        worth = np.where(open_, log_worth(mean, own * ratio, incumbent, pay), -np.inf)
        i = int(np.argmax(worth))
        open_[i] = False
        found.append(Pick(tuple(map(int, pool[i])), float(mean[i]), float(first[i]), float(pay[i])))
        covariance = covariance - np.outer(covariance[i], covariance[i]) / (covariance[i, i] + model.noise)
        incumbent = max(incumbent, float(mean[i]))
        for choice in model.space.allocation(pool[i]).choices:
            place = (choice.stage, choice.model, choice.select)
            held[place] = max(held.get(place, 0), choice.n_samples)
    return found


def to_pay(space: Space, held: Mapping[tuple[str, str, str], int], indices: Indices) -> Floats:
    """Return the expected cost of what no trial has paid for yet, per problem, shape (n_allocations,).

    A conditional stage counts with the share of problems on which it is expected to run. What a selector pays for
    (verifier, fusion) on top of the draws is held where the same selector was tried alone.

    Args:
        space: The costs.
        held: See `Archive.held_by_label`.
        indices: Allocations, shape (n_allocations, n_stages).
    """
    shares = run_shares(space, indices)
    total = np.zeros(len(indices))
    for s, (choices, costs) in enumerate(zip(space.stages, space.costs, strict=True)):
        stage = choices[0].stage
        reach = PARTLY_HELD if space.structure.needs.get(stage) else 1.0
        full = np.array(costs)
        draws = _draws_part(choices, costs)
        drawn = np.array([_share(_held(held, c), c.n_samples) for c in choices])
        selected = np.array([_selected(space, held, c) for c in choices])
        due = full - reach * (draws * drawn + (full - draws) * selected)
        cost = np.maximum(due, 0.0)[indices[:, s]]
        total += cost * shares[s] if s in shares else cost
    return total


def _share(n_held: int, n_samples: int) -> float:
    return min(1.0, n_held / n_samples)


def _held(held: Mapping[tuple[str, str, str], int], choice: StageChoice) -> int:
    place = (choice.stage, choice.model)
    return max((n for (stage, model, _), n in held.items() if (stage, model) == place), default=0)


def _selected(space: Space, held: Mapping[tuple[str, str, str], int], choice: StageChoice) -> float:
    """Return the share held of what the selector pays for: verified draws serve again, a fusion of others does not."""
    n_held = held.get((choice.stage, choice.model, choice.select), 0)
    if space.structure.kind(choice) == "fusion":
        return float(n_held == choice.n_samples)
    return _share(n_held, choice.n_samples)


def _draws_part(choices: Sequence[StageChoice], costs: Sequence[float]) -> Floats:
    """Return what the draws alone cost: the cheapest selector of as many samples, or that many times one sample."""
    least: dict[tuple[str, float | None, int], float] = {}
    for choice, cost in zip(choices, costs, strict=True):
        place = (choice.model, choice.below, choice.n_samples)
        least[place] = min(least.get(place, cost), cost)
    return np.array(
        [
            min(least[c.model, c.below, n], n * least.get((c.model, c.below, 1), np.inf))
            for c in choices
            for n in (c.n_samples,)
        ]
    )


def log_worth(mean: Floats, deviation: Floats, incumbent: float, pay: Floats) -> Floats:
    """Return the logarithm of the expected improvement per unit still to be paid, shape (n_allocations,).

    Args:
        mean: Expected scores.
        deviation: Standard deviations of the difference to the incumbent.
        incumbent: Expected score of the incumbent.
        pay: What is still to be paid.
    """
    from scipy.special import log_ndtr

    z = (mean - incumbent) / deviation
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    # EI = sd (density + z cdf). Far below the incumbent the two terms cancel; there EI ~ sd density / z**2.
    ratio = np.exp(np.minimum(log_ndtr(z) - log_density, 700.0))
    inner = np.where(z > -8, 1 + z * ratio, 1 / np.maximum(z**2, 1e-12))
    log_improvement = np.log(deviation) + log_density + np.log(np.maximum(inner, 1e-300))
    # z cdf / density is beyond the range of floats for large z, where EI is the plain difference.
    log_improvement = np.where(z > 8, np.log(np.maximum(mean - incumbent, 1e-300)), log_improvement)
    scale = FLOOR * float(np.max(pay, initial=0.0)) + 1e-12
    result: Floats = log_improvement - np.log(scale + pay)
    return result

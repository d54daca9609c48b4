"""The allocator `curves`: an opening, then batches of the largest expected improvement per unit still to be paid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.curves.acquisition import Pick, best_batch
from agenttts.allocators.curves.candidates import candidates
from agenttts.allocators.curves.model import CurvesModel, fitted
from agenttts.allocators.curves.opening import opening
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["Curves"]

EXPLORE = 0.1
"""Chance that a proposal is drawn uniformly instead, against surfaces that the model cannot see."""
EXPLORE_BLIND = 0.35
"""The same where there is no composed prediction, or none that is believed in."""
EXPLORE_MORE = 0.04
"""What is added to it for every trial in a row beyond the patience that was not better than the best."""
EXPLORE_MOST = 0.3
EXPLORE_BLIND_MOST = 0.6
PATIENCE = 4


@dataclass(frozen=True)
class Curves:
    """Fit saturation and influence by stage, propose the best expected improvement per unit still to be paid.

    Every proposal says how sure it is. Where predicted improvements do not come, a growing share of the proposals is
    drawn uniformly, so that no surface can hold the search up for long.
    """

    name: str = "curves"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        ordered = replace(archive, trials=Archive.of(archive.trials).trials)
        proposals = [
            Proposal(allocation, self.name, f"opening: {n_new} model{'s' * (n_new > 1)} new to a stage")
            for allocation, n_new in opening(ordered, space, k, rng)
        ]
        if len(proposals) < k:
            proposals += self._fitted(ordered, space, k - len(proposals), rng, _allocations(proposals))
        taken = ordered.tried | _allocations(proposals)
        filler = untried(space, k - len(proposals), rng, taken)
        return proposals + [Proposal(a, self.name, "drawn uniformly, to explore") for a in filler]

    def _fitted(
        self, archive: Archive, space: Space, k: int, rng: np.random.Generator, taken: frozenset[Allocation]
    ) -> list[Proposal]:
        model = fitted(archive, space)
        if model is None:
            return []
        k = k - int(np.sum(rng.random(k) < _explore(archive, model)))
        rows = candidates(model, archive, rng, archive.tried | taken)
        if k <= 0 or len(rows) == 0:
            return []
        batch = best_batch(model, archive.held_by_label, rows, k)
        batch = [pick for pick in batch if model.residual.believed or _promising(model, pick)]
        if not batch:
            return []
        chances = model.chance_to_beat(np.array([pick.index for pick in batch], dtype=np.int32))
        return [
            Proposal(space.allocation(pick.index), self.name, _reason(model, pick, float(chance)))
            for pick, chance in zip(batch, chances, strict=True)
        ]


def _promising(model: CurvesModel, pick: Pick) -> bool:
    """Return whether a pick may well be better than the incumbent by more than trials can tell apart.

    Asked only of predictions without a composition behind them: where those see but crumbs, a uniform draw is worth
    more.
    """
    if model.incumbent is None:
        return True
    return pick.mean + pick.deviation > model.incumbent[1] + float(np.sqrt(model.noise))


def _reason(model: CurvesModel, pick: Pick, chance: float) -> str:
    beats = ""
    if model.incumbent is not None:
        beats = f"{chance:.0%} sure to beat trial {model.incumbent[0].number}; "
    return (
        f"predicted {pick.mean:.3f}, sd {pick.deviation:.3f}; {beats}"
        f"about {pick.to_pay:,.3g} {model.space.budget.unit.label} a problem still to be paid"
    )


def _allocations(proposals: list[Proposal]) -> frozenset[Allocation]:
    return frozenset(proposal.allocation for proposal in proposals)


def _explore(archive: Archive, model: CurvesModel) -> float:
    """Return the share of uniform proposals: where predicted improvements do not come, the model may be wrong."""
    best = archive.best()
    since = 0 if best is None else sum(trial.number > best.number for trial in archive.valid)
    believed = model.residual.believed
    least, most = (EXPLORE, EXPLORE_MOST) if believed else (EXPLORE_BLIND, EXPLORE_BLIND_MOST)
    return min(most, least + EXPLORE_MORE * max(0, since - PATIENCE))

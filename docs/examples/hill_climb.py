"""An allocator of one's own: change one stage of the best allocation so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive


@dataclass(frozen=True)
class HillClimb:
    """Propose neighbours of the best allocation so far, and fill up with random ones."""

    name: str = "hill_climb"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """Return at most `k` different, feasible allocations that are not in `archive.tried`."""
        best = archive.best()
        near = [] if best is None else neighbours(best.allocation, space)
        new = [allocation for allocation in near if allocation not in archive.tried]
        steps = [new[i] for i in rng.permutation(len(new))[:k]]
        others = untried(space, k - len(steps), rng, archive.tried | set(steps))
        return [
            *(Proposal(step, self.name, "one change to the best so far") for step in steps),
            *(Proposal(other, self.name, "drawn at random") for other in others),
        ]


def neighbours(allocation: Allocation, space: Space) -> list[Allocation]:
    """Return the feasible allocations that differ from this one in one stage."""
    here = space.index(allocation)
    if here is None:
        return []
    found = []
    for stage, choices in enumerate(space.stages):
        for choice in range(len(choices)):
            changed = space.allocation((*here[:stage], choice, *here[stage + 1 :]))
            if choice != here[stage] and space.feasible(changed):
                found.append(changed)
    return found

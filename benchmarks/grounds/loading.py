"""Grounds by name, and one search on one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from agenttts.allocators.base import (
    Allocator,
    AllocatorOptions,
    Briefing,
    ConversingAllocator,
    Proposal,
    StageBriefing,
    make_allocator,
)
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import Planner, hold
from grounds.base import Ground, Paid, Run

GROUNDS = ("tiny", "aime", "simulated/3-stages", "simulated/3-stages-plain", "simulated/4-stages")


@cache
def load_ground(name: str, cache: Path, replay: Path | None) -> Ground:
    """Return a ground. Its recording and truth are made on first use and kept in the cache folder.

    Raises:
        SystemExit: `aime` without the folder of the recorded tables.
    """
    if name == "tiny":
        from grounds.tiny import TinyGround

        return TinyGround(cache)
    if name == "aime":
        from grounds.aime import AimeGround

        if replay is None:
            raise SystemExit(
                "the ground aime needs the folder of the recorded tables: --replay or AGENTTTS_REPLAY"
            )
        return AimeGround(replay, cache)
    from grounds.simulated import SimulatedGround

    return SimulatedGround(name)


Evaluate = Callable[[Run, Allocation, int, Archive], tuple[Trial, Paid]]
"""Runs one allocation as a trial of that number; the archive is that of the round's beginning."""


@dataclass
class Search:
    """What came of one search, trial by trial."""

    archive: Archive = field(default_factory=Archive)
    truths: list[float] = field(default_factory=list)
    """Truth of each trial's allocation; 0 where its true cost passes the budget."""
    recommended: list[float] = field(default_factory=list)
    """Truth of the allocation that would be recommended after each trial; 0 while there is none."""
    fresh: list[float] = field(default_factory=list)
    """Spend with reuse."""
    alone: list[float] = field(default_factory=list)
    """Spend without reuse."""

    def note(
        self, ground: Ground, allocation: Allocation, paid: Paid, recommended: Allocation | None
    ) -> None:
        """Take in what a trial cost and what it was worth."""
        self.truths.append(ground.truth(allocation) if ground.affords(allocation) else 0.0)
        self.recommended.append(0.0 if recommended is None else ground.truth(recommended))
        self.fresh.append(paid.fresh)
        self.alone.append(paid.alone)


def briefing(ground: Ground) -> Briefing:
    """What a planner is told about a ground."""
    stages = []
    for choices in ground.space.stages:
        cost = {
            c.model: ground.space.cost_of(c) for c in choices if c.n_samples == 1 and c.below in (None, 1.01)
        }
        stages.append(
            StageBriefing(
                choices[0].stage,
                f"stage {choices[0].stage}",
                {model: f"{price:.3g} a sample" for model, price in cost.items()},
            )
        )
    return Briefing(ground.name, ground.note, "share of right answers", tuple(stages))


def allocator_for(name: str, ground: Ground) -> Allocator | ConversingAllocator:
    return make_allocator(name, AllocatorOptions(briefing(ground)))


def search(
    ground: Ground,
    allocator: Allocator | ConversingAllocator,
    *,
    seed: int,
    n_trials: int,
    batch: int = 4,
    planner: Planner | None = None,
    evaluate: Evaluate | None = None,
) -> Search:
    """Propose and run in rounds, as a study does, with everything written down.

    Args:
        ground: Where.
        allocator: Proposes; one that converses is held a conversation with.
        seed: Of the order of the draws and of the rounds' generators.
        n_trials: Trials in all; fewer where the allocator has no more to propose.
        batch: Trials in a round.
        planner: Answers what a conversing allocator asks.
        evaluate: How a trial is run; `None`: on all problems.
    """
    run, found = ground.begin(seed), Search()
    n_round = 0
    while len(found.truths) < n_trials:
        rng = np.random.default_rng(np.random.SeedSequence([seed, n_round]))
        k = min(batch, n_trials - len(found.truths))
        proposals, found.archive = _proposals(ground, allocator, found.archive, k, rng, planner)
        if not proposals:
            break
        trials: list[Trial] = []
        for proposal in proposals:
            number = len(found.truths)
            trial, paid = (evaluate or _whole)(run, proposal.allocation, number, found.archive)
            trials.append(replace(trial, origin=proposal.origin))
            best = found.archive.with_trials(trials).best()
            found.note(ground, proposal.allocation, paid, None if best is None else best.allocation)
        found.archive = found.archive.with_trials(trials)
        n_round += 1
    return found


def _whole(run: Run, allocation: Allocation, number: int, archive: Archive) -> tuple[Trial, Paid]:
    return run.run(allocation, number)


def _proposals(
    ground: Ground,
    allocator: Allocator | ConversingAllocator,
    archive: Archive,
    k: int,
    rng: np.random.Generator,
    planner: Planner | None,
) -> tuple[Sequence[Proposal], Archive]:
    """Return a round's proposals, and the archive with what a conversation left behind."""
    if not isinstance(allocator, ConversingAllocator):
        return allocator.propose(archive, ground.space, k, rng), archive
    turn = hold(allocator.converse(archive, ground.space, k, rng), planner)
    return turn.proposals, archive.with_turn(turn.insights, turn.sketches, turn.memory)

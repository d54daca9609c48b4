"""A rehearsal of an allocator that asks a planner, so that a broken prompt file is found before anything is spent."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from agenttts.allocators.base import ConversingAllocator, Insight, PlannerAnswer, Turn
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial

__all__ = ["rehearsal_archive", "rehearsal_space", "rehearsed"]

Conversing = TypeVar("Conversing", bound=ConversingAllocator)

N_ROUNDS = 4
"""Enough for every prompt: an opening, a first round with results, later ones with a memory."""


def rehearsed(allocator: Conversing) -> Conversing:
    """Return the allocator after some rounds on an invented task of one stage, with a planner that says nothing useful.

    Raises:
        InputError: A prompt uses what it is not given.
    """
    space, archive = rehearsal_space(), Archive()
    for number in range(N_ROUNDS):
        turn = _turn(allocator, archive, space)
        trials = [_trial(number, proposal.allocation) for proposal in turn.proposals]
        archive = archive.with_turn(turn.insights, turn.sketches, turn.memory).with_trials(trials)
    return allocator


def rehearsal_space() -> Space:
    """Return an invented space of one stage."""
    choices = tuple(StageChoice("stage", "model", n, "first" if n == 1 else "way") for n in range(1, 9))
    return Space((choices,), (tuple(float(c.n_samples) for c in choices),), Budget(8.0, Unit.TOKENS))


def rehearsal_archive(space: Space) -> Archive:
    """Return an archive of some trials and an insight, for prompts that are rendered by hand."""
    trials = [_trial(number, Allocation((space.stages[0][number],))) for number in range(N_ROUNDS)]
    return Archive(tuple(trials), (Insight("text", (0,), 0.5),))


def _trial(number: int, allocation: Allocation) -> Trial:
    return Trial(number, allocation, "ok", {"problem": 0.5}, 1.0)


def _turn(allocator: ConversingAllocator, archive: Archive, space: Space) -> Turn:
    conversation = allocator.converse(archive, space, 1, np.random.default_rng(0))
    try:
        next(conversation)
        while True:
            conversation.send(PlannerAnswer("words"))
    except StopIteration as end:
        turn: Turn = end.value
        return turn

"""A rehearsal of an allocator that asks a planner, so that a broken prompt file is found before anything is spent."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from agenttts.allocators.base import ConversingAllocator, PlannerAnswer, Turn
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import StageChoice
from agenttts.study.archive import Archive, Trial

__all__ = ["rehearsed"]

Conversing = TypeVar("Conversing", bound=ConversingAllocator)

N_ROUNDS = 4
"""Enough for every prompt: an opening, a first round with results, later ones with a memory."""


def rehearsed(allocator: Conversing) -> Conversing:
    """Return the allocator after some rounds on an invented task of one stage, with a planner that says nothing useful.

    Raises:
        InputError: A prompt uses what it is not given.
    """
    choices = tuple(StageChoice("stage", "model", n, "first" if n == 1 else "way") for n in range(1, 9))
    space = Space((choices,), (tuple(float(c.n_samples) for c in choices),), Budget(8.0, Unit.TOKENS))
    archive = Archive()
    for number in range(N_ROUNDS):
        turn = _turn(allocator, archive, space)
        trials = [Trial(number, p.allocation, "ok", {"problem": 0.5}, 1.0) for p in turn.proposals]
        archive = archive.with_turn(turn.insights, turn.sketches, turn.memory).with_trials(trials)
    return allocator


def _turn(allocator: ConversingAllocator, archive: Archive, space: Space) -> Turn:
    conversation = allocator.converse(archive, space, 1, np.random.default_rng(0))
    try:
        next(conversation)
        while True:
            conversation.send(PlannerAnswer("words"))
    except StopIteration as end:
        turn: Turn = end.value
        return turn

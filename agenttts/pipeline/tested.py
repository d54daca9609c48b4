"""Scores of test stages, kept so that equal answers to a problem are tested once.

Allocations that lead a stage to the same answer share its test as they share draws: programs take their time, and one
that ran close to its time limit would otherwise pass in one trial and fail in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field

from agenttts.pipeline.base import Problem
from agenttts.pipeline.driver import World, verify
from agenttts.pipeline.scoring import key_of
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["Tested"]

MOST_KEPT = 4096
"""Scores kept; the oldest go first."""
Place = tuple[int, Hashable]


@dataclass(eq=False)
class Tested:
    """What a verifier gave to answers so far."""

    __test__ = False  # no test of pytest

    _scores: dict[Place, tuple[Problem, Score]] = field(default_factory=dict)
    """The problem is kept too, so that no other one can take the identity by which it is known."""
    _locks: dict[tuple[int, Place], asyncio.Lock] = field(default_factory=dict)
    """A lock belongs to one event loop."""

    async def score(self, verifier: Verifier, candidate: Candidate, world: World) -> Score:
        """Return the score of an answer to the problem of `world`; one that is under test already is waited for."""
        place = id(world.problem), key_of(verifier)(candidate)
        lock = self._locks.setdefault((id(asyncio.get_running_loop()), place), asyncio.Lock())
        async with lock:
            if place in self._scores:
                return self._scores[place][1]
            score = (await verify(verifier, [candidate], world))[0]
            self._keep(place, world.problem, score)
        self._locks.pop((id(asyncio.get_running_loop()), place), None)
        return score

    def _keep(self, place: Place, problem: Problem, score: Score) -> None:
        """Keep a score; not that there is none, which another try may change."""
        if score.value is None:
            return
        self._scores[place] = problem, score
        if len(self._scores) > MOST_KEPT:
            del self._scores[next(iter(self._scores))]

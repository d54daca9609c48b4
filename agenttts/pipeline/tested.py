"""Scores of test stages, kept so that equal answers to a problem are tested once.

Allocations that lead a stage to the same answer share its test as they share draws: programs take their time, and one
that ran close to its time limit would otherwise pass in one trial and fail in the next.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field

from agenttts.pipeline.base import Problem
from agenttts.pipeline.driver import World, verify
from agenttts.pipeline.scoring import key_of
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["Tested"]

MOST_KEPT = 4096
"""Scores kept; those of the problem that was tested first go first."""
Place = tuple[int, Hashable]


@dataclass(eq=False)
class Tested:
    """What a verifier gave to answers so far."""

    __test__ = False  # no test of pytest

    _scores: dict[int, dict[Hashable, Score]] = field(default_factory=dict)
    """By identity of the problem. They go with it, so that a server holds no request that it has answered, and so that
    no other problem can take over the identity."""
    _problems: dict[int, weakref.ref[Problem]] = field(default_factory=dict)
    _locks: dict[tuple[int, Place], asyncio.Lock] = field(default_factory=dict)
    """A lock belongs to one event loop."""

    async def score(self, verifier: Verifier, candidate: Candidate, world: World) -> Score:
        """Return the score of an answer to the problem of `world`; one that is under test already is waited for."""
        number, key = id(world.problem), key_of(verifier)(candidate)
        held = id(asyncio.get_running_loop()), (number, key)
        try:
            async with self._locks.setdefault(held, asyncio.Lock()):
                known = self._scores.get(number, {}).get(key)
                if known is not None:
                    return known
                score = (await verify(verifier, [candidate], world))[0]
                self._keep(world.problem, key, score)
                return score
        finally:
            self._locks.pop(held, None)

    def _keep(self, problem: Problem, key: Hashable, score: Score) -> None:
        """Keep a score; not that there is none, which another try may change."""
        if score.value is None:
            return
        number = id(problem)
        if number not in self._scores:
            self._scores[number] = {}
            self._problems[number] = weakref.ref(problem, lambda _: self._forget(number))
        self._scores[number][key] = score
        if sum(map(len, self._scores.values())) > MOST_KEPT:
            self._forget(next(iter(self._scores)))

    def _forget(self, number: int) -> None:
        self._scores.pop(number, None)
        self._problems.pop(number, None)

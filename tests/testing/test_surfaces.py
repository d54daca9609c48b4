"""Searching a simulated task: spend with and without reuse by hand, and conversations that are carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from agenttts.allocators.base import (
    Conversation,
    Insight,
    PlannerAnswer,
    PlannerCall,
    Proposal,
    Turn,
    make_allocator,
)
from agenttts.allocators.space import Space
from agenttts.models.base import Message
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive
from agenttts.testing.surfaces import SimulatedTask, Spend, chain_space, search

SKILLS = {f"stage{s}": {"simulated/small": -0.5, "simulated/large": 0.5} for s in range(2)}
PRICES = {"simulated/small": 1.0, "simulated/large": 10.0}


def task(n_stages: int = 1, n_problems: int = 10) -> SimulatedTask:
    space = chain_space(n_stages, PRICES, (1, 2, 4), budget=60.0)
    return SimulatedTask(space, SKILLS, n_problems=n_problems)


@dataclass(frozen=True)
class Listed:
    """Proposes what it was given, in order."""

    allocations: tuple[Allocation, ...]

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        first = len(archive.trials)
        return [Proposal(allocation, "listed") for allocation in self.allocations[first : first + k]]


@dataclass(frozen=True)
class Asking:
    """Asks twice a round and proposes the cheapest allocations that are left."""

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        first = yield PlannerCall((Message("user", f"round {len(archive.memory)}"),))
        second = yield PlannerCall((Message("user", "and?"),))
        rows = space.feasible_indices()
        rows = rows[np.argsort(space.cost_array(rows), kind="stable")]
        left = [a for a in map(space.allocation, rows) if a not in archive.tried][:k]
        return Turn(
            [Proposal(allocation, "asking") for allocation in left],
            insights=(Insight(str(first.text)),),
            memory={"second": second.text, "problem": second.problem},
        )


def one(model: str, n: int, select: str = "majority") -> Allocation:
    return Allocation((StageChoice("stage0", f"simulated/{model}", n, "first" if n == 1 else select),))


def test_reuse_pays_the_difference_only():
    spend = Spend()
    allocations = (one("small", 2), one("small", 4), one("large", 1), one("small", 1))
    archive = search(Listed(allocations), task(), n_trials=4, spend=spend)
    assert spend.with_reuse == [20, 20, 100, 0]
    assert spend.without_reuse == [20, 40, 100, 10]
    assert [(t.n_paid, t.n_reused) for t in archive.trials] == [(20, 0), (20, 20), (10, 0), (0, 10)]


def test_a_later_stage_shares_draws_only_after_the_same_outcome():
    simulated = task(2, n_problems=50)
    second = StageChoice("stage1", "simulated/small", 4, "majority")
    first = [StageChoice("stage0", f"simulated/{size}", 1, "first") for size in ("small", "large")]
    allocations = tuple(Allocation((choice, second)) for choice in first)
    spend = Spend()
    archive = search(Listed(allocations), simulated, n_trials=2, spend=spend)
    a, b = (trial.stage_scores["stage0"] for trial in archive.trials)
    n_other = sum(a[name] != b[name] for name in a)
    assert 0 < n_other < 50
    assert spend.with_reuse == [50 + 200, 500 + 4 * n_other]


def test_a_conversation_is_answered_and_its_turns_are_remembered():
    asked: list[str] = []

    def planner(call: PlannerCall) -> PlannerAnswer:
        asked.append(call.messages[0].content)
        return PlannerAnswer(f"answer {len(asked)}")

    archive = search(Asking(), task(), n_trials=6, batch=4, planner=planner)
    assert len(archive.trials) == 6
    assert asked == ["round 0", "and?", "round 1", "and?"]
    assert [insight.text for insight in archive.insights] == ["answer 1", "answer 3"]
    assert [memory["second"] for memory in archive.memory] == ["answer 2", "answer 4"]
    assert {trial.origin for trial in archive.trials} == {"asking"}


def test_without_a_planner_every_question_goes_unanswered():
    archive = search(Asking(), task(), n_trials=3)
    assert len(archive.trials) == 3
    assert archive.memory[0]["second"] is None
    assert archive.memory[0]["problem"]


@pytest.mark.parametrize("allocator", ["random", "curves"])
def test_the_same_seed_gives_the_same_search(allocator: str):
    runs = [search(make_allocator(allocator), task(2, 30), n_trials=6, seed=3) for _ in range(2)]
    assert runs[0].trials == runs[1].trials

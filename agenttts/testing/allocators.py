"""The contract of allocators, as tests to inherit.

class TestMine(AllocatorContract):
    def make(self) -> Allocator:
        return Mine()

One that asks a planner inherits `ConversingAllocatorContract`, which runs the same tests with every scripted planner.
"""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.allocators.base import Allocator, ConversingAllocator, PlannerAnswer, Proposal
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive
from agenttts.testing.planners import PLANNERS, converse_with
from agenttts.testing.surfaces import SimulatedTask, chain_space, hold, search

__all__ = ["AllocatorContract", "ConversingAllocatorContract"]

MODELS = ("simulated/small", "simulated/medium", "simulated/large")


def contract_task() -> SimulatedTask:
    """Return the small simulated task that the contract runs on."""
    skills = {
        "stage0": dict(zip(MODELS, (-0.8, 0.2, 1.2), strict=True)),
        "stage1": dict(zip(MODELS, (0.0, 0.4, 0.9), strict=True)),
    }
    return SimulatedTask(chain_space(selectors=("majority", "best_of_n")), skills, n_problems=40)


class AllocatorContract:
    """What every allocator must keep to."""

    def make(self) -> Allocator:
        """Return the allocator under test."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def task(cls) -> SimulatedTask:
        """The task that trials come from."""
        return contract_task()

    @pytest.fixture(scope="class")
    @classmethod
    def archive(cls, task: SimulatedTask) -> Archive:
        """Twelve trials of random allocations."""
        rows = task.space.sample(np.random.default_rng(3), 40)
        allocations = list(dict.fromkeys(task.space.allocation(row) for row in rows))[:12]
        return Archive.of(task.run(allocation, i) for i, allocation in enumerate(allocations))

    def _ask(self, archive: Archive, space: Space, k: int, seed: int = 0) -> list[Proposal]:
        return self.make().propose(archive, space, k, np.random.default_rng(seed))

    @staticmethod
    def _check(proposals: list[Proposal], archive: Archive, space: Space, k: int) -> None:
        allocations = [proposal.allocation for proposal in proposals]
        assert len(allocations) <= k
        assert len(set(allocations)) == len(allocations)
        for allocation in allocations:
            assert space.feasible(allocation)
            assert allocation == allocation.canonical()
            assert allocation not in archive.tried

    @pytest.mark.parametrize("k", [1, 4, 9])
    def test_an_empty_archive_gives_k_feasible_proposals(self, task: SimulatedTask, k: int) -> None:
        """The first round has nothing to go by."""
        proposals = self._ask(Archive(), task.space, k)
        self._check(proposals, Archive(), task.space, k)
        assert len(proposals) == k

    @pytest.mark.parametrize("k", [1, 4, 9])
    def test_proposals_are_new_feasible_and_different(
        self, task: SimulatedTask, archive: Archive, k: int
    ) -> None:
        """Nothing known, nothing twice, nothing too dear."""
        proposals = self._ask(archive, task.space, k)
        self._check(proposals, archive, task.space, k)
        assert len(proposals) == k
        assert all(proposal.origin for proposal in proposals)

    def test_the_same_seed_gives_the_same_proposals(self, task: SimulatedTask, archive: Archive) -> None:
        """A fresh object and a used one agree: there is no hidden state."""
        allocator = self.make()
        first = allocator.propose(archive, task.space, 4, np.random.default_rng(7))
        allocator.propose(Archive(), task.space, 4, np.random.default_rng(8))
        assert allocator.propose(archive, task.space, 4, np.random.default_rng(7)) == first
        assert self._ask(archive, task.space, 4, seed=7) == first

    def test_the_order_of_the_archive_does_not_matter(self, task: SimulatedTask, archive: Archive) -> None:
        """Results come in as they finish."""
        backwards = Archive(tuple(reversed(archive.trials)))
        ours = [p.allocation for p in self._ask(archive, task.space, 4)]
        assert [p.allocation for p in self._ask(backwards, task.space, 4)] == ours

    def test_a_space_that_is_used_up_gives_fewer(self) -> None:
        """The last proposals are fewer than asked for, then none."""
        space = chain_space(1, {"simulated/small": 1.0, "simulated/large": 8.0}, (1, 2, 4), budget=9.0)
        task = SimulatedTask(space, {"stage0": {"simulated/small": 0.0, "simulated/large": 1.0}}, 20)
        archive = search(self.make(), task, n_trials=50, batch=3)
        assert {trial.allocation for trial in archive.trials} == set(
            map(space.allocation, space.feasible_indices())
        )

    def test_a_tight_budget_leaves_only_what_fits(self) -> None:
        """With room for the cheapest allocation alone, that one is proposed."""
        space = chain_space(2, budget=2.0)
        proposals = self._ask(Archive(), space, 4)
        assert [proposal.allocation for proposal in proposals] == [space.cheapest]

    def test_trials_without_a_score_do_no_harm(self, task: SimulatedTask, archive: Archive) -> None:
        """Invalid trials and trials over budget are in the archive, too."""
        from dataclasses import replace

        mixed = [
            replace(trial, status="invalid", scores={})
            if trial.number % 3 == 0
            else replace(trial, status="over_budget")
            if trial.number % 3 == 1
            else trial
            for trial in archive.trials
        ]
        proposals = self._ask(Archive.of(mixed), task.space, 4)
        self._check(proposals, Archive.of(mixed), task.space, 4)
        assert len(proposals) == 4

    def test_a_space_too_large_to_list_is_searched(self) -> None:
        """Five stages of many choices: more than two million allocations."""
        space = chain_space(5, counts=(1, 2, 4, 8, 16, 32), selectors=("majority", "best_of_n"), budget=60.0)
        assert not space.enumerable
        proposals = self._ask(Archive(), space, 4)
        self._check(proposals, Archive(), space, 4)
        assert len(proposals) == 4


class ConversingAllocatorContract(AllocatorContract):
    """What an allocator that asks a planner must keep to, however good or bad the planner is."""

    planner = "sensible"

    def make_conversing(self) -> ConversingAllocator:
        """Return the allocator under test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True, params=sorted(PLANNERS))
    def _each_planner(self, request: pytest.FixtureRequest) -> None:
        self.planner = request.param

    def make(self) -> Allocator:
        """Return it with the planner of this test."""
        return converse_with(self.make_conversing(), PLANNERS[self.planner])

    def test_a_whole_search_gives_every_trial_it_was_asked_for(self, task: SimulatedTask) -> None:
        """With what turns leave behind in the archive, too; and the same again with the same seed."""
        planner = PLANNERS[self.planner](task.space)
        first = search(self.make_conversing(), task, n_trials=15, batch=4, planner=planner)
        assert len({trial.allocation for trial in first.trials}) == 15
        again = search(self.make_conversing(), task, n_trials=15, batch=4, planner=planner)
        assert again == first

    def test_a_planner_that_gives_nothing_is_named(self, task: SimulatedTask, archive: Archive) -> None:
        """Whoever reads the log learns why proposals were not the planner's."""
        asked = []

        def silent(call: object) -> PlannerAnswer:
            asked.append(call)
            return PlannerAnswer(None, "refused: no such model")

        known = archive
        for seed in range(4):  # the first rounds may need no planner
            rng = np.random.default_rng(seed)
            turn = hold(self.make_conversing().converse(known, task.space, 4, rng), silent)
            if asked:
                break
            first = len(known.trials)
            trials = [task.run(p.allocation, first + i) for i, p in enumerate(turn.proposals)]
            known = known.with_turn(turn.insights, turn.sketches, turn.memory).with_trials(trials)
        assert asked
        assert "refused: no such model" in " ".join(turn.notes)
        assert len(turn.proposals) == 4

"""Simulated score surfaces with a known truth, named `simulated/...`: for scale, faults and tests of allocators.

No figure that comes from here says anything about a language model. The law of each surface is documented; a trial is
drawn per problem from it, with samples numbered and kept as real draws are. Surfaces at scale, with the paper's three
insights on or off, are in `agenttts.testing.insights`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.base import (
    Allocator,
    Conversation,
    ConversingAllocator,
    PlannerAnswer,
    PlannerCall,
    Turn,
)
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial

__all__ = [
    "Planner",
    "Simulated",
    "SimulatedSurface",
    "SimulatedTask",
    "Spend",
    "chain_space",
    "hold",
    "search",
]

COUNTS = (1, 2, 4, 8, 16, 32)


class Simulated(Protocol):
    """A simulated task: makes trials of allocations."""

    @property
    def space(self) -> Space:
        """What there is to choose from."""
        ...

    def run(self, allocation: Allocation, number: int = 0) -> Trial:
        """Return the trial of an allocation."""
        ...


def chain_space(
    n_stages: int = 2,
    prices: Mapping[str, float] = {"simulated/small": 1.0, "simulated/medium": 4.0, "simulated/large": 16.0},
    counts: tuple[int, ...] = COUNTS,
    selectors: tuple[str, ...] = ("majority",),
    budget: float = 40.0,
) -> Space:
    """Return the space of a chain of stages; a sample costs its model's price."""
    names = [f"stage{s}" for s in range(n_stages)]
    stages = []
    for name in names:
        choices = {
            StageChoice(name, model, n, "first" if n == 1 else select): None
            for model in prices
            for n in counts
            for select in selectors
        }
        stages.append(tuple(choices))
    costs = tuple(tuple(prices[c.model] * c.n_samples for c in choices) for choices in stages)
    structure = Structure(
        needs={name: tuple(names[max(0, s - 1) : s]) for s, name in enumerate(names)},
        final=names[-1],
        kinds={(name, select): select for name in names for select in selectors},
    )
    return Space(tuple(stages), costs, Budget(budget, Unit.TOKENS), structure)


@dataclass(frozen=True)
class SimulatedTask:
    """A chain of stages whose samples are right by chance, per problem.

    Law: problem i has difficulty d_i ~ N(0, 1), shared by all stages. A sample of a model of skill a is right with
    probability sigmoid(1.7 (a - d_i)) where the stage before was right, and `carry` times that where it was wrong.
    Majority of n is right where more than a share `rival` of the wrong samples' number is right; `best_of_n` finds a
    right sample, where there is one, with probability `verifier`, else it takes the first. Draws are numbered: a
    larger n keeps the smaller one's draws.
    """

    space: Space
    skills: Mapping[str, Mapping[str, float]]
    """Stage -> model -> skill."""
    n_problems: int = 100
    carry: float = 0.15
    rival: float = 0.5
    verifier: float = 0.8
    seed: int = 0
    name: str = "simulated/chain"

    def run(self, allocation: Allocation, number: int = 0, *, n_problems: int | None = None) -> Trial:
        """Return the trial of an allocation."""
        n = n_problems or self.n_problems
        rng = np.random.default_rng([self.seed, 77])
        difficulty = rng.standard_normal(n)
        right = np.ones(n, dtype=bool)
        stage_scores: dict[str, Mapping[str, float]] = {}
        sample_scores: dict[str, Mapping[str, tuple[float, ...]]] = {}
        for choice in allocation.choices:
            samples = self._samples(choice, difficulty, right)
            right = self._select(choice, samples)
            stage_scores[choice.stage] = _by_problem(right.astype(float))
            rows = (tuple(map(float, row)) for row in samples)
            sample_scores[choice.stage] = {f"p{i}": row for i, row in enumerate(rows)}
        cost = self.space.cost(allocation)
        scores = _by_problem(right.astype(float))
        return Trial(
            number, allocation, "ok", scores, cost, stage_scores=stage_scores, sample_scores=sample_scores
        )

    def truth(self, allocation: Allocation) -> float:
        """Return the expected score, from 20,000 problems."""
        return self.run(allocation, n_problems=20_000).score

    def _samples(
        self, choice: StageChoice, difficulty: NDArray[np.float64], right: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return which samples are right, shape (n_problems, n_samples)."""
        skill = self.skills[choice.stage][choice.model]
        chance = 1 / (1 + np.exp(-1.7 * (skill - difficulty)))
        chance = np.where(right, chance, self.carry * chance)
        columns = []
        for draw in range(choice.n_samples):
            stream = zlib.crc32(f"{choice.stage} {choice.model} {draw}".encode())
            columns.append(np.random.default_rng([self.seed, stream]).random(len(difficulty)) < chance)
        return np.stack(columns, axis=1)

    def _select(self, choice: StageChoice, samples: NDArray[np.bool_]) -> NDArray[np.bool_]:
        first: NDArray[np.bool_] = samples[:, 0]
        if choice.n_samples <= 2 and choice.select == "majority":
            return first
        if choice.select == "majority":
            n_right = samples.sum(axis=1)
            won: NDArray[np.bool_] = n_right > self.rival * (choice.n_samples - n_right)
            return won
        stream = zlib.crc32(f"verifier {choice.stage} {choice.model}".encode())
        sees = np.random.default_rng([self.seed, stream]).random(len(samples)) < self.verifier
        return np.where(sees, samples.any(axis=1), first)


@dataclass(frozen=True)
class SimulatedSurface:
    """Any function of the allocation as the chance of a right answer; only final scores are seen.

    Law: each problem has one uniform number u_i, the same for all allocations, mixed with one of the allocation's own
    by `shared`: the problem is right where the mixture's rank is below the surface. So trials are paired, as real
    ones are.
    """

    space: Space
    surface: Callable[[Allocation], float]
    n_problems: int = 100
    shared: float = 0.5
    seed: int = 0
    name: str = "simulated/surface"

    def run(self, allocation: Allocation, number: int = 0) -> Trial:
        """Return the trial of an allocation."""
        from scipy.special import ndtri

        common = np.random.default_rng([self.seed, 5]).standard_normal(self.n_problems)
        own = np.random.default_rng([self.seed, zlib.crc32(str(allocation).encode())])
        mixed = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own.standard_normal(
            self.n_problems
        )
        chance = min(max(self.surface(allocation), 1e-9), 1 - 1e-9)
        scores = _by_problem((mixed < ndtri(chance)).astype(float))
        return Trial(number, allocation, "ok", scores, self.space.cost(allocation))

    def truth(self, allocation: Allocation) -> float:
        """Return the expected score."""
        return self.surface(allocation)


def _by_problem(values: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{i}": float(value) for i, value in enumerate(values)}


@dataclass
class Spend:
    """What a search paid for draws, in the unit of the budget, summed over problems; filled by `search`.

    A draw is held where its stage and model drew it before for the same problem after the same outcomes (right or
    wrong) of the stages it needs: those stand for the prompt.
    """

    with_reuse: list[float] = field(default_factory=list)
    """By trial: what the draws cost that were not held yet."""
    without_reuse: list[float] = field(default_factory=list)
    """By trial: what they would have cost had nothing been kept."""
    _held: dict[tuple[object, ...], int] = field(default_factory=dict, repr=False)

    def pay(self, trial: Trial, space: Space) -> Trial:
        """Take in a trial; return it with the numbers of draws paid and reused."""
        paid = full = 0.0
        n_paid = n_all = 0
        for choice in trial.allocation.choices:
            price = space.cost_of(choice) / choice.n_samples
            needs = [trial.stage_scores.get(name, {}) for name in space.structure.needs.get(choice.stage, ())]
            new = sum(
                self._new(choice, (problem, *(scores.get(problem) for scores in needs)))
                for problem in trial.scores
            )
            n_paid, n_all = n_paid + new, n_all + choice.n_samples * len(trial.scores)
            paid, full = paid + new * price, full + choice.n_samples * len(trial.scores) * price
        self.with_reuse.append(paid)
        self.without_reuse.append(full)
        return replace(trial, n_paid=n_paid, n_reused=n_all - n_paid)

    def _new(self, choice: StageChoice, prompt: tuple[object, ...]) -> int:
        place = (choice.stage, choice.model, *prompt)
        held = self._held.get(place, 0)
        self._held[place] = max(held, choice.n_samples)
        return max(0, choice.n_samples - held)


Planner = Callable[[PlannerCall], PlannerAnswer]
"""Stands for the planner model: a question in, its answer out."""


def search(
    allocator: Allocator | ConversingAllocator,
    task: Simulated,
    *,
    n_trials: int = 40,
    batch: int = 4,
    seed: int = 0,
    planner: Planner | None = None,
    spend: Spend | None = None,
) -> Archive:
    """Run an allocator on a simulated task, as a study would, and return the archive.

    Args:
        allocator: Proposes; one that converses is held a conversation with.
        task: Makes trials.
        n_trials: Trials in all; fewer where the allocator has no more to propose.
        batch: Trials in a round.
        seed: Of the rounds' generators.
        planner: Answers what a conversing allocator asks; `None`: every question goes unanswered.
        spend: Filled with what each trial cost.
    """
    archive, spend = Archive(), spend or Spend()
    n_round = 0
    while len(archive.trials) < n_trials:
        rng = np.random.default_rng(np.random.SeedSequence([seed, n_round]))
        k = min(batch, n_trials - len(archive.trials))
        if isinstance(allocator, ConversingAllocator):
            turn = hold(allocator.converse(archive, task.space, k, rng), planner)
            proposals, archive = turn.proposals, archive.with_turn(turn.insights, turn.sketches, turn.memory)
        else:
            proposals = allocator.propose(archive, task.space, k, rng)
        if not proposals:
            return archive
        first = len(archive.trials)
        trials = [spend.pay(task.run(p.allocation, first + i), task.space) for i, p in enumerate(proposals)]
        archive = archive.with_trials(
            replace(t, origin=p.origin) for t, p in zip(trials, proposals, strict=True)
        )
        n_round += 1
    return archive


def hold(conversation: Conversation, planner: Planner | None) -> Turn:
    """Hold a conversation to its end and return what came of it."""
    try:
        call = next(conversation)
        while True:
            call = conversation.send(planner(call) if planner else PlannerAnswer(None, "there is no planner"))
    except StopIteration as end:
        turn: Turn = end.value
        return turn
    finally:
        conversation.close()

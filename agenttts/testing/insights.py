"""Simulated pipelines at scale, named `simulated/insights`, with the three insights of the paper built in or left out.

Up to 4 stages, 8 models and 100 samples and beyond; the truth is exact, so regret is too. The insights (Shi et al.
2025, arXiv:2508.00890, section 4.2) are switched one by one:

1. `sizes`: stages prefer different models. On: at even stages skill rises steeply with size, at odd stages hardly.
   Off: it rises alike at all stages.
2. `peak`: each stage has an optimal number of samples. On: whoever chooses among the samples loses the thread as they
   grow, a small model sooner than a large one, so the score peaks and then falls. Off: the score levels off.
3. `upstream`: what a stage does moves the optimum of the next. On: after a wrong answer a right one is rarer, not
   impossible, and problems that are hard at one stage are hard at the next, so a weak stage calls for more samples
   after it. Off: stages succeed independently and all must, so the best choice at a stage is the same whatever the
   others choose (the budget apart).

No figure that comes from here says anything about a language model.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.space import SLACK, Indices, Space
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.testing.surfaces import chain_space

__all__ = ["INSIGHTS", "InsightTask", "insight_task"]

INSIGHTS = ("sizes", "peak", "upstream")
N_NODES = 48
"""Of the Gauss-Hermite sums over difficulties; the integrands are smooth, so the error is far below 1e-6."""
CHUNK = 50_000
"""Allocations whose truth is computed at a time, to bound memory."""
N_STARTS, N_DRAWN = 8, 20_000
"""Of the climb to the best allocation of a space that is too large to be listed."""

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class InsightTask:
    """A chain of stages with a known law.

    Law: problem i has difficulty d_is = sqrt(kinship) D_i + sqrt(1 - kinship) e_is at stage s, all N(0, 1). A sample of
    a model of skill a is right with probability p = sigmoid(1.7 (a - d_is)) where the stage before was right, and
    `carry` p where it was wrong. The choice among n samples finds a right one, where there is one, with probability
    h(n) = chooser / (1 + (n / reach)^2), and takes the first sample otherwise; so a stage is right with probability
    p + h(n) (1 - (1 - p)^n - p). Draws are numbered, by stage and model: a larger n keeps the smaller one's.
    """

    space: Space
    skills: Mapping[str, Mapping[str, float]]
    """Stage -> model -> skill."""
    reach: Mapping[str, float]
    """Model -> number of samples at which its choosing has lost half; infinite: never."""
    carry: float = 0.1
    kinship: float = 0.3
    chooser: float = 0.9
    n_problems: int = 100
    seed: int = 0
    name: str = "simulated/insights"

    # --- trials

    def run(self, allocation: Allocation, number: int = 0, *, n_problems: int | None = None) -> Trial:
        """Return the trial of an allocation: paired by problem, its draws shared with other allocations."""
        n = n_problems or self.n_problems
        common = self._stream("problems").standard_normal(n)
        right = np.ones(n, dtype=bool)
        stage_scores: dict[str, Mapping[str, float]] = {}
        sample_scores: dict[str, Mapping[str, tuple[float, ...]]] = {}
        for choice in allocation.choices:
            own = self._stream(f"difficulty {choice.stage}").standard_normal(n)
            difficulty = np.sqrt(self.kinship) * common + np.sqrt(1 - self.kinship) * own
            chance = self._chance(choice, difficulty) * np.where(right, 1.0, self.carry)
            samples = self._uniforms(choice, n) < chance[:, None]
            found = self._stream(f"chooser {choice.stage} {choice.model}").random(n) < self._finds(choice)
            right = np.where(found, samples.any(axis=1), samples[:, 0])
            stage_scores[choice.stage] = _by_problem(right.astype(float).tolist())
            sample_scores[choice.stage] = _by_problem(map(tuple, samples.astype(float).tolist()))
        scores = stage_scores[allocation.choices[-1].stage]
        cost = self.space.cost(allocation)
        return Trial(
            number, allocation, "ok", scores, cost, stage_scores=stage_scores, sample_scores=sample_scores
        )

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _uniforms(self, choice: StageChoice, n: int) -> Floats:
        """Return what decides each draw, shape (n_problems, n_samples); a larger number of samples adds columns."""
        # Drawn sample by sample, so that the first draws are the same whatever comes after.
        rng = self._stream(f"draws {choice.stage} {choice.model}")
        return np.stack([rng.random(n) for _ in range(choice.n_samples)], axis=1)

    def _chance(self, choice: StageChoice, difficulty: Floats) -> Floats:
        skill = self.skills[choice.stage][choice.model]
        result: Floats = 1 / (1 + np.exp(-1.7 * (skill - difficulty)))
        return result

    def _finds(self, choice: StageChoice) -> float:
        return self.chooser / (1 + (choice.n_samples / self.reach[choice.model]) ** 2)

    # --- truth

    def truth(self, allocation: Allocation) -> float:
        """Return the expected score over all problems and draws.

        Raises:
            ValueError: The allocation is not in the space.
        """
        index = self.space.index(allocation)
        if index is None:
            raise ValueError(f"{allocation} is not in the space")
        return float(self.truth_all(np.array([index], dtype=np.int32))[0])

    def truth_all(self, indices: Indices) -> Floats:
        """Return the expected scores of allocations, shape (n_allocations,)."""
        parts = [self._truth(indices[at : at + CHUNK]) for at in range(0, len(indices), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _truth(self, indices: Indices) -> Floats:
        """Go through the stages with the chance of being right so far, by common difficulty."""
        right = np.ones((len(indices), N_NODES))
        for s, (after_right, after_wrong) in enumerate(self._tables):
            picked = indices[:, s]
            right = right * after_right[picked] + (1 - right) * after_wrong[picked]
        result: Floats = right @ _normal_nodes()[1]
        return result

    @cached_property
    def _tables(self) -> tuple[tuple[Floats, Floats], ...]:
        """By stage: chances of a right answer after a right and after a wrong one, shape (n_choices, N_NODES)."""
        nodes, weights = _normal_nodes()
        grid = np.sqrt(self.kinship) * nodes[:, None] + np.sqrt(1 - self.kinship) * nodes[None, :]
        tables = []
        for choices in self.space.stages:
            both: tuple[list[Floats], list[Floats]] = ([], [])
            for choice in choices:
                chance = self._chance(choice, grid)
                for share, rows in zip((1.0, self.carry), both, strict=True):
                    p = share * chance
                    lifted = p + self._finds(choice) * (1 - (1 - p) ** choice.n_samples - p)
                    rows.append(lifted @ weights)
            tables.append((np.stack(both[0]), np.stack(both[1])))
        return tuple(tables)

    @cached_property
    def best(self) -> tuple[Allocation, float]:
        """The best feasible allocation and its truth.

        Exact where the space can be listed. Else the best that a climb finds from the best of 20,000 random
        allocations, changing two stages at a time: no such change betters it, which proves nothing more.
        """
        if self.space.enumerable:
            indices = self.space.feasible_indices()
            truths = self.truth_all(indices)
            at = int(truths.argmax())
            return self.space.allocation(indices[at]), float(truths[at])
        drawn = self.space.sample(np.random.default_rng(0), N_DRAWN)
        starts = drawn[np.argsort(-self.truth_all(drawn), kind="stable")[:N_STARTS]]
        found = [self._climb(start) for start in starts]
        index, truth = max(found, key=lambda pair: pair[1])
        return self.space.allocation(index), truth

    def _climb(self, start: NDArray[np.int32]) -> tuple[NDArray[np.int32], float]:
        now, truth = start, float(self.truth_all(start[None, :])[0])
        while True:
            near = np.concatenate([self._near(now, pair) for pair in combinations(range(len(now)), 2)])
            near = near[self.space.cost_array(near) <= self.space.budget.amount * (1 + SLACK)]
            truths = self.truth_all(near)
            at = int(truths.argmax()) if len(near) else -1
            if at < 0 or truths[at] <= truth + 1e-12:
                return now, truth
            now, truth = near[at], float(truths[at])

    def _near(self, now: NDArray[np.int32], pair: tuple[int, int]) -> Indices:
        """Return every allocation that differs from this one at two given stages."""
        a, b = (len(self.space.stages[s]) for s in pair)
        result = np.tile(now, (a * b, 1))
        result[:, pair[0]], result[:, pair[1]] = np.divmod(np.arange(a * b), b)
        return result


def _normal_nodes() -> tuple[Floats, Floats]:
    """Return nodes and weights of the mean over a standard normal variable."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    return nodes, weights / weights.sum()


def _by_problem(values: Iterable[T]) -> dict[str, T]:
    return {f"p{i}": value for i, value in enumerate(values)}


def insight_task(
    n_stages: int = 2,
    n_models: int = 3,
    max_samples: int = 100,
    *,
    insights: Iterable[str] = INSIGHTS,
    budget: float | None = None,
    n_problems: int = 100,
    seed: int = 0,
) -> InsightTask:
    """Return a simulated task with the named insights.

    Args:
        n_stages: 1 or more.
        n_models: `simulated/1`, `simulated/2`, `simulated/4`, ...: a sample costs as much as the number says.
        max_samples: Numbers of samples are 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, ... up to this.
        insights: Which of `INSIGHTS` are built in.
        budget: Per problem; `None`: two samples of the largest model at every stage.
        n_problems: Of a trial.
        seed: Of problems and draws; the law is the same for all.

    Raises:
        ValueError: An insight that there is not, or no stage or model.
    """
    chosen = _checked(insights)
    if n_stages < 1 or n_models < 1:
        raise ValueError("a task needs at least one stage and one model")
    sizes = {f"simulated/{2**m}": float(2**m) for m in range(n_models)}
    amount = 2.0 * n_stages * max(sizes.values()) if budget is None else budget
    space = chain_space(n_stages, sizes, _counts(max_samples), ("best_of_n",), amount)
    linked = "upstream" in chosen
    return InsightTask(
        space,
        {f"stage{s}": _skills(s, list(sizes), "sizes" in chosen) for s in range(n_stages)},
        {name: 12.0 * size**0.5 if "peak" in chosen else float("inf") for name, size in sizes.items()},
        carry=0.1 if linked else 0.0,
        kinship=0.3 if linked else 0.0,
        n_problems=n_problems,
        seed=seed,
    )


def _checked(insights: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(insights)
    if unknown := chosen - set(INSIGHTS):
        raise ValueError(f"unknown insights {', '.join(sorted(unknown))}; there are {', '.join(INSIGHTS)}")
    return chosen


def _skills(stage: int, models: list[str], by_stage: bool) -> dict[str, float]:
    """Return skills that end at 0.5 for the largest model and fall by a step for each halving of size."""
    step = (0.9 if stage % 2 == 0 else 0.15) if by_stage else 0.4
    return {name: 0.5 - step * (len(models) - 1 - rank) for rank, name in enumerate(models)}


def _counts(most: int) -> tuple[int, ...]:
    steps = [n * 10**k for k in range(len(str(most))) for n in (1, 1.5, 2, 3, 5, 7)]
    return tuple(sorted({int(n) for n in steps if n <= most and n == int(n)} | {most}))

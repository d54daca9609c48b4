"""Simulated pipelines at scale: the truth is that of the trials, and each insight is there or not as was asked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from agenttts.allocators.space import Indices
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.testing.insights import INSIGHTS, InsightTask, insight_task


def without(insight: str) -> tuple[str, ...]:
    return tuple(name for name in INSIGHTS if name != insight)


def rows_at(task: InsightTask, stage: int, others: int = 0) -> Indices:
    """Every choice of one stage, the other stages at one choice."""
    n_choices = len(task.space.stages[stage])
    rows = np.full((n_choices, task.space.n_stages), others, dtype=np.int32)
    rows[:, stage] = np.arange(n_choices)
    return rows


def best_of(task: InsightTask, stage: int, others: int, model: str | None = None) -> StageChoice:
    choices = task.space.stages[stage]
    truths = task.truth_all(rows_at(task, stage, others))
    at = max(
        (i for i, choice in enumerate(choices) if model in {None, choice.model}), key=lambda i: truths[i]
    )
    return choices[at]


@pytest.mark.parametrize("insights", [INSIGHTS, (), ("upstream",)])
def test_the_truth_is_the_mean_over_many_problems(insights: tuple[str, ...]):
    task = insight_task(3, 3, 30, insights=insights)
    rng = np.random.default_rng(2)
    for row in task.space.sample(rng, 4):
        allocation = task.space.allocation(row)
        n = 40_000
        truth = task.truth(allocation)
        # Four standard errors of a share.
        assert abs(task.run(allocation, n_problems=n).score - truth) < 4 * np.sqrt(truth * (1 - truth) / n)


def test_one_sample_of_one_stage_is_worked_by_hand():
    task = insight_task(1, 1, 1)
    x, step = np.linspace(-12, 12, 200_001, retstep=True)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    expected = float((density / (1 + np.exp(-1.7 * (0.5 - x)))).sum() * step)
    (choice,) = task.space.stages[0]
    assert task.truth(Allocation((choice,))) == pytest.approx(expected, abs=1e-9)


def test_more_samples_keep_the_draws_of_fewer():
    task = insight_task(1, 2, 50)
    few, many = (
        task.run(Allocation((StageChoice("stage0", "simulated/1", n, "best_of_n"),))) for n in (5, 50)
    )
    for problem, draws in few.sample_scores["stage0"].items():
        assert many.sample_scores["stage0"][problem][:5] == draws


def test_trials_of_one_seed_are_paired_and_other_seeds_are_other_problems():
    task = insight_task()
    allocation = task.space.cheapest
    assert task.run(allocation).scores == task.run(allocation, 7).scores
    assert task.run(allocation).scores != insight_task(seed=1).run(allocation).scores


def test_stages_prefer_models_of_different_sizes_or_do_not():
    def preferred(task: InsightTask) -> list[str]:
        """The model that scores best at each stage for what one sample of the largest costs."""
        largest = max(cost for cost in task.space.costs[0] if cost <= 16)
        found = []
        for stage, (choices, costs) in enumerate(zip(task.space.stages, task.space.costs, strict=True)):
            truths = task.truth_all(rows_at(task, stage))
            fits = [i for i, cost in enumerate(costs) if cost <= largest]
            found.append(choices[max(fits, key=lambda i: truths[i])].model)
        return found

    # Without `upstream`, so that what the other stage does has no part in it.
    steep, flat = (
        int(name.rpartition("/")[2])
        for name in preferred(insight_task(2, 5, 100, insights=("sizes", "peak")))
    )
    assert steep >= 4 * flat
    one, other = preferred(insight_task(2, 5, 100, insights=("peak",)))
    assert one == other


@pytest.mark.parametrize("stage", [0, 1])
def test_the_score_peaks_and_falls_or_levels_off(stage: int):
    def curve(task: InsightTask) -> list[float]:
        choices = task.space.stages[stage]
        truths = task.truth_all(rows_at(task, stage))
        return [float(t) for c, t in zip(choices, truths, strict=True) if c.model == "simulated/1"]

    peaked = curve(insight_task(2, 3, 100))
    assert 0 < int(np.argmax(peaked)) < len(peaked) - 1
    assert max(peaked) - peaked[-1] > 0.02
    level = curve(insight_task(2, 3, 100, insights=without("peak")))
    assert all(b >= a for a, b in pairwise(level))
    assert level[-1] - level[-2] < level[1] - level[0]


def test_small_models_lose_the_thread_sooner():
    task = insight_task(2, 4, 100)  # at stage 1 skills hardly differ
    peaks = [best_of(task, 1, 0, model).n_samples for model in ("simulated/1", "simulated/8")]
    assert peaks[0] < peaks[1]


def test_a_weak_stage_calls_for_more_samples_after_it_or_does_not():
    def optima(task: InsightTask) -> tuple[int, int]:
        truths = task.truth_all(rows_at(task, 0))
        weak, strong = int(truths.argmin()), int(truths.argmax())
        found = [best_of(task, 1, first, "simulated/1").n_samples for first in (weak, strong)]
        return found[0], found[1]

    weak, strong = optima(insight_task(2, 3, 100))
    assert weak > strong
    weak, strong = optima(insight_task(2, 3, 100, insights=without("upstream")))
    assert weak == strong


def test_the_best_allocation_of_a_listed_space_is_the_best_by_brute_force():
    task = insight_task(2, 3, 10)
    truths = {}
    for first in task.space.stages[0]:
        for second in task.space.stages[1]:
            allocation = Allocation((first, second))
            if task.space.feasible(allocation):
                truths[allocation] = task.truth(allocation)
    best, truth = task.best
    assert truth == pytest.approx(max(truths.values()))
    assert truths[best] == pytest.approx(truth)


def test_a_space_that_cannot_be_listed_is_drawn_from_and_climbed():
    task = insight_task(4, 8, 100)
    assert not task.space.enumerable
    best, truth = task.best
    assert task.space.feasible(best)
    assert truth >= task.truth_all(task.space.sample(np.random.default_rng(5), 5000)).max()
    assert len(task.run(best).sample_scores["stage3"]) == 100


def test_the_climb_finds_what_listing_finds():
    task = insight_task(3, 4, 20)
    truth = task.best[1]
    starts = task.space.sample(np.random.default_rng(1), 4)
    assert max(task._climb(start)[1] for start in starts) == pytest.approx(truth, abs=1e-3)


def test_unknown_insights_are_refused():
    with pytest.raises(ValueError, match="sizes, peak, upstream"):
        insight_task(insights=["size"])

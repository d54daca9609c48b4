"""Spaces count, draw and repair what fits, and nothing else."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agenttts.allocators.space import Space, stage_choices
from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.errors import CardError, InfeasibleBudgetError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.schema import StageBlock
from agenttts.task.task import Task
from agenttts.testing.surfaces import chain_space


def block(**fields) -> StageBlock:
    base = {"prompt": {"user": "x"}, "models": ["m/a", "m/b"], "n_samples": [1, 2, 4]}
    return StageBlock.model_validate({**base, **fields})


def test_one_sample_is_one_choice_whatever_the_selector():
    choices = stage_choices("solve", block(select=["majority", "fusion"]))
    assert [str(c) for c in choices if c.model == "m/a"] == [
        "solve m/a x1",
        "solve m/a x2 majority",
        "solve m/a x2 fusion",
        "solve m/a x4 majority",
        "solve m/a x4 fusion",
    ]


def test_the_first_of_many_is_left_out_where_one_is_on_offer():
    choices = stage_choices("solve", block(select=["first", "majority"]))
    assert {(c.n_samples, c.select) for c in choices} == {(1, "first"), (2, "majority"), (4, "majority")}
    only = stage_choices("solve", block(select=["first"], n_samples=[4]))
    assert {(c.n_samples, c.select) for c in only} == {(4, "first")}


def test_choices_beyond_what_was_recorded_are_left_out():
    choices = stage_choices("solve", block(), lambda stage, model: 2 if model == "m/a" else None)
    assert max(c.n_samples for c in choices if c.model == "m/a") == 2
    assert max(c.n_samples for c in choices if c.model == "m/b") == 4


def brute_force(space: Space) -> set[Allocation]:
    return {a for a in map(Allocation, product(*space.stages)) if space.cost(a) <= space.budget.amount + 1e-9}


costs = st.lists(st.floats(0.1, 20), min_size=1, max_size=6)


@given(st.lists(costs, min_size=1, max_size=4), st.floats(1, 60))
@settings(max_examples=60, deadline=None)
def test_counting_listing_and_drawing_agree_with_brute_force(tables: list[list[float]], budget: float):
    stages = tuple(
        tuple(StageChoice(f"s{s}", f"m{i}", 1, "first") for i in range(len(table)))
        for s, table in enumerate(tables)
    )

    def build() -> Space:
        return Space(stages, tuple(map(tuple, tables)), Budget(budget, Unit.TOKENS))

    if sum(map(min, tables)) > budget * (1 + 1e-9):
        with pytest.raises(InfeasibleBudgetError):
            build()
        return
    space = build()
    fits = brute_force(space)
    assert space.n_feasible == len(fits)
    assert {space.allocation(row) for row in space.feasible_indices()} == fits
    rng = np.random.default_rng(0)
    assert {space.allocation(row) for row in space.sample(rng, 50)} <= fits
    placed = space.place(rng.random((50, len(tables))))
    assert {space.allocation(row) for row in placed} <= fits


def test_points_placed_at_random_are_uniform():
    space = chain_space(3, counts=(1, 2, 4, 8), budget=30.0)
    rows = space.place(np.random.default_rng(1).random((40_000, 3)))
    assert len(rows) > 39_000
    flat = np.ravel_multi_index(tuple(rows.T), [len(c) for c in space.stages])
    _, counts = np.unique(flat, return_counts=True)
    assert len(counts) == space.n_feasible
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_large_space_is_counted_to_about_one_percent(monkeypatch: pytest.MonkeyPatch):
    exact = chain_space(4, selectors=("majority", "best_of_n"), budget=50.0)
    assert exact.enumerable
    n = exact.n_feasible
    monkeypatch.setattr("agenttts.allocators.space.ENUMERATED_UP_TO", 10)
    estimated = chain_space(4, selectors=("majority", "best_of_n"), budget=50.0)
    assert not estimated.enumerable
    assert estimated.n_feasible == pytest.approx(n, rel=0.02)


def test_a_budget_that_fits_nothing_names_the_cheapest_and_its_cost():
    with pytest.raises(InfeasibleBudgetError, match=r"simulated/small x1; .* is expected to cost 2 tokens"):
        chain_space(2, budget=1.5)


def allocation(*choices: tuple[str, int, str]) -> Allocation:
    return Allocation(
        tuple(StageChoice(f"stage{s}", f"simulated/{m}", n, w) for s, (m, n, w) in enumerate(choices))
    )


def test_what_fits_is_not_repaired():
    space = chain_space(2)
    fitting = allocation(("small", 8, "majority"), ("medium", 2, "majority"))
    assert space.repair(fitting) == (fitting, "")


def test_repair_shrinks_samples_of_the_dearest_stage_first():
    space = chain_space(2, budget=40.0)
    repaired, note = space.repair(allocation(("small", 8, "majority"), ("large", 8, "majority")))
    assert repaired == allocation(("small", 8, "majority"), ("large", 2, "majority"))
    assert note == "stage1 simulated/large x8 majority -> stage1 simulated/large x2 majority"


def test_repair_changes_models_only_when_one_sample_is_too_many():
    space = chain_space(2, budget=18.0)
    repaired, _ = space.repair(allocation(("large", 4, "majority"), ("large", 4, "majority")))
    assert space.feasible(repaired)
    assert repaired == allocation(("medium", 1, "first"), ("medium", 1, "first"))


def test_repair_takes_a_number_of_samples_that_is_on_offer():
    repaired, note = chain_space(2).repair(allocation(("small", 7, "majority"), ("small", 1, "best")))
    assert repaired == allocation(("small", 4, "majority"), ("small", 1, "first"))
    assert "x7" in note


def test_repair_knows_no_other_models():
    with pytest.raises(ValueError, match="no model simulated/huge"):
        chain_space(2).repair(allocation(("huge", 1, "first"), ("small", 1, "first")))


@given(st.integers(0, 10**6), st.floats(2, 80))
@settings(max_examples=60, deadline=None)
def test_any_allocation_can_be_repaired(seed: int, budget: float):
    space = chain_space(2, selectors=("majority", "best_of_n"), budget=budget)
    rng = np.random.default_rng(seed)
    wild = Allocation(tuple(choices[int(rng.integers(len(choices)))] for choices in space.stages))
    repaired, note = space.repair(wild)
    assert space.feasible(repaired)
    assert repaired == repaired.canonical()
    assert (note == "") == (repaired == wild)


def test_the_unit_paper_is_refused_where_it_sees_nothing_of_a_stage(recorded_task: Path):
    task = Task.load(recorded_task)
    with pytest.raises(
        CardError, match=r"paper units has no meaning here.*counts as 0.*3B parameters.*use gflops"
    ):
        Space.build(task, Lengths.of_task(task), CostModel(task.cards), Budget(30, Unit.PAPER))
    Space.build(task, Lengths.of_task(task), CostModel(task.cards), Budget(30, Unit.GFLOPS))

"""Stages put together, against examples worked by hand and against going through one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agenttts.allocators.curves.composition import Composition, Tables
from agenttts.allocators.curves.pooling import LEADS
from agenttts.allocators.curves.samples import run_shares
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import StageChoice


def choices(stage: str, n: int, below: tuple[float | None, ...] = (None,)) -> tuple[StageChoice, ...]:
    return tuple(StageChoice(stage, f"m{i}", 1, "first", t) for t in below for i in range(n))


def space_of(
    stages: tuple[tuple[StageChoice, ...], ...], needs: dict[str, tuple[str, ...]], final: str
) -> Space:
    costs = tuple(tuple(1.0 for _ in each) for each in stages)
    return Space(stages, costs, Budget(100.0, Unit.TOKENS), Structure(needs, final))


def tables(*sides: list[list[float]], agreed: dict | None = None) -> Tables:
    wrong, right = (np.array(side, dtype=np.float32) for side in sides)
    return Tables((wrong, right), agreed or {})


def test_a_chain_of_two_stages_worked_by_hand():
    space = space_of((choices("a", 1), choices("b", 1)), {"b": ("a",)}, "b")
    # Two problems. a is right with 0.5 and 1; b after right with 0.8 and 0.6, after wrong with 0.2 and 0.
    composition = Composition(
        space,
        (0, 1),
        {0: (), 1: (0,)},
        {},
        {0: tables([[0, 0]], [[0.5, 1.0]]), 1: tables([[0.2, 0.0]], [[0.8, 0.6]])},
    )
    # Problem 1: 0.5 x 0.8 + 0.5 x 0.2 = 0.5; problem 2: 0.6.
    assert composition.by_problem(np.array([[0, 0]]))[0] == pytest.approx([0.5, 0.6])
    assert composition.predict(np.array([[0, 0]]))[0] == pytest.approx(0.55)


def test_a_stage_with_two_feeds_needs_both_right():
    stages = (choices("a", 1), choices("b", 1), choices("c", 1))
    space = space_of(stages, {"c": ("a", "b")}, "c")
    composition = Composition(
        space,
        (0, 1, 2),
        {0: (), 1: (), 2: (0, 1)},
        {},
        {0: tables([[0]], [[0.5]]), 1: tables([[0]], [[0.4]]), 2: tables([[0.1]], [[0.9]])},
    )
    # Both right: 0.2. So 0.2 x 0.9 + 0.8 x 0.1.
    assert composition.predict(np.array([[0, 0, 0]]))[0] == pytest.approx(0.26)


def test_a_conditional_stage_passes_on_what_is_agreed_upon():
    space = space_of((choices("a", 1), choices("b", 1, (0.7,))), {"b": ("a",)}, "b")
    one = np.array([[1.0]], dtype=np.float32)
    # a is right with 0.6. Agreed upon and right: 0.4; agreed upon and wrong: 0.1.
    agreed = {0.7: ((0.4 * one, 0.4 * one), (0.1 * one, 0.1 * one))}
    composition = Composition(
        space,
        (0, 1),
        {0: (), 1: (0,)},
        {1: 0},
        {0: tables([[0.6]], [[0.6]], agreed=agreed), 1: tables([[0.5]], [[0.9]])},
    )
    # Kept and right 0.4; runs after right 0.2 x 0.9, after wrong 0.3 x 0.5.
    assert composition.predict(np.array([[0, 0]]))[0] == pytest.approx(0.4 + 0.18 + 0.15)


def test_a_stage_with_pooled_votes_turns_what_is_not_agreed_upon():
    space = space_of((choices("a", 1), choices("b", 1, (0.7,))), {"b": ("a",)}, "b")
    one = np.array([[1.0]], dtype=np.float32)
    # a: agreed upon and right 0.4, and wrong 0.1. On the other half a leads by one vote as often as it trails by one.
    agreed = {0.7: ((0.4 * one, 0.4 * one), (0.1 * one, 0.1 * one))}
    lead = (0.3 * ((LEADS == 1) | (LEADS == -1))).astype(np.float32)[None, None]
    turned = np.where(LEADS > 0, 0.9, 0.2).astype(np.float32)[None, None]
    composition = Composition(
        space,
        (0, 1),
        {0: (), 1: (0,)},
        {1: 0},
        {
            0: replace(tables([[0.6]], [[0.6]], agreed=agreed), leads={0.7: {1: lead}}),
            1: replace(tables([[0.5]], [[0.5]]), turned={1: turned}),
        },
    )
    # Kept and right 0.4; of the half, 0.25 each turn out right with 0.9 and 0.2.
    assert composition.predict(np.array([[0, 0]]))[0] == pytest.approx(0.4 + 0.225 + 0.05)
    assert composition.grid == pytest.approx([0.4 + 0.225 + 0.05])


def random_composition(seed: int, conditional: bool) -> Composition:
    rng = np.random.default_rng(seed)
    below: tuple[float | None, ...] = (0.0, 0.5, 1.01) if conditional else (None,)
    stages = (choices("a", 5), choices("b", 7), choices("c", 6, below))
    space = space_of(stages, {"b": ("a",), "c": ("b",)}, "c")

    def part(n: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.random((n, 20))).astype(np.float32)

    agreed = {t: ((part(7, 0.3), part(7, 0.3)), (part(7, 0.3), part(7, 0.3))) for t in (0.0, 0.5, 1.01)}
    made = {s: Tables((part(len(each)), part(len(each))), agreed) for s, each in enumerate(stages)}
    return Composition(space, (0, 1, 2), {0: (), 1: (0,), 2: (1,)}, {2: 1} if conditional else {}, made)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_grid_as_one_product_equals_going_through_it_row_by_row(conditional: bool):
    composition = random_composition(3, conditional)
    shape = tuple(len(each) for each in composition.space.stages)
    rows = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1).astype(np.int32)
    assert composition.grid == pytest.approx(composition.by_problem(rows).mean(axis=1), abs=1e-5)


def test_run_shares_are_read_from_costs_that_do_not_add_up():
    class Conditional(Space):
        def cost_array(self, indices: np.ndarray) -> np.ndarray:
            # The second stage costs 1 and runs on 40 % of the problems.
            return np.where(indices[:, 1] == 0, 1.0, 1.4)

    stages = (choices("a", 2), choices("b", 1, (0.0, 0.7)))
    space = Conditional(
        stages, ((1.0, 1.0), (0.0, 1.0)), Budget(9.0, Unit.TOKENS), Structure({"b": ("a",)}, "b")
    )
    shares = run_shares(space, np.array([[0, 0], [1, 1]]))
    assert shares[1] == pytest.approx([0.0, 0.4])

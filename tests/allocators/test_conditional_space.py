"""Spaces with stages that run on a condition: everything against listing every allocation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from agenttts.allocators import space as space_module
from agenttts.allocators.conditional import Conditional
from agenttts.allocators.space import Space, Structure, stage_choices
from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import InfeasibleBudgetError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.schema import StageBlock

BELOW = (0.0, 0.5, 1.01)
PRICES = {"m/a": 1.0, "m/b": 5.0}


def choices(name: str, thresholds: tuple[float, ...] = ()) -> tuple[StageChoice, ...]:
    block = {"prompt": {"user": "x"}, "models": list(PRICES), "n_samples": [1, 2, 4]}
    if thresholds:
        block |= {"needs": ["attempt"], "when": {"stage": "attempt", "below": list(thresholds)}}
    return stage_choices(name, StageBlock.model_validate(block))


def share(stage: str, below: float | None, watched: StageChoice, floor: float = 0.0) -> float:
    """A made law: large models agree more, and one sample agrees with itself."""
    if below in (0.0, 1.01):
        return float(below == 1.01)
    return {"m/a": 0.6, "m/b": 0.2}[watched.model] * (1 - 1 / watched.n_samples) + 0.05


def made(budget: float, order: tuple[str, ...] = ("attempt", "check", "escalate")) -> Space:
    all_stages = {
        "attempt": choices("attempt"),
        "check": choices("check"),
        "escalate": choices("escalate", BELOW),
    }
    stages = tuple(all_stages[name] for name in order)
    costs = tuple(
        tuple(0.0 if c.below == 0 else PRICES[c.model] * c.n_samples for c in options) for options in stages
    )
    conditional = Conditional.build(stages, order.index("escalate"), order.index("attempt"), share)
    structure = Structure(when={"escalate": "attempt"})
    return Space(stages, costs, Budget(budget, Unit.TOKENS), structure, (conditional,))


def expected(allocation: Allocation) -> float:
    total = 0.0
    for choice in allocation.choices:
        runs = 1.0 if choice.below is None else share(choice.stage, choice.below, allocation["attempt"])
        total += runs * PRICES[choice.model] * choice.n_samples
    return total


def every(space: Space) -> list[Allocation]:
    return list(map(Allocation, product(*space.stages)))


def test_there_is_one_choice_that_never_runs():
    offered = choices("escalate", (0.5, 0.0, 0.0, 1.01))
    assert [str(c) for c in offered if c.below == 0] == ["escalate off"]
    assert len(offered) == 1 + 2 * 6


@pytest.mark.parametrize("order", [("attempt", "check", "escalate"), ("escalate", "check", "attempt")])
def test_costs_count_the_share_of_problems_on_which_a_stage_runs(order):
    space = made(20, order)
    for allocation in every(space):
        assert space.cost(allocation) == pytest.approx(expected(allocation))
        index = np.array([space.index(allocation)])
        assert space.cost_array(index)[0] == pytest.approx(expected(allocation))
    assert expected(space.cheapest) == pytest.approx(min(map(expected, every(space))))


@pytest.mark.parametrize("order", [("attempt", "check", "escalate"), ("escalate", "attempt", "check")])
def test_what_fits_is_what_brute_force_finds(order):
    space = made(9.3, order)
    wanted = {allocation for allocation in every(space) if expected(allocation) <= 9.3}
    assert {space.allocation(row) for row in space.feasible_indices()} == wanted
    assert space.n_feasible == len(wanted)
    assert all(space.feasible(allocation) == (allocation in wanted) for allocation in every(space))


def test_large_spaces_are_drawn_from_evenly(monkeypatch):
    space = made(9.3)
    wanted = {space.index(allocation) for allocation in every(space) if space.feasible(allocation)}
    monkeypatch.setattr(space_module, "ENUMERATED_UP_TO", 1)
    large = replace(space)
    assert not large.enumerable
    assert large.n_feasible == pytest.approx(len(wanted), rel=0.05)
    seen = Counter(map(tuple, large.sample(np.random.default_rng(0), 20_000).tolist()))
    assert set(seen) == wanted
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_drawing_ends_where_next_to_nothing_fits(monkeypatch):
    monkeypatch.setattr(space_module, "ENUMERATED_UP_TO", 1)
    space = made(2.0)
    rows = space.sample(np.random.default_rng(0), 5)
    assert {space.allocation(row) for row in rows} <= {a for a in every(space) if space.feasible(a)}


def test_repair_is_feasible_and_leaves_what_fits_alone():
    space = made(9.3)
    for allocation in every(space):
        repaired, changes = space.repair(allocation)
        assert space.feasible(repaired)
        assert (repaired == allocation) == (changes == "") == space.feasible(allocation)


def test_repair_lets_a_stage_run_more_rarely_before_it_takes_another_model():
    space = made(10.5)
    wanted = Allocation(
        (
            StageChoice("attempt", "m/b", 1, "first"),
            StageChoice("check", "m/a", 1, "first"),
            StageChoice("escalate", "m/b", 1, "first", 1.01),
        )
    )
    repaired, changes = space.repair(wanted)
    assert repaired["escalate"] == StageChoice("escalate", "m/b", 1, "first", 0.5)
    assert changes == "escalate m/b x1 below 1.01 -> escalate m/b x1 below 0.5"


def test_a_stage_that_is_off_is_the_same_under_every_model():
    space = made(9.3)
    off = StageChoice("escalate", "m/b", 4, "majority", 0.0)
    repaired, _ = space.repair(replace(space.cheapest, choices=(*space.cheapest.choices[:2], off)))
    assert repaired["escalate"] == space.stages[2][0]


def test_a_budget_below_the_cheapest_is_refused():
    with pytest.raises(InfeasibleBudgetError, match="escalate off"):
        made(1.9)


# --- settings that take over from one another -----------------------------------------------------------------------

RATED = np.array([0.05, 0.2, 0.2, 0.45, 0.6, 0.8, 1.0])
BEFORE = {"medium": ("easy",), "hard": ("easy", "medium"), "extra": ("easy",)}


def rated_share(stage: str, below: float | None, watched: StageChoice, floor: float = 0.0) -> float:
    """Ratings of seven problems; the large rater finds all of them harder."""
    rated = np.clip(RATED + (0.1 if watched.model == "m/b" else 0.0), 0, 1)
    return float(np.mean((rated >= floor) & (rated < (1.01 if below is None else below))))


def routed(budget: float, order: tuple[str, ...] = ("rate", "easy", "medium", "hard", "extra")) -> Space:
    thresholds = {"easy": (0.0, 0.3, 0.7, 1.01), "medium": (0.25, 0.5, 1.01)}
    stages = tuple(
        tuple(
            StageChoice(name, model, n, "first" if n == 1 else "majority", below)
            for below in thresholds.get(name, (None,))
            for model, n in (
                [("m/a", 1)]
                if below == 0
                else [("m/a", 1), ("m/b", 1)]
                if name == "rate"
                else [("m/b", 2), ("m/a", 1)]
            )
        )
        for name in order
    )
    costs = tuple(
        tuple(0.0 if c.below == 0 else PRICES[c.model] * c.n_samples for c in options) for options in stages
    )
    conditionals = tuple(
        Conditional.build(
            stages,
            order.index(name),
            order.index("rate"),
            rated_share,
            [order.index(other) for other in BEFORE.get(name, ())],
        )
        for name in order
        if name != "rate"
    )
    structure = Structure(
        when={name: "rate" for name in order if name != "rate"},
        routes={name: BEFORE.get(name, ()) for name in order if name != "rate"},
    )
    return Space(stages, costs, Budget(budget, Unit.TOKENS), structure, conditionals)


def settings_share(allocation: Allocation, choice: StageChoice) -> float:
    if choice.stage == "rate":
        return 1.0
    floor = max((allocation[name].below or 0.0 for name in BEFORE.get(choice.stage, ())), default=0.0)
    return rated_share(choice.stage, choice.below, allocation["rate"], floor)


def settings_cost(allocation: Allocation) -> float:
    return sum(settings_share(allocation, c) * PRICES[c.model] * c.n_samples for c in allocation.choices)


def first_of_idle(space: Space, allocation: Allocation) -> Allocation:
    """The same allocation with the first choice wherever the settings before leave nothing."""
    found = [
        options[0] if c.stage in BEFORE and settings_share(allocation, c) == 0 else c
        for options, c in zip(space.stages, allocation.choices, strict=True)
    ]
    return Allocation(tuple(found))


ORDERS = [("rate", "easy", "medium", "hard", "extra"), ("hard", "easy", "extra", "rate", "medium")]


@pytest.mark.parametrize("order", ORDERS)
def test_settings_that_take_over_cost_what_listing_the_problems_gives(order):
    space = routed(40, order)
    for allocation in every(space):
        assert space.cost(allocation) == pytest.approx(settings_cost(allocation))
        row = np.array([space.index(allocation)])
        assert space.cost_array(row)[0] == pytest.approx(settings_cost(allocation))
        assert space.allocation(space.once(row)[0]) == first_of_idle(space, allocation)
    least = min(map(settings_cost, every(space)))
    assert space.cost(space.cheapest) == pytest.approx(least)
    assert space.feasible(space.cheapest)


@pytest.mark.parametrize("order", ORDERS)
def test_of_allocations_that_make_the_same_calls_one_is_feasible(order):
    space = routed(9.0, order)
    wanted = {first_of_idle(space, a) for a in every(space) if settings_cost(a) <= 9.0}
    assert {space.allocation(row) for row in space.feasible_indices()} == wanted
    assert 0 < space.n_feasible == len(wanted) < space.size
    assert all(space.feasible(a) == (a in wanted) for a in every(space))


def test_large_spaces_with_settings_are_drawn_from_evenly(monkeypatch):
    wanted = {tuple(row) for row in routed(9.0).feasible_indices().tolist()}
    monkeypatch.setattr(space_module, "ENUMERATED_UP_TO", 1)
    large = routed(9.0)
    assert large.n_feasible == pytest.approx(len(wanted), rel=0.1)
    seen = Counter(map(tuple, large.sample(np.random.default_rng(0), 20_000).tolist()))
    assert set(seen) == wanted
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_repair_of_settings_is_feasible_and_leaves_what_fits_alone():
    space = routed(9.0)
    for allocation in every(space):
        repaired, changes = space.repair(allocation)
        assert space.feasible(repaired)
        assert (repaired == allocation) == (changes == "") == space.feasible(allocation)


def test_a_stage_is_idle_where_it_is_off_or_gets_nothing():
    space = routed(40)
    rate, easy, medium, hard, extra = (options[0] for options in space.stages)
    always = next(c for c in space.stages[1] if c.below == 1.01)
    assert space.idle(Allocation((rate, easy, medium, hard, extra))) == {"easy"}
    assert space.idle(Allocation((rate, always, medium, hard, extra))) == {"medium", "hard", "extra"}

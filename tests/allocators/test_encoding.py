"""Allocations as points, and back."""

import pytest

from agenttts.allocators.encoding import Encoding, known_points, nearest_choice
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import chain_space


def conditional_space() -> Space:
    """Two stages; the second runs below 0, 0.5 or 0.8, and its large model was recorded with one sample only."""
    first = tuple(StageChoice("try", "m", n, "first" if n == 1 else "majority") for n in (1, 4))
    second = tuple(
        StageChoice("escalate", model, n, "first" if n == 1 else "majority", below)
        for below in (0.0, 0.5, 0.8)
        for model, n in (("m", 1), ("m", 8), ("l", 1))
    )
    price = {"m": 1.0, "l": 5.0}
    costs = (
        tuple(float(c.n_samples) for c in first),
        tuple((c.below or 0.0) * price[c.model] * c.n_samples for c in second),
    )
    return Space((first, second), costs, Budget(100.0, Unit.TOKENS))


@pytest.mark.parametrize(
    "space",
    [chain_space(2, selectors=("majority", "best_of_n"), budget=1e6), conditional_space()],
    ids=["chain", "conditional"],
)
def test_every_allocation_comes_back_from_its_point(space):
    encoding = Encoding(space)
    for row in space.feasible_indices():
        allocation = space.allocation(row)
        point = encoding.encode(allocation)
        assert point is not None
        assert set(point) == set(encoding.dimensions)
        assert encoding.decode(point) == allocation


def test_dimensions_hold_what_fits_beside_the_cheapest_of_the_other_stage():
    # Prices 1 and 8, budget 10: beside 1 there is room for 9, so for the small model's 1, 2, 4, 8 and the large one's 1.
    space = chain_space(2, {"small": 1.0, "large": 8.0}, (1, 2, 4, 8, 16), budget=10.0)
    assert Encoding(space).dimensions == {
        "stage0.model": ("small", "large"),
        "stage0.n": 3,
        "stage0.select": ("majority",),
        "stage1.model": ("small", "large"),
        "stage1.n": 3,
        "stage1.select": ("majority",),
    }


def test_thresholds_are_an_ordinal_dimension_of_conditional_stages_alone():
    dimensions = Encoding(conditional_space()).dimensions
    assert dimensions["escalate.below"] == 2
    assert "try.below" not in dimensions


def test_a_point_that_no_choice_lies_at_becomes_the_nearest_choice_of_its_model():
    encoding = Encoding(conditional_space())
    point = {
        "try.model": "m",
        "try.n": 0,
        "try.select": "majority",
        "escalate.model": "l",
        "escalate.n": 1,  # 8 samples, which the large model does not offer
        "escalate.select": "majority",
        "escalate.below": 1,
    }
    assert encoding.decode(point)["escalate"] == StageChoice("escalate", "l", 1, "first", 0.5)


def test_a_stage_that_never_runs_may_be_offered_with_one_model_only():
    never = StageChoice("escalate", "m", 1, "first", 0.0)
    choices = [never, *(StageChoice("escalate", model, 1, "first", 0.5) for model in "ml")]
    assert nearest_choice(choices, StageChoice("escalate", "l", 8, "majority", 0.0)) == never


def test_a_choice_without_a_threshold_is_nearest_to_running_always():
    choices = [StageChoice("escalate", "m", 1, "first", below) for below in (0.0, 0.5, 1.01)]
    assert nearest_choice(choices, StageChoice("escalate", "m", 1, "first")).below == 1.01


def test_the_nearest_number_of_samples_lies_below_where_there_is_one():
    choices = [StageChoice("s", "m", n, "majority") for n in (4, 8, 16)]
    assert nearest_choice(choices, StageChoice("s", "m", 15, "majority")).n_samples == 8
    assert nearest_choice(choices, StageChoice("s", "m", 3, "majority")).n_samples == 4
    assert nearest_choice(choices, StageChoice("s", "m", 10**400, "majority")).n_samples == 16


def test_an_allocation_that_costs_too_much_by_now_has_no_point():
    dear = Allocation(
        (StageChoice("stage0", "large", 2, "majority"), StageChoice("stage1", "small", 1, "first"))
    )
    space = chain_space(2, {"small": 1.0, "large": 8.0}, (1, 2), budget=10.0)
    assert Encoding(space).encode(dear) is None
    trial = Trial(0, dear, "over_budget", {"p": 1.0}, 17.0)
    assert known_points(Archive.of([trial]), Encoding(space)) == []

"""The opening of AgentTTS, against openings worked out by hand."""

from agenttts.allocators.equal_budget import equal_budget_trials
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import StageChoice
from agenttts.testing.surfaces import chain_space
from tests.allocators.test_conditional_space import routed

PRICES = {"s": 1.0, "m": 4.0, "l": 16.0}


def opening(space: Space) -> list[str]:
    return [str(allocation) for allocation in equal_budget_trials(space)]


def test_every_model_is_tried_at_the_cost_of_one_pass_of_the_largest():
    # Share of each stage: one pass of `l`, 16, which buys 4 of `m` and 16 of `s`; 16 + 16 fit into 40.
    assert opening(chain_space(2, PRICES, (1, 2, 4, 8, 16, 32), budget=40.0)) == [
        "stage0 l x1; stage1 l x1",
        "stage0 m x4 majority; stage1 l x1",
        "stage0 s x16 majority; stage1 l x1",
        "stage0 l x1; stage1 m x4 majority",
        "stage0 l x1; stage1 s x16 majority",
    ]


def test_a_share_buys_no_more_than_fits_on_the_grid_of_samples():
    # 16 would buy 16 of `s`, but 10 is the most on offer at or below; 4 of `m` becomes 3.
    assert opening(chain_space(1, PRICES, (1, 3, 10, 20), budget=40.0)) == [
        "stage0 l x1",
        "stage0 m x3 majority",
        "stage0 s x10 majority",
    ]


def test_a_largest_model_that_does_not_fit_beside_the_cheapest_is_scaled_down():
    # Beside 1 for the other stage, 16 does not fit into 10, so `m` is the largest: share 4, which buys 4 of `s`.
    # The others get their largest that then fits: 10 - 4 leaves room for `m`.
    assert opening(chain_space(2, PRICES, (1, 2, 4, 8), budget=10.0)) == [
        "stage0 m x1; stage1 m x1",
        "stage0 s x4 majority; stage1 m x1",
        "stage0 m x1; stage1 s x4 majority",
    ]


def test_other_stages_are_scaled_down_where_all_at_their_largest_do_not_fit():
    # `l` at one stage leaves 4 of 20 for the other: `m`.
    assert opening(chain_space(2, {"m": 4.0, "l": 16.0}, (1, 4), budget=20.0)) == [
        "stage0 l x1; stage1 m x1",
        "stage0 m x4 majority; stage1 m x1",
        "stage0 m x1; stage1 l x1",
        "stage0 m x1; stage1 m x4 majority",
    ]


def test_a_small_model_gets_at_most_sixty_samples():
    space = chain_space(1, {"s": 1.0, "l": 100.0}, (1, 50, 60, 90), budget=100.0)
    assert opening(space) == ["stage0 l x1", "stage0 s x60 majority"]


def test_samples_are_fused_where_fusion_is_offered():
    space = chain_space(1, PRICES, (1, 4, 16), selectors=("vote", "merge"), budget=16.0)
    kinds = {("stage0", "vote"): "majority", ("stage0", "merge"): "fusion"}
    fusing = Space(space.stages, space.costs, space.budget, Structure(final="stage0", kinds=kinds))
    assert opening(fusing) == ["stage0 l x1", "stage0 m x4 merge", "stage0 s x16 merge"]
    assert opening(space) == ["stage0 l x1", "stage0 m x4 vote", "stage0 s x16 vote"]


def test_a_conditional_stage_is_opened_at_its_highest_threshold():
    first = (StageChoice("try", "m", 1, "first"),)
    second = (
        StageChoice("escalate", "m", 1, "first", 0.0),
        StageChoice("escalate", "m", 1, "first", 0.5),
        StageChoice("escalate", "m", 1, "first", 0.9),
        StageChoice("escalate", "l", 1, "first", 0.5),
        StageChoice("escalate", "l", 1, "first", 0.9),
    )
    space = Space((first, second), ((1.0,), (0.0, 0.5, 0.9, 2.5, 4.5)), Budget(6.0, Unit.TOKENS))
    assert opening(space) == ["try m x1; escalate l x1 below 0.9", "try m x1; escalate m x1 below 0.9"]


def test_with_room_for_the_cheapest_alone_the_opening_is_that():
    space = chain_space(2, PRICES, (1, 2), budget=2.0)
    assert equal_budget_trials(space) == [space.cheapest]


def test_the_opening_tries_every_setting_that_takes_over_on_problems_that_are_left_to_it():
    space = routed(40.0)
    tried = {
        (choice.stage, choice.model)
        for allocation in equal_budget_trials(space)
        for choice in allocation.choices
        if choice.stage not in space.idle(allocation)
    }
    assert {("easy", "m/b"), ("hard", "m/a"), ("hard", "m/b"), ("extra", "m/b")} <= tried

"""Smaller budgets: which allocation a request gets, and what the server learns of costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agenttts.budgets.cost import Cost
from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Allocation, Charge, StageChoice, StageOutput
from agenttts.pipeline.plan import Plan
from agenttts.serve.refused import Refused
from agenttts.serve.shrink import MOST_KEPT, Shrinker
from agenttts.task.task import Task

MEASURED = Cost(
    flops=0.1e9, linear_flops=0.1e9, usd=None, prefill_tokens=120, decode_tokens=400, seconds=None
)


@pytest.fixture
def plan() -> Plan:
    choices = (
        StageChoice("translate", "tiny/m", 8, "majority"),
        StageChoice("solve", "tiny/s", 16, "majority"),
    )
    return Plan(Task.load("tiny"), Allocation(choices), cost_per_problem=MEASURED)


@pytest.fixture
def shrinker(plan: Plan) -> Shrinker:
    return Shrinker(plan, CostModel(plan.task.cards))


def test_a_budget_that_the_plan_fits_changes_nothing(plan: Plan, shrinker: Shrinker):
    for text in ("0.1", "0.1 gflops", "5"):
        fitted = shrinker.fitted(text)
        assert (fitted.allocation, fitted.changes) == (plan.allocation, "")
        assert fitted.expected == pytest.approx(0.1)


def test_samples_shrink_and_models_stay(plan: Plan, shrinker: Shrinker):
    before = 1.0
    for budget in (0.09, 0.06, 0.04, 0.035):
        fitted = shrinker.fitted(str(budget))
        assert fitted.expected <= budget
        assert fitted.expected < before
        before = fitted.expected
        assert [choice.model for choice in fitted.allocation.choices] == ["tiny/m", "tiny/s"]
        assert "->" in fitted.changes


def test_the_least_budget_that_is_told_is_kept_and_no_smaller_one(shrinker: Shrinker):
    least = shrinker.least()
    assert shrinker.fitted(str(least)).expected <= least.amount
    with pytest.raises(Refused, match="too small"):
        shrinker.fitted(str(replace(least, amount=0.98 * least.amount)))


def test_a_budget_below_one_sample_of_every_stage_names_the_least(shrinker: Shrinker):
    with pytest.raises(
        Refused, match=r"too small: the least .* GFLOPs \(translate tiny/m x1; solve tiny/s x1\)"
    ):
        shrinker.fitted("0.0001")


def test_a_unit_that_the_cards_cannot_count_is_refused_with_the_card_to_mend(shrinker: Shrinker):
    with pytest.raises(Refused, match="price"):
        shrinker.fitted("1usd")


def test_what_was_served_corrects_expected_costs(plan: Plan):
    unmeasured = replace(plan, cost_per_problem=None)
    shrinker = Shrinker(unmeasured, CostModel(plan.task.cards))
    first = shrinker.fitted("100").expected  # a prompt counts as 512 tokens until one was seen
    seen = {
        "translate": StageOutput("a", charges=(Charge("tiny/m", "draw", CallUsage(20, (12,) * 8)),)),
        "solve": StageOutput("b", charges=(Charge("tiny/s", "draw", CallUsage(12, (24,) * 16)),)),
    }
    for _ in range(8):
        shrinker.observe(seen)
    model = CostModel(plan.task.cards)
    true = sum(model.charge(c.model, c.usage).flops for o in seen.values() for c in o.charges) * 1e-9
    assert first > 2 * true
    assert shrinker.fitted("100").expected == pytest.approx(true, rel=0.05)


def test_what_is_kept_does_not_grow_with_the_budgets_that_callers_think_up(shrinker: Shrinker):
    for number in range(MOST_KEPT + 50):
        shrinker.fitted(f"{1 + number / 1000}")
    assert len(shrinker._fitted) == MOST_KEPT

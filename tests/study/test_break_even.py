"""From how many problems per context on a shared stage pays, by hand."""

from __future__ import annotations

import pytest

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.study.break_even import BreakEven, break_even
from agenttts.task.schema import TaskFile

ASK = {"prompt": {"user": "x"}, "models": ["m"]}
FILE = TaskFile.model_validate(
    {
        "name": "t",
        "data": {"path": "rows.jsonl"},
        "stages": {
            "notes": {**ASK, "shared_by": {"field": "book", "queries": 10}, "optional": True},
            "say": {**ASK, "needs": ["notes"]},
        },
        "score": {"verifier": "exact", "gold": "answer"},
    }
)
BUDGET = Budget(1000, Unit.TOKENS)


def trial(number: int, notes: float, say: float, score: float, status: str = "ok") -> Trial:
    """A trial by its charged tokens per problem; without notes the stage is off."""
    choices = (
        StageChoice("notes", "m", 1, "first", None if notes else 0.0),
        StageChoice("say", "m", 1, "first"),
    )
    costs = {"notes": Cost(prefill_tokens=notes), "say": Cost(prefill_tokens=say)}
    return Trial(number, Allocation(choices), status, {"p": score}, notes + say, costs)  # type: ignore[arg-type]


BEST = trial(0, 40, 20, 0.8)  # 400 tokens a run


def found(*others: Trial, best: Trial = BEST) -> list[BreakEven]:
    return list(break_even(FILE, best, [best, *others], BUDGET))


def test_the_cheapest_trial_that_scores_no_less_is_what_the_stage_must_beat() -> None:
    others = [trial(1, 0, 200, 0.9), trial(2, 0, 130, 0.8), trial(3, 0, 30, 0.7), trial(4, 30, 20, 0.9)]
    # 20 + 400 / q <= 130: q = 3.64
    assert found(*others) == [BreakEven("notes", "book", 10, 4, 2)]


@pytest.mark.parametrize(
    ("without", "count"), [(120, 4), (420, 1), (5000, 1), (21, 400), (20, None), (10, None)]
)
def test_the_count_is_the_least_whole_number_at_which_the_plan_costs_no_more(
    without: float, count: int | None
) -> None:
    (one,) = found(trial(1, 0, without, 0.8))
    assert one.count == count
    if count is not None:
        assert 20 + 400 / count <= without
        assert count == 1 or 20 + 400 / (count - 1) > without


def test_a_dear_trial_over_the_budget_is_compared_and_an_invalid_one_is_not() -> None:
    assert found(trial(1, 0, 2000, 0.8, "over_budget"), trial(2, 0, 30, 0.8, "invalid"))[0].against == 1


def test_where_nothing_can_be_said_it_says_so() -> None:
    (one,) = found(trial(1, 0, 30, 0.7))
    assert (
        str(one) == "notes: no trial without it scores no less, so nothing to break even with (expected: 10)"
    )
    (one,) = found(trial(1, 0, 15, 0.8))
    assert str(one) == "notes: never, trial 1 without it costs less and scores no less (expected: 10)"


def test_a_plan_without_the_stage_has_no_count() -> None:
    assert found(best=trial(0, 0, 20, 0.8)) == []

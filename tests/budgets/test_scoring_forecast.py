"""What scoring by models adds to a quote, against sums worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.budgets.quote import StudyQuote, quote_study
from agenttts.budgets.scoring_forecast import scored_by_models
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.schema import TaskFile

NEAR = {"verifier": {"kind": "similarity", "model": "near", "field": "text"}}
"""Reads each answer (20 tokens), and once the field (counted like the prompt, 200 tokens): 1 + n calls."""
RULE = {"verifier": "exact", "gold": "answer"}


def task(*, score: Any = RULE, stage_score: Any = None, measures: Any = None) -> TaskFile:
    return TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {
                "solve": {
                    "prompt": {"user": "?"},
                    "models": ["a", "b"],
                    "n_samples": [1, 2, 4],
                    "select": ["majority", "fusion"],
                    "lengths": {"prefill_tokens": 200, "decode_tokens": 20},
                    "sampling": {"max_tokens": 50},
                    **({} if stage_score is None else {"score": stage_score}),
                }
            },
            "score": score,
            "measures": measures or {},
        }
    )


def quote(
    file: TaskFile, allocations: list[Allocation], *, size: float | None = 5e8, **amounts: int
) -> StudyQuote:
    cards = {name: ModelCard(name=name, source="openai", parameters=5e8, max_n=16) for name in ("a", "b")}
    cards["near"] = ModelCard(name="near", source="embedding", parameters=size)
    given = {"n_trials": len(allocations), "n_search": 10, **amounts}
    return quote_study(Lengths(file), CostModel(cards), allocations, **given)


def one(model: str, n: int, select: str = "majority") -> Allocation:
    return Allocation((StageChoice("solve", model, n, select),))


def asked(found: StudyQuote) -> tuple[float, float]:
    return found.scoring.calls, found.scoring.prefill_tokens


def test_rules_cost_nothing() -> None:
    found = quote(task(stage_score=RULE), [one("a", 4)], n_confirm=5, n_pilot=2)
    assert (asked(found), found.scorers) == ((0, 0), ())
    assert found.expected == found.of_stages


def test_the_answer_of_each_problem_is_scored() -> None:
    found = quote(task(score=NEAR), [one("a", 1)])
    assert asked(found) == (10 * 2, 10 * (20 + 200))
    assert found.scorers == ("near",)
    assert found.expected.calls == found.of_stages.calls + 20
    assert found.expected.cost.prefill_tokens == found.of_stages.cost.prefill_tokens + 2200


def test_an_answer_that_trials_share_is_scored_once_and_anew_without_reuse() -> None:
    found = quote(task(score=NEAR), [one("a", 1)] * 3)
    assert asked(found) == (10 * 2, 10 * 220)
    drawn = 3 * 10 * 1
    assert found.without_reuse.calls == drawn + 3 * 10 * 2


def test_trials_of_one_stream_have_no_more_answers_than_it_has_samples() -> None:
    found = quote(task(score=NEAR), [one("a", 2), one("a", 1), one("a", 2), one("b", 1)])
    assert asked(found) == (10 * (3 + 2), 10 * ((2 * 20 + 200) + 220))


def test_a_fused_answer_is_none_of_the_samples() -> None:
    found = quote(task(score=NEAR), [one("a", 1), one("a", 2, "fusion"), one("a", 4, "fusion")])
    assert asked(found) == (10 * 4, 10 * (3 * 20 + 200))


def test_all_samples_of_a_scored_stage_are_scored() -> None:
    found = quote(task(stage_score=NEAR), [one("a", 4)])
    assert asked(found) == (10 * 5, 10 * (4 * 20 + 200))


def test_measures_are_taken_in_the_confirmation_alone() -> None:
    file = task(measures={"same": NEAR})
    assert asked(quote(file, [one("a", 4)])) == (0, 0)
    found = quote(file, [one("a", 4)], n_confirm=5)
    assert asked(found) == (2 * 5 * 2, 2 * 5 * 220)


def test_the_pilot_scores_every_model_once() -> None:
    found = quote(task(score=NEAR), [one("a", 1)], n_trials=0, n_pilot=3)
    assert asked(found) == (3 * 2 * 2, 3 * 2 * 220)


def test_a_judge_that_compares_samples_is_asked_again_for_each_set() -> None:
    judge = {"kind": "judge", "model": "near", "form": "pairwise"}
    found = quote(task(stage_score={"verifier": judge}), [one("a", 2), one("a", 4)])
    assert found.scoring.calls == 10 * (2 * 1 + 4 * 3)


def test_the_worst_case_reads_answers_at_their_longest() -> None:
    found = quote(task(score=NEAR), [one("a", 1)])
    assert found.worst.prefill_tokens == 10 * (200 + (50 + 200))


@pytest.mark.parametrize("score", [NEAR, RULE])
def test_a_scorer_of_unknown_size_leaves_the_total_unknown(score: Any) -> None:
    found = quote(task(score=score), [one("a", 1)], size=None)
    assert (found.expected.cost.flops is None) is (score is NEAR)
    assert found.of_stages.cost.flops is not None


def test_a_measure_and_a_score_are_told_apart() -> None:
    file = task(score=NEAR, stage_score=NEAR, measures={"same": NEAR, "rule": RULE})
    assert [(one.samples, one.at_end) for one in scored_by_models(file)] == [
        (False, False),
        (True, False),
        (False, True),
    ]

"""Quotes, against sums worked out by hand."""

from __future__ import annotations

import pytest

from agenttts.budgets.cards import ModelCard, Speed
from agenttts.budgets.cost import Unit, amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.budgets.quote import quote_problem, quote_study
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.schema import TaskFile

BARE = {"user": "{{ prompt }}{% for candidate in candidates %}{{ candidate }}{% endfor %}"}
"""A fusion's prompt that adds no word to what it shows."""
FILE = TaskFile.model_validate(
    {
        "name": "t",
        "data": {"path": "x.jsonl"},
        "stages": {
            "plan": {
                "prompt": {"user": "?"},
                "models": ["a", "b"],
                "n_samples": [1, 2, 4],
                "select": ["majority", {"kind": "fusion", "prompt": BARE}],
                "lengths": {"prefill_tokens": 100, "decode_tokens": 10},
                "sampling": {"max_tokens": 40},
            },
            "solve": {
                "needs": ["plan"],
                "prompt": {"user": "?"},
                "models": ["a"],
                "n_samples": [1, 2, 4],
                "select": ["majority", {"kind": "best_of_n", "verifier": "tiny_prm"}],
                "lengths": {"prefill_tokens": 200, "decode_tokens": 20},
                "sampling": {"max_tokens": 50},
            },
        },
        "score": {"verifier": "exact", "gold": "answer"},
    }
)


def card(name: str, **figures: object) -> ModelCard:
    values = {
        "name": name,
        "source": "openai",
        "parameters": 5e8,
        "max_n": 16,
        **figures,
    }  # a token is a GFLOP
    return ModelCard.model_validate(values)


def costs(**figures: object) -> CostModel:
    return CostModel({name: card(name, **figures) for name in ("a", "b", "tiny/prm")})


def allocation(plan: tuple[str, int, str], solve: tuple[str, int, str]) -> Allocation:
    return Allocation((StageChoice("plan", *plan), StageChoice("solve", *solve)))


ONE = allocation(("a", 1, "first"), ("a", 1, "first"))
"""110 + 220 tokens in 2 calls."""
MORE = allocation(("a", 4, "majority"), ("a", 2, "majority"))
"""140 + 240 tokens in 2 calls."""
OTHER = allocation(("b", 1, "first"), ("a", 2, "best_of_n(tiny_prm)"))
"""110 + 240 + 2 x 220 tokens in 4 calls."""


def test_one_problem_expected_and_worst() -> None:
    quote = quote_problem(Lengths(FILE), costs(), OTHER)
    assert quote.expected.calls == 4
    assert quote.expected.prefill_tokens == 100 + 200 + 440
    assert quote.expected.decode_tokens == 10 + 40
    assert amount(quote.expected.cost, Unit.GFLOPS) == pytest.approx(790)
    # Worst: the plan prompt is not upstream of anything; the solve prompt may quote a plan of 40 tokens.
    assert quote.worst.prefill_tokens == 100 + 240 + 2 * (240 + 50)
    assert quote.worst.decode_tokens == 40 + 100
    assert quote.expected.minutes is None


def test_one_problem_takes_its_latency() -> None:
    speed = Speed(prefill_tokens_per_s=100, decode_tokens_per_s=10)
    quote = quote_problem(Lengths(FILE), costs(speed=speed), MORE)
    assert quote.expected.minutes == pytest.approx((1 + 1 + 2 + 2) / 60)
    assert quote.worst.minutes == pytest.approx((1 + 4 + 2.4 + 5) / 60)


def test_requests_are_as_many_as_max_n_asks_for() -> None:
    # A plan is charged one shared prefill, whatever the number of requests; a search pays one per request.
    quote = quote_problem(Lengths(FILE), costs(max_n=2), MORE)
    assert (quote.expected.calls, quote.expected.prefill_tokens) == (2 + 1, 300)
    spent = quote_study(Lengths(FILE), costs(max_n=2), [MORE], n_trials=1, n_search=1).expected
    assert (spent.calls, spent.prefill_tokens, spent.decode_tokens) == (2 + 1, 2 * 100 + 200, 40 + 40)


def test_trials_add_up_without_reuse() -> None:
    quote = quote_study(Lengths(FILE), costs(), [ONE, MORE, OTHER], n_trials=6, n_search=10).without_reuse
    assert quote.calls == pytest.approx(6 * 10 * (2 + 2 + 4) / 3)
    assert amount(quote.cost, Unit.GFLOPS) == pytest.approx(6 * 10 * (330 + 380 + 790) / 3)


def test_with_reuse_a_stream_is_paid_up_to_its_largest_n() -> None:
    # plan a: 4 draws; solve after `plan a x1`: 1 draw; after `plan a x4`: 2; plan b: 1; solve after it: 2, verified.
    quote = quote_study(Lengths(FILE), costs(), [ONE, MORE, OTHER], n_trials=3, n_search=10).expected
    assert quote.cost.prefill_tokens == pytest.approx(10 * (100 + 200 + 200 + 100 + 200 + 2 * 220))
    assert quote.cost.decode_tokens == pytest.approx(10 * (40 + 20 + 40 + 10 + 40))
    assert quote.calls == pytest.approx(10 * (5 + 2))


def test_with_reuse_another_selector_pays_for_the_verifier_alone() -> None:
    plain = allocation(("a", 4, "majority"), ("a", 4, "majority"))
    verified = allocation(("a", 4, "majority"), ("a", 4, "best_of_n(tiny_prm)"))
    one = quote_study(Lengths(FILE), costs(), [plain], n_trials=1, n_search=1).expected
    both = quote_study(Lengths(FILE), costs(), [plain, verified], n_trials=2, n_search=1).expected
    assert amount(both.cost, Unit.GFLOPS) - amount(one.cost, Unit.GFLOPS) == pytest.approx(4 * 220)


def test_with_reuse_the_same_fusion_is_paid_once() -> None:
    fused = [allocation(("a", 4, "fusion"), ("a", n, "majority")) for n in (2, 4)]
    quote = quote_study(Lengths(FILE), costs(), fused, n_trials=2, n_search=1).expected
    assert amount(quote.cost, Unit.GFLOPS) == pytest.approx(140 + (140 + 10) + (200 + 80))


def test_more_trials_than_allocations_cost_no_more_with_reuse() -> None:
    few, many = (quote_study(Lengths(FILE), costs(), [ONE, MORE], n_trials=n, n_search=10) for n in (2, 40))
    assert few.expected == many.expected
    assert many.without_reuse.calls == pytest.approx(20 * few.without_reuse.calls)


def test_pilot_and_confirmation_are_quoted_too() -> None:
    quote = quote_study(Lengths(FILE), costs(), [MORE], n_trials=0, n_search=10, n_confirm=50, n_pilot=3)
    # The pilot draws once with plan a, plan b, solve a; winner and runner-up are confirmed.
    expected = 3 * (110 + 110 + 220) + 2 * 50 * 380
    assert amount(quote.expected.cost, Unit.GFLOPS) == pytest.approx(expected)
    assert amount(quote.without_reuse.cost, Unit.GFLOPS) == pytest.approx(expected)
    worst = 3 * (140 + 140 + 290) + 2 * 50 * (100 + 160 + 240 + 100)
    assert amount(quote.worst.cost, Unit.GFLOPS) == pytest.approx(worst)


def test_the_worst_case_is_the_costliest_allocation_in_every_trial() -> None:
    worst = quote_study(Lengths(FILE), costs(), [ONE, MORE, OTHER], n_trials=6, n_search=10).worst
    assert amount(worst.cost, Unit.GFLOPS) == pytest.approx(60 * (140 + 240 + 100 + 2 * 290))
    assert worst.calls == 60 * 4


def test_minutes_follow_the_tightest_limit_of_each_card() -> None:
    # MORE alone, 10 problems: 20 calls and 3,800 tokens of model a.
    def minutes(**figures: object) -> float | None:
        quote = quote_study(Lengths(FILE), costs(**figures), [MORE], n_trials=1, n_search=10)
        return quote.expected.minutes

    assert minutes() is None
    assert minutes(requests_per_minute=5) == pytest.approx(4)
    assert minutes(requests_per_minute=5, tokens_per_minute=380) == pytest.approx(10)
    speed = Speed(prefill_tokens_per_s=100, decode_tokens_per_s=10)
    assert minutes(speed=speed, max_concurrency=2) == pytest.approx(10 * (1 + 1 + 2 + 2) / 60 / 2)
    assert minutes(speed=speed, max_concurrency=2, requests_per_minute=1) == pytest.approx(20)


def test_minutes_are_unknown_when_one_card_tells_nothing() -> None:
    known, silent = card("a", requests_per_minute=5), card("b")
    model = CostModel({"a": known, "b": silent, "tiny/prm": known.model_copy(update={"name": "tiny/prm"})})

    def minutes(of: Allocation) -> float | None:
        return quote_study(Lengths(FILE), model, [of], n_trials=1, n_search=10).expected.minutes

    assert minutes(OTHER) is None
    assert minutes(ONE) == pytest.approx(20 / 5)  # `b` has nothing to do


def test_no_figure_of_the_worst_case_is_below_the_expected_one() -> None:
    dear_but_short = allocation(("b", 1, "first"), ("b", 1, "first"))
    quote = quote_study(Lengths(FILE), costs(), [MORE, dear_but_short], n_trials=2, n_search=10)
    for figures in (quote.expected, quote.without_reuse):
        assert quote.worst.calls >= figures.calls
        assert quote.worst.prefill_tokens >= figures.prefill_tokens
        assert quote.worst.decode_tokens >= figures.decode_tokens
        assert amount(quote.worst.cost, Unit.GFLOPS) >= amount(figures.cost, Unit.GFLOPS)


def test_lengths_learnt_from_draws_change_the_quote() -> None:
    lengths = Lengths(FILE)
    before = quote_problem(lengths, costs(), ONE).expected.decode_tokens
    lengths.observe_counts("plan", "a", prefill={100: 1000}, decode={39: 1000})
    after = quote_problem(lengths, costs(), ONE).expected.decode_tokens
    assert before == 30
    assert after == pytest.approx(20 + (4 * 10 + 1000 * 39) / 1004)


def test_a_quote_needs_an_allocation() -> None:
    with pytest.raises(ValueError, match="at least one"):
        quote_study(Lengths(FILE), costs(), [], n_trials=1, n_search=1)

"""Where the money goes, worked out by hand."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Cost, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.pipeline.base import CostPart
from agenttts.report.facts.money import purses, stage_money
from tests.report.facts.conftest import LARGE, SMALL, make_trial

CARDS = CostModel(
    {
        name: ModelCard.model_validate({"name": name, "source": "openai", "parameters": size})
        for name, size in ((SMALL, 1e8), (LARGE, 4e8))
    }
)


def tokens(prefill: float = 0, decode: float = 0, flops: float = 0.0) -> Cost:
    return Cost(flops=flops, linear_flops=flops, prefill_tokens=prefill, decode_tokens=decode)


def test_parts_are_told_by_stage_model_and_purpose_and_add_up():
    trial = make_trial(
        0,
        "1",
        costs={"draft": tokens(10, 20), "solve": tokens(40, 30)},
        parts={
            "draft": (CostPart(SMALL, "draw", tokens(10), tokens(decode=20)),),
            "solve": (
                CostPart(SMALL, "draw", tokens(10), tokens(decode=24)),
                CostPart(LARGE, "verify", tokens(30), tokens(decode=6)),
            ),
        },
    )
    money = stage_money(trial, Unit.TOKENS, CARDS)
    assert money.exact
    assert money.total == 100
    assert [(s.stage, s.model, s.purpose, s.prefill, s.decode) for s in money.shares] == [
        ("draft", SMALL, "draw", 10, 20),
        ("solve", SMALL, "draw", 10, 24),
        ("solve", LARGE, "verify", 30, 6),
    ]
    assert sum(share.total for share in money.shares) == money.total


def test_the_unit_of_the_paper_is_not_linear_so_parts_are_shares_of_the_stage():
    # 6e9 (128 + 64 * 10) linear FLOPs are 10 units, of which a quarter is read.
    whole = 6e9 * (128 + 64 * 10)
    trial = make_trial(
        0,
        "1",
        costs={"draft": tokens(10, 20, whole)},
        parts={"draft": (CostPart(SMALL, "draw", tokens(10, 0, whole / 4), tokens(0, 20, 3 * whole / 4)),)},
    )
    (share,) = stage_money(trial, Unit.PAPER, CARDS).shares
    assert (share.prefill, share.decode) == pytest.approx((2.5, 7.5))


def test_an_older_log_is_divided_by_tokens_and_says_that_it_is_rough():
    # 4e8 parameters: 30 tokens read are 24 GFLOPs, 10 written 8; the log says 40 in all, attention and verifier included.
    trial = make_trial(0, "1", (LARGE, 1), costs={"draft": tokens(30, 10, 40e9)})
    money = stage_money(trial, Unit.GFLOPS, CARDS)
    (share,) = money.shares
    assert not money.exact
    assert share.purpose == "calls"
    assert share.model == LARGE
    assert (share.prefill, share.decode) == pytest.approx((30, 10))


def test_a_stage_that_cost_nothing_has_no_share():
    trial = make_trial(0, "1", costs={"draft": tokens()}, parts={"draft": ()})
    assert stage_money(trial, Unit.TOKENS, CARDS).shares == ()


def spent(decode: float) -> dict[str, float | None]:
    return asdict(tokens(decode=decode))


EVENTS = [
    {"event": "started"},
    {"event": "pilot", "n_paid": 3, "spent": spent(30)},
    {"event": "trial", "trial": {"number": 0, "n_paid": 10}, "spent": spent(130)},
    {"event": "trial", "trial": {"number": 1, "n_paid": 5}, "spent": spent(180)},
    {"event": "confirmed", "winner": {"n_paid": 4}, "runner_up": None, "spent": spent(220)},
    {"event": "ended", "n_paid": 24, "spent": spent(240)},
]


def test_phases_pay_what_was_paid_since_the_event_before():
    found = {
        purse.name: (purse.cost.decode_tokens, purse.n_draws) for purse in purses(EVENTS, 24, asked=False)
    }
    assert found == {"pilot": (30, 3), "trials": (150, 15), "confirmation": (40, 4), "cut off": (20, 2)}


def test_the_planner_has_a_purse_of_its_own():
    bill = {"calls": 2, "spent": spent(7)}
    events = [
        {**event, "spent_on_task": event["spent"], "spent": spent(999), "planner_bill": bill}
        for event in EVENTS[1:4]
    ]
    found = {purse.name: purse.cost.decode_tokens for purse in purses(events, 18, asked=True)}
    assert found == {"pilot": 30, "trials": 150, "planner": 7}


def test_what_is_unknown_stays_unknown():
    unknown = {**EVENTS[1], "spent": asdict(replace(tokens(decode=1), usd=None))}
    (purse,) = purses([unknown], 3, asked=False)
    assert purse.cost.usd is None


def test_a_log_that_does_not_tell_has_no_purses():
    assert purses([{"event": "pilot", "n_paid": 3}], 3, asked=False) == ()

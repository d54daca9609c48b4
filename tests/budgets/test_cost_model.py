"""Costs of calls, against figures of the paper and figures worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard, Price, Speed
from agenttts.budgets.cost import Cost, Unit, amount, total_amount
from agenttts.budgets.cost_model import CostModel, stage_costs, stage_parts
from agenttts.budgets.loading import CardBook
from agenttts.budgets.prices import litellm_price
from agenttts.errors import CardError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Charge


def model(**figures: object) -> CostModel:
    return CostModel({"m": ModelCard.model_validate({"name": "m", "source": "openai", **figures})})


@pytest.mark.parametrize(
    ("parameters", "prefill", "decode", "n_samples", "expected"),
    [
        (72e9, 2048, 128, 1, 814),
        (3e9, 256, 64, 50, 52),
        (3e9, 256, 64, 10, 12),
        (70e9, 256, 64, 1, 114.67),
        (72e9, 1024, 64, 1, 406),
    ],
)
def test_the_papers_unit_gives_the_papers_values(
    parameters: float, prefill: int, decode: int, n_samples: int, expected: float
) -> None:
    # Layers and width are given, and must not matter: the paper counts no attention.
    cost = model(parameters=parameters, layers=80, width=8192).charge(
        "m", CallUsage(prefill, (decode,) * n_samples)
    )
    assert amount(cost, Unit.PAPER) == pytest.approx(expected, abs=0.005)


def test_a_shared_prefill_is_read_once() -> None:
    cost = model(parameters=10).charge("m", CallUsage(100, (5, 7)))
    assert cost == Cost(
        flops=2240, linear_flops=2240, usd=None, prefill_tokens=100, decode_tokens=12, seconds=None
    )


def test_a_prefill_that_is_not_shared_is_read_for_each_sample() -> None:
    cost = model(parameters=10, shares_prefill=False).charge("m", CallUsage(100, (5, 7)))
    assert cost.flops == 2 * 10 * (200 + 12)
    assert cost.prefill_tokens == 200


def test_a_prompt_that_is_only_read_is_read_once() -> None:
    for shares_prefill in (True, False):
        cost = model(parameters=10, shares_prefill=shares_prefill).charge("m", CallUsage(100, ()))
        assert (cost.flops, cost.prefill_tokens, cost.decode_tokens) == (2000, 100, 0)


def test_only_active_parameters_count() -> None:
    assert model(parameters=100, active_parameters=10).charge("m", CallUsage(1, (1,))).flops == 40


def test_attention_counts_every_pair_of_tokens_once() -> None:
    # Prompt of 3: pairs 11 21 22 31 32 33 = 6. A sample of 2 sees 3 + 1 and 3 + 2 tokens = 9; one of 1 sees 4.
    with_attention = model(parameters=10, layers=2, width=5)
    cost = with_attention.charge("m", CallUsage(3, (2, 1)))
    assert cost.linear_flops == 2 * 10 * (3 + 3)
    assert cost.flops == 120 + 4 * 2 * 5 * (6 + 9 + 4)


def test_attention_over_a_prompt_that_is_not_shared_is_paid_for_each_sample() -> None:
    cost = model(parameters=10, layers=2, width=5, shares_prefill=False).charge("m", CallUsage(3, (2, 1)))
    assert cost.flops == 2 * 10 * (6 + 3) + 40 * (2 * 6 + 9 + 4)


def test_attention_needs_layers_and_width() -> None:
    for half in ({"layers": 2}, {"width": 5}):
        cost = model(parameters=10, **half).charge("m", CallUsage(3, (2,)))
        assert cost.flops == cost.linear_flops == 100


def test_usd_have_a_price_for_each_direction_and_for_the_cache() -> None:
    price = {"input_per_million_usd": 2.0, "output_per_million_usd": 8.0, "cached_input_per_million_usd": 0.5}
    usage = CallUsage(1000, (100, 200), cached_prefill_tokens=400)
    cost = model(price=price).charge("m", usage)
    assert cost.usd == pytest.approx((600 * 2.0 + 400 * 0.5 + 300 * 8.0) / 1e6)
    assert cost.flops is None
    assert cost.linear_flops is None
    del price["cached_input_per_million_usd"]
    assert model(price=price).charge("m", usage).usd == pytest.approx((1000 * 2.0 + 300 * 8.0) / 1e6)
    price["cached_input_per_million_usd"] = 0.0
    assert model(price=price).charge("m", usage).usd == pytest.approx((600 * 2.0 + 300 * 8.0) / 1e6)


def test_a_free_model_costs_nothing_where_the_card_says_so() -> None:
    price = {"input_per_million_usd": 0, "output_per_million_usd": 0}
    assert model(price=price).charge("m", CallUsage(1000, (100,))).usd == 0


def test_seconds_are_prefill_and_the_longest_sample() -> None:
    speed = {"prefill_tokens_per_s": 1000, "decode_tokens_per_s": 50}
    assert model(speed=speed).charge("m", CallUsage(500, (10, 100, 20))).seconds == pytest.approx(0.5 + 2.0)
    assert model(speed=speed).charge("m", CallUsage(500, ())).seconds == pytest.approx(0.5)


def test_a_ledger_of_two_stages_worked_out_by_hand() -> None:
    cards = {
        "small": ModelCard(name="small", source="openai", parameters=1e9, price=Price(input_per_million_usd=1, output_per_million_usd=2)),
        "large": ModelCard(name="large", source="openai", parameters=10e9, price=Price(input_per_million_usd=10, output_per_million_usd=20)),
    }  # fmt: skip
    costs = stage_costs(
        CostModel(cards),
        {
            "find": [Charge("small", "draw", CallUsage(200, (50, 30)))],
            "say": [
                Charge("large", "draw", CallUsage(100, (10, 10, 10))),
                Charge("large", "fusion", CallUsage(130, (12,))),
                Charge("small", "verify", CallUsage(110, ())),
            ],
            "join": [],
        },
    )
    # find: 2e9 * 280; say: 2e10 * (130 + 142) + 2e9 * 110
    assert costs["find"].flops == pytest.approx(560e9)
    assert costs["say"].flops == pytest.approx(5660e9)
    assert costs["find"].usd == pytest.approx((200 + 160) / 1e6)
    assert costs["say"].usd == pytest.approx((1000 + 600 + 1300 + 240 + 110) / 1e6)
    assert costs["join"] == Cost()
    assert total_amount(costs, Unit.GFLOPS) == pytest.approx(6220)
    assert total_amount(costs, Unit.TOKENS) == 280 + 130 + 142 + 110


def test_what_a_card_lacks_is_an_error_that_names_card_file_and_key() -> None:
    cards = {
        "good": ModelCard(name="good", source="openai", parameters=1),
        "bad": ModelCard(name="bad", source="openai"),
        "worse": ModelCard(name="worse", source="tiny"),
    }
    book = CardBook(cards, {"bad": Path("budgets/models/mine.yaml")})
    for unit in (Unit.GFLOPS, Unit.PAPER):
        with pytest.raises(CardError) as caught:
            CostModel(book).require(unit)
        assert str(caught.value).splitlines() == [
            f"costs in {unit} need `parameters` on the card of every model:",
            "budgets/models/mine.yaml: models.bad: add `parameters: <number>`",
            "models.worse: add `parameters: <number>`",
        ]
    with pytest.raises(CardError, match=r"models\.good: add `price: {input_per_million_usd"):
        CostModel(book).require(Unit.USD)
    with pytest.raises(CardError, match=r"models\.good: add `speed: {prefill_tokens_per_s"):
        CostModel(book).require(Unit.SECONDS)
    CostModel(book).require(Unit.TOKENS)


def test_an_unknown_cost_is_an_error_and_never_zero() -> None:
    cost = model(parameters=10).charge("m", CallUsage(1, (1,)))
    with pytest.raises(CardError, match="unknown"):
        amount(cost, Unit.USD)
    with pytest.raises(CardError, match="unknown"):
        amount(cost + Cost(), Unit.SECONDS)


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(CardError, match=re.escape("no model card for 'x'; cards here: m")):
        model().charge("x", CallUsage(1, (1,)))


def litellm_card(model_id: str) -> CostModel:
    return CostModel({"m": ModelCard(name="m", source="litellm", model_id=model_id)})


def test_litellm_cards_without_price_take_it_from_litellms_own_map() -> None:
    for model_id in ("gpt-4o-mini", "openai/gpt-4o-mini"):
        costs = litellm_card(model_id)
        costs.require(Unit.USD)
        cost = costs.charge("m", CallUsage(1_000_000, (1_000_000,), cached_prefill_tokens=500_000))
        assert cost.usd == pytest.approx(0.5 * 0.15 + 0.5 * 0.075 + 0.60)


def test_a_price_on_the_card_comes_first() -> None:
    own = Price(input_per_million_usd=1, output_per_million_usd=1)
    card = ModelCard(name="m", source="litellm", model_id="gpt-4o-mini", price=own)
    assert CostModel({"m": card}).charge("m", CallUsage(10**6, (10**6,))).usd == pytest.approx(2)


@pytest.mark.parametrize(
    "model_id", ["no/such-model", "anthropic/gpt-4o-mini", "cloudflare/@cf/google/gemma-2b-it-lora", ""]
)
def test_a_model_that_litellm_has_no_price_for_is_an_error_and_never_free(model_id: str) -> None:
    if model_id:
        assert litellm_price(model_id) is None
        with pytest.raises(CardError, match=r"models\.m: add `price: .*litellm's price map has none either"):
            litellm_card(model_id).require(Unit.USD)
    assert model(model_id="gpt-4o-mini").price("m") is None  # only litellm cards are looked up


def test_looking_up_a_price_does_not_import_litellm() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from agenttts.budgets.prices import litellm_price; "
        "assert litellm_price('gpt-4o-mini'); assert 'litellm' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_speed_is_of_one_request() -> None:
    card = ModelCard(name="m", source="openai", speed=Speed(prefill_tokens_per_s=100, decode_tokens_per_s=10))
    costs = CostModel({"m": card})
    one, two = costs.charge("m", CallUsage(100, (10,))), costs.charge("m", CallUsage(100, (10, 10)))
    assert one.seconds == two.seconds == 2


def test_a_stage_below_the_papers_base_prompt_counts_as_0() -> None:
    # The paper's unit counts from a prompt of 128 tokens of a 3B model: 100 + 20 tokens are less.
    assert amount(Cost(linear_flops=2 * 3e9 * 120), Unit.PAPER) == 0
    assert amount(Cost(linear_flops=2 * 3e9 * (128 + 64)), Unit.PAPER) == pytest.approx(1)


def test_reading_and_writing_are_costed_apart_and_add_up():
    cards = {"parameters": 10, "layers": 2, "width": 3, "shares_prefill": False}
    prices = {"price": {"input_per_million_usd": 1.0, "output_per_million_usd": 4.0}}
    known = model(**cards, **prices)
    usage = CallUsage(4, (1, 3))
    part = known.divide(Charge("m", "draw", usage))
    # Read twice: 8 tokens and 2 * (1 + 2 + 3 + 4) pairs; written: 4 tokens, 4 + 1 and 12 + 6 pairs; 24 FLOPs a pair.
    assert part.prefill.flops == 2 * 10 * 8 + 24 * 20
    assert part.decode.flops == 2 * 10 * 4 + 24 * 23
    assert (part.prefill.usd, part.decode.usd) == (pytest.approx(8e-6), pytest.approx(16e-6))
    assert part.prefill + part.decode == known.charge("m", usage)


def test_parts_of_a_stage_are_by_model_and_purpose_and_bear_their_share():
    known = model(parameters=10)
    draws = Charge("m", "draw", CallUsage(100, (5, 7)))
    judged = Charge("m", "verify", CallUsage(20, (1,)))
    parts = stage_parts(known, [draws, judged, judged], share=0.5)
    assert [(part.purpose, part.prefill.flops, part.decode.flops) for part in parts] == [
        ("draw", 1000, 120),
        ("verify", 400, 20),
    ]
    assert sum((part.prefill + part.decode).flops for part in parts) == sum(
        cost.scaled(0.5).flops for cost in stage_costs(known, {"s": [draws, judged, judged]}).values()
    )

"""Lengths learnt from draws, and expected costs of choices, against sums worked out by hand."""

from __future__ import annotations

import itertools
import random

import pytest

from agenttts.budgets.cards import ModelCard, Price, Speed
from agenttts.budgets.cost import Unit, amount, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Distribution, Lengths
from agenttts.errors import CardError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import StageChoice
from agenttts.task.schema import TaskFile

BARE = {"user": "{{ prompt }}{% for candidate in candidates %}{{ candidate }}{% endfor %}"}
"""A fusion's prompt that adds no word to what it shows."""


def task_file(**stage_keys: object) -> TaskFile:
    """Return a task of two LLM stages with a function between them."""
    llm = {
        "prompt": {"user": "?"},
        "models": ["a", "b"],
        "n_samples": [1, 2, 4],
        "sampling": {"max_tokens": 100},
    }
    return TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {
                "first": {**llm, "select": {"kind": "fusion", "prompt": BARE}, **stage_keys},
                "between": {"function": "m:f", "needs": ["first"]},
                "second": {
                    **llm,
                    "needs": ["first", "between"],
                    "select": [
                        "majority",
                        {"kind": "best_of_n", "verifier": "tiny_prm"},
                        {"kind": "fusion", "prompt": BARE, "sampling": {"max_tokens": 30}, "label": "short"},
                    ],
                },
            },
            "score": {"verifier": "exact", "gold": "answer"},
        }
    )


def card(name: str, parameters: float, **figures: object) -> ModelCard:
    price = Price(input_per_million_usd=1, output_per_million_usd=10)
    speed = Speed(prefill_tokens_per_s=1000, decode_tokens_per_s=10)
    return ModelCard(name=name, source="openai", parameters=parameters, price=price, speed=speed).model_copy(
        update=figures
    )


COSTS = CostModel(
    {"a": card("a", 1e9), "b": card("b", 2e9, shares_prefill=False), "tiny/prm": card("tiny/prm", 1e8)}
)


def linear(tokens: float, parameters: float = 1e9) -> float:
    return pytest.approx(2 * parameters * tokens * 1e-9)  # type: ignore[no-any-return]


def seen(*draws: tuple[int, int], stage: str = "first", model: str = "a", **keys: object) -> Lengths:
    lengths = Lengths(task_file(**keys))
    for prefill, decode in draws:
        lengths.observe(stage, model, prefill, decode)
    return lengths


def test_without_draws_a_prompt_is_512_tokens_and_a_completion_max_tokens() -> None:
    lengths = seen()
    assert lengths.mean("first", "a", "prefill") == 512
    assert lengths.mean("first", "a") == 100
    assert lengths.quantile("first", "a", 0.99) == 100
    assert lengths.n_observed("first", "a") == 0


def test_without_draws_what_the_task_file_expects_counts() -> None:
    lengths = seen(lengths={"prefill_tokens": 80, "decode_tokens": 12.5})
    assert lengths.mean("first", "a", "prefill") == 80
    assert lengths.mean("first", "a") == 12.5


def test_rendered_prompts_come_after_the_task_file_and_before_the_default() -> None:
    rendered = {("first", "a"): 33.0}
    assert Lengths(task_file(), rendered).mean("first", "a", "prefill") == 33
    assert Lengths(task_file(), rendered).mean("first", "b", "prefill") == 512
    given = Lengths(task_file(lengths={"prefill_tokens": 80}), rendered)
    assert given.mean("first", "a", "prefill") == 80


def test_an_expectation_counts_as_four_draws() -> None:
    lengths = seen((100, 10), (300, 40), lengths={"prefill_tokens": 80, "decode_tokens": 16})
    assert lengths.mean("first", "a", "prefill") == pytest.approx((4 * 80 + 100 + 300) / 6)
    assert lengths.mean("first", "a") == pytest.approx((4 * 16 + 10 + 40) / 6)


def test_a_bound_fades_and_no_longer_counts_from_the_fourth_draw() -> None:
    means = [seen(*[(60, 20)] * n).mean("first", "a") for n in range(6)]
    assert means == pytest.approx([100, 80, 60, 40, 20, 20])


def test_each_stage_and_model_learns_by_itself() -> None:
    lengths = seen(*[(60, 20)] * 9)
    assert lengths.mean("first", "b") == 100
    assert lengths.mean("second", "a") == 100


def test_the_order_of_draws_changes_nothing_at_all() -> None:
    rng = random.Random(3)
    draws = [(rng.randint(1, 900), rng.randint(1, 100)) for _ in range(200)]
    shuffled = draws.copy()
    rng.shuffle(shuffled)
    one, other = seen(*draws), seen(*shuffled)
    together = Lengths(task_file())
    together.observe_counts(
        "first",
        "a",
        prefill={p: [q for q, _ in draws].count(p) for p, _ in draws},
        decode={d: [e for _, e in draws].count(d) for _, d in draws},
    )
    choice = StageChoice("first", "a", 4, "fusion")
    costs = [lengths.expected_cost(COSTS, choice, Unit.SECONDS) for lengths in (one, other, together)]
    assert costs[0] == costs[1] == costs[2]  # to the last bit
    assert one.n_observed("first", "a") == together.n_observed("first", "a") == 200


def test_quantiles_and_the_expected_longest_are_those_of_the_draws() -> None:
    draws = [3, 9, 1, 5, 7, 5, 5, 2, 8, 4]
    lengths = seen(*[(1, d) for d in draws])
    assert [lengths.quantile("first", "a", q) for q in (0.05, 0.1, 0.5, 0.9, 0.95, 1.0)] == [1, 1, 5, 8, 9, 9]
    by_enumeration = sum(max(three) for three in itertools.product(draws, repeat=3)) / 10**3
    assert lengths.mean_max("first", "a", 3) == pytest.approx(by_enumeration)
    assert lengths.mean_max("first", "a", 1) == pytest.approx(lengths.mean("first", "a"))
    assert lengths.mean_max("first", "a", 10**6) == pytest.approx(9)


def test_moments_of_a_law() -> None:
    law = Distribution.of({2: 1, 4: 3})
    assert (law.mean, law.mean_square, law.variance) == (3.5, 13, 0.75)
    assert Distribution.point(7).mean_max(5) == 7
    for wrong in (0, -0.1, 1.1):
        with pytest.raises(ValueError, match="quantile"):
            law.quantile(wrong)
    with pytest.raises(ValueError, match="at least one"):
        law.mean_max(0)


FOUR = [(60, 10), (60, 30), (140, 10), (140, 30)]
"""Prompts of 100 tokens and completions of 20 on average, independent of each other."""


def test_draws_cost_one_shared_prefill_and_every_completion() -> None:
    choice = StageChoice("first", "a", 4, "majority")
    assert seen(*FOUR).expected_cost(COSTS, choice, Unit.GFLOPS) == linear(100 + 4 * 20)
    assert seen(*FOUR).expected_cost(COSTS, choice, Unit.USD) == pytest.approx((100 + 4 * 20 * 10) / 1e6)
    # The longest of 4 is 30 unless all are 10.
    longest = 30 - 20 / 2**4
    assert seen(*FOUR).expected_cost(COSTS, choice, Unit.SECONDS) == pytest.approx(0.1 + longest / 10)


def test_without_a_shared_prefill_each_draw_reads_the_prompt() -> None:
    choice = StageChoice("first", "b", 4, "majority")
    assert seen(*FOUR, model="b").expected_cost(COSTS, choice, Unit.GFLOPS) == linear(4 * (100 + 20), 2e9)


def test_fusion_reads_prompt_and_samples_again_and_writes_one_answer_more() -> None:
    lengths = seen(*FOUR)
    fused = lengths.expected_cost(COSTS, StageChoice("first", "a", 4, "fusion"), Unit.GFLOPS)
    assert fused == linear((100 + 80) + (100 + 80 + 20))
    assert lengths.expected_cost(COSTS, StageChoice("first", "a", 1, "fusion"), Unit.GFLOPS) == linear(
        100 + 20
    )


def test_a_learned_verifier_reads_the_prompt_with_each_sample() -> None:
    lengths = seen(*FOUR, stage="second")
    best_of = lengths.expected(COSTS, StageChoice("second", "a", 4, "best_of_n(tiny_prm)"))
    assert amount(best_of, Unit.GFLOPS) == pytest.approx(2 * (100 + 80) + 0.2 * 4 * (100 + 20))
    assert best_of.prefill_tokens == 100 + 4 * 120
    single = lengths.expected_cost(COSTS, StageChoice("second", "a", 1, "first"), Unit.GFLOPS)
    assert single == linear(100 + 20)


def test_the_selector_can_be_handed_over() -> None:
    way = task_file().stages["second"].select[1]
    choice = StageChoice("first", "a", 4, "whatever")
    plain = seen(*FOUR).expected_cost(COSTS, choice, Unit.GFLOPS)
    assert seen(*FOUR).expected_cost(COSTS, choice, Unit.GFLOPS, way) == pytest.approx(plain + 0.2 * 4 * 120)


def test_the_expectation_is_the_mean_of_what_calls_are_charged_with_attention() -> None:
    # Exactly so for laws that are independent, here by listing every combination of a prompt and two completions.
    attentive = CostModel({"a": card("a", 1000, layers=3, width=7)})
    lengths = seen(*FOUR)
    listed = [
        [
            attentive.charge("a", CallUsage(prompt, (one, two))),
            attentive.charge("a", CallUsage(prompt + one + two, (three,))),
        ]
        for prompt, one, two, three in itertools.product((60, 140), (10, 30), (10, 30), (10, 30))
    ]
    expected = lengths.expected(attentive, StageChoice("first", "a", 2, "fusion"))
    mean = total(total(calls) for calls in listed).scaled(1 / len(listed))
    for name in ("flops", "linear_flops", "usd", "prefill_tokens", "decode_tokens", "seconds"):
        assert getattr(expected, name) == pytest.approx(getattr(mean, name)), name


def test_the_worst_prompt_before_any_was_seen_quotes_upstream_answers_in_full() -> None:
    lengths = seen()
    assert lengths.worst("first", "a", "prefill") == 512
    assert lengths.worst("second", "a", "prefill") == 512 + 100
    assert lengths.worst("second", "a", "decode") == 100
    lengths.observe("second", "a", 70, 5)
    lengths.observe("second", "a", 90, 5)
    assert lengths.worst("second", "a", "prefill") == 90
    assert lengths.worst("second", "a", "decode") == 100


def test_the_worst_fusion_writes_its_own_max_tokens() -> None:
    lengths = seen((50, 5), stage="second")
    draws, fusion = lengths.worst_calls(COSTS, StageChoice("second", "a", 2, "short"))
    assert (draws.work.prefill_tokens, draws.work.decode_tokens) == (50, 200)
    assert (fusion.work.prefill_tokens, fusion.work.decode_tokens) == (250, 30)


def test_a_missing_figure_is_an_error() -> None:
    bare = CostModel({"a": ModelCard(name="a", source="openai")})
    choice = StageChoice("second", "a", 4, "best_of_n(tiny_prm)")
    with pytest.raises(CardError, match="no model card for 'tiny/prm'"):
        seen().expected_cost(bare, choice, Unit.GFLOPS)
    with pytest.raises(CardError, match="parameters"):
        seen().expected_cost(bare, StageChoice("first", "a", 1, "first"), Unit.GFLOPS)

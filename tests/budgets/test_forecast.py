"""What every way to spend samples is forecast to cost, against what it is charged when it is run."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.budgets.cards import ModelCard, Price, Speed
from agenttts.budgets.cost import Cost, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.models.base import Request, Sample
from agenttts.pipeline.base import Allocation, Problem, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

PROBLEM = Problem("p", {"question": "what is it", "answer": 42})
P, D = 5, 6
"""Words of the stage's prompt, and of each completion."""
PRICE = Price(input_per_million_usd=1, output_per_million_usd=10)
SPEED = Speed(prefill_tokens_per_s=1000, decode_tokens_per_s=10)
CARDS = {
    name: ModelCard(
        name=name, source="tiny", parameters=size, price=PRICE, speed=SPEED, shares_prefill=shares
    )
    for name, size, shares in (
        ("small", 1e3, True),
        ("alone", 2e3, False),
        ("large", 1e4, True),
        ("tiny/prm", 5e2, False),
    )
}
COSTS = CostModel(CARDS)
PRM = {"kind": "tiny_prm"}
BARE = {"user": "{{ prompt }}{% for candidate in candidates %}{{ candidate }}{% endfor %}"}
"""Adds no word to what it shows; the prompt and every sample of these tests end in white space."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "first": {},
    "majority": {},
    "list_vote": {},
    "weighted_vote": {"verifier": PRM},
    "best_of_n": {"verifier": PRM},
    "fusion": {"prompt": BARE},
    "agreed_fusion": {"prompt": BARE},
    "llm_select": {"prompt": BARE, "model": "large"},
    "adaptive_vote": {},
    "adaptive_best": {"verifier": PRM},
    "refine": {"prompt": {"user": "go {{ feedback }}"}},
    "beam": {"verifier": PRM, "width": 2},
    "dvts": {"verifier": PRM, "width": 2},
    "tree": {"verifier": PRM, "prompt": {"user": "go {{ feedback }}"}},
    "cascade": {"to": "large"},
}
"""Kind -> settings under which the docstring promises an exact forecast, where it does."""


@cache
def task_of(kind: str, name: str = "", max_tokens: int = 20) -> Task:
    """Return a task of one stage with one way; `name` picks its settings out of `VARIANTS`."""
    stage = {
        "prompt": {"user": "Say {{ problem.question }} now \n"},
        "models": ["small", "alone"],
        "n_samples": [1, 2, 3, 4, 6],
        "sampling": {"max_tokens": max_tokens},
        "parse": "last_number",
        "select": {"kind": kind, "label": "way", **(VARIANTS[name] if name else WAYS[kind])},
    }
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"solve": stage},
            "score": {"verifier": "numeric", "gold": "answer"},
        }
    )
    return Task(file=file, folder=Path(), cards=CARDS, search=(PROBLEM,), trusted=False)


def charged(task: Task, choice: StageChoice, script: Callable[[Request, int], Sample]) -> Cost:
    """Return what a problem is charged when the models write what the script says."""
    run = Pipeline.build(task).run(
        PROBLEM,
        Allocation((choice,)),
        clients=ScriptedRequests(),
        sampler=ScriptedSampler(script),
        cost_model=COSTS,
        score=False,
    )
    return asyncio.run(run).costs["solve"]


def words(request: Request) -> int:
    return sum(len(message.content.split()) for message in request.messages)


def said(request: Request, index: int, text: str, reason: str = "stop") -> Sample:
    return Sample(index, text, reason, words(request), len(text.split()))


def judged(request: Request, index: int, score: float) -> Sample:
    return Sample(index, f"[{score}, {score}]", "stop", words(request), 0)


def fixed(answer: Callable[[Request, int], str], score: float = 0.5) -> Callable[[Request, int], Sample]:
    """Return a script of completions of D words that end in an answer."""

    def script(request: Request, index: int) -> Sample:
        if request.model == "tiny/prm":
            return judged(request, index, score)
        return said(request, index, "w " * (D - 1) + answer(request, index) + " \n")

    return script


def known(task: Task, *models: str, steps: int | None = None) -> Lengths:
    """Return lengths that have seen nothing but prompts of P and completions of D words."""
    lengths = Lengths.of_task(task)
    for model in models or ("small", "alone", "large"):
        lengths.observe_counts(
            "solve", model, prefill={P: 9}, decode={D: 9}, steps={steps: 9} if steps is not None else None
        )
    return lengths


def same(forecast: Cost, charge: Cost) -> None:
    for name in ("prefill_tokens", "decode_tokens", "linear_flops", "usd", "seconds"):
        assert getattr(forecast, name) == pytest.approx(getattr(charge, name)), name


def distinct(request: Request, index: int) -> str:
    """Answers that all differ, whatever they are asked."""
    return str(zlib.crc32(f"{request.key} {index}".encode()))


EXACT = [kind for kind in WAYS if kind not in {"beam", "dvts", "cascade", "adaptive_vote"}]


@pytest.mark.parametrize("model", ["small", "alone"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [kind for kind in EXACT if kind not in {"agreed_fusion", "tree"}])
def test_ways_that_draw_what_they_may_are_forecast_exactly(kind: str, n: int, model: str) -> None:
    task = task_of(kind)
    choice = StageChoice("solve", model, n, "way")
    same(known(task).expected(COSTS, choice), charged(task, choice, fixed(distinct)))


@pytest.mark.parametrize("n", [2, 4])
def test_agreed_fusion_is_forecast_as_if_there_were_always_a_rival(n: int) -> None:
    task = task_of("agreed_fusion")
    choice = StageChoice("solve", "small", n, "way")
    forecast = known(task).expected(COSTS, choice)
    same(forecast, charged(task, choice, fixed(distinct)))
    assert charged(task, choice, fixed(lambda request, index: "7")).linear_flops < forecast.linear_flops


def test_by_hand() -> None:
    """A few of them written out, so that forecast and charge cannot be wrong together."""

    def tokens(kind: str, n: int, model: str = "small") -> tuple[float, float]:
        cost = known(task_of(kind)).expected(COSTS, StageChoice("solve", model, n, "way"))
        return cost.prefill_tokens, cost.decode_tokens

    assert tokens("majority", 4) == (P, 4 * D)
    assert tokens("majority", 4, "alone") == (4 * P, 4 * D)
    assert tokens("best_of_n", 4) == (P + 4 * (P + D), 4 * D)
    assert tokens("fusion", 4) == (P + P + 4 * D, 5 * D)
    assert tokens("agreed_fusion", 4) == (P + P + 2 * D, 5 * D)
    assert tokens("adaptive_vote", 4) == (4 * P, 4 * D)
    assert tokens("adaptive_best", 4) == (4 * P + 4 * (P + D), 4 * D)
    assert tokens("refine", 4) == (P + 3 * (P + D + 1), 4 * D)
    assert tokens("cascade", 4) == (P + P, 8 * D)


def votes_of(*votes: str) -> dict[str, tuple[int, ...]]:
    return {f"p{i}": tuple(map(int, codes)) for i, codes in enumerate(votes)}


@pytest.mark.parametrize("model", ["small", "alone"])
def test_an_adaptive_vote_is_forecast_by_the_votes_that_were_seen(model: str) -> None:
    task = task_of("adaptive_vote")
    choice = StageChoice("solve", model, 6, "way")
    agreed, split = known(task), known(task)
    agreed.run_shares.observe_votes("solve", model, votes_of("000000"))
    split.run_shares.observe_votes("solve", model, votes_of("012345"))
    same(agreed.expected(COSTS, choice), charged(task, choice, fixed(lambda request, index: "7")))
    same(split.expected(COSTS, choice), charged(task, choice, fixed(distinct)))


def test_without_votes_an_adaptive_vote_counts_at_the_most() -> None:
    task = task_of("adaptive_vote")
    choice = StageChoice("solve", "small", 4, "way")
    most = known(task).expected(COSTS, choice)
    assert (most.prefill_tokens, most.decode_tokens) == (4 * P, 4 * D)


def test_a_cascade_is_forecast_by_the_share_of_votes_that_disagree() -> None:
    task = task_of("cascade")
    choice = StageChoice("solve", "small", 4, "way")
    lengths = known(task)
    lengths.run_shares.observe_votes("solve", "small", votes_of("0001", "0123", "0011", "0123"))
    kept = charged(task, choice, fixed(lambda request, index: "7"))
    escalated = charged(task, choice, fixed(distinct))
    mean = total([kept, kept, escalated, escalated]).scaled(1 / 4)
    same(lengths.expected(COSTS, choice), mean)
    same(known(task).expected(COSTS, choice), escalated)


def test_a_cascade_by_score_judges_what_it_escalates_to_at_its_own_length() -> None:
    task = task_of("cascade", "cascade by score")
    choice = StageChoice("solve", "small", 3, "way")
    lengths = known(task, "small")
    lengths.observe_counts("solve", "large", prefill={P: 9}, decode={D + 3: 9})

    def script(request: Request, index: int) -> Sample:
        longer = "w " * 3 if request.model == "large" else ""
        if request.model == "tiny/prm":
            return judged(request, index, 0.1)
        return said(request, index, longer + "w " * (D - 1) + "7 \n")

    same(lengths.expected(COSTS, choice), charged(task, choice, script))


def test_a_refinement_with_a_critic_reads_what_the_critic_wrote() -> None:
    task = task_of("refine", "refine with a critic")
    choice = StageChoice("solve", "small", 3, "way")
    same(known(task).expected(COSTS, choice), charged(task, choice, fixed(distinct)))


def test_a_tree_is_forecast_as_if_all_but_the_first_were_refined() -> None:
    task = task_of("tree")
    choice = StageChoice("solve", "small", 6, "way")
    forecast = known(task).expected(COSTS, choice)
    charge = charged(task, choice, fixed(distinct))
    assert forecast.decode_tokens == charge.decode_tokens
    assert charge.prefill_tokens < forecast.prefill_tokens


def stepwise(n_steps: int, *, told: bool) -> Callable[[Request, int], Sample]:
    """Return a script of replies of D words in equal steps, no two of them alike."""

    def script(request: Request, index: int) -> Sample:
        if request.model == "tiny/prm":
            return judged(request, index, 0.5)
        last = request.messages[-1]
        n_done = len(last.content.split()) * n_steps // D if last.role == "assistant" else 0
        if n_done >= n_steps:
            return said(request, index, "")
        text = " ".join([distinct(request, index), *["w"] * (D // n_steps - 1)])
        sample = said(request, index, text)
        ended = {"ended": True} if told and n_done == n_steps - 1 else {}
        return Sample(index, text, "stop", sample.prefill_tokens, sample.decode_tokens, details=ended)

    return script


@pytest.mark.parametrize("n_steps", [1, 2, 3, 6])
@pytest.mark.parametrize("n", [2, 3, 4, 6])
@pytest.mark.parametrize("model", ["small", "alone"])
@pytest.mark.parametrize("kind", ["beam", "dvts"])
def test_a_search_over_equal_steps_is_forecast_exactly(kind: str, model: str, n: int, n_steps: int) -> None:
    task = task_of(kind)
    choice = StageChoice("solve", model, n, "way")
    lengths = known(task, steps=n_steps)
    charge = charged(task, choice, stepwise(n_steps, told=False))
    if (
        n % 2
    ):  # one beginning more is judged in the first round than goes on, which shares of means cannot tell
        assert lengths.expected(COSTS, choice).linear_flops == pytest.approx(charge.linear_flops, rel=0.05)
    else:
        same(lengths.expected(COSTS, choice), charge)
    told = charged(task, choice, stepwise(n_steps, told=True))
    assert told.linear_flops < charge.linear_flops


def test_a_search_over_steps_that_is_cut_off_is_forecast_exactly() -> None:
    task = task_of("beam", "beam, 2 steps")
    choice = StageChoice("solve", "small", 4, "way")
    charge = charged(task, choice, stepwise(3, told=False))
    same(known(task, steps=3).expected(COSTS, choice), charge)


def test_built_in_words_around_samples_are_counted_about_right() -> None:
    for name in ("built-in fusion", "built-in choice", "built-in refine", "built-in critic"):
        task = task_of(VARIANTS[name]["kind"], name)
        choice = StageChoice("solve", "small", 4, "way")
        forecast, charge = known(task).expected(COSTS, choice), charged(task, choice, fixed(distinct))
        # The double counts words and the forecast characters by four, which are 1.3 to 1.5 tokens a word.
        assert 1.0 < forecast.prefill_tokens / charge.prefill_tokens < 1.6, name


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "cascade by score": {"kind": "cascade", "to": "large", "verifier": PRM, "below": 0.3},
    "refine with a critic": {
        "kind": "refine",
        "prompt": {"user": "go {{ feedback }}"},
        "critic": {"prompt": {"user": "{{ prompt }}{{ text }}"}},
    },
    "refine by a verifier": {"kind": "refine", "verifier": PRM},
    "refine criticised by a verifier": {"kind": "refine", "critic": {"verifier": PRM}},
    "short critic": {"kind": "refine", "critic": {"model": "alone", "sampling": {"max_tokens": 30}}},
    "beam, 2 steps": {"kind": "beam", "verifier": PRM, "width": 2, "max_steps": 2},
    "built-in fusion": {"kind": "fusion"},
    "built-in rivals": {"kind": "agreed_fusion", "sampling": {"max_tokens": 30}},
    "built-in choice": {"kind": "llm_select"},
    "built-in refine": {"kind": "refine"},
    "built-in critic": {"kind": "refine", "critic": {}},
    "built-in tree": {"kind": "tree", "verifier": PRM},
    "wide dvts": {"kind": "dvts", "verifier": PRM, "width": 8},
}
"""Further ways, by what they are."""


def wild(seed: int) -> Callable[[Request, int], Sample]:
    """Return a script of texts of any length within the limit, any votes, any scores, some of them unreadable."""

    def script(request: Request, index: int) -> Sample:
        rng = random.Random(f"{seed} {request.key} {index}")
        if request.model == "tiny/prm":
            text = rng.choice(["[0.2]", "[1.0, 1.0]", "[0.9, 0.1]", "[]", "what"])
            return Sample(index, text, "stop", words(request), 0)
        most = request.sampling.max_tokens
        n = rng.choice([0, 1, rng.randint(0, most), most])
        text = " ".join(rng.choice(["w", "1", "2", "3", "\n\n"]) for _ in range(n))
        return Sample(index, text, rng.choice(["stop", "length"]), words(request), n)

    return script


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 2, 3, 4, 6]),
    model=st.sampled_from(["small", "alone"]),
    max_tokens=st.sampled_from([1, 3, 20]),
)
@pytest.mark.parametrize("way", [*WAYS, *VARIANTS])
def test_no_charge_is_above_the_worst_case(way: str, seed: int, n: int, model: str, max_tokens: int) -> None:
    task = task_of(way, "", max_tokens) if way in WAYS else task_of(VARIANTS[way]["kind"], way, max_tokens)
    choice = StageChoice("solve", model, n, "way")
    lengths = known(task)
    worst = total(call.cost(COSTS) for call in lengths.worst_calls(COSTS, choice))
    charge = charged(task, choice, wild(seed))
    for name in ("prefill_tokens", "decode_tokens", "flops", "usd", "seconds"):
        assert getattr(charge, name) <= getattr(worst, name) * (1 + 1e-9), name


@pytest.mark.parametrize("way", [*WAYS, *VARIANTS])
@pytest.mark.parametrize("billing", ["charged", "spent"])
def test_what_is_expected_is_not_above_the_worst_case(way: str, billing: Any) -> None:
    task = task_of(way) if way in WAYS else task_of(VARIANTS[way]["kind"], way)
    lengths = known(task)
    for n in (1, 2, 4):
        choice = StageChoice("solve", "alone", n, "way")
        worst = lengths.worst_calls(COSTS, choice, billing=billing)
        expected = lengths.expected_calls(COSTS, choice, billing=billing)
        for name in ("prefill_tokens", "decode_tokens", "flops", "usd", "seconds"):
            most, mean = (getattr(total(c.cost(COSTS) for c in calls), name) for calls in (worst, expected))
            assert mean <= most * (1 + 1e-9), (name, n)

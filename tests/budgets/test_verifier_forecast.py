"""What verifiers ask, as forecast and as they do it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.verifier_forecast import asked_of, feedback_tokens
from agenttts.models.base import Request, Sample
from agenttts.pipeline.base import Charge, Problem
from agenttts.pipeline.driver import World, verify
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task
from agenttts.task.ways import VerifierBlock
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler
from agenttts.verifiers.base import Candidate
from agenttts.verifiers.build import build

TASK = Task(
    file=TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"solve": {"prompt": {"user": "?"}, "models": ["m"]}},
            "score": {"verifier": "exact", "gold": "answer"},
        }
    ),
    folder=Path(),
    cards={},
    search=(),
    trusted=False,
)
PROMPT = "what is six times seven"
P, D = 5, 8


def block(kind: str, **settings: Any) -> VerifierBlock:
    return VerifierBlock.model_validate({"kind": kind, **settings})


def texts(n: int) -> list[str]:
    """Return n different texts of two steps and D words."""
    return [f"a b c {i}\n\nd e f {i}" for i in range(n)]


def asked(verifier: VerifierBlock, n: int, script: Callable[[Request, int], Any]) -> list[Charge]:
    """Return what the verifier is charged for n samples."""
    charges: list[Charge] = []
    world = World(ScriptedRequests(), ScriptedSampler(script), Problem("p", {}), "solve")
    candidates = [Candidate(PROMPT, text, text) for text in texts(n)]
    asyncio.run(verify(build(verifier, TASK), candidates, world, charges))
    return charges


def marks(request: Request, index: int) -> str:
    n = request.messages[-1].content.count("</reply ")
    return f'{{"reasons": "so it is", "mark": 5, "better": 1, "marks": {[5] * n}}}'


@pytest.mark.parametrize(
    "kind", ["exact", "regex", "function", "recorded", "code", "self_certainty", "agreement"]
)
def test_what_asks_no_model_costs_nothing(kind: str) -> None:
    needed = {"regex": {"pattern": "x"}, "function": {"function": "m:f"}, "code": {"tests": "tests"}}
    assert list(asked_of(block(kind, **needed.get(kind, {})), 4, P, D)) == []


@pytest.mark.parametrize("kind", ["tiny_prm", "prm", "orm"])
def test_a_reward_model_reads_the_prompt_with_each_sample_and_writes_nothing(kind: str) -> None:
    verifier = block(kind, **({} if kind == "tiny_prm" else {"model": "rm"}))
    (one,) = asked_of(verifier, 4, P, D)
    assert (one.n, one.read, one.replies, one.written) == (4, P + D, 1, 0)
    assert one.model == ("tiny/prm" if kind == "tiny_prm" else "rm")
    assert list(asked_of(verifier, 4, P, D, at_worst=True)) == [one]


def test_the_forecast_of_a_reward_model_is_what_it_is_charged() -> None:
    charges = asked(block("tiny_prm"), 3, lambda request, index: Sample(0, "[1.0, 0.5]", "stop", P + D, 0))
    (one,) = asked_of(block("tiny_prm"), 3, P, D)
    assert sum(charge.usage.prefill_tokens for charge in charges) == one.n * one.read
    assert all(charge.usage.decode_tokens == () for charge in charges)


def test_similarity_reads_each_answer_and_once_a_field_that_is_taken_to_be_as_long_as_the_prompt() -> None:
    answers, field = asked_of(block("similarity", model="e", field="f"), 4, P, D)
    assert (answers.n, answers.read, answers.replies, answers.written) == (4, D, 1, 0)
    assert (field.n, field.read, field.n_shown, field.written) == (1, P, 0, 0)
    assert answers.model == field.model == "e"


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("form", ["pointwise", "pairwise", "listwise"])
def test_a_judge_is_asked_as_often_as_was_forecast(form: str, n: int, samples: int) -> None:
    verifier = block("judge", model="j", form=form, samples=samples)
    charges = asked(verifier, n, marks)
    (one,) = asked_of(verifier, n, P, D)
    n_replies = sum(len(charge.usage.decode_tokens) for charge in charges)
    assert n_replies == one.n * one.replies
    assert {charge.model for charge in charges} == {one.model} == {"j"}
    # Instructions are counted in tokens and the double counts words: they are fewer, and most of the question here.
    read = sum(charge.usage.prefill_tokens for charge in charges) / len(charges)
    assert 0.3 < read / one.read < 1.1


def test_a_generative_prm_is_asked_for_each_step_and_for_each_verdict() -> None:
    verifier = block("gen_prm", model="g", samples=2, execute=False)

    def script(request: Request, index: int) -> str:
        return "Yes" if "one word" in request.messages[-1].content else f"it holds {index}"

    charges = asked(verifier, 3, script)
    analyses, verdicts = asked_of(verifier, 3, P, D, steps=2)
    assert (analyses.n, analyses.replies) == (3 * 2, 2)
    assert (verdicts.n, verdicts.replies) == (3 * 2 * 2, 1)
    assert sum(len(charge.usage.decode_tokens) for charge in charges) == 12 + 12


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize(
    "verifier",
    [
        *(
            block(
                "judge", model="j", form=form, samples=k, sampling={"max_tokens": 30}, rubric="short is good"
            )
            for form in ("pointwise", "pairwise", "listwise")
            for k in (1, 3)
        ),
        block("gen_prm", model="g", execute=False, sampling={"max_tokens": 30}),
        block("gen_prm", model="g", execute=False, samples=3, sampling={"max_tokens": 30}),
    ],
    ids=lambda one: f"{one.kind}-{one.form}-{one.samples[0]}",
)
def test_no_charge_is_above_the_worst_case(verifier: VerifierBlock, n: int, seed: int) -> None:
    rng = random.Random(seed)

    def script(request: Request, index: int) -> str:
        faulty = "w " * rng.randint(0, request.sampling.max_tokens)
        return rng.choice([faulty, "Yes", marks(request, index)])[:200]

    charges = asked(verifier, n, script)
    worst = list(asked_of(verifier, n, P, D, at_worst=True))
    reads = sum(charge.usage.prefill_tokens * max(1, len(charge.usage.decode_tokens)) for charge in charges)
    assert reads <= sum(one.n * one.replies * one.read for one in worst)
    assert sum(charge.usage.prefill_tokens for charge in charges) <= sum(one.n * one.read for one in worst)
    written = sum(sum(charge.usage.decode_tokens) for charge in charges)
    assert written <= sum(one.n * one.replies * one.written for one in worst)


def test_what_a_refinement_is_told_is_counted_where_a_model_writes_it() -> None:
    judge = block("judge", model="j", sampling={"max_tokens": 30})
    assert feedback_tokens(judge, at_worst=False) == 30
    assert feedback_tokens(block("tiny_prm"), at_worst=False) == 0
    assert feedback_tokens(None, at_worst=True) == 0
    for one in (judge, block("tiny_prm"), block("code", tests="t")):
        assert feedback_tokens(one, at_worst=True) > feedback_tokens(one, at_worst=False)

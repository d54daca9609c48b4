"""The bill of a strategy, and what is known of its samples: by purpose, each reading of a prompt counted."""

from __future__ import annotations

from typing import Any

from agenttts.models.base import CallUsage, Request, Sample, SamplingParameters
from agenttts.pipeline.base import Charge, Problem
from agenttts.pipeline.driver import StageRun, World, drive
from agenttts.pipeline.strategies.adaptive import adaptive_vote
from agenttts.pipeline.strategies.cascade import cascade
from agenttts.pipeline.strategies.refinement import Critic, Refining, refine
from agenttts.pipeline.strategies.steps import Strategy
from agenttts.pipeline.strategies.stepwise import StepSearch, search_steps
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler
from agenttts.verifiers.reward import RewardModelVerifier
from tests.pipeline.strategies.hand import NUMBERS, WORDS, asking
from tests.pipeline.strategies.test_refinement import better, critical

P = 5
"""Words of the prompt."""


async def run(strategy: Strategy, script: Any) -> tuple[StageRun, ScriptedSampler, World]:
    sampler = ScriptedSampler(script)
    world = World(ScriptedRequests(), sampler, Problem("p", {}), "solve")
    return await drive(strategy, world), sampler, world


def bill(charges: tuple[Charge, ...]) -> list[tuple[str, str, int, tuple[int, ...]]]:
    return [(c.model, c.purpose, c.usage.prefill_tokens, c.usage.decode_tokens) for c in charges]


def noted(text: str, request: Request, index: int) -> Sample:
    """Return a sample whose details say where it comes from."""
    n = sum(len(message.content.split()) for message in request.messages)
    return Sample(index, text, "stop", n, len(text.split()), details={"of": f"{request.model}/{index}"})


async def test_each_round_of_an_adaptive_vote_reads_the_prompt_again_and_draws_nothing_twice() -> None:
    texts = ["is 1", "is 2", "is 1", "is 2", "so it is 1", "is 1"]
    done, sampler, world = await run(adaptive_vote(asking(6), NUMBERS, 0.8), lambda request, i: texts[i])
    assert bill(done.output.charges) == [
        ("small", "draw", P, (2, 2)),
        ("small", "draw", P, (2, 2)),
        ("small", "draw", P, (4, 2)),
    ]
    assert [n for _, n, _ in sampler.asked] == [2, 4, 6]
    assert (world.draws.n_paid, world.draws.n_reused) == (6, 0)
    assert done.texts == tuple(texts)


async def test_a_cascade_bills_both_models_and_keeps_what_their_sources_said() -> None:
    way = cascade(asking(2), NUMBERS, to="large", sampling=SamplingParameters(), below=0.9)
    done, _, _ = await run(
        way, lambda request, i: noted(f"is {i if request.model == 'small' else 1}", request, i)
    )
    assert bill(done.output.charges) == [("small", "draw", P, (2, 2)), ("large", "escalate", P, (2, 2))]
    assert [one["of"] for one in done.details] == ["small/0", "small/1", "large/0", "large/1"]
    assert (done.output.selected, done.details_of_selected["of"]) == (1, "small/1")


async def test_a_refinement_bills_the_critic_and_each_longer_conversation() -> None:
    def script(request: Request, index: int) -> Sample:
        return noted("is wrong there" if request.model == "judge" else "is 4", request, index)

    way = refine(asking(2), NUMBERS, Refining(better, Critic(critical, model="judge")))
    done, _, _ = await run(way, script)
    (first, critic, again) = bill(done.output.charges)
    assert first == ("small", "draw", P, (2,))
    assert critic[:2] == ("judge", "critic")
    assert critic[3] == (3,)
    assert again[:2] == ("small", "refine")
    assert again[2] > P + 2
    assert len(done.details) == len(done.texts) == 2


async def test_a_search_bills_each_beginning_and_each_judgement_in_the_order_of_asking() -> None:
    def script(request: Request, index: int) -> Sample:
        n = sum(len(message.content.split()) for message in request.messages)
        if request.model == "rm":
            return Sample(index, "[0.5, 0.5]", "stop", n, 0)
        begun = request.messages[-1].role == "assistant"
        return Sample(index, f"w{index}", "stop", n, 1, details={"ended": True} if begun else {})

    how = StepSearch(RewardModelVerifier("rm"), width=1, separator="\n\n", max_steps=5, diverse=False)
    done, sampler, _ = await run(search_steps(asking(2), WORDS, how), script)
    assert bill(done.output.charges) == [
        ("small", "step", P, (1, 1)),
        ("rm", "verify", P + 1, ()),
        ("rm", "verify", P + 1, ()),
        ("small", "step", P + 1, (1,)),
        ("small", "step", P + 1, (1,)),
        ("rm", "verify", P + 2, ()),
        ("rm", "verify", P + 2, ()),
    ]
    assert done.output.texts == done.texts == ("w0\n\nw0", "w1\n\nw0")
    assert done.details == ()  # put together from steps, no sample of a source
    assert sampler.n_asked("step") == 4
    assert done.messages == asking(2).messages


async def test_a_reply_that_was_reused_is_charged_all_the_same() -> None:
    sampler = ScriptedSampler(lambda request, i: "is 1")
    charges = []
    for _ in range(2):
        world = World(ScriptedRequests(), sampler, Problem("p", {}), "solve")
        done = await drive(adaptive_vote(asking(2), NUMBERS, 0.95), world)
        charges.append((done.output.charges, world.draws.n_paid, world.draws.n_reused))
    assert charges == [
        ((Charge("small", "draw", CallUsage(P, (2, 2))),), 2, 0),
        ((Charge("small", "draw", CallUsage(P, (2, 2))),), 0, 2),
    ]

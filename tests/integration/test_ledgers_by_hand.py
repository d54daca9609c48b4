"""One problem through three stages over HTTP, with both ledgers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cost import Unit, amount, total_amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.store.sql import open_store
from agenttts.task.task import Task
from tests.models.local_server import Body, local_server

TASK = """
format: 1
name: three
data: {{path: problems.jsonl, id: id}}
splits: {{search: {{n: 1}}, test: {{n: 1}}}}
models:
  small: {{source: openai, base_url: "{url}", parameters: 1.0e+9, max_n: 4,
           price: {{input_per_million_usd: 1, output_per_million_usd: 2}}}}
  large: {{source: openai, base_url: "{url}", parameters: 1.0e+10, layers: 2, width: 1000,
           price: {{input_per_million_usd: 10, output_per_million_usd: 20}}}}
stages:
  find: {{prompt: {{user: "find {{{{ problem.question }}}}"}}, models: [small], n_samples: [1]}}
  think:
    needs: [find]
    prompt: {{user: "think {{{{ stages.find.answer }}}}"}}
    models: [small]
    n_samples: [3]
    select: majority
  say:
    needs: [find, think]
    prompt: {{user: "say {{{{ stages.think.answer }}}}"}}
    models: [large]
    n_samples: [2]
    select: {{kind: fusion, prompt: {{user: "fuse {{{{ candidates | join(', ') }}}}"}}}}
score: {{verifier: exact, gold: answer}}
"""
USAGE = {"find": (100, 10), "think": (200, 20), "say": (50, 5), "fuse": (80, 8)}
"""Tokens of a prompt and of one completion, by stage."""


def reply(body: Body) -> dict[str, Any]:
    """Answer with the tokens that the tables below are worked out from."""
    word = body["messages"][-1]["content"].split()[0]
    stage = word if word in USAGE else "fuse"
    prefill, decode = USAGE[stage]
    n = body.get("n") or 1
    choices = [
        {"index": j, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
        for j in range(n)
    ]
    usage = {
        "prompt_tokens": prefill,
        "completion_tokens": n * decode,
        "total_tokens": prefill + n * decode,
    }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": choices,
        "usage": usage,
    }


ALLOCATION = Allocation(
    (
        StageChoice("find", "small", 1, "first"),
        StageChoice("think", "small", 3, "majority"),
        StageChoice("say", "large", 2, "fusion"),
    )
)


async def test_three_stages_agree_with_the_ledgers_worked_out_by_hand(tmp_path: Path) -> None:
    rows = [{"id": name, "question": name, "answer": "yes"} for name in ("a", "b")]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with local_server(always=reply) as server:
        (tmp_path / "task.yaml").write_text(TASK.format(url=server.url))
        task = Task.load(tmp_path / "task.yaml")
        cost_model = CostModel(task.cards)
        clients, store = Clients(task.cards), open_store("memory:")
        ledger = SpendingLedger(cost_model, None)
        sampler = StoredSampler(clients, store, ledger, "study")
        pipeline = Pipeline.build(task)
        first, second = [
            await pipeline.run(
                task.search[0], ALLOCATION, clients=clients, sampler=sampler, cost_model=cost_model
            )
            for _ in range(2)
        ]
        n_requests = len(server.bodies)
        await clients.aclose()
        await store.aclose()

    assert first.score == 1.0
    # Charged, in production:   read + written                         FLOPs = 2 x parameters x tokens (+ attention)
    #   find   small x1         100 + 10 = 110                         2e9 x 110                    =  220 GFLOPs
    #   think  small x3         200 + 3 x 20 = 260                     2e9 x 260                    =  520 GFLOPs
    #   say    large x2          50 + 2 x 5 = 60                       2e10 x 60                    = 1200 GFLOPs
    #          + fusion          80 + 8 = 88                           2e10 x 88                    = 1760 GFLOPs
    # Attention of large: 4 x 2 x 1000 = 8000 FLOPs for each pair of tokens.
    #   say    prompt 50 x 51 / 2 = 1275; each sample 50 x 5 + 5 x 6 / 2 = 265, twice: 1805 pairs
    #   fusion prompt 80 x 81 / 2 = 3240; sample 80 x 8 + 8 x 9 / 2 = 676:             3916 pairs
    linear = {"find": 220e9, "think": 520e9, "say": 2960e9}
    attention = {"find": 0.0, "think": 0.0, "say": 8000.0 * (1805 + 3916)}
    assert {stage: cost.linear_flops for stage, cost in first.costs.items()} == pytest.approx(linear)
    assert {stage: cost.flops for stage, cost in first.costs.items()} == pytest.approx(
        {stage: linear[stage] + attention[stage] for stage in linear}
    )
    # USD per million: small 1 read, 2 written; large 10 read, 20 written.
    usd = {"find": 120e-6, "think": 320e-6, "say": (500 + 200 + 800 + 160) * 1e-6}
    assert {stage: cost.usd for stage, cost in first.costs.items()} == pytest.approx(usd)
    assert total_amount(first.costs, Unit.TOKENS) == 110 + 260 + 60 + 88
    paper = [max(0.0, (flops / 6e9 - 128) / 64) for flops in linear.values()]
    assert total_amount(first.costs, Unit.PAPER) == pytest.approx(sum(paper))

    # Spent, by this search: `large` grants one choice a request, so its prompt of 50 tokens was paid twice.
    assert n_requests == 1 + 1 + 2 + 1
    assert ledger.spent.prefill_tokens == 100 + 200 + 2 * 50 + 80
    assert ledger.spent.decode_tokens == 10 + 60 + 10 + 8
    assert amount(ledger.spent, Unit.USD) == pytest.approx(sum(usd.values()) + 500e-6)

    # The second pass costs the same in production and nothing here.
    assert second.costs == first.costs
    assert (first.n_paid, first.n_reused) == (7, 0)
    assert (second.n_paid, second.n_reused) == (0, 7)

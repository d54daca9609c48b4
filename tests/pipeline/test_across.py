"""Samples shared out across the problems of a batch, on recorded draws: some problems agree at once, some never do."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts.budgets.cost import Unit, total_amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import InputError
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.across import Across, BatchResult, kinds_of
from agenttts.pipeline.base import Allocation, Failure, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.plan import Plan, PlanAnswer
from agenttts.store.sql import open_store
from agenttts.task.task import Task

TASK = """\
name: votes
data: {path: rows.jsonl, id: id}
splits: {search: {where: {split: search}}, test: {where: {split: test}}}
models:
  small: {source: recorded, table: draws.csv, parameters: 1e9, max_n: 64, shares_prefill: true}
stages:
  solve:
    prompt: {user: "{{ problem.id }}"}
    models: [small]
    n_samples: [1, 8]
    parse: last_number
score: {verifier: numeric, gold: gold}
budget: {unit: tokens}
"""
N_EASY, N_SPLIT = 12, 8
N_DRAWS = 64
PREFILL, DECODE = 10, 20


@pytest.fixture
def task(tmp_path: Path) -> Task:
    rows, draws = [], []
    for split in ("search", "test"):
        for i in range(N_EASY + N_SPLIT):
            name = f"{split}-{i:02}"
            rows.append({"id": name, "split": split, "gold": 1})
            for k in range(N_DRAWS):
                # Of those that are split, three draws in five are right, and the wrong ones come first.
                right = i < N_EASY or k % 5 >= 2
                draws.append(["solve", "small", name, k, f"it is {1 if right else 2}", PREFILL, DECODE])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (tmp_path / "draws.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
        )
        writer.writerows(draws)
    (tmp_path / "task.yaml").write_text(TASK)
    return Task.load(tmp_path / "task.yaml")


MAJORITY_8 = Allocation((StageChoice("solve", "small", 8, "majority"),))


@asynccontextmanager
async def batch_of(task: Task, allocation: Allocation, concurrency: int = 32) -> AsyncIterator[Across]:
    cost_model = CostModel(task.cards)
    clients, store = Clients(task.cards), open_store("memory:")
    sampler = StoredSampler(clients, store, SpendingLedger(cost_model, None), "s")
    kinds = kinds_of(task, allocation)
    pipeline = Pipeline.build(task)
    yield Across(
        pipeline,
        allocation,
        kinds,
        clients,
        sampler,
        cost_model,
        Unit.TOKENS,
        clients.max_recorded,
        concurrency,
    )
    await clients.aclose()
    await store.aclose()


async def run(task: Task, *, share: float = 1.0, concurrency: int = 32) -> BatchResult:
    async with batch_of(task, MAJORITY_8, concurrency) as batch:
        return await batch.run(task.search, share=share)


def mean_cost(made: BatchResult) -> float:
    return sum(total_amount(rollout.costs, Unit.TOKENS) for rollout in made.rollouts) / len(made.rollouts)


async def test_problems_that_are_split_get_what_problems_that_agree_do_not_need(task: Task) -> None:
    made = await run(task)
    n_samples = made.spreads[0].n_samples
    easy = [n for name, n in n_samples.items() if int(name[-2:]) < N_EASY]
    split = [n for name, n in n_samples.items() if int(name[-2:]) >= N_EASY]
    assert (len(easy), len(split)) == (N_EASY, N_SPLIT)
    assert max(easy) < 8 < max(split)
    assert sum(split) / N_SPLIT > 1.5 * sum(easy) / N_EASY
    assert sum(n_samples.values()) <= 8 * len(n_samples)


@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
async def test_the_average_charge_keeps_to_the_budget(task: Task, share: float) -> None:
    made = await run(task, share=share)
    assert mean_cost(made) <= share * (PREFILL + 8 * DECODE)


async def test_every_block_is_charged_for_reading_the_prompt_again(task: Task) -> None:
    made = await run(task)
    for rollout in made.rollouts:
        charged = rollout.costs["solve"]
        n = made.spreads[0].n_samples[rollout.problem_id]
        assert charged.decode_tokens == n * DECODE
        n_readings, rest = divmod(charged.prefill_tokens, PREFILL)
        assert rest == 0
        assert n_readings >= 1
    assert any(rollout.costs["solve"].prefill_tokens > PREFILL for rollout in made.rollouts)


async def test_the_answer_is_that_of_as_many_samples_from_the_beginning(task: Task) -> None:
    made = await run(task)
    for rollout in made.rollouts:
        n = made.spreads[0].n_samples[rollout.problem_id]
        assert len(rollout.outputs["solve"].answers) == n
        assert rollout.score is not None


async def test_concurrency_changes_nothing(task: Task) -> None:
    one, many = await run(task, concurrency=1), await run(task, concurrency=64)
    assert one.spreads == many.spreads
    assert [r.score for r in one.rollouts] == [r.score for r in many.rollouts]


async def test_a_recording_is_never_asked_for_more_than_it_holds(task: Task) -> None:
    async with batch_of(task, Allocation((StageChoice("solve", "small", 60, "majority"),))) as batch:
        made = await batch.run(task.search)
    assert max(made.spreads[0].n_samples.values()) <= N_DRAWS


def test_a_plan_without_samples_to_share_out_says_so(task: Task) -> None:
    with pytest.raises(InputError, match="no stage of this plan has samples to share out"):
        kinds_of(task, Allocation((StageChoice("solve", "small", 1, "first"),)))


def test_a_plan_answers_a_batch_by_problem_or_by_fields(task: Task) -> None:
    plan = Plan(task, MAJORITY_8)
    answers = plan.answer_all(task.search[:3])
    assert [type(answer) for answer in answers] == [PlanAnswer] * 3
    assert all(
        isinstance(a, PlanAnswer) and a.answer == "1" and a.cost.decode_tokens >= 2 * DECODE for a in answers
    )


def test_a_batch_goes_on_where_one_problem_fails(task: Task) -> None:
    stages = {
        name: block.model_copy(
            update={
                "prompt": block.prompt.model_copy(update={"user": "{{ problem.id }} {{ 1 / problem.by }}"})
            }
        )
        for name, block in task.file.stages.items()
        if block.prompt is not None
    }
    dividing = replace(task, file=task.file.model_copy(update={"stages": stages}))
    problems = [
        replace(p, fields={**p.fields, "by": by}) for p, by in zip(task.search[:2], (1, 0), strict=True)
    ]
    failed = Plan(dividing, MAJORITY_8).answer_all(problems)[1]
    assert isinstance(failed, Failure)
    assert failed.stage == "solve"
    assert failed.cause == "ZeroDivisionError"


@pytest.mark.parametrize(("n_problems", "share"), [(6, 0.4), (20, 0.5), (20, 1.0)])
async def test_no_draw_is_paid_for_that_no_problem_gets(task: Task, n_problems: int, share: float) -> None:
    async with batch_of(task, MAJORITY_8) as batch:
        made = await batch.run(task.search[:n_problems], share=share)
    assert made.n_paid == sum(made.spreads[0].n_samples.values()) < 8 * n_problems
    assert made.n_reused == 0


async def test_a_budget_below_the_samples_that_every_problem_gets_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=r"the average budget is 20.0% of what the plan costs; 2 samples"):
        await run(task, share=0.2)


def test_a_batch_of_nothing_is_nothing(task: Task) -> None:
    assert Plan(task, MAJORITY_8).answer_all([], share=0.5) == []

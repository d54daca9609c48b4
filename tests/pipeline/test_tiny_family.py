"""The pipeline over the models that ship with the package: real draws, real store, real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agenttts.budgets.cost import amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.models.tiny.tokenizer import encode_prompt
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.plan import Plan
from agenttts.store.sql import open_store
from agenttts.task.task import Task


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.load("tiny")


def allocation(n_samples: int, select: str) -> Allocation:
    return Allocation(
        (
            StageChoice("translate", "tiny/xs", 2, "majority"),
            StageChoice("solve", "tiny/xs", n_samples, select),
        )
    )


class Bench:
    def __init__(self, task: Task) -> None:
        self.cost_model = CostModel(task.cards)
        self.ledger = SpendingLedger(self.cost_model, None)
        self.clients = Clients(task.cards)
        self.sampler = StoredSampler(self.clients, open_store("memory:"), self.ledger, "test")
        self.pipeline = Pipeline.build(task)


@pytest.fixture
async def bench(task: Task) -> AsyncIterator[Bench]:
    bench = Bench(task)
    yield bench
    await bench.clients.aclose()


async def test_more_samples_pay_the_difference_and_are_charged_in_full(task: Task, bench: Bench) -> None:
    problem = task.search[0]

    async def run(n_samples: int):  # type: ignore[no-untyped-def]  # a test's shorthand
        return await bench.pipeline.run(
            problem,
            allocation(n_samples, "majority"),
            clients=bench.clients,
            sampler=bench.sampler,
            cost_model=bench.cost_model,
        )

    few, many, again = await run(2), await run(4), await run(4)
    assert (few.n_paid, many.n_paid, again.n_paid) == (4, 2, 0)
    assert many.outputs["solve"].answers[:2] == few.outputs["solve"].answers
    assert again.outputs == many.outputs
    assert again.costs == many.costs
    (charge,) = many.outputs["translate"].charges
    assert charge.usage.prefill_tokens == len(encode_prompt(f"translate: {problem.fields['text']}"))
    # A single call each for translate and for the first two solutions: spent exceeds charged only by reading again.
    assert bench.ledger.spent.decode_tokens == sum(cost.decode_tokens for cost in many.costs.values())
    assert bench.ledger.spent.prefill_tokens > sum(cost.prefill_tokens for cost in many.costs.values())


async def test_a_reward_model_selects_and_is_on_both_ledgers(task: Task, bench: Bench) -> None:
    problem = task.search[0]
    rollout = await bench.pipeline.run(
        problem,
        allocation(4, "best_of_n(tiny_prm)"),
        clients=bench.clients,
        sampler=bench.sampler,
        cost_model=bench.cost_model,
    )
    output = rollout.outputs["solve"]
    n_parsed = sum(answer is not None for answer in output.answers)
    verified = [charge for charge in output.charges if charge.purpose == "verify"]
    assert len(output.verifier_scores) == 4
    assert len(verified) == n_parsed
    assert all(charge.model == "tiny/prm" and charge.usage.prefill_tokens > 0 for charge in verified)
    if n_parsed:
        assert amount(bench.ledger.spent_by_model["tiny/prm"], task.file.budget.unit) > 0


async def test_a_plan_answers_like_the_pipeline_that_it_comes_from(task: Task, bench: Bench) -> None:
    problem = task.search[1]
    rollout = await bench.pipeline.run(
        problem,
        allocation(4, "majority"),
        clients=bench.clients,
        sampler=bench.sampler,
        cost_model=bench.cost_model,
    )
    plan = Plan.from_yaml(Plan(task, allocation(4, "majority")).to_yaml())
    answer = await plan.aanswer(problem)
    assert answer.answer == rollout.outputs["solve"].answer
    assert answer.stages == rollout.outputs
    assert answer.cost.flops == sum(cost.flops or 0 for cost in rollout.costs.values())
    assert plan.figures_from == "tiny models shipped with agenttts"

"""FLOPs that a study of many trials spends with kept draws, over the same trials without. Target: at most 0.25.

    python benchmarks/reuse.py [--trials 50] [--problems 40] [--allocators random,curves] [--task tiny] [--budget 0.5]

With: one study with one store (the pilot included), as its spending ledger adds up. Without: each of its trials with a
store of its own, empty at the start. Draws depend on their request alone, so what such a trial would draw is known
from the study's store: it is billed here stream by stream, equal prompts within a trial once. Some of the trials are
run again for real with an empty store, and the benchmark fails where bill and ledger differ.
Writes runs/benchmarks/reuse.json. The figures are those of the tiny models that come with the package.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agenttts.budgets.cost import Budget, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.base import Request, Sample
from agenttts.models.clients import Clients
from agenttts.models.sampler import Drawn, Sampler, StoredSampler
from agenttts.pipeline.driver import usage_of
from agenttts.pipeline.pipeline import Pipeline
from agenttts.store.sql import open_store
from agenttts.study.archive import Trial
from agenttts.study.evaluate import pipeline_runner, run_problems
from agenttts.study.result import StudyOptions, StudyResult
from agenttts.study.session import open_session
from agenttts.study.study import Study
from agenttts.task.task import Task

TARGET = 0.25
TOLERANCE = 0.02
"""A stream that is asked for twice with different n is paid in two calls, its prompt twice; the bill counts it once."""
OUT = Path("runs/benchmarks/reuse.json")


async def with_reuse(task: Task, options: StudyOptions, folder: Path, store_url: str) -> StudyResult:
    return await Study.create(folder / "run", task, options, store_url).run()


class Billing:
    """A sampler that notes every stream asked of it."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.streams: dict[str, tuple[str, tuple[Sample, ...]]] = {}

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        drawn = await self.sampler.sample(request, n, purpose=purpose)
        held = self.streams.get(request.key)
        if held is None or len(held[1]) < n:
            self.streams[request.key] = request.model, drawn.samples
        return drawn

    def bill(self, cost_model: CostModel) -> tuple[float, int]:
        """FLOPs and completions of an empty store's trial."""
        cost = total(cost_model.charge(model, usage_of(samples)) for model, samples in self.streams.values())
        assert cost.flops is not None
        return cost.flops, sum(len(samples) for _, samples in self.streams.values())


async def billed_alone(task: Task, trials: Sequence[Trial], store_url: str) -> list[tuple[float, int]]:
    """What each trial would pay with an empty store."""
    cost_model, clients, store = CostModel(task.cards), Clients(task.cards), open_store(store_url)
    pipeline, bills = Pipeline.build(task), []
    try:
        for trial in trials:
            ledger = SpendingLedger(cost_model, None)
            billing = Billing(StoredSampler(clients, store, ledger, "bill"))
            runner = pipeline_runner(pipeline, clients, billing, cost_model)
            evaluation = await run_problems(runner, trial.allocation, task.search, gate=asyncio.Semaphore(32))
            if not trial.estimated_from:  # else its scores are means over all subsets of what the store holds
                assert dict(evaluation.scores) == dict(trial.scores), (
                    "the same draws must give the same scores"
                )
            assert not ledger.n_calls, "the study's store must hold every draw of its trials"
            bills.append(billing.bill(cost_model))
    finally:
        await clients.aclose()
        await store.aclose()
    return bills


async def paid_alone(task: Task, trial: Trial) -> float:
    """What a trial really pays with an empty store."""
    session = open_session(task, store_url="memory:", study_id="alone", cap=None, on_wait=lambda _: None)
    async with session as open_:
        await run_problems(open_.runner, trial.allocation, task.search, gate=asyncio.Semaphore(32))
        flops = open_.spent().flops
        assert flops is not None
        return flops


async def measure(task: Task, allocator: str, args: argparse.Namespace) -> dict[str, Any]:
    budget = Budget.parse(args.budget, task.file.budget.unit)
    options = StudyOptions(
        budget=budget, allocator=allocator, n_trials=args.trials, seed=args.seed, confirm=False, racing=False
    )  # racing saves too, by ending trials: what is measured here is reuse alone, over whole trials
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/samples.sqlite3"
        result = await with_reuse(task, options, Path(folder), url)
        study_s = time.perf_counter() - start
        alone = await billed_alone(task, result.trials, url)
    checked = sorted(range(len(alone)), key=lambda i: alone[i][0])[: args.check]
    off = [abs(await paid_alone(task, result.trials[i]) / alone[i][0] - 1) for i in checked]
    assert max(off, default=0.0) < TOLERANCE, f"bill and ledger differ by up to {max(off):.2%}"
    spent, fresh = result.spent.flops, sum(flops for flops, _ in alone)
    assert spent is not None
    return {
        "allocator": allocator,
        "n_trials": len(result.trials),
        "gflops_with": spent / 1e9,
        "gflops_without": fresh / 1e9,
        "ratio": spent / fresh,
        "completions_with": result.n_paid,
        "completions_without": sum(n for _, n in alone),
        "trials_run_again": len(off),
        "largest_difference_of_bill_and_ledger": max(off, default=0.0),
        "study_s": study_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="tiny")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--allocators", default="random,curves")
    parser.add_argument("--budget", default="0.5")
    parser.add_argument("--check", type=int, default=3, help="trials to run again (the cheapest ones)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task = Task.load(args.task, n_search=args.problems)
    rows = [asyncio.run(measure(task, name, args)) for name in args.allocators.split(",")]
    print(
        f"{'allocator':<10} {'trials':>6} {'GFLOPs with':>12} {'without':>12} {'ratio':>6}   target {TARGET}"
    )
    for row in rows:
        met = "met" if row["ratio"] <= TARGET else "missed"
        print(
            f"{row['allocator']:<10} {row['n_trials']:>6} {row['gflops_with']:>12.1f} "
            f"{row['gflops_without']:>12.1f} {row['ratio']:>6.3f}   {met}"
        )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "figures_from": f"task {task.file.name}, models {', '.join(sorted(task.cards))}",
        "options": vars(args),
        "python": platform.python_version(),
        "target": TARGET,
        "rows": rows,
    }
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()

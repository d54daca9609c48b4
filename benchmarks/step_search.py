"""Beam search and DVTS led by the tiny reward model against best-of-n at equal FLOPs.

    python benchmarks/step_search.py [--problems 300] [--seeds 2]

The stage `solve` of the task tiny, given the right plan; the package's own pipeline, models and charges. Each search is
compared with best-of-n of the same model and verifier at the same mean charge: between two sample counts the score is
interpolated, problem by problem. Differences are paired by problem (the mean over the seeds of sampling), with 95 %
bootstrap intervals. Figures are of tiny models. Writes runs/benchmarks/step_search.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.base import Allocation, Problem, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.store.memory import MemoryStore
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

OUT = Path("runs/benchmarks/step_search.json")
MODELS = ("tiny/s", "tiny/m", "tiny/l")
COUNTS = (1, 2, 4, 8, 16, 32)
SEARCHED = (4, 8, 16)
AGGREGATES = ("min", "last")
N_BOOTSTRAP = 4000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """By problem, the mean over seeds."""

    right: Floats
    gflops: Floats


def task_with(seed: int) -> tuple[Task, tuple[Problem, ...]]:
    tiny = Task.load("tiny")
    ways: list[Any] = [{"kind": "best_of_n", "verifier": {"kind": "tiny_prm", "aggregate": list(AGGREGATES)}}]
    for kind in ("beam", "dvts"):
        verifier = {"kind": "tiny_prm", "aggregate": list(AGGREGATES)}
        ways.append({"kind": kind, "verifier": verifier, "width": [2, 4]})
    stage = {
        "prompt": {"user": "solve: {{ problem.plan }}"},
        "models": list(MODELS),
        "n_samples": list(COUNTS),
        "sampling": {"temperature": 0.8, "max_tokens": 64, "seed": seed},
        "parse": {"rule": "regex", "pattern": r"=(-?\d+)\s*$"},
        "select": ways,
    }
    file = {
        "name": "solve",
        "data": {"path": "none.jsonl"},
        "stages": {"solve": stage},
        "score": {"verifier": "numeric", "gold": "answer"},
    }
    task = Task(TaskFile.model_validate(file), Path(), tiny.cards, tiny.search)
    return task, tiny.test()


async def measure(
    task: Task, problems: tuple[Problem, ...], sampler: StoredSampler, clients: Clients, choice: StageChoice
) -> Measured:
    pipeline, cost_model = Pipeline.build(task), CostModel(task.cards)
    rollouts = await asyncio.gather(
        *(
            pipeline.run(p, Allocation((choice,)), clients=clients, sampler=sampler, cost_model=cost_model)
            for p in problems
        )
    )
    right = np.array([r.score or 0.0 for r in rollouts])
    return Measured(right, np.array([(r.costs["solve"].flops or 0.0) / 1e9 for r in rollouts]))


async def all_choices(seed: int, n_problems: int) -> dict[StageChoice, Measured]:
    task, problems = task_with(seed)
    clients = Clients(task.cards)
    sampler = StoredSampler(clients, MemoryStore(), SpendingLedger(CostModel(task.cards), None), "bench")
    found = {}
    for model in MODELS:
        for way in task.file.stages["solve"].ways:
            for n in COUNTS if way.kind == "best_of_n" else SEARCHED:
                choice = StageChoice("solve", model, n, way.name)
                found[choice] = await measure(task, problems[:n_problems], sampler, clients, choice)
        print(f"seed {seed}: {model} done", flush=True)
    await clients.aclose()
    return found


def mean_over(found: list[dict[StageChoice, Measured]]) -> dict[StageChoice, Measured]:
    return {
        choice: Measured(
            np.mean([one[choice].right for one in found], axis=0),
            np.mean([one[choice].gflops for one in found], axis=0),
        )
        for choice in found[0]
    }


def best_of_n_at(
    found: dict[StageChoice, Measured], model: str, aggregate: str, gflops: float
) -> tuple[Floats, float]:
    """Return scores of best-of-n by problem at a mean charge, and the number of samples, interpolated."""
    curve = [
        (float(m.gflops.mean()), c.n_samples, m.right)
        for c, m in found.items()
        if c.model == model and c.select == f"best_of_n(tiny_prm)[aggregate {aggregate}]"
    ]
    curve.sort(key=lambda point: point[0])
    gflops = min(max(gflops, curve[0][0]), curve[-1][0])
    above = next(i for i, point in enumerate(curve) if point[0] >= gflops)
    if above == 0:
        return curve[0][2], float(curve[0][1])
    (low, n_low, right_low), (high, n_high, right_high) = curve[above - 1], curve[above]
    w = (gflops - low) / (high - low)
    return (1 - w) * right_low + w * right_high, (1 - w) * n_low + w * n_high


def rows_of(found: dict[StageChoice, Measured]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for choice, mine in found.items():
        if choice.select.startswith("best_of_n"):
            continue
        aggregate = "last" if "aggregate last" in choice.select else "min"
        cost = float(mine.gflops.mean())
        base, n = best_of_n_at(found, choice.model, aggregate, cost)
        difference = mine.right - base
        picks = rng.integers(len(difference), size=(N_BOOTSTRAP, len(difference)))
        low, high = np.percentile(difference[picks].mean(axis=1), [2.5, 97.5])
        rows.append(
            {
                "model": choice.model,
                "way": choice.select,
                "n": choice.n_samples,
                "gflops": cost,
                "score": float(mine.right.mean()),
                "best_of_n_samples": n,
                "best_of_n_score": float(base.mean()),
                "difference": float(difference.mean()),
                "interval": [float(low), float(high)],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found = mean_over([asyncio.run(all_choices(seed, options.problems)) for seed in range(options.seeds)])
    rows = rows_of(found)
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['model']:6} {row['way']:52} n {row['n']:2}  {row['gflops']:.3f} GFLOPs  {row['score']:.3f}  "
            f"best-of-{row['best_of_n_samples']:.1f} {row['best_of_n_score']:.3f}  "
            f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    better = sum(row["interval"][0] > 0 for row in rows)
    worse = sum(row["interval"][1] < 0 for row in rows)
    print(
        f"{better} of {len(rows)} searches better than best-of-n at equal FLOPs, {worse} worse, the rest not told apart"
    )
    result = {
        "figures_from": "tiny models shipped with agenttts",
        "problems": options.problems,
        "seeds": options.seeds,
        "intervals": "95 % percentile bootstrap over problems",
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

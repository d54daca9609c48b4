"""Compute at equal score: adaptive stops, cascades and one shadow price against the best fixed number of samples.

    python benchmarks/spending.py --cache DIR [--replay DIR] [--orders 4]

One stage, real draws, held in memory and served in many orders to the package's own strategies; charges are those of its
cost model (prompts of further requests are read again). On the search problems all fixed settings (model, samples, way to
select) are tried; the baseline is the cheapest one within half a point of the best that the budget allows. Each method's
setting is the cheapest one within half a point of that same best. Both are then run on held-out problems: the
ratio of compute and the difference in score are paired by problem, with 95 % bootstrap intervals over problems (each
problem's value is its mean over the orders). Target: at least 30 % less compute at no measurable loss, for the best of
them. Writes runs/benchmarks/spending.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spending_draws import JUDGE, Draws, Shuffled, aime, tiny

from agenttts.budgets.cost import Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import InputError
from agenttts.pipeline.across import Across, kinds_of
from agenttts.pipeline.base import Allocation, Problem, Rollout, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests

OUT = Path("runs/benchmarks/spending.json")
TARGET = 0.30
WITHIN = 0.005
STAGE = "solve"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
MOST = (8, 16, 32, 64)
CONFIDENCES = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
BELOW = (0.4, 0.5, 0.6, 0.75, 0.9)
SHARES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2)
N_SHARED = 8
"""Fixed settings whose samples are shared out: the best ones."""
BUDGETS = {"tiny": (0.06, 0.12, 0.25), "aime": (500_000.0, 2_000_000.0, 8_000_000.0)}
"""GFLOPs a problem."""
N_BOOTSTRAP = 4000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One way to spend."""

    method: str
    choice: StageChoice
    share: float = 1.0
    """Of the average budget, for the shadow price."""

    def __str__(self) -> str:
        share = f", {self.share:.0%} of its budget" if self.method == "shadow price" else ""
        return f"{self.choice.model} x{self.choice.n_samples} {self.choice.select}{share}"


@dataclass(frozen=True)
class Measured:
    """By problem, the mean over the orders."""

    right: Floats
    gflops: Floats

    @property
    def score(self) -> float:
        return float(self.right.mean())

    @property
    def cost(self) -> float:
        return float(self.gflops.mean())


class Bench:
    """The settings of one ground, and what they do."""

    def __init__(self, draws: Draws, n_orders: int) -> None:
        self.draws, self.n_orders = draws, n_orders
        self.judged = JUDGE in draws.cards
        self.task = self._task()
        self.pipeline = Pipeline.build(self.task)
        self.cost_model = CostModel(draws.cards)
        self.right = {
            (problem, row.text): row.right for (problem, _), rows in draws.rows.items() for row in rows
        }
        self.samplers = [Shuffled(draws, seed) for seed in range(n_orders)]

    def _task(self) -> Task:
        models = self.draws.models
        by_size = sorted(models, key=lambda m: self.draws.cards[m].parameters or 0)
        select: list[Any] = ["majority", {"kind": "adaptive_vote", "confidence": list(CONFIDENCES)}]
        select.append({"kind": "cascade", "to": by_size[1:], "below": list(BELOW)})
        if self.judged:
            select += [{"kind": kind, "verifier": "tiny_prm"} for kind in ("best_of_n", "weighted_vote")]
            select.append({"kind": "adaptive_best", "verifier": "tiny_prm", "threshold": list(THRESHOLDS)})
        file = {
            "name": self.draws.name,
            "data": {"path": "none.jsonl"},
            "stages": {
                STAGE: {
                    "prompt": {"user": "solve: {{ problem.plan }}" if self.judged else "{{ problem.id }}"},
                    "models": models,
                    "n_samples": list(COUNTS),
                    "parse": {"rule": "regex", "pattern": r"=(-?\d+)\s*$"} if self.judged else "text",
                    "select": select,
                }
            },
            "score": {"verifier": "recorded"},
        }
        return Task(TaskFile.model_validate(file), Path(), self.draws.cards, self.draws.search)

    # --- settings

    def fixed(self) -> Iterator[Setting]:
        kinds = ["majority", *(["best_of_n(tiny_prm)", "weighted_vote(tiny_prm)"] if self.judged else [])]
        for model in self.draws.models:
            for n in COUNTS:
                for way in kinds if n > 1 else ["first"]:
                    yield Setting("fixed", StageChoice(STAGE, model, n, way))

    def adaptive(self) -> Iterator[Setting]:
        labels = [way.name for way in self.task.file.stages[STAGE].ways if way.kind.startswith("adaptive")]
        for model in self.draws.models:
            for n in MOST:
                for label in labels:
                    yield Setting("adaptive stop", StageChoice(STAGE, model, n, label))

    def cascades(self, near: Sequence[str]) -> Iterator[Setting]:
        """Cascades among models that are worth it."""
        cards = self.draws.cards
        for model in near:
            for way in self.task.file.stages[STAGE].ways:
                if way.kind != "cascade" or way.to is None or way.to[0] not in near:
                    continue
                if (cards[way.to[0]].parameters or 0) > (cards[model].parameters or 0):
                    for n in (2, 4, 8, 16):
                        yield Setting("cascade", StageChoice(STAGE, model, n, way.name))

    def shared(self, best: Sequence[Setting]) -> Iterator[Setting]:
        for setting in best:
            if setting.choice.n_samples > 1:
                for share in SHARES:
                    yield Setting("shadow price", setting.choice, share)

    # --- running

    def measure(self, setting: Setting, problems: Sequence[Problem]) -> Measured:
        return asyncio.run(self._measure(setting, problems))

    def measured(self, settings: Iterable[Setting], problems: Sequence[Problem]) -> dict[Setting, Measured]:
        """Measure those that can be run: an average below what every problem gets is refused."""
        found = {}
        for setting in settings:
            with suppress(InputError):
                found[setting] = self.measure(setting, problems)
        return found

    async def _measure(self, setting: Setting, problems: Sequence[Problem]) -> Measured:
        right, cost = np.zeros((2, len(problems), self.n_orders))
        for order, sampler in enumerate(self.samplers):
            for i, rollout in enumerate(await self._run(setting, problems, sampler)):
                right[i, order] = self.right.get((rollout.problem_id, rollout.outputs[STAGE].text), 0.0)
                cost[i, order] = (rollout.costs[STAGE].flops or 0.0) / 1e9
        return Measured(right.mean(axis=1), cost.mean(axis=1))

    async def _run(
        self, setting: Setting, problems: Sequence[Problem], sampler: Shuffled
    ) -> Sequence[Rollout]:
        allocation = Allocation((setting.choice,))
        if setting.method == "shadow price":
            batch = Across(
                self.pipeline,
                allocation,
                kinds_of(self.task, allocation),
                ScriptedRequests(),
                sampler,
                self.cost_model,
                Unit.GFLOPS,
                lambda stage, model: self.draws.n_draws,
            )
            return (await batch.run(problems, share=setting.share, score=False)).rollouts
        return [
            await self.pipeline.run(
                problem,
                allocation,
                clients=ScriptedRequests(),
                sampler=sampler,
                cost_model=self.cost_model,
                score=False,
            )
            for problem in problems
        ]


def interval(values: Floats) -> list[float]:
    return [float(v) for v in np.percentile(values, [2.5, 97.5])]


def compare(mine: Measured, base: Measured) -> dict[str, Any]:
    """Return ratio of compute and difference of scores, with intervals paired by problem."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(base.right), size=(N_BOOTSTRAP, len(base.right)))
    ratio = mine.gflops[picks].sum(axis=1) / base.gflops[picks].sum(axis=1)
    difference = (mine.right - base.right)[picks].mean(axis=1)
    return {
        "score": mine.score,
        "gflops": mine.cost,
        "ratio": mine.cost / base.cost,
        "ratio_interval": interval(ratio),
        "difference": float((mine.right - base.right).mean()),
        "difference_interval": interval(difference),
    }


def cheapest(found: dict[Setting, Measured], least: float) -> Setting | None:
    able = [s for s, m in found.items() if m.score >= least - 1e-12]
    return min(able, key=lambda s: (found[s].cost, str(s)), default=None)


def near_models(found: dict[Setting, Measured], n: int = 8) -> list[str]:
    """Return the models that stand on the frontier of one sample and of votes, dearest last."""
    best: dict[str, float] = {}
    for setting, m in found.items():
        best[setting.choice.model] = max(best.get(setting.choice.model, 0.0), m.score)
    return sorted(best, key=lambda model: -best[model])[:n]


def ground_rows(bench: Bench) -> list[dict[str, Any]]:
    search, held = bench.draws.search, bench.draws.held_out
    fixed = {s: bench.measure(s, search) for s in bench.fixed()}
    print(f"{bench.draws.name}: {len(fixed)} fixed settings", flush=True)
    others = {s: bench.measure(s, search) for s in bench.adaptive()}
    others |= {s: bench.measure(s, search) for s in bench.cascades(near_models(fixed))}
    print(f"{bench.draws.name}: {len(others)} adaptive and cascade settings", flush=True)
    rows = []
    for budget in BUDGETS[bench.draws.name]:
        able = {s: m for s, m in fixed.items() if m.cost <= budget}
        best = max(m.score for m in able.values())
        base = cheapest(able, best - WITHIN)
        assert base is not None
        ranked = sorted(able, key=lambda s: -able[s].score)[:N_SHARED]
        tried = others | bench.measured(bench.shared([base, *ranked]), search)
        on_held = bench.measure(base, held)
        for method in ("adaptive stop", "cascade", "shadow price"):
            mine = {s: m for s, m in tried.items() if s.method == method}
            chosen = cheapest(mine, best - WITHIN)
            row = {
                "ground": bench.draws.name,
                "figures_from": bench.draws.source,
                "budget_gflops": budget,
                "baseline": str(base),
                "baseline_score": on_held.score,
                "baseline_gflops": on_held.cost,
                "method": method,
                "problems": len(held),
                "orders": bench.n_orders,
                "setting": None if chosen is None else str(chosen),
            }
            if chosen is not None:
                row |= compare(bench.measure(chosen, held), on_held)
            rows.append(row)
            print(text(row), flush=True)
    return rows


def text(row: dict[str, Any]) -> str:
    head = f"{row['ground']:5} {row['budget_gflops']:>9,g}  {row['method']:13}"
    if row["setting"] is None:
        return f"{head}  no setting scores as the baseline does ({row['baseline']})"
    low, high = row["ratio_interval"]
    return (
        f"{head}  {row['baseline']} -> {row['setting']}: compute x{row['ratio']:.2f} [{low:.2f}, {high:.2f}], "
        f"score {row['baseline_score']:.3f} -> {row['score']:.3f}, "
        f"{row['difference']:+.3f} [{row['difference_interval'][0]:+.3f}, {row['difference_interval'][1]:+.3f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    replay = os.environ.get("AGENTTTS_REPLAY")
    parser.add_argument("--replay", type=Path, default=Path(replay) if replay else None)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--grounds", default="tiny,aime")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = []
    for name in options.grounds.split(","):
        if name == "aime" and options.replay is None:
            print("aime: left out, it needs the folder of the recorded tables (--replay)")
            continue
        draws = aime(options.replay) if name == "aime" else tiny(options.cache)
        rows += ground_rows(Bench(draws, options.orders))
    met = [
        row["setting"] is not None and row["ratio"] <= 1 - TARGET and row["difference_interval"][1] >= 0
        for row in rows
    ]
    result = {
        "intervals": "95 % percentile bootstrap over problems",
        "target": TARGET,
        "rows": [{**row, "target_met": ok} for row, ok in zip(rows, met, strict=True)],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"target (30 % less compute, no measurable loss) met in {sum(met)} of {len(rows)} rows")


if __name__ == "__main__":
    main()

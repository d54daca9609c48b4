"""Charged cost of every way to spend samples: predicted before, against charged after, over 500 problems.

    python benchmarks/forecasts.py [--problems 500]

Each way is tried as one trial on 200 search problems, as a study does; what the study then expects it to cost is compared
with the mean charge on 500 other problems. The worst case that is quoted must be passed by no problem. Two sources: the
tiny models (ways that they can follow), and a simulated model that answers every kind of prompt with lengths, votes and
verdicts drawn at random, named `simulated/...`: of it only costs are looked at. `cold` is the error before any trial has
used the way: it counts on the most. Target: median error under 5 %. Writes runs/benchmarks/forecasts.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from agenttts.allocators.base import Proposal
from agenttts.budgets.cards import ModelCard, RewardBlock
from agenttts.budgets.cost import Budget, Unit, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.budgets.lengths import Lengths
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.models.tokens import prompt_text, split_begun
from agenttts.pipeline.base import Allocation, Problem, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.store.memory import MemoryStore
from agenttts.study.evaluate import Evaluation
from agenttts.study.pilot import learn_pilot, learn_trial, pilot_allocations, pilot_content
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

OUT = Path("runs/benchmarks/forecasts.json")
TARGET = 0.05
N_SEARCH = 200
N_PILOT = 8
COUNTS = (4, 16)
BUDGET = Budget(1e12, Unit.GFLOPS)
SMALL, LARGE, PRM, JUDGE = "simulated/small", "simulated/large", "simulated/prm", "simulated/judge"

TINY_WAYS: list[Any] = [
    "majority",
    {"kind": "best_of_n", "verifier": "tiny_prm"},
    {"kind": "weighted_vote", "verifier": "tiny_prm"},
    "adaptive_vote",
    {"kind": "adaptive_best", "verifier": "tiny_prm"},
    {"kind": "cascade", "to": "tiny/l", "below": 0.7},
    {"kind": "cascade", "to": "tiny/l", "below": 0.8, "verifier": "tiny_prm"},
    {"kind": "beam", "verifier": "tiny_prm"},
    {"kind": "dvts", "verifier": "tiny_prm"},
]
_PRM = {"kind": "prm", "model": PRM, "separator": "\n"}
_JUDGE = {"kind": "judge", "model": JUDGE}
SIMULATED_WAYS: list[Any] = [
    "majority",
    "list_vote",
    {"kind": "best_of_n", "verifier": _PRM},
    {"kind": "weighted_vote", "verifier": _JUDGE},
    {"kind": "best_of_n", "verifier": {**_JUDGE, "form": "pairwise"}, "label": "best_of_n(pairwise)"},
    {"kind": "best_of_n", "verifier": {**_JUDGE, "form": "listwise"}, "label": "best_of_n(listwise)"},
    "fusion",
    "agreed_fusion",
    "llm_select",
    "adaptive_vote",
    {"kind": "adaptive_best", "verifier": _PRM},
    {"kind": "cascade", "to": LARGE, "below": 0.7},
    {"kind": "refine", "critic": {}},
    {"kind": "refine", "verifier": _PRM, "label": "refine(prm)"},
    {"kind": "tree", "verifier": _PRM},
    {"kind": "beam", "verifier": _PRM, "separator": "\n"},
    {"kind": "dvts", "verifier": _PRM, "separator": "\n"},
]


class Simulated:
    """A model that answers every prompt of the package with random lengths, votes and verdicts."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        asked, begun = split_begun(request.messages)
        prompt = prompt_text(asked)
        read = len(prompt.split()) + len(begun.split())
        worst = CallUsage(read, (request.sampling.max_tokens,) * n)
        settle = await meter.before(worst) if meter is not None else None
        samples = [self._sample(request, prompt, begun, read, first + i) for i in range(n)]
        reply = Reply(tuple(samples), CallUsage(read, tuple(s.decode_tokens for s in samples)))
        if settle is not None:
            settle(reply)
        return samples

    def _sample(self, request: Request, prompt: str, begun: str, read: int, index: int) -> Sample:
        rng = random.Random(f"{request.key}/{index}")
        if self._name == PRM:
            steps = [round(rng.betavariate(6, 1), 6) for _ in begun.strip().split("\n")]
            return Sample(index, json.dumps(steps), "stop", read, 0)
        text, ended = self._text(request, prompt, begun, rng)
        details = {"ended": True} if ended else {}
        return Sample(index, text, "stop", read, len(text.split()), details=details)

    def _text(self, request: Request, prompt: str, begun: str, rng: random.Random) -> tuple[str, bool]:
        hardness = random.Random(request.problem_id).random()
        if self._name == JUDGE:
            words = " ".join("so" for _ in range(int(rng.lognormvariate(3, 0.4))))
            marks = [rng.randint(0, 10) for _ in range(64)]
            return json.dumps(
                {"reasons": words, "mark": marks[0], "marks": marks, "winner": rng.choice("AB")}
            ), True
        if "number alone on the last line" in prompt:
            return "the best reply is\n1", True
        n_steps = 3 + int(4 * hardness)
        done = begun.count("\n")
        right = rng.random() < (0.9 if self._name == LARGE else 0.75) - 0.5 * hardness
        answer = 1 if right else rng.choice([2, 3])
        lines = [
            " ".join("step" for _ in range(3 + int(rng.lognormvariate(1.5, 0.5)))) for _ in range(n_steps)
        ]
        lines.append(f"it is {answer}")
        if request.sampling.stop and done < len(lines):
            return lines[done], done == len(lines) - 1
        return "\n".join(lines[done:]), True

    async def aclose(self) -> None:
        return None


def simulated_task() -> tuple[Task, tuple[Problem, ...]]:
    rng = random.Random(3)
    problems = [
        Problem(f"p{i:04}", {"text": " ".join("word" for _ in range(20 + rng.randrange(60))), "gold": 1})
        for i in range(N_SEARCH + 1000)
    ]
    cards = {
        name: ModelCard(
            name=name, source="tiny", parameters=n, shares_prefill=True, max_n=64, continues_replies=True
        )
        for name, n in ((SMALL, 1e9), (LARGE, 8e9), (JUDGE, 3e9))
    }
    steps = RewardBlock(api="pooling", scores="steps", separator="\n", tag="<step>")
    cards[PRM] = ModelCard(
        name=PRM,
        source="reward",
        base_url="http://127.0.0.1:9",
        parameters=5e8,
        shares_prefill=True,
        reward=steps,
    )
    stage = {
        "prompt": {"user": "{{ problem.text }}"},
        "models": [SMALL],
        "n_samples": list(COUNTS),
        "sampling": {"max_tokens": 400},
        "parse": "last_number",
        "select": SIMULATED_WAYS,
    }
    file = {
        "name": "simulated",
        "data": {"path": "none.jsonl"},
        "stages": {"solve": stage},
        "score": {"verifier": "numeric", "gold": "gold"},
    }
    task = Task(TaskFile.model_validate(file), Path(), cards, tuple(problems[:N_SEARCH]))
    return task, tuple(problems[N_SEARCH:])


def tiny_task() -> tuple[Task, tuple[Problem, ...]]:
    tiny = Task.load("tiny", n_search=N_SEARCH)
    stage = {
        "prompt": {"user": "solve: {{ problem.plan }}"},
        "models": ["tiny/s", "tiny/m"],
        "n_samples": list(COUNTS),
        "sampling": {"temperature": 0.8, "max_tokens": 64},
        "parse": {"rule": "regex", "pattern": r"=(-?\d+)\s*$"},
        "select": TINY_WAYS,
    }
    file = {
        "name": "solve",
        "data": {"path": "none.jsonl"},
        "stages": {"solve": stage},
        "score": {"verifier": "numeric", "gold": "answer"},
    }
    splits = tiny.file.splits
    wider = splits.model_copy(update={"test": splits.test.model_copy(update={"n": None})})
    others = replace(tiny, file=tiny.file.model_copy(update={"splits": wider})).test()
    return Task(TaskFile.model_validate(file), Path(), tiny.cards, tiny.search[:N_SEARCH]), others


class Bench:
    """One task with what is needed to run it."""

    def __init__(self, task: Task, own: Mapping[str, Simulated]) -> None:
        self.task, self.cost_model = task, CostModel(task.cards)
        self.clients = Clients(task.cards)
        for name, client in own.items():
            self.clients.add(name, client)
        ledger = SpendingLedger(self.cost_model, None)
        self.sampler = StoredSampler(self.clients, MemoryStore(), ledger, "bench")
        self.pipeline = Pipeline.build(task)

    async def evaluate(
        self, allocation: Allocation, problems: Sequence[Problem]
    ) -> tuple[Evaluation, list[float]]:
        rollouts = await asyncio.gather(
            *(
                self.pipeline.run(
                    p, allocation, clients=self.clients, sampler=self.sampler, cost_model=self.cost_model
                )
                for p in problems
            )
        )
        return Evaluation.of(allocation, rollouts), [(r.costs["solve"].flops or 0.0) / 1e9 for r in rollouts]

    async def rows(self, others: Sequence[Problem]) -> list[dict[str, Any]]:
        pilot = [
            (await self.evaluate(a, self.task.search[:N_PILOT]))[0] for a in pilot_allocations(self.task)
        ]
        block = self.task.file.stages["solve"]
        rows = []
        for model in block.variants:
            for way in block.ways:
                for n in COUNTS:
                    choice = StageChoice("solve", model, n, way.name)
                    rows.append(await self.row(choice, way.kind, pilot, others))
                    print(text(rows[-1]), flush=True)
        return rows

    async def row(
        self, choice: StageChoice, kind: str, pilot: Sequence[Evaluation], others: Sequence[Problem]
    ) -> dict[str, Any]:
        lengths = Lengths.of_task(self.task)
        learn_pilot(lengths, pilot_content(pilot))
        cold = lengths.expected_cost(self.cost_model, choice, Unit.GFLOPS)
        allocation = Allocation((choice,))
        seen, _ = await self.evaluate(allocation, self.task.search)
        learn_trial(lengths, seen.as_trial(0, Proposal(allocation, "bench"), BUDGET))
        predicted = lengths.expected_cost(self.cost_model, choice, Unit.GFLOPS)
        worst = (
            total(c.cost(self.cost_model) for c in lengths.worst_calls(self.cost_model, choice)).flops or 0.0
        ) / 1e9
        _, costs = await self.evaluate(allocation, others)
        charged = sum(costs) / len(costs)
        return {
            "source": choice.model.partition("/")[0],
            "model": choice.model,
            "way": choice.select,
            "kind": kind,
            "n": choice.n_samples,
            "predicted": predicted,
            "charged": charged,
            "error": predicted / charged - 1,
            "cold_error": cold / charged - 1,
            "worst_case": worst,
            "largest": max(costs),
            "passed_worst_case": sum(cost > worst * (1 + 1e-9) for cost in costs),
        }


def text(row: dict[str, Any]) -> str:
    return (
        f"{row['model']:15} {row['way']:34} n {row['n']:2}  predicted {row['predicted']:9.4g}  charged {row['charged']:9.4g}"
        f"  {row['error']:+7.1%}  (cold {row['cold_error']:+7.0%})  largest {row['largest']:.3g} of worst {row['worst_case']:.3g}"
    )


async def run(n_problems: int, sources: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for task, others in ({"tiny": tiny_task, "simulated": simulated_task}[source]() for source in sources):
        own = {name: Simulated(name) for name in task.cards if name.startswith("simulated/")}
        bench = Bench(task, own)
        rows += await bench.rows(others[:n_problems])
        await bench.clients.aclose()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sources", default="tiny,simulated")
    options = parser.parse_args()
    rows = asyncio.run(run(options.problems, options.sources.split(",")))
    passed = sum(row["passed_worst_case"] for row in rows)
    sources = {
        s: median(abs(row["error"]) for row in rows if row["source"] == s) for s in options.sources.split(",")
    }
    for source, error in sources.items():
        largest = max((row for row in rows if row["source"] == source), key=lambda row: abs(row["error"]))
        print(
            f"{source}: median error {error:.1%} (target {TARGET:.0%}), largest {largest['error']:+.1%} ({largest['way']} n {largest['n']})"
        )
    print(f"problems above the quoted worst case: {passed}")
    result = {
        "problems": options.problems,
        "target_median_error": TARGET,
        "median_error": sources,
        "problems_above_worst_case": passed,
        "met": all(error < TARGET for error in sources.values()) and not passed,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Simulated runs of any size, as folders: for tests and measurements of what reads runs (reports, exports, lists).

Everything in such a run is `simulated/...`: no figure of it says anything about a language model. Trials follow the law
of `agenttts.testing.surfaces.SimulatedTask`, with failures, stopped and over-budget trials, a planner's insights and a
confirmation added. The leading trials alone are run for real, through the pipeline, with invented completions, which
lie in a store beside the log as those of a true run do.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agenttts.budgets.cost import Budget, Cost, Unit, total, total_amount
from agenttts.budgets.cost_model import CostModel, stage_parts
from agenttts.models.base import CallUsage, Request, Sample
from agenttts.models.sampler import Drawn
from agenttts.pipeline.base import Allocation, Charge, Failure, StageChoice
from agenttts.study.archive import Archive, ProblemFailure, StageLengths, Trial
from agenttts.study.confirm import evaluation_to_json
from agenttts.testing.surfaces import SimulatedTask

if TYPE_CHECKING:
    from agenttts.allocators.space import Space
    from agenttts.pipeline.base import Problem
    from agenttts.store.base import SampleStore
    from agenttts.study.evaluate import Evaluation
    from agenttts.study.result import StudyOptions
    from agenttts.task.task import Task

__all__ = ["SimulatedRun", "write_simulated_run"]

STUDY = "simulated"
BUDGET = Budget(9_000.0, Unit.GFLOPS)
STAGES = ("read", "solve", "check")
PARAMETERS = {"simulated/small": 1e9, "simulated/medium": 4e9, "simulated/large": 16e9}
COUNTS = (1, 2, 4, 8, 16, 32)
PROMPT_TOKENS, ANSWER_TOKENS = 40, 12
SKILLS = (-1.2, -0.2, 0.7)
BATCH = 4
CARRY, FUSES = 0.4, 0.8
MOST_REAL = 24
"""Leading trials that are run through the pipeline at most, until those that lead are among them."""
BEGUN = 1_750_000_000.0
SECONDS_A_TRIAL = 7.0


@dataclass(frozen=True)
class SimulatedRun:
    """Where a run was written."""

    folder: Path
    store: Path


def write_simulated_run(
    folder: Path, *, n_trials: int = 1000, n_problems: int = 100, n_unseen: int = 60, seed: int = 0
) -> SimulatedRun:
    """Write a finished run of a task of three stages, three models and two ways to select.

    Args:
        folder: Gets the folders `task` and `run` and the store; made if it is missing.
        n_trials: Trials, at least 20.
        n_problems: Search problems.
        n_unseen: Test problems, on which the two leading trials are confirmed.
        seed: Another one gives another run.
    """
    task = _task(folder / "task", n_problems, n_unseen)
    run, store = folder / "run", folder / "samples.sqlite"
    run.mkdir(parents=True, exist_ok=True)
    study = _Study(task, _space(task), seed)
    trials = study.trials(n_trials)
    trials, confirmed = asyncio.run(_with_leaders(study, trials, f"sqlite:///{store.absolute()}"))
    options = _options(n_trials, seed)
    lines = _events(study, trials, confirmed, options, f"sqlite:///{store.absolute()}")
    with (run / "events.jsonl").open("w", encoding="ascii") as file:
        for line in lines:
            file.write(json.dumps({"format": 1, **line}, separators=(",", ":")) + "\n")
    return SimulatedRun(run, store)


# --- the task --------------------------------------------------------------------------------------------------------


def _task(folder: Path, n_problems: int, n_unseen: int) -> Task:
    from agenttts.task.task import Task

    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"p{i}", "question": f"What is {i} + {2 * i}?", "answer": 3 * i, "split": split}
        for split, numbers in (
            ("search", range(n_problems)),
            ("test", range(n_problems, n_problems + n_unseen)),
        )
        for i in numbers
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(_task_text())
    return Task.load(folder / "task.yaml")


def _task_text() -> str:
    models = "".join(
        f"  {name}: {{source: openai, base_url: 'http://127.0.0.1:9/v1', parameters: {size:g}}}\n"
        for name, size in PARAMETERS.items()
    )
    stages = "".join(_stage_text(name, STAGES[i - 1] if i else None) for i, name in enumerate(STAGES))
    return (
        "name: simulated-sums\n"
        "description: Sums in three stages; everything in it is simulated.\n"
        "data: {path: problems.jsonl, id: id}\n"
        "splits:\n  search: {where: {split: search}}\n  test: {where: {split: test}}\n"
        f"models:\n{models}stages:\n{stages}"
        "score: {verifier: numeric, gold: answer}\nbudget: {unit: gflops}\n"
    )


def _stage_text(name: str, before: str | None) -> str:
    given = "" if before is None else f" Before: {{{{ stages.{before}.answer }}}}"
    needs = "" if before is None else f"    needs: [{before}]\n"
    return (
        f"  {name}:\n{needs}"
        f'    prompt: {{user: "{name}: {{{{ problem.question }}}}{given}"}}\n'
        f"    models: [{', '.join(PARAMETERS)}]\n"
        f"    n_samples: [{', '.join(map(str, COUNTS))}]\n"
        "    select: [majority, fusion]\n    parse: last_number\n"
        f"    lengths: {{prefill_tokens: {PROMPT_TOKENS}, decode_tokens: {ANSWER_TOKENS}}}\n"
        "    score: {verifier: numeric, gold: answer}\n"
    )


def _space(task: Task) -> Space:
    from agenttts.allocators.space import Space
    from agenttts.budgets.lengths import Lengths

    wide = Budget(1.1 * BUDGET.amount, BUDGET.unit)  # some trials turn out to be over the budget
    return Space.build(task, Lengths(task.file), CostModel(task.cards), wide)


def _options(n_trials: int, seed: int) -> StudyOptions:
    from agenttts.budgets.cards import ModelCard
    from agenttts.study.result import StudyOptions

    planner = {"name": "simulated/planner", "source": "openai", "base_url": "http://127.0.0.1:9/v1"}
    return StudyOptions(
        budget=BUDGET,
        allocator="agent",
        n_trials=n_trials,
        seed=seed,
        planner=ModelCard.model_validate({**planner, "parameters": 1e9}),
    )


# --- trials ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Study:
    """Makes trials."""

    task: Task
    space: Space
    seed: int

    @property
    def simulated(self) -> SimulatedTask:
        """The law of scores."""
        skills = {stage: dict(zip(PARAMETERS, SKILLS, strict=True)) for stage in STAGES}
        return SimulatedTask(
            self.space, skills, n_problems=len(self.task.search), carry=CARRY, verifier=FUSES, seed=self.seed
        )

    def trials(self, n: int) -> list[Trial]:
        """Return trials of allocations drawn uniformly from what fits; each once, as far as there are so many."""
        rows = np.unique(self.space.sample(np.random.default_rng(self.seed), 4 * n), axis=0)
        order = np.random.default_rng(self.seed + 1).permutation(len(rows))
        taken = rows[np.resize(order, n)]
        law = self.simulated
        rng = random.Random(self.seed)
        return [
            self.dressed(law.run(self.space.allocation(row), number), rng) for number, row in enumerate(taken)
        ]

    def dressed(self, trial: Trial, rng: random.Random) -> Trial:
        """Return a simulated trial with all that a true one has, and with the fate that it meets."""
        parts = {
            c.stage: stage_parts(CostModel(self.task.cards), _charges(c)) for c in trial.allocation.choices
        }
        costs = {stage: total(p.prefill + p.decode for p in several) for stage, several in parts.items()}
        n_draws = sum(c.n_samples for c in trial.allocation.choices) * len(trial.scores)
        n_paid = round(n_draws * rng.uniform(0.0, 0.6))
        made = replace(
            trial,
            costs=costs,
            parts=parts,
            charged=total_amount(costs, BUDGET.unit),
            origin=rng.choice(["agent", "curves"]),
            reason=f"predicted {trial.score:.3f}, sd 0.030",
            lengths=_lengths(trial.allocation, len(trial.scores)),
            votes={
                s: {name: tuple(0 if x else 1 for x in row) for name, row in by.items()}
                for s, by in trial.sample_scores.items()
            },
            n_paid=n_paid,
            n_reused=n_draws - n_paid,
        )
        return _fated(made, rng)


def _charges(choice: StageChoice) -> list[Charge]:
    usage = CallUsage(PROMPT_TOKENS, (ANSWER_TOKENS,) * choice.n_samples)
    calls = [Charge(choice.model, "draw", usage)]
    if choice.select == "fusion":
        read = PROMPT_TOKENS + choice.n_samples * ANSWER_TOKENS
        calls.append(Charge(choice.model, "fusion", CallUsage(read, (ANSWER_TOKENS,))))
    return calls


def _lengths(allocation: Allocation, n: int) -> dict[str, StageLengths]:
    return {
        c.stage: StageLengths(c.model, {PROMPT_TOKENS: n}, {ANSWER_TOKENS: n * c.n_samples})
        for c in allocation.choices
    }


def _fated(trial: Trial, rng: random.Random) -> Trial:
    """Return the trial as it ends: over the budget where it is, stopped where it is poor, now and then failing."""
    if trial.charged > BUDGET.amount:
        return replace(trial, status="over_budget")
    names = sorted(trial.scores)
    if rng.random() < 0.02:
        lost = names[: max(1, len(names) // 4)]
        failures = tuple(
            ProblemFailure(n, Failure("solve", "ProviderUnavailableError", "503: busy")) for n in lost
        )
        return replace(_only(trial, names[len(lost) :]), status="invalid", failures=failures)
    if trial.score < 0.6 and rng.random() < 0.8:
        seen = rng.sample(names, max(1, len(names) // 4))
        reason = f"after {len(seen)} problems it was surely worse than the best"
        return replace(_only(trial, sorted(seen)), status="stopped", stopped_because=reason)
    return trial


def _only(trial: Trial, names: Sequence[str]) -> Trial:
    """Return what the trial says of some problems."""

    def of(by: Mapping[str, Any]) -> dict[str, Any]:
        return {name: by[name] for name in names}

    return replace(
        trial,
        scores=of(trial.scores),
        stage_scores={stage: of(by) for stage, by in trial.stage_scores.items()},
        sample_scores={stage: of(by) for stage, by in trial.sample_scores.items()},
        votes={stage: of(by) for stage, by in trial.votes.items()},
    )


# --- the leading trials, for real ------------------------------------------------------------------------------------


class _Inventing:
    """A `Sampler` that invents completions by the law of skills, and keeps them in a store."""

    def __init__(self, store: SampleStore, answers: Mapping[str, int], seed: int) -> None:
        self._store, self._answers, self._seed = store, answers, seed
        # As `SimulatedTask` draws it, so that a problem is as hard here as there.
        self._difficulty = np.random.default_rng([seed, 77]).standard_normal(len(answers))

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """Return draws 0 to `n` - 1, inventing those that are missing."""
        from agenttts.store.base import PaidCall

        held = await self._store.get(request, n)
        if len(held) < n:
            new = [self._invented(request, i, purpose) for i in range(len(held), n)]
            usage = CallUsage(PROMPT_TOKENS, (ANSWER_TOKENS,) * len(new))
            await self._store.put(request, new, PaidCall(STUDY, request.model, purpose, usage))
            return Drawn((*held, *new), len(new), len(held))
        return Drawn(tuple(held), 0, n)

    def _invented(self, request: Request, index: int, purpose: str) -> Sample:
        gold = self._answers[request.problem_id]
        rng = random.Random(f"{self._seed} {request.key} {index}")
        right = rng.random() < self._chance(request, gold, fusing=purpose == "fusion")
        value = gold if right else gold + rng.choice([-2, -1, 1, 10])
        text = f"Let me add them step by step. <b>The sum</b> is {value}"
        n_shown = request.messages[-1].content.count("The sum</b>")
        return Sample(index, text, "stop", PROMPT_TOKENS + n_shown * ANSWER_TOKENS, ANSWER_TOKENS)

    def _chance(self, request: Request, gold: int, *, fusing: bool) -> float:
        """Return how likely an answer is right, by what the prompt shows: the law of `SimulatedTask`."""
        shown = request.messages[-1].content
        if fusing:
            return FUSES if f"The sum</b> is {gold}" in shown else 0.0
        before = shown.partition("Before: ")[2].split()
        carried = CARRY if before and before[0] != str(gold) else 1.0
        hard = self._difficulty[int(request.problem_id[1:])]
        skill = dict(zip(PARAMETERS, SKILLS, strict=True))[request.model]
        return float(carried / (1 + np.exp(-1.7 * (skill - hard))))


async def _with_leaders(
    study: _Study, trials: list[Trial], url: str
) -> tuple[list[Trial], tuple[Evaluation, ...]]:
    """Return the trials with those that lead run for real, and what the two leading ones scored on unseen problems."""
    from agenttts.models.clients import Clients
    from agenttts.store.sql import open_store

    real: dict[int, Trial] = {}
    task = study.task
    async with aclosing(open_store(url)) as store, aclosing(Clients(task.cards)) as clients:
        every = (*task.search, *task.test())
        sampler = _Inventing(store, {one.id: int(one.fields["answer"]) for one in every}, study.seed)

        async def run(trial: Trial, problems: Sequence[Problem]) -> Evaluation:
            from agenttts.study.evaluate import evaluate

            return await evaluate(
                task,
                trial.allocation,
                problems,
                clients=clients,
                sampler=sampler,
                cost_model=CostModel(task.cards),
            )

        def leading() -> list[Trial]:
            archive = Archive.of(real.get(trial.number, trial) for trial in trials)
            return [trial for trial in (archive.best(), archive.runner_up()) if trial is not None]

        while (new := [trial for trial in leading() if trial.number not in real]) and len(real) < MOST_REAL:
            for trial in new:
                real[trial.number] = _remade(trial, await run(trial, task.search))
        confirmed = tuple([await run(trial, task.test()) for trial in leading()])
    return [real.get(trial.number, trial) for trial in trials], confirmed


def _remade(trial: Trial, evaluation: Evaluation) -> Trial:
    from agenttts.allocators.base import Proposal

    proposal = Proposal(trial.allocation, trial.origin, trial.reason)
    return evaluation.as_trial(trial.number, proposal, BUDGET)


# --- the log ---------------------------------------------------------------------------------------------------------


def _events(
    study: _Study, trials: Sequence[Trial], confirmed: Sequence[Evaluation], options: StudyOptions, url: str
) -> Iterator[dict[str, Any]]:
    from agenttts import __version__

    task = study.task
    yield {
        "event": "started",
        "at": BEGUN,
        "study_id": STUDY,
        "agenttts": __version__,
        "task_digest": task.digest,
        "task": task.to_json(),
        "options": options.to_json(),
        "store": url,
    }
    spent = Cost(usd=None, seconds=None)
    yield {
        "event": "pilot",
        "at": BEGUN + 5,
        "lengths": [],
        "n_problems": 8,
        "n_failed": 0,
        "n_paid": 72,
        "n_reused": 0,
        "spent": asdict(spent),
    }
    for number, first in enumerate(range(0, len(trials), BATCH)):
        batch = trials[first : first + BATCH]
        yield _round(number, first, batch, study.space)
        for trial in batch:
            n = len(trial.scores) + trial.n_failed
            share = trial.n_paid / max(1, trial.n_paid + trial.n_reused)
            spent = spent + total(trial.costs.values()).scaled(n * share)
            at = BEGUN + 5 + SECONDS_A_TRIAL * (trial.number + 1)
            yield {"event": "trial", "at": at, "trial": trial.to_json(), "spent": asdict(spent)}
    yield from _ending(trials, confirmed, spent)


def _round(number: int, first: int, batch: Sequence[Trial], space: Space) -> dict[str, Any]:
    text = f"Samples of `solve` bring more than those of `read`; trial {max(0, first - 1)} shows it."
    insights = [{"text": text, "trials": [max(0, first - 1)], "confidence": 0.6}] if first else []
    return {
        "event": "round",
        "round": number,
        "first": first,
        "at": BEGUN + 5 + SECONDS_A_TRIAL * first,
        "proposals": [
            {"allocation": t.allocation.to_json(), "origin": t.origin, "reason": t.reason, "repaired": ""}
            for t in batch
        ],
        "n_feasible": space.n_feasible,
        "n_allocations": space.size,
        "insights": insights,
        "sketches": [],
        "notes": [],
        "memory": {},
        "planner": {"calls": 1, "failed": 0, "refused": 0, "prefill_tokens": 900, "decode_tokens": 120},
    }


def _ending(
    trials: Sequence[Trial], confirmed: Sequence[Evaluation], spent: Cost
) -> Iterator[dict[str, Any]]:
    archive = Archive.of(trials)
    leading = [trial for trial in (archive.best(), archive.runner_up()) if trial is not None]
    entries = [evaluation_to_json(one, BUDGET) for one in confirmed]
    n = len(entries[0]["scores"]) + len(entries[0]["failures"]) if entries else 0
    end = BEGUN + 10 + SECONDS_A_TRIAL * (len(trials) + 1)
    yield {
        "event": "confirmed",
        "at": end,
        "n": n,
        "n_wanted": n,
        "trials": [trial.number for trial in leading],
        "winner": entries[0],
        "runner_up": entries[1] if len(entries) > 1 else None,
        "spent": asdict(spent),
    }
    n_paid = 72 + sum(trial.n_paid for trial in trials) + sum(one.n_paid for one in confirmed)
    yield {
        "event": "ended",
        "at": end,
        "status": "finished",
        "message": "",
        "no_confirmation_because": "",
        "spent": asdict(spent),
        "n_paid_now": n_paid,
        "n_paid": n_paid,
    }

"""Labelled draws for the check of a verifier: samples of one stage, scored by the verifier and against gold.

Drawn through store and ledger as all draws are, so what is held costs nothing. What is made of them is said in
`verifier_check`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Budget, Cost
from agenttts.budgets.loading import load_cards
from agenttts.errors import InputError
from agenttts.models.tiny_reward import TINY_PRM
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.selectors import SELECTORS
from agenttts.pipeline.stages import LLMStage, compile_stage
from agenttts.pipeline.strategies.parallel import selected
from agenttts.pipeline.ways import compile_way
from agenttts.study.evaluate import Evaluation, pipeline_runner, run_problems
from agenttts.study.verifier_check import Labelled
from agenttts.task.reading import nearest
from agenttts.task.ways import SelectBlock, VerifierBlock
from agenttts.verifiers.named import NamedVerifier

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import StoredSampler
    from agenttts.pipeline.base import Problem, Rollout
    from agenttts.task.task import Task

__all__ = ["CheckedStage", "LabelledDraws", "checked_stage", "label"]

MOST_SAMPLES = 16
"""Samples per problem where none are asked for, if the stage may have so many."""
READS_LOGPROBS = frozenset({"self_certainty"})
CHECKED = "checked"
"""Label of the way by which the checked stage scores its samples."""


# --- which draws -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckedStage:
    """The stage whose samples are scored, and how they come about."""

    stage: str
    allocation: Allocation
    """Of that stage and those that it builds on, which get one sample each."""

    @property
    def choice(self) -> StageChoice:
        """What the stage itself gets."""
        return self.allocation[self.stage]


def checked_stage(
    task: Task, *, stage: str | None = None, model: str | None = None, n_samples: int | None = None
) -> CheckedStage:
    """Return which draws to make.

    Args:
        task: The task.
        stage: A stage with gold; `None`: the one scored in the end, else the last one with gold.
        model: One of the stage's models; `None`: the one in the middle of its list. Stages before take their last one.
        n_samples: Of each problem, 2 at least; `None`: the most that the stage may have, but 16 at most.

    Raises:
        InputError: There is no such stage, model or number of samples.
    """
    named = _stage(task, stage)
    block = task.file.stages[named]
    variants = block.variants
    if model is not None and model not in variants:
        hint = nearest(model, variants, listed="Models")
        raise InputError(f"stage {named} has no model {model!r}.\n{hint}")
    n = n_samples if n_samples is not None else max(2, min(MOST_SAMPLES, max(block.sample_counts)))
    if n < 2:
        raise InputError(f"samples: expected at least 2, for a verifier ranks samples; got {n}")
    before = [
        StageChoice(name, task.file.stages[name].variants[-1], 1, "first", _off(task, name))
        for name in _before(task, named)
        if name in task.llm_stages
    ]
    return CheckedStage(
        named,
        Allocation((*before, StageChoice(named, model or variants[len(variants) // 2], n, CHECKED))),
    )


def _off(task: Task, stage: str) -> float | None:
    """Return the threshold at which a stage never runs, for those that run on a condition."""
    return None if task.file.stages[stage].when is None else 0.0


def _stage(task: Task, stage: str | None) -> str:
    with_gold = [
        name
        for name in task.llm_stages
        if task.file.stages[name].score is not None or name == task.scored_stage
    ]
    if not with_gold:
        raise InputError(
            f"task {task.file.name}: no stage that asks a model has gold, so no draw can be labelled. "
            "Give one a `score` with `verifier` and `gold`"
        )
    if stage is None:
        return task.scored_stage if task.scored_stage in with_gold else with_gold[-1]
    if stage not in with_gold:
        what = "has no gold" if stage in task.file.stages else "is none of the task"
        raise InputError(f"stage {stage!r} {what}.\n{nearest(stage, with_gold, listed='Stages with gold')}")
    return stage


def _before(task: Task, stage: str) -> list[str]:
    """Return the stages that a stage builds on, directly or not, in the order of the task."""
    needed: set[str] = set()
    todo = [stage]
    while todo:
        fresh = set(task.file.stages[todo.pop()].needs) - needed
        needed |= fresh
        todo += fresh
    return [name for name in task.file.stages if name in needed]


# --- drawing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledDraws:
    """Labelled draws, and what they took."""

    task: Task
    """With the cards of what the verifier asks."""
    draws: tuple[Labelled, ...]
    evaluation: Evaluation
    """Of the checked stage and those before it; failed problems are named in it."""
    unlabelled: tuple[str, ...]
    """Ids of problems whose samples gold could not score, all of them."""
    unscored_because: str
    """An example of why the verifier left a sample without a score; empty where it left none."""
    spent: Cost
    models: tuple[str, ...]
    """Cards that figures of these draws are figures of, the verifier's included."""


async def label(
    task: Task,
    where: CheckedStage,
    verifier: NamedVerifier,
    problems: Sequence[Problem],
    *,
    store_url: str,
    cap: Budget | None = None,
    concurrency: int = 32,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> LabelledDraws:
    """Draw, and score by the verifier and against gold.

    Args:
        task: The task.
        where: Which draws.
        verifier: The verifier.
        problems: Those to draw for.
        store_url: Where draws are kept.
        cap: The most that this check may spend, over all its runs; `None`: no limit.
        concurrency: Problems in work at a time.
        on_rollout: Told of every problem, in the order of finishing.

    Raises:
        SearchBudgetExhausted: The cap does not allow the next call; what is paid for is kept.
        CardError: There is no card for a model that the verifier asks, or it lacks figures.
        ProviderError: Of the kinds that stop a run.
        RecordedMissError: A recording lacks a draw.
    """
    task = replace(task, cards={**task.cards, **_cards(task, verifier.block)})
    pipeline = _pipeline(task, where.stage, verifier)
    reasons: list[str] = []

    def note(rollout: Rollout) -> None:
        output = rollout.outputs.get(where.stage)
        reasons.extend(text for text in (output.notes if output else ()) if "not scored" in text)
        if on_rollout is not None:
            on_rollout(rollout)

    async with _drawing(task, where, verifier, store_url, cap) as (clients, sampler, cost_model, ledger):
        runner = pipeline_runner(pipeline, clients, sampler, cost_model)
        gate = asyncio.Semaphore(concurrency)
        found = await run_problems(runner, where.allocation, problems, gate=gate, on_rollout=note)
    draws = _labelled_draws(found, where)
    labelled = {entry.problem_id for entry in draws}
    models = dict.fromkeys([choice.model for choice in where.allocation.choices])
    return LabelledDraws(
        task=task,
        draws=draws,
        evaluation=found,
        unlabelled=tuple(name for name in found.scores if name not in labelled),
        unscored_because=min(reasons, default=""),
        spent=ledger.spent,
        models=(*models, *_cards(task, verifier.block)),
    )


def _cards(task: Task, block: VerifierBlock | None) -> dict[str, ModelCard]:
    """Return the cards of what a verifier asks."""
    if block is None:
        return {}
    names = [TINY_PRM] if block.kind == "tiny_prm" else [name for name in (block.model,) if name is not None]
    if not names:
        return {}
    book = load_cards({**task.spare_cards, **task.cards})
    return {name: book.lookup(name) for name in names}


def _pipeline(task: Task, stage: str, verifier: NamedVerifier) -> Pipeline:
    """Return the stage and those before it, with the verifier's best-of-n as its way to select."""
    before = tuple(compile_stage(task, name) for name in _before(task, stage))
    own = compile_stage(task, stage)
    assert isinstance(own, LLMStage)  # noqa: S101 - `checked_stage` sees to that
    scorer = own.scorer
    assert scorer is not None  # noqa: S101 - as above
    if verifier.block is None:
        own = replace(
            own, ways={CHECKED: lambda b: selected(b.draw, b.parser, SELECTORS["best_of_n"], scorer)}
        )
    else:
        select = SelectBlock(kind="best_of_n", verifier=verifier.block)
        own = replace(own, ways={CHECKED: compile_way(task, task.file.stages[stage], select)})
        if verifier.block.kind in READS_LOGPROBS:
            own = replace(own, sampling={m: replace(s, logprobs=True) for m, s in own.sampling.items()})
    # It runs on every problem, and votes over its own samples.
    own = replace(own, when=None, pool=False)
    return Pipeline((*before, own), stage, scorer)


@asynccontextmanager
async def _drawing(
    task: Task, where: CheckedStage, verifier: NamedVerifier, store_url: str, cap: Budget | None
) -> AsyncIterator[tuple[Clients, StoredSampler, CostModel, SpendingLedger]]:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import StoredSampler
    from agenttts.store.sql import open_store

    asked = f"{task.digest} {where.allocation} {verifier.name}"
    study_id = f"verifier-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    async with aclosing(open_store(store_url)) as store:
        paid = await store.paid(study_id)
        cost_model = CostModel(task.cards, files=task.card_files)
        ledger = SpendingLedger(cost_model, cap, paid)
        async with aclosing(Clients(task.cards)) as clients:
            yield clients, StoredSampler(clients, store, ledger, study_id), cost_model, ledger


def _labelled_draws(found: Evaluation, where: CheckedStage) -> tuple[Labelled, ...]:
    stage = where.stage
    nothing: tuple[float | None, ...] = (None,) * where.choice.n_samples
    values, votes = found.sample_scores.get(stage, {}), found.votes.get(stage, {})
    scores = found.verifier_scores.get(stage, {})
    return tuple(
        Labelled(
            name,
            tuple(None if code < 0 else code for code in votes[name]),
            values[name],
            scores.get(name, nothing),
        )
        for name in found.scores
        if name in values
    )

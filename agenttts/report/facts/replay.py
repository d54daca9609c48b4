"""Single passes read back from the store: the same problems, the same allocation, the same draws, and nothing paid.

The log keeps no texts. But a pass is a function of its draws, and draws are kept under what was asked: so the pipeline
is run once more over a sampler that reads the store and draws nothing. Scores are those of the log; verifiers that run
programs run them again, in the sandbox of the task. What the store lacks is said, and the rest of the pass is kept.

The edge: this module reads the store, by way of clients that open no connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.errors import AgentTTSError, ProviderUnavailableError
from agenttts.models.base import Request, Sample
from agenttts.models.sampler import Drawn
from agenttts.report.facts.values import RolloutFact, RolloutsFact, SampleFact, Spending, StagePass
from agenttts.store.sql import SqlStore, is_memory, open_store

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.pipeline.base import Problem, Rollout, StageChoice, StageOutput
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.store.base import SampleStore
    from agenttts.study.archive import Trial
    from agenttts.task.task import Task

__all__ = ["Call", "Held", "HeldSampler", "read_back", "stage_passes", "telling", "unreadable"]

WHOLE = frozenset({"draw", "refine", "escalate"})
MOST_SIDE_CALLS = 8
"""Replies of critics, verifiers and fusions that are told per stage."""
MOST_CHARACTERS = 400_000
"""Of all passes together."""
SHORTEST, LONGEST = 200, 4000
"""Characters of one text, by how many there are."""
SECONDS = 10.0
"""For all passes together: verifiers may run programs."""
BUSY_S = 5.0
AT_ONCE = 8


@dataclass(frozen=True)
class Held:
    """What the store of a run says."""

    rollouts: RolloutsFact
    calls: tuple[Spending, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A prompt, and the draws of it that a pass used."""

    request: Request
    purpose: str
    samples: tuple[Sample, ...]


@dataclass
class HeldSampler:
    """A `Sampler` over a store that draws nothing and keeps in mind what it was asked."""

    store: SampleStore
    calls: list[Call] = field(default_factory=list)
    missing: str = ""
    """What the store lacked first."""
    endpoints: dict[str, list[str]] = field(default_factory=dict)
    """Those that the store has draws of, by model; filled where a draw is missing."""

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """Return draws 0 to `n` - 1.

        Raises:
            ProviderUnavailableError: The store lacks some.
        """
        held = await self.store.get(request, n)
        if len(held) < n:
            request, held = await self._elsewhere(request, n, held)
        if len(held) < n:
            said = f"the store holds {len(held)} of {n} draws of {request.model} at stage {request.stage}"
            self.missing = self.missing or said
            raise ProviderUnavailableError(said)
        self.calls.append(Call(request, purpose, tuple(held)))
        return Drawn(tuple(held), 0, n)

    async def _elsewhere(self, request: Request, n: int, held: list[Sample]) -> tuple[Request, list[Sample]]:
        """Return the request to the only other endpoint that the store knows of the model, and its draws.

        The address may come from the environment, which is another one now. Of several others none is sure to be the
        one that this run asked.
        """
        if not isinstance(self.store, SqlStore):
            return request, held
        known = self.endpoints
        if not known:
            known.update(await self.store.endpoints())
        others = [one for one in known.get(request.model, ()) if one != request.endpoint]
        if len(others) != 1:
            return request, held
        moved = replace(request, endpoint=others[0])
        return moved, await self.store.get(moved, n)


def unreadable(url: str) -> str:
    """Return why a store cannot be read without making one; empty where it may be tried."""
    if is_memory(url):
        return "the draws were kept in memory, and are gone"
    path = url.partition(":///")[2].partition("?")[0]
    if url.startswith("sqlite") and not Path(path).is_file():
        return f"the store {path} is not there"
    return ""


def read_back(
    task: Task,
    cost_model: CostModel,
    url: str,
    study_id: str,
    wanted: Sequence[tuple[Trial, Problem]],
) -> Held:
    """Return passes and bills of a run from its store; where that cannot be read, why not.

    Args:
        task: The task.
        cost_model: Knows its cards.
        url: Of the store.
        study_id: Whose bills.
        wanted: Trials and the problems to read back under them.
    """
    reason = unreadable(url)
    if reason:
        return Held(RolloutsFact((), len(wanted), 0, reason))
    work = _read(task, cost_model, url, study_id, wanted)
    # In a thread of its own, for the caller may be inside an event loop.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _read(
    task: Task,
    cost_model: CostModel,
    url: str,
    study_id: str,
    wanted: Sequence[tuple[Trial, Problem]],
) -> Held:
    calls: tuple[Spending, ...] = ()
    try:
        async with aclosing(open_store(url, busy_timeout_s=BUSY_S)) as store:
            calls = await _calls(store, study_id)
            return Held(await _rollouts(task, cost_model, store, wanted), calls)
    except AgentTTSError as error:
        return Held(RolloutsFact((), len(wanted), 0, str(error)), calls)


async def _calls(store: SampleStore, study_id: str) -> tuple[Spending, ...]:
    """Return what was paid, by model and purpose."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for call in await store.paid(study_id):
        counts = sums.setdefault((call.model, call.purpose), Counter())
        counts["calls"] += 1
        counts["draws"] += len(call.usage.decode_tokens)
        counts["prefill"] += call.usage.prefill_tokens
        counts["decode"] += sum(call.usage.decode_tokens)
    return tuple(
        Spending(model, purpose, n["calls"], n["draws"], n["prefill"], n["decode"])
        for (model, purpose), n in sorted(sums.items())
    )


async def _rollouts(
    task: Task, cost_model: CostModel, store: SampleStore, wanted: Sequence[tuple[Trial, Problem]]
) -> RolloutsFact:
    from agenttts.models.clients import Clients
    from agenttts.pipeline.pipeline import Pipeline

    pipeline, gate = Pipeline.build(task), asyncio.Semaphore(AT_ONCE)
    endpoints: dict[str, list[str]] = {}
    async with aclosing(Clients(task.cards)) as clients:

        async def one(trial: Trial, problem: Problem) -> tuple[Rollout, HeldSampler]:
            sampler = HeldSampler(store, endpoints=endpoints)
            async with gate:
                rollout = await pipeline.run(
                    problem,
                    trial.allocation,
                    clients=clients,
                    sampler=sampler,
                    cost_model=cost_model,
                    score=False,
                )
            return rollout, sampler

        tasks = [asyncio.create_task(one(trial, problem)) for trial, problem in wanted]
        if tasks:
            await asyncio.wait(tasks, timeout=SECONDS)
        for pending in tasks:
            pending.cancel()
        made = await asyncio.gather(*tasks, return_exceptions=True)
    passes = _told(task, pipeline, wanted, made)
    return RolloutsFact(passes, len(wanted), sum(not one.missing for one in passes))


def _told(
    task: Task,
    pipeline: Pipeline,
    wanted: Sequence[tuple[Trial, Problem]],
    made: Sequence[tuple[Rollout, HeldSampler] | BaseException],
) -> tuple[RolloutFact, ...]:
    known = [one for one in made if not isinstance(one, BaseException)]
    n_texts = sum(1 + len(call.samples) for _, sampler in known for call in sampler.calls)
    limit = min(LONGEST, max(SHORTEST, MOST_CHARACTERS // max(1, n_texts)))
    found = []
    for (trial, problem), one in zip(wanted, made, strict=True):
        score = trial.scores.get(problem.id)
        if isinstance(one, BaseException):
            why = (
                "reading it back took too long" if isinstance(one, asyncio.CancelledError) else str(one)[:300]
            )
            found.append(RolloutFact(trial.number, problem.id, score, (), why))
            continue
        rollout, sampler = one
        missing = sampler.missing or ("" if rollout.failure is None else rollout.failure.message)
        passes = stage_passes(task.llm_stages, trial, rollout, sampler.calls, limit)
        found.append(RolloutFact(trial.number, problem.id, score, passes, missing))
    return tuple(found)


# --- from calls to what is told --------------------------------------------------------------------------------------


def stage_passes(
    stages: Sequence[str], trial: Trial, rollout: Rollout, calls: Sequence[Call], limit: int
) -> tuple[StagePass, ...]:
    """Return what each LLM stage of a pass asked, got and made of it.

    Args:
        stages: In the order of the task.
        trial: Has the scores.
        rollout: The pass.
        calls: In the order in which they were made.
        limit: Characters of one text.
    """
    allocation = trial.allocation.canonical()
    return tuple(
        _stage(
            allocation[stage],
            trial,
            rollout.problem_id,
            rollout.outputs.get(stage),
            [call for call in calls if call.request.stage == stage],
            limit,
        )
        for stage in stages
    )


def _stage(
    choice: StageChoice,
    trial: Trial,
    problem_id: str,
    output: StageOutput | None,
    calls: Sequence[Call],
    limit: int,
) -> StagePass:
    stage = choice.stage
    own = next((call for call in calls if call.purpose == "draw"), None)
    scores = trial.sample_scores.get(stage, {}).get(problem_id, ())
    ran = output is not None and not output.skipped
    samples = list(_samples(output, calls, scores, limit)) if ran and output is not None else []
    return StagePass(
        stage=stage,
        choice=str(choice),
        ran=ran,
        prompt=()
        if own is None
        else tuple((message.role, message.content[:LONGEST]) for message in own.request.messages),
        samples=(*samples, *_side(calls, limit)),
        answer=None if output is None or output.answer is None else str(output.answer)[:limit],
        score=trial.stage_scores.get(stage, {}).get(problem_id),
        notes=() if output is None else output.notes,
    )


def _samples(
    output: StageOutput, calls: Sequence[Call], scores: Sequence[float], limit: int
) -> Iterator[SampleFact]:
    """Give the samples that the stage selected from, in their order."""
    drawn = _longest([call for call in calls if call.purpose in WHOLE])
    if output.texts is None:
        listed = [pair for pair in drawn if pair[0].purpose == "draw"]
        texts = [sample.text for _, sample in listed]
    else:
        texts = list(output.texts)
        by_text = {sample.text: (call, sample) for call, sample in reversed(drawn)}
        listed = [by_text[text] for text in texts if text in by_text]
        if len(listed) < len(texts):  # put together from steps: no call holds it as a whole
            listed = []
    for i, text in enumerate(texts):
        call, sample = listed[i] if i < len(listed) else (None, None)
        given = output.verifier_scores
        yield SampleFact(
            purpose="draw" if call is None else call.purpose,
            model="" if call is None else call.request.model,
            text=text[:limit],
            cut=len(text) > limit,
            answer=_text(output.answers, i, limit),
            score=scores[i] if i < len(scores) else None,
            verifier_score=given[i] if i < len(given) else None,
            selected=output.selected == i,
            prefill_tokens=0 if sample is None else sample.prefill_tokens,
            decode_tokens=0 if sample is None else sample.decode_tokens,
            finish_reason="" if sample is None else sample.finish_reason,
        )


def _text(answers: Sequence[object], i: int, limit: int) -> str | None:
    return None if i >= len(answers) or answers[i] is None else str(answers[i])[:limit]


def _longest(calls: Sequence[Call]) -> list[tuple[Call, Sample]]:
    """Return each draw once: a way that draws in turns asks for the beginning of its stream again each time."""
    by_key: dict[str, Call] = {}
    for call in calls:
        before = by_key.get(call.request.key)
        if before is None or len(call.samples) > len(before.samples):
            by_key[call.request.key] = call
    return [(call, sample) for call in by_key.values() for sample in call.samples]


def _side(calls: Sequence[Call], limit: int) -> Iterator[SampleFact]:
    """Give replies that are no samples to select from: of fusions, critics, verifiers."""
    beside = _longest([call for call in calls if call.purpose not in WHOLE])
    for call, sample in beside[:MOST_SIDE_CALLS]:
        yield SampleFact(
            purpose=call.purpose,
            model=call.request.model,
            text=sample.text[:limit],
            cut=len(sample.text) > limit,
            answer=None,
            score=None,
            verifier_score=None,
            selected=False,
            prefill_tokens=sample.prefill_tokens,
            decode_tokens=sample.decode_tokens,
            finish_reason=sample.finish_reason,
        )


def telling(
    names: Sequence[str],
    winner: Mapping[str, float],
    runner_up: Mapping[str, float],
    most: int,
    means: Mapping[str, float] | None = None,
) -> list[str]:
    """Return the problems that tell most: where both differ, where the winner is wrong, and where it is right, in turn.

    Args:
        names: Of the problems that may be taken.
        winner: Its scores.
        runner_up: Its scores; empty where there is none.
        most: So many.
        means: Mean score of all trials; of the problems that are right, the hard ones come first.
    """
    known = sorted(name for name in names if name in winner)
    apart = sorted(
        (name for name in known if abs(winner[name] - runner_up.get(name, winner[name])) >= 0.5),
        key=lambda name: -abs(winner[name] - runner_up[name]),
    )
    wrong = sorted((name for name in known if winner[name] < 0.5), key=lambda name: winner[name])
    hard = means or {}
    right = sorted((name for name in known if winner[name] >= 0.5), key=lambda name: hard.get(name, 1.0))
    found: dict[str, None] = {}
    groups = [group for group in (apart, wrong, right) if group]
    for turn in range(len(known)):
        for group in groups:
            if turn < len(group) and len(found) < most:
                found[group[turn]] = None
    return sorted(found)

"""Every draw that a run used, read from its store: the run is gone through again, with nobody to ask but the store.

The store is shared by runs and knows only what was asked; which draws a run used follows from its log: the pilot, the
trials and the confirmation. So each is taken through the pipeline once more, and what it asks the store for is noted.
Functions and programs of the task run again too. Not among the draws: those of trials that were cut off, which stand in
no log, and the planner's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import ProviderError, RunError
from agenttts.models.sampler import Drawn

if TYPE_CHECKING:
    from agenttts.models.base import Request, Sample
    from agenttts.pipeline.base import Allocation, Problem
    from agenttts.store.base import SampleStore
    from agenttts.study.events import StudyState
    from agenttts.study.study import Study

__all__ = ["DrawCount", "note_draws"]

CONCURRENCY = 16
Note = Callable[[Mapping[str, Any]], None]


@dataclass
class DrawCount:
    """What was found of a run's draws."""

    n: int = 0
    n_verifier_calls: int = 0
    """Of them, those that a verifier asked for in order to score a sample; the others are completions."""
    n_missing: int = 0
    """Draws that were asked for and are not in the store: they failed, or the store has lost them."""


@dataclass(frozen=True)
class _Pass:
    """A part of the run: one allocation on some problems."""

    use: str
    """`pilot`, `trial` or `confirmation`."""
    trial: int | None
    allocation: Allocation
    problems: Sequence[Problem]

    @property
    def measured(self) -> bool:
        """Whether the task's measures were taken."""
        return self.use == "confirmation"


async def note_draws(study: Study, note: Note, *, store_url: str | None = None) -> DrawCount:
    """Hand every draw that a run used to `note`, each once, as plain data, in the order of their first use.

    Memory grows with the number of prompts (some 100 bytes for each), not with what they hold.

    Args:
        study: The run, opened; its task's data must be there.
        note: Takes one draw.
        store_url: Where draws are kept; `None`: as the run says.

    Raises:
        RunError: The store has forgotten its draws or is gone.
        StoreError: It cannot be read.
        DataError: The data of the task are gone or have changed.
        TrustError: The task runs functions of its own and that was not allowed.
    """
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.clients import Clients
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.store.sql import open_store
    from agenttts.study.evaluate import pipeline_runner, run_problems

    state, task = study.state(), study.task
    url = store_url or study.store_url or state.started["store"]
    _require_store(url, study.folder)
    pipeline, cost_model = Pipeline.build(task), CostModel(task.cards)
    gate = asyncio.Semaphore(CONCURRENCY)
    async with aclosing(open_store(url)) as store, aclosing(Clients(task.cards)) as clients:
        held = _Held(store, note)
        for part in _passes(study, state, clients.max_recorded):
            held.part = part
            runner = pipeline_runner(pipeline, clients, held, cost_model, measure=part.measured)
            await run_problems(runner, part.allocation, part.problems, gate=gate)
    return held.count


def _require_store(url: str, folder: Path) -> None:
    from sqlalchemy.engine import make_url

    from agenttts.store.sql import is_memory

    if is_memory(url):
        raise RunError(
            f"{folder} kept its draws in memory, which has forgotten them. Runs with --store keep them"
        )
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise RunError(f"{folder} keeps its draws in {parsed.database}, which is gone. Put the file back")


def _passes(study: Study, state: StudyState, max_recorded: Any) -> Iterator[_Pass]:
    """Return what the log tells of the run, each allocation with the problems that no earlier part took it to."""
    from agenttts.study.pilot import pilot_allocations

    search = study.task.search
    if state.pilot is not None:
        for allocation in pilot_allocations(study.task, max_recorded):
            yield _Pass("pilot", None, allocation, search[: study.options.n_pilot])
    done: set[tuple[Allocation, str]] = set()
    for trial in state.archive.trials:
        seen = {*trial.scores, *(entry.problem_id for entry in trial.failures)}
        new = [p for p in search if p.id in seen and (trial.allocation, p.id) not in done]
        done.update((trial.allocation, problem.id) for problem in new)
        yield _Pass("trial", trial.number, trial.allocation, new)
    if state.confirmed is not None:
        by_number = {trial.number: trial for trial in state.archive.trials}
        problems = study.task.test()[: state.confirmed["n"]]
        for number in state.confirmed["trials"]:
            yield _Pass("confirmation", number, by_number[number].allocation, problems)


@dataclass
class _Held:
    """A sampler that gives what the store holds, and pays for nothing."""

    store: SampleStore
    note: Note
    part: _Pass | None = None
    count: DrawCount = field(default_factory=DrawCount)
    _noted: dict[bytes, int] = field(default_factory=dict)
    """Digest of a stream -> draws of it that were noted."""
    _missed: dict[bytes, int] = field(default_factory=dict)
    """Digest of a stream -> draws of it that were missed."""

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """Return draws 0 to `n` - 1 of the request's stream.

        Raises:
            ProviderError: The store holds fewer; that ends this problem only.
        """
        samples = await self.store.get(request, n)
        key = hashlib.sha256(request.key.encode()).digest()[:16]
        before = self._noted.get(key, 0)
        for sample in samples:
            if sample.index >= before:
                self.note(_draw(request, sample, purpose, self.part))
                self.count.n += 1
                self.count.n_verifier_calls += purpose == "verify"
        self._noted[key] = max(before, n)
        if len(samples) < n:
            missing = n - len(samples)
            self.count.n_missing += max(0, missing - self._missed.get(key, 0))
            self._missed[key] = max(missing, self._missed.get(key, 0))
            raise ProviderError("not in the store", endpoint=request.endpoint, model=request.model)
        return Drawn(tuple(samples), 0, n)


def _draw(request: Request, sample: Sample, purpose: str, part: _Pass | None) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "stage": request.stage,
        "problem_id": request.problem_id,
        "model": request.model,
        "endpoint": request.endpoint,
        "purpose": purpose,
        "use": None if part is None else part.use,
        "trial": None if part is None else part.trial,
        "stream": request.key,
        "index": sample.index,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "sampling": {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop),
            "seed": sampling.seed,
            "extra": dict(sampling.extra),
        },
        "text": sample.text,
        "finish_reason": sample.finish_reason,
        "usage": {
            "prefill_tokens": sample.prefill_tokens,
            "decode_tokens": sample.decode_tokens,
            "cached_prefill_tokens": sample.cached_prefill_tokens,
            "counted_by": sample.counted_by,
        },
    }

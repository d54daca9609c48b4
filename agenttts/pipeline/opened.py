"""A plan whose connections stay open: many problems, one after another or at once, from code that is async or not.

`async with plan.open() as opened: await opened.aanswer(problem)` works in the caller's event loop;
`with plan.open() as opened: opened.answer(problem)` in a loop of its own, in a thread, so that it works inside a running
loop too. Answering a single problem lives in `plan`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from agenttts.errors import AgentTTSError, InputError
from agenttts.models.base import Message, Request, SamplingParameters

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import Sampler
    from agenttts.pipeline.base import Problem
    from agenttts.pipeline.driver import Requests
    from agenttts.pipeline.plan import Plan, PlanAnswer
    from agenttts.store.base import SampleStore

__all__ = ["Background", "OpenPlan", "Reseeded", "fresh_sampler"]

T = TypeVar("T")


@dataclass(frozen=True)
class Reseeded:
    """Requests with other seeds: of the same law, but other draws."""

    requests: Requests
    seed: int

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        *,
        stage: str = "",
        problem_id: str = "",
    ) -> Request:
        """Return the request, its seed shifted."""
        shifted = replace(sampling, seed=sampling.seed + self.seed)
        return self.requests.request(model, messages, shifted, stage=stage, problem_id=problem_id)


def fresh_sampler(
    clients: Clients, cards: Mapping[str, ModelCard], store: SampleStore | None = None
) -> Sampler:
    """Return a sampler without a limit on spending; without a store, one that keeps draws for as long as it lives."""
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.sampler import StoredSampler
    from agenttts.store.memory import MemoryStore

    ledger = SpendingLedger(CostModel(cards), None, [])
    return StoredSampler(clients, MemoryStore() if store is None else store, ledger, "plan")


class Background:
    """An event loop in a thread of its own, for callers that are not async, or inside another loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agenttts", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns; where the caller is interrupted meanwhile, it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C above all: nothing goes on spending behind it
            future.cancel()
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """End what still runs, then do `last`, and end the thread."""
        try:
            self.run(_end_all(last))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _end_all(last: Coroutine[Any, Any, None]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await last
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


class OpenPlan:
    """A plan and its connections. They open with the first problem, belong to one event loop, and are closed at the end.

    Leaving `with` or `async with` closes them; without either, `aclose` does.
    """

    def __init__(self, plan: Plan, *, store: str | None = None) -> None:
        self.plan = plan
        self._store_url = store
        self._clients: Clients | None = None
        self._store: SampleStore | None = None
        self._sampler: Sampler | None = None
        self._background: Background | None = None

    # --- async

    async def __aenter__(self) -> OpenPlan:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aanswer(self, problem: Problem | Mapping[str, Any], *, seed: int = 0) -> PlanAnswer:
        """Answer one problem; see `Plan.aanswer`. Any number may be under way at once."""
        if self._clients is None:
            self._connect()
        return await self.plan.aanswer(problem, clients=self._clients, sampler=self._sampler, seed=seed)

    async def aanswer_each(
        self,
        problems: Sequence[Problem | Mapping[str, Any]],
        *,
        seeds: Sequence[int] | None = None,
        concurrency: int = 32,
        on_answer: Callable[[int, PlanAnswer | AgentTTSError], None] | None = None,
    ) -> list[PlanAnswer | AgentTTSError]:
        """Answer problems, each with the samples that the plan says.

        Args:
            problems: Problems or their fields.
            seeds: Of each problem, see `Plan.aanswer`; `None`: 0.
            concurrency: Problems worked on at a time.
            on_answer: Called with the place of a problem and what came of it, in the order of finishing.

        Returns:
            In the order of the problems; for one that failed alone, the error.

        Raises:
            ProviderError: One that would stop all problems; those under way are cancelled.
        """
        from agenttts.pipeline.together import together

        gate = asyncio.Semaphore(concurrency)
        given = [0] * len(problems) if seeds is None else seeds

        async def one(
            place: int, problem: Problem | Mapping[str, Any], seed: int
        ) -> PlanAnswer | AgentTTSError:
            async with gate:
                try:
                    made: PlanAnswer | AgentTTSError = await self.aanswer(problem, seed=seed)
                except AgentTTSError as error:
                    if getattr(error, "stops_run", False):
                        raise
                    made = error
            if on_answer is not None:
                on_answer(place, made)
            return made

        pairs = zip(problems, given, strict=True)
        return await together([one(place, *pair) for place, pair in enumerate(pairs)])

    async def aclose(self) -> None:
        """Close all connections; the next problem opens them anew."""
        clients, store = self._clients, self._store
        self._clients = self._store = self._sampler = None
        if clients is not None:
            await clients.aclose()
        if store is not None:
            await store.aclose()

    # --- not async

    def __enter__(self) -> OpenPlan:
        self._background = Background()
        return self

    def __exit__(self, *_: object) -> None:
        background, self._background = self._loop(), None
        background.close(self.aclose())

    def answer(self, problem: Problem | Mapping[str, Any], *, seed: int = 0) -> PlanAnswer:
        """Answer one problem, inside `with`; see `aanswer`. May be called from several threads."""
        return self._loop().run(self.aanswer(problem, seed=seed))

    def answer_each(
        self,
        problems: Sequence[Problem | Mapping[str, Any]],
        *,
        seeds: Sequence[int] | None = None,
        concurrency: int = 32,
        on_answer: Callable[[int, PlanAnswer | AgentTTSError], None] | None = None,
    ) -> list[PlanAnswer | AgentTTSError]:
        """Answer problems, inside `with`; see `aanswer_each`. `on_answer` is called from another thread."""
        return self._loop().run(
            self.aanswer_each(problems, seeds=seeds, concurrency=concurrency, on_answer=on_answer)
        )

    def _loop(self) -> Background:
        if self._background is None:
            raise InputError(
                "the plan is not open: write `with plan.open() as opened:` around it, "
                "or `await opened.aanswer(...)` in async code"
            )
        return self._background

    def _connect(self) -> None:
        from agenttts.models.clients import Clients
        from agenttts.store.sql import open_store

        cards = self.plan.task.cards
        self._clients = Clients(cards)
        if self._store_url is not None:
            self._store = open_store(self._store_url)
            self._sampler = fresh_sampler(self._clients, cards, self._store)

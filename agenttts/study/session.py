"""Everything a run of a study holds open: store, clients, ledger. One object, closed in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agenttts.budgets.cost import Budget, Cost
from agenttts.study.evaluate import Runner, pipeline_runner

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.retry import ClientEvent
    from agenttts.task.task import Task

__all__ = ["Session", "SessionFactory", "open_session"]


@dataclass(frozen=True)
class Session:
    """What the loop needs of the outside world."""

    runner: Runner
    cost_model: CostModel
    spent: Callable[[], Cost]
    """What the study has paid so far, over all its runs."""
    n_paid: Callable[[], Awaitable[int]]
    """Completions the study has paid for so far, over all its runs."""
    set_cap: Callable[[Budget | None], None]
    """Sets what the study may spend over all its runs; only while no call is in flight."""
    max_recorded: Callable[[str, str], int | None] | None = None


class SessionFactory(Protocol):
    """Opens sessions; a seam for simulated ones."""

    def __call__(
        self,
        task: Task,
        *,
        store_url: str,
        study_id: str,
        cap: Budget | None,
        on_wait: Callable[[str], None],
    ) -> AbstractAsyncContextManager[Session]:
        """Return a session whose calls are billed to `study_id` and stop before they pass `cap`."""
        ...


@asynccontextmanager
async def open_session(
    task: Task, *, store_url: str, study_id: str, cap: Budget | None, on_wait: Callable[[str], None]
) -> AsyncIterator[Session]:
    """Open store, clients and ledger for a task, and close them whatever happens."""
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import StoredSampler
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.store.sql import open_store

    async def n_paid() -> int:
        return sum(len(call.usage.decode_tokens) for call in await store.paid(study_id))

    def set_cap(new: Budget | None) -> None:
        ledger.cap = new

    cost_model = CostModel(task.cards)
    store = open_store(store_url)
    try:
        ledger = SpendingLedger(cost_model, cap, await store.paid(study_id))
        clients = Clients(task.cards, on_event=lambda event: on_wait(_words(event)))
        try:
            sampler = StoredSampler(clients, store, ledger, study_id)
            yield Session(
                runner=pipeline_runner(Pipeline.build(task), clients, sampler, cost_model),
                cost_model=cost_model,
                spent=lambda: ledger.spent,
                n_paid=n_paid,
                set_cap=set_cap,
                max_recorded=clients.max_recorded,
            )
        finally:
            await clients.aclose()
    finally:
        await store.aclose()


def _words(event: ClientEvent) -> str:
    return event.message or f"{event.model}: {event.cause}, next attempt in {event.wait_s:.0f} s"

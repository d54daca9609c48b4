"""Everything a run of a study holds open: store, clients, ledger. One object, closed in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agenttts.budgets.cost import Budget, Cost
from agenttts.study.evaluate import Runner, pipeline_runner
from agenttts.study.planner import PURPOSE, Ask, Asker, PlannerBill, PlannerSetup

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.counts import CallCounts
    from agenttts.models.retry import ClientEvent
    from agenttts.study.averaging import Averager
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
    """Completions the study has paid for so far, over all its runs; the planner's replies are none of them."""
    set_cap: Callable[[Budget | None], None]
    """Sets what the study may spend over all its runs; only while no call is in flight."""
    max_recorded: Callable[[str, str], int | None] | None = None
    final_runner: Runner | None = None
    """Runs what is confirmed: with the task's measures, which no trial pays for; `None`: `runner` does."""
    averager: Averager | None = None
    """Averages scores over draws of earlier trials; `None`: scores stay those of the rollout."""
    ask: Ask | None = None
    """Asks the planner model; `None`: there is none."""
    planner_bill: Callable[[], PlannerBill] | None = None
    """What the planner was paid for, over all runs; `None`: there is none."""
    spent_on_task: Callable[[], Cost] | None = None
    """`spent` without the planner; `None`: there is none."""
    calls: Callable[[], CallCounts] | None = None
    """Waits and retries of this run of the study; `None`: nobody counts them."""

    by_stage: Callable[[], Mapping[str, tuple[int, int]]] | None = None
    """Stage -> requests at work and ended, of this run of the study; `None`: nobody counts them."""

    def paid(self) -> dict[str, Any]:
        """Return what the log keeps of the bill, as plain data."""
        kept: dict[str, Any] = {"spent": asdict(self.spent())}
        if self.planner_bill is not None:
            kept["planner_bill"] = self.planner_bill().to_json()
        if self.spent_on_task is not None:
            kept["spent_on_task"] = asdict(self.spent_on_task())
        if self.calls is not None and (counts := self.calls()):
            kept["calls"] = counts.to_json()
        return kept


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
        planner: PlannerSetup | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """Return a session whose calls are billed to `study_id` and stop before they pass `cap`.

        `planner` is given only where there is one, so that a factory may do without it.
        """
        ...


@asynccontextmanager
async def open_session(
    task: Task,
    *,
    store_url: str,
    study_id: str,
    cap: Budget | None,
    on_wait: Callable[[str], None],
    planner: PlannerSetup | None = None,
    make_clients: Callable[..., Clients] | None = None,
) -> AsyncIterator[Session]:
    """Open store, clients and ledger for a task, and close them whatever happens.

    `make_clients` stands in for the class `Clients`: for sessions that share draws, see `comparison_pool`.
    """
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.probe import Probe
    from agenttts.models.sampler import StoredSampler
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.store.sql import open_store
    from agenttts.study.averaging import PipelineAverager

    async def n_paid() -> int:
        calls = await store.paid(study_id)
        return sum(len(call.usage.decode_tokens) for call in calls if call.purpose != PURPOSE)

    def set_cap(new: Budget | None) -> None:
        ledger.cap = new

    def tell(event: ClientEvent) -> None:
        on_wait(_words(event))

    own = {} if planner is None else {planner.card.name: planner.card}
    cost_model = CostModel({**task.cards, **own})
    # Not of the planner: a search goes on without one that is down.
    probe = Probe(task.cards.values(), task.card_files)
    async with aclosing(open_store(store_url)) as store:
        paid = await store.paid(study_id)
        # A planner that is not asked costs nothing, whatever its card lacks.
        ledger = SpendingLedger(cost_model, cap, paid, nothing=CostModel(task.cards).nothing())
        async with (
            aclosing((make_clients or Clients)(task.cards, on_event=tell, probe=probe)) as clients,
            aclosing(Clients(own, on_event=tell)) as advisers,
        ):
            sampler = StoredSampler(clients, store, ledger, study_id)
            pipeline = Pipeline.build(task)
            asker = None if planner is None else Asker.build(planner, advisers, store, ledger, study_id, paid)
            yield Session(
                runner=pipeline_runner(pipeline, clients, sampler, cost_model),
                cost_model=cost_model,
                spent=lambda: ledger.spent,
                n_paid=n_paid,
                set_cap=set_cap,
                max_recorded=clients.max_recorded,
                final_runner=pipeline_runner(pipeline, clients, sampler, cost_model, measure=True),
                averager=PipelineAverager(task, pipeline, clients, sampler),
                by_stage=lambda: sampler.by_stage,
                calls=lambda: clients.counts + advisers.counts,
                **({} if asker is None else _planner_side(asker, ledger)),
            )


def _planner_side(asker: Asker, ledger: SpendingLedger) -> dict[str, Any]:
    return {
        "ask": asker.ask,
        "planner_bill": lambda: asker.bill,
        "spent_on_task": lambda: ledger.spent_without(PURPOSE),
    }


def _words(event: ClientEvent) -> str:
    return (
        event.message
        or f"{event.model}: {event.cause.replace('_', ' ')}, next attempt in {event.wait_s:.0f} s"
    )

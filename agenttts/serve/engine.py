"""The plan behind the server: one warm pipeline, one set of connections, and one pass of a problem through them.

HTTP is not known here. Without a store every request draws for itself and nothing is kept, so that memory does not grow;
with one, draws are kept for good, and what is held is not paid for again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.errors import ProviderError
from agenttts.pipeline.base import Allocation, Problem, StageOutput
from agenttts.pipeline.opened import Reseeded
from agenttts.pipeline.pipeline import Pipeline
from agenttts.serve.bill import Bill, BillingLedger, BillingSampler, Watcher
from agenttts.serve.refused import Refused, refusal_of
from agenttts.serve.telling import Made

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.retry import ClientEvent
    from agenttts.models.sampler import Sampler
    from agenttts.pipeline.plan import Plan
    from agenttts.serve.shrink import Fitted
    from agenttts.store.base import SampleStore

__all__ = ["Engine"]

PAYER = "serve"
"""Who the draws are billed to in the store."""


class Engine:
    """Answers problems with a plan. Opened and closed in the event loop that uses it.

    Raises:
        TrustError: The task names Python functions and is not trusted.
    """

    def __init__(
        self,
        plan: Plan,
        cost_model: CostModel,
        *,
        store_url: str | None = None,
        watchers: Sequence[Watcher] = (),
        on_event: Callable[[ClientEvent], None] | None = None,
    ) -> None:
        self.plan = plan
        self.cost_model = cost_model
        self._pipeline = Pipeline.build(plan.task)
        self._store_url = store_url
        self._ledger = BillingLedger(watchers)
        self._on_event = on_event
        self._store: SampleStore | None = None
        self._shared: Sampler | None = None

    async def open(self) -> None:
        """Open store and connections.

        Raises:
            AuthenticationError: The environment lacks a key that a model of the plan needs.
            StoreError: The store cannot be opened.
        """
        from agenttts.models.clients import Clients
        from agenttts.models.sampler import StoredSampler
        from agenttts.store.sql import open_store

        self._clients = Clients(self.plan.task.cards, on_event=self._on_event)
        for choice in self.plan.allocation.choices:
            if choice.below != 0:
                self._clients.client(choice.model)  # the first request should not wait for imports
        if self._store_url is not None:
            self._store = open_store(self._store_url)
            self._shared = StoredSampler(self._clients, self._store, self._ledger, PAYER)

    async def aclose(self) -> None:
        """Close connections and store."""
        await self._clients.aclose()
        if self._store is not None:
            await self._store.aclose()

    async def answer(
        self,
        problem: Problem,
        allocation: Allocation,
        bill: Bill,
        *,
        seed: int = 0,
        fitted: Fitted | None = None,
    ) -> Made:
        """Take a problem through the plan.

        Args:
            problem: The problem.
            allocation: The plan's, or a smaller one.
            bill: Filled with the calls, also of a pass that fails.
            seed: Shifts the seeds of all draws.
            fitted: Where `allocation` comes from, if it is a smaller one.

        Raises:
            Refused: A stage failed, with its cause.
        """
        sampler = BillingSampler(self._shared or self._alone(), bill)
        try:
            outputs = await self._pipeline.outputs(
                problem, allocation, clients=Reseeded(self._clients, seed), sampler=sampler
            )
        except Exception as error:
            raise refusal_of(error, _stage_of(error, bill)) from error
        _check_verified(outputs, bill)
        costs = self._pipeline.charged(outputs, self.cost_model)
        final = outputs[self.plan.task.scored_stage]
        return Made(allocation, outputs, costs, final, bill, fitted)

    def _alone(self) -> Sampler:
        from agenttts.models.sampler import StoredSampler
        from agenttts.store.memory import MemoryStore

        return StoredSampler(self._clients, MemoryStore(), self._ledger, PAYER)


def _stage_of(error: Exception, bill: Bill) -> str:
    """Return the stage that a draw failed at; empty: no draw did. What stops a run is raised without its stage."""
    return next((stage for stage, _, failed in bill.failures if failed is error), "")


def _check_verified(outputs: Mapping[str, StageOutput], bill: Bill) -> None:
    """Refuse a selection by a verifier that gave no score at all because its provider failed.

    Without a score any sample would do, and the answer would be one that the plan was not measured with.
    """
    failed = {stage: error for stage, purpose, error in bill.failures if purpose == "verify"}
    for name, output in outputs.items():
        judged = output.judged
        if name in failed and judged.n_samples and judged.n_unscored == judged.n_samples:
            raise _unverified(failed[name], name)


def _unverified(error: ProviderError, stage: str) -> Refused:
    refused = refusal_of(error, stage)
    refused.message = f"no sample could be scored: {refused.message}"
    refused.detail = f"no sample could be scored: {refused.detail}"
    return refused

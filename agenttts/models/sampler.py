"""Draws that are kept: what the store holds is taken from it, only the rest is paid for.

The one place where store, ledger and clients meet. Identical requests in flight are joined, so that nothing is drawn
twice; a cancelled draw stops spending, and a reply that has arrived is stored whatever happens.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from agenttts.models.base import CallUsage, Reply, Request, Sample
from agenttts.models.clients import Clients
from agenttts.store.base import PaidCall, SampleStore

__all__ = ["Drawn", "Ledger", "Reservation", "Sampler", "StoredSampler", "StoringMeter"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Draws 0 to n - 1 of a stream."""

    samples: tuple[Sample, ...]
    n_paid: int
    """Of these draws, those paid for by this very call."""
    n_reused: int
    """The others: from the store, or paid for by another call that asked for the same at the same time."""


@runtime_checkable
class Sampler(Protocol):
    """What the pipeline draws from."""

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """Return draws 0 to `n` - 1 of the request's stream.

        Raises:
            ProviderError: The endpoint gave fewer.
            RecordedMissError: A recording holds fewer.
            SearchBudgetExhausted: The missing draws may not be paid for.
        """
        ...


class Reservation(Protocol):
    """Spending that was allowed and has not happened yet."""

    def settle(self, usage: CallUsage | None) -> None:
        """Replace the worst case by what the call cost; `None`: nothing."""
        ...


class Ledger(Protocol):
    """Allows spending before it happens; `agenttts.budgets.ledger.SpendingLedger` is the real one."""

    async def reserve(self, model: str, worst: CallUsage, *, purpose: str = "draw") -> Reservation:
        """Allow one call at its worst case, or raise SearchBudgetExhausted."""
        ...


class StoredSampler:
    """Sampler over a store, with spending on a ledger."""

    def __init__(self, clients: Clients, store: SampleStore, ledger: Ledger, study_id: str) -> None:
        self._clients = clients
        self._store = store
        self._ledger = ledger
        self._study_id = study_id
        self._flights: dict[str, _Flight] = {}
        self._at_work: Counter[str] = Counter()
        self._drawn: Counter[str] = Counter()

    @property
    def by_stage(self) -> dict[str, tuple[int, int]]:
        """Stage -> requests for draws at work now, and those that have ended, since this sampler was made."""
        stages = dict.fromkeys([*self._drawn, *self._at_work])
        return {stage: (self._at_work[stage], self._drawn[stage]) for stage in stages}

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """Return draws 0 to `n` - 1, paying for those that the store lacks; see `Sampler.sample`.

        A draw that fails fails for everybody who has joined it, with the same error.
        """
        n_paid = 0
        while True:
            flight = self._flying(request.key)
            if flight is None:
                held = await self._store.get(request, n)
                if len(held) >= n:
                    n_paid = min(n_paid, n)
                    return Drawn(tuple(held), n_paid, n - n_paid)
                # Somebody else may have started while the store was read; there is no await between here and there.
                flight = self._flying(request.key) or self._launch(request, n, purpose)
            samples = await _join(flight)
            n_paid += flight.claim()
            if len(samples) >= n:
                n_paid = min(n_paid, n)
                return Drawn(tuple(samples[:n]), n_paid, n - n_paid)

    def _flying(self, key: str) -> _Flight | None:
        """Return the flight under way. One that has ended gives nothing more, and waiting for it would not even pause."""
        flight = self._flights.get(key)
        return None if flight is None or flight.task.done() else flight

    def _launch(self, request: Request, n: int, purpose: str) -> _Flight:
        flight = _Flight()
        flight.task = asyncio.get_running_loop().create_task(self._fly(flight, request, n, purpose))
        self._flights[request.key] = flight
        flight.task.add_done_callback(lambda _: self._landed(request.key, flight))
        return flight

    def _landed(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:  # the next one may be under way already
            del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # waiters have it; where all of them are gone nobody needs it

    async def _fly(self, flight: _Flight, request: Request, n: int, purpose: str) -> list[Sample]:
        held = await self._store.get(request, n)
        missing = _missing({sample.index for sample in held}, n)
        if not missing:
            return held
        await self._clients.ready()
        self._at_work[request.stage] += 1
        meter = StoringMeter(self._store, self._ledger, request, self._study_id, purpose)
        try:
            client = self._clients.client(request.model)
            for first, count in missing:
                await client.draw(request, first, count, meter)
        finally:
            self._at_work[request.stage] -= 1
            self._drawn[request.stage] += 1
            await meter.stored()
        flight.n_paid = sum(count for _, count in missing)
        # What the store holds is what counts: where another process was first, its draws are the stream.
        return await self._store.get(request, n)


def _missing(held: Container[int], n: int) -> list[tuple[int, int]]:
    """Return (first, count) of each run of draws below `n` that are not held."""
    runs: list[tuple[int, int]] = []
    for index in range(n):
        if index in held:
            continue
        first, count = runs[-1] if runs else (index, 0)
        if count and first + count == index:
            runs[-1] = (first, count + 1)
        else:
            runs.append((index, 1))
    return runs


class _Flight:
    """One draw in flight and those who wait for it."""

    task: asyncio.Task[list[Sample]]

    def __init__(self) -> None:
        self.n_waiting = 0
        self.cancelled = False
        self.n_paid = 0

    def claim(self) -> int:
        """Return the draws paid for by this flight to the first who asks, 0 to the others: counted once."""
        n_paid, self.n_paid = self.n_paid, 0
        return n_paid


async def _join(flight: _Flight) -> list[Sample]:
    """Wait for a flight. The last one to give up waiting cancels it, and stays until it has stored what it has."""
    if flight.cancelled:
        await asyncio.wait([flight.task])
        return []
    flight.n_waiting += 1
    try:
        return await asyncio.shield(flight.task)
    except asyncio.CancelledError:
        if flight.n_waiting == 1 and not flight.task.done():
            flight.cancelled = True
            flight.task.cancel()
            await asyncio.wait([flight.task])
        raise
    finally:
        flight.n_waiting -= 1


class StoringMeter:
    """Meter that reserves before each provider call, settles after it, and stores each reply as soon as it is there."""

    def __init__(
        self, store: SampleStore, ledger: Ledger, request: Request, study_id: str, purpose: str
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._request = request
        self._study_id = study_id
        self._purpose = purpose
        self._puts: list[asyncio.Task[None]] = []

    async def before(self, worst: CallUsage) -> Callable[[Reply | None], None]:
        """See `Meter.before`."""
        reservation = await self._ledger.reserve(self._request.model, worst, purpose=self._purpose)

        def settle(reply: Reply | None) -> None:
            reservation.settle(None if reply is None else reply.usage)
            if reply is not None:
                self._puts.append(asyncio.get_running_loop().create_task(self._put(reply)))

        return settle

    async def _put(self, reply: Reply) -> None:
        paid = PaidCall(self._study_id, self._request.model, self._purpose, reply.usage)
        await self._store.put(self._request, reply.samples, paid)

    async def stored(self) -> None:
        """Wait until all replies are stored; a cancel does not stop that."""
        if self._puts:
            done: asyncio.Future[Any] = asyncio.gather(*self._puts)
            await asyncio.shield(done)

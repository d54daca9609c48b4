"""Draws that the studies of a comparison share: really paid for once, billed to each study as if it were alone.

Each study keeps its own store and ledger, which know nothing of the others. Between them and the provider stands a pool:
what it holds is handed over and billed at its recorded usage; what it lacks is drawn, kept there first and billed to
the comparison. Draws are numbered, so all studies see the same ones, and a study in a comparison decides, reserves and
spends exactly as the same study would by itself.

Two things are not imitated, for only the provider knows them: replies that were billed and could not be used, and a
server that ignores `n` (its calls are billed as if it did not).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from agenttts.models.base import CallUsage, Meter, ModelClient, Reply, Request, Sample
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoringMeter
from agenttts.models.tokens import most_prompt_tokens
from agenttts.study.session import Session, open_session

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.cost import Budget
    from agenttts.models.probe import Probe
    from agenttts.models.retry import ClientEvent
    from agenttts.store.base import SampleStore
    from agenttts.study.planner import PlannerSetup
    from agenttts.task.task import Task

__all__ = ["Claims", "DrawPool", "PooledClient", "PooledClients", "PooledSessions"]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.005, 0.25
"""Waiting for another process to finish drawing: the first look again, and the most between two looks."""


class PooledSessions:
    """Opens sessions that share draws; a `SessionFactory`.

    Args:
        pool_url: Store of the shared draws.
        payer: What real spending is billed to in that store.
        claims: File by which the processes of a comparison agree on who draws what.
    """

    def __init__(self, pool_url: str, payer: str, claims: Path) -> None:
        self._pool_url = pool_url
        self._payer = payer
        self._claims = claims

    @asynccontextmanager
    async def __call__(
        self,
        task: Task,
        *,
        store_url: str,
        study_id: str,
        cap: Budget | None,
        on_wait: Callable[[str], None],
        planner: PlannerSetup | None = None,
    ) -> AsyncIterator[Session]:
        """See `SessionFactory`."""
        from agenttts.store.sql import open_store

        store = open_store(self._pool_url)
        claims = Claims(self._claims)
        pool = DrawPool(store, self._payer, claims)

        def make_clients(
            cards: Mapping[str, ModelCard],
            *,
            on_event: Callable[[ClientEvent], None] | None = None,
            probe: Probe | None = None,
        ) -> Clients:
            return PooledClients(cards, pool, on_event=on_event, probe=probe)

        try:
            async with open_session(
                task,
                store_url=store_url,
                study_id=study_id,
                cap=cap,
                on_wait=on_wait,
                planner=planner,  # its replies belong to one study and are not shared
                make_clients=make_clients,
            ) as session:
                yield session
        finally:
            claims.close()
            await store.aclose()


class PooledClients(Clients):
    """Clients that look into the pool before they draw."""

    def __init__(
        self,
        cards: Mapping[str, ModelCard],
        pool: DrawPool,
        *,
        on_event: Callable[[ClientEvent], None] | None = None,
        probe: Probe | None = None,
    ) -> None:
        super().__init__(cards, on_event=on_event, probe=probe)
        self._pool = pool
        self._pooled: dict[str, PooledClient] = {}

    def client(self, model: str) -> ModelClient:
        """Return the client of a model; the provider's own is made when the pool lacks a draw."""
        if model not in self._pooled:
            inner, ready = super().client, super().ready
            self._pooled[model] = PooledClient(
                self._card(model), lambda: _Readied(inner(model), ready), self._pool
            )
        return self._pooled[model]

    async def ready(self) -> None:
        """Nothing: what the pool holds needs no server."""


@dataclass(frozen=True)
class _Readied:
    """A client that draws once it is known that whatever will be asked takes connections."""

    inner: ModelClient
    ready: Callable[[], Awaitable[None]]

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        await self.ready()
        return await self.inner.draw(request, first, n, meter)


class PooledClient:
    """Draws of one card by way of the pool.

    Args:
        card: Tells how many draws one request may ask for, and whether drawing costs anything.
        inner: Makes the client that draws what the pool lacks.
        pool: The shared draws.
    """

    def __init__(self, card: ModelCard, inner: Callable[[], ModelClient], pool: DrawPool) -> None:
        self._card = card
        self._inner = inner
        self._pool = pool

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return draws `first` to `first + n - 1`; see `ModelClient.draw`."""
        # As the providers' clients do: one call for as many draws as a request may ask for, all calls at once.
        most = n if self._is_local or self._card.judges else self._card.max_n
        spans = [(start, min(most, first + n - start)) for start in range(first, first + n, max(1, most))]
        outcomes = await asyncio.gather(
            *(self._span(request, start, count, meter) for start, count in spans), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        samples = [
            sample
            for outcome in outcomes
            for sample in (getattr(outcome, "partial", ()) if isinstance(outcome, BaseException) else outcome)
        ]
        if errors:
            vars(errors[0])["partial"] = samples
            raise errors[0]
        return samples

    @property
    def _is_local(self) -> bool:
        """Drawing costs nothing but time, is one call whatever `n`, and its size is reserved as it turns out."""
        return self._card.source in {"tiny", "recorded"}

    async def _span(self, request: Request, first: int, n: int, meter: Meter | None) -> list[Sample]:
        if meter is None:
            return await self._pool.take(request, first, n, self._inner)
        if self._is_local:
            samples = await self._pool.take(request, first, n, self._inner)
            (await meter.before(self._local_worst(request, samples)))(self._reply(samples))
            return samples
        decode = () if self._card.judges else (request.sampling.max_tokens,) * n
        worst = CallUsage(most_prompt_tokens(request.messages), decode)
        settle = await meter.before(worst)
        samples = []
        try:
            samples = await self._pool.take(request, first, n, self._inner)
        except BaseException as error:
            samples = list(getattr(error, "partial", ()))
            raise
        finally:
            settle(self._reply(samples) if samples else None)
        return samples

    def _reply(self, samples: Sequence[Sample]) -> Reply:
        return Reply(tuple(samples), self._usage(samples))

    def _usage(self, samples: Sequence[Sample]) -> CallUsage:
        """Return what one call for these draws is billed."""
        return CallUsage(
            max(sample.prefill_tokens for sample in samples),
            () if self._card.judges else tuple(sample.decode_tokens for sample in samples),
            samples[0].cached_prefill_tokens,
            samples[0].counted_by,
        )

    def _local_worst(self, request: Request, samples: Sequence[Sample]) -> CallUsage:
        usage = self._usage(samples)
        if self._card.source == "recorded" or not usage.decode_tokens:
            return usage
        return CallUsage(usage.prefill_tokens, (request.sampling.max_tokens,) * len(samples))


class DrawPool:
    """The shared draws, and the bills of those that were really bought."""

    def __init__(self, store: SampleStore, payer: str, claims: Claims) -> None:
        self._store = store
        self._payer = payer
        self._claims = claims

    async def take(
        self, request: Request, first: int, n: int, inner: Callable[[], ModelClient]
    ) -> list[Sample]:
        """Return draws `first` to `first + n - 1`, buying those that nobody has bought yet.

        Raises:
            ProviderError, RecordedMissError: See `ModelClient.draw`; `partial` holds the draws that are there.
        """
        held = await self._held(request, first, n)
        if len(held) == n:
            return held
        async with self._claims.hold(request.key):
            held = await self._held(request, first, n)  # another process may have drawn them meanwhile
            missing = _runs({sample.index for sample in held}, first, n)
            meter = StoringMeter(self._store, _OpenLedger(), request, self._payer, "draw")
            try:
                for start, count in missing:
                    await inner().draw(request, start, count, meter)
            except Exception as error:
                await meter.stored()
                vars(error)["partial"] = await self._held(request, first, n)
                raise
            finally:
                await meter.stored()
        return await self._held(request, first, n)

    async def _held(self, request: Request, first: int, n: int) -> list[Sample]:
        return [sample for sample in await self._store.get(request, first + n) if sample.index >= first]


def _runs(held: set[int], first: int, n: int) -> list[tuple[int, int]]:
    """Return (first, count) of each run of draws that are not held."""
    runs: list[tuple[int, int]] = []
    for index in range(first, first + n):
        if index in held:
            continue
        if runs and sum(runs[-1]) == index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


class _OpenLedger:
    """Allows everything: each study has reserved on its own ledger before it asks."""

    async def reserve(self, model: str, worst: CallUsage, *, purpose: str = "draw") -> _Nothing:
        return _Nothing()


class _Nothing:
    def settle(self, usage: CallUsage | None) -> None:
        """The store keeps the bill."""


@dataclass
class _Claim:
    taken: asyncio.Future[None]
    n_holders: int = 0


class Claims:
    """Lets one process at a time draw from a stream: two that lack the same draws would both pay for them.

    A claim is a lock on one byte of a file, so that claims of different streams never wait for each other and those
    of a process that died are free at once. Coroutines of one process share a claim; they never ask for the same draws.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._claims: dict[int, _Claim] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the claim to the stream of a key."""
        place = int(key[:12], 16)
        claim = self._claims.get(place)
        if claim is None:
            claim = self._claims[place] = _Claim(asyncio.ensure_future(self._take(place)))
        claim.n_holders += 1
        try:
            await asyncio.shield(claim.taken)
            yield
        finally:
            claim.n_holders -= 1
            if not claim.n_holders:
                del self._claims[place]
                # Where nobody waits any more it may not be taken yet, and then must not be.
                if not claim.taken.cancel() and not claim.taken.cancelled():
                    _release(self._file, place)

    def close(self) -> None:
        """Let go of all claims."""
        self._file.close()

    async def _take(self, place: int) -> None:
        wait_s = FIRST_WAIT_S
        while not _acquire(self._file, place):
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)


if sys.platform == "win32":
    import msvcrt

    def _acquire(file: IO[bytes], place: int) -> bool:
        # Positions in a file end below 2**31 there: two streams may share a byte and wait for each other.
        file.seek(place % (1 << 30))
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(file: IO[bytes], place: int) -> None:
        file.seek(place % (1 << 30))
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _acquire(file: IO[bytes], place: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def _release(file: IO[bytes], place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)

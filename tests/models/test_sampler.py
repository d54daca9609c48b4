from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import RequestRefusedError, SearchBudgetExhausted
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample
from agenttts.models.clients import Clients
from agenttts.models.sampler import Sampler, StoredSampler
from agenttts.store.base import SampleStore
from agenttts.store.sql import open_store
from tests.models.conftest import ask, card
from tests.models.local_server import Answer, LocalServer, completion, error


@dataclass
class GatedClient:
    """Every draw is a call of its own, which ends when the test lets it."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[int, int]] = field(default_factory=list)
    n_cancelled: int = 0

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        self.asked.append((first, n))
        samples = []
        try:
            for index in range(first, first + n):
                settle: Callable[[Reply | None], None] | None = None
                if meter is not None:
                    settle = await meter.before(CallUsage(10, (10,)))
                sample = Sample(index, f"text {index}", "stop", 5, 3)
                if settle is not None:
                    settle(Reply((sample,), CallUsage(5, (3,))))
                samples.append(sample)
                await self.gate.wait()
        except asyncio.CancelledError:
            self.n_cancelled += 1
            raise
        return samples


@dataclass
class Bench:
    clients: Clients
    store: SampleStore
    ledger: SpendingLedger
    sampler: Sampler


@pytest.fixture(params=["memory:", "sqlite"])
async def bench(
    request: pytest.FixtureRequest, server: LocalServer, tmp_path: object
) -> AsyncIterator[Bench]:
    url = f"sqlite:///{tmp_path}/draws.db" if request.param == "sqlite" else request.param
    clients = Clients({"m": card(server.url, parameters=1e9)})
    store = open_store(url)
    ledger = SpendingLedger(CostModel({"m": card(server.url, parameters=1e9)}), None)
    yield Bench(clients, store, ledger, StoredSampler(clients, store, ledger, "study"))
    await clients.aclose()
    await store.aclose()


async def test_only_what_is_missing_is_paid_for(bench: Bench, server: LocalServer) -> None:
    request = ask(bench.clients)
    first = await bench.sampler.sample(request, 2)
    more = await bench.sampler.sample(request, 5)
    less = await bench.sampler.sample(request, 3)
    assert [(drawn.n_paid, drawn.n_reused) for drawn in (first, more, less)] == [(2, 0), (3, 2), (0, 3)]
    assert more.samples[:2] == first.samples
    assert less.samples == more.samples[:3]
    assert len(server.bodies) == 5


async def test_the_store_and_the_ledger_hold_the_bill_of_every_http_request(bench: Bench) -> None:
    await bench.sampler.sample(ask(bench.clients), 3, purpose="fusion")
    paid = await bench.store.paid("study")
    assert [(call.purpose, call.usage.prefill_tokens, call.usage.decode_tokens) for call in paid] == [
        ("fusion", 7, (3,))
    ] * 3
    assert bench.ledger.spent.prefill_tokens == 21
    assert bench.ledger.spent.decode_tokens == 9


async def test_a_billed_reply_that_cannot_be_used_is_on_the_bill(bench: Bench, server: LocalServer) -> None:
    server.then.append(Answer(body=completion({"model": "m"}, contents=[None])))
    await bench.sampler.sample(ask(bench.clients), 1)
    assert len(await bench.store.paid("study")) == 2
    assert bench.ledger.spent.prefill_tokens == 14


async def test_identical_requests_in_flight_are_drawn_once(bench: Bench, server: LocalServer) -> None:
    server.always = lambda body: Answer(after_s=0.05)
    request = ask(bench.clients)
    drawn = await asyncio.gather(*(bench.sampler.sample(request, n) for n in (2, 3, 3, 1)))
    assert len(server.bodies) == 3
    assert sum(each.n_paid for each in drawn) == 3
    assert [len(each.samples) for each in drawn] == [2, 3, 3, 1]
    assert all(each.n_paid + each.n_reused == len(each.samples) for each in drawn)


async def test_a_failure_is_the_same_for_all_who_joined(bench: Bench, server: LocalServer) -> None:
    server.always = lambda body: error(400, "too long")
    request = ask(bench.clients)
    outcomes = await asyncio.gather(
        *(bench.sampler.sample(request, 2) for _ in range(3)), return_exceptions=True
    )
    assert isinstance(outcomes[0], RequestRefusedError)
    assert all(outcome is outcomes[0] for outcome in outcomes)
    assert len(server.bodies) == 2


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_what_arrived_beside_a_failure_is_kept(bench: Bench, server: LocalServer, failing: int) -> None:
    request = ask(bench.clients)
    server.always = lambda body: (
        error(400) if body["seed"] == request.base_seed + failing else completion(body)
    )
    with pytest.raises(RequestRefusedError):
        await bench.sampler.sample(request, 3)
    server.always = None
    drawn = await bench.sampler.sample(request, 3)
    assert [sample.index for sample in drawn.samples] == [0, 1, 2]
    assert (drawn.n_paid, drawn.n_reused) == (1, 2)


async def test_cancelling_one_waiter_leaves_the_others(bench: Bench) -> None:
    client = GatedClient()
    bench.clients.add("m", client)
    request = ask(bench.clients)
    tasks = [asyncio.create_task(bench.sampler.sample(request, 2)) for _ in range(2)]
    await _until(lambda: bool(client.asked))
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    client.gate.set()
    assert len((await tasks[1]).samples) == 2
    assert client.asked == [(0, 2)]


async def test_cancelling_all_waiters_stops_spending_and_keeps_what_arrived(bench: Bench) -> None:
    client = GatedClient()
    bench.clients.add("m", client)
    request = ask(bench.clients)
    tasks = [asyncio.create_task(bench.sampler.sample(request, 2)) for _ in range(2)]
    await _until(lambda: bench.ledger.n_calls == 1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert client.n_cancelled == 1
    assert len(await bench.store.get(request, 2)) == 1
    client.gate.set()
    again = await bench.sampler.sample(request, 2)
    assert (again.n_paid, again.n_reused) == (1, 1)
    assert client.asked == [(0, 2), (1, 1)]


async def test_who_comes_while_a_cancelled_draw_lands_starts_anew(bench: Bench) -> None:
    client = GatedClient()
    bench.clients.add("m", client)
    request = ask(bench.clients)
    first = asyncio.create_task(bench.sampler.sample(request, 2))
    await _until(lambda: bool(client.asked))
    first.cancel()
    second = asyncio.create_task(bench.sampler.sample(request, 2))
    client.gate.set()
    assert [sample.index for sample in (await second).samples] == [0, 1]
    assert first.cancelled() or first.cancelling()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("n_pauses", range(16))
async def test_who_asks_for_more_just_as_a_draw_lands_gets_more(bench: Bench, n_pauses: int) -> None:
    # Once an endless loop that never paused: a draw that has ended was waited for as if it were under way.
    client = GatedClient()
    bench.clients.add("m", client)
    request = ask(bench.clients)
    first = asyncio.create_task(bench.sampler.sample(request, 1))
    await _until(lambda: bool(client.asked))
    client.gate.set()
    for _ in range(n_pauses):
        await asyncio.sleep(0)
    more = await bench.sampler.sample(request, 3)
    assert [sample.index for sample in more.samples] == [0, 1, 2]
    assert (await first).samples == more.samples[:1]
    assert client.asked == [(0, 1), (1, 2)]


async def test_spending_never_passes_the_cap(bench: Bench, server: LocalServer) -> None:
    cost_model = CostModel({"m": card(server.url, parameters=1e9)})
    one_call = cost_model.charge("m", CallUsage(7, (3,)))
    assert one_call.flops is not None
    request = ask(bench.clients, "a" * 3, max_tokens=3)
    cap = Budget(
        5.5 * one_call.flops * 1e-9 * (35 + 3) / 10, Unit.GFLOPS
    )  # the bound on the prompt is 35 tokens
    ledger = SpendingLedger(cost_model, cap)
    sampler = StoredSampler(bench.clients, bench.store, ledger, "study")
    with pytest.raises(SearchBudgetExhausted):
        await sampler.sample(request, 500)
    assert ledger.spent_amount is not None
    assert 0 < ledger.spent_amount <= cap.amount
    held = await bench.store.get(request, 500)
    assert len(held) == len(await bench.store.paid("study")) > 5


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)

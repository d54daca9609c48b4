"""The cap on what a search pays holds whatever the concurrency."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.budgets.cards import ModelCard, Price
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import CardError, InputError, SearchBudgetExhausted
from agenttts.models.base import CallUsage
from agenttts.store.base import PaidCall

COSTS = CostModel(
    {
        "m": ModelCard(name="m", source="openai", parameters=5e8),  # one token is one GFLOP
        "dear": ModelCard(name="dear", source="openai", parameters=5e9),
    }
)


def ledger(cap: float | None, already: list[PaidCall] | None = None) -> SpendingLedger:
    return SpendingLedger(COSTS, None if cap is None else Budget(cap, Unit.GFLOPS), already or [])


def spent_gflops(of: SpendingLedger) -> float:
    assert of.spent.flops is not None
    return of.spent.flops / 1e9


async def granted(task: asyncio.Task[object]) -> bool:
    for _ in range(3):
        await asyncio.sleep(0)
    return task.done()


async def test_what_was_billed_counts_not_what_was_reserved() -> None:
    book = ledger(100)
    (await book.reserve("m", CallUsage(10, (90,)))).settle(CallUsage(10, (5,)))
    assert spent_gflops(book) == 15
    assert book.spent_amount == pytest.approx(15)
    assert book.n_calls == 1


async def test_a_failed_call_frees_its_room_and_costs_nothing() -> None:
    book = ledger(100)
    (await book.reserve("m", CallUsage(10, (90,)))).settle(None)
    (await book.reserve("m", CallUsage(10, (90,)))).settle()
    assert spent_gflops(book) == 0
    assert book.n_calls == 0
    await book.reserve("m", CallUsage(10, (90,)))


async def test_a_call_of_several_requests_is_billed_for_each() -> None:
    book = ledger(100)
    reservation = await book.reserve("m", CallUsage(10, (20,)), CallUsage(10, (20,)))
    reservation.settle(CallUsage(10, (3,)), None, CallUsage(10, (4,)))
    assert spent_gflops(book) == 27
    assert book.n_calls == 2


async def test_a_call_waits_while_those_in_flight_may_settle_lower() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (60,)))
    second = asyncio.create_task(book.reserve("m", CallUsage(0, (60,))))
    assert not await granted(second)
    first.settle(CallUsage(0, (40,)))
    (await second).settle(CallUsage(0, (60,)))
    assert spent_gflops(book) == 100


async def test_a_call_is_refused_when_nothing_in_flight_can_make_room() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (60,)))
    second = asyncio.create_task(book.reserve("m", CallUsage(0, (60,))))
    await asyncio.sleep(0)
    first.settle(CallUsage(0, (41,)))
    with pytest.raises(SearchBudgetExhausted):
        await second
    (await book.reserve("m", CallUsage(0, (59,)))).settle(CallUsage(0, (59,)))  # a smaller one still fits


async def test_the_refusal_tells_cap_spent_need_and_how_to_go_on() -> None:
    book = ledger(1000, [PaidCall("s", "m", "draw", CallUsage(400, (500,)))])
    with pytest.raises(SearchBudgetExhausted) as caught:
        await book.reserve("dear", CallUsage(10, (10,)))
    message = str(caught.value)
    for part in (
        "1,000 GFLOPs",
        "900 GFLOPs are spent",
        "next call to dear may need 200 GFLOPs",
        "--search-budget",
    ):
        assert part in message


async def test_calls_start_in_the_order_of_asking() -> None:
    book = ledger(100)
    first, other = await book.reserve("m", CallUsage(0, (60,))), await book.reserve("m", CallUsage(0, (40,)))
    large = asyncio.create_task(book.reserve("m", CallUsage(0, (90,))))
    small = asyncio.create_task(book.reserve("m", CallUsage(0, (5,))))
    assert not await granted(large)
    first.settle(CallUsage(0, (5,)))
    assert not await granted(small)  # it would fit, and would starve the large one
    other.settle(None)
    assert await granted(large)
    assert await granted(small)


async def test_a_large_call_is_refused_and_the_small_one_behind_it_starts() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (100,)))
    large = asyncio.create_task(book.reserve("m", CallUsage(0, (90,))))
    small = asyncio.create_task(book.reserve("m", CallUsage(0, (5,))))
    await asyncio.sleep(0)
    first.settle(CallUsage(0, (20,)))
    with pytest.raises(SearchBudgetExhausted):
        await large
    (await small).settle(CallUsage(0, (5,)))
    assert spent_gflops(book) == 25


async def test_a_cancelled_wait_makes_way_for_those_behind_it() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (60,)))
    large = asyncio.create_task(book.reserve("m", CallUsage(0, (90,))))
    small = asyncio.create_task(book.reserve("m", CallUsage(0, (40,))))
    assert not await granted(small)
    large.cancel()
    assert await granted(small)
    (await small).settle(None)
    first.settle(None)
    assert large.cancelled()


async def test_a_call_cancelled_at_the_moment_it_is_granted_gives_its_room_back() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (100,)))
    second = asyncio.create_task(book.reserve("m", CallUsage(0, (100,))))
    await asyncio.sleep(0)
    first.settle(None)  # grants the second, which has not run yet
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await asyncio.wait_for(book.reserve("m", CallUsage(0, (100,))), 1)


async def test_more_than_reserved_is_entered_as_it_was_paid() -> None:
    book = ledger(100)
    (await book.reserve("m", CallUsage(0, (50,)))).settle(CallUsage(0, (120,)))
    assert spent_gflops(book) == 120
    with pytest.raises(SearchBudgetExhausted):
        await book.reserve("m", CallUsage(0, (1,)))


async def test_a_reservation_is_settled_once() -> None:
    reservation = await ledger(100).reserve("m", CallUsage(0, (50,)))
    reservation.settle(None)
    with pytest.raises(RuntimeError, match="once"):
        reservation.settle(CallUsage(0, (1,)))


async def test_spending_is_told_by_model_and_purpose() -> None:
    book = ledger(None, [PaidCall("s", "m", "fusion", CallUsage(5, (5,)))])
    (await book.reserve("m", CallUsage(0, (9,)))).settle(CallUsage(10, (10,)))
    (await book.reserve("dear", CallUsage(0, (9,)), purpose="fusion")).settle(CallUsage(1, (2,)))
    assert {name: cost.flops for name, cost in book.spent_by_model.items()} == {"dear": 30e9, "m": 30e9}
    assert {name: cost.flops for name, cost in book.spent_by_purpose.items()} == {
        "draw": 20e9,
        "fusion": 40e9,
    }
    assert book.spent == Cost(60e9, 60e9, None, 16, 17, None)
    assert book.spent_amount is None


async def test_what_was_paid_before_a_resume_counts_against_the_cap() -> None:
    already = [PaidCall("s", "m", "draw", CallUsage(10, (20, 20)))] * 2
    book = ledger(110, already)
    assert spent_gflops(book) == 100
    with pytest.raises(SearchBudgetExhausted):
        await book.reserve("m", CallUsage(5, (6,)))
    await book.reserve("m", CallUsage(5, (5,)))


async def test_the_cap_can_be_raised_and_lifted_while_calls_wait() -> None:
    book = ledger(100)
    first = await book.reserve("m", CallUsage(0, (100,)))
    second = asyncio.create_task(book.reserve("m", CallUsage(0, (30,))))
    third = asyncio.create_task(book.reserve("m", CallUsage(0, (30,))))
    assert not await granted(second)
    book.cap = Budget(130, Unit.GFLOPS)
    assert await granted(second)
    assert not third.done()
    book.cap = None
    assert await granted(third)
    for reservation in (first, await second, await third):
        reservation.settle(CallUsage(0, (1,)))
    book.cap = Budget(3, Unit.GFLOPS)
    with pytest.raises(SearchBudgetExhausted):
        await book.reserve("m", CallUsage(0, (1,)))


def test_a_cap_in_a_unit_that_cards_do_not_give_is_refused_at_once() -> None:
    with pytest.raises(CardError, match="price"):
        SpendingLedger(COSTS, Budget(1, Unit.USD))
    with pytest.raises(InputError, match="gflops"):
        SpendingLedger(COSTS, Budget(1, Unit.PAPER))


async def test_an_unknown_model_is_refused_without_a_cap_too() -> None:
    with pytest.raises(CardError, match="no model card"):
        await ledger(None).reserve("x", CallUsage(1, (1,)))


def test_a_cap_in_usd() -> None:
    price = Price(input_per_million_usd=1, output_per_million_usd=1)
    book = SpendingLedger(
        CostModel({"m": ModelCard(name="m", source="openai", price=price)}), Budget(1e-4, Unit.USD)
    )

    async def spend() -> None:
        for _ in range(10):
            (await book.reserve("m", CallUsage(5, (5,)))).settle(CallUsage(5, (5,)))
        with pytest.raises(SearchBudgetExhausted):
            await book.reserve("m", CallUsage(5, (5,)))

    asyncio.run(spend())
    assert book.spent_amount == pytest.approx(1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cap=st.floats(1, 3000),
    n_tasks=st.integers(1, 40),
    n_calls=st.integers(1, 4),
)
def test_concurrent_calls_never_pass_the_cap(seed: int, cap: float, n_tasks: int, n_calls: int) -> None:
    rng = random.Random(seed)
    book = ledger(cap)

    async def task() -> None:
        for _ in range(n_calls):
            prefill, most = rng.randint(0, 40), rng.randint(1, 60)
            name = rng.choice(["m", "m", "dear"])
            try:
                reservation = await book.reserve(name, CallUsage(prefill, (most, most)))
            except SearchBudgetExhausted:
                continue
            billed = CallUsage(prefill, (rng.choice([most, rng.randint(0, most)]), rng.randint(0, most)))
            fails = rng.random() < 0.2
            try:
                for _ in range(rng.randint(0, 4)):
                    await asyncio.sleep(0)
            finally:  # a cancelled call may have been billed as well
                reservation.settle(None if fails else billed)
            assert spent_gflops(book) <= cap * (1 + 1e-9)

    async def all_tasks() -> None:
        tasks = [asyncio.create_task(task()) for _ in range(n_tasks)]
        for unlucky in tasks[::5]:
            if rng.random() < 0.3:
                asyncio.get_running_loop().call_soon(unlucky.cancel)
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)  # nobody waits for ever
        failures = [task.exception() for task in tasks if not task.cancelled()]
        assert failures == [None] * len(failures)

    asyncio.run(all_tasks())
    assert spent_gflops(book) <= cap * (1 + 1e-9)
    left = int(cap - spent_gflops(book) - 1e-6)
    if left >= 1:  # all is settled, so all that is left can be had
        asyncio.run(book.reserve("m", CallUsage(0, (left,))))
    with pytest.raises(SearchBudgetExhausted):
        asyncio.run(ledger_like(book, cap).reserve("m", CallUsage(0, (left + 2,))))


def ledger_like(book: SpendingLedger, cap: float) -> SpendingLedger:
    """Return a ledger that begins with what another one has spent."""
    tokens = round(spent_gflops(book))
    return ledger(cap, [PaidCall("s", "m", "draw", CallUsage(tokens, ()))])


def test_a_price_that_no_card_gives_is_unknown_also_before_anything_is_paid() -> None:
    assert ledger(None).spent == Cost(usd=None, seconds=None)
    priced = ModelCard(
        name="p",
        source="openai",
        parameters=5e8,
        price=Price(input_per_million_usd=1, output_per_million_usd=1),
    )
    assert SpendingLedger(CostModel({"p": priced}), None).spent.usd == 0

"""What every sample store promises, as tests that its author inherits.

    class TestMyStore(DurableSampleStoreContract):
        @pytest.fixture
        def opener(self, tmp_path):
            return lambda: MyStore(tmp_path / "draws")

Each test gets an `opener` of its own: calls of it open the same store, which is empty at the start. No plug-in of
pytest is needed: the tests run their own event loops.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from agenttts.models.base import CallUsage, Message, Request, Sample, SamplingParameters
from agenttts.store.base import PaidCall, SampleStore

__all__ = ["DurableSampleStoreContract", "SampleStoreContract", "bill", "draw", "request_for"]

Opener = Callable[[], SampleStore]


def request_for(prompt: str, *, model: str = "some/model", endpoint: str = "here") -> Request:
    """Return a request with a prompt."""
    return Request(model, endpoint, (Message("user", prompt),), stage="solve", problem_id="p1")


def draw(index: int, text: str = "") -> Sample:
    """Return a draw."""
    return Sample(index, text or f"draw {index}", "stop", prefill_tokens=7, decode_tokens=index + 1)


def bill(
    samples: Sequence[Sample], *, study: str = "study", model: str = "some/model", purpose: str = "draw"
) -> PaidCall:
    """Return what one call that gave these draws is billed."""
    return PaidCall(study, model, purpose, CallUsage(7, tuple(sample.decode_tokens for sample in samples)))


async def keep(store: SampleStore, request: Request, *samples: Sample, study: str = "study") -> None:
    """Put draws with a bill for them."""
    await store.put(request, samples, bill(samples, study=study))


def _run(opener: Opener, case: Callable[[SampleStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = opener()
        try:
            await case(store)
        finally:
            await store.aclose()

    asyncio.run(run())


class SampleStoreContract:
    """Promises of every store."""

    def test_unknown_stream_is_empty(self, opener: Opener) -> None:
        """Nothing was put, nothing is held."""

        async def case(store: SampleStore) -> None:
            assert await store.get(request_for("a"), 3) == []
            assert await store.n_held([request_for("a").key]) == {request_for("a").key: 0}
            assert await store.paid("study") == []

        _run(opener, case)

    def test_draws_come_back_in_order_whatever_the_order_of_writing(self, opener: Opener) -> None:
        """The index of a draw decides, not when it was put."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            await keep(store, request, draw(2), draw(3))
            await keep(store, request, draw(1), draw(0))
            assert await store.get(request, 4) == [draw(0), draw(1), draw(2), draw(3)]

        _run(opener, case)

    def test_no_more_draws_than_asked_for(self, opener: Opener) -> None:
        """`n` is an upper limit; 0 asks for nothing."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            await keep(store, request, *(draw(i) for i in range(5)))
            assert await store.get(request, 2) == [draw(0), draw(1)]
            assert await store.get(request, 0) == []
            assert len(await store.get(request, 99)) == 5

        _run(opener, case)

    def test_draws_beyond_a_gap_are_held_too(self, opener: Opener) -> None:
        """Draw 2 is missing; what was paid for beside it must be found, or it would be paid for again."""

        async def case(store: SampleStore) -> None:
            request, late = request_for("a"), request_for("late")
            await keep(store, request, draw(0), draw(1), draw(3), draw(4))
            await keep(store, late, draw(1))
            assert await store.get(request, 5) == [draw(0), draw(1), draw(3), draw(4)]
            assert await store.get(request, 3) == [draw(0), draw(1)]
            assert await store.get(late, 2) == [draw(1)]
            assert await store.n_held([request.key, late.key]) == {request.key: 4, late.key: 1}
            await keep(store, request, draw(2))
            assert await store.get(request, 5) == [draw(i) for i in range(5)]
            assert await store.n_held([request.key]) == {request.key: 5}

        _run(opener, case)

    def test_first_writer_wins(self, opener: Opener) -> None:
        """A draw that is held stays as it is, also within one put; new ones beside it are kept."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            await keep(store, request, draw(0, "first"))
            await keep(store, request, draw(0, "second"), draw(1, "new"), draw(1, "newer"))
            assert [sample.text for sample in await store.get(request, 2)] == ["first", "new"]

        _run(opener, case)

    def test_both_payers_of_the_same_draw_are_billed(self, opener: Opener) -> None:
        """Two writers of one draw have both paid, though one draw is kept."""

        async def case(store: SampleStore) -> None:
            await keep(store, request_for("a"), draw(0, "first"))
            await keep(store, request_for("a"), draw(0, "second"))
            assert len(await store.paid("study")) == 2

        _run(opener, case)

    def test_streams_are_told_apart(self, opener: Opener) -> None:
        """Prompt, endpoint, model and sampling make a stream; stage and problem do not."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            await keep(store, request, draw(0))
            warmer = replace(request, sampling=SamplingParameters(temperature=1.3))
            for other in (
                request_for("b"),
                request_for("a", model="m"),
                request_for("a", endpoint="e"),
                warmer,
            ):
                assert await store.get(other, 1) == []
            assert await store.get(replace(request, stage="other", problem_id="p2"), 1) == [draw(0)]

        _run(opener, case)

    def test_every_field_survives(self, opener: Opener) -> None:
        """Also text that databases or encodings stumble over."""

        async def case(store: SampleStore) -> None:
            odd = "NUL \0, half an emoji \ud83d, whole \U0001f600, 漢字, 'quotes\" \\ \r\n \u2028 %s :x {0}"
            sample = Sample(
                index=0,
                text=odd,
                finish_reason="length",
                prefill_tokens=12,
                decode_tokens=3,
                cached_prefill_tokens=4,
                counted_by="server, split by chars/4",
                logprobs=(-0.1, -math.inf, 0.0),
                details={"reasoning": odd, "scores": [1, 0.5, None], "nested": {"a": True}},
            )
            request = request_for(odd)
            await keep(store, request, sample, replace(draw(1), text=""))
            assert await store.get(request, 2) == [sample, replace(draw(1), text="")]

        _run(opener, case)

    def test_bills_come_back_by_study_in_the_order_of_writing(self, opener: Opener) -> None:
        """With every field, and a bill without draws too: an unusable reply is billed all the same."""

        async def case(store: SampleStore) -> None:
            usages = [CallUsage(10, (1, 2), 5, "chars/4"), CallUsage(20, ()), CallUsage(30, (3,))]
            paid = [PaidCall("mine", f"m{i}", "fusion", usage) for i, usage in enumerate(usages)]
            await store.put(request_for("a"), [draw(0), draw(1)], paid[0])
            await store.put(request_for("x"), [draw(0)], PaidCall("theirs", "m", "draw", CallUsage(1, (1,))))
            await store.put(request_for("b"), [], paid[1])
            await store.put(request_for("a"), [draw(2)], paid[2])
            assert await store.paid("mine") == paid
            assert await store.get(request_for("b"), 1) == []

        _run(opener, case)

    def test_many_puts_at_once_are_all_kept(self, opener: Opener) -> None:
        """Concurrent writers and readers, one stream each and one stream for all."""

        async def case(store: SampleStore) -> None:
            shared, own = request_for("shared"), [request_for(f"own {i}") for i in range(150)]
            await asyncio.gather(
                *(keep(store, request, draw(0), draw(1)) for request in own),
                *(keep(store, shared, draw(i)) for i in range(150)),
                *(store.get(request, 2) for request in own),
            )
            assert await store.get(shared, 1000) == [draw(i) for i in range(150)]
            assert set((await store.n_held([request.key for request in own])).values()) == {2}
            assert len(await store.paid("study")) == 300

        _run(opener, case)

    def test_a_put_that_returned_is_seen_by_the_next_get(self, opener: Opener) -> None:
        """Reading grows with writing, without a stale answer in between."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            for i in range(5):
                await keep(store, request, draw(i))
                assert await store.get(request, 9) == [draw(j) for j in range(i + 1)]

        _run(opener, case)

    def test_a_returned_list_belongs_to_the_caller(self, opener: Opener) -> None:
        """Changing it does not change the store."""

        async def case(store: SampleStore) -> None:
            request = request_for("a")
            await keep(store, request, draw(0), draw(1))
            (await store.get(request, 2)).clear()
            assert await store.get(request, 2) == [draw(0), draw(1)]

        _run(opener, case)


class DurableSampleStoreContract(SampleStoreContract):
    """Promises of stores that outlive their process."""

    def test_everything_is_there_after_closing(self, opener: Opener) -> None:
        """Draws, counts and bills are read back by a store opened later."""

        async def write(store: SampleStore) -> None:
            await keep(store, request_for("a"), draw(0), draw(1))

        async def read(store: SampleStore) -> None:
            request = request_for("a")
            assert await store.get(request, 2) == [draw(0), draw(1)]
            assert await store.n_held([request.key]) == {request.key: 2}
            assert await store.paid("study") == [bill([draw(0), draw(1)])]

        _run(opener, write)
        _run(opener, read)

    def test_two_open_stores_see_each_other(self, opener: Opener) -> None:
        """What one has put the other gets, also where it has looked before; the first writer wins across them."""

        async def case(one: SampleStore) -> None:
            other, request = opener(), request_for("a")
            try:
                await keep(one, request, draw(0, "first"))
                await keep(other, request, draw(0, "second"), draw(1))
                for store in (one, other):
                    assert [sample.text for sample in await store.get(request, 9)] == ["first", "draw 1"]
                await keep(one, request, draw(2))
                assert len(await other.get(request, 9)) == 3
            finally:
                await other.aclose()

        _run(opener, case)

    def test_two_open_stores_write_at_once(self, opener: Opener) -> None:
        """Neither waits for ever, neither loses, whatever the order of their draws."""

        async def case(one: SampleStore) -> None:
            other, requests = opener(), [request_for(f"{i}") for i in range(40)]
            try:
                await asyncio.gather(
                    *(keep(one, request, draw(0, "one"), draw(1, "one")) for request in requests),
                    *(
                        keep(other, request, draw(1, "other"), draw(0, "other"))
                        for request in reversed(requests)
                    ),
                )
                for request in requests:
                    assert await one.get(request, 2) == await other.get(request, 2)
                assert len(await one.paid("study")) == 80
            finally:
                await other.aclose()

        _run(opener, case)

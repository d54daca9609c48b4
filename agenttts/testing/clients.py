"""The contract of sources of samples: what every `ModelClient` must do. Inherit it and give the two fixtures.

```python
class TestMyClient(ModelClientContract):
    @pytest.fixture
    async def client(self): ...

    @pytest.fixture
    def request_for(self): ...  # from a prompt's number (0, 1, 2) to a Request of at least 8 draws
```
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from agenttts.errors import SearchBudgetExhausted
from agenttts.models.base import CallUsage, ModelClient, Reply, Request, Sample

__all__ = ["ModelClientContract", "RecordingMeter"]


@dataclass
class RecordingMeter:
    """Allows `most_calls` calls and remembers what they cost."""

    most_calls: int | None = None
    worst: list[CallUsage] = field(default_factory=list)
    settled: list[Reply | None] = field(default_factory=list)

    @property
    def replies(self) -> list[Reply]:
        """What came back, in order of arrival."""
        return [reply for reply in self.settled if reply is not None]

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens billed, over all calls."""
        return sum(reply.usage.prefill_tokens for reply in self.replies)

    async def before(self, worst: CallUsage) -> Callable[[Reply | None], None]:
        """See `Meter.before`."""
        await asyncio.sleep(0)
        if self.most_calls is not None and len(self.worst) >= self.most_calls:
            raise SearchBudgetExhausted("the meter allows no further call")
        self.worst.append(worst)
        return self.settled.append


class ModelClientContract:
    """Tests that every source of samples passes."""

    same_draws_again = True
    """Whether draw i of a request is the same text each time; false for endpoints that know no seed."""

    async def test_draws_are_numbered_as_asked(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """Indices run from `first` without gaps."""
        samples = await client.draw(request_for(0), 2, 5)
        assert [sample.index for sample in samples] == [2, 3, 4, 5, 6]

    async def test_no_draws_cost_nothing(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """Asking for none calls nobody."""
        meter = RecordingMeter()
        assert await client.draw(request_for(0), 0, 0, meter) == []
        assert meter.worst == []

    async def test_a_draw_does_not_depend_on_how_it_is_asked_for(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """One by one, in parts or at once, alone or in company: the same texts."""
        if not self.same_draws_again:
            pytest.skip("this source does not repeat its draws")
        request = request_for(0)
        at_once = await client.draw(request, 0, 6)
        parts = [*await client.draw(request, 0, 2), *await client.draw(request, 2, 4)]
        calls = [client.draw(request, 3, 1), client.draw(request_for(1), 0, 4), client.draw(request, 5, 1)]
        fourth, _, sixth = await asyncio.gather(*calls)
        assert _law(parts) == _law(at_once)
        assert _law([*fourth, *sixth]) == _law([at_once[3], at_once[5]])

    async def test_every_sample_says_its_tokens(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """Counts are there, with who counted them."""
        for sample in await client.draw(request_for(1), 0, 3):
            assert sample.prefill_tokens > 0
            assert sample.decode_tokens >= 0
            assert 0 <= sample.cached_prefill_tokens <= sample.prefill_tokens
            assert sample.counted_by
            assert sample.finish_reason

    async def test_the_bill_is_that_of_the_calls_made(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """Every sample is in exactly one billed reply, and no reply costs more than its worst case."""
        meter = RecordingMeter()
        samples = await client.draw(request_for(2), 0, 7, meter)
        billed = [sample for reply in meter.replies for sample in reply.samples]
        assert sorted(sample.index for sample in billed) == [sample.index for sample in samples]
        decode = sum(sum(reply.usage.decode_tokens) for reply in meter.replies)
        assert decode >= sum(sample.decode_tokens for sample in samples)
        assert len(meter.settled) == len(meter.worst)
        assert sum(worst.prefill_tokens for worst in meter.worst) >= meter.prefill_tokens
        assert sum(sum(worst.decode_tokens) for worst in meter.worst) >= decode

    async def test_a_refused_call_is_not_made(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """The meter's refusal comes through and nothing is billed."""
        meter = RecordingMeter(most_calls=0)
        with pytest.raises(SearchBudgetExhausted):
            await client.draw(request_for(0), 0, 4, meter)
        assert meter.settled == []

    async def test_a_cancelled_draw_settles_its_calls(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """What was allowed before the cancel is accounted for after it."""
        meter = RecordingMeter()
        task = asyncio.create_task(client.draw(request_for(0), 0, 8, meter))
        while not meter.worst and not task.done():  # noqa: ASYNC110 - clients owe the meter no event
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert len(meter.settled) == len(meter.worst)

    async def test_samples_can_be_stored(
        self, client: ModelClient, request_for: Callable[[int], Request]
    ) -> None:
        """Texts are texts and details are JSON."""
        for sample in await client.draw(request_for(0), 0, 2):
            assert isinstance(sample.text, str)
            assert json.loads(json.dumps(dict(sample.details))) == dict(sample.details)


def _law(samples: list[Sample]) -> list[Sample]:
    """Return samples without what may differ between calls: cache hits and who split the count."""
    return [replace(sample, cached_prefill_tokens=0, counted_by="") for sample in samples]

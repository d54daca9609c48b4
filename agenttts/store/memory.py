"""A store that lives as long as its process: for tests, for plans that answer single problems, for comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from agenttts.errors import StoreError
from agenttts.models.base import Request, Sample
from agenttts.store.base import PaidCall

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps draws in dictionaries."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[int, Sample]] = {}
        self._paid: list[PaidCall] = []
        self._closed = False

    async def get(self, request: Request, n: int) -> list[Sample]:
        """See `SampleStore.get`."""
        self._check_open()
        stream = self._streams.get(request.key, {})
        return [stream[index] for index in sorted(stream) if index < n]

    async def put(self, request: Request, samples: Sequence[Sample], paid: PaidCall) -> None:
        """See `SampleStore.put`."""
        self._check_open()
        stream = self._streams.setdefault(request.key, {})
        for sample in samples:
            stream.setdefault(sample.index, sample)
        self._paid.append(paid)

    async def n_held(self, keys: Sequence[str]) -> dict[str, int]:
        """See `SampleStore.n_held`."""
        self._check_open()
        return {key: len(self._streams.get(key, {})) for key in keys}

    async def paid(self, study_id: str) -> list[PaidCall]:
        """See `SampleStore.paid`."""
        self._check_open()
        return [call for call in self._paid if call.study_id == study_id]

    async def aclose(self) -> None:
        """Forget everything."""
        self._closed = True
        self._streams.clear()
        self._paid.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the sample store is closed")

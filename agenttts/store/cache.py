"""Beginnings of streams kept in memory, so that a trial which reads its draws again does not ask the database.

Draws never change once written, so what is cached stays true, whatever other processes write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from agenttts.models.base import Sample

__all__ = ["StreamCache"]

SAMPLE_BYTES = 600
"""Memory of a sample without its text, roughly."""
LOGPROB_BYTES = 32


class StreamCache:
    """The beginnings of the streams used last, as far as they fit.

    Args:
        max_bytes: Memory that the samples may take, roughly.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._streams: OrderedDict[str, tuple[Sample, ...]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str, n: int) -> list[Sample] | None:
        """Return draws 0 to n - 1 of a stream, or `None` unless all of them are here."""
        with self._lock:
            stream = self._streams.get(key)
            if stream is None or len(stream) < n:
                return None
            self._streams.move_to_end(key)
            return list(stream[:n])

    def keep(self, key: str, samples: Sequence[Sample]) -> None:
        """Keep draws that the database holds; those that leave a gap to what is here are passed over."""
        with self._lock:
            stream = self._streams.pop(key, ())
            grown = _joined(stream, samples)
            self._bytes += sum(_weight(sample) for sample in grown[len(stream) :])
            if grown:
                self._streams[key] = grown
            while self._bytes > self._max_bytes:
                _, dropped = self._streams.popitem(last=False)
                self._bytes -= sum(_weight(sample) for sample in dropped)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._streams.clear()
            self._bytes = 0


def _joined(stream: tuple[Sample, ...], samples: Sequence[Sample]) -> tuple[Sample, ...]:
    fresh: list[Sample] = []
    for sample in sorted(samples, key=lambda sample: sample.index):
        if sample.index == len(stream) + len(fresh):
            fresh.append(sample)
    return (*stream, *fresh)


def _weight(sample: Sample) -> int:
    return SAMPLE_BYTES + 2 * len(sample.text) + LOGPROB_BYTES * len(sample.logprobs or ())

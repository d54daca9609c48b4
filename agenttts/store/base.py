"""The seam of the sample store: numbered streams of draws, kept for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agenttts.models.base import CallUsage, Request, Sample

__all__ = ["PaidCall", "SampleStore"]


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One call that this search really paid for."""

    study_id: str
    model: str
    purpose: str
    usage: CallUsage


@runtime_checkable
class SampleStore(Protocol):
    """Keeps every draw that was ever paid for."""

    async def get(self, request: Request, n: int) -> list[Sample]:
        """Return those of the stream's draws 0 to `n - 1` that are held, in order.

        There may be gaps: of several calls for one stream, one that failed leaves its draws out.
        """
        ...

    async def put(self, request: Request, samples: Sequence[Sample], paid: PaidCall) -> None:
        """Keep draws and the bill of the call that drew them, in one transaction, before returning.

        A draw that is already held stays as it is: the first one written wins, here and across processes.
        """
        ...

    async def n_held(self, keys: Sequence[str]) -> dict[str, int]:
        """Return how many draws are held for each stream key, 0 for unknown ones."""
        ...

    async def paid(self, study_id: str) -> list[PaidCall]:
        """Return every call that the study has paid for, in the order of writing."""
        ...

    async def aclose(self) -> None:
        """Write what is still to be written and let go of the database."""
        ...

"""What went on around the calls of a run: how long they stood still, and how often they were tried again. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CallCounts"]


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Waits and retries of one process, over all its endpoints."""

    n_waits: int = 0
    """Times that calls of a card came to a stand for a rate limit, its own or one that the server told."""
    waited_s: float = 0.0
    """How long they stood, in seconds; calls that stand side by side count once, cards add up."""
    waiting: int = 0
    """Calls that stand now."""
    retries: Mapping[str, int] = field(default_factory=dict)
    """Cause (`rate_limit`, `unavailable`, `timeout`, `malformed`, `no_connection`) -> calls sent again for it."""

    def __bool__(self) -> bool:
        """Return whether anything went on."""
        return bool(self.n_waits or self.retries)

    def __add__(self, other: CallCounts) -> CallCounts:
        return CallCounts(
            self.n_waits + other.n_waits,
            self.waited_s + other.waited_s,
            self.waiting + other.waiting,
            dict(Counter(self.retries) + Counter(other.retries)),
        )

    @property
    def n_retries(self) -> int:
        """Calls sent again, whatever the cause."""
        return sum(self.retries.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `from_json` reads it back."""
        return {
            "n_waits": self.n_waits,
            "waited_s": round(self.waited_s, 3),
            "waiting": self.waiting,
            "retries": dict(self.retries),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CallCounts:
        """Read what `to_json` wrote."""
        return cls(data["n_waits"], data["waited_s"], data["waiting"], dict(data["retries"]))

"""What a request really used: every provider call made for it, retries and repeated readings of a prompt included.

A sampler says for whom and for which stage it draws, a ledger is told of each call; what joins them is a context
variable, which the task that draws inherits. Draws that a store held were paid for earlier and are not on this bill.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from agenttts.budgets.cost import Cost, total
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import ProviderError
from agenttts.models.base import CallUsage, Request
from agenttts.models.sampler import Drawn, Sampler

__all__ = ["Bill", "BillingLedger", "BillingSampler", "Call", "Watcher"]


@dataclass(frozen=True, slots=True)
class Call:
    """One provider call."""

    stage: str
    model: str
    purpose: str
    usage: CallUsage | None
    """`None`: it failed and was not billed."""
    seconds: float


@dataclass
class Bill:
    """The calls of one request so far."""

    calls: list[Call] = field(default_factory=list)
    failures: list[tuple[str, str, ProviderError]] = field(default_factory=list)
    """(stage, purpose, error) of each draw that failed in all its attempts."""
    n_paid: int = 0
    """Draws paid for."""
    n_reused: int = 0
    """Draws that the store held."""

    def tokens(self, stage: str | None = None) -> tuple[int, int]:
        """Return the tokens read and written, of all stages or of one."""
        billed = [c.usage for c in self.calls if c.usage is not None and stage in {None, c.stage}]
        return sum(u.prefill_tokens for u in billed), sum(sum(u.decode_tokens) for u in billed)

    @property
    def cached_tokens(self) -> int:
        """Tokens that were read from a server's cache."""
        return sum(c.usage.cached_prefill_tokens for c in self.calls if c.usage is not None)

    def by_stage(self) -> dict[str, int]:
        """Return the number of calls by stage, failed ones included."""
        return dict(Counter(call.stage for call in self.calls))

    def cost(self, cost_model: CostModel) -> Cost:
        """Return what was spent."""
        return total(cost_model.charge(c.model, c.usage) for c in self.calls if c.usage is not None)


class Watcher(Protocol):
    """Is told of calls as they are made."""

    def begun(self, stage: str, model: str, purpose: str, n: int) -> Callable[[Call], None]:
        """Take note that a call begins; return what is to be told of its end."""
        ...


@dataclass(frozen=True)
class _Asked:
    """For whom is drawn."""

    bill: Bill
    stage: str


_ASKED: ContextVar[_Asked | None] = ContextVar("agenttts_serve_asked", default=None)


class BillingSampler:
    """The sampler of one request over one that may be shared by all."""

    def __init__(self, sampler: Sampler, bill: Bill) -> None:
        self._sampler = sampler
        self._bill = bill

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """See `Sampler.sample`."""
        token = _ASKED.set(_Asked(self._bill, request.stage))
        try:
            drawn = await self._sampler.sample(request, n, purpose=purpose)
        except ProviderError as error:
            self._bill.failures.append((request.stage, purpose, error))
            raise
        finally:
            _ASKED.reset(token)
        self._bill.n_paid += drawn.n_paid
        self._bill.n_reused += drawn.n_reused
        return drawn


class BillingLedger:
    """A ledger without a limit, which tells each call to the bill of the request that it is made for."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    async def reserve(self, model: str, worst: CallUsage, *, purpose: str = "draw") -> _OpenCall:
        """Take note of a call; see `Ledger.reserve`."""
        asked = _ASKED.get() or _Asked(Bill(), "")
        n = len(worst.decode_tokens)
        told = [watcher.begun(asked.stage, model, purpose, n) for watcher in self._watchers]
        return _OpenCall(asked, model, purpose, told)


class _OpenCall:
    def __init__(
        self, asked: _Asked, model: str, purpose: str, told: Sequence[Callable[[Call], None]]
    ) -> None:
        self._asked = asked
        self._model = model
        self._purpose = purpose
        self._told = told
        self._begun_s = time.monotonic()

    def settle(self, usage: CallUsage | None) -> None:
        """See `Reservation.settle`."""
        took_s = time.monotonic() - self._begun_s
        call = Call(self._asked.stage, self._model, self._purpose, usage, took_s)
        self._asked.bill.calls.append(call)
        for tell in self._told:
            tell(call)

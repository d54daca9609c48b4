"""What a search has really paid, and the cap on it.

A call is reserved at its worst case before it is made and settled at its true usage after it, so that calls in flight
can never together pass the cap. What a plan would cost in production is another matter (`cost_model.stage_costs`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agenttts.budgets.cost import Budget, Cost, Unit, amount, total
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import InputError, SearchBudgetExhausted
from agenttts.models.base import CallUsage
from agenttts.store.base import PaidCall

__all__ = ["Reservation", "SpendingLedger"]

ROUNDING = 1e-12
"""Share of the cap that sums of floating point numbers may be off by."""


class Reservation:
    """Room kept for one call. Settle it exactly once, also when the call fails or is cancelled."""

    def __init__(self, ledger: SpendingLedger, model: str, purpose: str, worst: Cost) -> None:
        self._ledger = ledger
        self._model = model
        self._purpose = purpose
        self._worst = worst
        self._open = True

    def settle(self, *usages: CallUsage | None) -> None:
        """Enter what was really billed, one usage per provider request; none or `None` means nothing was.

        More than was reserved is entered as it is, for it was paid.

        Raises:
            RuntimeError: The reservation was settled before.
        """
        if not self._open:
            raise RuntimeError("a reservation can be settled only once")
        self._open = False
        billed = [usage for usage in usages if usage is not None]
        self._ledger._settle(self._model, self._purpose, self._worst, billed)


@dataclass(slots=True)
class _Waiter:
    future: asyncio.Future[None]
    worst: Cost
    model: str


class SpendingLedger:
    """Adds up what was paid and lets no call start that could pass the cap.

    All methods are called from one event loop. A task that holds a reservation must settle it before it asks for
    the next one, or it would wait for itself.

    Args:
        cost_model: Prices the usage.
        cap: The most that may be spent, `already` included; `None` for no limit.
        already: Calls paid for by the same study before it was resumed.
        nothing: What no call at all costs; `None`: 0, but unknown where some card cannot tell.

    Raises:
        CardError: A card lacks what the unit of the cap needs.
        InputError: The cap is in unit `paper`, which counts stages of one problem and cannot add up calls.
    """

    def __init__(
        self,
        cost_model: CostModel,
        cap: Budget | None,
        already: Iterable[PaidCall] = (),
        *,
        nothing: Cost | None = None,
    ) -> None:
        self._cost_model = cost_model
        self._cap = self._checked(cap)
        self._by_model: dict[str, Cost] = {}
        self._by_purpose: dict[str, Cost] = {}
        self._nothing = cost_model.nothing() if nothing is None else nothing
        self._spent = self._nothing
        self._n_calls = 0
        self._n_in_flight = 0
        self._reserved = Cost()
        self._waiting: deque[_Waiter] = deque()
        for call in already:
            self._enter(call.model, call.purpose, call.usage)

    @property
    def cap(self) -> Budget | None:
        """The most that may be spent; may be set while calls wait, which then start or are refused."""
        return self._cap

    @cap.setter
    def cap(self, cap: Budget | None) -> None:
        self._cap = self._checked(cap)
        self._wake()

    @property
    def spent(self) -> Cost:
        """Everything paid so far."""
        return self._spent

    @property
    def spent_by_model(self) -> Mapping[str, Cost]:
        """The same by card name, in order of name."""
        return dict(sorted(self._by_model.items()))

    @property
    def spent_by_purpose(self) -> Mapping[str, Cost]:
        """The same by purpose (`draw`, `fusion`, ...), in order of name."""
        return dict(sorted(self._by_purpose.items()))

    def spent_without(self, purpose: str) -> Cost:
        """Return what was paid for everything but one purpose."""
        return total([self._nothing, *(cost for name, cost in self._by_purpose.items() if name != purpose)])

    @property
    def n_calls(self) -> int:
        """Provider requests paid for."""
        return self._n_calls

    @property
    def spent_amount(self) -> float | None:
        """What was spent in the unit of the cap; `None` without a cap."""
        return None if self.cap is None else amount(self._spent, self.cap.unit)

    async def reserve(self, model: str, *worst: CallUsage, purpose: str = "draw") -> Reservation:
        """Keep room for one call, one worst-case usage per provider request that it may take.

        Waits, first come first served, while calls in flight may still settle lower.

        Raises:
            SearchBudgetExhausted: Nothing is in flight and the call still does not fit.
            CardError: There is no card for the model.
        """
        self._cost_model.card(model)
        needed = total(self._cost_model.charge(model, usage) for usage in worst)
        await self._admit(model, needed)
        return Reservation(self, model, purpose, needed)

    async def _admit(self, model: str, needed: Cost) -> None:
        if not self._waiting and self._fits(needed):
            self._hold(needed)
            return
        if not self._waiting and not self._n_in_flight:
            raise self._exhausted(model, needed)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), needed, model)
        self._waiting.append(waiter)
        try:
            await waiter.future
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        granted = waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None
        if granted:  # granted and cancelled at the same moment: give the room back
            self._release(waiter.worst)
        elif waiter in self._waiting:
            self._waiting.remove(waiter)
        self._wake()

    def _hold(self, needed: Cost) -> None:
        self._n_in_flight += 1
        self._reserved = self._reserved + needed

    def _release(self, held: Cost) -> None:
        self._n_in_flight -= 1
        # Back to nothing where nothing is in flight, so that rounding does not pile up.
        self._reserved = self._reserved + held.scaled(-1) if self._n_in_flight else Cost()

    def _fits(self, needed: Cost) -> bool:
        cap = self._cap
        return cap is None or amount(self._spent + self._reserved + needed, cap.unit) <= cap.amount * (
            1 + ROUNDING
        )

    def _settle(self, model: str, purpose: str, held: Cost, billed: Iterable[CallUsage]) -> None:
        for usage in billed:
            self._enter(model, purpose, usage)
        self._release(held)
        self._wake()

    def _enter(self, model: str, purpose: str, usage: CallUsage) -> None:
        cost = self._cost_model.charge(model, usage)
        self._n_calls += 1
        self._spent = self._spent + cost
        self._by_model[model] = self._by_model.get(model, Cost()) + cost
        self._by_purpose[purpose] = self._by_purpose.get(purpose, Cost()) + cost

    def _wake(self) -> None:
        """Let waiting calls start as far as they fit; refuse those that nothing in flight can make room for."""
        while self._waiting:
            head = self._waiting[0]
            if head.future.done():  # cancelled, and about to withdraw
                self._waiting.popleft()
            elif self._fits(head.worst):
                self._waiting.popleft()
                self._hold(head.worst)
                head.future.set_result(None)
            elif not self._n_in_flight:
                self._waiting.popleft()
                head.future.set_exception(self._exhausted(head.model, head.worst))
            else:
                return

    def _exhausted(self, model: str, needed: Cost) -> SearchBudgetExhausted:
        assert self._cap is not None  # noqa: S101 - without a cap everything fits
        unit = self._cap.unit
        return SearchBudgetExhausted(
            f"the search budget of {self._cap} is used up: {Budget(amount(self._spent, unit), unit)} are spent, and the "
            f"next call to {model} may need {Budget(amount(needed, unit), unit)}.\nNothing paid for is lost. "
            "To go on, run the same command with a larger --search-budget."
        )

    def _checked(self, cap: Budget | None) -> Budget | None:
        if cap is not None and cap.unit is Unit.PAPER:
            raise InputError(
                "the unit paper counts the stages of one problem and cannot cap a search; use gflops"
            )
        if cap is not None:
            self._cost_model.require(cap.unit)
        return cap

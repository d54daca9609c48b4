"""What calls cost: one vector per call, added up per stage, read in one unit.

Pure arithmetic. Unknown is `None` and stays unknown in every sum; it is never 0.
Sources: DESIGN section 5; arXiv 2508.00890 for the unit `paper` and the linear FLOPs, from which we depart by billing
fusion, verification and attention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum

from agenttts.errors import CardError, InputError

__all__ = ["Budget", "Cost", "Unit", "amount", "plain_digits", "total", "total_amount"]

PAPER_PASS_FLOPS = 6e9
"""2 x 3e9: FLOPs of one token of the paper's base model of 3 billion parameters."""
PAPER_PROMPT_TOKENS = 128
PAPER_DECODE_TOKENS = 64


class Unit(StrEnum):
    """What a budget is counted in."""

    GFLOPS = "gflops"
    USD = "usd"
    TOKENS = "tokens"
    SECONDS = "seconds"
    PAPER = "paper"

    @property
    def label(self) -> str:
        """The unit as people read it."""
        return {"gflops": "GFLOPs", "usd": "USD", "paper": "paper units"}.get(self.value, self.value)


def plain_digits(value: float, significant: int) -> str:
    """Return a number with so many significant digits, or all before the point, never with an exponent."""
    if abs(value) >= 10 ** (significant - 1):
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:.{significant}g}'):,f}"


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost vector. Fields that are `None` are unknown."""

    flops: float | None = 0.0
    """Floating point operations, attention included where the card gives layers and width."""
    linear_flops: float | None = 0.0
    """What the paper counts: without attention, and of the nominal size of the model where its card gives one."""
    usd: float | None = 0.0
    prefill_tokens: float = 0.0
    decode_tokens: float = 0.0
    seconds: float | None = 0.0
    """Latency: prefill plus the longest of the parallel samples; calls are added as if made one after another."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            flops=_plus(self.flops, other.flops),
            linear_flops=_plus(self.linear_flops, other.linear_flops),
            usd=_plus(self.usd, other.usd),
            prefill_tokens=self.prefill_tokens + other.prefill_tokens,
            decode_tokens=self.decode_tokens + other.decode_tokens,
            seconds=_plus(self.seconds, other.seconds),
        )

    def scaled(self, factor: float) -> Cost:
        """Return this cost times `factor`."""
        return Cost(
            flops=_times(self.flops, factor),
            linear_flops=_times(self.linear_flops, factor),
            usd=_times(self.usd, factor),
            prefill_tokens=self.prefill_tokens * factor,
            decode_tokens=self.decode_tokens * factor,
            seconds=_times(self.seconds, factor),
        )


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _times(a: float | None, factor: float) -> float | None:
    return None if a is None else a * factor


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs; the zero cost for none."""
    result = Cost()
    for cost in costs:
        result = result + cost
    return result


def amount(cost: Cost, unit: Unit) -> float:
    """Return the cost of **one stage** in `unit`.

    Per stage because `paper` is affine: B = (F / 6e9 - 128) / 64 with F the linear FLOPs of the stage. A stage that needs
    less than the paper's base prompt counts as 0, as in the tables of the paper's code.

    Raises:
        CardError: The cost in this unit is unknown.
    """
    value = {
        Unit.GFLOPS: _times(cost.flops, 1e-9),
        Unit.USD: cost.usd,
        Unit.TOKENS: cost.prefill_tokens + cost.decode_tokens,
        Unit.SECONDS: cost.seconds,
        Unit.PAPER: _paper(cost.linear_flops),
    }[unit]
    if value is None:
        raise CardError(f"the cost in {unit} is unknown: a model card lacks {NEEDED_ON_CARD[unit]}")
    return value


def _paper(linear_flops: float | None) -> float | None:
    if linear_flops is None:
        return None
    return max(0.0, (linear_flops / PAPER_PASS_FLOPS - PAPER_PROMPT_TOKENS) / PAPER_DECODE_TOKENS)


NEEDED_ON_CARD: Mapping[Unit, str] = {
    Unit.GFLOPS: "`parameters`",
    Unit.PAPER: "`parameters`",
    Unit.USD: "`price`",
    Unit.SECONDS: "`speed`",
    Unit.TOKENS: "nothing",
}


def total_amount(stage_costs: Mapping[str, Cost], unit: Unit) -> float:
    """Return the cost of one problem in `unit`, from its costs by stage (calls to models only)."""
    return sum(amount(cost, unit) for cost in stage_costs.values())


_BUDGET = re.compile(r"^\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*$")


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent, with its unit."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        return f"{plain_digits(self.amount, 6)} {self.unit.label}"

    @classmethod
    def parse(cls, text: str, default_unit: Unit = Unit.GFLOPS) -> Budget:
        """Read `1e6`, `0.002usd` or `850 paper`.

        Raises:
            InputError: Not a positive number followed by a known unit.
        """
        match = _BUDGET.match(text)
        units = ", ".join(unit.value for unit in Unit)
        if match is None:
            raise InputError(
                f"budget {text!r}: expected a number and, if wanted, a unit ({units}), e.g. 1e6 or 0.002usd"
            )
        name = match.group(2).lower()
        try:
            unit = Unit(name) if name else default_unit
            value = float(match.group(1))
        except ValueError as error:
            near = get_close_matches(name, list(Unit), n=1)
            hint = f". Did you mean `{near[0]}`?" if near else ""
            raise InputError(
                f"budget {text!r}: expected a number and one of the units {units}{hint}"
            ) from error
        if value == float("inf"):
            raise InputError(f"budget {text!r}: too large a number; expected one below 1.8e308")
        if value <= 0:
            raise InputError(f"budget {text!r}: expected a number above 0")
        return cls(value, unit)

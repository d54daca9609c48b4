"""What ways that stop early, escalate, refine or search really cost, next to what was forecast.

A forecast counts such a way at the most. Once a trial has used it, the ratio of what was charged to the forecast is
known, and corrects the forecast for the same stage, model and way: as it is for the same number of samples, else that of
the nearest number (by ratio). Ratios are taken at the moment of asking, from all trials, so that the order in which
trials come in changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from agenttts.budgets.cost import Cost
from agenttts.pipeline.base import StageChoice

__all__ = ["PROCEDURES", "Calibration"]

PROCEDURES = frozenset(
    {
        "adaptive_best",
        "adaptive_vote",
        "agreed_fusion",
        "beam",
        "cascade",
        "dvts",
        "llm_select",
        "refine",
        "tree",
    }
)
"""Kinds of ways whose cost hangs on what the models write."""
WRITES = frozenset({"judge", "gen_prm"})
"""Kinds of verifiers of which the same is true."""


@dataclass(frozen=True, slots=True)
class _Seen:
    cost: Cost
    n_problems: int


class Calibration:
    """Mean charged costs of choices, per problem on which the stage ran."""

    def __init__(self) -> None:
        self._seen: dict[StageChoice, _Seen] = {}

    def observe(self, choice: StageChoice, cost: Cost, n_problems: int) -> None:
        """Take note of what a trial was charged; of two trials of one choice the one with more problems counts."""
        before = self._seen.get(choice)
        if n_problems > 0 and (before is None or n_problems > before.n_problems):
            self._seen[choice] = _Seen(cost, n_problems)

    def corrected(
        self, choice: StageChoice, forecast: Cost, forecast_of: Callable[[StageChoice], Cost]
    ) -> Cost:
        """Return a forecast times the ratio that was seen; the forecast itself where nothing was.

        Args:
            choice: What is forecast.
            forecast: Its uncorrected cost.
            forecast_of: Uncorrected costs of other choices.
        """
        near = self._nearest(choice)
        if near is None:
            return forecast
        basis = forecast if near == choice else forecast_of(near)
        seen = self._seen[near].cost
        changes: dict[str, Any] = {f.name: _scaled(forecast, seen, basis, f.name) for f in fields(Cost)}
        return replace(forecast, **changes)

    def _nearest(self, choice: StageChoice) -> StageChoice | None:
        """Return the seen choice of the same stage, model and way with the nearest number of samples; ties: fewer."""
        same = [
            seen
            for seen in self._seen
            if (seen.stage, seen.model, seen.select) == (choice.stage, choice.model, choice.select)
        ]
        wanted = math.log(choice.n_samples)
        return min(
            same, key=lambda seen: (abs(math.log(seen.n_samples) - wanted), seen.n_samples), default=None
        )


def _scaled(forecast: Cost, seen: Cost, basis: Cost, name: str) -> float | None:
    value, charged, expected = (getattr(cost, name) for cost in (forecast, seen, basis))
    if value is None or charged is None or expected is None:
        return None if value is None else float(value)
    return float(value) * float(charged) / float(expected) if expected > 0 else float(value)

"""What ways that stop early, escalate, refine or search really cost, next to what was forecast.

A forecast counts such a way at the most. Once a trial has used it, the ratio of what was charged to the forecast is
known, and corrects the forecast for the same stage, model and way: as it is for the same number of samples, else that of
the nearest number (by ratio). A way that was not tried takes the ratio of one that differs from it in its knobs alone. Ratios are taken at the moment of asking, from all trials, so that the order in which
trials come in changes nothing; trials of one choice with other stages before it are averaged over their problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
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


class Calibration:
    """Mean charged costs of choices, per problem on which the stage ran."""

    def __init__(self) -> None:
        self._seen: dict[StageChoice, list[tuple[Cost, int]]] = {}

    def observe(self, choice: StageChoice, cost: Cost, n_problems: int) -> None:
        """Take note of what a trial was charged per problem, on average over so many."""
        if n_problems > 0:
            self._seen.setdefault(choice, []).append((cost, n_problems))

    def charged(self, choice: StageChoice) -> Cost | None:
        """Return what a choice was charged per problem, on average over its trials; `None`: it was not tried."""
        seen = self._seen.get(choice)
        if not seen:
            return None
        return Cost(**{f.name: _mean([(getattr(cost, f.name), n) for cost, n in seen]) for f in fields(Cost)})

    def corrected(
        self, choice: StageChoice, forecast: Cost, forecast_of: Callable[[StageChoice], Cost]
    ) -> Cost:
        """Return a forecast times the ratio that was seen; the forecast itself where nothing was.

        For a choice that was tried that is what it was charged.

        Args:
            choice: What is forecast.
            forecast: Its uncorrected cost.
            forecast_of: Uncorrected costs of other choices.
        """
        near = self._nearest(choice)
        if near is None:
            return forecast
        seen = self.charged(near)
        assert seen is not None  # noqa: S101 - it is the nearest of those seen
        if near == choice:
            return replace(forecast, **_known(seen))
        basis = forecast_of(near)
        names = [one.name for one in fields(Cost)]
        changes: dict[str, Any] = {name: _scaled(forecast, seen, basis, name) for name in names}
        return replace(forecast, **changes)

    def _nearest(self, choice: StageChoice) -> StageChoice | None:
        """Return the seen choice of the same stage and model that is most like a choice; `None`: there is none.

        The same way comes first, then one that differs in its knobs alone; of each the nearest number of samples. Ties:
        fewer samples, then by label.
        """
        n = choice.n_samples

        def unlike(seen: StageChoice) -> tuple[bool, float, int, str]:
            # By ratios rather than logarithms, which would not find 2 and 8 equally far from 4.
            far = max(n / seen.n_samples, seen.n_samples / n)
            return seen.select != choice.select, far, seen.n_samples, seen.select

        kin = (choice.stage, choice.model, _kin(choice.select))
        same = [seen for seen in self._seen if (seen.stage, seen.model, _kin(seen.select)) == kin]
        return min(same, key=unlike, default=None)


def _kin(label: str) -> str:
    """Return what ways that differ in their knobs alone have in common: the label before the knobs' values."""
    return label.partition("[")[0]


def _known(cost: Cost) -> dict[str, Any]:
    values = {one.name: getattr(cost, one.name) for one in fields(Cost)}
    return {name: value for name, value in values.items() if value is not None}


def _mean(values: list[tuple[float | None, int]]) -> Any:
    """Return the mean of values with weights, the same in any order; `None` where one is unknown."""
    known = [(value, n) for value, n in values if value is not None]
    if len(known) < len(values):
        return None
    if len({value for value, _ in known}) == 1:
        return known[0][0]
    return math.fsum(value * n for value, n in known) / sum(n for _, n in known)


def _scaled(forecast: Cost, seen: Cost, basis: Cost, name: str) -> float | None:
    value, charged, expected = (getattr(cost, name) for cost in (forecast, seen, basis))
    if value is None or charged is None or expected is None:
        return None if value is None else float(value)
    return float(value) * float(charged) / float(expected) if expected > 0 else float(value)

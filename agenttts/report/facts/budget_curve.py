"""What more or less budget would buy: the best predicted and the best tried allocation at each of a dozen budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agenttts.report.facts.values import BudgetCurve, BudgetPoint
from agenttts.study.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from agenttts.report.facts.predicting import Fit
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Trial

__all__ = ["budget_curve", "budgets_between"]

N_BELOW = 9
"""Budgets up to the run's own, both ends included."""
N_ABOVE = 3
TIMES = 2.0
LEAST_SHARE = 1e-3
"""Of the budget: costs of 0, which the unit `paper` knows, have no logarithm."""
SLACK = 1 + 1e-9


def budgets_between(cheapest: float, budget: float) -> tuple[float, ...]:
    """Return the budgets that are looked at, rising: from the cheapest allocation over the run's own to twice that.

    Their steps are equal factors, for a stage's cost goes with its number of samples.
    """
    low = min(max(cheapest, LEAST_SHARE * budget), budget)
    below = np.geomspace(low, budget, N_BELOW)
    above = np.geomspace(budget, TIMES * budget, N_ABOVE + 1)[1:]
    found = sorted({float(x) for x in (low, *below[1:-1], budget, *above)})
    return tuple(found)


def budget_curve(record: RunRecord, fit: Fit | None, why_none: str) -> BudgetCurve:
    """Return score against budget.

    Args:
        record: The run.
        fit: Of its trials; `None`: only what was measured is told.
        why_none: Why there is none.
    """
    budget = record.options.budget.amount
    measured = [trial for trial in record.archive.valid if trial.status in {"ok", "over_budget"}]
    if fit is None and not measured:
        return BudgetCurve((), None, why_none)
    cheapest = float(fit.costs.min()) if fit is not None else min(trial.charged for trial in measured)
    known: dict[int, Interval] = {}
    points = [_point(b, record, fit, measured, known) for b in budgets_between(cheapest, budget)]
    return BudgetCurve(
        points=tuple(points),
        fit=None if fit is None else fit.note,
        why_none=why_none,
        n_choices=0 if fit is None else len(fit.every),
        exact=fit is None or fit.exact,
    )


def _point(
    budget: float,
    record: RunRecord,
    fit: Fit | None,
    measured: Sequence[Trial],
    known: dict[int, Interval],
) -> BudgetPoint:
    chosen = None if fit is None else fit.best_of(fit.costs <= budget * SLACK)
    choice = None if chosen is None or fit is None else fit.space.allocation(chosen[0])
    tried = next((t.number for t in record.archive.valid if t.allocation == choice), None)
    best = min(
        (trial for trial in measured if trial.charged <= budget * SLACK),
        key=lambda trial: (-trial.score, trial.charged, trial.number),
        default=None,
    )
    return BudgetPoint(
        budget=budget,
        predicted=None if chosen is None else chosen[1],
        choice=choice,
        cost=None if chosen is None else chosen[2],
        tried=tried,
        best_tried=None if best is None else best.number,
        measured=None if best is None else _interval(best, record, known),
    )


def _interval(trial: Trial, record: RunRecord, known: dict[int, Interval]) -> Interval:
    """Return a trial's interval; most budgets share their best trial, and resampling takes its time."""
    if trial.number not in known:
        known[trial.number] = mean_interval(
            list(trial.scores.values()), confidence=record.options.confidence, seed=record.options.seed
        )
    return known[trial.number]

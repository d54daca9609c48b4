"""A run's page, what more or less budget would buy: score against budget, predicted and measured apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.pages import (
    COLOURS,
    MARKS,
    Figure,
    Part,
    amounts_axis,
    band,
    chart,
    escaped,
    figure,
    paragraph,
    table,
    titled,
    upright,
    whiskers,
)
from agenttts.report.run_words import measured_text, predicted_text, prediction_text, score_text
from agenttts.report.words import amount_text, sentence

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import BudgetCurve, BudgetPoint

__all__ = ["budgets_part"]

TITLE = "What more or less budget would buy"


def budgets_part(facts: RunFacts) -> Part:
    """Return the part."""
    curve = facts.budgets
    parts = [paragraph(sentence(curve.why_none), "note")] if curve.why_none else []
    if not curve.points:
        return Part(
            "budgets", TITLE, tuple(parts or [paragraph("Nothing can be said of other budgets yet.")])
        )
    drawn = _figure(facts, curve)
    source = f"{measured_text(facts.head, 'on the search problems')} {predicted_text(facts.head, curve.fit)}".strip()
    parts += [
        paragraph(_sentence(facts, curve)),
        chart(drawn, says=_says(facts), source=source, values=_table(facts, curve)),
        paragraph(_caution(curve), "soft"),
    ]
    return Part("budgets", TITLE, tuple(parts), (drawn,))


def _sentence(facts: RunFacts, curve: BudgetCurve) -> str:
    budget = facts.head.budget
    here, half, twice = (_nearest(curve, budget.amount * factor) for factor in (1.0, 0.5, 2.0))
    told = [
        f"{name}{amount_text(one.budget)} {budget.unit.label} {prediction_text(one.predicted)}"
        for name, one in (("", half), ("this budget of ", here), ("", twice))
        if one is not None and one.predicted is not None
    ]
    if told:
        return f"What the fit predicts for the best choice: for {'; for '.join(told)}."
    return "What was tried is shown, without a prediction."


def _nearest(curve: BudgetCurve, budget: float) -> BudgetPoint | None:
    """Return the point of a budget; `None` where the curve does not reach so far."""
    found = min(curve.points, key=lambda point: abs(point.budget - budget))
    return found if abs(found.budget - budget) <= 0.2 * budget else None


def _says(facts: RunFacts) -> str:
    return (
        f"Best score by budget a problem: the line and its area are predictions with 95% intervals, the squares what was "
        f"measured of the best trial that costs no more; the dashed upright line is the budget of {facts.head.budget}."
    )


def _caution(curve: BudgetCurve) -> str:
    told = [] if curve.fit is None else [curve.fit.text]
    told.append(
        "The best of many predictions, and the best of many trials, look a little better than they are."
    )
    if curve.n_choices:
        how = "" if curve.exact else "; more fit, and a search that is near exact chose them"
        told.append(f"{curve.n_choices:,} allocations were compared at the largest budget{how}.")
    return " ".join(told)


def _figure(facts: RunFacts, curve: BudgetCurve) -> Figure:
    known = [(one.budget, one.predicted) for one in curve.points if one.predicted is not None]
    x = [budget for budget, _ in known]
    name = "predicted for the best choice"
    data: list[Figure] = []
    if known:
        data = band(
            x,
            [one.low for _, one in known],
            [one.high for _, one in known],
            colour=COLOURS[0],
            name=name,
            shape="linear",
        )
        line = {"color": COLOURS[0], "width": 2.5, "dash": "dash"}
        data.append(
            {
                "x": x,
                "y": [one.mean for _, one in known],
                "mode": "lines",
                "name": name,
                "legendgroup": name,
                "line": line,
            }
        )
    data.append(_measured(curve))
    x_axis = amounts_axis(
        f"budget, {escaped(facts.head.budget.unit.label)} a problem", (one.budget for one in curve.points)
    )
    made = figure("budgets-plot", "Score against budget", data, x_axis, titled("score"))
    made["layout"]["shapes"] = [upright(facts.head.budget.amount)]
    return made


def _measured(curve: BudgetCurve) -> Figure:
    known = [(one, one.measured) for one in curve.points if one.measured is not None]
    means = [score.mean for _, score in known]
    return {
        "x": [one.budget for one, _ in known],
        "y": means,
        "error_y": whiskers(means, [score.low for _, score in known], [score.high for _, score in known]),
        "text": [f"trial {one.best_tried}" for one, _ in known],
        "mode": "markers",
        "name": "best trial within it, measured",
        "marker": {"color": COLOURS[1], "symbol": MARKS[1], "size": 7},
    }


def _table(facts: RunFacts, curve: BudgetCurve) -> str:
    unit = facts.head.budget.unit.label
    head = [
        f"budget, {unit}",
        "predicted",
        "what would be chosen",
        f"costs, {unit}",
        "tried",
        "best trial",
        "its score",
    ]
    rows = [
        [
            amount_text(one.budget),
            prediction_text(one.predicted),
            "" if one.choice is None else str(one.choice),
            "" if one.cost is None else amount_text(one.cost),
            "no" if one.tried is None else f"trial {one.tried}",
            "none" if one.best_tried is None else f"trial {one.best_tried}",
            score_text(one.measured),
        ]
        for one in curve.points
    ]
    return table(head, rows, label="Score against budget", right=[0, 3], fill=[2])

"""A run's page, what else is nearly as good: score against cost, with the uncertainty of both sides of the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING

from agenttts.report.pages import (
    COLOURS,
    MARKS,
    Figure,
    Part,
    amounts_axis,
    chart,
    escaped,
    figure,
    paragraph,
    table,
    titled,
    upright,
    whiskers,
)
from agenttts.report.run_words import (
    difference_text,
    measured_text,
    per_problem,
    score_text,
    stage_cells,
    trial_of,
)
from agenttts.report.words import amount_text, plural, share_text

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import FrontierPoint, TrialFact
    from agenttts.study.statistics import PairedDifference

__all__ = ["frontier_part"]

STANDINGS = {
    "frontier": "on the frontier",
    "maybe": "may be on it",
    "beaten": "surely beaten",
    "apart": "nothing can be said",
}
ABOUT_AS_GOOD = 0.02
"""Most that a cheaper trial may lose to count as about as good, see `agenttts.study.confirm.alternative`."""
ROOM, LEAST_ROOM = 0.08, 0.02
"""Room about what a chart opens on: a share of it, and at least so many powers of ten."""
OF_ALL = ("rangemode", "tickvals", "ticktext")
"""What an axis has for a look at all values."""
NONE_CHEAPER = "None that costs less at all was found that the search problems cannot tell from it."


def frontier_part(facts: RunFacts) -> Part:
    """Return the part."""
    source = measured_text(facts.head, "on the search problems")
    if not facts.frontier:
        return Part(
            "frontier", "What else is nearly as good", (paragraph("No trial has a score to compare."),)
        )
    drawn = _figure(facts)
    parts = [
        *(paragraph(text) for text in _sentences(facts)),
        chart(drawn, says=_says(facts), source=source),
        _table(facts),
        paragraph(
            "Intervals are over problems. Of many trials the best look a little better than they are; differences are "
            "paired by problem, so that easy and hard ones cancel out.",
            "soft",
        ),
    ]
    return Part("frontier", "What else is nearly as good", tuple(parts), (drawn,))


def _sentences(facts: RunFacts) -> list[str]:
    return [*_cheaper(facts), *_runner_up(facts)]


def _cheaper(facts: RunFacts) -> list[str]:
    """Answer which trial is cheaper and about as good, then which is cheaper and may be."""
    answer = facts.answer
    if not answer.charged:
        return []
    good = trial_of(facts, answer.alternative)
    told = [_about_as_good(facts, good)]
    near = [one for one in facts.frontier if _is_cheaper(one) and not _is_beaten(one)]
    first = min(near, key=lambda one: one.charged, default=None)
    trial = None if first is None else trial_of(facts, first.trial)
    if first is None or trial is None:
        told += [] if good is not None else [NONE_CHEAPER]
    elif good is None or trial.charged < good.charged:
        told.append(
            f"The cheapest that the search problems cannot tell from it: {_instead(facts, trial, first.behind_winner)}."
        )
    return [" ".join(told)]


def _about_as_good(facts: RunFacts, good: TrialFact | None) -> str:
    if good is not None:
        return f"The cheapest trial that is about as good: {_instead(facts, good, facts.answer.alternative_difference)}."
    return (
        "No trial that costs at least a tenth less is about as good as the winner (at most "
        f"{ABOUT_AS_GOOD:g} worse, and not surely so)."
    )


def _instead(facts: RunFacts, trial: TrialFact, difference: PairedDifference | None) -> str:
    saved = share_text(1 - trial.charged / (facts.answer.charged or trial.charged))
    return (
        f"trial {trial.number} ({trial.allocation}) costs {per_problem(facts, trial.charged)}, {saved} less, and the winner "
        f"scores {difference_text(difference)} more than it on the search problems"
    )


def _is_cheaper(point: FrontierPoint) -> bool:
    return point.saves is not None and point.saves > 0


def _is_beaten(point: FrontierPoint) -> bool:
    """Return whether the winner surely scores more."""
    return point.behind_winner is not None and point.behind_winner.verdict == "better"


def _runner_up(facts: RunFacts) -> list[str]:
    """Tell the runner-up, score and cost on the same problems: the search problems, by which the budget is kept."""
    second = trial_of(facts, facts.answer.runner_up)
    if second is None or second.score is None:
        return []
    unseen = facts.answer.runner_up_score
    told = (
        f"The runner-up, trial {second.number} ({second.allocation}), scores {second.score:.3f} on the search problems and "
        f"costs {per_problem(facts, second.charged)} a problem there{_against(facts, second.charged)}."
    )
    return [told if unseen is None else f"{told} On the unseen problems it scores {unseen}."]


def _against(facts: RunFacts, charged: float) -> str:
    """Return how a cost compares with the winner's, as the end of a sentence."""
    costs = facts.answer.charged
    if not costs:
        return ""
    more = charged / costs - 1
    return (
        f", {share_text(abs(more))} {'more' if more > 0 else 'less'} than the winner"
        if more
        else ", as the winner does"
    )


def _says(facts: RunFacts) -> str:
    best = [point for point in facts.frontier if point.standing == "frontier"]
    ends = [
        f"{per_problem(facts, one.charged)} for {one.score.mean:.3f}" for one in (best[:1] + best[1:][-1:])
    ]
    return (
        f"Score of {plural(len(facts.trials), 'trial')} against cost a problem, {len(best):,} on the frontier: from "
        f"{' to '.join(ends) or 'none'}. Upright lines are 95% intervals; the dashed line is the budget. The chart opens where the choice "
        "lies; a double click shows all trials."
    )


# --- the chart -------------------------------------------------------------------------------------------------------


def _figure(facts: RunFacts) -> Figure:
    near = {point.trial for point in facts.frontier}
    far = [
        one
        for one in facts.trials
        if one.score is not None and one.number not in near and one.standing != "apart"
    ]
    best = [point for point in facts.frontier if point.standing == "frontier"]
    maybe = [point for point in facts.frontier if point.standing != "frontier"]
    data = [
        _cloud(far),
        _points(facts, maybe, STANDINGS["maybe"], 5, "markers"),
        _points(facts, best, STANDINGS["frontier"], 0, "lines+markers"),
        *_winner(facts),
    ]
    costs = [one.charged for one in facts.trials if one.score is not None and one.charged > 0]
    unit = escaped(facts.head.budget.unit.label)
    near_by = [point for point in facts.frontier if not _is_beaten(point)]
    x = _opened(
        amounts_axis(f"{unit} a problem", costs),
        [facts.head.budget.amount, *(one.charged for one in near_by)],
    )
    y = _opened(
        titled("score, search problems"), [end for one in near_by for end in (one.score.low, one.score.high)]
    )
    made = figure(
        "frontier-plot",
        "Score against cost",
        [one for one in data if one["x"]],
        x,
        y,
    )
    made["layout"]["shapes"] = [upright(facts.head.budget.amount)]
    return made


def _opened(axis: Figure, values: Sequence[float]) -> Figure:
    """Return an axis that opens on these values with some room about them; where they are none or one, on all."""
    is_log = axis.get("type") == "log"
    known = [log10(value) if is_log else value for value in values if value > 0 or not is_log]
    if not known or max(known) <= min(known):
        return axis
    room = max(ROOM * (max(known) - min(known)), LEAST_ROOM if is_log else 0.0)
    kept = {name: value for name, value in axis.items() if name not in OF_ALL}
    return {**kept, "range": [min(known) - room, max(known) + room]}


def _cloud(trials: Sequence[TrialFact]) -> Figure:
    return {
        "x": [one.charged for one in trials],
        "y": [one.score for one in trials],
        "text": [f"trial {one.number}" for one in trials],
        "mode": "markers",
        "name": "other trials",
        "marker": {"color": COLOURS[7], "size": 5, "opacity": 0.45},
    }


def _points(facts: RunFacts, points: Sequence[FrontierPoint], name: str, colour: int, mode: str) -> Figure:
    scores = [one.score for one in points]
    return {
        "x": [one.charged for one in points],
        "y": [one.mean for one in scores],
        "error_y": whiskers(
            [one.mean for one in scores], [one.low for one in scores], [one.high for one in scores]
        ),
        "text": [_label(facts, one.trial) for one in points],
        "mode": mode,
        "name": name,
        "line": {"color": COLOURS[colour], "shape": "hv"},
        "marker": {"color": COLOURS[colour], "symbol": MARKS[0 if mode == "markers" else 1], "size": 7},
    }


def _winner(facts: RunFacts) -> list[Figure]:
    trial = trial_of(facts, facts.answer.winner)
    if trial is None or trial.score is None:
        return []
    return [
        {
            "x": [trial.charged],
            "y": [trial.score],
            "text": [_label(facts, trial.number)],
            "mode": "markers",
            "name": f"winner, trial {trial.number}",
            "marker": {"color": COLOURS[1], "symbol": "star-open", "size": 16},
        }
    ]


def _label(facts: RunFacts, number: int) -> str:
    trial = trial_of(facts, number)
    stages = [] if trial is None else [escaped(str(choice)) for choice in trial.allocation.choices]
    return "<br>".join([f"trial {number}", *stages])  # plotly reads the line breaks, and nothing in the lines


# --- the table -------------------------------------------------------------------------------------------------------


def _table(facts: RunFacts) -> str:
    figures = [
        "trial",
        facts.head.budget.unit.label,
        "saves",
        "score and interval",
        "winner minus it",
        "stands",
    ]
    rows = [_row(facts, point) for point in sorted(facts.frontier, key=_behind)]
    label = "Trials that may be the best for their cost"
    return table([*figures, *facts.head.stages], rows, label=label, right=range(3))


def _behind(point: FrontierPoint) -> tuple[float, float]:
    """Return the key that puts the winner first and then what scores closest to it, the cheaper first."""
    return (0.0, 0.0) if point.behind_winner is None else (abs(point.behind_winner.mean), point.charged)


def _row(facts: RunFacts, point: FrontierPoint) -> list[str]:
    trial = trial_of(facts, point.trial)
    stages = [""] * len(facts.head.stages) if trial is None else stage_cells(facts, trial.allocation)
    is_winner = point.trial == facts.answer.winner
    over = "; over the budget" if point.over_budget else ""
    return [
        str(point.trial),
        amount_text(point.charged),
        "" if point.saves is None or is_winner else f"{point.saves:.0%}",
        score_text(point.score),
        "the winner" if is_winner else difference_text(point.behind_winner),
        STANDINGS[point.standing] + over,
        *stages,
    ]

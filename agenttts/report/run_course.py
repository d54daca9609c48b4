"""A run's page, how the search went: best so far by trial and by spend, what was reused, rounds and what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Unit
from agenttts.report.pages import (
    COLOURS,
    Figure,
    Part,
    chart,
    details,
    escaped,
    figure,
    paragraph,
    table,
    titled,
)
from agenttts.report.run_words import group_text, measured_text
from agenttts.report.words import amount_text, cut, listed, plural, share_text

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import InsightFact, RoundFact, Step

__all__ = ["best_line", "course_part", "trial_links"]

MOST_INSIGHTS = 100
MOST_LINKS = 12
LONGEST = 1000
"""Characters of what a planner wrote."""


def course_part(facts: RunFacts) -> Part:
    """Return the part."""
    course = facts.course
    parts = [paragraph(_sentence(facts))]
    figures: list[Figure] = []
    if any(step.best_score is not None for step in course.steps):
        figures = [_by_trial(facts), *_by_spend(facts)]
        source = measured_text(facts.head, "on the search problems")
        says = [_says(facts), "The same against what the whole search had paid by then."]
        values = [_leaders(facts), ""]
        parts += [
            chart(one, says=text, source=source, values=behind)
            for one, text, behind in zip(figures, says, values, strict=False)
        ]
    return Part("course", "How the search went", (*parts, *_insights(facts), *_rounds(facts)), tuple(figures))


def _sentence(facts: RunFacts) -> str:
    course, head = facts.course, facts.head
    told = [f"{head.n_trials:,} of {plural(head.n_trials_wanted, 'trial')}, proposed by {head.allocator}"]
    if course.n_stopped:
        told.append(
            f"{course.n_stopped:,} ended early because they could not win, which spared {course.n_rollouts_saved:,} rollouts"
        )
    if course.reuse is not None:
        told.append(f"{share_text(course.reuse)} of the draws that trials used were held already")
    if head.n_feasible is not None and head.n_allocations is not None:
        told.append(f"{head.n_feasible:,} of {plural(head.n_allocations, 'allocation')} fit the budget")
    if course.planner_calls:
        failed = f", {course.planner_failed:,} without a reply" if course.planner_failed else ""
        told.append(f"the planner {head.planner} was asked {plural(course.planner_calls, 'time')}{failed}")
    return f"{'; '.join(told)}."


def _says(facts: RunFacts) -> str:
    leaders = [step for step, before in _changes(facts.course.steps) if before != step.best]
    last = leaders[-1]
    changes = f"changed {plural(len(leaders) - 1, 'time')}" if len(leaders) > 1 else "never changed"
    return (
        f"The lead {changes}; trial {last.best} with {last.best_score:.3f} leads since trial "
        f"{last.trial} ended. The score is of the problems that the best is chosen by."
    )


def _changes(steps: Sequence[Step]) -> list[tuple[Step, int | None]]:
    """Return the steps with a leader, each with the leader before it."""
    known = [step for step in steps if step.best_score is not None]
    return [(step, known[i - 1].best if i else None) for i, step in enumerate(known)]


def best_line(steps: Sequence[Step], name: str, place: int, *, by_spend: bool) -> Figure:
    """Return the line of the best so far, against trials or against what was paid by then."""
    known = [(i, step) for i, step in enumerate(steps, start=1) if step.best_score is not None]
    if by_spend:
        known = [(i, step) for i, step in known if step.spent is not None]
    return {
        "x": [step.spent if by_spend else i for i, step in known],
        "y": [step.best_score for _, step in known],
        "text": [f"trial {step.best}" for _, step in known],
        "mode": "lines" if len(known) > 1 else "markers",
        "name": escaped(name),
        "line": {"color": COLOURS[place], "shape": "hv", "width": 2.5},
    }


def _by_trial(facts: RunFacts) -> Figure:
    steps = facts.course.steps
    trials = {trial.number: trial for trial in facts.trials}
    scored = [
        (i, one)
        for i, step in enumerate(steps, start=1)
        if (one := trials.get(step.trial)) and one.score is not None
    ]
    each = {
        "x": [i for i, _ in scored],
        "y": [one.score for _, one in scored],
        "text": [f"trial {one.number}" for _, one in scored],
        "mode": "markers",
        "name": "each trial",
        "marker": {"color": COLOURS[7], "size": 5, "opacity": 0.5},
    }
    data = [each, best_line(steps, "best so far", 0, by_spend=False)]
    return figure(
        "course-plot",
        "Best so far against trials",
        data,
        titled("trials ended"),
        titled("score, search problems"),
    )


def _by_spend(facts: RunFacts) -> list[Figure]:
    line = best_line(facts.course.steps, "best so far", 0, by_spend=True)
    if not line["x"]:
        return []
    x = titled(f"{escaped(Unit(facts.course.spent_unit).label)} paid")
    return [figure("spend-plot", "Best so far against spend", [line], x, titled("score, search problems"))]


def _leaders(facts: RunFacts) -> str:
    rows = [
        [
            str(step.trial),
            str(step.best),
            f"{step.best_score:.3f}",
            "unknown" if step.spent is None else amount_text(step.spent),
            f"{step.n_paid:,}",
            f"{step.n_reused:,}",
        ]
        for step, before in _changes(facts.course.steps)
        if before != step.best
    ]
    head = [
        "after trial",
        "best",
        "score",
        f"paid, {Unit(facts.course.spent_unit).label}",
        "draws paid",
        "draws reused",
    ]
    return table(head, rows, label="Who led", right=range(6))


# --- rounds ----------------------------------------------------------------------------------------------------------


def _insights(facts: RunFacts) -> list[str]:
    found = [one for round_ in facts.course.rounds for one in round_.insights]
    if not found:
        return []
    items = "".join(f"<li>{_insight(one)}</li>" for one in found[-MOST_INSIGHTS:])
    rest = len(found) - MOST_INSIGHTS
    more = (
        [paragraph(f"{rest:,} earlier ones are left out; agenttts report --json has all.", "soft")]
        if rest > 0
        else []
    )
    return [
        "<h3>What the planner says it has learnt</h3>",
        paragraph("Written by a model, with the trials it cites.", "soft"),
        f"<ul>{items}</ul>",
        *more,
    ]


def _insight(one: InsightFact) -> str:
    sure = "" if one.confidence is None else f", confidence {one.confidence:.2f}"
    cited = f": {trial_links(one.trials)}" if one.trials else ": no trial cited"
    return f'{escaped(cut(one.text, LONGEST))} <span class="soft">(round {one.round}{sure}{cited})</span>'


def trial_links(numbers: Sequence[int]) -> str:
    """Return markup of links to the rows of trials."""
    links = [f'<a href="#trial-{number}">{number}</a>' for number in numbers[:MOST_LINKS]]
    rest = len(numbers) - len(links)
    return f"{'trial' if len(numbers) == 1 else 'trials'} {listed([*links, f'{rest:,} more'] if rest else links)}"


def _rounds(facts: RunFacts) -> list[str]:
    rounds = facts.course.rounds
    notes = [
        *facts.course.planner_notes,
        *(f"round {one.round}: {note}" for one in rounds for note in one.notes),
    ]
    parts = []
    if rounds:
        head = ["round", "trials", "proposed by", "fitted the budget"]
        rows = [_round(one) for one in rounds]
        parts.append(
            details(
                plural(len(rounds), "round"), [table(head, rows, label="Rounds", right=[0, 3], is_long=True)]
            )
        )
    if notes:
        rows = [[cut(note, LONGEST)] for note in dict.fromkeys(notes)]
        parts.append(
            details(
                f"{plural(len(rows), 'note')} on the planner", [table(["note"], rows, fill=[0], is_long=True)]
            )
        )
    return parts


def _round(one: RoundFact) -> list[str]:
    origins = listed([f"{n} by {name}" for name, n in one.origins.items()])
    return [
        str(one.round),
        group_text(one.trials),
        origins,
        "" if one.n_feasible is None else f"{one.n_feasible:,}",
    ]

"""A run's page, single trials: one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.pages import Part, paragraph, table
from agenttts.report.run_words import measured_text, stage_cells
from agenttts.report.words import amount_text, cut

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import TrialFact

__all__ = ["trials_part"]

LONGEST = 90
"""Characters of what is said of a trial."""
MOST = 2000
HOW = (
    "Low and high are the ends of 95% intervals over problems; estimate is what a trial that racing stopped would score on "
    "all problems, judged by the others, and not measured; paid and reused count draws."
)


def trials_part(facts: RunFacts) -> Part:
    """Return the part."""
    if not facts.trials:
        return Part("trials", "Single trials", (paragraph("No trial has come to its end."),))
    trials = facts.trials[:MOST]
    unit = facts.head.budget.unit.label
    figures = ["trial", "score", "low", "high", "estimate", unit]
    stages = range(len(figures), len(figures) + len(facts.head.stages))
    head = [*figures, *facts.head.stages, "problems", "failed", "paid", "reused", "status", "by", "why"]
    rows = [_row(facts, one) for one in trials]
    told = table(
        head,
        rows,
        label="All trials",
        right=[*range(len(figures)), *range(stages.stop, stages.stop + 4)],
        is_long=True,
        places=[f"trial-{one.number}" for one in trials],
    )
    source = f"{measured_text(facts.head, 'on the search problems')} {HOW}"
    left = len(facts.trials) - len(trials)
    more = (
        [paragraph(f"{left:,} later trials are left out; agenttts export has all.", "soft")]
        if left > 0
        else []
    )
    return Part("trials", "Single trials", (paragraph(source, "soft"), told, *more))


def _row(facts: RunFacts, one: TrialFact) -> list[str]:
    figures = [
        "" if value is None else f"{value:.3f}" for value in (one.score, one.low, one.high, one.estimate)
    ]
    return [
        str(one.number),
        *figures,
        amount_text(one.charged),
        *stage_cells(facts, one.allocation),
        str(one.n_problems),
        str(one.n_failed),
        str(one.n_paid),
        str(one.n_reused),
        one.status.replace("_", " "),
        one.origin,
        cut(one.stopped_because or one.repaired or one.reason, LONGEST),
    ]

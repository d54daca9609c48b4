"""Figures in words, safe to print: allocations, budgets, durations, where figures come from. Pure; nothing here writes.

Those that pages share stand in `agenttts.report.words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from agenttts._cli.console import clean
from agenttts.budgets.cost import Budget
from agenttts.report.provenance import provenance
from agenttts.report.unscored import unscored_texts
from agenttts.report.words import amount_text, cost_text, count_text, plural, share_text

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation
    from agenttts.study.archive import Unparsed, Unscored
    from agenttts.study.figures import Figure
    from agenttts.task.task import Task

__all__ = [
    "allocation_text",
    "amount_text",
    "charged_text",
    "cost_text",
    "count_text",
    "duration_text",
    "figure_lines",
    "plural",
    "provenance",
    "share_text",
    "unparsed_lines",
    "unscored_lines",
]


def charged_text(charged: float, budget: Budget) -> str:
    """Return what a problem is charged beside what it may be: `0.33 of 0.5 GFLOPs a problem (66%)`."""
    share = share_text(charged / budget.amount)
    return f"{amount_text(charged)} of {amount_text(budget.amount)} {budget.unit.label} a problem ({share})"


def allocation_text(allocation: Allocation) -> str:
    """Return an allocation in one line, safe to print: `translate tiny/m x4 majority; solve tiny/s x1`."""
    return clean(allocation, limit=10_000)


NOTABLY_UNPARSED = 0.1
"""Share of a stage's samples without an answer above which a result says so."""


def unparsed_lines(task: Task, unparsed: Mapping[str, Unparsed]) -> list[str]:
    """Return a line per stage where many samples matched no parse rule: a bad rule looks like a bad model."""
    from agenttts.pipeline.parsing import rule_text

    return [
        f"stage {clean(stage)}: {entry.share:.0%} of {plural(entry.n_samples, 'sample')} of {clean(entry.model)} "
        f"matched no parse rule ({clean(rule_text(task.file.stages[stage].parse))})"
        for stage, entry in unparsed.items()
        if entry.share > NOTABLY_UNPARSED
    ]


def unscored_lines(entries: Iterable[tuple[str, Unscored]]) -> list[str]:
    """Return a line per stage and way whose verifier left many samples without a score; safe to print."""
    return [clean(text, limit=1000) for text in unscored_texts(entries)]


def figure_lines(measures: Mapping[str, Figure], stages: Mapping[str, Figure]) -> list[str]:
    """Return a line per measure and per score of a stage, with interval and count; safe to print."""
    named = [(clean(name), figure) for name, figure in measures.items()]
    named += [(f"stage {clean(name)}", figure) for name, figure in stages.items()]
    return [f"{name} {_figure_text(figure)}" for name, figure in named]


def _figure_text(figure: Figure) -> str:
    interval = figure.interval
    told = "no score" if interval is None else f"{interval} on {plural(interval.n, 'problem')}"
    if not figure.n_unscored:
        return told
    because = clean(figure.because, limit=200)
    return f"{told}; {plural(figure.n_unscored, 'problem')} unscored, the first because {because}"


def duration_text(seconds: float | None) -> str:
    """Return `40 s`, `12 min`, `3.5 h`, or `unknown`."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

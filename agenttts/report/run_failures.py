"""A run's page, what failed: problems by cause, samples that went wrong, trials that do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.pages import Part, paragraph, table, text_list
from agenttts.report.run_words import group_text
from agenttts.report.words import cut, plural, share_text

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts

__all__ = ["failures_part"]

MOST = 50
LONGEST = 300
KINDS = {
    "unparsed": "no answer found in it",
    "runaway": "ran into the token limit",
    "unscored": "no score by the verifier",
}


def failures_part(facts: RunFacts) -> Part:
    """Return the part."""
    parts = [*_groups(facts), *_samples(facts), *_trials(facts)]
    if not parts:
        told = (
            "Nothing failed: every problem of every trial has a score."
            if facts.trials
            else "No trial has come to its end, so that nothing can be said of what fails."
        )
        parts = [paragraph(told)]
    return Part("failures", "What failed", tuple(parts))


def _groups(facts: RunFacts) -> list[str]:
    groups = facts.failures.groups
    if not groups:
        return []
    rows = [
        [
            f"{one.n:,}",
            one.split,
            one.stage,
            one.cause,
            one.problem_id,
            cut(one.example, LONGEST),
            group_text(one.trials, 5),
        ]
        for one in groups[:MOST]
    ]
    head = ["problems", "split", "stage", "cause", "first", "its message", "in"]
    return [
        paragraph("A failed problem is no wrong answer: it is in no score."),
        table(head, rows, label="Failed problems by cause", right=[0], fill=[5]),
        *_more(len(groups)),
    ]


def _samples(facts: RunFacts) -> list[str]:
    samples = facts.failures.samples
    if not samples:
        return []
    rows = [
        [
            one.stage,
            one.model,
            KINDS[one.kind],
            f"{one.n:,}",
            f"{one.n_samples:,}",
            share_text(one.n / max(1, one.n_samples)),
            cut(one.example, LONGEST),
        ]
        for one in samples[:MOST]
    ]
    head = ["stage", "model", "what", "samples", "of", "share", "e.g."]
    return [
        "<h3>Samples that went wrong</h3>",
        table(head, rows, label="Samples that went wrong", right=[3, 4, 5], fill=[6]),
        *_more(len(samples)),
    ]


def _more(n: int) -> list[str]:
    return [paragraph(f"and {n - MOST:,} more; agenttts report --json has all.", "soft")] if n > MOST else []


def _trials(facts: RunFacts) -> list[str]:
    failures = facts.failures
    told = [
        f"{what}: {group_text(numbers)}"
        for what, numbers in (
            ("Too many problems failed, so that nothing can be said of them", failures.invalid),
            ("Cost more than the budget", failures.over_budget),
            ("Ended early, because they could not win", failures.stopped),
        )
        if numbers
    ]
    if failures.pilot_failed:
        told.append(f"{plural(failures.pilot_failed, 'problem')} failed in the pilot, before the first trial")
    return ["<h3>Trials that are no candidates</h3>", text_list(told)] if told else []

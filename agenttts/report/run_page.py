"""The page of a run, in the order in which a reader asks: what to run, what else, what it costs, why, how it was found.

Made of facts alone (`agenttts.report.facts`); where they come from and where the page goes stands in `run_report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.report.pages import escaped, paragraph, parts_page
from agenttts.report.run_answer import answer_part
from agenttts.report.run_budgets import budgets_part
from agenttts.report.run_course import course_part
from agenttts.report.run_failures import failures_part
from agenttts.report.run_frontier import frontier_part
from agenttts.report.run_money import money_part
from agenttts.report.run_problems import problems_part
from agenttts.report.run_reasons import reasons_part
from agenttts.report.run_trials import trials_part
from agenttts.report.words import plural, sentence

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import Head

__all__ = ["asked_text", "run_page"]

PARTS = (
    answer_part,
    frontier_part,
    money_part,
    budgets_part,
    reasons_part,
    course_part,
    failures_part,
    trials_part,
    problems_part,
)


def run_page(facts: RunFacts) -> str:
    """Return the page."""
    head = facts.head
    lead = [paragraph(asked_text(head), "soft"), f"<p><strong>{escaped(head.provenance)}</strong></p>"]
    if head.status != "finished":
        lead.append(paragraph(f"{sentence(head.status.replace('_', ' '))} {sentence(head.message)}", "note"))
    return parts_page(
        f"{head.task}: what to run within {head.budget} a problem", lead, [part(facts) for part in PARTS]
    )


def asked_text(head: Head) -> str:
    """Return which run it is and what was asked of it, in a line."""
    planner = "" if head.planner is None else f", planner {head.planner}"
    limit = "" if head.search_budget is None else f"; a search budget of {head.search_budget}"
    problems = (
        plural(head.n_problems, "search problem") if head.n_problems else "no search problem has a score yet"
    )
    return (
        f"Run {head.folder}; {head.n_trials:,} of {head.n_trials_wanted:,} trials by {head.allocator}{planner}, seed {head.seed}; "
        f"{problems}; score: {head.metric}{limit}; agenttts {head.agenttts}"
    )

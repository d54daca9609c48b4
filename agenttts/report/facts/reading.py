"""From a run's folder to its facts."""

from __future__ import annotations

from pathlib import Path

from agenttts.report.facts.answer import answer_of
from agenttts.report.facts.course import course_of
from agenttts.report.facts.failures import failures_of
from agenttts.report.facts.frontier import frontier_of, standings
from agenttts.report.facts.head import head_of
from agenttts.report.facts.record import read_run
from agenttts.report.facts.single import problem_facts, trial_facts
from agenttts.report.facts.values import BudgetCurve, Money, Reasons, RolloutsFact, RunFacts

__all__ = ["facts_of"]


def facts_of(folder: Path, *, trust: bool = False) -> RunFacts:
    """Return the facts of the run in a folder, finished or not.

    Args:
        folder: Where its log is.
        trust: Allow the task's own Python code.

    Raises:
        RunError: There is no run, it is damaged, or a newer agenttts wrote it.
        InputError: The task in it cannot be read.
    """
    record = read_run(folder, trust=trust)
    standing = standings(record.archive)
    result = record.result
    return RunFacts(
        head=head_of(record),
        answer=answer_of(record),
        frontier=frontier_of(record, standing),
        money=Money((), result.spent, (), (), result.n_paid, result.n_reused),
        budgets=BudgetCurve((), None, "not computed"),
        reasons=Reasons((), (), (), (), (), (), None),
        course=course_of(record),
        failures=failures_of(record),
        trials=trial_facts(record, standing),
        problems=problem_facts(record, {}),
        rollouts=RolloutsFact((), 0, 0, "not computed"),
    )

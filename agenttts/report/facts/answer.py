"""What should I run, what does it score and cost, and how sure is that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agenttts.budgets.cost import total
from agenttts.report.facts.values import Answer
from agenttts.report.worth import flatters, near_zero_text

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Trial
    from agenttts.study.result import Confirmation, StudyResult

__all__ = ["answer_of"]

FEW = 30
"""Problems below which an interval is so wide that it must be said."""


def answer_of(record: RunRecord) -> Answer:
    """Return what to run."""
    result = record.result
    best, confirmed, other = result.best, result.confirmation, result.alternative
    unseen = None if confirmed is None else confirmed.winner
    return Answer(
        winner=None if best is None else best.number,
        allocation=None if best is None else best.allocation,
        plan="" if result.plan_path is None else str(result.plan_path),
        score=unseen if unseen is not None else result.best_interval,
        split=_split(result),
        search_score=result.best_interval,
        charged=None if best is None else best.charged,
        cost=None if best is None else total(best.costs.values()),
        share_of_budget=None if best is None else best.charged / result.budget.amount,
        runner_up=None if result.runner_up is None else result.runner_up.number,
        runner_up_score=None if confirmed is None else confirmed.runner_up,
        difference=None if confirmed is None else confirmed.difference,
        verdict="" if confirmed is None else confirmed.verdict,
        unconfirmed_because=result.no_confirmation_because,
        n_unseen=0 if confirmed is None else confirmed.n,
        n_failed_unseen=0 if confirmed is None else len(confirmed.winner_failures),
        alternative=None if other is None else other.trial.number,
        alternative_difference=None if other is None else other.difference,
        cautions=tuple(_cautions(result)),
        measures={} if confirmed is None else confirmed.winner_measures,
        stage_scores={} if confirmed is None else confirmed.winner_stages,
        break_even=result.break_even,
        unseen_charged=None if unseen is None or confirmed is None else confirmed.winner_charged,
    )


def _split(result: StudyResult) -> str:
    if result.best is None:
        return ""
    confirmed = result.confirmation
    return confirmed.split if confirmed is not None and confirmed.winner is not None else "search"


def _cautions(result: StudyResult) -> Iterator[str]:
    """Give what a reader of the score must know, most important first."""
    best, confirmed = result.best, result.confirmation
    warning = near_zero_text(result.trials)
    if warning:
        yield warning
    if best is None:
        yield "No trial is valid and within the budget, so there is nothing to recommend."
        return
    is_flattered = flatters(result.best_interval, None)
    if confirmed is None:
        looks = ": the best of many trials looks better there than it is" if is_flattered else ""
        yield (
            f"The score is that of the problems which chose the winner{looks}. It was not confirmed on unseen problems: "
            f"{result.no_confirmation_because}."
        )
    elif confirmed.winner is None:
        yield (
            f"So many of the {confirmed.n} unseen problems failed that the winner has no score on them; the score is "
            f"that of the problems which chose it{', and flatters it' if is_flattered else ''}."
        )
    else:
        yield from _of_confirmation(confirmed, result.budget.amount)
    yield from _of_trial(best)
    if result.status != "finished":
        yield "The search has not come to its end: more trials may find better."


def _of_confirmation(confirmed: Confirmation, budget: float) -> Iterator[str]:
    if confirmed.difference is not None and confirmed.difference.verdict == "worse":
        yield "On unseen problems the runner-up did better than the winner."
    if confirmed.n < FEW:
        yield f"Only {confirmed.n} unseen problems: the interval is wide."
    if confirmed.winner_charged is not None and confirmed.winner_charged > budget * (1 + 1e-9):
        yield "On unseen problems it costs more than the budget."
    if confirmed.winner_failures:
        yield (
            f"{len(confirmed.winner_failures)} of {confirmed.n} unseen problems failed for other reasons than a wrong "
            "answer; the score leaves them out."
        )


def _of_trial(best: Trial) -> Iterator[str]:
    for stage, one in best.unscored.items():
        if one.n:
            yield f"Stage {stage}: the verifier gave {one.n} of {one.n_samples} samples no score."
    if best.estimated_from:
        yield (
            "On the search problems its score is averaged over draws of other trials too; that is a better estimate, "
            "not another plan."
        )

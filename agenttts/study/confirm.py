"""The end of a study: winner and runner-up on problems that took no part in the choice, and the verdict.

Choosing the best of many trials by the same problems flatters it; the test split is read here for the first time and
nothing flows back into the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Budget, Cost, amount, total
from agenttts.study.archive import Archive, Trial, failure_from_json, failure_to_json
from agenttts.study.evaluate import Evaluation
from agenttts.study.figures import Figure, Unmeasured, measure_figures, stage_figures
from agenttts.study.result import MOST_CONFIRMED, Alternative, Confirmation, StudyOptions
from agenttts.study.statistics import ROUNDING, Interval, PairedDifference, mean_interval, paired_difference

if TYPE_CHECKING:
    from agenttts.task.schema import TaskFile

__all__ = ["alternative", "confirmation", "evaluation_to_json", "held_back", "n_affordable", "verdict"]

HELD_BACK_SHARE = 0.25
FEWEST_CONFIRMED = 20
"""With fewer problems than this the intervals say next to nothing."""
MOST_LOST = 0.02
"""Score that a cheaper plan may lose on the search problems and still be recommended."""
SAFETY = 1.3
"""Expected cost times this is kept free, for lengths vary."""


def evaluation_to_json(evaluation: Evaluation, budget: Budget) -> dict[str, Any]:
    """Return what the confirmation keeps of an evaluation, as plain data."""
    return {
        "allocation": evaluation.allocation.to_json(),
        "scores": dict(evaluation.scores),
        "stage_scores": {stage: dict(values) for stage, values in evaluation.stage_scores.items()},
        "measures": {name: dict(values) for name, values in evaluation.measures.items()},
        "unmeasured": {name: one.to_json() for name, one in evaluation.unmeasured.items()},
        "failures": [failure_to_json(entry) for entry in evaluation.failures],
        "invalid": evaluation.invalid,
        "charged": evaluation.charged(budget),
        "n_paid": evaluation.n_paid,
        "n_reused": evaluation.n_reused,
    }


def confirmation(event: Mapping[str, Any], options: StudyOptions, file: TaskFile) -> Confirmation:
    """Return the confirmation that an event `confirmed` of a study of the task describes."""
    winner, runner_up = event["winner"], event["runner_up"]
    both = [winner] if runner_up is None else [winner, runner_up]
    intervals = [_interval(entry, options) for entry in both]
    difference = None
    if (
        None not in intervals
        and runner_up is not None
        and winner["scores"].keys() & runner_up["scores"].keys()
    ):
        difference = paired_difference(
            winner["scores"], runner_up["scores"], confidence=options.confidence, seed=options.seed
        )
    return Confirmation(
        n=event["n"],
        n_wanted=event.get("n_wanted", event["n"]),  # older logs lack it
        winner=intervals[0],
        runner_up=intervals[1] if len(intervals) > 1 else None,
        difference=difference,
        verdict=verdict(difference, has_runner_up=runner_up is not None),
        winner_failures=tuple(map(failure_from_json, winner["failures"])),
        runner_up_failures=() if runner_up is None else tuple(map(failure_from_json, runner_up["failures"])),
        winner_charged=winner["charged"] if winner["scores"] else None,
        winner_measures=_measures(winner, options),
        winner_stages=stage_figures(
            winner.get("stage_scores", {}), file, confidence=options.confidence, seed=options.seed
        ),
    )


def _measures(entry: Mapping[str, Any], options: StudyOptions) -> dict[str, Figure]:
    left = {name: Unmeasured(**one) for name, one in entry.get("unmeasured", {}).items()}
    return measure_figures(entry.get("measures", {}), left, confidence=options.confidence, seed=options.seed)


def _interval(entry: Mapping[str, Any], options: StudyOptions) -> Interval | None:
    if entry["invalid"]:
        return None
    return mean_interval(list(entry["scores"].values()), confidence=options.confidence, seed=options.seed)


def verdict(difference: PairedDifference | None, *, has_runner_up: bool = True) -> str:
    """Return in words what a paired comparison of winner and runner-up says."""
    if not has_runner_up:
        return "there is no runner-up to compare with"
    if difference is None:
        return "not comparable: too many problems failed"
    if difference.verdict == "better":
        return "the winner is better on unseen problems"
    if difference.verdict == "worse":
        return "the runner-up did better on unseen problems: the search problems misled"
    return f"winner and runner-up are not distinguishable on unseen problems{_disagreement(difference)}"


def _disagreement(difference: PairedDifference) -> str:
    """Return why a difference counts as none although one of its two figures says otherwise; a reader sees both."""
    if not difference.holds_zero:
        return ": the interval leaves 0 out, but by the test it could be chance"
    if difference.p < 1 - difference.confidence:
        return ": the test tells them apart, but the interval holds 0"
    return ""


def alternative(archive: Archive, options: StudyOptions) -> Alternative | None:
    """Return the cheapest trial that costs at least a tenth less and is about as good; `None` where there is none.

    About as good: neither interval nor test tells it from the winner, and on the problems that both have scores for it
    lost at most 2 points of 100. A verdict alone would not do: the fewer the problems, the greater a loss that could
    still be chance, and what is offered here is taken for a recommendation. A bound that grows with the standard error
    would have the same fault, so this one is fixed.
    """
    best = archive.best()
    if best is None:
        return None
    cheaper = [trial for trial in archive.ranked if trial.charged < 0.9 * best.charged]
    for trial in sorted(cheaper, key=lambda trial: (trial.charged, -trial.score, trial.number)):
        lost = _mean_lost(best, trial)
        if lost is None or lost > MOST_LOST + ROUNDING:  # the test of a difference takes its time
            continue
        difference = paired_difference(
            best.scores, trial.scores, confidence=options.confidence, seed=options.seed
        )
        if _about_as_good(difference):
            return Alternative(trial, difference)
    return None


def _mean_lost(best: Trial, trial: Trial) -> float | None:
    """Return what a trial scores less on the problems that both have; `None`: they share none."""
    common = sorted(best.scores.keys() & trial.scores.keys())
    if not common:
        return None
    return math.fsum(best.scores[name] - trial.scores[name] for name in common) / len(common)


def _about_as_good(difference: PairedDifference) -> bool:
    could_be_chance = difference.verdict == "not distinguishable" and difference.holds_zero
    return could_be_chance and difference.mean <= MOST_LOST + ROUNDING


def n_wanted(options: StudyOptions) -> int:
    """Return the most test problems that the confirmation asks for."""
    return options.n_confirm if options.n_confirm is not None else MOST_CONFIRMED


def held_back(options: StudyOptions, *, models_score: bool = False) -> float:
    """Return what of the search budget is kept for the confirmation, in its unit.

    A quarter at most; less where two allocations that use up the whole budget per problem need less and no model
    scores, which no problem is charged for. It depends on options and task alone, so that a resumed search stops where
    an uninterrupted one does.
    """
    if options.search_budget is None or not options.confirm:
        return 0.0
    quarter = HELD_BACK_SHARE * options.search_budget.amount
    if models_score or options.search_budget.unit is not options.budget.unit:
        return quarter
    return min(quarter, 2 * n_wanted(options) * options.budget.amount)


def n_affordable(options: StudyOptions, finalists: Sequence[Trial], spent: Cost) -> int:
    """Return for how many test problems the rest of the search budget is expected to pay."""
    cap = options.search_budget
    if cap is None:
        return n_wanted(options)
    left = cap.amount - amount(spent, cap.unit)
    per_problem = sum(amount(total(trial.costs.values()), cap.unit) for trial in finalists)
    n = n_wanted(options) if per_problem <= 0 else int(left / (SAFETY * per_problem))
    n = min(n, n_wanted(options))
    return n if n >= min(FEWEST_CONFIRMED, n_wanted(options)) else 0

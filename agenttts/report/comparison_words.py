"""A comparison in words and rows of cells, as terminal and page both show it. Pure; nothing is escaped here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from agenttts.budgets.cost import Cost, Unit, amount, plain_digits, total
from agenttts.errors import CardError
from agenttts.study.comparison_folder import ANOTHER

if TYPE_CHECKING:
    from agenttts.study.comparison_runs import ComparisonResult, RunOutcome
    from agenttts.study.comparison_statistics import Estimate
    from agenttts.study.comparison_values import AllocatorSummary, Comparison, PairTest

__all__ = [
    "MEASURES",
    "bill_text",
    "censored_text",
    "endings_text",
    "how_made",
    "pair_table",
    "score_text",
    "spend_text",
    "summary_table",
    "target_text",
    "trials_text",
    "why_text",
]

Table = tuple[list[str], list[list[str]]]
"""Head and rows of cells."""


class HasInterval(Protocol):
    """A figure with its interval."""

    @property
    def value(self) -> float:
        """The figure."""
        ...

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        ...

    @property
    def high(self) -> float:
        """Upper end."""
        ...


MEASURES = {
    "trials": "trials to target, ratio",
    "spend": "spend to target, ratio",
    "found": "found in the end, difference",
    "test": "final plan on test problems, difference",
}


def target_text(comparison: Comparison) -> str:
    """Return what counts as having reached the target."""
    what = "the best true score" if comparison.truth_known else "the best score that any run found"
    return f"within {comparison.target:g} of {what}, {comparison.best_known:.3f}"


def trials_text(summary: AllocatorSummary) -> str:
    """Return the median number of trials to the target; `>40` where half of the runs needed more than they had."""
    return censored_text(summary.trials_to_target, lambda value: f"{value:g}", f">{summary.most_trials}")


def spend_text(summary: AllocatorSummary) -> str:
    """Return the median spend to the target; `never` where half of the runs ended before it, whatever they spent."""
    return censored_text(summary.spend_to_target, _amount, "never")


def _amount(value: float) -> str:
    return plain_digits(value, 3)


def censored_text(estimate: Estimate | None, show: Callable[[float], str], beyond: str) -> str:
    """Return a median with its interval; what was not reached is `beyond`."""
    if estimate is None:
        return "none"
    value, low, high = (
        show(part) if math.isfinite(part) else beyond
        for part in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def score_text(estimate: HasInterval | None, *, signed: bool = False) -> str:
    """Return a score or a difference of scores with its interval."""
    if estimate is None:
        return "none"
    form = "+.3f" if signed else ".3f"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def summary_table(comparison: Comparison, unit: Unit) -> Table:
    """Return a row per allocator."""
    found = "true score" if comparison.truth_known else "search score"
    head = [
        "allocator",
        "runs",
        "reached",
        "trials to target",
        f"{unit.label} to target",
        found,
        "test score",
    ]
    rows = [
        [
            summary.name,
            str(summary.n_runs),
            str(summary.n_reached),
            trials_text(summary),
            spend_text(summary),
            score_text(summary.found),
            score_text(summary.test),
        ]
        for summary in comparison.summaries
    ]
    return head, rows


def pair_table(comparison: Comparison) -> Table:
    """Return a row per pair of allocators and measure."""
    head = ["pair", "measure", "value", "p", "p corrected", "seeds", "better"]
    rows = [
        [
            f"{pair.first} : {pair.second}",
            MEASURES[test.measure],
            _difference(test),
            _p_text(test),
            f"{test.p_adjusted:.3g}",
            str(test.n_seeds),
            test.winner or "not distinguishable",
        ]
        for pair in comparison.pairs
        for test in pair.tests
    ]
    return head, rows


def _p_text(test: PairTest) -> str:
    if test.p_by_seed is None or test.p_by_problem is None:
        return f"{test.p:.3g}"
    return f"{test.p:.3g} (seeds {test.p_by_seed:.3g}, {test.n_problems} problems {test.p_by_problem:.3g})"


def _difference(test: PairTest) -> str:
    if test.measure in {"found", "test"}:
        return score_text(test.difference, signed=True)
    if test.difference is None:
        return "unknown: neither reached it"
    low, high = (
        f"{end:.2f}" if 0 < end < math.inf else "unknown"
        for end in (test.difference.low, test.difference.high)
    )
    return f"{_ratio(test.difference.value, test.bound)} [{low}, {high}]"


def _ratio(value: float, bound: float | None) -> str:
    """Return a ratio of medians; where one of them was not reached, the bound that is known of it."""
    if 0 < value < math.inf:
        return f"{value:.2f}"
    if bound is None:
        return "unknown"
    return f"below {bound:.2f}" if value <= 0 else f"above {bound:.2f}"


def bill_text(result: ComparisonResult) -> str:
    """Return what was spent, as if each study were alone and really."""
    alone, paid = (_spent(cost, result.unit) for cost in (result.spent, result.paid))
    return (
        f"spent {alone} {result.unit.label}, had each study been alone; really paid {paid} {result.unit.label}, for "
        f"draws that studies share were paid for once{_planner_text(result)}"
    )


def _planner_text(result: ComparisonResult) -> str:
    """Return how much of the spend asking a planner took; empty where nobody asks one."""
    costs = [run.planner_spent for run in result.runs if run.planner_spent is not None]
    if not costs:
        return ""
    try:
        spent = f"{_spent(total(costs), result.unit)} {result.unit.label}"
    except CardError:  # the planner's card does not tell
        spent = f"an unknown number of {result.unit.label}"
    return f". Calls to planners took {spent} of it; spend to target counts them too"


def endings_text(result: ComparisonResult) -> list[str]:
    """Return what a reader must know of studies that are not in the tables, or ended early in them; a line each."""
    lines = []
    ended = [run for run in result.runs if run.status == "search_budget_exhausted"]
    if ended:
        empty = [run for run in ended if not run.has_result]
        names = dict.fromkeys(run.allocator for run in empty)
        what = (
            f" {len(empty)} of them ended before a trial and have no result ({', '.join(names)})."
            if empty
            else ""
        )
        lines.append(
            f"{len(ended)} of {len(result.runs)} studies ended at their search budget.{what} "
            f"A larger one is another comparison: give it with {ANOTHER}."
        )
    lost = [
        name for name in dict.fromkeys(run.allocator for run in result.runs) if not _any_result(result, name)
    ]
    if lost:
        lines.append(f"No study of {', '.join(lost)} has a result: nothing is said of them below.")
    if result.left_out:
        lines.append(
            f"The folder also holds studies of {', '.join(result.left_out)}, which are not in these tables: only what "
            "was asked for now is. Name all to have them compared; what is finished is read, not run again."
        )
    return lines


def _any_result(result: ComparisonResult, name: str) -> bool:
    return any(run.has_result for run in result.runs if run.allocator == name)


def why_text(run: RunOutcome) -> str:
    """Return why a study has no result."""
    if run.status == "search_budget_exhausted":
        return "the search budget was reached before a trial had ended"
    return run.message or "did not come to its end"


def _spent(cost: Cost, unit: Unit) -> str:
    return plain_digits(amount(cost, unit), 4)


def how_made(comparison: Comparison) -> Sequence[str]:
    """Return what a reader must know of how the figures were made."""
    level = 1 - comparison.confidence
    return (
        "Seeds are of the search. Draws are numbered and kept, so all studies see the same draws of the same prompts: "
        "intervals say how much searches vary, not how much another set of draws would.",
        "Spend is what each study would have paid alone. Trials of one batch run at the same time and count as bought "
        "by the end of their batch. Each study pays a pilot before its first trial; it is in its spend. So are the "
        "calls of those that ask a planner: runs.csv and curves.csv say beside it how much of it they were.",
        f"The target is a score {target_text(comparison)}. Runs that did not reach it are not left out: they count as "
        "later than any that did. A median that falls on them is shown as more trials than they had, and as never; a "
        "ratio to it as the bound that follows from how far they went, and an end of an interval there as unknown.",
        f"Intervals are {comparison.confidence:.0%} bootstrap intervals over seeds, of test scores over seeds and "
        "problems. With few seeds they are too narrow.",
        "Tests pair runs of the same seed: exact signed ranks for trials and spend, sign flips for scores. Final plans "
        "must differ by seeds and by problems; the larger p counts. All p-values are corrected together (Holm): "
        f"allocators that are the same are called different, by any measure, in at most {level:.0%} of comparisons.",
        "Not distinguishable means that these runs cannot tell, not that there is no difference.",
    )

"""The table of the paper's protocol in words and rows of cells, as terminal and page show it. Pure; nothing is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Cost, Unit, amount, plain_digits
from agenttts.errors import CardError
from agenttts.report.comparison_words import censored_text, endings_text, score_text

if TYPE_CHECKING:
    from agenttts.report.paper_report import PaperResult
    from agenttts.study.paper import PaperRow
    from agenttts.study.paper_methods import Method

__all__ = [
    "asked_text",
    "bill_text",
    "difference_table",
    "how_made",
    "legend",
    "notes_text",
    "score_table",
    "search_table",
]

Table = tuple[list[str], list[list[str]]]
NONE = "-"
HEADS = {Unit.GFLOPS: "GFLOPs", Unit.USD: "USD", Unit.SECONDS: "hours"}
SECONDS_OF_HOUR = 3600.0


def asked_text(result: PaperResult) -> str:
    """Return what was asked of every search, in a line."""
    options = next(iter(result.setup.folder.options.values()))
    task = result.setup.folder.task
    planner = result.setup.folder.planner
    parts = [
        f"{len(result.setup.methods)} methods, {result.n_seeds} {'seed' if result.n_seeds == 1 else 'seeds'} each",
        f"at most {options.budget} a problem",
        f"{options.n_trials} trials in batches of {options.batch}",
        f"{len(task.search)} search and {result.n_test} test problems",
    ]
    if options.search_budget is not None:
        parts.append(f"a search budget of {options.search_budget}")
    if planner is not None:
        parts.append(f"planner {planner.name}")
    return "; ".join(parts)


def score_table(result: PaperResult) -> Table:
    """Return a row per method: what it found, ours on the test problems, and the paper's."""
    head = ["method", "seeds", "search score", "test score (ours)"]
    head += ["published"] if result.published is not None else []
    rows = [[*_scores(row), *_published(result, row.method, "score")] for row in result.rows]
    rows += [
        [method.label, NONE, NONE, "not run: no planner", *_published(result, method, "score")]
        for method in result.setup.missing
    ]
    return head, rows


def _scores(row: PaperRow) -> list[str]:
    found = "none" if row.found is None else f"{row.found.value:.3f}"
    return [row.method.label, str(row.n_seeds), found, score_text(row.test)]


def _published(result: PaperResult, method: Method, key: str) -> list[str]:
    if result.published is None:
        return []
    figure = result.published.figures.get(method.contender)
    value = None if figure is None else getattr(figure, key)
    return [NONE if value is None else f"{value:.2f}" if key == "score" else f"{value:.1f}"]


def difference_table(result: PaperResult) -> Table:
    """Return a row per method that is compared with the paper's own."""
    head = [f"less {result.reference.label}", "difference", "p corrected", "verdict"]
    rows = [
        [
            row.method.label,
            score_text(row.against.difference, signed=True),
            f"{row.against.p_adjusted:.3g}",
            row.against.verdict,
        ]
        for row in result.rows
        if row.against is not None
    ]
    return head, rows


def search_table(result: PaperResult) -> Table:
    """Return a row per method: what it took to come to the best that any of them found."""
    units = [unit for unit in HEADS if any(unit in (row.cost or {}) for row in result.rows)]
    head = ["method", "arrived", "trials", *(HEADS[unit] for unit in units)]
    head += ["published h"] if result.published is not None else []
    rows = [
        [
            row.method.label,
            f"{row.n_reached} of {row.n_seeds}",
            censored_text(row.trials, lambda value: f"{value:g}", f">{row.most_trials}"),
            *(_cost(row, unit) for unit in units),
            *_published(result, row.method, "hours"),
        ]
        for row in result.rows
    ]
    return head, rows


def _cost(row: PaperRow, unit: Unit) -> str:
    estimate = (row.cost or {}).get(unit)
    if estimate is None:
        return "unknown"
    if not math.isfinite(estimate.value):
        return "never"
    return plain_digits(estimate.value / (SECONDS_OF_HOUR if unit is Unit.SECONDS else 1), 3)


def notes_text(result: PaperResult) -> list[str]:
    """Return what a reader must know before believing a figure; a sentence or two each."""
    lines = [*_missing(result), *endings_text(result.searches), *result.setup.notes]
    return [*lines, *(() if result.comparison is None else result.comparison.notes)]


def _missing(result: PaperResult) -> list[str]:
    lines = []
    if result.setup.missing:
        names = ", ".join(method.label for method in result.setup.missing)
        lines.append(
            f"Not run: {names}. They ask a planner and none is set: name one with --planner CARD, or set `planner` in the "
            "task file."
        )
    if result.published is None:
        lines.append(
            f"The paper prints nothing of the task {result.setup.folder.task.file.name}: there are no published figures to "
            "stand beside ours."
        )
    lines += [
        f"{score.n_failed} of {result.n_test} test problems failed for {score.allocation}"
        + ("; they have no part in its figures." if score.scores else ": it has no test score.")
        for score in result.tests.values()
        if score.n_failed
    ]
    return lines


def bill_text(result: PaperResult) -> list[str]:
    """Return what was spent; a sentence each."""
    spent = ", ".join(_amounts(result.searches.spent)) or "an unknown amount"
    paid = ", ".join(_amounts(result.searches.paid)) or "an unknown amount"
    lines = [
        f"Searches: {spent}, had each been alone; really paid {paid}, for draws that they share were paid for once, and "
        f"the test of {len(result.tests)} distinct allocations is in it."
    ]
    told = [(row.method.label, row.planner) for row in result.rows if row.planner is not None]
    if told:
        each = ", ".join(f"{label} {planner.calls:,} calls" for label, planner in told)
        usd = [planner.usd for _, planner in told if planner.usd is not None]
        price = f" Together {plain_digits(math.fsum(usd), 3)} USD." if len(usd) == len(told) else ""
        failed = sum(planner.failed for _, planner in told)
        lines.append(f"The planner's calls come on top: {each}; {failed:,} brought no reply.{price}")
    return lines


def _amounts(cost: Cost) -> list[str]:
    told = []
    for unit in (Unit.GFLOPS, Unit.USD):
        try:
            value = amount(cost, unit)
        except CardError:
            continue
        if value or unit is Unit.GFLOPS:
            told.append(f"{plain_digits(value, 4)} {unit.label}")
    return told


def legend(result: PaperResult) -> list[str]:
    """Return what a reader must know to read the tables at all; a paragraph each."""
    best, confidence = result.comparison, result.confidence
    lines = [
        f"Test scores and differences: {confidence:.0%} intervals over seeds and problems at once, with one seed over "
        f"problems alone. Differences pair seeds and problems with those of {result.reference.label}; p-values are "
        "corrected together (Holm), intervals are not. Not distinguishable means that these searches and problems cannot "
        "tell, not that there is no difference.",
    ]
    if best is not None:
        lines.append(
            f"Arrived: a search score within {best.target:g} of the best that any search found, {best.best_known:.3f}. "
            "Trials and costs until then are medians over seeds; searches that never came there count as later than any "
            "that did. The planner's calls are not in these costs, the pilot is."
        )
    if result.published is not None:
        lines.append(
            f"Published: {result.published.measure}, {result.published.source}. {result.published.note}"
        )
    return lines


def how_made(result: PaperResult) -> Sequence[str]:
    """Return what else a reader must know of how the figures were made."""
    return (
        "Each trial runs all search problems and counts with their plain mean. What a search found is its best trial; it "
        "is scored on the test problems once all searches have ended, each distinct allocation once.",
        "Intervals of test scores come from mean squares and a t distribution, as for studies with several readers and "
        "cases (Hillis 2007): they hold from two seeds on, and are wide with three. Intervals of medians are bootstrap "
        "intervals over seeds, too narrow with so few.",
        "A search score is that of the best of many trials on the problems that chose it, and so flattered.",
        "Searches share their draws: intervals say how much searches and problems vary, not how much another set of draws "
        "would. Trials of a batch count as bought by its end.",
        "BO is not described in the paper and no code of it is public; here it is a Gaussian process with expected "
        "improvement (gp). tpe can be named in its place.",
        "Costs bill fusion, verification and attention, which the paper's do not, so within the same budget fewer "
        "allocations fit. Hours are latencies by the cards' speeds, problems one after another; the paper's are of runs on "
        "its machine, and the two cannot be compared.",
    )

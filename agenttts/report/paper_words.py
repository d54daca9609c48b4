"""The table of the paper's protocol in words and rows of cells, as terminal and page show it. Pure; nothing is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Cost, Unit, amount, plain_digits
from agenttts.errors import CardError
from agenttts.report.comparison_words import censored_text, endings_text, score_text
from agenttts.study.crossed import seeds_for

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
    "planner_table",
    "score_table",
    "search_table",
]

Table = tuple[list[str], list[list[str]]]
NONE = "-"
MARK = " (!)"
"""Behind methods whose planner gave nothing."""
FEW_SEEDS = 5
"""Up to so many searches, a bootstrap interval of their median is their least and most."""
TO_SHOW = 0.02
"""Difference that published figures are about: a standard error of theirs."""
SHARED_OPENING = frozenset({"random", "gp", "mlcopilot"})
"""Methods whose first batch is the same random draw, of equal seeds."""
HEADS = {Unit.GFLOPS: "GFLOPs", Unit.USD: "USD", Unit.SECONDS: "hours"}
SECONDS_OF_HOUR = 3600.0


def asked_text(result: PaperResult) -> str:
    """Return what was asked of every search, in a line."""
    options = next(iter(result.setup.folder.options.values()))
    task = result.setup.folder.task
    planner = result.setup.folder.planner
    parts = [
        f"{_plural(len(result.setup.methods), 'method')}, {_plural(result.n_seeds, 'seed')} each",
        f"at most {options.budget} a problem",
        f"{_plural(options.n_trials, 'trial')} in batches of {options.batch}",
        f"{len(task.search)} search and {result.n_test or result.setup.n_test} test problems",
    ]
    if options.search_budget is not None:
        parts.append(f"a search budget of {options.search_budget}")
    if planner is not None:
        parts.append(f"planner {planner.name}")
    return "; ".join(parts)


def _plural(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def score_table(result: PaperResult) -> Table:
    """Return a row per method: what it found, ours on the test problems, and the paper's."""
    head = ["method", "seeds", "search score", "test score (ours)"]
    head += ["published"] if result.published is not None else []
    rows = [[*_scores(row), *_published_of(result, row, "score")] for row in result.rows]
    rows += [
        [method.label, NONE, NONE, "not run: no planner", *_published(result, method, "score")]
        for method in result.setup.missing
    ]
    return head, rows


def _scores(row: PaperRow) -> list[str]:
    found = "none" if row.found is None else f"{row.found.value:.3f}"
    return [_label(row), str(row.n_seeds), found, score_text(row.test)]


def _label(row: PaperRow) -> str:
    """Return the method, marked where nothing of its planner is in it."""
    return f"{row.method.label}{MARK}" if row.is_filled else row.method.label


def _published_of(result: PaperResult, row: PaperRow, key: str) -> list[str]:
    """Return what is printed of a row's method; nothing beside a search that is not of the method."""
    return [NONE] * (result.published is not None) if row.is_filled else _published(result, row.method, key)


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
            _label(row),
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
    head += ["paper's h"] if result.published is not None else []
    rows = [
        [_label(row), *_arrived(result, row, units), *_published_of(result, row, "hours")]
        for row in result.rows
    ]
    return head, rows


def _arrived(result: PaperResult, row: PaperRow, units: Sequence[Unit]) -> list[str]:
    """Return how many searches arrived and after how much; nothing where the best found is 0, for all begin there."""
    best = result.comparison
    if best is None or best.best_known <= 0:
        return [NONE] * (2 + len(units))
    return [f"{row.n_reached} of {row.n_seeds}", _trials(row), *(_cost(row, unit) for unit in units)]


def _trials(row: PaperRow) -> str:
    told = censored_text(row.trials, lambda value: f"{value:g}", f">{row.most_trials}")
    if row.n_seeds > FEW_SEEDS:
        return told
    value, _, ends = told.partition(" ")
    return value if row.n_seeds == 1 else f"{value} {ends.strip('[]').replace(', ', ' to ').join('()')}"


def planner_table(result: PaperResult) -> Table:
    """Return a row per method that has a planner: what came of asking it."""
    head = ["planner of", "calls", "no reply", "rounds", "none usable", "proposals its own"]
    rows = [
        [
            _label(row),
            f"{row.planner.calls:,}",
            f"{row.planner.failed:,}",
            f"{share.rounds:,}",
            f"{share.nothing_usable:,}",
            f"{share.given:,} of {share.due:,}",
        ]
        for row in result.rows
        if row.planner is not None
        for share in [row.planner.share]
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
    lines = [*_planners(result), *_pool(result), *_missing(result)]
    lines += [*endings_text(result.searches), *result.setup.notes]
    return [*lines, *(() if result.comparison is None else result.comparison.notes)]


def _planners(result: PaperResult) -> list[str]:
    """Return which methods are not what their name says, or only in part, for want of their planner's proposals."""
    lines = []
    for row in result.rows:
        share = row.planner.share if row.planner is not None else None
        if share is None or not row.n_seeds:
            continue
        label, why = row.method.label, f" Why: {share.causes[0]}." if share.causes else ""
        if not share.rounds:
            lines.append(f"{label} never came to ask its planner: all its trials are of its opening.")
        elif row.is_filled:
            lines.append(
                f"{label}{MARK}: the planner gave 0 of {share.due:,} proposals that it was asked for, and they were filled in "
                f"{_filling(row)}: this says nothing of {label}, and nothing published stands beside it.{why}"
            )
        elif share.given < share.due / 2:
            lines.append(
                f"{label}: the planner gave {share.given:,} of {share.due:,} proposals that it was asked for; the others were "
                f"filled in {_filling(row)}.{why}"
            )
    return lines


def _filling(row: PaperRow) -> str:
    return (
        "by curves"
        if row.method.contender.startswith("agent[") or row.method.contender == "agent"
        else "at random"
    )


def _pool(result: PaperResult) -> list[str]:
    """Return in what the models and prompts of these searches differ from those that the task speaks of."""
    budget = next(iter(result.setup.folder.options.values())).budget
    longer = "; ".join(
        f"{one.stage} {one.seen:,.0f} tokens, where the task says {one.stated:,.0f}"
        for one in result.pool.long_prompts
    )
    lines = []
    if longer:
        beside = (
            ""
            if result.published is None
            else ", and published figures are of the lengths that the task says"
        )
        lines.append(
            f"Prompts are longer than the task says: {longer}. So fewer allocations fit {budget} a problem{beside}."
        )
    if result.pool.never_fits:
        lines.append(
            f"Never used, for no allocation with them fits {budget} a problem at the lengths seen: "
            f"{', '.join(result.pool.never_fits)}. The scores are of the pool without them; --budget gives them room."
        )
    if result.pool.never_tried:
        lines.append(f"Tried by no search, although they may fit: {', '.join(result.pool.never_tried)}.")
    return lines


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
        each = ", ".join(f"{label} {_plural(planner.calls, 'call')}" for label, planner in told)
        usd = [planner.usd for _, planner in told if planner.usd is not None]
        price = f" Together {plain_digits(math.fsum(usd), 3)} USD." if len(usd) == len(told) else ""
        failed = sum(planner.failed for _, planner in told)
        useless = sum(planner.share.nothing_usable for _, planner in told)
        rounds = sum(planner.share.rounds for _, planner in told)
        lines.append(
            f"The planner's calls come on top: {each}; {failed:,} brought no reply, and in {useless:,} of "
            f"{_plural(rounds, 'round')} it replied with no proposal that could be used.{price}"
        )
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
    lines = [_score_legend(result)]
    lines += [_size_legend(result)] if any(row.against is not None for row in result.rows) else []
    lines += _search_legend(result)
    if result.published is not None:
        lines.append(
            f"Published: {result.published.measure}, {result.published.source}. {result.published.note}"
        )
    return lines


def _score_legend(result: PaperResult) -> str:
    over = "problems" if result.n_seeds == 1 else "seeds and problems at once"
    what = "Test scores"
    more = ""
    if any(row.against is not None for row in result.rows):
        what = "Test scores and differences"
        more = (
            f" Differences pair {'problems' if result.n_seeds == 1 else 'seeds and problems'} with those of "
            f"{result.reference.label}; p-values are corrected together (Holm), intervals are not. Not distinguishable means "
            "that these searches and problems cannot tell, not that there is no difference."
        )
    return f"{what}: {result.confidence:.0%} intervals over {over}.{more}"


def _size_legend(result: PaperResult) -> str:
    """Return how small a difference searches and problems of this number could show, and what a smaller one takes."""
    seen = [row.against.difference for row in result.rows if row.against is not None]
    widest = max(one.reach for one in seen)
    told = (
        f"Seeds and problems so few tell differences of about {widest:.3f} or more from none (half of the widest interval, "
        "before correction)."
    )
    if widest <= TO_SHOW or result.n_seeds == 1:
        return told
    needed = [seeds_for(one, TO_SHOW) for one in seen]
    known = [n for n in needed if n is not None]
    if len(known) < len(needed):
        return f"{told} For {TO_SHOW:g} no number of seeds would do: it takes more test problems."
    return f"{told} For {TO_SHOW:g} about {max(known):,} seeds of each method would do, by the variance seen here."


def _search_legend(result: PaperResult) -> list[str]:
    best = result.comparison
    if best is None:
        return []
    if best.best_known <= 0:
        return ["The best search score is 0: no search found anything, and none can be said to have arrived."]
    ends = "" if result.n_seeds == 1 else ", in brackets the least and the most of the searches"
    if result.n_seeds > FEW_SEEDS:
        ends = f", in brackets their {result.confidence:.0%} bootstrap intervals"
    lines = [
        f"Arrived: a search score within {best.target:g} of the best that any search found, {best.best_known:.3f}. Trials "
        f"until then are medians over seeds{ends}; costs until then are medians. Searches that never came there count as later "
        "than any that did. The planner's calls are not in these costs, the pilot is."
        + (
            " paper's h: hours until the optimum was found as the paper prints them, of its machine."
            if result.published is not None
            else ""
        )
    ]
    if sum(run.has_result for run in result.searches.runs) == 1:
        lines.append("There is one search, which arrives at its own best whatever that is.")
    shared = [row.method.label for row in result.rows if row.method.contender in SHARED_OPENING]
    if len(shared) > 1:
        batch = next(iter(result.setup.folder.options.values())).batch
        lines.append(
            f"{', '.join(shared[:-1])} and {shared[-1]} begin alike: their first batch of {batch} is the same random draw, "
            "seed by seed. What arrived within it says nothing of the method."
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

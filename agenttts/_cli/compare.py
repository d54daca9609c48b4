"""`agenttts compare`: quote, studies in worker processes with progress, then table, CSV files and page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agenttts._cli.advice import planner_quote
from agenttts._cli.console import ask, clean, fold, print_json, say, say_aside, table
from agenttts._cli.words import amount_text, plural
from agenttts.budgets.cost import Cost
from agenttts.errors import InfeasibleBudgetError
from agenttts.study.archive import cost_to_json

if TYPE_CHECKING:
    from agenttts.study.comparison_folder import ComparisonFolder
    from agenttts.study.comparison_opening import ComparisonRequest
    from agenttts.study.comparison_runs import ComparisonResult, RunOutcome
    from agenttts.study.comparison_truth import Truth
    from agenttts.study.comparison_values import Comparison
    from agenttts.study.comparison_workers import WorkerReport
    from agenttts.study.result import StudyOptions

__all__ = ["comparison_json", "failures_text", "quote_studies", "run_compare", "watching"]

MOST_FAILURES = 5
MOST_LOOKED_UP = 100_000
"""Allocations of a space that are looked up in the truth before the first study."""


def run_compare(
    request: ComparisonRequest,
    *,
    jobs: int | None,
    truth: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Carry out the command; end with the exit code of the first study that failed, or of a search budget reached."""
    from agenttts.models.probe import require_answering
    from agenttts.pipeline.together import run_now
    from agenttts.report.comparison_report import asked_text, read_truth, report_comparison
    from agenttts.study.comparison_opening import cores, prepare_comparison
    from agenttts.study.comparison_runs import outcomes, run_studies
    from agenttts.study.comparison_truth import check_truth

    truths = read_truth(truth) if truth is not None else None
    folder = prepare_comparison(request)
    if truths is not None:
        check_truth(truths, folder.task)
    names, seeds = request.names, list(range(request.n_seeds))
    runs = outcomes(folder, names, seeds, {})
    todo = [run for run in runs if not run.counts]
    if not any(run.n_trials for run in runs):
        # Later on, each study looks before it draws what the pool lacks: what is paid for needs no server.
        run_now(
            require_answering(folder.task.cards.values(), folder.task.card_files), instead="agenttts compare"
        )
    if todo:
        if truths is not None:
            _tell_lacking(folder, truths)
        quote_studies(folder, todo, yes=yes)
    try:
        with watching(folder, n_done=len(names) * len(seeds) - len(todo), todo=todo) as report:
            failed = run_studies(folder, names, seeds, jobs=jobs or cores(), report=report)
    except KeyboardInterrupt:
        say_aside(f"What is finished and paid for is kept in {folder.path}; the same command goes on.")
        raise
    result = report_comparison(folder, names, seeds, failed, target=request.target, truth=truths)
    if as_json:
        print_json(comparison_json(result, asked_text(folder, names, seeds)))
    else:
        say(_as_text(result, asked_text(folder, names, seeds), clean(folder.task.file.name)))
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _tell_lacking(folder: ComparisonFolder, truths: Truth) -> None:
    """Say how many allocations that may lead a search the truth lacks, as far as that can be known before any draw."""
    from agenttts._cli.quoting import forecast
    from agenttts.study.comparison_truth import known_score

    try:
        space = forecast(folder.task, next(iter(folder.options.values()))).space
    except InfeasibleBudgetError:
        return
    if not space.enumerable or space.n_feasible > MOST_LOOKED_UP:
        return
    fitting = map(space.allocation, space.feasible_indices())
    lacking = [allocation for allocation in fitting if known_score(truths, allocation) is None]
    if lacking:
        say_aside(
            fold(
                f"! The truth lacks {len(lacking):,} of {space.n_feasible:,} allocations that are expected to fit, e.g. "
                f"{clean(lacking[0])}. Searches that one of them leads are left out of what needs the truth."
            )
        )


def quote_studies(
    folder: ComparisonFolder, todo: list[RunOutcome], *, yes: bool, n_tested: int = 0, n_test: int = 0
) -> None:
    """Say what the studies may spend together; where that is money, ask first.

    Args:
        folder: Of the studies.
        todo: Studies to run.
        yes: The user has agreed already.
        n_tested: Allocations that are scored on test problems after the studies, at most.
        n_test: Test problems of each.
    """
    from agenttts._cli.quoting import forecast

    planner_usd = _quote_planner(folder, todo)
    options = next(iter(folder.options.values()))
    try:
        known = forecast(folder.task, options)
    except InfeasibleBudgetError:
        say_aside("No quote: by the lengths assumed before any draw nothing fits the budget.")
        _agree(0.0, planner_usd, yes=yes)
        return
    expected = known.quote.expected.cost.scaled(len(todo))
    if todo:
        n = f"{len(todo):,} {'study' if len(todo) == 1 else 'studies'} to run, {_cost_words(expected)} {known.label}"
        say_aside(fold(f"{n} had each to pay for itself; draws that they share are paid for once."))
    if known.scoring and todo:
        say_aside(fold(f"Of one study: {known.scoring}"))
    test = tested_cost(folder, options, n_tested, n_test)
    if n_tested:
        say_aside(
            fold(
                f"At most {plural(n_tested, 'allocation')} to score on {plural(n_test, 'test problem')} afterwards, "
                f"{_cost_words(test)} {known.label}; what several studies found is scored once."
            )
        )
    for caution in known.prompts:
        say_aside(fold(clean(caution, limit=1000)))
    studies_usd = (known.known_usd or 0.0) * len(todo)
    _agree(studies_usd + (test.usd or 0.0), planner_usd, yes=yes)


def _cost_words(cost: Cost) -> str:
    parts = [] if cost.flops is None else [f"{amount_text(cost.flops / 1e9)} GFLOPs"]
    parts += [f"{amount_text(cost.usd)} USD"] if cost.usd else []
    return " or ".join(parts) or "at a cost unknown"


def tested_cost(folder: ComparisonFolder, options: StudyOptions, n_tested: int, n_test: int) -> Cost:
    """Return what scoring allocations on test problems is expected to cost, each as a feasible one does on average."""
    from agenttts._cli.quoting import forecast
    from agenttts.budgets.quote import N_CONFIRMED

    if not n_tested:
        return Cost()
    quotes = (
        forecast(folder.task, replace(options, confirm=confirm, n_confirm=n_test))
        for confirm in (True, False)
    )
    with_it, without = (replace(one.quote.expected.cost, usd=one.known_usd) for one in quotes)
    return (with_it + without.scaled(-1)).scaled(n_tested / N_CONFIRMED)


def _quote_planner(folder: ComparisonFolder, todo: list[RunOutcome]) -> float:
    """Say how often the planner may be asked by all studies together; return what that may cost, in USD."""
    quotes = [planner_quote(folder.task, folder.options[run.allocator]) for run in todo]
    asking = [quote for quote in quotes if quote is not None]
    if not asking:
        return 0.0
    usd = sum(quote.usd for quote in asking)
    together = f" Together at most about {amount_text(usd)} USD." if usd else ""
    n = f"{len(asking):,} of the studies" if len(asking) > 1 else "one of the studies"
    say_aside(
        fold(f"A planner is asked by {n}, whose calls are not shared. In each: {asking[0].text}{together}")
    )
    return usd


def _agree(usd: float, planner_usd: float, *, yes: bool) -> None:
    """Ask whether to go on where that costs money, the planner's calls included."""
    parts = [f"{amount_text(usd)} USD, had each to pay for itself"] if usd else []
    parts += [f"up to {amount_text(planner_usd)} USD for the planner"] if planner_usd else []
    if parts and not yes and not ask(f"This will cost {', and '.join(parts)}. Go on?"):
        say_aside("Nothing was spent.")
        raise typer.Exit(0)


# --- progress ----------------------------------------------------------------------------------------------------


@contextmanager
def watching(
    folder: ComparisonFolder, n_done: int, todo: list[RunOutcome]
) -> Iterator[Callable[[WorkerReport], None]]:
    """Show how far the studies are, by what workers report to the function that is given."""
    n_all = n_done + len(todo)
    if not sys.stderr.isatty() or os.environ.get("TERM", "") == "dumb":
        yield _PlainReports(n_done, n_all)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} trials", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _LiveReports(progress, folder, n_done, n_all, todo)


class _PlainReports:
    """Writes a line for each study that ends."""

    def __init__(self, n_done: int, n_all: int) -> None:
        self._n_done, self._n_all = n_done, n_all

    def __call__(self, report: WorkerReport) -> None:
        if report.kind == "trial":
            return
        self._n_done += 1
        why = f": {clean(_one_line(report.message))}" if report.message else ""
        name = clean(report.allocator)
        say_aside(f"study {self._n_done}/{self._n_all}: {name}, seed {report.seed}, {report.kind}{why}")


class _LiveReports:
    """Moves a bar on a terminal."""

    def __init__(
        self, progress: Any, folder: ComparisonFolder, n_done: int, n_all: int, todo: list[RunOutcome]
    ) -> None:
        self._progress, self._n_done, self._n_all, self._n_failed = progress, n_done, n_all, 0
        self._n_trials = next(iter(folder.options.values())).n_trials
        self._done = {(run.allocator, run.seed): run.n_trials for run in todo}
        self._bar = progress.add_task(self._words(), total=self._n_trials * max(1, len(todo)))

    def __call__(self, report: WorkerReport) -> None:
        place = report.allocator, report.seed
        if report.kind == "trial":
            self._done[place] = report.trials_done
        else:
            self._done[place] = self._n_trials
            self._n_done += 1
            self._n_failed += report.kind == "failed"
        self._progress.update(self._bar, completed=sum(self._done.values()), description=self._words())

    def _words(self) -> str:
        failed = f", {self._n_failed} failed" if self._n_failed else ""
        return f"{self._n_done} of {self._n_all} studies{failed}"


# --- result ------------------------------------------------------------------------------------------------------


def _as_text(result: ComparisonResult, asked: str, name: str) -> str:
    from agenttts.report.comparison_words import bill_text, endings_text, summary_table, target_text

    blocks = [fold(f"{name}: {clean(asked, limit=1000)}")]
    blocks += [fold(clean(line, limit=1000)) for line in endings_text(result)]
    comparison = result.comparison
    if comparison is None:
        blocks.append("No study has a result: there is nothing to compare.")
    else:
        head, rows = summary_table(comparison, result.unit)
        cells = [[clean(cell) for cell in row] for row in rows]
        blocks.append(table(head, cells, right=[1, 2]))
        blocks.append(fold(f"Target: {target_text(comparison)}. Medians over seeds; means for scores."))
        blocks += [_verdicts(comparison)] if comparison.pairs else []
        blocks += [fold(clean(note, limit=1000)) for note in comparison.notes]
    if any(not run.has_result for run in result.runs):
        blocks.append(failures_text(result))
    bill = bill_text(result)
    blocks.append(fold(f"{bill[:1].upper()}{bill[1:]}."))
    blocks.append(fold(clean(result.figures_from, limit=1000)))
    if comparison is not None:
        blocks.append(f"Page and tables: {result.page}, runs.csv, curves.csv, pairs.csv beside it")
    return "\n\n".join(blocks)


def _verdicts(comparison: Comparison) -> str:
    return "\n".join(
        fold(
            clean(pair.verdict, limit=1000),
            first=f"{clean(pair.first)} : {clean(pair.second)}  ",
            rest="    ",
        )
        for pair in comparison.pairs
    )


def failures_text(result: ComparisonResult) -> str:
    """Return which studies have no result and why; there is one at least."""
    from agenttts.report.comparison_words import why_text

    missing = [run for run in result.runs if not run.has_result]
    lines = [
        fold(
            clean(_one_line(why_text(run)), limit=400),
            first=f"{clean(run.allocator)}, seed {run.seed}: ",
            rest="    ",
        )
        for run in missing[:MOST_FAILURES]
    ]
    if len(missing) > MOST_FAILURES:
        lines.append(f"and {len(missing) - MOST_FAILURES} more")
    resumable = any(not run.counts for run in missing)
    again = " (the same command goes on with those that did not come to their end)" if resumable else ""
    return "\n".join([f"Without a result{again}:", *lines])


def _one_line(message: str) -> str:
    """Return an error of several lines, what is wrong and how to mend it, as one."""
    return " ".join(message.split())


def comparison_json(result: ComparisonResult, asked: str) -> dict[str, Any]:
    """Return the result for machines."""
    from agenttts.report.comparison_words import endings_text

    comparison = result.comparison
    return {
        "asked": asked,
        "folder": str(result.folder),
        "page": str(result.page),
        "unit": result.unit.value,
        "spent_as_if_alone": cost_to_json(result.spent),
        "really_paid": cost_to_json(result.paid),
        "figures_from": result.figures_from,
        "notes": endings_text(result),
        "comparison": None if comparison is None else _comparison_json(comparison),
        "runs": [
            {
                "allocator": run.allocator,
                "seed": run.seed,
                "status": run.status,
                "message": run.message,
                "n_trials": run.n_trials,
                "spent": cost_to_json(run.spent),
                "of_that_planner": None if run.planner_spent is None else cost_to_json(run.planner_spent),
                "folder": str(run.folder),
            }
            for run in result.runs
        ],
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    measures = ("trials_to_target", "spend_to_target", "found", "regret", "test")
    return {
        "target": comparison.target,
        "best_known": comparison.best_known,
        "truth_known": comparison.truth_known,
        "confidence": comparison.confidence,
        "notes": list(comparison.notes),
        "allocators": [
            {"name": one.name, "n_runs": one.n_runs, "n_reached": one.n_reached}
            | {
                name: estimate and estimate.to_json()
                for name in measures
                for estimate in [getattr(one, name)]
            }
            for one in comparison.summaries
        ],
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "verdict": pair.verdict,
                "tests": [
                    {
                        "measure": test.measure,
                        "difference": test.difference and test.difference.to_json(),
                        "bound": test.bound,
                        "p": test.p,
                        "p_adjusted": test.p_adjusted,
                        "n_seeds": test.n_seeds,
                        "n_problems": test.n_problems,
                        "better": test.winner or None,
                    }
                    for test in pair.tests
                ],
            }
            for pair in comparison.pairs
        ],
    }

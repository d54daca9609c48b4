"""`agenttts paper`: quote, searches in worker processes, the test step, then the table beside the published one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from agenttts._cli.compare import failures_text, quote_studies, watching
from agenttts._cli.console import clean, fold, print_json, say, say_aside, table
from agenttts.errors import ProviderError
from agenttts.pipeline.together import run_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agenttts.pipeline.base import Allocation
    from agenttts.report.paper_report import PaperResult
    from agenttts.study.comparison_workers import WorkerReport
    from agenttts.study.paper_opening import PaperRequest, PaperSetup
    from agenttts.study.paper_tests import TestScore
    from agenttts.study.planner import PlannerSetup

__all__ = ["run_paper"]

Failed = dict[tuple[str, int], "WorkerReport"]


def run_paper(request: PaperRequest, *, jobs: int | None, yes: bool, as_json: bool) -> None:
    """Carry out the command; end with the exit code of the first search that failed, or of a search budget reached."""
    from agenttts.report.paper_report import paper_json, report_paper
    from agenttts.study.paper_opening import prepare_paper

    setup = prepare_paper(request)
    for note in (*_missing_words(setup), *setup.notes):
        say_aside(fold(clean(note, limit=1000)))
    seeds = list(range(request.n_seeds))
    try:
        failed = _search(setup, seeds, jobs, yes=yes)
        tests, n_test = _test(setup, seeds)
    except KeyboardInterrupt:
        say_aside(f"What is finished and paid for is kept in {setup.folder.path}; the same command goes on.")
        raise
    result = report_paper(setup, seeds, failed, tests, n_test=n_test, target=request.target)
    if as_json:
        print_json(paper_json(result))
    else:
        say(_as_text(result))
    if result.searches.exit_code:
        raise typer.Exit(result.searches.exit_code)


def _missing_words(setup: PaperSetup) -> list[str]:
    names = ", ".join(method.label for method in setup.missing)
    return [f"No planner is set (--planner CARD): {names} will not be run."] if setup.missing else []


def _search(setup: PaperSetup, seeds: list[int], jobs: int | None, *, yes: bool) -> Failed:
    """Run what has not come to its end, after a quote of it and of the test step."""
    from agenttts.study.comparison_opening import cores
    from agenttts.study.comparison_runs import outcomes, run_studies
    from agenttts.study.paper_tests import untested

    folder, names = setup.folder, setup.contenders
    runs = outcomes(folder, names, seeds, {})
    todo = [run for run in runs if not run.counts]
    n_tested = len(todo) + len(untested(folder, runs, setup.n_test))
    planner = setup.planner_of([run.allocator for run in todo])
    try:
        if n_tested:
            _require_reachable(setup, planner)
            quote_studies(folder, todo, yes=yes, n_tested=n_tested, n_test=setup.n_test)
        if planner is not None:
            _ask_planner(planner)
    except BaseException:
        setup.forget_unused()
        raise
    with watching(folder, n_done=len(runs) - len(todo), todo=todo) as report:
        return run_studies(folder, names, seeds, jobs=jobs or cores(), report=_stopping(report, folder.path))


def _require_reachable(setup: PaperSetup, planner: PlannerSetup | None) -> None:
    from agenttts.study.first_question import require_reachable

    own = {} if planner is None else {planner.card.name: planner.card}
    run_now(require_reachable({**setup.folder.task.cards, **own}), instead="agenttts paper")


def _ask_planner(planner: PlannerSetup) -> None:
    """See that the planner replies: a search whose planner never does is random search under another name."""
    from agenttts.study.first_question import ask_planner

    if planner.card.source not in {"openai", "litellm"}:
        return  # nothing that could be unknown, refuse a key or be down
    answer = run_now(ask_planner(planner), instead="agenttts paper")
    tokens = f"{answer.prefill_tokens:,} tokens read and {answer.decode_tokens:,} written"
    say_aside(
        fold(f"The planner {clean(planner.card.name)} replies ({tokens} to see that, billed to no search).")
    )


def _stopping(report: Callable[[WorkerReport], None], folder: Path) -> Callable[[WorkerReport], None]:
    """Return a report that ends the command at the first search whose models cannot be reached: all others would fail alike."""

    def hear(said: WorkerReport) -> None:
        if said.kind == "failed" and said.exit_code == ProviderError.exit_code:
            raise ProviderError(
                f"{said.allocator}, seed {said.seed}: {said.message}\n"
                f"The other searches would meet the same. What is finished and paid for is kept in {folder}; mend it, and "
                "the same command goes on."
            )
        report(said)

    return hear


def _test(setup: PaperSetup, seeds: list[int]) -> tuple[dict[Allocation, TestScore], int]:
    """Score what was found on the test problems, which nobody has seen before."""
    from agenttts.study.comparison_runs import outcomes
    from agenttts.study.paper_tests import run_tests, to_test, winners

    found = winners(outcomes(setup.folder, setup.contenders, seeds, {}))
    problems = to_test(setup.folder, setup.n_test) if found else ()

    def tell(allocation: Allocation, place: int) -> None:
        say_aside(fold(f"test {place + 1}/{len(found)}: {clean(allocation)}, {len(problems):,} problems"))

    work = run_tests(setup.folder, found, problems, concurrency=setup.concurrency, report=tell)
    return run_now(work, instead="agenttts paper"), len(problems)


# --- result ------------------------------------------------------------------------------------------------------


def _as_text(result: PaperResult) -> str:
    from agenttts.report.paper_words import asked_text, bill_text, legend, notes_text

    name = clean(result.setup.folder.task.file.name)
    blocks = [_line(f"The paper's protocol on {name}: {asked_text(result)}.")]
    if result.comparison is None:
        blocks.append("No search has a result: there is nothing to show.")
    else:
        blocks += [*_tables(result), *map(_line, legend(result))]
    blocks += [_line(note) for note in notes_text(result)]
    if any(not run.has_result for run in result.searches.runs):
        blocks.append(failures_text(result.searches))
    blocks += [_line(line) for line in bill_text(result)]
    blocks.append(_line(result.searches.figures_from))
    if result.comparison is not None:
        blocks.append(f"Page: {result.searches.page}\nBeside it: paper.json, runs.csv, curves.csv")
    return "\n\n".join(blocks)


def _tables(result: PaperResult) -> list[str]:
    from agenttts.report.paper_words import difference_table, planner_table, score_table, search_table

    blocks = [_table(score_table(result), right=(1, 2, 4))]
    differences = difference_table(result)
    blocks += [_table(differences, right=(2,))] if differences[1] else []
    blocks.append(_table(search_table(result), right=range(3, 9)))
    asked = planner_table(result)
    return [*blocks, *([_table(asked, right=range(1, 6))] if asked[1] else [])]


def _table(cells: tuple[list[str], list[list[str]]], *, right: range | tuple[int, ...]) -> str:
    head, rows = cells
    return table(head, [[clean(cell) for cell in row] for row in rows], right=right)


def _line(text: str) -> str:
    return fold(clean(text, limit=2000))

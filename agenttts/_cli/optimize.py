"""`agenttts optimize`: quote, search with progress, result; or go on with a run that is there."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agenttts._cli.console import ask, clean, fold, print_json, say, say_aside
from agenttts._cli.progress import watching
from agenttts._cli.results import result_json, result_text
from agenttts._cli.words import amount_text, duration_text
from agenttts.errors import InfeasibleBudgetError, InputError

if TYPE_CHECKING:
    from agenttts.study.opening import OpenedStudy
    from agenttts.study.result import StudyOptions, StudyResult
    from agenttts.task.task import Task

__all__ = ["OptimizeRequest", "run_optimize"]

EXIT_CODES = {"finished": 0, "search_budget_exhausted": 3, "interrupted": 130}
AMENDABLE = {"task", "n_trials", "search_budget", "concurrency", "trust", "yes", "as_json", "confirm"}
"""What may be said when going on with a run by its folder; the rest was fixed when it began."""


@dataclass(frozen=True, kw_only=True)
class OptimizeRequest:
    """What the user typed; `None` where nothing was."""

    task: str
    budget: str | None
    allocator: str | None
    n_trials: int | None
    seed: int | None
    search_budget: str | None
    run: str | None
    store: str | None
    endpoint: str | None
    source: str | None
    concurrency: int | None
    n_search: int | None
    confirm: bool
    trust: bool
    yes: bool
    as_json: bool


def run_optimize(request: OptimizeRequest) -> None:
    """Carry out the command; end with the exit code of the study's status."""
    from agenttts.study.study import Study

    opened = _resume(request) if Study.exists(Path(request.task)) else _begin(request)
    result = _run(opened)
    _show(opened, result, as_json=request.as_json)
    if EXIT_CODES[result.status]:
        raise typer.Exit(EXIT_CODES[result.status])


def _resume(request: OptimizeRequest) -> OpenedStudy:
    from agenttts.study.opening import resume_study

    fixed = [field.name for field in fields(request) if field.name not in AMENDABLE]
    said = [name for name in fixed if getattr(request, name) is not None]
    if said or not request.confirm:
        names = ", ".join([*said, *([] if request.confirm else ["no_confirm"])])
        raise InputError(
            f"{request.task} is a run: what it was begun with is fixed, and {names} cannot be changed. "
            "Name the task instead to begin another run."
        )
    return resume_study(
        Path(request.task),
        n_trials=request.n_trials,
        search_budget=request.search_budget,
        concurrency=request.concurrency,
        trust=request.trust,
    )


def _begin(request: OptimizeRequest) -> OpenedStudy:
    from agenttts.study.opening import load_task, open_study, run_folder, run_name, study_options, unit_of
    from agenttts.study.study import Study

    task = load_task(
        request.task,
        trust=request.trust,
        endpoint=request.endpoint,
        source=request.source,
        n_search=request.n_search,
        unit=unit_of(request.budget),
    )
    options = study_options(
        task,
        budget=request.budget,
        allocator=request.allocator or "curves",
        n_trials=request.n_trials or 40,
        seed=request.seed or 0,
        search_budget=request.search_budget,
        concurrency=request.concurrency or 32,
        confirm=request.confirm,
    )
    if not Study.exists(run_folder(request.run or run_name(task, options))):
        _quote(task, options, yes=request.yes)
    return open_study(task, options, run=request.run, store=request.store)


def _quote(task: Task, options: StudyOptions, *, yes: bool) -> None:
    """Say what the study is expected to spend; where that is money, ask first."""
    from agenttts._cli.quoting import forecast

    try:
        known = forecast(task, options)
    except InfeasibleBudgetError:
        # Lengths are guesses before the first draw. The pilot measures them and then decides.
        say_aside(
            "No quote: by the lengths assumed before any draw nothing fits the budget; the pilot will tell."
        )
        return
    expected, worst = known.quote.expected, known.quote.worst
    usd = expected.cost.usd
    parts = [f"{expected.calls:,.0f} calls"]
    if expected.cost.flops is not None:
        parts.append(f"{amount_text(expected.cost.flops / 1e9)} GFLOPs")
    if usd:
        parts.append(f"{amount_text(usd)} USD")
    if expected.minutes is not None:
        parts.append(duration_text(expected.minutes * 60))
    takes = "takes at most" if known.unknown_lengths else "expected to take"
    say_aside(f"{clean(task.file.name)}: {takes} {', '.join(parts)} (agenttts check tells more)")
    if known.caution:
        say_aside(fold(known.caution))
    if usd and not yes:
        at_worst = "" if worst.cost.usd is None else f", at worst {amount_text(worst.cost.usd)}"
        if not ask(f"This will cost, {known.label}, {amount_text(usd)} USD{at_worst}. Go on?"):
            say_aside("Nothing was spent.")
            raise typer.Exit(0)


def _run(opened: OpenedStudy) -> StudyResult:
    """Run the study; a Ctrl-C ends it resumably, with what it found so far."""
    study, options = opened.study, opened.study.options
    try:
        with watching(options.search_budget, options.budget.unit) as observer:
            return asyncio.run(study.run(observer))
    except KeyboardInterrupt:
        return study.result()


def _show(opened: OpenedStudy, result: StudyResult, *, as_json: bool) -> None:
    task = opened.study.task
    if as_json:
        print_json(result_json(task, result, opened.folder, resumed=opened.resumed))
    else:
        if sys.stderr.isatty():
            say_aside("")
        say(result_text(task, result, opened.folder, resumed=opened.resumed))

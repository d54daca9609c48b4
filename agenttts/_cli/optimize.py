"""`agenttts optimize`: quote, search with progress, result; or go on with a run that is there."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agenttts import errors
from agenttts._cli.advice import planner_quote
from agenttts._cli.console import ask, clean, fold, print_json, say, say_aside
from agenttts._cli.progress import watching
from agenttts._cli.results import result_json, result_text
from agenttts._cli.words import amount_text, duration_text
from agenttts.errors import InfeasibleBudgetError, InputError, ProviderError

if TYPE_CHECKING:
    from agenttts._cli.quoting import StudyForecast
    from agenttts.study.opening import OpenedStudy
    from agenttts.study.result import StudyOptions, StudyResult
    from agenttts.task.task import Task

__all__ = ["OptimizeRequest", "run_optimize"]

EXIT_CODES = {"finished": 0, "search_budget_exhausted": 3, "interrupted": 130}
NO_PLAN = 3
"""Every trial was over the budget or over the limit of failed problems."""
NO_SCORE = 3
"""Unseen problems were over the limit of failed ones."""
AMENDABLE = {
    "task",
    "n_trials",
    "search_budget",
    "concurrency",
    "store",
    "trust",
    "yes",
    "as_json",
    "confirm",
    "racing",
}
"""What may be changed when going on with a run by its folder; the rest was fixed when it began."""
ON_UNLESS_SAID = ("confirm", "racing")
"""Fixed as well, but nobody can say that they are on."""


@dataclass(frozen=True, kw_only=True)
class OptimizeRequest:
    """What the user typed; `None` where nothing was."""

    task: str
    budget: str | None
    allocator: str | None
    planner: str | None
    planner_budget: str | None
    planner_prompts: Path | None
    planner_timeout: float | None
    switches: list[str] | None
    n_trials: int | None
    seed: int | None
    search_budget: str | None
    run: str | None
    store: str | None
    endpoint: str | None
    source: str | None
    concurrency: int | None
    n_search: int | None
    data: str | None
    confirm: bool
    racing: bool
    trust: bool
    yes: bool
    as_json: bool


def run_optimize(request: OptimizeRequest) -> None:
    """Carry out the command; end with the exit code of the study's status."""
    from agenttts.study.study import Study

    opened = _resume(request) if Study.exists(Path(request.task)) else _begin(request)
    result = _run(opened)
    _show(opened, result, as_json=request.as_json)
    code = _exit_code(result)
    if code:
        raise typer.Exit(code)


def _exit_code(result: StudyResult) -> int:
    code = EXIT_CODES[result.status]
    if code == 0 and result.plan_path is None:
        return NO_PLAN  # what comes next in a script needs one
    if code == 0 and result.confirmation is not None and result.confirmation.winner is None:
        causes = {entry.failure.cause for entry in result.confirmation.winner_failures}
        return ProviderError.exit_code if any(map(_of_provider, causes)) else NO_SCORE
    return code


def _of_provider(cause: str) -> bool:
    """Return whether a failure's cause, the name of a class, is an error of a model provider."""
    kind = getattr(errors, cause, None)
    return isinstance(kind, type) and issubclass(kind, ProviderError)


def _resume(request: OptimizeRequest) -> OpenedStudy:
    from agenttts.study.fixed import differing
    from agenttts.study.opening import resume_study
    from agenttts.study.study import Study

    others = differing(Study.open(Path(request.task)), _fixed(request))
    if others:
        names = ", ".join(f"no_{name}" if name in ON_UNLESS_SAID else name for name in others)
        raise InputError(
            f"{request.task} is a run: what it was begun with is fixed, and {names} cannot be changed. "
            "Name the task instead to begin another run."
        )
    return resume_study(
        Path(request.task),
        n_trials=request.n_trials,
        search_budget=request.search_budget,
        concurrency=request.concurrency,
        store=request.store,
        trust=request.trust,
        data=request.data,
    )


def _fixed(request: OptimizeRequest) -> dict[str, Any]:
    """Return what the user said of the options that are fixed when a run begins."""
    names = [field.name for field in fields(request) if field.name not in AMENDABLE]
    said = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    if "switches" in said:
        said["switches"] = _switches(said["switches"])
    return said | {name: False for name in ON_UNLESS_SAID if not getattr(request, name)}


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
        data=request.data,
        needs=None if request.confirm else "search",
    )
    options = study_options(
        task,
        budget=request.budget,
        allocator=request.allocator,
        planner=request.planner,
        planner_budget=request.planner_budget,
        planner_prompts=request.planner_prompts,
        planner_timeout_s=request.planner_timeout,
        switches=_switches(request.switches or []),
        n_trials=request.n_trials or 40,
        seed=request.seed or 0,
        search_budget=request.search_budget,
        concurrency=request.concurrency or 32,
        confirm=request.confirm,
        racing=request.racing,
    )
    if not Study.exists(run_folder(request.run or run_name(task, options))):
        _quote(task, options, yes=request.yes)
    return open_study(task, options, run=request.run, store=request.store)


def _switches(given: list[str]) -> dict[str, Any]:
    """Read what was given by `--switch`."""
    from agenttts.study.contenders import read_switches

    return read_switches(given, "--switch", "e.g. --switch no_insight1=true")


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
    expected = known.quote.expected
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
    if known.scoring:
        say_aside(fold(known.scoring))
    if known.caution:
        say_aside(fold(known.caution))
    adviser = planner_quote(task, options, known.space)
    if adviser is not None:
        say_aside(fold(adviser.text))
    if not yes:
        _agree(known, 0.0 if adviser is None else adviser.usd)


def _agree(known: StudyForecast, planner_usd: float) -> None:
    """Ask whether to go on where that costs money, the planner's calls included."""
    usd, worst = known.known_usd or 0.0, known.quote.worst.cost.usd
    if not usd and not planner_usd:
        return
    at_worst = "" if worst is None else f", at worst {amount_text(worst)}"
    apart = " without scoring, whose price is unknown" if known.quote.expected.cost.usd is None else ""
    question = f"This will cost, {known.label}, {amount_text(usd)} USD{apart}{at_worst}"
    if planner_usd:
        advice = f"up to {amount_text(planner_usd)} USD for the planner"
        question = f"{question}, and {advice}" if usd else f"This will cost {advice}"
    if not ask(f"{question}. Go on?"):
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


def _report(opened: OpenedStudy, result: StudyResult) -> Path | None:
    """Write the page of the run; whoever interrupts it waits for no more than what is quick."""
    from agenttts._cli.report import report_of_interrupted, report_of_optimize

    if result.status == "interrupted":
        return report_of_interrupted(opened.folder)
    return report_of_optimize(opened.folder, trust=opened.study.task.trusted)


def _show(opened: OpenedStudy, result: StudyResult, *, as_json: bool) -> None:
    task, page = opened.study.task, _report(opened, result)
    if as_json:
        print_json(result_json(task, result, opened.folder, resumed=opened.resumed, page=page))
    else:
        if sys.stderr.isatty():
            say_aside("")
        say(result_text(task, result, opened.folder, resumed=opened.resumed, page=page))

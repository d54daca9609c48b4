"""`agenttts doctor`: is everything ready, and what is to be mended, one line of help each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agenttts._cli.console import clean, fold, print_json, say
from agenttts.checkup.base import Finding, Verdict, exit_code
from agenttts.errors import AgentTTSError, TaskFileError

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.checkup.together import Subject
    from agenttts.pipeline.plan import Plan
    from agenttts.task.task import Task

__all__ = ["DoctorRequest", "run_doctor"]

LONGEST = 600
MARKS = {Verdict.FINE: "ok", Verdict.NOTE: "note", Verdict.MEND: "MEND", Verdict.DOWN: "DOWN"}


@dataclass(frozen=True)
class DoctorRequest:
    """What the user asked."""

    subject: str | None
    store: str | None
    endpoint: str | None
    source: str | None
    timeout_s: float
    spend: bool
    trust: bool
    as_json: bool


def run_doctor(request: DoctorRequest) -> None:
    """Run all checks, tell what they found, and end with the code that says how it stands."""
    from agenttts.checkup.together import look_around
    from agenttts.study.opening import store_url
    from agenttts.study.study import RUNS

    subject, mistakes = _subject(request)
    found = asyncio.run(
        look_around(
            subject,
            store_url=store_url(request.store),
            runs=RUNS,
            spend=request.spend,
            timeout_s=request.timeout_s,
        )
    )
    told = [*mistakes, *found]
    code = exit_code(told)
    if request.as_json:
        print_json({"findings": [_as_json(one) for one in told], "exit_code": code})
    else:
        say(_as_text(told, spent=request.spend, named=request.subject is not None))
    raise typer.Exit(code)


def _subject(request: DoctorRequest) -> tuple[Subject, list[Finding]]:
    """Return the task or plan; where it cannot be read, its mistakes, and nothing to check it by."""
    from agenttts.budgets.cards import ModelCard
    from agenttts.budgets.loading import override_endpoint
    from agenttts.checkup.together import Subject

    if request.subject is None:
        if request.endpoint is not None:
            override_endpoint(
                ModelCard(name="endpoint", source="openai"), request.endpoint
            )  # refuses what is none
        return Subject(endpoint=request.endpoint), []
    try:
        subject = _opened(request, request.subject)
    except TaskFileError as error:
        return Subject(), [_mistake(request.subject, str(one)) for one in error.mistakes]
    except AgentTTSError as error:
        return Subject(), [_mistake(request.subject, str(error))]
    n_models = len(subject.cards)
    return subject, [Finding("task", request.subject, Verdict.FINE, f"can be read; {n_models} models")]


def _mistake(name: str, text: str) -> Finding:
    first, _, hint = text.partition("\n")
    return Finding("task", name, Verdict.MEND, first, hint or "Mend it; `agenttts check` tells all there is.")


def _opened(request: DoctorRequest, name: str) -> Subject:
    from agenttts.checkup.together import Subject
    from agenttts.study.opening import load_task
    from agenttts.study.scoring import load_plan

    plan = _plan_path(name)
    if plan is not None:
        loaded = load_plan(plan, trust=request.trust, endpoint=request.endpoint, source=request.source)
        unit = loaded.budget.unit if loaded.budget is not None else loaded.task.file.budget.unit
        return Subject(loaded.task, unit, _asked_by(loaded))
    task = load_task(name, trust=request.trust, endpoint=request.endpoint, source=request.source)
    return Subject(task, task.file.budget.unit, {**task.cards, **_planner(task)})


def _planner(task: Task) -> dict[str, ModelCard]:
    """Return the card of the model that allocators ask, by its name."""
    from agenttts.budgets.loading import load_cards

    if task.file.planner is None:
        return {}
    name = task.file.planner.model
    return {name: load_cards({**task.spare_cards, **task.cards}).lookup(name)}


def _asked_by(plan: Plan) -> dict[str, ModelCard]:
    """Return the cards that a plan asks: without those that its stages could have chosen and did not."""
    from agenttts.task.naming import named_models

    file = plan.task.file
    chosen = {choice.model for choice in plan.allocation.choices}
    ways = [way for stage in file.stages.values() for way in stage.ways]
    named = {model for _, model in named_models(file)} | {model for way in ways for model in way.to or ()}
    offered = {model for stage in file.stages.values() for model in stage.variants}
    left_out = offered - chosen - named
    return {name: card for name, card in plan.task.cards.items() if name not in left_out}


def _plan_path(name: str) -> Path | None:
    """Return the plan that a name means: a plan file, a run's folder, or the name of a run; `None`: it is a task."""
    from agenttts.study.study import PLAN_FILE, RUNS

    for path in (Path(name), RUNS / name):
        if (path / PLAN_FILE).is_file():
            return path / PLAN_FILE
    path = Path(name)
    if path.is_file() and _holds_plan(path):
        return path
    return None


def _holds_plan(path: Path) -> bool:
    from agenttts.task.reading import read_document

    try:
        return "allocation" in read_document(path).data
    except TaskFileError:
        return False


def _as_text(found: Sequence[Finding], *, spent: bool, named: bool) -> str:
    lines: list[str] = []
    group = ""
    for one in found:
        if one.about != group:
            group = one.about
            lines += ["", group] if lines else [group]
        first = f"  {MARKS[one.verdict]:<5} {clean(one.name)}: "
        lines.append(fold(clean(one.message, limit=LONGEST), first=first, rest=" " * 8))
        if one.help:
            lines.append(fold(clean(one.help, limit=LONGEST), first=" " * 8 + "-> ", rest=" " * 11))
    return "\n".join([*lines, "", _summary(found), *_hints(found, spent=spent, named=named)])


def _summary(found: Sequence[Finding]) -> str:
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    if not counts[Verdict.MEND] and not counts[Verdict.DOWN]:
        return f"Everything that was looked at works ({counts[Verdict.NOTE]} notes)."
    parts = [f"{counts[Verdict.MEND]} to mend"] if counts[Verdict.MEND] else []
    parts += [f"{counts[Verdict.DOWN]} down"] if counts[Verdict.DOWN] else []
    return f"{', '.join(parts)}, {counts[Verdict.NOTE]} notes."


def _hints(found: Sequence[Finding], *, spent: bool, named: bool) -> list[str]:
    if not named:
        return ["Name a task or a plan to look at its cards, keys and endpoints."]
    if spent or not any(one.about == "endpoints" for one in found):
        return []
    return [
        fold(
            "Nothing was spent. --spend asks every model that writes for four tiny completions and tells more."
        )
    ]


def _as_json(one: Finding) -> dict[str, Any]:
    return {
        "about": one.about,
        "name": one.name,
        "verdict": one.verdict.value,
        "message": clean(one.message, limit=LONGEST),
        "help": one.help,
    }

"""From what a user asks to a study: its task and options, its name and folder, begun anew or gone on with.

What a study does once it is open lives in `agenttts.study.study`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.loading import load_cards
from agenttts.errors import InputError, RunError
from agenttts.study.result import StudyOptions
from agenttts.study.study import RUNS, Study
from agenttts.task.sources import SplitName
from agenttts.task.task import Task

__all__ = [
    "OpenedStudy",
    "as_budget",
    "load_task",
    "open_study",
    "resolve_budget",
    "resume_study",
    "run_folder",
    "run_name",
    "store_url",
    "study_options",
    "unit_of",
]


@dataclass(frozen=True)
class OpenedStudy:
    """A study and how it came about."""

    study: Study
    folder: Path
    resumed: bool
    """The run was there already: cut off, or finished."""


def open_study(
    task: Task, options: StudyOptions, *, run: str | Path | None = None, store: str | None = None
) -> OpenedStudy:
    """Create a run, or open it where it is there already and was asked the same.

    A run that is there may get more trials, another search budget or another concurrency; the rest is its identity.

    Raises:
        RunError: The folder holds a run of another task, or one that was asked something else.
    """
    folder = run_folder(run if run is not None else run_name(task, options))
    if not Study.exists(folder):
        return OpenedStudy(Study.create(folder, task, options, store_url(store)), folder, resumed=False)
    study = Study.open(folder, trust=task.trusted, store_url=store)
    _check_same(study, task, options, folder)
    if task.look_first:  # the same data, which may lie elsewhere by now
        study = _where_data_lie(study, task)
    study.amend(
        n_trials=options.n_trials, search_budget=options.search_budget, concurrency=options.concurrency
    )
    return OpenedStudy(study, folder, resumed=True)


def resume_study(
    folder: Path,
    *,
    n_trials: int | None = None,
    search_budget: str | None = None,
    concurrency: int | None = None,
    store: str | None = None,
    trust: bool = False,
    data: str | Path | None = None,
) -> OpenedStudy:
    """Open a run by its folder alone, to go on with it as it was begun.

    Args:
        folder: Of the run.
        n_trials: More trials than it was begun with.
        search_budget: Another one.
        concurrency: Another one.
        store: Where its draws are kept, with the password.
        trust: Allow the Python functions that the task names to run.
        data: Where its data lie now.

    Raises:
        RunError: The folder holds no run, or one that keeps its draws in another store or has other data.
    """
    study = Study.open(folder, trust=trust, store_url=store)
    was = study.options
    if data is not None:
        moved = study.task.with_data(data, needs=None if was.confirm else "search")
        if moved.digest != study.task.digest:
            raise RunError(
                f"{folder} was begun with other data than {data}. Name the task instead to begin another run"
            )
        study = _where_data_lie(study, moved)
    if n_trials is not None and n_trials < was.n_trials:
        raise RunError(f"{folder} was begun with {was.n_trials} trials, more than {n_trials}")
    cap = None if search_budget is None else as_budget(search_budget, _sum_unit(was.budget.unit))
    study.amend(n_trials=n_trials, search_budget=cap, concurrency=concurrency)
    return OpenedStudy(study, folder, resumed=True)


def _where_data_lie(study: Study, task: Task) -> Study:
    """Return a study that looks for its data where those of a task lie, which are the same."""
    return replace(study, task=replace(study.task, look_first=task.look_first, search=task.search))


def study_options(
    task: Task,
    *,
    budget: Budget | str | float | None = None,
    allocator: str | None = None,
    n_trials: int = 40,
    seed: int = 0,
    search_budget: Budget | str | float | None = None,
    concurrency: int = 32,
    confirm: bool = True,
    racing: bool = True,
    planner: ModelCard | str | None = None,
    planner_budget: Budget | str | float | None = None,
    planner_prompts: str | Path | None = None,
    planner_timeout_s: float | None = None,
    switches: Mapping[str, Any] | None = None,
) -> StudyOptions:
    """Return the options of a study, checked.

    Without an allocator, it is `agent` where a planner is set (else the task's counts), and `curves` where none is.

    Raises:
        InputError: An option cannot be used.
    """
    card = _planner_card(task, planner)
    allocator = allocator or ("curves" if card is None else "agent")
    for name, value in (("n_trials", n_trials), ("concurrency", concurrency)):
        if value < 1:
            raise InputError(f"{name}: expected a whole number of at least 1, got {value}")
    limit = resolve_budget(task, budget)
    options = StudyOptions(
        budget=limit,
        allocator=allocator,
        n_trials=n_trials,
        seed=seed,
        search_budget=None if search_budget is None else as_budget(search_budget, _sum_unit(limit.unit)),
        concurrency=concurrency,
        confirm=confirm,
        racing=racing,
        planner=card,
        planner_budget=None if planner_budget is None else as_budget(planner_budget, _sum_unit(limit.unit)),
        planner_prompts=None if planner_prompts is None else str(Path(planner_prompts).absolute()),
        planner_deadline_s=120.0 if planner_timeout_s is None else planner_timeout_s,
        switches=dict(switches or {}),
    )
    return _with_allocator_checked(task, options, asked_for=planner is not None)


def _planner_card(task: Task, planner: ModelCard | str | None) -> ModelCard | None:
    """Return the card of the planner that was asked for, else of the task's.

    Raises:
        CardError: There is no such card.
    """
    if isinstance(planner, ModelCard):
        return planner
    name = planner or (task.file.planner.model if task.file.planner is not None else None)
    if name is None:
        return None
    return load_cards({**task.spare_cards, **task.cards}).lookup(name)


def _with_allocator_checked(task: Task, options: StudyOptions, *, asked_for: bool) -> StudyOptions:
    """Make the allocator once, so that what is wrong with it does not wait for the pilot to be paid.

    Args:
        task: What the allocator is told of.
        options: With the planner of command line or task, if any.
        asked_for: The planner was named by the user, not by the task file alone.

    Returns:
        The options; without a planner where the allocator asks none.

    Raises:
        InputError: The allocator is unknown, lacks a planner or asks none, or a switch or prompt cannot be used.
    """
    from agenttts.allocators.base import ConversingAllocator, make_allocator
    from agenttts.study.planner import allocator_options

    name = options.allocator
    if isinstance(make_allocator(name, allocator_options(task, options)), ConversingAllocator):
        if options.planner is None:
            raise InputError(
                f"allocator {name!r} asks a planner model and none is set. Name one with --planner CARD, "
                "or set `planner` in the task file"
            )
        return options
    said = [("--planner", asked_for), ("--planner-budget", options.planner_budget is not None)]
    said += [("--planner-prompts", options.planner_prompts is not None)]
    for option, given in said:
        if given:
            raise InputError(
                f"{option}: allocator {name!r} asks no planner. Leave {option} out, or name another allocator"
            )
    return replace(options, planner=None)


def load_task(
    task: Task | str | Path,
    *,
    trust: bool = False,
    endpoint: str | None = None,
    source: str | None = None,
    n_search: int | None = None,
    unit: Unit | None = None,
    data: str | Path | None = None,
    needs: SplitName | None = None,
) -> Task:
    """Return a loaded task as it is, or with other data, and load another one.

    Raises:
        TaskFileError: The task file holds mistakes.
        DataError: `data` cannot be used.
    """
    if isinstance(task, Task):
        return task if data is None else task.with_data(data, needs=needs)
    return Task.load(
        task,
        trust=trust,
        endpoint=endpoint,
        source=source,
        n_search=n_search,
        unit=unit,
        data=data,
        needs=needs,
    )


def as_budget(value: Budget | str | float, unit: Unit) -> Budget:
    """Return a budget from what a user may give; `unit` where none is said."""
    return value if isinstance(value, Budget) else Budget.parse(str(value), unit)


def unit_of(budget: Budget | str | float | None) -> Unit | None:
    """Return the unit that a budget names; `None` where it leaves that to the task."""
    if isinstance(budget, Budget):
        return budget.unit
    named = budget is not None and any(sign.isalpha() and sign not in "eE" for sign in str(budget))
    return as_budget(str(budget), Unit.GFLOPS).unit if named else None


def resolve_budget(task: Task, budget: Budget | str | float | None) -> Budget:
    """Return the budget that was asked for, else the task's default.

    Raises:
        InputError: There is neither, or it cannot be read.
    """
    block = task.file.budget
    if budget is not None:
        return as_budget(budget, block.unit)
    if block.default is None:
        raise InputError(
            f"task {task.file.name}: no budget. Give one with --budget (e.g. --budget 1e6{block.unit}), "
            "or set `budget.default` in the task file"
        )
    return Budget(block.default, block.unit)


def run_name(task: Task, options: StudyOptions) -> str:
    """Return the default name of a run: the same question gives the same name, and so the same run."""
    asked: list[Any] = [
        task.digest,
        repr(options.budget.amount),
        options.budget.unit.value,
        options.seed,
        options.allocator,
        options.n_trials,
        options.confirm,
    ]
    if not options.racing:
        asked.append("no racing")
    if options.planner is not None:
        asked.append([options.planner.name, str(options.planner_budget), options.planner_prompts])
    if options.switches:
        asked.append(sorted(options.switches.items()))
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return f"{task.file.name}-{digest[:8]}"


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run: a bare name lies under `runs/`, anything with a separator is a path."""
    path = Path(run)
    bare = isinstance(run, str) and path.name == run and run not in {".", ".."}
    return RUNS / path if bare else path


def store_url(store: str | None) -> str:
    """Return where draws are kept: what was asked for, else one file for all runs of the working folder."""
    return store or f"sqlite:///{(RUNS / 'samples.sqlite').absolute()}"


def _check_same(study: Study, task: Task, options: StudyOptions, folder: Path) -> None:
    remedy = f"Choose another --run, or go on with this one: agenttts optimize {folder}"
    if study.task_digest != task.digest:
        raise RunError(
            f"{folder} is a run of another task, or of other models, problems or functions. {remedy}"
        )
    was = study.options
    planners = [None if o.planner is None else o.planner.name for o in (was, options)]
    if planners[0] != planners[1]:
        raise RunError(f"{folder} was begun with planner {planners[0]}, not {planners[1]}. {remedy}")
    for name, word in (
        ("budget", "the budget"),
        ("allocator", "allocator"),
        ("seed", "seed"),
        ("confirm", "confirm"),
        ("racing", "racing"),
        ("planner_budget", "planner budget"),
        ("planner_prompts", "planner prompts"),
        ("switches", "switches"),
    ):
        there, asked = getattr(was, name), getattr(options, name)
        if there != asked:
            raise RunError(f"{folder} was begun with {word} {there}, not {asked}. {remedy}")
    if options.n_trials < was.n_trials:
        raise RunError(
            f"{folder} was begun with {was.n_trials} trials, more than {options.n_trials}. {remedy}"
        )


def _sum_unit(unit: Unit) -> Unit:
    """Return the unit of a search budget that names none: `paper` counts one problem and cannot add up."""
    return Unit.GFLOPS if unit is Unit.PAPER else unit

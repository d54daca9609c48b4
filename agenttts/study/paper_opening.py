"""From what a user asks to the folder of the paper's protocol: its task, methods and studies, checked.

The protocol is a comparison (see `comparison_opening`) with the paper's settings: every trial runs all search problems
and its score is their plain mean (no racing, no averaging over draws of other trials), each stage has one way to select
(the first of its list), and winners are scored on the test problems once all searches have ended (see `paper_tests`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.errors import InputError
from agenttts.study.comparison_folder import COMPARISON_FILE
from agenttts.study.comparison_opening import ComparisonRequest, prepare_comparison
from agenttts.study.opening import load_task, unit_of
from agenttts.study.paper_methods import BATCH, N_SEARCH, N_SEEDS, N_TEST, N_TRIALS, Method, read_methods
from agenttts.task.first_ways import with_fewer_search_problems, with_first_ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agenttts.budgets.cost import Budget
    from agenttts.study.comparison_folder import ComparisonFolder
    from agenttts.study.planner import PlannerSetup
    from agenttts.task.task import Task

__all__ = ["PaperRequest", "PaperSetup", "prepare_paper"]


@dataclass(frozen=True, kw_only=True)
class PaperRequest:
    """What is asked. `None`: the protocol's, or the default that a single study has."""

    task: str | Path
    methods: Sequence[str] | None = None
    """Names (see `read_methods`); `None`: the paper's six."""
    n_seeds: int = N_SEEDS
    n_trials: int = N_TRIALS
    batch: int = BATCH
    n_search: int | None = None
    """`None`: 50, or all where the task has fewer."""
    n_test: int | None = None
    """`None`: 500, or all where the task has fewer."""
    target: float = 0.01
    """Distance from the best score that any search found which counts as arrived."""
    budget: Budget | str | float | None = None
    search_budget: Budget | str | float | None = None
    planner: str | None = None
    planner_budget: Budget | str | float | None = None
    planner_timeout_s: float | None = None
    concurrency: int = 32
    out: str | Path | None = None
    store: str | None = None
    endpoint: str | None = None
    source: str | None = None
    data: str | Path | None = None
    """In place of the task's sources (see `Task.load`)."""
    trust: bool = False


@dataclass(frozen=True)
class PaperSetup:
    """What will be run."""

    folder: ComparisonFolder
    methods: tuple[Method, ...]
    missing: tuple[Method, ...]
    """Asked for, but without a planner that they could ask."""
    n_test: int
    notes: tuple[str, ...]
    """What departs from the protocol, a sentence each."""

    @property
    def contenders(self) -> list[str]:
        """Names of the allocators."""
        return [method.contender for method in self.methods]

    @property
    def concurrency(self) -> int:
        """Problems worked on at a time."""
        return next(iter(self.folder.options.values())).concurrency

    def forget_unused(self) -> None:
        """Remove a folder in which nothing was begun but the folder, so that a refused start binds no later one."""
        kept = list(self.folder.path.iterdir())
        if [file.name for file in kept] == [COMPARISON_FILE]:
            kept[0].unlink()
            self.folder.path.rmdir()

    def planner_of(self, contenders: Iterable[str]) -> PlannerSetup | None:
        """Return the planner that some of these ask, set up as the first of them has it; `None`: none asks one."""
        from agenttts.study.planner import PlannerSetup

        for options in (self.folder.options[name] for name in contenders):
            if options.planner is not None:
                return PlannerSetup.of(
                    options.planner,
                    self.folder.task.file.planner,
                    budget=None,
                    deadline_s=options.planner_deadline_s,
                    seed=options.seed,
                )
        return None


def prepare_paper(request: PaperRequest) -> PaperSetup:
    """Begin the protocol on a task, or open the folder that is there.

    Raises:
        InputError: Something that was asked cannot be used.
        RunError: The folder holds something else.
    """
    wanted = read_methods(request.methods)
    loaded = load_task(
        request.task,
        trust=request.trust,
        endpoint=request.endpoint,
        source=request.source,
        n_search=request.n_search,
        data=request.data,
        unit=unit_of(request.budget),
    )
    task = with_first_ways(with_fewer_search_problems(loaded, request.n_search or N_SEARCH))
    can_ask = request.planner is not None or task.file.planner is not None
    methods = tuple(method for method in wanted if can_ask or not method.asks)
    if not methods:
        raise InputError(
            f"methods: {', '.join(method.label for method in wanted)} ask a planner and none is set. Name one with "
            "--planner CARD, or set `planner` in the task file"
        )
    folder = prepare_comparison(_comparison(request, task, methods))
    return PaperSetup(
        folder=folder,
        methods=methods,
        missing=tuple(method for method in wanted if method not in methods),
        n_test=_n_test(request, task),
        notes=tuple(_notes(request, loaded, task)),
    )


def _comparison(request: PaperRequest, task: Task, methods: Sequence[Method]) -> ComparisonRequest:
    return ComparisonRequest(
        task=task,
        allocators=[method.contender for method in methods],
        n_seeds=request.n_seeds,
        target=request.target,
        budget=request.budget,
        n_trials=request.n_trials,
        batch=request.batch,
        search_budget=request.search_budget,
        confirm=False,
        racing=False,
        reuse_estimation=False,
        planner=request.planner,
        planner_budget=request.planner_budget,
        planner_timeout_s=request.planner_timeout_s,
        planner_is_counted=False,
        concurrency=request.concurrency,
        out=request.out,
        store=request.store,
        kind="paper",
    )


def _n_test(request: PaperRequest, task: Task) -> int:
    wanted = request.n_test or N_TEST
    return wanted if task.n_test is None else min(wanted, task.n_test)


def _notes(request: PaperRequest, loaded: Task, task: Task) -> list[str]:
    notes = [
        f"{name}: only {task.file.stages[name].ways[0].name} turns samples into an answer, the first way of the stage, for "
        f"the paper has one a stage; left out: {', '.join(way.name for way in loaded.file.stages[name].ways[1:])}."
        for name in task.llm_stages
        if len(loaded.file.stages[name].ways) > 1
    ]
    sizes = [
        ("search problems", len(task.search), N_SEARCH),
        ("test problems", _n_test(request, task), N_TEST),
        ("trials", request.n_trials, N_TRIALS),
        ("trials in a batch", request.batch, BATCH),
    ]
    other = [f"{size:,} {what} (the paper: {theirs:,})" for what, size, theirs in sizes if size != theirs]
    notes += [f"Of another size than the paper's: {', '.join(other)}."] if other else []
    if request.data is not None:
        notes.append(
            f"Problems are those of --data {request.data}, not the task's own: figures of others say nothing of them."
        )
    if request.n_trials <= request.batch:
        notes.append(
            f"{request.n_trials} {'trial fits' if request.n_trials == 1 else 'trials fit'} into one batch of "
            f"{request.batch}: every search ends in its opening, before its method has chosen anything by a score. To compare "
            "methods give several batches, e.g. with a smaller --batch."
        )
    wanted = request.n_test
    if wanted is not None and task.n_test is not None and wanted > task.n_test:
        notes.append(f"{wanted:,} test problems were asked for; the task has {task.n_test:,}.")
    if request.n_seeds < N_SEEDS:
        notes.append(
            f"Fewer than {N_SEEDS} seeds: figures say how these searches went, and next to nothing of how others of "
            "the same methods would."
        )
    return notes

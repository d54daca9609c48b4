"""From what a user asks to a comparison's folder: the task, and the options of every allocator's studies, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agenttts.budgets.cost import Budget
from agenttts.errors import InputError
from agenttts.store.sql import is_memory
from agenttts.study.comparison_folder import (
    ComparisonFolder,
    default_name,
    open_comparison,
    spend_unit,
)
from agenttts.study.contenders import contender_name, read_contender
from agenttts.study.opening import load_task, run_folder, study_options, unit_of
from agenttts.study.result import StudyOptions
from agenttts.task.task import Task

__all__ = ["ComparisonRequest", "cores", "prepare_comparison"]


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """What is to be compared, and how each study searches. `None`: the default that a single study has."""

    task: Task | str | Path
    allocators: Sequence[str]
    """Names, each with its switches in brackets where it has some (see `contenders`)."""
    n_seeds: int = 20
    target: float = 0.01
    budget: Budget | str | float | None = None
    n_trials: int = 40
    batch: int = 4
    search_budget: Budget | str | float | None = None
    confirm: bool = True
    racing: bool = True
    planner: str | None = None
    planner_budget: Budget | str | float | None = None
    planner_prompts: str | Path | None = None
    planner_timeout_s: float | None = None
    concurrency: int = 32
    n_search: int | None = None
    data: str | Path | None = None
    """In place of the task's sources, see `agenttts.task.sources.locate_data`."""
    out: str | Path | None = None
    store: str | None = None
    endpoint: str | None = None
    source: str | None = None
    trust: bool = False
    kind: str = "compare"
    """What the default name of the folder begins with."""
    reuse_estimation: bool = True
    """See `StudyOptions`."""
    planner_is_counted: bool = True
    """Spend to the target counts calls to the planner; else its card need not tell what they cost."""

    @property
    def names(self) -> list[str]:
        """What is compared, each under its one name.

        Raises:
            InputError: An allocator is not named as `contenders` says.
        """
        return [contender_name(*read_contender(text)) for text in self.allocators]


def prepare_comparison(request: ComparisonRequest) -> ComparisonFolder:
    """Begin a comparison, or open the one that is there.

    Raises:
        InputError: Something that was asked cannot be used.
        CardError: Calls to the planner cannot be counted in the unit that spend is told in.
        RunError: The folder holds a comparison of something else.
    """
    _check(request)
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
    options = _options(request, task)
    if request.planner_is_counted:
        _require_planner_costs(options)
    out = run_folder(request.out if request.out is not None else default_name(task, options, request.kind))
    return open_comparison(out, task, options, request.store)


def _require_planner_costs(options: Mapping[str, StudyOptions]) -> None:
    """Check that calls to the planner can be counted in the unit that spend is told in.

    Raises:
        CardError: They cannot; the message names the key to add.
    """
    from agenttts.budgets.cost_model import CostModel

    cards = {each.planner.name: each.planner for each in options.values() if each.planner is not None}
    CostModel(cards).require(spend_unit(options))


def cores() -> int:
    """Return how many processes can work at a time."""
    if hasattr(os, "sched_getaffinity"):  # what a container or a user has allowed
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _check(request: ComparisonRequest) -> None:
    names = request.names
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"allocators: expected one or more different names, got {', '.join(names) or 'none'}"
        )
    for name, value in (("batch", request.batch), ("seeds", request.n_seeds)):
        if value < 1:
            raise InputError(f"{name}: expected a whole number of at least 1, got {value}")
    if request.store is not None and is_memory(request.store):
        raise InputError("store: searches run in processes of their own and cannot share a store in memory")
    if not (math.isfinite(request.target) and 0 <= request.target < 1):
        raise InputError(
            f"target: expected a distance from the best score, at least 0 and less than 1, got {request.target:g}: "
            "scores lie between 0 and 1"
        )


def _options(request: ComparisonRequest, task: Task) -> dict[str, StudyOptions]:
    from agenttts.allocators.base import ConversingAllocator, make_allocator

    names = request.names
    asking = {
        name: isinstance(make_allocator(read_contender(name)[0]), ConversingAllocator) for name in names
    }
    if not any(asking.values()):
        _without_planner(request)
    return {name: _of_one(request, task, name, asks=asking[name]) for name in names}


def _without_planner(request: ComparisonRequest) -> None:
    """Refuse options of a planner that nobody asks."""
    for option in ("planner", "planner_budget", "planner_prompts", "planner_timeout_s"):
        if getattr(request, option) is not None:
            word = option.removesuffix("_s").replace("_", " ")
            raise InputError(
                f"{word}: none of {', '.join(request.names)} asks a planner. Leave it out, or add e.g. agent"
            )


def _of_one(request: ComparisonRequest, task: Task, name: str, *, asks: bool) -> StudyOptions:
    allocator, switches = read_contender(name)
    options = study_options(
        task,
        budget=request.budget,
        allocator=allocator,
        switches=switches,
        n_trials=request.n_trials,
        search_budget=request.search_budget,
        concurrency=request.concurrency,
        confirm=request.confirm,
        racing=request.racing,
        planner=request.planner if asks else None,
        planner_budget=request.planner_budget if asks else None,
        planner_prompts=request.planner_prompts if asks else None,
        planner_timeout_s=request.planner_timeout_s if asks else None,
    )
    return replace(options, batch=request.batch, reuse_estimation=request.reuse_estimation)

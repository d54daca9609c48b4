"""What of a run is fixed when it begins, and whether what is asked of it later is the same.

What may change between two runs of a study is in `Study.amend`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Unit
from agenttts.budgets.loading import override_endpoint
from agenttts.study.opening import as_budget, run_folder
from agenttts.task.naming import stage_models

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.study.study import Study
    from agenttts.task.sources import SplitName
    from agenttts.task.task import Task

__all__ = ["differing"]


def differing(study: Study, asked: Mapping[str, Any]) -> list[str]:
    """Return the names of options that are not what a study was begun with, in the order given.

    Args:
        study: The study.
        asked: What a user asks for, by the names of the options of `agenttts.optimize` and `planner_timeout`; each
            is given, none is `None`.

    Raises:
        InputError: A budget or an endpoint cannot be read.
    """
    same = _checks(study)
    served = _is_served_by(study.task, asked.get("endpoint"), asked.get("source"))
    return [
        name
        for name, value in asked.items()
        if not (served if name in {"endpoint", "source"} else same[name](value))
    ]


def _checks(study: Study) -> dict[str, Callable[[Any], bool]]:
    was, unit = study.options, study.options.budget.unit
    sums = Unit.GFLOPS if unit is Unit.PAPER else unit
    planner = None if was.planner is None else was.planner.name
    return {
        "budget": lambda value: as_budget(value, unit) == was.budget,
        "allocator": lambda value: value == was.allocator,
        "planner": lambda value: value == planner,
        "planner_budget": lambda value: as_budget(value, sums) == was.planner_budget,
        "planner_prompts": lambda value: str(Path(value).absolute()) == was.planner_prompts,
        "planner_timeout": lambda value: value == was.planner_deadline_s,
        "switches": lambda value: dict(value) == dict(was.switches),
        "seed": lambda value: value == was.seed,
        "confirm": lambda value: value == was.confirm,
        "racing": lambda value: value == was.racing,
        "run": lambda value: run_folder(value).resolve() == study.folder.resolve(),
        "data": lambda value: _has_data(study, value),
        "n_search": lambda value: value == study.task.file.splits.search.n,
    }


def _has_data(study: Study, path: str) -> bool:
    """Return whether a study was begun with the data of a path; its own may have been moved there."""
    needed: SplitName | None = None if study.options.confirm else "search"
    return study.task.with_data(path, needs=needed).digest == study.task.digest


def _is_served_by(task: Task, endpoint: str | None, source: str | None) -> bool:
    """Return whether the models of the stages come from there as it is."""
    cards = [task.cards[name] for name in stage_models(task.file) if name in task.cards]
    return all(_place(override_endpoint(card, endpoint, source)) == _place(card) for card in cards)


def _place(card: ModelCard) -> tuple[str, str, str, str | None]:
    return card.source, card.served_as, (card.base_url or "").rstrip("/"), card.table

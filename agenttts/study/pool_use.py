"""What searches show of a task's pool: prompts longer than the task says, models that fit nowhere, models never tried.

A budget that is made of the lengths that a task states leaves less room where its prompts turn out longer: a large model
may fit no more, and the scores are then those of another pool. Pure: logs of searches in, facts out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agenttts.errors import InfeasibleBudgetError

if TYPE_CHECKING:
    from agenttts.allocators.space import Space
    from agenttts.budgets.cost import Budget
    from agenttts.budgets.lengths import Lengths
    from agenttts.study.archive import StageLengths
    from agenttts.study.events import StudyState
    from agenttts.task.task import Task

__all__ = ["TOLERATED", "PoolUse", "PromptLengths", "pool_use"]

TOLERATED = 1.25
"""Ratio of seen to stated lengths, or its inverse where shorter ones are told too, up to which nothing is said."""


@dataclass(frozen=True, slots=True)
class PromptLengths:
    """A stage whose prompts are of another length than its task says, in mean tokens."""

    stage: str
    stated: float
    seen: float


@dataclass(frozen=True, slots=True)
class PoolUse:
    """What was seen; models are told as `model in stage`."""

    long_prompts: tuple[PromptLengths, ...] = ()
    never_fits: tuple[str, ...] = ()
    """In no allocation that is expected to fit the budget, by the lengths that all searches together have seen; empty
    where the space is too large to list."""
    never_tried: tuple[str, ...] = ()
    """In no trial of any search, although they fit."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def pool_use(
    task: Task,
    budget: Budget,
    states: Sequence[StudyState],
    max_recorded: Callable[[str, str], int | None] | None = None,
) -> PoolUse:
    """Return what searches of one task and budget show of its pool.

    Args:
        task: That was searched.
        budget: Per problem.
        states: One of each search.
        max_recorded: Draws that a recording holds, by stage and model; see `Space.build`.

    Raises:
        CardError: A card lacks what the unit of the budget needs.
    """
    fits = _fitting(task, budget, _learnt(task, states), max_recorded)
    tried = {
        f"{choice.model} in {choice.stage}"
        for state in states
        for trial in state.archive.trials
        for choice in trial.allocation.choices
        if choice.below != 0
    }
    names = [f"{model} in {name}" for name in task.llm_stages for model in task.file.stages[name].variants]
    missing = [name for name in names if name not in tried]
    never_fits = tuple(name for name in missing if fits is not None and name not in fits)
    return PoolUse(
        tuple(_long_prompts(task, states)),
        never_fits,
        tuple(name for name in missing if name not in never_fits),
    )


def _long_prompts(task: Task, states: Sequence[StudyState]) -> Iterator[PromptLengths]:
    for name in task.llm_stages:
        stated = task.file.stages[name].lengths.prefill_tokens
        seen = _mean_prompt(
            trial.lengths[name] for state in states for trial in state.archive.trials if name in trial.lengths
        )
        if stated is not None and seen is not None and seen > TOLERATED * stated:
            yield PromptLengths(name, float(stated), seen)


def _mean_prompt(pieces: Iterable[StageLengths]) -> float | None:
    counts = [(tokens, n) for piece in pieces for tokens, n in piece.prefill.items()]
    n_prompts = sum(n for _, n in counts)
    return sum(tokens * n for tokens, n in counts) / n_prompts if n_prompts else None


def _learnt(task: Task, states: Sequence[StudyState]) -> Lengths:
    """Return the lengths that all searches together have seen."""
    from agenttts.budgets.lengths import Lengths
    from agenttts.study.pilot import learn_pilot, learn_trial

    lengths = Lengths(task.file)
    for state in states:
        if state.pilot is not None:
            learn_pilot(lengths, state.pilot)
        for trial in state.archive.trials:
            learn_trial(lengths, trial)
    return lengths


def _fitting(
    task: Task,
    budget: Budget,
    lengths: Lengths,
    max_recorded: Callable[[str, str], int | None] | None,
) -> set[str] | None:
    """Return the models that an allocation within the budget uses; `None`: too many to list."""
    from agenttts.allocators.space import Space
    from agenttts.budgets.cost_model import CostModel

    try:
        space = Space.build(task, lengths, CostModel(task.cards), budget, max_recorded)
    except InfeasibleBudgetError:
        return set()
    return _used(space) if space.enumerable else None


def _used(space: Space) -> set[str]:
    import numpy as np

    indices = space.feasible_indices()
    return {
        f"{choice.model} in {choice.stage}"
        for place, choices in enumerate(space.stages)
        for choice in (choices[i] for i in np.unique(indices[:, place]))
        if choice.below != 0
    }

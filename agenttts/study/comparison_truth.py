"""True scores of allocations, where they are known: checked against the task before a search, looked up after it.

Reading them from a file lives in `agenttts.report.comparison_report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.errors import InputError
from agenttts.pipeline.base import Allocation

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["Truth", "check_truth", "known_score", "true_scores"]

Truth = Mapping[Allocation, float]
"""True score of every allocation that may win, all within the budget; the best of them is the best known."""


def check_truth(truth: Truth, task: Task) -> None:
    """Check what can be known before a search: that the scores are scores, of allocations of this task.

    Raises:
        InputError: There are none, or one of them is not; the allocation is named.
    """
    if not truth:
        raise InputError("truth: it holds no scores")
    offered = {
        name: (
            set(task.file.stages[name].variants),
            {"first", *(way.name for way in task.file.stages[name].ways)},
        )
        for name in task.llm_stages
    }
    for allocation, score in truth.items():
        if not 0 <= score <= 1:
            raise InputError(f"truth: the score of {allocation} is {score}; scores lie between 0 and 1")
        stages = [choice.stage for choice in allocation.choices]
        if sorted(stages) != sorted(offered):
            raise InputError(
                f"truth: {allocation} has the stages {', '.join(stages) or 'none'}; the task {task.file.name} has "
                f"{', '.join(offered)}. Is it the truth of another task?"
            )
        for choice in allocation.choices:
            models, ways = offered[choice.stage]
            if choice.model not in models or choice.select not in ways:
                raise InputError(
                    f"truth: {allocation}: stage {choice.stage} of the task {task.file.name} has no such choice. Models: "
                    f"{', '.join(sorted(models))}; ways to select: {', '.join(sorted(ways))}"
                )


def known_score(truth: Truth, allocation: Allocation) -> float | None:
    """Return the true score of an allocation; `None` where it is not there."""
    return truth.get(allocation, truth.get(allocation.canonical()))


def true_scores(
    truth: Truth, leaders: Sequence[Allocation | None]
) -> tuple[tuple[float, ...] | None, Allocation | None]:
    """Return the true score of each leader (NaN where there is none), and the first that the truth lacks.

    Where one is lacking there are no scores at all: it might have been the best of all.
    """
    scores: list[float] = []
    for leader in leaders:
        score = math.nan if leader is None else known_score(truth, leader)
        if score is None:
            return None, leader
        scores.append(score)
    return tuple(scores), None

"""A task narrowed to one way to select per stage: the first of each `select` list. Pure.

In the tasks of the catalogue the first way is the one of the paper, which searches models and numbers of samples only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agenttts.models.tiny_reward import TINY_PRM
from agenttts.task.naming import named_models, verifier_blocks

if TYPE_CHECKING:
    from agenttts.task.schema import TaskFile
    from agenttts.task.task import Task

__all__ = ["with_fewer_search_problems", "with_first_ways"]


def with_first_ways(task: Task) -> Task:
    """Return the task with the first way of every stage, and the cards that it then still needs."""
    stages = {
        name: stage.model_copy(update={"select": stage.ways[:1]}) if name in task.llm_stages else stage
        for name, stage in task.file.stages.items()
    }
    file = task.file.model_copy(update={"stages": stages})
    needed = _needed(file)
    return replace(task, file=file, cards={name: card for name, card in task.cards.items() if name in needed})


def _needed(file: TaskFile) -> set[str]:
    names = {model for stage in file.stages.values() for model in stage.variants}
    names |= {model for stage in file.stages.values() for way in stage.select for model in way.to or ()}
    names |= {model for _, model in named_models(file)}
    if any(verifier.kind == "tiny_prm" for _, verifier in verifier_blocks(file)):
        names.add(TINY_PRM)
    return names


def with_fewer_search_problems(task: Task, n: int) -> Task:
    """Return the task with at most `n` search problems: the first ones, which are a random sample of them."""
    if len(task.search) <= n:
        return task
    search = task.file.splits.search.model_copy(update={"n": n})
    file = task.file.model_copy(update={"splits": task.file.splits.model_copy(update={"search": search})})
    return replace(task, file=file, search=task.search[:n], search_digest="")

"""How people know a problem: what was asked first, and the right answers apart. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.task.splits import MISSING, lookup
from agenttts.task.templates import problem_fields

if TYPE_CHECKING:
    from agenttts.pipeline.base import Problem
    from agenttts.task.schema import TaskFile

__all__ = ["golds_of", "text_of"]

LONGEST_FIELD, LONGEST_TEXT = 200, 400
"""Characters of a problem that are told."""


def text_of(file: TaskFile, problem: Problem) -> str:
    """Return the beginning of a problem: the fields that prompts ask about, by name where there are several.

    Where no prompt reads a field, all of them but the id.
    """
    asked = [name for name in problem_fields(file) if lookup(problem.fields, name) is not MISSING]
    if len(asked) == 1:
        return str(lookup(problem.fields, asked[0]))[:LONGEST_TEXT]
    names = asked or [name for name, value in problem.fields.items() if value != problem.id]
    told = "; ".join(f"{name}: {str(lookup(problem.fields, name))[:LONGEST_FIELD]}" for name in names)
    return told[:LONGEST_TEXT]


def golds_of(file: TaskFile, problem: Problem) -> dict[str, str]:
    """Return the right answer by stage, for those that are scored against a field of the problem."""
    scores = {name: stage.score for name, stage in file.stages.items()}
    if file.score is not None:
        last = file.score.stage or list(file.stages)[-1]
        scores[last] = scores[last] or file.score
    golds = {
        name: lookup(problem.fields, score.gold)
        for name, score in scores.items()
        if score is not None and score.gold is not None
    }
    return {name: str(gold)[:LONGEST_FIELD] for name, gold in golds.items() if gold is not MISSING}

"""Contexts that problems share: what a stage with `shared_by` may read, and how many problems a context has.

Such a stage runs once per context, so its prompt must be the same for all problems of a context. Templates are looked
at without rendering them; the fields that they read are compared between the problems of each context.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.errors import DataError, Mistake, TaskFileError
from agenttts.pipeline.base import Problem
from agenttts.task.prompting import PromptBlock
from agenttts.task.reading import Document, nearest, read_text
from agenttts.task.splits import MISSING, lookup
from agenttts.task.templates import prompt_fields, reads_whole_problem

if TYPE_CHECKING:
    from agenttts.task.drafts import StageDraft
    from agenttts.task.schema import StageBlock, TaskFile

__all__ = ["contexts_per_problem", "queries_per_context", "refuse_unlike", "sharing_faults"]

UNREADING = frozenset({"tiny_prm", "orm", "prm", "gen_prm", "self_certainty", "agreement", "judge"})
"""Kinds of verifiers that look at nothing of a problem but what the stage's own prompt shows of it."""


def queries_per_context(problems: Sequence[Problem], field: str) -> float:
    """Return how many of the problems a context has on average; 1 without problems."""
    return len(problems) / max(1, len({_context(p, field) for p in problems})) if problems else 1.0


def contexts_per_problem(file: TaskFile, problems: Sequence[Problem]) -> dict[str, float]:
    """Return, for each stage that problems share, how often it runs per problem when all of these are run."""
    return {
        name: 1 / queries_per_context(problems, block.shared_by.field)
        for name, block in file.stages.items()
        if block.shared_by is not None
    }


def refuse_unlike(file: TaskFile, problems: Sequence[Problem]) -> None:
    """Stop before problems are run whose context is the same and whose prompts of a shared stage are not.

    Raises:
        DataError: Names the stage, the field and two such problems.
    """
    for name, block in file.stages.items():
        if block.shared_by is not None:
            for message in _unlike(problems, block.shared_by.field, prompt_fields(_prompts(block))):
                raise DataError(f"stages.{name}.shared_by: {message}")


def sharing_faults(
    document: Document,
    name: str,
    stages: Mapping[str, StageDraft],
    fields: Collection[str] | None,
    problems: Sequence[Problem],
    folder: Path,
) -> Iterator[Mistake]:
    """Yield the mistakes in `shared_by` of one stage.

    Args:
        document: The task file.
        name: The stage.
        stages: All stages.
        fields: Fields of the data; `None`: not known.
        problems: Search problems.
        folder: Where prompt files count from.
    """
    stage = stages[name]
    if stage.shared_by is None:
        return
    field, at = stage.shared_by.field, ("stages", name, "shared_by")
    if fields is not None and field.partition(".")[0] not in fields:
        hint = nearest(field, fields, listed="Fields of the data")
        yield document.mistake((*at, "field"), f"the data has no field `{field}`.", hint)
        return
    yield from _needs_faults(document, name, stages)
    prompts = [_with_files(prompt, folder) for prompt in _prompts(stage)]
    if reads_whole_problem(prompts):
        message = "a prompt reads `problem` as a whole, which differs between the problems of a context."
        yield document.mistake(at, message, "Read single fields: {{ problem.<field> }}.")
    hint = "A shared prompt may only read fields that all problems of a context agree on."
    for message in _unlike(problems, field, prompt_fields(prompts)):
        yield document.mistake(at, message, hint)
    for index, way in enumerate(stage.select):
        if way is not None and way.verifier is not None and way.verifier.kind not in UNREADING:
            message = (
                f"{way.verifier.kind} may score samples by what differs between the problems of a context."
            )
            yield document.mistake(("stages", name, "select", index), message, "Select without it.")


def _needs_faults(document: Document, name: str, stages: Mapping[str, StageDraft]) -> Iterator[Mistake]:
    shared = stages[name].shared_by
    for index, need in enumerate(stages[name].needs):
        other = stages[need].shared_by if need in stages else shared
        if shared is not None and (other is None or other.field != shared.field):
            message = f"`{need}` is not shared by `{shared.field}`, so this stage cannot be."
            hint = "A shared stage needs only stages that are shared by the same field."
            yield document.mistake(("stages", name, "needs", index), message, hint)


def _prompts(stage: StageDraft | StageBlock) -> list[PromptBlock]:
    ways = [way for way in stage.select if way is not None]
    critics = [way.critic.prompt for way in ways if way.critic is not None]
    verifiers = [way.verifier.prompt for way in ways if way.verifier is not None]
    return [
        prompt
        for prompt in (stage.prompt, *(way.prompt for way in ways), *critics, *verifiers)
        if prompt is not None
    ]


def _with_files(prompt: PromptBlock, folder: Path) -> PromptBlock:
    system, user = (
        text if name is None else _file_text(folder / name)
        for text, name in ((prompt.system, prompt.system_file), (prompt.user, prompt.user_file))
    )
    return PromptBlock(system=system, user=user or "")


def _file_text(path: Path) -> str:
    """Return the text of a prompt file; empty where it cannot be read, which is told elsewhere."""
    try:
        return read_text(path)
    except (OSError, TaskFileError):
        return ""


def _context(problem: Problem, field: str) -> str:
    return _text(lookup(problem.fields, field))


def _text(value: object) -> str:
    return "(missing)" if value is MISSING else json.dumps(value, sort_keys=True, default=str)


def _unlike(problems: Sequence[Problem], by: str, fields: Sequence[str]) -> Iterator[str]:
    """Yield, for each field read, the first two problems that share a context and differ in it."""
    lacking = next((p for p in problems if lookup(p.fields, by) in (MISSING, None)), None)
    if lacking is not None:
        yield f"problem {lacking.id!r} has no `{by}`."
        return
    for field in fields:
        first: dict[str, Problem] = {}
        for problem in problems:
            other = first.setdefault(_context(problem, by), problem)
            if _text(problem.fields.get(field, MISSING)) != _text(other.fields.get(field, MISSING)):
                yield (
                    f"the prompt reads `problem.{field}`, which differs between problems {other.id!r} and "
                    f"{problem.id!r} of the same `{by}`."
                )
                break

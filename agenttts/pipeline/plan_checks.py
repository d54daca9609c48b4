"""What can be wrong with the text of a plan, and with an allocation for its task, told with line and nearest name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Cost
from agenttts.pipeline.base import Allocation, StageChoice

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["misfits", "unknown_keys"]

Loc = tuple[int | str, ...]
TASK_KEYS = (
    "format", "file", "folder", "cards", "card_files", "data_sha256", "data_folder", "search_digest", "code_sha256",
)  # fmt: skip
"""Of a stored task; what stands below `file` and `cards` has schemas of its own."""


def unknown_keys(
    text: str, data: Mapping[str, Any], known: Mapping[str, Sequence[str]], name: str
) -> list[str]:
    """Return a message for each key of a plan that means nothing.

    Args:
        text: The YAML text, for line numbers.
        data: What it holds.
        known: Block (empty: the top) -> its keys.
        name: Of the file, for messages.
    """
    from agenttts.task.reading import nearest

    choice, cost = (tuple(one.name for one in fields(kind)) for kind in (StageChoice, Cost))
    search = data.get("search")
    blocks: list[tuple[Loc, Any, Sequence[str]]] = [
        ((), data, known[""]),
        *(((block,), data.get(block), keys) for block, keys in known.items() if block),
        (("budget",), data.get("budget"), ("amount", "unit")),
        (("cost_per_problem",), data.get("cost_per_problem"), cost),
        (("search", "spent"), search.get("spent") if isinstance(search, Mapping) else None, cost),
        (("task",), data.get("task"), TASK_KEYS),
    ]
    entries = data.get("allocation")
    blocks += [
        (("allocation", i), e, choice) for i, e in enumerate(entries if isinstance(entries, list) else ())
    ]
    found = [
        ((*at, key), nearest(key, keys, listed="Known keys"))
        for at, block, keys in blocks
        if isinstance(block, Mapping)
        for key in block
        if key not in keys
    ]
    return list(_with_lines(text, found, name))


def _with_lines(text: str, found: Sequence[tuple[Loc, str]], name: str) -> Iterator[str]:
    if not found:
        return
    import yaml

    from agenttts.task.reading import Document

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - its data are a mapping
    document = Document(name, {}, root)
    for loc, hint in found:
        line = document.place(loc)[1]
        yield f"{name}:{line}: {'.'.join(map(str, loc))}: unknown key.\n{hint}"


def misfits(allocation: Allocation, task: Task) -> list[str]:
    """Return what keeps an allocation from answering problems of a task; the nearest right names are told."""
    from agenttts.task.reading import nearest

    stages = {name: block for name, block in task.file.stages.items() if block.asks_model}
    chosen = [choice.stage for choice in allocation.choices]
    found = [
        f"allocation: the task has no stage `{stage}`. {nearest(stage, stages, listed='Stages')}"
        for stage in chosen
        if stage not in stages
    ]
    twice = sorted({stage for stage in chosen if chosen.count(stage) > 1})
    found += [f"allocation: stage `{stage}` is there twice" for stage in twice]
    if not found:
        found += [f"allocation: stage `{stage}` is missing" for stage in stages if stage not in chosen]
    for choice in allocation.choices:
        if choice.stage in stages:
            block = stages[choice.stage]
            found += _choice_misfits(choice, task, block.ways)
            found += _threshold_misfits(
                choice, runs_on_condition=block.when is not None, optional=block.optional
            )
    return found


def _threshold_misfits(choice: StageChoice, *, runs_on_condition: bool, optional: bool) -> Iterator[str]:
    below = choice.below
    if optional and below == 0:
        return
    if not runs_on_condition and below is not None:
        yield f"allocation: stage {choice.stage} runs on every problem (it has no `when`): it takes no `below`"
    if runs_on_condition and (isinstance(below, bool) or not isinstance(below, int | float) or below < 0):
        yield (
            f"allocation: stage {choice.stage} runs on a condition: below: expected the threshold, at least 0, "
            f"got {below!r}"
        )


def _choice_misfits(choice: StageChoice, task: Task, select: Sequence[Any]) -> Iterator[str]:
    from agenttts.task.reading import nearest

    labels = list(dict.fromkeys(["first", *(way.name for way in select)]))
    if choice.select not in labels:
        hint = nearest(choice.select, labels, listed="Ways to select")
        yield f"allocation: stage {choice.stage} has no way to select called `{choice.select}`. {hint}"
    if type(choice.n_samples) is not int or choice.n_samples < 1:
        yield f"allocation: stage {choice.stage}: n_samples: expected at least 1, got {choice.n_samples!r}"
    if choice.model not in task.cards:
        hint = nearest(choice.model, task.cards, listed="Cards")
        yield f"allocation: stage {choice.stage}: the plan holds no card of `{choice.model}`. {hint}"

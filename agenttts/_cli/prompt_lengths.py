"""What the prompts of the data at hand say about the lengths that a task file assumes.

A task may state how long prompts are, as the paper's tasks state those of the paper. Its budget is then made of these
lengths, and longer prompts in the data leave less room: a large model may fit no longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agenttts._cli.console import clean
from agenttts.study.pool_use import TOLERATED, PromptLengths

if TYPE_CHECKING:
    from agenttts.allocators.space import Space
    from agenttts.budgets.cost import Budget
    from agenttts.budgets.cost_model import CostModel
    from agenttts.task.task import Task

__all__ = ["measured_prompts", "prompt_cautions"]


def measured_prompts(task: Task, rendered: Mapping[tuple[str, str], float]) -> list[PromptLengths]:
    """Return the stages whose stated prompt lengths the data contradict, of those that read the problem alone.

    Lengths are means over a few search problems, counted by the tokenizers that the cards name, averaged over models.
    """
    found = []
    for name in task.llm_stages:
        block = task.file.stages[name]
        counts = [count for (stage, _), count in rendered.items() if stage == name]
        stated = block.lengths.prefill_tokens
        if block.needs or stated is None or not counts:
            continue
        measured = sum(counts) / len(counts)
        if not 1 / TOLERATED <= measured / stated <= TOLERATED:
            found.append(PromptLengths(name, stated, measured))
    return found


def prompt_cautions(
    task: Task, rendered: Mapping[tuple[str, str], float], space: Space, cost_model: CostModel
) -> tuple[str, ...]:
    """Return what to tell of prompts of another length, and of models that fit no more because of them."""
    found = measured_prompts(task, rendered)
    told = [
        f"Prompts of {clean(one.stage)} take about {one.seen:,.0f} tokens on the search problems at hand; the task "
        f"says {one.stated:,.0f}, and the figures above are by that until draws teach better."
        for one in found
    ]
    if any(one.seen > one.stated for one in found):
        told += _left_out(task, found, space, cost_model)
    return tuple(told)


def _left_out(task: Task, found: list[PromptLengths], space: Space, cost_model: CostModel) -> list[str]:
    before = _never_fitting(space)
    lost, pass_cost = _with_measured(task, found, space.budget, cost_model)
    lost = [model for model in lost if model not in before]
    if not lost:
        return []
    return [
        f"With prompts of that length no allocation with {', '.join(map(clean, lost))} fits {space.budget}; one pass of the "
        f"dearest model in every stage would take {pass_cost}."
    ]


def _with_measured(
    task: Task, found: list[PromptLengths], budget: Budget, cost_model: CostModel
) -> tuple[list[str], Budget]:
    """Return which models fit nowhere at the measured lengths, and the cost of the dearest single samples."""
    from agenttts.allocators.space import Space
    from agenttts.budgets.cost import Budget
    from agenttts.budgets.lengths import Lengths

    stages = dict(task.file.stages)
    for one in found:
        block = stages[one.stage]
        longer = block.lengths.model_copy(update={"prefill_tokens": one.seen})
        stages[one.stage] = block.model_copy(update={"lengths": longer})
    longer_task = replace(task, file=task.file.model_copy(update={"stages": stages}))
    lengths = Lengths.of_task(longer_task)
    # A budget without limit: the costs are what is asked for, and the cheapest may fit no more.
    space = Space.build(longer_task, lengths, cost_model, Budget(float("inf"), budget.unit))
    singles = [
        max(cost for choice, cost in zip(choices, costs, strict=True) if choice.n_samples == 1)
        for choices, costs in zip(space.stages, space.costs, strict=True)
        if any(choice.n_samples == 1 for choice in choices)
    ]
    return _never_fitting(space, budget.amount), Budget(sum(singles), budget.unit)


def _never_fitting(space: Space, limit: float | None = None) -> list[str]:
    """Return the models of the space that no allocation within a limit uses; `None`: within its budget."""
    most = space.budget.amount if limit is None else limit
    least = [min(costs) for costs in space.costs]
    fitting: set[str] = set()
    named: dict[str, None] = {}
    for place, (choices, costs) in enumerate(zip(space.stages, space.costs, strict=True)):
        others = sum(least) - least[place]
        for choice, cost in zip(choices, costs, strict=True):
            named[f"{choice.model} in {choice.stage}"] = None
            if cost + others <= most:
                fitting.add(f"{choice.model} in {choice.stage}")
    return [name for name in named if name not in fitting]

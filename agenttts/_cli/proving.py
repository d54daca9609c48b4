"""The proof that a new task works, before it is written: a default budget that fits, and all that `agenttts check` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from agenttts._cli.quoting import forecast, rendered_prefill
from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Unit, plain_digits
from agenttts.errors import InputError
from agenttts.starting.drafting import BudgetChoice, Draft, task_text
from agenttts.starting.making import TASK
from agenttts.starting.served import unit_for
from agenttts.study.opening import study_options
from agenttts.task.task import Task

__all__ = ["prove"]

FITTING_SHARE = 0.5
"""Share of the allocations that the default budget lets in: room to search, and a limit that is one."""
N_LIKE = 2000


def prove(draft: Draft, folder: Path, cards: Mapping[str, ModelCard]) -> tuple[Task, BudgetChoice]:
    """Write the task file with a default budget that fits, and do with it what `agenttts check` does.

    Raises:
        AgentTTSError: It has mistakes: those of files of the user, e.g. of model cards.
    """
    unit, because = unit_for(cards)
    amounts, n_all = _costs(draft, folder, unit)
    if amounts[-1] <= 0:  # a price of 0 makes a budget that says nothing
        unit, because = Unit.TOKENS, "It is counted in tokens, as these models cost nothing."
        amounts, n_all = _costs(draft, folder, unit)
    amount = _rounded_up(amounts[math.ceil(FITTING_SHARE * len(amounts)) - 1])
    budget = BudgetChoice(unit, amount, _why(amounts, amount, n_all, unit, because))
    task = _loaded(draft, budget, folder)
    forecast(task, study_options(task))
    _render(task)
    return task, budget


def _loaded(draft: Draft, budget: BudgetChoice, folder: Path) -> Task:
    (folder / TASK).write_text(task_text(draft, budget), encoding="utf-8")
    return Task.load(folder / TASK)


def _costs(draft: Draft, folder: Path, unit: Unit) -> tuple[list[float], int]:
    """Return what allocations are expected to cost, rising, and how many allocations there are; a sample of many."""
    import numpy as np

    from agenttts.allocators.space import Space
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.lengths import Lengths

    task = _loaded(draft, BudgetChoice(unit, 1.0, "To be worked out."), folder)
    lengths = Lengths.of_task(task, rendered_prefill(task))
    space = Space.build(task, lengths, CostModel(task.cards), Budget(float("inf"), unit))
    indices = space.feasible_indices() if space.enumerable else space.sample(np.random.default_rng(0), N_LIKE)
    return sorted(map(float, space.cost_array(indices))), space.size


def _rounded_up(amount: float) -> float:
    """Return the least number of two significant digits that is not below."""
    step = 10.0 ** (math.floor(math.log10(amount)) - 1)
    return float(f"{math.ceil(amount / step * (1 - 1e-12)) * step:.6g}")


def _why(amounts: Sequence[float], amount: float, n_all: int, unit: Unit, because: str) -> str:
    share = sum(one <= amount for one in amounts) / len(amounts)
    least, most = (f"{plain_digits(one, 3)} {unit.label}" for one in (amounts[0], amounts[-1]))
    return (
        f"{because} The default lets in about {share:.0%} of the {n_all:,} allocations, by the lengths that are guessed "
        f"above: the cheapest is expected to cost {least}, the dearest {most}."
    )


def _render(task: Task) -> None:
    """Render the prompts of all search problems.

    Raises:
        InputError: One cannot be rendered.
    """
    from agenttts.pipeline.prompts import Prompt, render_faults

    for name, stage in task.file.stages.items():
        if stage.prompt is None:
            continue
        for problem, error in render_faults(Prompt.compile(stage.prompt), stage.needs, task.search):
            raise InputError(
                f"the prompt of stage {name} cannot be made for problem {problem.id}: {error}.\n"
                "Name another field with --question."
            ) from error

"""The grounds `simulated/...`: pipelines of up to 4 stages, 8 models and 100 samples, drawn from a documented law.

The law is that of `agenttts.testing.insights`. A search with seed s sees problems and draws of its own; the truth is
the exact mean over all problems, so here a seed's noise includes which problems it got. Costs are in units of the
smallest model's sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Trial
from agenttts.testing.insights import INSIGHTS, InsightTask, insight_task
from agenttts.testing.surfaces import Spend
from grounds.base import Paid, Source

N_PROBLEMS = 200

SIMULATED = {
    "simulated/small": (2, 4, 30, INSIGHTS),
    "simulated/3-stages": (3, 8, 100, INSIGHTS),
    "simulated/3-stages-plain": (3, 8, 100, ()),
    "simulated/4-stages": (4, 8, 100, INSIGHTS),
}
"""Name -> stages, models, most samples, and which of the paper's insights are built in."""


class SimulatedGround:
    """See the module."""

    source: Source = "simulated"

    def __init__(self, name: str) -> None:
        n_stages, n_models, most, insights = SIMULATED[name]
        self.name, self.n_problems = name, N_PROBLEMS
        self.task = insight_task(n_stages, n_models, most, insights=insights, n_problems=N_PROBLEMS)
        self.space = self.task.space
        self.note = (
            f"{n_stages} stages, {n_models} models, up to {most} samples, {N_PROBLEMS} problems, insights: "
            f"{', '.join(insights) or 'none'}, {self.space.budget}"
        )

    @cached_property
    def best(self) -> float:
        return self.task.best[1]

    def truth(self, allocation: Allocation) -> float:
        return self.task.truth(allocation)

    def affords(self, allocation: Allocation) -> bool:
        return self.space.feasible(allocation)

    def begin(self, seed: int | None) -> SimulatedRun:
        return SimulatedRun(replace(self.task, seed=0 if seed is None else seed + 1))


class SimulatedRun:
    """One search on the ground; see `base.Run`."""

    def __init__(self, task: InsightTask) -> None:
        self._task = task
        self._spend = Spend()
        self._last: Trial | None = None

    def run(
        self, allocation: Allocation, number: int, problems: Sequence[int] | None = None
    ) -> tuple[Trial, Paid]:
        whole = self._last
        if whole is None or whole.allocation != allocation:
            whole = self._last = self._task.run(allocation)
        trial = replace(whole, number=number)
        if problems is not None:
            trial = _only(trial, {f"p{i}" for i in problems})
        trial = self._spend.pay(trial, self._task.space)
        return trial, Paid(self._spend.with_reuse[-1], self._spend.without_reuse[-1])


def _only(trial: Trial, names: set[str]) -> Trial:
    """Return the trial on some of its problems."""
    return replace(
        trial,
        scores={n: v for n, v in trial.scores.items() if n in names},
        stage_scores={s: {n: v for n, v in by.items() if n in names} for s, by in trial.stage_scores.items()},
        sample_scores={
            s: {n: v for n, v in by.items() if n in names} for s, by in trial.sample_scores.items()
        },
    )

"""Trials on a ground under the package's racing: block by block, ended when surely below the best or over the budget."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agenttts.budgets.cost import Cost, Unit
from agenttts.pipeline.base import Allocation, Rollout
from agenttts.study.archive import Archive, Trial
from agenttts.study.racing import Race, blocks
from grounds.base import Ground, Paid, Run


@dataclass
class Raced:
    """Evaluates as a study with racing does; the incumbent is the best trial before the round."""

    ground: Ground
    seed: int
    n_stopped: int = 0
    n_falsely: int = 0
    """Of these, trials that would have scored as high as the incumbent on all problems, with the same draws."""
    _whole: Run = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._whole = self.ground.begin(self.seed)

    def __call__(self, run: Run, allocation: Allocation, number: int, archive: Archive) -> tuple[Trial, Paid]:
        n, incumbent = self.ground.n_problems, archive.best()
        race = Race(self.ground.space.budget, n, incumbent)
        seen: list[int] = []
        rollouts: list[Rollout] = []
        fresh = alone = 0.0
        for block in blocks(range(n), self.seed):
            for problem in block:
                trial, paid = run.run(allocation, number, [problem])
                rollouts.append(_rollout(trial, self.ground.space.budget.unit))
                fresh, alone = fresh + paid.fresh, alone + paid.alone
            seen += block
            if len(seen) < n and race.stopped_because(rollouts):
                break
        trial, _ = run.run(allocation, number, sorted(seen))
        if len(seen) < n:
            self._count(trial, incumbent)
            trial = replace(trial, status="stopped")
        return trial, Paid(fresh, alone)

    def _count(self, stopped: Trial, incumbent: Trial | None) -> None:
        self.n_stopped += 1
        whole, _ = self._whole.run(stopped.allocation, stopped.number)
        if incumbent is not None and whole.status == "ok" and whole.score >= incumbent.score:
            self.n_falsely += 1


def _rollout(trial: Trial, unit: Unit) -> Rollout:
    """One problem of a trial as the race wants it: its score and its whole cost."""
    ((name, score),) = trial.scores.items()
    flops = trial.charged * 1e9 if unit is Unit.GFLOPS else 0.0
    tokens = trial.charged if unit is Unit.TOKENS else 0.0
    return Rollout(name, {}, score, costs={"all": Cost(flops=flops, decode_tokens=tokens)})

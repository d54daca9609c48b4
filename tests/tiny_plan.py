"""A plan of the tiny task, in-process or served by any endpoint, for tests of what uses plans."""

from __future__ import annotations

from pathlib import Path

from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.plan import Plan
from agenttts.study.scoring import load_plan
from agenttts.task.task import Task

PROBLEM = "Ben has 14 coins. Mon: visits refe. Tue: plays mopu. How many coins now?"
"""The first search problem of the tiny task; 27 is right."""
N_CALLS = 6
"""Prompts that the plan below is billed for: translate, solve, and each of 4 samples that the reward model reads."""


def tiny_plan(*, n_solve: int = 4, endpoint: str | None = None) -> Plan:
    """Return translate by tiny/l x4 majority, then solve by tiny/l, best of n."""
    allocation = Allocation(
        (
            StageChoice("translate", "tiny/l", 4, "majority"),
            StageChoice("solve", "tiny/l", n_solve, "best_of_n(tiny_prm)" if n_solve > 1 else "first"),
        )
    )
    plan = Plan(task=Task.load("tiny"), allocation=allocation)
    return plan if endpoint is None else load_plan(plan, endpoint=endpoint)


def save_tiny_plan(folder: Path, *, n_solve: int = 4, endpoint: str | None = None) -> Path:
    """Write that plan to `folder/plan.yaml`."""
    return tiny_plan(n_solve=n_solve, endpoint=endpoint).save(folder / "plan.yaml")

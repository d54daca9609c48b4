"""Spend a budget well over the stages of an LLM pipeline.

agenttts finds, for every stage of a pipeline, the model, the number of samples and the way to turn them into one
answer that score best within a budget per problem.

    result = agenttts.optimize("tiny", budget="40 gflops")
    plan = agenttts.Plan.load(result.plan_path)

Names load on first use (PEP 562), so that importing this package is silent, offline and quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agenttts.api import aoptimize, compare, evaluate, optimize
    from agenttts.budgets.cost import Budget, Cost, Unit
    from agenttts.errors import AgentTTSError
    from agenttts.export.run import Run
    from agenttts.pipeline.base import Allocation, Problem, StageChoice
    from agenttts.pipeline.plan import Plan
    from agenttts.study.comparison_runs import ComparisonResult
    from agenttts.study.result import StudyOptions, StudyResult
    from agenttts.study.study import Study
    from agenttts.task.task import Task

__version__ = "0.1.0"

__all__ = [
    "AgentTTSError",
    "Allocation",
    "Budget",
    "ComparisonResult",
    "Cost",
    "Plan",
    "Problem",
    "Run",
    "StageChoice",
    "Study",
    "StudyOptions",
    "StudyResult",
    "Task",
    "Unit",
    "__version__",
    "aoptimize",
    "compare",
    "evaluate",
    "optimize",
]

_HOMES = {
    "AgentTTSError": "agenttts.errors",
    "Allocation": "agenttts.pipeline.base",
    "Budget": "agenttts.budgets.cost",
    "ComparisonResult": "agenttts.study.comparison_runs",
    "Cost": "agenttts.budgets.cost",
    "Plan": "agenttts.pipeline.plan",
    "Problem": "agenttts.pipeline.base",
    "Run": "agenttts.export.run",
    "StageChoice": "agenttts.pipeline.base",
    "Study": "agenttts.study.study",
    "StudyOptions": "agenttts.study.result",
    "StudyResult": "agenttts.study.result",
    "Task": "agenttts.task.task",
    "Unit": "agenttts.budgets.cost",
    "aoptimize": "agenttts.api",
    "compare": "agenttts.api",
    "evaluate": "agenttts.api",
    "optimize": "agenttts.api",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agenttts' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    own = {name for name in globals() if name.startswith("__")}
    return sorted(own.union(__all__))

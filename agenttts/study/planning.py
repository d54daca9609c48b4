"""From a study's result to the plan that runs anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.budgets.cost import total
from agenttts.study.archive import Trial
from agenttts.study.events import StudyState
from agenttts.study.figures import figures_to_json
from agenttts.study.result import StudyOptions, StudyResult

if TYPE_CHECKING:
    from agenttts.pipeline.plan import Measured
    from agenttts.task.task import Task

__all__ = ["save_plan"]


def save_plan(
    path: Path, task: Task, result: StudyResult, best: Trial, options: StudyOptions, state: StudyState
) -> None:
    """Write the winner of a study as a plan, with what was measured and which search found it."""
    from agenttts.pipeline.plan import Plan, Provenance

    Plan(
        task=task,
        allocation=best.allocation,
        budget=result.budget,
        measured=_measured(result, best),
        cost_per_problem=total(best.costs.values()),
        provenance=Provenance(
            allocator=options.allocator,
            seed=options.seed,
            n_trials=len(result.trials),
            spent=result.spent,
            study_id=str(state.started["study_id"]),
            note=result.message,
            break_even={one.stage: one.count for one in result.break_even},
        ),
    ).save(path)


def _measured(result: StudyResult, best: Trial) -> Measured | None:
    """Return the score on unseen problems; only where there is none, that on the problems that chose the plan."""
    from agenttts.pipeline.plan import Measured

    final = result.confirmation
    if final is not None and final.winner is not None:
        interval, split, n_failed = final.winner, final.split, len(final.winner_failures)
    elif result.best_interval is not None:
        interval, split, n_failed = result.best_interval, "search", best.n_failed
    else:
        return None
    return Measured(
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        confidence=interval.confidence,
        method=interval.method,
        split=split,
        n_failed=n_failed,
        counted_by=best.counted_by,
        measures={} if final is None else figures_to_json(final.winner_measures),
    )

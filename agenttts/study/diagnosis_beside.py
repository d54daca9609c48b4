"""Ways without parallel draws of their own, seen beside a trial of the same model that has them.

Of a way that stops early the log holds the draws up to the stop: their best is no coverage of `n_samples`, and their mean
is no single sample, for it stopped at what it liked. So both are taken from parallel draws of another trial. What it
misses of them is split in two: what the same selection finds among all draws and not among those up to the stop is lost
by stopping, the rest by selection. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agenttts.study.estimation import expected_score
from agenttts.study.stage_draws import (
    choice_at,
    draws_at,
    is_parallel,
    kind_at,
    knows_votes,
    way_at,
    weight,
)
from agenttts.study.statistics import Interval, PairedDifference, mean_interval, paired_difference
from agenttts.study.verifier_check import oracle_score

if TYPE_CHECKING:
    from agenttts.study.archive import Trial
    from agenttts.study.verifier_check import Labelled
    from agenttts.task.task import Task

__all__ = ["STOPPING", "Apart", "Beside", "apart", "beside", "parallel_beside", "shared_draws"]

STOPPING: Mapping[str, str] = {"adaptive_vote": "majority", "adaptive_best": "best_of_n"}
"""Ways that stop early, and how they select among what they drew."""
BUILDING: Mapping[str, str] = {
    "refine": "all samples but the first are refined from others",
    "beam": "its samples are grown step by step",
    "dvts": "its samples are grown step by step",
    "tree": "some of its samples are refined from others",
}
"""Ways whose samples are no independent draws, and why."""


@dataclass(frozen=True)
class Beside:
    """Where the coverage of a way that stops early is from, and what stopping loses."""

    kind: str
    """Of the way."""
    trial: int
    """Number of the trial with the parallel draws."""
    drawn: float
    """Samples that the way drew of a problem, on average."""
    full: Interval | None
    """What its selection finds among all parallel draws; `None`: no log tells."""
    stopping: PairedDifference
    """`full` minus what the way selected; where `full` is `None`, coverage minus the best of what it drew, which is the
    most that stopping can have lost."""


@dataclass(frozen=True)
class Apart:
    """A way of which only the score is known: where that is lost cannot be told."""

    stage: str
    model: str
    label: str
    trial: int
    n_samples: int
    selected: Interval
    why: str


def parallel_beside(task: Task, trial: Trial, stage: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with parallel draws that a way that stops early is best seen beside; `None`: there is none.

    It holds draws of the same model, at least as many as the way might draw, on a problem that both know. First come
    those with half of the problems, those that tell what the way would select of all draws, those with the same prompts.
    """
    choice, n_problems = choice_at(trial, stage), len(trial.stage_scores.get(stage, {}))
    fitting = [
        other
        for other in trials
        if is_parallel(task, other, stage)
        and choice_at(other, stage).model == choice.model
        and choice_at(other, stage).n_samples >= choice.n_samples
        and _shared(trial, other, stage)
    ]

    def key(other: Trial) -> tuple[float, ...]:
        n_shared = len(_shared(trial, other, stage))
        told, same = _tells_full(task, trial, other, stage), _same_prompts(trial, other, stage)
        return (2 * n_shared >= n_problems, told, same, n_shared, *weight(other, stage))

    return max(fitting, key=key, default=None)


def _shared(trial: Trial, other: Trial, stage: str) -> set[str]:
    """Return the problems of which the one has a score and draws, and the other draws."""
    mine = trial.stage_scores.get(stage, {}).keys() & trial.sample_scores.get(stage, {}).keys()
    return mine & other.sample_scores[stage].keys()


def shared_draws(trial: Trial, other: Trial, stage: str) -> list[Labelled]:
    """Return the parallel draws of the problems that both trials know."""
    names = _shared(trial, other, stage)
    return [entry for entry in draws_at(other, stage) if entry.problem_id in names]


def _tells_full(task: Task, trial: Trial, other: Trial, stage: str) -> bool:
    """Return whether a log tells what a way that stops early would select of all draws of another trial."""
    if not knows_votes(other, stage):
        return False
    if kind_at(task, trial, stage) == "adaptive_vote":
        return True
    mine, its = way_at(task, trial, stage), way_at(task, other, stage)
    same = mine is not None and its is not None and mine.verifier == its.verifier
    return same and bool(other.verifier_scores.get(stage))


def _same_prompts(trial: Trial, other: Trial, stage: str) -> bool:
    mine, its = trial.prompts.get(stage, {}), other.prompts.get(stage, {})
    return all(mine[name] == its[name] for name in mine.keys() & its.keys())


def beside(task: Task, trial: Trial, other: Trial, stage: str) -> Beside:
    """Return what a way that stops early in `trial` loses by it, against the parallel draws of `other`."""
    kind, n = kind_at(task, trial, stage), choice_at(trial, stage).n_samples
    draws, own = shared_draws(trial, other, stage), trial.sample_scores[stage]
    if told := _tells_full(task, trial, other, stage):
        all_of_it = {
            d.problem_id: expected_score(STOPPING[kind], n, d.votes, d.values, d.scores) for d in draws
        }
        found = {d.problem_id: trial.stage_scores[stage][d.problem_id] for d in draws}
    else:
        all_of_it = {d.problem_id: oracle_score(d.values, n) for d in draws}
        found = {d.problem_id: max(own[d.problem_id]) for d in draws}
    return Beside(
        kind=kind,
        trial=other.number,
        drawn=math.fsum(len(own[d.problem_id]) for d in draws) / len(draws),
        full=mean_interval([all_of_it[name] for name in sorted(all_of_it)]) if told else None,
        stopping=paired_difference(all_of_it, found),
    )


def apart(task: Task, trial: Trial, stage: str) -> Apart | None:
    """Return what is known of a way that cannot be diagnosed; `None`: not even its score."""
    scored, choice = trial.stage_scores.get(stage, {}), choice_at(trial, stage)
    if not scored:
        return None
    kind = kind_at(task, trial, stage)
    why = (
        f"its draws end where it stopped, and no trial drew {choice.n_samples} or more of this model in parallel"
        if kind in STOPPING and trial.sample_scores.get(stage)
        else BUILDING.get(kind, "no log tells the scores of its samples")
    )
    selected = mean_interval([scored[name] for name in sorted(scored)])
    return Apart(stage, choice.model, choice.select, trial.number, choice.n_samples, selected, why)

"""What the log of one trial tells of one stage: what was chosen there, and what was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agenttts.study.verifier_check import Labelled

if TYPE_CHECKING:
    from agenttts.pipeline.base import StageChoice
    from agenttts.study.archive import Trial
    from agenttts.task.task import Task
    from agenttts.task.ways import SelectBlock

__all__ = [
    "PARALLEL",
    "choice_at",
    "draws_at",
    "is_parallel",
    "kind_at",
    "knows_votes",
    "way_at",
    "weight",
]

PARALLEL = frozenset(
    {
        "agreed_fusion",
        "best_of_n",
        "cascade",
        "first",
        "fusion",
        "list_vote",
        "llm_select",
        "majority",
        "weighted_vote",
    }
)
"""Ways whose samples in the log are all `n_samples` draws of the choice's model, made without looking at one another.
Of a cascade these are the draws before it escalates. A way that stops early keeps what it liked, so its draws flatter."""


def choice_at(trial: Trial, stage: str) -> StageChoice:
    """Return what the trial chose at a stage; of one sample the way is `first`."""
    return trial.allocation.canonical()[stage]


def way_at(task: Task, trial: Trial, stage: str) -> SelectBlock | None:
    """Return the way to select; `None` of one sample, and where the task does not name it."""
    label = choice_at(trial, stage).select
    return next((way for way in task.file.stages[stage].ways if way.name == label), None)


def kind_at(task: Task, trial: Trial, stage: str) -> str:
    """Return the kind of the way to select."""
    choice = choice_at(trial, stage)
    way = None if choice.n_samples == 1 else way_at(task, trial, stage)
    return choice.select if way is None else str(way.kind)


def is_parallel(task: Task, trial: Trial, stage: str) -> bool:
    """Return whether the log holds parallel draws of the stage (see `PARALLEL`)."""
    return bool(trial.sample_scores.get(stage)) and kind_at(task, trial, stage) in PARALLEL


def draws_at(trial: Trial, stage: str) -> list[Labelled]:
    """Return the draws of a stage by problem; without votes where the log does not tell them."""
    votes, scores = trial.votes.get(stage, {}), trial.verifier_scores.get(stage, {})
    return [
        Labelled(
            name,
            tuple(None if code < 0 else code for code in votes.get(name, range(len(values)))),
            values,
            scores.get(name, (None,) * len(values)),
        )
        for name, values in sorted(trial.sample_scores.get(stage, {}).items())
    ]


def knows_votes(trial: Trial, stage: str) -> bool:
    """Return whether the log tells which samples share an answer."""
    return bool(trial.votes.get(stage))


def weight(trial: Trial, stage: str) -> tuple[float, ...]:
    """Order trials by how much they tell of a stage: samples, problems, then how good what it builds on is."""
    known = trial.sample_scores.get(stage) or trial.stage_scores.get(stage, {})
    return choice_at(trial, stage).n_samples, len(known), trial.score, -trial.number

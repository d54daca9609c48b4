"""Trials as rows of one flat table: which columns there are and what they hold. Pure; files are written in `files`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from agenttts.budgets.cost import Cost, total
from agenttts.study.statistics import mean_interval

if TYPE_CHECKING:
    from agenttts.pipeline.base import StageChoice
    from agenttts.study.archive import Archive, Trial
    from agenttts.study.events import Event
    from agenttts.study.result import StudyOptions

__all__ = ["COLUMNS", "STAGE_COLUMNS", "Column", "columns_of", "stage_cells", "trial_rows"]

Kind = Literal["int", "float", "text", "bool", "time"]


@dataclass(frozen=True)
class Column:
    """What a column holds; a cell is `None` where it is unknown or has no meaning."""

    kind: Kind
    meaning: str


COLUMNS: Mapping[str, Column] = {
    "number": Column("int", "number of the trial, from 0"),
    "status": Column("text", "ok, over_budget, stopped (by racing) or invalid (too many problems failed)"),
    "allocation": Column("text", "the allocation in words; its parts are in the columns of the stages"),
    "score": Column("float", "mean score of the problems that have one"),
    "score_low": Column("float", "lower end of the interval of the score over problems"),
    "score_high": Column("float", "upper end of it"),
    "confidence": Column("float", "confidence of the interval, e.g. 0.95"),
    "estimate": Column(
        "float", "the score for all problems; differs from `score` where a trial saw a part of them"
    ),
    "n_problems": Column("int", "problems with a score"),
    "n_failed": Column("int", "problems without one"),
    "charged": Column("float", "mean charged cost of a problem in the unit of the budget"),
    "budget": Column("float", "most that a problem may be charged"),
    "unit": Column("text", "unit of `charged`, `budget` and the stages' `charged`"),
    "flops": Column("float", "mean charged FLOPs of a problem"),
    "usd": Column("float", "mean charged USD of a problem"),
    "prefill_tokens": Column("float", "mean tokens read for a problem"),
    "decode_tokens": Column("float", "mean tokens written for a problem"),
    "seconds": Column("float", "mean latency of a problem, by the speeds on the cards"),
    "n_paid": Column("int", "draws that the trial paid for"),
    "n_reused": Column("int", "draws that it took from the store"),
    "spent_flops": Column("float", "FLOPs that the study had paid by the end of the trial"),
    "spent_usd": Column("float", "USD that it had paid by then"),
    "spent_prefill_tokens": Column("float", "tokens that it had paid for reading by then"),
    "spent_decode_tokens": Column("float", "tokens that it had paid for writing by then"),
    "finished_at": Column("time", "when the trial ended, UTC"),
    "round": Column("int", "round in which it was proposed, from 0"),
    "proposer": Column("text", "what proposed it"),
    "reason": Column("text", "why, in the proposer's words; a model may have written it"),
    "repaired": Column("text", "what was changed of the proposal so that it fits the budget"),
    "stopped_because": Column("text", "why racing stopped it"),
    "resumed": Column("bool", "whether it may have been cut off and gone on with"),
}
STAGE_COLUMNS: Mapping[str, Column] = {
    "model": Column("text", "model of the stage; none where the stage is off"),
    "n_samples": Column("int", "samples of the stage, 0 where it is off"),
    "select": Column("text", "way to turn the samples into one answer; none where the stage is off"),
    "below": Column(
        "float", "threshold of a stage with `when`, 0 where it is off; none for stages that always run"
    ),
    "charged": Column("float", "mean charged cost of the stage"),
}
"""Of each LLM stage, named `<stage>.<column>`."""


def columns_of(stages: Sequence[str]) -> dict[str, Column]:
    """Return the columns of a run's trials, in order, by the names of its LLM stages."""
    own = {
        f"{stage}.{name}": Column(column.kind, f"{stage}: {column.meaning}")
        for stage in stages
        for name, column in STAGE_COLUMNS.items()
    }
    return {**COLUMNS, **own}


def trial_rows(archive: Archive, events: Sequence[Event], options: StudyOptions) -> list[dict[str, Any]]:
    """Return one row per trial, in the order of their numbers, with the columns of `columns_of`.

    Args:
        archive: The trials.
        events: The log that they are from: it knows when each ended and what was paid by then.
        options: Of the study.
    """
    ends: dict[int, Event] = {}
    for event in events:
        if event["event"] == "trial":
            ends.setdefault(event["trial"]["number"], event)
    rounds = {
        event["first"] + i: event["round"]
        for event in events
        if event["event"] == "round"
        for i in range(len(event["proposals"]))
    }
    return [
        _scored(trial, archive, options)
        | _paid(trial, ends[trial.number])
        | {"round": rounds.get(trial.number)}
        | _told(trial)
        | {
            name: value
            for choice in trial.allocation.choices
            for name, value in _stage(trial, choice, options)
        }
        for trial in archive.trials
    ]


def _scored(trial: Trial, archive: Archive, options: StudyOptions) -> dict[str, Any]:
    known = bool(trial.scores)
    interval = (
        mean_interval(list(trial.scores.values()), confidence=options.confidence, seed=options.seed)
        if known
        else None
    )
    return {
        "number": trial.number,
        "status": trial.status,
        "allocation": str(trial.allocation),
        "score": trial.score if known else None,
        "score_low": None if interval is None else interval.low,
        "score_high": None if interval is None else interval.high,
        "confidence": options.confidence,
        "estimate": archive.estimate(trial) if known else None,
        "n_problems": len(trial.scores),
        "n_failed": trial.n_failed,
        "charged": trial.charged if known else None,
        "budget": options.budget.amount,
        "unit": options.budget.unit.value,
    }


def _paid(trial: Trial, end: Event) -> dict[str, Any]:
    cost = total(trial.costs.values()) if trial.scores else None
    spent = None if end.get("spent") is None else Cost(**end["spent"])
    names = ("flops", "usd", "prefill_tokens", "decode_tokens")
    return {
        **{name: getattr(cost, name, None) for name in (*names, "seconds")},
        "n_paid": trial.n_paid,
        "n_reused": trial.n_reused,
        **{f"spent_{name}": getattr(spent, name, None) for name in names},
        "finished_at": datetime.fromtimestamp(end["at"], UTC) if "at" in end else None,
    }


def _told(trial: Trial) -> dict[str, Any]:
    return {
        "proposer": _writable(trial.origin),
        "reason": _writable(trial.reason),
        "repaired": _writable(trial.repaired),
        "stopped_because": _writable(trial.stopped_because),
        "resumed": trial.resumed,
    }


def _writable(text: str) -> str:
    """Return a text that every file format can hold: half an emoji, which a token limit leaves, becomes `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _stage(trial: Trial, choice: StageChoice, options: StudyOptions) -> list[tuple[str, Any]]:
    from agenttts.budgets.cost import amount

    cost = trial.costs.get(choice.stage)
    charged = None if cost is None else amount(cost, options.budget.unit)
    if not trial.scores:
        charged = None
    elif cost is None:
        charged = 0.0
    cells = {**dict.fromkeys(STAGE_COLUMNS), **stage_cells(choice), "charged": charged}
    return [(f"{choice.stage}.{name}", value) for name, value in cells.items()]


def stage_cells(choice: StageChoice) -> dict[str, Any]:
    """Return what was chosen for a stage, as far as it has a meaning."""
    if choice.below == 0:
        return {"n_samples": 0, "below": 0.0}
    chosen = {"model": choice.model, "n_samples": choice.n_samples, "select": choice.select}
    return chosen | ({} if choice.below is None else {"below": choice.below})

"""Whether a stage runs on a problem: what its `when` measures, and the answer codes that say how often it would run.

Where settings take over from one another (`otherwise`), a problem goes to the first whose threshold is above its rating.

Pure. How often a stage is expected to run is estimated in `agenttts.budgets.run_shares`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from agenttts.pipeline.base import Judged, StageChoice, StageOutput
from agenttts.pipeline.driver import StageRun
from agenttts.task.options import WhenBlock
from agenttts.verifiers.equality import vote_key

__all__ = ["agreement", "answer_codes", "measured", "rating", "skipped", "why_skipped", "with_details_of"]

Measure = Literal["agreement", "verifier_score", "answer", "score"]
OFF = "skipped: this allocation never runs it"


class Conditions(Protocol):
    """The conditions on which a stage runs."""

    @property
    def when(self) -> WhenBlock | None:
        """On a measure of another stage; `None`: whatever that is."""

    @property
    def otherwise(self) -> str | None:
        """The stage that it takes over from; `None`: none."""


def answer_codes(answers: Sequence[Any]) -> tuple[int, ...]:
    """Return a number for each answer, equal for equal votes, counted from 0 in drawing order; -1: not parsed."""
    codes: dict[Hashable, int] = {}
    return tuple(
        -1 if answer is None else codes.setdefault(vote_key(answer), len(codes)) for answer in answers
    )


def agreement(output: StageOutput) -> float:
    """Return the share of all samples that hold the selected answer; 0 where nothing was parsed."""
    if output.answer is None or not output.answers:
        return 0.0
    wanted = vote_key(output.answer)
    agreeing = sum(answer is not None and vote_key(answer) == wanted for answer in output.answers)
    return agreeing / len(output.answers)


def rating(answer: Any) -> float | None:
    """Return an answer as a number clipped to [0, 1]; `None` where it is not one."""
    try:
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(value) else min(1.0, max(0.0, value))


def measured(measure: Measure, output: StageOutput) -> float | None:
    """Return what a `when` measures of the stage that it watches; `None` where that is not known."""
    if measure == "agreement":
        return agreement(output)
    if measure == "answer":
        return rating(output.answer)
    if measure == "score":
        return float(output.answer["score"])
    if output.selected is None or output.selected >= len(output.verifier_scores):
        return None
    return output.verifier_scores[output.selected]


def why_skipped(when: WhenBlock, below: float | None, watched: StageOutput) -> str:
    """Return why a stage does not run; empty: it runs, as it does where the measure is not known.

    Args:
        when: Its condition.
        below: The threshold of its choice; `None`: it always runs.
        watched: What the watched stage made of the problem.
    """
    if below is None:
        return ""
    if below <= 0:
        return OFF
    value = measured(when.measure, watched)
    if value is None or value < below:
        return ""
    return f"skipped: {when.measure.replace('_', ' ')} {value:.3g} is not below {below:g}"


def skipped(stage: Conditions, choice: StageChoice, needed: Mapping[str, StageRun]) -> StageRun | None:
    """Return what a stage makes of a problem without running; `None`: it runs."""
    when, other = stage.when, stage.otherwise
    if other is not None and not needed[other].output.left_open:
        return _passed_on(needed[other], f"skipped: {other} took the problem")
    if when is None:
        left_out = other is None and choice.below == 0
        return StageRun(StageOutput("", notes=(OFF,), skipped=True)) if left_out else None
    watched = needed[when.stage]
    reason = why_skipped(when, choice.below, watched.output)
    if not reason:
        return None
    if when.measure == "answer":
        return StageRun(StageOutput(None, notes=(reason,), skipped=True, left_open=True))
    return _passed_on(watched.tested or watched, reason)


def _passed_on(run: StageRun, reason: str) -> StageRun:
    """Return the answer of another stage as that of one that does not run."""
    output = replace(
        run.output,
        selected=None,
        verifier_scores=(),
        judged=Judged(),
        charges=(),
        n_runaway=0,
        notes=(reason,),
        skipped=True,
    )
    return StageRun(output, run.messages, selected_details=run.details_of_selected)


def with_details_of(run: StageRun, watched: StageRun) -> StageRun:
    """Return a pooled run with the details of its selected sample, where that is one of the watched stage's."""
    output = run.output
    if output.selected is not None or output.answer is None:
        return run
    key = vote_key(output.answer)
    answers = watched.output.answers
    place = next(i for i, answer in enumerate(answers) if answer is not None and vote_key(answer) == key)
    return replace(run, selected_details=watched.details_of(place))

"""Figures told beside the score, with their intervals: the task's `measures`, and the scores of stages with gold.

None of them takes part in a search. What a verifier could not score is counted and is no 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.study.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from agenttts.task.schema import TaskFile

__all__ = ["Figure", "Unmeasured", "figures_to_json", "measure_figures", "stage_figures"]

Values = Mapping[str, Mapping[str, float]]
"""Name -> problem id -> value in [0, 1]."""


@dataclass(frozen=True)
class Unmeasured:
    """How many scored problems have no value of a measure."""

    n: int
    because: str = ""
    """Why the first of them has none; it may hold what a model wrote."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"n": self.n, "because": self.because}


@dataclass(frozen=True)
class Figure:
    """One measure, or the score of one stage, over problems."""

    interval: Interval | None
    """`None` where no problem has a value."""
    n_unscored: int = 0
    """Problems that the mean leaves out because the verifier gave no score."""
    because: str = ""
    """Why the first of them has none; it may hold what a model wrote."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        told = {} if self.interval is None else self.interval.to_json()
        return {"mean": None, "n": 0, **told, "n_unscored": self.n_unscored, "because": self.because}


def figures_to_json(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """Return plain data."""
    return {name: figure.to_json() for name, figure in figures.items()}


def measure_figures(
    values: Values, unmeasured: Mapping[str, Unmeasured], *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Figure]:
    """Return each measure over the problems that have a value of it.

    Args:
        values: Of each measure by problem.
        unmeasured: Of each measure the problems without.
        confidence: Of the intervals.
        seed: Of their resampling.
    """
    none = Unmeasured(0)
    found = {}
    for name in dict.fromkeys([*values, *unmeasured]):
        known, left = list(values.get(name, {}).values()), unmeasured.get(name, none)
        interval = mean_interval(known, confidence=confidence, seed=seed) if known else None
        found[name] = Figure(interval, left.n, left.because)
    return found


def stage_figures(
    values: Values, file: TaskFile, *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Figure]:
    """Return the score of each stage with a `score` of its own, over the problems on which it ran and has one.

    One that is the final score once more is left out.
    """
    scored, final = file.score.stage or list(file.stages)[-1], (file.score.verifier, file.score.gold)
    own = {
        stage: values[stage]
        for stage, block in file.stages.items()
        if block.score is not None and stage in values
        if stage != scored or (block.score.verifier, block.score.gold) != final
    }
    return measure_figures(own, {}, confidence=confidence, seed=seed)

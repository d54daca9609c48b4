"""How the best found so far rises with trials and with spend: medians over seeds with bootstrap bands. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agenttts.study.comparison_statistics import band

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from agenttts.study.comparison_values import Comparison, RunRecord

__all__ = ["Axis", "Curve", "curves"]

Axis = Literal["trials", "spend"]
N_POINTS = 60
"""Points of a curve against spend, evenly spaced by ratio."""


@dataclass(frozen=True)
class Curve:
    """Best so far of one allocator; it begins where every run of it has found something valid."""

    allocator: str
    axis: Axis
    x: tuple[float, ...]
    """Trials, or spend in the unit of the records."""
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curves(comparison: Comparison, axis: Axis, *, seed: int = 0) -> tuple[Curve, ...]:
    """Return the curve of each allocator.

    A run that has ended keeps what it found: spending nothing more, it loses nothing.
    """
    places = _places(comparison.records, axis)
    found = []
    for name in comparison.allocators:
        runs = [record for record in comparison.records if record.allocator == name and not record.lacking]
        found.append(_curve(name, axis, runs, places, comparison.confidence, seed))
    return tuple(found)


def _places(records: Sequence[RunRecord], axis: Axis) -> NDArray[np.float64]:
    import numpy as np

    if axis == "trials":
        return np.arange(1.0, max(len(record.best) for record in records) + 1)
    spends = [value for record in records for value in record.spend if value > 0]
    return np.geomspace(min(spends), max(spends), N_POINTS) if spends else np.zeros(1)


def _curve(
    name: str,
    axis: Axis,
    runs: Sequence[RunRecord],
    places: NDArray[np.float64],
    confidence: float,
    seed: int,
) -> Curve:
    import numpy as np

    if not runs:
        return Curve(name, axis, (), (), (), ())
    table = np.stack([_steps(run, axis, places) for run in runs])
    known = ~np.isnan(table).any(axis=0)
    if not known.any():
        return Curve(name, axis, (), (), (), ())
    median, low, high = band(table[:, known], confidence=confidence, seed=seed)
    return Curve(name, axis, *(tuple(row.tolist()) for row in (places[known], median, low, high)))


def _steps(run: RunRecord, axis: Axis, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quality of one run at each place; NaN before its first valid trial."""
    import numpy as np

    at = np.arange(1.0, len(run.quality) + 1) if axis == "trials" else np.asarray(run.spend)
    # A hair of room: places were made by powers, spends by sums.
    done = np.searchsorted(at, places * (1 + 1e-12), side="right") - 1
    quality = np.asarray(run.quality)
    return np.where(done >= 0, quality[np.maximum(done, 0)], np.nan)

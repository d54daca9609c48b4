"""Means over seeds and problems at once, with few seeds: how sure a method's score is, and its distance from another's.

A table of seeds by problems varies in three ways: between seeds (another search finds another allocation), between
problems (another test set), and in what is left (an allocation suits some problems better). The standard error holds
all three, by mean squares, and the t distribution pays for the few seeds that one of them was estimated from. This is
the analysis of studies with several readers and cases, seeds being the readers: valid from two seeds on, where a
test that only reorders seeds could say nothing before eight. With one seed the problems alone vary, and nothing is said
of other searches. Pure functions of tables.

Sources: Hillis 2007, doi:10.1002/sim.2532 (the standard error, with the estimate for problems never below 0, and the
degrees of freedom). Departures: the freedom of the problems counts too (Satterthwaite 1946), which matters where they
are few; and the estimate for seeds is never below what is left, which is part of it: three seeds may agree by luck.
Bootstrap intervals over seeds, as other comparisons show them, are too narrow with three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.study.statistics import ROUNDING, sign_flip_p, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["CrossedMean", "crossed_mean", "seeds_for"]

MOST_SEEDS = 1000
"""Beyond this many nobody would search."""


@dataclass(frozen=True, slots=True)
class CrossedMean:
    """The mean of a table of seeds by problems."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, of the hypothesis that the mean is 0; says something for differences only."""
    n_seeds: int
    n_problems: int
    confidence: float
    from_seeds: float = 0.0
    """Part of the variance of the mean that more seeds would lessen."""
    from_problems: float = 0.0
    """Part of it that only more problems would lessen."""

    @property
    def reach(self) -> float:
        """Half the width of the interval: a mean nearer to 0 than this could not be told from 0."""
        return (self.high - self.low) / 2

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        names = ("value", "low", "high", "n_seeds", "n_problems", "confidence")
        return {name: getattr(self, name) for name in names}


def crossed_mean(
    table: ArrayLike, *, confidence: float = 0.95, within: tuple[float, float] = (-1.0, 1.0)
) -> CrossedMean:
    """Return the mean of a table, its interval, and the p-value of its being 0.

    Args:
        table: Scores, or differences of scores, shape (n_seeds, n_problems), without gaps.
        confidence: Of the interval.
        within: Least and largest mean that there can be; the interval is cut there. Of (0, 1), a table of zeros and
            ones whose rows are all alike is a share of problems, and gets Wilson's interval as shares do elsewhere.

    Raises:
        ValueError: The table is empty.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit  # a tenth of the time that scipy.stats takes to load

    data = np.atleast_2d(np.asarray(table, dtype=float))
    if data.size == 0:
        raise ValueError("a mean needs at least one seed and one problem")
    n_seeds, n_problems = data.shape
    mean = float(data.mean())
    of_seeds, of_problems = _mean_squares(data)
    error = math.sqrt((of_seeds + of_problems) / data.size)
    if error < ROUNDING:
        # Nothing varies: bound how far another set of problems could be from this one, as elsewhere.
        reach = wilson(0.0, n_problems, confidence)[1]
        p = sign_flip_p([mean] * n_problems, 0)
    else:
        freedom = _freedom(of_seeds, of_problems, n_seeds, n_problems)
        reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
        p = 2 * float(stdtr(freedom, -abs(mean) / error))
    low, high = max(within[0], mean - reach), min(within[1], mean + reach)
    if within == (0.0, 1.0) and _is_share(data):
        low, high = wilson(mean, n_problems, confidence)
    parts = of_seeds / data.size, of_problems / data.size
    return CrossedMean(mean, low, high, p, n_seeds, n_problems, confidence, *parts)


def seeds_for(seen: CrossedMean, difference: float) -> int | None:
    """Return from how many seeds on a difference would be told from 0, on as many problems and with the variance seen.

    Returns:
        A count above one; `None`: none up to `MOST_SEEDS` would do, or one seed was seen, which tells nothing of others.
    """
    if seen.n_seeds < 2:
        return None
    return next((n for n in range(2, MOST_SEEDS + 1) if _reach_with(seen, n) <= difference), None)


def _reach_with(seen: CrossedMean, n_seeds: int) -> float:
    """Return half the width that the interval would have with another number of seeds."""
    from scipy.special import stdtrit

    of_seeds = seen.from_seeds * seen.n_seeds / n_seeds
    error = math.sqrt(of_seeds + seen.from_problems)
    if error < ROUNDING:
        return wilson(0.0, seen.n_problems, seen.confidence)[1]
    freedom = _freedom(of_seeds, seen.from_problems, n_seeds, seen.n_problems)
    return float(stdtrit(freedom, 0.5 + seen.confidence / 2)) * error


def _is_share(data: Any) -> bool:
    return bool((data == data[0]).all() and ((data == 0) | (data == 1)).all())


def _mean_squares(data: Any) -> tuple[float, float]:
    """Return what seeds and problems add to the variance of the mean, times the cells of the table."""
    n_seeds, n_problems = data.shape
    rows, columns = data.mean(axis=1), data.mean(axis=0)
    rest = data - rows[:, None] - columns[None, :] + data.mean()
    seeds = n_problems * float(rows.var(ddof=1)) if n_seeds > 1 else 0.0
    problems = n_seeds * float(columns.var(ddof=1)) if n_problems > 1 else 0.0
    left = float((rest**2).sum()) / max(1, (n_seeds - 1) * (n_problems - 1))
    return max(seeds, left), max(0.0, problems - left)


def _freedom(of_seeds: float, of_problems: float, n_seeds: int, n_problems: int) -> float:
    parts = of_seeds**2 / max(1, n_seeds - 1) + of_problems**2 / max(1, n_problems - 1)
    return (of_seeds + of_problems) ** 2 / parts

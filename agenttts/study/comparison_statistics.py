"""Statistics of repeated searches: medians that may be censored, paired tests over seeds, correction for many tests.

Pure functions of arrays and a seed. A search that never reached its target has the value infinity: medians, ranks and
resamples stay defined, and whoever shows the value says "not reached". Tests of scores by problem live in `statistics`.

Sources: Efron 1979 (bootstrap of the median); Wilcoxon 1945 with midranks for ties and Pratt's reading of infinite
differences as the largest ones, its null distribution counted exactly; Holm 1979 (step-down correction); Owen 2007,
doi:10.1214/07-AOAS122 (resampling rows and columns of a crossed table, here seeds and problems).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "band",
    "crossed_interval",
    "fewest_seeds",
    "holm",
    "mean_estimate",
    "median_estimate",
    "ratio_estimate",
    "signed_rank_test",
]

N_RESAMPLES = 2000
ROUNDING = 1e-9
"""Values nearer than this are equal but for the rounding of sums."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over seeds with its interval; infinity stands for "not reached"."""

    value: float
    low: float
    high: float
    n: int
    """Runs that it is over."""

    def to_json(self) -> dict[str, float | None]:
        """Return plain data; JSON has no infinity, so "not reached" is null."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {key: end if math.isfinite(end) else None for key, end in ends.items()} | {"n": self.n}


def median_estimate(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Estimate | None:
    """Return the median over seeds with its percentile bootstrap interval; `None` without a value.

    The ends are values that were resampled, never points between them: half of "not reached" means nothing.
    """
    import numpy as np

    if not values:
        return None
    data = np.asarray(values, dtype=float)
    medians = np.median(data[_resamples(data.size, seed)], axis=1)
    return Estimate(float(np.median(data)), *_ends(medians, confidence), data.size)


def mean_estimate(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Estimate | None:
    """Return the mean over seeds with its percentile bootstrap interval; `None` without a value."""
    import numpy as np

    if not values:
        return None
    data = np.asarray(values, dtype=float)
    means = data[_resamples(data.size, seed)].mean(axis=1)
    return Estimate(float(data.mean()), *_ends(means, confidence), data.size)


def ratio_estimate(
    first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Estimate | None:
    """Return the ratio of the medians of paired positive values with its bootstrap interval over pairs.

    0 where only the second was not reached, infinity where only the first was not: then the ratio has a bound and no
    value. `None` where neither was (there is no ratio then), or there are no pairs. Resamples in which neither was
    reached may have had any ratio, and widen the interval at both ends.
    """
    import numpy as np

    if not first:
        return None
    pairs = np.asarray([first, second], dtype=float)
    above, below = (np.median(row) for row in pairs)
    if math.isinf(above) and math.isinf(below):
        return None
    picked = pairs[:, _resamples(pairs.shape[1], seed)]
    medians = np.median(picked, axis=2)
    with np.errstate(invalid="ignore"):
        ratios = medians[0] / medians[1]
    low, _ = _ends(np.nan_to_num(ratios, nan=0.0, posinf=math.inf), confidence)
    _, high = _ends(np.nan_to_num(ratios, nan=math.inf, posinf=math.inf), confidence)
    return Estimate(float(above / below), low, high, pairs.shape[1])


def crossed_interval(
    table: ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return mean, low and high of a table of seeds by problems, resampling both.

    Resampling one of them alone would take the other for fixed, and its luck for certainty.

    Args:
        table: Shape (n_seeds, n_problems), without gaps.
        confidence: Of the interval.
        seed: Of the resampling.
    """
    import numpy as np

    data = np.asarray(table, dtype=float)
    rng = np.random.default_rng([seed, *data.shape, 4])
    rows = rng.multinomial(data.shape[0], np.full(data.shape[0], 1 / data.shape[0]), size=N_RESAMPLES)
    columns = rng.multinomial(data.shape[1], np.full(data.shape[1], 1 / data.shape[1]), size=N_RESAMPLES)
    means = np.einsum("rs,sp,rp->r", rows, data, columns, optimize=True) / data.size
    return (float(data.mean()), *_ends(means, confidence))


def band(table: NDArray[np.float64], *, confidence: float, seed: int) -> NDArray[np.float64]:
    """Return median, low and high over seeds at every point, shape (3, n_points), from shape (n_seeds, n_points)."""
    import numpy as np

    medians = np.median(table[_resamples(table.shape[0], seed, 500)], axis=1)
    tail = (1 - confidence) / 2
    low = np.quantile(medians, tail, axis=0, method="lower")
    high = np.quantile(medians, 1 - tail, axis=0, method="higher")
    return np.stack([np.median(table, axis=0), low, high])


def signed_rank_test(first: Sequence[float], second: Sequence[float]) -> tuple[float, int]:
    """Test paired values that may be infinite by Wilcoxon's signed ranks.

    Pairs that are equal take no part, and two infinite values are equal. An infinite difference ranks above all others.
    The distribution is counted over all signs for the very ranks at hand, so ties do not break the level.

    Returns:
        The exact two-sided p-value, and 1, 0 or -1: the sign of first minus second, by the sum of the ranks.
    """
    import numpy as np
    from scipy.stats import rankdata

    differences = [_difference(a, b) for a, b in zip(first, second, strict=True)]
    moved = np.asarray([d for d in differences if abs(d) > ROUNDING], dtype=float)
    if moved.size == 0:
        return 1.0, 0
    ranks = np.rint(2 * rankdata(np.abs(moved).round(9))).astype(
        int
    )  # doubled: midranks become whole numbers
    total = int(ranks.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in ranks:
        with_it = np.zeros_like(chances)
        with_it[rank:] = chances[: total + 1 - rank]
        chances = 0.5 * (chances + with_it)
    observed = 2 * int(ranks[moved > 0].sum()) - total
    distance = np.abs(2 * np.arange(total + 1) - total)
    p = min(1.0, float(chances[distance >= abs(observed)].sum()))
    return p, (observed > 0) - (observed < 0)


def _difference(a: float, b: float) -> float:
    return 0.0 if a == b else a - b  # infinity less infinity is not a number


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down correction, in the order given."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def fewest_seeds(n_tests: int, confidence: float) -> int:
    """Return the fewest seeds with which one of so many tests could say anything: 2^(1 - n) is the smallest p there is."""
    return math.floor(1 + math.log2(max(1, n_tests) / (1 - confidence))) + 1


def _resamples(n: int, seed: int, n_resamples: int = N_RESAMPLES) -> NDArray[np.int64]:
    """Indices of bootstrap samples, shape (n_resamples, n); the same for every figure over the same seeds."""
    import numpy as np

    return np.random.default_rng([seed, n, 3]).integers(0, n, size=(n_resamples, n))


def _ends(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - confidence) / 2
    low = np.quantile(values, tail, method="lower")
    return float(low), float(np.quantile(values, 1 - tail, method="higher"))

"""How sure a score is: intervals over problems, paired differences, verdicts in words.

Pure functions of scores and a seed. The problem is the unit of resampling: what varies between problems is what a
reader wants to generalise over. Comparisons are always paired by problem.

Sources: Wilson 1927 (binomial score interval); Efron 1987 (BCa bootstrap, doi:10.2307/2289144); Fisher's sign-flip
permutation test; Bonett and Price 2012 (paired 0/1 scores). Departure: where a bootstrap would report certainty
because no resample can differ, a Wilson bound is used instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Interval", "PairedDifference", "Verdict", "mean_interval", "paired_difference"]

N_RESAMPLES = 4000
N_FLIPS = 20_000
ROUNDING = 1e-9
"""Values nearer than this are equal but for the rounding of sums."""
EXACT_UP_TO = 12
"""Up to this many problems that differ, all sign patterns are enumerated."""

Verdict = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean score with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int
    """Problems that the mean is over."""
    confidence: float
    method: str

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in ("mean", "low", "high", "n", "confidence", "method")}


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean difference `first - second` over the problems that both have a score for."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided p-value of the sign-flip permutation test of no difference."""
    n: int
    """Problems that both have a score for."""
    n_unpaired: int
    """Problems that only one of them has a score for; they take no part."""
    confidence: float
    method: str

    @property
    def holds_zero(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high

    @property
    def verdict(self) -> Verdict:
        """`better` or `worse` only where interval and test agree that the difference is not 0.

        With few problems they may not: "not distinguishable" is then no sign that the two are alike.
        """
        if self.p >= 1 - self.confidence or self.holds_zero:
            return "not distinguishable"
        return "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}], p = {self.p:.3g}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the verdict included."""
        names = ("mean", "low", "high", "p", "n", "n_unpaired", "confidence", "method", "verdict")
        return {name: getattr(self, name) for name in names}


def mean_interval(scores: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of scores in [0, 1], one per problem, with its interval.

    Wilson where every score is 0 or 1 (or all are equal), else BCa bootstrap over problems.

    Raises:
        ValueError: `scores` is empty.
    """
    n = len(scores)
    if n == 0:
        raise ValueError("a mean needs at least one score")
    mean = math.fsum(scores) / n
    if all(score in (0, 1) for score in scores):
        low, high = wilson(mean, n, confidence)
        return Interval(mean, low, high, n, confidence, "Wilson score interval")
    if max(scores) - min(scores) < ROUNDING:
        low, high = wilson(mean, n, confidence)
        return Interval(mean, low, high, n, confidence, "Wilson score interval, all scores being equal")
    low, high = bca(scores, confidence, seed)
    method = f"BCa bootstrap over problems, {N_RESAMPLES} resamples"
    return Interval(mean, max(0.0, low), min(1.0, high), n, confidence, method)


def paired_difference(
    first: Mapping[str, float], second: Mapping[str, float], *, confidence: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two sets of scores by problem id, on the problems that both hold.

    Raises:
        ValueError: They share no problem.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        raise ValueError("a paired comparison needs at least one common problem")
    n_unpaired = len(first.keys() ^ second.keys())
    differences = [first[name] - second[name] for name in common]
    mean = math.fsum(differences) / len(common)
    low, high, method = _difference_interval(differences, confidence, seed)
    p = sign_flip_p(differences, seed)
    return PairedDifference(mean, low, high, p, len(common), n_unpaired, confidence, method)


def _difference_interval(
    differences: Sequence[float], confidence: float, seed: int
) -> tuple[float, float, str]:
    test = "sign-flip permutation test"
    if all(difference in (-1, 0, 1) for difference in differences):
        low, high = bonett_price(differences, confidence)
        return low, high, f"paired Bonett-Price interval; {test}"
    if max(differences) - min(differences) < ROUNDING:
        # Every resample is the same: bound how far another set of problems could be from this one instead.
        n = len(differences)
        slack = wilson(0.0, n, confidence)[1]
        middle = differences[0]
        return (
            max(-1.0, middle - slack),
            min(1.0, middle + slack),
            f"Wilson bound, no two pairs differ; {test}",
        )
    low, high = bca(differences, confidence, seed)
    return low, high, f"paired BCa bootstrap over problems, {N_RESAMPLES} resamples; {test}"


def wilson(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson score interval of a share of n."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def bonett_price(differences: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the interval of the mean of paired differences of 0/1 scores.

    One pair is added in either direction, so that a few pairs that differ are not taken for certainty, as a bootstrap
    would. Source: Bonett and Price 2012, doi:10.3102/1076998611411915.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n = len(differences) + 2
    up = (sum(difference > 0 for difference in differences) + 1) / n
    down = (sum(difference < 0 for difference in differences) + 1) / n
    half = z * math.sqrt((up + down - (up - down) ** 2) / n)
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def bca(values: Sequence[float], confidence: float, seed: int) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean."""
    import numpy as np

    data = np.asarray(values, dtype=float)
    means = _resampled_means(data, np.random.default_rng(np.random.SeedSequence([seed, data.size])))
    normal = NormalDist()
    # Ties count half: scores are discrete, and resampled means often equal the mean itself.
    below = (np.sum(means < data.mean()) + 0.5 * np.sum(means == data.mean())) / means.size
    bias = normal.inv_cdf(min(max(float(below), 1 / means.size), 1 - 1 / means.size))
    spread = data - data.mean()
    acceleration = float(np.sum(spread**3) / (6 * np.sum(spread**2) ** 1.5))
    ends = []
    for level in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + normal.inv_cdf(level)
        ends.append(normal.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def _resampled_means(data: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bootstrap means, shape (N_RESAMPLES,), in blocks that stay small in memory."""
    import numpy as np

    block = max(1, 2_000_000 // data.size)
    parts = []
    for start in range(0, N_RESAMPLES, block):
        rows = min(block, N_RESAMPLES - start)
        parts.append(data[rng.integers(0, data.size, size=(rows, data.size))].mean(axis=1))
    return np.concatenate(parts)


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value of "signs are as likely one way as the other".

    Exact up to 12 problems that differ; else Monte Carlo with the +1 correction, so never 0.
    """
    import numpy as np

    moved = np.asarray([d for d in differences if abs(d) > ROUNDING], dtype=float)
    if moved.size == 0:
        return 1.0
    observed = abs(moved.sum()) - ROUNDING
    if moved.size <= EXACT_UP_TO:
        signs = np.asarray(list(product((-1.0, 1.0), repeat=moved.size)))
        return float(np.mean(np.abs(signs @ moved) >= observed))
    rng = np.random.default_rng(np.random.SeedSequence([seed, moved.size, 1]))
    block = max(1, 4_000_000 // moved.size)
    hits = 0
    for start in range(0, N_FLIPS, block):
        rows = min(block, N_FLIPS - start)
        flips = rng.integers(0, 2, size=(rows, moved.size), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.sum(np.abs(flips @ moved) >= observed))
    return (hits + 1) / (N_FLIPS + 1)

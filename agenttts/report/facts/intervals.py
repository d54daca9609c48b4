"""Intervals of very many trials at once, in closed form.

The product's own intervals (`agenttts.study.statistics`) resample, which takes some milliseconds each: too long for a
thousand trials. They are used for what a reader decides by (winner, frontier, differences); those here are for bands in
a plot and for leaving out what is surely beaten. Both are over problems.

Source: Wilson 1927 for a share; the normal interval else, never narrower than Wilson's of the same mean, so that equal
scores on a few problems are no certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from agenttts.study.statistics import bonett_price, wilson

__all__ = ["CONFIDENCE", "Z", "band", "surely_better"]

CONFIDENCE = 0.95
Z = 1.959963984540054


def band(scores: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of scores in [0, 1], one per problem.

    Raises:
        ValueError: `scores` is empty.
    """
    n = len(scores)
    if n == 0:
        raise ValueError("a mean needs at least one score")
    mean = min(1.0, max(0.0, math.fsum(scores) / n))
    low, high = wilson(mean, n, CONFIDENCE)
    if n == 1 or all(score in (0, 1) for score in scores):
        return low, high
    error = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)
    return min(low, max(0.0, mean - Z * error)), max(high, min(1.0, mean + Z * error))


def surely_better(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Return whether the 95 % interval of `first - second`, paired by problem, lies above 0.

    Bonett and Price's where both are right or wrong on every problem; else normal over the differences with one more
    pair in either direction, as theirs has, so that few problems are no certainty.
    """
    differences = [first[name] - second[name] for name in first.keys() & second.keys()]
    if not differences:
        return False
    if all(difference in (-1, 0, 1) for difference in differences):
        return bonett_price(differences, CONFIDENCE)[0] > 0
    padded = [*differences, 1.0, -1.0]
    n = len(padded)
    mean = math.fsum(padded) / n
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in padded) / (n - 1) / n)
    return mean - Z * error > 0

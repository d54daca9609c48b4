"""Which draw each selector takes after n draws, for many orders at once: the package's selectors, vectorised.

Same law and ties as `agenttts.pipeline.selectors` (a check in `benchmarks/search.py --check` compares them): samples
that could not be parsed never win, ties go to the answer drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def selected(
    kind: str, counts: Sequence[int], answers: Ints, scores: NDArray[np.float64], orders: Ints
) -> NDArray[np.int64]:
    """Return the draw that is selected, -1 where none could be parsed.

    Args:
        kind: `first`, `majority`, `weighted_vote` or `best_of_n`.
        counts: Numbers of samples.
        answers: Number of each draw's answer, -1 where there is none, shape (n_draws,).
        scores: The verifier's, NaN is unscored, shape (n_draws,).
        orders: Orders of the draws, shape (n_orders, at least max(counts)).

    Returns:
        Shape (n_orders, len(counts)).
    """
    orders = orders[:, : max(counts)]
    a, s = answers[orders], scores[orders]
    if kind == "first":
        return np.stack([_first(a[:, :n], orders) for n in counts], axis=1)
    if kind == "best_of_n":
        parsed = a >= 0
        s = np.where(parsed, s, np.nan)
        some = np.stack([_best(s[:, :n], orders) for n in counts], axis=1)
        if (some >= 0).all():
            return some
        return np.where(some >= 0, some, selected("majority", counts, answers, scores, orders))
    if kind == "weighted_vote":
        weights = np.where(a >= 0, s, np.nan)
        some = _vote(a, weights, counts, orders)
        if (some >= 0).all():
            return some
        return np.where(some >= 0, some, selected("majority", counts, answers, scores, orders))
    if kind == "majority":
        return _vote(a, np.where(a >= 0, 1.0, np.nan), counts, orders)
    raise ValueError(f"no selector of kind {kind!r} here")


def _first(a: Ints, orders: Ints) -> Ints:
    parsed = a >= 0
    place = parsed.argmax(axis=1)
    return np.where(parsed.any(axis=1), orders[np.arange(len(a)), place], -1)


def _best(s: NDArray[np.float64], orders: Ints) -> Ints:
    filled = np.where(np.isnan(s), -np.inf, s)
    place = filled.argmax(axis=1)  # the first of equals
    return np.where(np.isfinite(filled.max(axis=1)), orders[np.arange(len(s)), place], -1)


def _vote(a: Ints, weights: NDArray[np.float64], counts: Sequence[int], orders: Ints) -> Ints:
    kinds = np.unique(a[a >= 0])
    n_orders, n = a.shape
    if not len(kinds):
        return np.full((n_orders, len(counts)), -1, np.int64)
    votes = (a[:, :, None] == kinds) & ~np.isnan(weights)[:, :, None]
    totals = np.cumsum(np.where(votes, np.nan_to_num(weights)[:, :, None], 0.0), axis=1)
    first = np.where(votes.any(axis=1), votes.argmax(axis=1), n)  # (n_orders, n_kinds)
    columns = []
    for count in counts:
        total = np.where(first < count, totals[:, count - 1], -np.inf)
        top = total.max(axis=1, keepdims=True)
        place = np.where(total == top, first, n).min(axis=1)
        known = np.isfinite(top[:, 0])
        columns.append(np.where(known, orders[np.arange(n_orders), np.minimum(place, n - 1)], -1))
    return np.stack(columns, axis=1)

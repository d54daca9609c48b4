"""What one more sample of a problem is worth: the expected gain that a batch shares its budget by.

Pure. Sources: the knowledge gradient of ranking and selection (Frazier, Powell and Dayanik 2008) for looking at what a
sample may change; CLEAR (arXiv:2606.03092) for one price across problems, under which hopeless problems get nothing.
Its learnt utilities are not ours: we take the posterior of the votes, or of the scores, themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from agenttts.pipeline.strategies.adaptive import expected_gain

__all__ = ["Gain", "score_gain", "vote_gain"]

MOST_AHEAD = 12
"""Votes beyond the lead that are looked ahead."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain of drawing some more samples."""

    per_sample: float
    """In the chance that the answer is the one which endless samples would give, or in the best score."""
    n: int
    """How many to draw to have it."""


def vote_gain(counts: Sequence[int], n_drawn: int) -> Gain:
    """Return what further votes are expected to gain for the vote of one problem.

    Of the two leading answers the one with the larger share of the votes is meant. With votes a and b its share has
    the posterior Beta(a + 1, b + 1), so the leader is the right one of the two with a known chance; further votes,
    foreseen under that posterior, can only raise the chance of the one that leads then. A single vote often changes
    nothing, so as many are looked ahead as bring the most per sample. Other answers take their share of the samples.

    Args:
        counts: Votes of each answer, in any order.
        n_drawn: Samples drawn, those without an answer included.
    """
    lead, second = (*sorted(counts, reverse=True), 0, 0)[:2]
    share = (lead + second + 1) / (n_drawn + 1)
    best = Gain(0.0, 1)
    for n_votes in range(lead - second + 1, lead - second + 1 + MOST_AHEAD):
        n = ceil(n_votes / min(1.0, share))
        per_sample = _rise(lead, second, n_votes) / n
        if per_sample > best.per_sample:
            best = Gain(per_sample, n)
    return best


@lru_cache(maxsize=1 << 14)
def _rise(lead: int, second: int, n_votes: int) -> float:
    """Return by how much `n_votes` more votes for either are expected to raise the chance that the leader is right."""
    import numpy as np
    from scipy.special import betainc, betaln, gammaln

    j = np.arange(n_votes + 1)  # votes that go to the second
    ways = gammaln(n_votes + 1) - gammaln(j + 1) - gammaln(n_votes - j + 1)
    a, b = second + 1, lead + 1
    law = np.exp(ways + betaln(j + a, n_votes - j + b) - betaln(a, b))
    leads = betainc(second + j + 1, lead + n_votes - j + 1, 0.5)
    after = float(law @ np.maximum(leads, 1 - leads))
    return max(0.0, after - float(betainc(second + 1, lead + 1, 0.5)))


def score_gain(scores: Sequence[float | None]) -> Gain:
    """Return by how much one more sample is expected to raise the best score (see `adaptive.expected_gain`)."""
    return Gain(expected_gain(scores), 1)

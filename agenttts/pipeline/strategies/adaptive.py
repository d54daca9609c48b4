"""Samples one after another until more would hardly change the answer; the most that may be drawn is fixed beforehand.

The decisions are pure functions of what has been seen, so that their expected costs can be computed from votes and
scores (see `agenttts.budgets.stopping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from agenttts.pipeline.parsing import Parser
from agenttts.pipeline.selectors import BestOfN, Majority
from agenttts.pipeline.strategies.steps import Draw, Pool, Strategy, drawn, output, scored
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.equality import vote_counts

__all__ = ["adaptive_best", "adaptive_vote", "expected_gain", "more_votes", "sure_to_lead"]


def adaptive_vote(draw: Draw, parser: Parser, confidence: float) -> Strategy:
    """Vote, and stop as soon as the leading answer is sure enough to stay ahead of the second.

    Each round draws the fewest samples that could bring that about, so no sample is drawn that a stop would have
    spared. Source: Aggarwal et al. 2023, arXiv:2305.11860 (adaptive consistency with a Beta posterior), who draw one by
    one; we also stop where the rest can no longer change the vote.
    """
    pool = Pool()
    while n := more_votes(list(vote_counts(pool.answers).values()), len(pool.samples), draw.n, confidence):
        yield from drawn(pool, replace(draw, n=n, first=len(pool.samples)), parser)
    return output(Majority().select(pool.answers, ()), pool, *_stopped(pool, draw.n))


def adaptive_best(
    draw: Draw, parser: Parser, verifier: Verifier, *, threshold: float, least_gain: float
) -> Strategy:
    """Score each sample as it comes, and stop at one that is good enough or where another is hardly worth it.

    Args:
        draw: The most samples.
        parser: Reads them.
        verifier: Scores them.
        threshold: Stop at a score of at least this.
        least_gain: Stop, too, where one more sample is expected to raise the best score by less (see `expected_gain`).
    """
    pool = Pool()
    while len(pool.samples) < draw.n and not good_enough(pool.scores, threshold, least_gain):
        yield from drawn(pool, replace(draw, n=1, first=len(pool.samples)), parser)
        yield from scored(pool, draw.messages, verifier)
    return output(BestOfN().select(pool.answers, pool.scores), pool, *_stopped(pool, draw.n))


def more_votes(counts: Sequence[int], n_drawn: int, n_most: int, confidence: float) -> int:
    """Return how many samples to draw next: the fewest after which the vote may be decided; 0: it is.

    Args:
        counts: Votes of each answer, in any order.
        n_drawn: Samples drawn so far, those without an answer included.
        n_most: Samples that may be drawn in all.
        confidence: See `sure_to_lead`.
    """
    lead, second = (*sorted(counts, reverse=True), 0, 0)[:2]
    left = n_most - n_drawn
    if left <= 0 or lead - second > left:
        return 0
    # At best all further samples vote for the leader.
    return next(
        (
            k
            for k in range(left)
            if sure_to_lead(lead + k, second, confidence) or lead + k - second > left - k
        ),
        left,
    )


@lru_cache(maxsize=1 << 16)
def sure_to_lead(lead: int, second: int, confidence: float) -> bool:
    """Return whether an answer is the likelier of two with at least this probability, from their votes alone.

    The share of the first among the votes for both has the posterior Beta(lead + 1, second + 1); it is the likelier one
    where that share is above one half.
    """
    from scipy.special import betainc

    return lead > 0 and float(betainc(second + 1, lead + 1, 0.5)) >= confidence


def expected_gain(scores: Sequence[float | None]) -> float:
    """Return by how much one more score in [0, 1] is expected to pass the best so far.

    Scores are taken as draws of a law about which nothing is known but the draws: a Dirichlet process around the
    uniform law, of weight 1. A new score then comes from the uniform law with chance 1 / (k + 1), and passes the best b
    by (1 - b)^2 / 2 on average; the other times it repeats one that was seen.
    """
    known = [score for score in scores if score is not None]
    return (1 - max(known, default=0.0)) ** 2 / 2 / (len(known) + 1)


def good_enough(scores: Sequence[float | None], threshold: float, least_gain: float) -> bool:
    """Return whether to stop with these scores."""
    best = max((score for score in scores if score is not None), default=None)
    return bool(scores) and ((best is not None and best >= threshold) or expected_gain(scores) < least_gain)


def _stopped(pool: Pool, n_most: int) -> tuple[str, ...]:
    n = len(pool.samples)
    return (f"stopped after {n} of {n_most} samples",) if n < n_most else ()

"""How many samples an adaptive vote is expected to draw, from the votes of earlier draws.

Pure. The rule itself (`agenttts.pipeline.strategies.adaptive.more_votes`) is run over the votes of each problem in many
orders; where more samples may be drawn than votes are known, they are drawn with replacement, which finds a little too
much agreement. Problems with few votes are left out, as for conditional stages.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from agenttts.pipeline.strategies.adaptive import more_votes

__all__ = ["expected_stop"]

N_ORDERS = 6
MOST_PROBLEMS = 60
SEED = 0x570B


def expected_stop(votes: Sequence[Sequence[int]], n: int, confidence: float) -> tuple[float, float]:
    """Return the mean number of samples and of requests until an adaptive vote stops.

    Args:
        votes: For each problem the answer codes of its draws, -1 where parsing failed.
        n: Most samples.
        confidence: Of the vote.

    Raises:
        ValueError: No votes.
    """
    if not votes:
        raise ValueError("expected the votes of at least one problem")
    rng = random.Random(SEED)
    step = max(1, -(-len(votes) // MOST_PROBLEMS))
    stops = [_stop(_order(codes, n, rng), confidence) for codes in votes[::step] for _ in range(N_ORDERS)]
    n_drawn, n_requests = (sum(column) / len(stops) for column in zip(*stops, strict=True))
    return n_drawn, n_requests


def _order(codes: Sequence[int], n: int, rng: random.Random) -> list[int]:
    return rng.sample(list(codes), n) if n <= len(codes) else rng.choices(list(codes), k=n)


def _stop(codes: Sequence[int], confidence: float) -> tuple[float, float]:
    """Return how many samples and requests it takes on one sequence of votes."""
    counts: Counter[int] = Counter()
    n_drawn = n_requests = 0
    while more := more_votes(list(counts.values()), n_drawn, len(codes), confidence):
        counts.update(code for code in codes[n_drawn : n_drawn + more] if code >= 0)
        n_drawn, n_requests = n_drawn + more, n_requests + 1
    return float(n_drawn), float(n_requests)

"""What the likeliest tokens at a place of a reply say, for verdicts that are one token long.

Endpoints give at most the 20 likeliest, so a probability here is a share among those of them that mean a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agenttts.models.base import Sample

__all__ = ["MOST_TOPS", "Place", "places_of", "shares"]

T = TypeVar("T")
MOST_TOPS = 20
"""As many as OpenAI and vLLM give at most."""
Place = tuple[str, Sequence[tuple[str, float]]]
"""A token drawn, and the likeliest tokens at its place with their log-probabilities."""


def places_of(sample: Sample) -> list[Place]:
    """Return the places of a reply in order; none where the source gave no likeliest tokens, or not for all."""
    given = sample.details.get("top_logprobs")
    if not isinstance(given, list):
        return []
    try:
        return [(str(token), [(str(one), float(logprob)) for one, logprob in top]) for token, top in given]
    except (TypeError, ValueError):
        return []


def shares(top: Sequence[tuple[Any, float]], meaning: Callable[[str], T | None]) -> dict[T, float]:
    """Return the probability of each meaning among the tokens that have one; empty: none has.

    Args:
        top: Tokens with their log-probabilities.
        meaning: What a token means; `None`: nothing that counts.
    """
    weights: dict[T, float] = {}
    for token, logprob in top:
        means = meaning(token)
        if means is not None and not math.isnan(logprob):
            weights[means] = weights.get(means, 0.0) + math.exp(min(0.0, logprob))
    whole = math.fsum(weights.values())
    return {means: weight / whole for means, weight in weights.items()} if whole > 0 else {}

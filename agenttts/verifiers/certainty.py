"""Verifiers that ask nobody: how sure the model was of its tokens, and how many samples say the same. Free of charge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.pipeline.base import Problem
from agenttts.verifiers.asking import Calls
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.equality import vote_counts, vote_key

__all__ = ["Agreement", "SelfCertainty", "certainty_calls"]

NO_LOGPROBS = (
    "the sample has no log-probabilities of its tokens: ask for them by `sampling: {logprobs: true}` on the stage, "
    "from an endpoint that gives them"
)


@dataclass(frozen=True)
class SelfCertainty:
    """Scores a sample by the geometric mean of the probabilities of its tokens, in (0, 1].

    Source: Kang et al. 2025, arXiv:2502.18581. Their self-certainty is the mean over places of the Kullback-Leibler
    divergence of the model's law from the uniform one, which needs the probabilities of the whole vocabulary;
    endpoints give those of the tokens drawn. What is taken here is the inverse of the perplexity, which they compare
    with and find weaker, above all on long replies.
    """

    reads_text = True
    reads_logprobs = True

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`; a sample without log-probabilities is unscored."""
        return [_certainty(candidate.logprobs) for candidate in candidates]


def _certainty(logprobs: Sequence[float] | None) -> Score:
    if not logprobs:
        return Score(None, NO_LOGPROBS)
    if any(math.isnan(logprob) or logprob == math.inf for logprob in logprobs):
        return Score(None, "the endpoint gave log-probabilities that are no numbers")
    # Rounding takes some above 0. A token that cannot be drawn is given as minus infinity, or as -9999.
    return Score(math.exp(sum(min(0.0, logprob) for logprob in logprobs) / len(logprobs)))


@dataclass(frozen=True)
class Agreement:
    """Scores a sample by the share of all samples scored with it that hold the same answer, itself included.

    Answers are compared as votes are; one that could not be parsed has 0. Best-of-n by it is the majority vote.
    Source: Wang et al. 2022, arXiv:2203.11171 (self-consistency), whose vote share it is.
    """

    reads_text = False
    reads_all = True

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        votes = vote_counts(one.answer for one in candidates)
        return [
            Score(0.0 if one.answer is None else votes[vote_key(one.answer)] / len(candidates))
            for one in candidates
        ]


def certainty_calls(n: int) -> Calls:
    """Return what `self_certainty` and `agreement` ask about `n` samples: nothing."""
    return Calls(0, 0, 0, 0.0, 0.0)

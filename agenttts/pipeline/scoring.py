"""Scores of candidates against gold or by a verifier, equal candidates scored once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from agenttts.models.tokens import prompt_text
from agenttts.pipeline.driver import StageRun, World, verify
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["key_of", "sample_candidates", "score_candidates"]


def sample_candidates(run: StageRun) -> list[Candidate]:
    """Return every sample of a stage as a candidate."""
    prompt = prompt_text(run.messages)
    return [
        Candidate(prompt, text, answer, run.details_of(index), run.logprobs_of(index))
        for index, (text, answer) in enumerate(zip(run.texts, run.output.answers, strict=True))
    ]


async def score_candidates(scorer: Verifier, candidates: Sequence[Candidate], world: World) -> list[Score]:
    """Score candidates, equal ones once, as samples mostly share a few answers; all at once where they are compared."""
    if getattr(scorer, "reads_all", False):
        return await verify(scorer, candidates, world)
    key = key_of(scorer)
    distinct: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        distinct.setdefault(key(candidate), candidate)
    given = await verify(scorer, list(distinct.values()), world)
    scores = dict(zip(distinct, given, strict=True))
    return [scores[key(candidate)] for candidate in candidates]


def key_of(scorer: Verifier) -> Callable[[Candidate], Hashable]:
    """Return what makes candidates equal to a verifier: answers, and what else it reads."""
    parts: list[Callable[[Candidate], Hashable]] = [lambda candidate: repr(candidate.answer)]
    if getattr(scorer, "reads_text", True):
        parts.append(lambda candidate: candidate.text)
    if getattr(scorer, "reads_details", False):
        parts.append(lambda candidate: repr(sorted(candidate.details.items())))
    if getattr(scorer, "reads_logprobs", False):
        parts.append(lambda candidate: candidate.logprobs)
    return lambda candidate: tuple(part(candidate) for part in parts)

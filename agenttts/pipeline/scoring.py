"""Scores of candidates against gold or by a verifier, equal candidates scored once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from agenttts.models.tokens import prompt_text
from agenttts.pipeline.driver import StageRun, World, verify
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["sample_candidates", "score_candidates"]


def sample_candidates(run: StageRun) -> list[Candidate]:
    """Return every sample of a stage as a candidate."""
    prompt = prompt_text(run.messages)
    return [
        Candidate(prompt, text, answer, run.details_of(index))
        for index, (text, answer) in enumerate(zip(run.texts, run.output.answers, strict=True))
    ]


async def score_candidates(scorer: Verifier, candidates: Sequence[Candidate], world: World) -> list[Score]:
    """Score candidates, equal ones once: samples mostly share a few answers."""
    key = _by_text if getattr(scorer, "reads_text", True) else _by_answer
    if getattr(scorer, "reads_details", False):
        key = _by_details
    distinct: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        distinct.setdefault(key(candidate), candidate)
    given = await verify(scorer, list(distinct.values()), world)
    scores = dict(zip(distinct, given, strict=True))
    return [scores[key(candidate)] for candidate in candidates]


def _by_answer(candidate: Candidate) -> Hashable:
    return repr(candidate.answer)


def _by_text(candidate: Candidate) -> Hashable:
    return repr(candidate.answer), candidate.text


def _by_details(candidate: Candidate) -> Hashable:
    return repr(candidate.answer), candidate.text, repr(sorted(candidate.details.items()))

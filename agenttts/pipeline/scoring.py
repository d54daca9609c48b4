"""Scores of candidates against gold or by a verifier, equal candidates scored once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from agenttts.models.tokens import prompt_text
from agenttts.pipeline.driver import StageRun, World, verify
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = [
    "Measure",
    "key_of",
    "measure_all",
    "sample_candidates",
    "score_candidates",
    "selected_candidate",
    "stage_scores",
]

LONGEST_CAUSE = 1000
"""Characters kept of why something has no score."""


@dataclass(frozen=True)
class Measure:
    """A figure that is told beside the score."""

    stage: str
    """Whose answer it is of."""
    verifier: Verifier


def selected_candidate(run: StageRun) -> Candidate:
    """Return the answer of a stage as a candidate."""
    output = run.output
    logprobs = run.logprobs_of(output.selected) if run.selected_details is None else None
    return Candidate(prompt_text(run.messages), output.text, output.answer, run.details_of_selected, logprobs)


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


async def stage_scores(
    scorer: Verifier, run: StageRun, world: World
) -> tuple[float | None, tuple[float, ...]]:
    """Return the score of the selected answer and those of all plain samples; none of these where any is unscored.

    Plain are those that the stage's model drew for the stage's own prompt: what was refined or escalated says nothing
    of a single sample.
    """
    plain = sample_candidates(run)[: run.output.n_plain]
    selected, *rest = await score_candidates(scorer, [selected_candidate(run), *plain], world)
    values = [score.value for score in rest]
    known = tuple(value for value in values if value is not None)
    return selected.value, known if len(known) == len(values) else ()


async def measure_all(
    measures: Mapping[str, Measure], runs: Mapping[str, StageRun], world: World
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the value of each measure, and why there is none for the others.

    Args:
        measures: By name.
        runs: Of all stages.
        world: The problem; the stage is that of each measure.
    """
    values: dict[str, float] = {}
    causes: dict[str, str] = {}
    for name, one in measures.items():
        candidate = selected_candidate(runs[one.stage])
        score = (await score_candidates(one.verifier, [candidate], replace(world, stage=one.stage)))[0]
        if score.value is None:
            causes[name] = score.unscored_because[:LONGEST_CAUSE]
        else:
            values[name] = score.value
    return values, causes


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

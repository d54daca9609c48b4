"""Learned verifiers: reward models that are asked like any other model, so that their replies are kept and billed.

A reply of a reward model is one JSON list of scores, e.g. `[0.98, 0.41]`: one for each step of a process reward model,
a single one of an outcome reward model. A source that could not make scores of what its server said leaves the text empty
and the cause in `details["unscored"]`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agenttts.models.base import CallUsage, Message, Sample, SamplingParameters
from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Ask, Candidate, Procedure, Score, Told

__all__ = ["AGGREGATES", "RewardModelVerifier", "StepScorer", "asking"]

AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda steps: steps[-1],
    "mean": lambda steps: math.fsum(steps) / len(steps),
    "min": min,
    "product": math.prod,
}
"""From the scores of the steps to one. Sources: Lightman et al. 2023, arXiv:2305.20050 (product, minimum);
Wang et al. 2023, arXiv:2312.08935 (minimum); Snell et al. 2024, arXiv:2408.03314 (last)."""


StepScorer = Callable[[Sequence[tuple[Message, ...]]], list[Sample]]
"""Draws one reply of a reward model per question, without store and ledger, for use outside a pipeline."""


def asking(separator: str | None = None) -> SamplingParameters:
    """Return how a reward model is asked: what is cut into steps otherwise than the card says has other scores."""
    extra = () if separator is None else (("separator", json.dumps(separator)),)
    return SamplingParameters(temperature=0.0, max_tokens=1, extra=extra)


@dataclass(frozen=True)
class RewardModelVerifier:
    """Scores a sample by the steps of its text, as a process reward model judges them, or by the one score of the whole.

    The question is the prompt as the user's message and the sample as the assistant's; the reply is read as above.
    `tiny/prm` scores, after each step, that all steps so far are right, and last that the whole is: `last` is its own
    verdict, `min` the most careful one, and `product` counts early steps again and again.
    """

    model: str
    aggregate: str = "min"
    score_alone: StepScorer | None = None
    judges_whole: bool = True
    """The last score is that of the whole: left out for the beginning of a reply."""
    separator: str | None = None
    """What stands between two steps; `None`: as the model's card says."""
    reads_text = True

    def procedure(self, problem: Problem, candidates: Sequence[Candidate]) -> Procedure:
        """See `AskingVerifier.procedure`: one question per candidate, all at once."""
        told: Sequence[Told] = yield [self.question(candidate) for candidate in candidates]
        return [self.read(answer, candidate) for answer, candidate in zip(told, candidates, strict=True)]

    def question(self, candidate: Candidate) -> Ask:
        """Return what to ask about a candidate."""
        messages = (Message("user", candidate.prompt), Message("assistant", candidate.text))
        return Ask(self.model, messages, asking(self.separator))

    def read(self, told: Told, candidate: Candidate) -> Score:
        """Return the score that a reply gives; unscored where there is none or it cannot be read."""
        if not told.samples:
            return Score(None, told.error, self.model)
        sample = told.samples[0]
        decode = (sample.decode_tokens,) if sample.decode_tokens else ()  # most reward models only read
        usage = CallUsage(sample.prefill_tokens, decode, counted_by=sample.counted_by)
        if "unscored" in sample.details:
            return Score(None, f"{self.model}: {sample.details['unscored']}", self.model, usage)
        steps = _step_scores(sample.text)
        if candidate.unfinished and self.judges_whole:
            steps = steps[:-1]
        if not steps:
            return Score(None, f"{self.model} scored no step: {sample.text[:80]!r}", self.model, usage)
        value = AGGREGATES[self.aggregate](steps)
        return Score(value, model=self.model, usage=usage, steps=tuple(steps))

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Score without store and ledger, by `score_alone` in a worker thread (see `Verifier.score`)."""
        if self.score_alone is None:
            raise NotImplementedError(f"{self.model} can only be asked through a pipeline")
        asked = [self.question(candidate) for candidate in candidates]
        samples = await asyncio.to_thread(self.score_alone, [ask.messages for ask in asked])
        pairs = zip(samples, candidates, strict=True)
        return [self.read(Told((sample,)), candidate) for sample, candidate in pairs]


def _step_scores(text: str) -> list[float]:
    """Return the step scores in a reply; none where it is not a list of numbers in [0, 1]."""
    try:
        steps = json.loads(text)
    except ValueError:
        return []
    if not isinstance(steps, list) or not all(
        isinstance(step, int | float) and 0 <= step <= 1 for step in steps
    ):
        return []
    return [float(step) for step in steps]

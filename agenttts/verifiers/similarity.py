"""Verifier `similarity`: how like a text of the problem an answer is, by the cosine of their embeddings.

It needs no gold, so it may select as well as score. It is the consistency of ChatDev (Qian et al. 2023,
arXiv:2307.07924): requirement against code. Departures: they embed code without its comments, we embed answers as they
are; a cosine below 0 counts as 0.

What is chosen by the very measure that scores it looks better than it is: the score then says how well the measure was
met, not how good the answers are.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.models.base import CallUsage, Message, Sample, SamplingParameters
from agenttts.models.vectors import NoVectorError, cosine, unpacked
from agenttts.pipeline.base import Problem
from agenttts.pipeline.code_files import files_text
from agenttts.task.splits import lookup
from agenttts.verifiers.base import Ask, Candidate, Procedure, Score, Told

__all__ = ["ASKING", "Similarity", "text_of"]

ASKING = SamplingParameters(temperature=0.0, max_tokens=1)
"""How embedding models are asked: always in the same way, so that a text has one vector."""

Embed = Callable[[Sequence[tuple[Message, ...]]], list[Sample]]
"""Returns the vector of each text, without store and ledger, for use outside of a pipeline."""


def text_of(answer: Any) -> str:
    """Return an answer as the text that is embedded; equal answers have equal texts.

    A mapping of names to texts becomes files by name, as `parse: files` reads them; another one becomes JSON, and a list
    has one item a line.
    """
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list | tuple):
        return "\n".join(item if isinstance(item, str) else _as_json(item) for item in answer)
    if isinstance(answer, Mapping) and all(isinstance(part, str) for item in answer.items() for part in item):
        return files_text(dict(sorted(answer.items())))
    return _as_json(answer)


def _as_json(value: Any) -> str:
    """Return a value as JSON; what JSON cannot hold as Python shows it, and nothing of what is nested too deep."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    except RecursionError:
        return ""
    except (TypeError, ValueError):
        return repr(value)


@dataclass(frozen=True)
class Similarity:
    """Scores an answer by the cosine between its embedding and that of a problem field; below 0 it is 0.

    No answer, or a blank one, scores 0 and is not asked about. What has no usable vector is unscored.
    """

    model: str
    """Card name of the embedding model."""
    field: str
    """Dotted path of the problem field."""
    embed_alone: Embed | None = None
    reads_text = False

    def procedure(self, problem: Problem, candidates: Sequence[Candidate]) -> Procedure:
        """See `AskingVerifier.procedure`: one question per text, all at once, that of the field first."""
        wanted = lookup(problem.fields, self.field)
        if not isinstance(wanted, str) or not wanted.strip():
            cause = f"problem {problem.id!r} has no text in `{self.field}` to compare answers with"
            return [Score(None, cause)] * len(candidates)
        texts = [None if one.answer is None else text_of(one.answer) for one in candidates]
        distinct = [text for text in dict.fromkeys(texts) if text is not None and text.strip()]
        asked = list(dict.fromkeys([wanted, *distinct])) if distinct else []
        told: Sequence[Told] = yield [self._question(text) for text in asked]
        of_text = dict(zip(asked, told, strict=True))
        return [
            self._score(of_text.get(wanted), None if text is None else of_text.get(text)) for text in texts
        ]

    def _question(self, text: str) -> Ask:
        return Ask(self.model, (Message("user", text),), ASKING)

    def _score(self, wanted: Told | None, answer: Told | None) -> Score:
        if wanted is None or answer is None:
            return Score(0.0, feedback="There is no answer.")
        usage = _usage_of(answer)
        notes = [(f"`{self.field}`", wanted), ("the answer", answer)]
        try:
            value = cosine(*(_vector(what, told) for what, told in notes))
        except NoVectorError as error:
            return Score(None, f"{self.model}: {error}", self.model if usage else "", usage)
        told = [f"Of {what}: {cut}." for what, told in notes if (cut := told.samples[0].details.get("cut"))]
        return Score(max(0.0, value), model=self.model, usage=usage, feedback=" ".join(told))

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Score without store and ledger, by `embed_alone` in a worker thread (see `Verifier.score`)."""
        procedure = self.procedure(problem, candidates)
        try:
            asked = [one.messages for one in next(procedure) if isinstance(one, Ask)]
            if self.embed_alone is None:
                raise NotImplementedError(f"{self.model} can only be asked through a pipeline")
            samples = await asyncio.to_thread(self.embed_alone, asked) if asked else []
            procedure.send([Told((sample,)) for sample in samples])
        except StopIteration as end:
            scores: list[Score] = end.value
            return scores
        raise RuntimeError("a second round of questions")


def _usage_of(told: Told) -> CallUsage | None:
    """Return what reading a text cost; `None` where nothing came back."""
    sample = told.samples[0] if told.samples else None
    if sample is None or not sample.prefill_tokens:
        return None
    return CallUsage(sample.prefill_tokens, (), counted_by=sample.counted_by)


def _vector(what: str, told: Told) -> Sequence[float]:
    if not told.samples:
        raise NoVectorError(f"no embedding of {what}: {told.error}")
    sample = told.samples[0]
    if "unscored" in sample.details:
        raise NoVectorError(f"no embedding of {what}: {sample.details['unscored']}")
    return unpacked(sample.text)

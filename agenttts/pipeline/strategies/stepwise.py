"""Search over the steps of a reply: many beginnings, of which a verifier of steps says which to go on with.

A step ends at the separator. Providers do not say whether a completion ended by itself or at a stop string, so a
beginning counts as finished where nothing comes after it, or where the source says so (`Sample.details["ended"]`).
No reply may have more than `max_tokens` tokens in all, the steps of its beginning included.
Sources: Snell et al. 2024, arXiv:2408.03314 (beam search against a process reward model); Beeching, Tunstall and Rush
2024, "Scaling test-time compute with open models" (diverse verifier tree search: each root's beginnings compete among
themselves only).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agenttts.models.base import Message, Sample
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.base import Judged, StageOutput
from agenttts.pipeline.parsing import Parsed, Parser
from agenttts.pipeline.selectors import BestOfN
from agenttts.pipeline.strategies.steps import Draw, Parse, Part, Strategy, Together, Verify
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["StepSearch", "search_steps"]


@dataclass(frozen=True)
class StepSearch:
    """How beginnings are chosen."""

    verifier: Verifier
    width: int
    """Continuations of each kept beginning; n / width are kept."""
    separator: str
    max_steps: int
    diverse: bool
    """Each of the n / width trees keeps its own best beginning (DVTS), instead of the best of all (beam search)."""


@dataclass(frozen=True)
class _Beam:
    text: str
    tree: int
    n_tokens: int = 0
    """Tokens written so far."""
    score: float | None = None
    done: bool = False


@dataclass
class _Tally:
    """What came of the beginnings that were sent to the verifier."""

    judged: Judged = Judged()

    def add(self, scores: Sequence[Score]) -> None:
        causes = [score.unscored_because for score in scores if score.value is None]
        self.judged += Judged.of(len(scores), causes)


@dataclass(frozen=True)
class _Stream:
    """What is drawn to go on from one beginning."""

    n: int
    n_tokens: int
    """The most tokens that a reply with this beginning may still have."""


def search_steps(draw: Draw, parser: Parser, how: StepSearch) -> Strategy:
    """Write replies step by step, `draw.n` beginnings at a time, and take the finished one with the highest score."""
    kept = [_Beam("", 0)]
    width = min(how.width, draw.n)
    n_kept = draw.n // width
    notes: tuple[str, ...] = ()
    tally = _Tally()
    for depth in range(how.max_steps):
        spread = _spread(kept, draw.n if depth == 0 else width, draw.sampling.max_tokens)
        grown = yield from _grown(draw, how, kept, spread)
        if depth == 0:
            grown = [replace(beam, tree=i % n_kept) for i, beam in enumerate(grown)]
        judged = yield from _judged(draw, how, grown, tally)
        if all(beam.done for beam in judged):
            kept = judged
            break
        kept = _best(judged, n_kept, diverse=how.diverse)
        if all(beam.done for beam in kept):
            break
    else:
        notes = (f"cut off after {how.max_steps} steps",)
    output = yield from _finished(parser, how, kept, notes)
    return replace(output, judged=tally.judged)


def _spread(kept: Sequence[_Beam], width: int, max_tokens: int) -> dict[str, _Stream]:
    """Return what to draw of each beginning: equal ones share a stream, and each draw is used once.

    Equal texts may have been written with different numbers of tokens; the longest leaves the least for all of them.
    """
    growing = [beam for beam in kept if not beam.done]
    counts = Counter(beam.text for beam in growing)
    written = {text: max(beam.n_tokens for beam in growing if beam.text == text) for text in counts}
    return {text: _Stream(n * width, max_tokens - written[text]) for text, n in counts.items()}


def _grown(
    draw: Draw, how: StepSearch, kept: Sequence[_Beam], spread: dict[str, _Stream]
) -> Part[list[_Beam]]:
    draws = [_continuation(draw, how, text, stream) for text, stream in spread.items()]
    given: list[list[Sample]] = yield Together(draws)
    streams = {text: iter(samples) for text, samples in zip(spread, given, strict=True)}
    grown: list[_Beam] = []
    for beam in kept:
        if beam.done:
            grown.append(beam)
            continue
        n = spread[beam.text].n // sum(not b.done and b.text == beam.text for b in kept)
        grown += [_longer(beam, next(streams[beam.text]), draw, how.separator) for _ in range(n)]
    return grown


def _continuation(draw: Draw, how: StepSearch, text: str, stream: _Stream) -> Draw:
    sampling = replace(draw.sampling, stop=(how.separator,), max_tokens=stream.n_tokens)
    return Draw(draw.model, _continued(draw.messages, text), sampling, stream.n, "step")


def _continued(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    return (*messages, Message("assistant", text)) if text else messages


def _longer(beam: _Beam, sample: Sample, draw: Draw, separator: str) -> _Beam:
    n_tokens = beam.n_tokens + sample.decode_tokens
    ended = bool(sample.details.get("ended")) or sample.finish_reason != "stop" or not sample.text.strip()
    ended = ended or n_tokens >= draw.sampling.max_tokens
    text = beam.text + sample.text if sample.text.strip() else beam.text.removesuffix(separator)
    text = text.rstrip() if ended else text + separator
    return replace(beam, text=text, n_tokens=n_tokens, done=ended, score=None)


def _judged(draw: Draw, how: StepSearch, beams: Sequence[_Beam], tally: _Tally) -> Part[list[_Beam]]:
    """Score the beginnings that have grown, equal ones once; what ends a step is not shown after the last one."""
    prompt = prompt_text(draw.messages)
    fresh = {(beam.text, beam.done) for beam in beams if beam.score is None and beam.text.strip()}
    asked = sorted(fresh)
    if not asked:
        return list(beams)
    given: list[Score] = yield Verify(
        how.verifier,
        [Candidate(prompt, _shown(text, how), None, unfinished=not done) for text, done in asked],
    )
    tally.add(given)
    scores = {place: score.value for place, score in zip(asked, given, strict=True)}
    return [replace(beam, score=scores.get((beam.text, beam.done), beam.score)) for beam in beams]


def _shown(text: str, how: StepSearch) -> str:
    return text.removesuffix(how.separator).rstrip()


def _best(beams: Sequence[_Beam], n_kept: int, *, diverse: bool) -> list[_Beam]:
    """Return the beginnings to go on with: those scored highest; ties and those without a score: drawn first."""
    order = sorted(range(len(beams)), key=lambda i: (-_rank(beams[i]), i))
    if not diverse:
        return [beams[i] for i in sorted(order[:n_kept])]
    best: dict[int, int] = {}
    for i in order:
        best.setdefault(beams[i].tree, i)
    return [beams[i] for i in sorted(best.values())]


def _rank(beam: _Beam) -> float:
    return -1.0 if beam.score is None else beam.score


def _finished(parser: Parser, how: StepSearch, beams: Sequence[_Beam], notes: tuple[str, ...]) -> Strategy:
    texts = [beam.text if beam.done else _shown(beam.text, how) for beam in beams]
    parsed: list[Parsed] = yield Parse(parser, texts)
    answers, scores = [one.answer for one in parsed], [beam.score for beam in beams]
    selection = BestOfN().select(answers, scores)
    index = selection.index or 0
    causes = [one.note for one in parsed if one.note]
    note = (f"{len(causes)} of {len(texts)} replies could not be parsed: {causes[0]}",) if causes else ()
    return StageOutput(
        answer=selection.answer,
        text=texts[index],
        answers=tuple(answers),
        texts=tuple(texts),
        n_plain=0,
        selected=selection.index,
        verifier_scores=tuple(scores),
        notes=(*notes, *note, *selection.notes),
    )

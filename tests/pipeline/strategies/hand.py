"""Drives a strategy by hand: what it asks for is answered by small functions and written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenttts.models.base import Message, Sample, SamplingParameters
from agenttts.pipeline.base import Problem, StageOutput
from agenttts.pipeline.parsing import make_parser
from agenttts.pipeline.strategies.steps import Draw, Parse, Step, Strategy, Together, Verify
from agenttts.task.schema import ParseBlock
from agenttts.verifiers.base import Candidate, Score

NUMBERS = make_parser(ParseBlock(rule="last_number"))
WORDS = make_parser(ParseBlock(rule="text"))
PROMPT = (Message("system", "Be brief."), Message("user", "6 * 7?"))
Writes = Callable[[Draw, int], str | Sample]
"""From a draw and the index in its stream to the sample."""
Scores = Callable[[Candidate], float | Score | None]


def asking(n: int, *, model: str = "small", **sampling: Any) -> Draw:
    return Draw(model, PROMPT, SamplingParameters(**sampling), n)


def writing(*texts: str) -> Writes:
    """Return a source of the stage's own samples, in drawing order."""
    return lambda draw, index: texts[index]


@dataclass
class Verifying:
    """A verifier whose scores the test gives; asked only through `play`."""

    scores: Scores = lambda candidate: None
    asked: list[Candidate] = field(default_factory=list)

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        self.asked += candidates
        given = [self.scores(candidate) for candidate in candidates]
        return [
            one if isinstance(one, Score) else Score(one, "" if one is not None else "?") for one in given
        ]


@dataclass
class Played:
    """What came of it."""

    output: StageOutput
    draws: list[Draw]
    batches: list[list[str]]
    """Texts that were verified, by request."""
    rounds: list[list[Draw]]
    """Draws that were asked for together."""

    @property
    def plan(self) -> list[tuple[str, int, int]]:
        """Purpose, first and number of each draw."""
        return [(draw.purpose, draw.first, draw.n) for draw in self.draws]


def play(strategy: Strategy, writes: Writes) -> Played:
    """Run a strategy to its end."""
    played = Played(StageOutput(None), [], [], [])
    try:
        step = next(strategy)
        while True:
            step = strategy.send(_answer(step, writes, played))
    except StopIteration as end:
        played.output = end.value
    return played


def _answer(step: Step, writes: Writes, played: Played) -> Any:
    if isinstance(step, Together):
        played.rounds.append([one for one in step.steps if isinstance(one, Draw)])
        return [_answer(one, writes, played) for one in step.steps]
    if isinstance(step, Draw):
        played.draws.append(step)
        return [_sample(writes(step, i), i) for i in range(step.first, step.first + step.n)]
    if isinstance(step, Parse):
        return [step.parser.parse(text) for text in step.texts]
    return _verified(step, played)


def _verified(step: Verify, played: Played) -> list[Score]:
    played.batches.append([candidate.text for candidate in step.candidates])
    scoring = step.verifier.score(Problem("p", {}), step.candidates)
    try:
        scoring.send(None)
    except StopIteration as end:
        scores: list[Score] = end.value
        return scores
    raise AssertionError("a verifier of these tests waits for nothing")


def _sample(said: str | Sample, index: int) -> Sample:
    return said if isinstance(said, Sample) else Sample(index, said, "stop", 3, len(said.split()))

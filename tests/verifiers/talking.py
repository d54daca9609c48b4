"""Plays the model that a verifier asks: drives a procedure by hand, and keeps what was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenttts.models.base import Sample
from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Ask, AskingVerifier, Candidate, Score, Told, Work

Say = Callable[[Ask, int], "str | Sample | Told"]
"""From a question and the number of the draw to the reply; a `Told` is the answer to all draws."""


def sample(text: str, index: int = 0, tops: Any = None, finish: str = "stop") -> Sample:
    """Return a reply that reads 10 tokens and writes one a word."""
    details = {} if tops is None else {"top_logprobs": tops}
    return Sample(index, text, finish, 10, len(text.split()), details=details)


@dataclass
class Talk:
    """One procedure from its beginning to its end."""

    say: Say
    rounds: list[list[Ask | Work]] = field(default_factory=list)

    def scores(self, verifier: AskingVerifier, candidates: Sequence[Candidate]) -> list[Score]:
        """Return what the verifier says in the end."""
        procedure = verifier.procedure(Problem("p", {}), candidates)
        try:
            wanted = next(procedure)
            while True:
                self.rounds.append(list(wanted))
                wanted = procedure.send([self.answer(one) for one in wanted])
        except StopIteration as end:
            scores: list[Score] = end.value
            return scores

    def answer(self, one: Ask | Work) -> Any:
        """Return the answer to one thing wanted."""
        if isinstance(one, Work):
            return one.do()
        given = []
        for index in range(one.n):
            said = self.say(one, index)
            if isinstance(said, Told):
                return said
            given.append(said if isinstance(said, Sample) else sample(said, index))
        return Told(tuple(given))

    @property
    def asks(self) -> list[Ask]:
        """Every question so far."""
        return [one for wanted in self.rounds for one in wanted if isinstance(one, Ask)]


def asked(ask: Ask) -> str:
    """Return the last message of a question."""
    return ask.messages[-1].content

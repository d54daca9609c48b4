"""Two runs beside each other: which of them found the better plan, as far as they can be compared. Pure.

Winners are compared problem by problem, where both were asked the same problems and scored alike; else no difference is
told, and why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agenttts.report.facts.values import to_json
from agenttts.study.statistics import PairedDifference, paired_difference

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts

__all__ = ["RunBeside", "RunPair", "pair_of"]


@dataclass(frozen=True)
class RunBeside:
    """One of two runs, and what its comparison needs beside its facts."""

    facts: RunFacts
    data: Any
    """What tells its problems from those of other data; equal for equal problems."""
    unseen: Mapping[str, float] = field(default_factory=dict)
    """Scores of its winner by unseen problem; empty where it was not confirmed."""

    @property
    def search(self) -> dict[str, float]:
        """Scores of its winner by search problem."""
        facts = self.facts
        scores = next((one.scores for one in facts.trials if one.number == facts.answer.winner), ())
        ids = [problem.id for problem in facts.problems]
        return {name: score for name, score in zip(ids, scores, strict=False) if score is not None}


@dataclass(frozen=True)
class RunPair:
    """Two runs beside each other."""

    first: RunFacts
    second: RunFacts
    unseen: PairedDifference | None
    """Winner of the first minus that of the second, on unseen problems that both answered."""
    search: PairedDifference | None
    """The same on search problems, by which both were chosen."""
    why_none: str
    """Why there is no difference on unseen problems; empty where there is one."""
    differs: tuple[str, ...]
    """In what the runs differ that moves figures, in words."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "difference": to_json(self.unseen),
            "search_difference": to_json(self.search),
            "no_difference_because": self.why_none,
            "differs": list(self.differs),
        }


def pair_of(first: RunBeside, second: RunBeside) -> RunPair:
    """Return two runs beside each other."""
    why = _why_incomparable(first, second)
    unseen = None if why else _difference(first.unseen, second.unseen)
    search = None if why else _difference(first.search, second.search)
    if not why and unseen is None:
        why = _why_unseen(first, second)
    return RunPair(
        first.facts, second.facts, unseen, search, why, tuple(_differing(first.facts, second.facts))
    )


def _difference(first: Mapping[str, float], second: Mapping[str, float]) -> PairedDifference | None:
    return paired_difference(first, second) if first.keys() & second.keys() else None


def _why_incomparable(first: RunBeside, second: RunBeside) -> str:
    a, b = first.facts, second.facts
    if a.answer.winner is None or b.answer.winner is None:
        return "one of the runs has no winner"
    if first.data != second.data:
        return "the runs were asked different problems"
    return "" if a.head.metric == b.head.metric else "the runs score answers in different ways"


def _why_unseen(first: RunBeside, second: RunBeside) -> str:
    for one in (first, second):
        if not one.unseen:
            return f"the winner of {one.facts.head.folder} has no score on unseen problems"
    return "the runs were confirmed on different unseen problems"


def _differing(first: RunFacts, second: RunFacts) -> list[str]:
    a, b = first.head, second.head
    told = {
        "task": (a.task, b.task),
        "budget": (str(a.budget), str(b.budget)),
        "allocator": (a.allocator, b.allocator),
        "planner": (a.planner or "none", b.planner or "none"),
        "seed": (str(a.seed), str(b.seed)),
        "trials": (str(a.n_trials), str(b.n_trials)),
        "search problems": (str(a.n_problems), str(b.n_problems)),
        "models": (_models(first), _models(second)),
        "version of agenttts": (a.agenttts, b.agenttts),
    }
    return [f"{name}: {one} and {other}" for name, (one, other) in told.items() if one != other]


def _models(facts: RunFacts) -> str:
    served = (f"{note.name}{note.served_by and f' at {note.served_by}'}" for note in facts.head.models)
    return ", ".join(served) or "none"

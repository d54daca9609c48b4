"""From the answers of several samples to one. Pure: values in, values out, ties defined.

Answers are compared by `vote_key`, so `42` and `"42.0"` are one vote. A sample that could not be parsed (`None`) never
wins as long as any other could. All ties go to the answer drawn first, so a rerun selects the same sample.
Fusion, which asks a model, is a strategy (see `strategies`), not a selector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from agenttts.errors import NoSamplesError
from agenttts.verifiers.equality import vote_key

__all__ = ["SELECTORS", "BestOfN", "First", "ListVote", "Majority", "Selection", "Selector", "WeightedVote"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected."""

    index: int | None
    """The selected sample; `None` where the answer was put together from several."""
    answer: Any
    notes: tuple[str, ...] = ()


@runtime_checkable
class Selector(Protocol):
    """Turns samples into one answer."""

    def select(self, answers: Sequence[Any], scores: Sequence[float | None]) -> Selection:
        """Return the selection.

        Args:
            answers: Parsed answers in drawing order, `None` where parsing failed, shape (n_samples,).
            scores: What a verifier gave each sample, in [0, 1]; `None` is unscored. Same shape, or empty where no
                verifier took part.

        Raises:
            NoSamplesError: `answers` is empty.
        """
        ...


@dataclass(frozen=True)
class First:
    """Select the first sample that could be parsed."""

    def select(self, answers: Sequence[Any], scores: Sequence[float | None] = ()) -> Selection:
        """See `Selector.select`."""
        parsed = _parsed(answers)
        return Selection(parsed[0], answers[parsed[0]]) if parsed else _nothing()


@dataclass(frozen=True)
class Majority:
    """Select the answer that most samples share.

    Source: Wang et al. 2022, arXiv:2203.11171, unweighted form.
    """

    def select(self, answers: Sequence[Any], scores: Sequence[float | None] = ()) -> Selection:
        """See `Selector.select`."""
        return _vote(answers, dict.fromkeys(_parsed(answers), 1.0))


@dataclass(frozen=True)
class WeightedVote:
    """Select the answer whose samples have the largest sum of scores; unscored samples do not vote.

    Where no sample is scored, the majority decides and a note says so.
    Source: Li et al. 2023, arXiv:2206.02336 (voting verifier).
    """

    def select(self, answers: Sequence[Any], scores: Sequence[float | None] = ()) -> Selection:
        """See `Selector.select`."""
        weights = _scored(answers, scores)
        return _vote(answers, weights) if weights else _unscored(answers)


@dataclass(frozen=True)
class BestOfN:
    """Select the sample with the highest score; unscored samples cannot win.

    Where no sample is scored, the majority decides and a note says so.
    Source: Cobbe et al. 2021, arXiv:2110.14168 (verifier reranking).
    """

    def select(self, answers: Sequence[Any], scores: Sequence[float | None] = ()) -> Selection:
        """See `Selector.select`."""
        scored = _scored(answers, scores)
        if not scored:
            return _unscored(answers)
        best = max(scored, key=lambda index: (scored[index], -index))
        return Selection(best, answers[best])


@dataclass(frozen=True)
class ListVote:
    """Put a list together from the items that most samples name.

    As many items as the most common list has (ties: the length drawn first), those named by most samples, ties by
    first appearance. An item counts once a sample; an answer that is no list counts as a list of one.
    Source: the code released with AgentTTS, arXiv:2508.00890 (vote over retrieved references); ties are ours.
    """

    def select(self, answers: Sequence[Any], scores: Sequence[float | None] = ()) -> Selection:
        """See `Selector.select`."""
        parsed = _parsed(answers)
        if not parsed:
            return _nothing()
        lists = [_items(answers[index]) for index in parsed]
        n_kept = Counter(len(items) for items in lists).most_common(1)[0][0]  # equal counts: first seen first
        votes = Counter(key for items in lists for key in items)
        kept = [key for key, _ in votes.most_common(n_kept)]
        named = {key: item for items in reversed(lists) for key, item in items.items()}
        return Selection(None, [named[key] for key in kept])


SELECTORS: dict[str, Selector] = {
    "best_of_n": BestOfN(),
    "first": First(),
    "list_vote": ListVote(),
    "majority": Majority(),
    "weighted_vote": WeightedVote(),
}
"""By the `kind` of a task's `select` entry."""


def _parsed(answers: Sequence[Any]) -> list[int]:
    if not answers:
        raise NoSamplesError("a selection needs at least one sample")
    return [index for index, answer in enumerate(answers) if answer is not None]


def _scored(answers: Sequence[Any], scores: Sequence[float | None]) -> dict[int, float]:
    pairs = ((index, scores[index] if index < len(scores) else None) for index in _parsed(answers))
    return {index: score for index, score in pairs if score is not None}


def _vote(answers: Sequence[Any], weights: dict[int, float]) -> Selection:
    if not weights:
        return _nothing()
    totals: dict[Hashable, float] = {}
    first: dict[Hashable, int] = {}
    for index, weight in weights.items():
        key = vote_key(answers[index])
        totals[key] = totals.get(key, 0.0) + weight
        first.setdefault(key, index)
    winner = max(totals, key=lambda key: (totals[key], -first[key]))
    return Selection(first[winner], answers[first[winner]])


def _items(answer: Any) -> dict[Hashable, Any]:
    items = answer if isinstance(answer, list | tuple | set | frozenset) else [answer]
    found: dict[Hashable, Any] = {}
    for item in items:
        found.setdefault(vote_key(item), item)
    return found


def _nothing() -> Selection:
    return Selection(0, None, ("no sample could be parsed",))


def _unscored(answers: Sequence[Any]) -> Selection:
    selection = Majority().select(answers)
    return (
        selection
        if selection.answer is None
        else replace(selection, notes=("no sample was scored: majority vote",))
    )

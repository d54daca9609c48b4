"""What a comparison of allocators is made of and what it says. Values only; how it is computed lives in `comparison`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agenttts.study.comparison_statistics import Estimate

__all__ = [
    "NOT_DISTINGUISHABLE",
    "AllocatorSummary",
    "Comparison",
    "Measure",
    "PairResult",
    "PairTest",
    "RunRecord",
]

Measure = Literal["trials", "spend", "found", "test"]
"""`trials`, `spend`: to reach the target, fewer is better; `found`: true score (where the truth is known, else score by
the search problems) of the best allocation in the end; `test`: score of the final plan on the test problems."""

NOT_DISTINGUISHABLE = "not distinguishable"
ROUNDING = 1e-9


@dataclass(frozen=True)
class RunRecord:
    """One search: an allocator with one seed."""

    allocator: str
    seed: int
    best: tuple[float, ...]
    """Score by the search problems of the best allocation after each trial; NaN before there is one."""
    spend: tuple[float, ...]
    """What the search would have spent alone by the end of each trial, its planner's calls included, never falling."""
    truth: tuple[float, ...] | None = None
    """True score of that allocation after each trial; `None` where the truth is not known."""
    test: Mapping[str, float] | None = None
    """Score of the final plan by test problem; `None` where it was not asked."""
    planner_spend: tuple[float, ...] | None = None
    """How much of `spend` were calls to the planner; `None` where none was asked or its cost is unknown."""
    lacking: str = ""
    """An allocation that led and whose true score is not known, although others are: then `truth` is `None`, and the
    search has no part in measures that need it."""

    def __post_init__(self) -> None:
        if (
            not self.best
            or len(self.best) != len(self.spend)
            or len(self.truth or self.best) != len(self.best)
        ):
            raise ValueError(
                f"run {self.allocator}, seed {self.seed}: best, spend and truth need one value per trial, and a trial"
            )

    @property
    def quality(self) -> tuple[float, ...]:
        """True scores where they are known, else scores by the search problems; NaN where the truth lacks them."""
        if self.lacking:
            return (math.nan,) * len(self.best)
        return self.best if self.truth is None else self.truth

    @property
    def found(self) -> float:
        """Quality in the end; NaN where nothing valid was found."""
        return self.quality[-1]

    def reached(self, threshold: float) -> int | None:
        """Return the place of the first trial after which the quality is at least `threshold`."""
        return next((i for i, value in enumerate(self.quality) if value >= threshold - ROUNDING), None)


@dataclass(frozen=True)
class AllocatorSummary:
    """One allocator over its seeds."""

    name: str
    n_runs: int
    n_reached: int
    """Runs that reached the target."""
    trials_to_target: Estimate | None
    """Median; infinite where at least half of the runs did not reach it."""
    spend_to_target: Estimate | None
    found: Estimate | None
    """Mean of what the runs found in the end (see `Comparison.truth_known`)."""
    regret: Estimate | None
    """Mean distance of that from the best known score."""
    test: Estimate | None
    """Mean score of the final plans on the test problems, over seeds and problems; `n` counts seeds."""
    most_trials: int
    """Trials of the longest run: what a median that was not reached is larger than."""


@dataclass(frozen=True)
class PairTest:
    """One measure of two allocators over their common seeds."""

    measure: Measure
    difference: Estimate | None
    """Ratio of medians, first to second, for `trials` and `spend`; mean difference, first minus second, for the rest."""
    p: float
    """Before the correction."""
    p_adjusted: float
    n_seeds: int
    n_problems: int = 0
    """Test problems that all those runs scored; 0 for other measures."""
    p_by_seed: float | None = None
    """For `test`: with problems taken as given."""
    p_by_problem: float | None = None
    """For `test`: with seeds taken as given."""
    winner: str = ""
    """Name of the better one; empty where they are not distinguishable by this measure."""
    bound: float | None = None
    """For a ratio of medians of which one was not reached: what it is below (where `difference` says 0) or above
    (where it says infinity), by how far the runs went that did not arrive."""


@dataclass(frozen=True)
class PairResult:
    """Two allocators compared by every measure that there are figures for."""

    first: str
    second: str
    tests: tuple[PairTest, ...]
    why_none: str = "there are no common seeds"
    """Why there are no tests, where there are none."""

    @property
    def distinguishable(self) -> bool:
        """Some measure tells them apart."""
        return any(test.winner for test in self.tests)

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.tests:
            return f"not compared: {self.why_none}"
        if not self.distinguishable:
            return NOT_DISTINGUISHABLE
        words = [_WORDS[test.measure].format(winner=test.winner) for test in self.tests if test.winner]
        rest = [_NOUNS[test.measure] for test in self.tests if not test.winner]
        if rest:
            words.append(f"{' and '.join(rest)}: {NOT_DISTINGUISHABLE}")
        return "; ".join(words)


_WORDS: Mapping[Measure, str] = {
    "trials": "{winner} needs fewer trials",
    "spend": "{winner} needs less spend",
    "found": "{winner} finds better allocations",
    "test": "{winner} ends with better plans on unseen problems",
}
_NOUNS: Mapping[Measure, str] = {
    "trials": "trials",
    "spend": "spend",
    "found": "what is found in the end",
    "test": "plans on unseen problems",
}


@dataclass(frozen=True)
class Comparison:
    """Allocators compared on one task."""

    records: tuple[RunRecord, ...]
    summaries: tuple[AllocatorSummary, ...]
    pairs: tuple[PairResult, ...]
    target: float
    """Distance from the best known score that counts as arrived."""
    best_known: float
    """Best true score where the truth is known, else the best score by the search problems that any run found."""
    truth_known: bool
    confidence: float
    notes: tuple[str, ...] = field(default=())
    """What a reader should know before believing a figure."""

    @property
    def allocators(self) -> tuple[str, ...]:
        """Names, in the order of the summaries."""
        return tuple(summary.name for summary in self.summaries)

    def pair(self, first: str, second: str) -> PairResult:
        """Return the result of two allocators, in either order.

        Raises:
            KeyError: They were not compared.
        """
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                return pair
        raise KeyError(f"{first} and {second} were not compared")

"""How often a stage that runs on a condition is expected to run: the share of problems on which its `when` holds.

Learnt from what trials saw of the watched stage. Under a majority vote the votes themselves tell it for every number of
samples n: of N draws of a problem, the chance that no answer holds a share of n samples at or above the threshold,
over all sets of n draws (n up to N, exact), or over n draws with replacement from the N (n above N). The latter takes
the draws for the truth and so finds too much agreement where N is small; problems with fewer than `FEWEST` draws are
left out of it. Under other selectors, and for `verifier_score` and `answer`, the share is known only of choices that
were tried. There the measured values themselves are kept, so that they tell it for every threshold. A stage that takes
over from others (`otherwise`) runs on what their thresholds leave. The scores of tests (`score`) are known likewise, by
the choice of the stage that writes what is tested; those that mend it in between are left out of account.

Nothing known means that the stage always runs, which is the dearest: expected costs fail closed. For the same reason
one more problem is counted on which it runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from agenttts.task.options import threshold

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation, StageChoice
    from agenttts.task.schema import TaskFile

__all__ = ["FEWEST", "RunShares", "binomial", "chance_below", "pilot_samples"]

FEWEST = 4
"""Draws of a problem from which larger numbers of samples are resampled."""
PRIOR_PROBLEMS = 1.0
"""Problems counted as ones on which the stage runs."""

PILOT_SAMPLES = 8
"""Drawn in the pilot where votes are to be learnt from."""


def pilot_samples(file: TaskFile, stage: str) -> int:
    """Return how many samples the pilot draws at a stage: 1, but more where votes tell what it or another will cost."""
    watched = any(
        block.when is not None and block.when.stage == stage and block.when.measure == "agreement"
        for block in file.stages.values()
    )
    watched = watched or file.stages[stage].votes_tell
    return min(PILOT_SAMPLES, max(file.stages[stage].sample_counts)) if watched else 1


def chance_below(votes: Sequence[int], n: int, below: float) -> float:
    """Return the chance that the largest share of a majority vote among `n` samples is below a threshold.

    Args:
        votes: Answer codes of one problem's draws, -1 where parsing failed, shape (N,), N at least 1.
        n: Samples that vote: drawn without replacement from the N where they suffice, else with replacement.
        below: The threshold.

    Raises:
        ValueError: No votes, or no samples.
    """
    if n < 1 or not votes:
        raise ValueError(f"expected at least one sample and one vote, got {n} and {len(votes)}")
    if below <= 0:
        return 0.0
    most = max(count for count in range(n + 1) if count / n < below)
    named = [vote for vote in votes if vote >= 0]
    sizes = tuple(sorted(named.count(code) for code in set(named)))
    return _chance_at_most(sizes, len(votes) - len(named), n, most)


@lru_cache(maxsize=1 << 16)
def _chance_at_most(sizes: tuple[int, ...], n_unparsed: int, n: int, most: int) -> float:
    """Return the chance that each answer is held by at most `most` of `n` samples.

    Counts of the answers are taken as independent (binomial without replacement, Poisson with it); given that they
    add up to n they are the law wanted.
    """
    import numpy as np

    n_draws = n_unparsed + sum(sizes)
    if n == n_draws:
        return float(max(sizes, default=0) <= most)
    if most >= n:
        return 1.0
    rate = n / n_draws
    table = np.array([1.0])
    for size, limit in [(n_unparsed, n), *((size, most) for size in sizes)]:
        if n < n_draws:
            law = [binomial(size, x, rate) for x in range(min(size, limit, n) + 1)]
        else:
            law = [_poisson(size * rate, x) for x in range(min(limit, n) + 1)]
        table = np.convolve(table, law)[: n + 1]
    whole = binomial(n_draws, n, rate) if n < n_draws else _poisson(n, n)
    return min(1.0, float(table[n]) / whole) if len(table) > n else 0.0


@lru_cache(maxsize=1 << 16)
def binomial(size: int, x: int, rate: float) -> float:
    """Return the chance of x out of size at a rate within (0, 1); by logarithms, for the sizes that overflow."""
    ways = math.lgamma(size + 1) - math.lgamma(x + 1) - math.lgamma(size - x + 1)
    return math.exp(ways + x * math.log(rate) + (size - x) * math.log1p(-rate))


def _poisson(mean: float, x: int) -> float:
    if mean <= 0:
        return float(x == 0)
    return math.exp(x * math.log(mean) - mean - math.lgamma(x + 1))


class RunShares:
    """What is known of the stages that others watch.

    Votes are kept per stage, model and problem, the most that any trial saw; that other choices before the stage give
    it other prompts is left out of account.
    """

    def __init__(self, file: TaskFile) -> None:
        self._file = file
        self.conditional = file.watched
        """Stage that may not run -> the stage whose agreement, score or answer decides."""
        self._when = {name: block.when for name, block in file.stages.items() if block.when is not None}
        self._kinds = {
            (name, way.name): way.kind for name, block in file.stages.items() for way in block.ways
        }
        self._votes: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
        self._measured: dict[tuple[str, str, int, str], dict[str, float | None]] = {}

    @property
    def watched(self) -> Mapping[str, str]:
        """Stage with `when` -> the LLM stage that this hangs on."""
        return {name: stage for name, stage in self.conditional.items() if name in self._when}

    def observe_votes(self, stage: str, model: str, votes: Mapping[str, Sequence[int]]) -> None:
        """Take note of a stage's samples: problem id -> answer codes in drawing order, -1 where parsing failed."""
        known = self._votes.setdefault((stage, model), {})
        for problem_id, codes in votes.items():
            if len(codes) > len(known.get(problem_id, ())):
                known[problem_id] = tuple(codes)

    def observe_measured(self, stage: str, watched: StageChoice, values: Mapping[str, float | None]) -> None:
        """Take note of what the `when` of a stage measured under a choice of the watched one; `None`: unknown."""
        self._measured.setdefault(_place(stage, watched), {}).update(values)

    def votes(self, stage: str, model: str, n: int) -> list[tuple[int, ...]]:
        """Return the votes of each problem of which enough are known to say something of `n` samples."""
        known = self._votes.get((stage, model), {})
        return [codes for _, codes in sorted(known.items()) if len(codes) >= min(n, FEWEST)]

    def expected(self, allocation: Allocation, stage: str) -> float:
        """Return the share of problems on which a stage of an allocation is expected to run."""
        below = allocation[stage].below
        if stage not in self.conditional:
            return 0.0 if below == 0 else 1.0
        watched = allocation[self.conditional[stage]]
        return self.share(stage, below, watched, self._floor(allocation, stage))

    def largest(self, allocation: Allocation, stage: str) -> float:
        """Return the largest share of problems on which a stage of an allocation can run: 0 where it never does."""
        below = allocation[stage].below
        return 0.0 if below == 0 or _never(below, self._floor(allocation, stage)) else 1.0

    def _floor(self, allocation: Allocation, stage: str) -> float:
        before = self._file.settings_before(stage)
        return max((threshold(allocation[name].below) for name in before), default=0.0)

    def share(self, stage: str, below: float | None, watched: StageChoice, floor: float = 0.0) -> float:
        """Return the expected share of problems on which a stage runs.

        Args:
            stage: The stage.
            below: The threshold of its choice.
            watched: The choice of the stage that it watches.
            floor: The highest threshold of the settings before it: what is rated below that is theirs.
        """
        if self._file.stages[stage].routed:
            return self._routed(stage, threshold(below), watched, floor)
        when = self._when.get(stage)
        if when is None or below is None or below > 1:
            return 1.0
        if below <= 0:
            return 0.0
        n = watched.n_samples
        votes_tell = n == 1 or self._kinds.get((watched.stage, watched.select)) == "majority"
        if when.measure == "agreement" and votes_tell:
            votes = self._votes.get((watched.stage, watched.model), {}).values()
            chances = [chance_below(codes, n, below) for codes in votes if len(codes) >= min(n, FEWEST)]
        else:
            values = (
                self._of_test(stage, watched) if when.measure == "score" else self._values(stage, watched)
            )
            chances = [float(value is None or value < below) for value in values]
        return _cautious(chances)

    def _values(self, stage: str, watched: StageChoice) -> list[float | None]:
        return list(self._measured.get(_place(stage, watched), {}).values())

    def _of_test(self, stage: str, watched: StageChoice) -> list[float | None]:
        """Return the scores of tests under a choice; of one not tried yet, those of its model that are lowest.

        More samples, or another way to select, are mostly no worse than what was tried; to take the worst is the dearest.
        """
        if own := self._values(stage, watched):
            return own
        tried = [
            list(values.values())
            for (name, model, *_), values in sorted(self._measured.items())
            if (name, model) == (stage, watched.model) and values
        ]
        return min(tried, key=_mean_of_known, default=[])

    def _routed(self, stage: str, below: float, watched: StageChoice, floor: float) -> float:
        """Return the share of problems that are rated from `floor` to below `below`; unknown ratings count as 0."""
        if _never(below, floor):
            return 0.0
        if floor <= 0 and below > 1:
            return 1.0
        asked = [name for name in (stage, *self._file.settings_before(stage)) if name in self._when]
        known = [self._measured.get(_place(name, watched), {}) for name in asked]
        return _cautious([float(floor <= (value or 0.0) < below) for value in max(known, key=len).values()])


def _mean_of_known(values: Sequence[float | None]) -> float:
    """Return the mean, what is not known counted as 0."""
    return math.fsum(value or 0.0 for value in values) / len(values)


def _never(below: float | None, floor: float) -> bool:
    """Return whether no rating is from `floor` to below `below`."""
    return floor > 1 or threshold(below) <= floor


def _cautious(chances: Sequence[float]) -> float:
    """Return the mean with one more problem on which the stage runs; 1 where nothing is known."""
    if not chances:
        return 1.0
    return (math.fsum(chances) + PRIOR_PROBLEMS) / (len(chances) + PRIOR_PROBLEMS)


def _place(stage: str, watched: StageChoice) -> tuple[str, str, int, str]:
    return stage, watched.model, watched.n_samples, watched.select

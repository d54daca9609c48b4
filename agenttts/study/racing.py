"""Racing: a trial is evaluated in blocks of problems and ends as soon as it is surely no winner.

Surely means: at a stated level, whenever one looks, on the problems of the search split itself. All trials of a study
take the problems in one order, shuffled by the study's seed, so that what two trials saw can be paired. A trial ends
when it would surely score below the incumbent (the best trial known before its round) had it seen all problems, or
would surely cost more than the budget.

Both are tests by betting. Under the hypothesis that the trial is no worse (no dearer) over all N problems, no bet on
the next problem of a random order gains on average, so the wealth passes 1 / alpha with probability alpha at most,
over all looks together. The order is drawn without replacement: what has been seen says what the rest must bring, so
the test also ends a race that can no longer be won, and no sooner does it end one that can only be tied. No
distribution is assumed; differences need lie in [-1, 1] only and costs at or above a floor, without an upper bound.

Source: Waudby-Smith and Ramdas 2024, arXiv:2010.09686 (betting, and betting without replacement). Departure: a fixed
mixture of bets, with nothing to set, instead of bets tuned as one goes. By simulation, level 0.04, 200 problems, share
of them seen: for 0/1 scores, gap 0.2, four in ten problems differing, 28 % (their aGRAPA bets 31 %, their empirical
Bernstein interval 42 %, a normal mixture with estimated variance, which is not exact, 30 %); for a steady difference,
gap 0.1, standard deviation 0.2, 26 % (22 %, 40 %, 37 %). Scores here are mostly 0/1.

What the level means. A trial that would be the best of the study runs one race, so the chance that racing loses it is
at most alpha, however many others race; nothing is to be divided by the number of trials. Strictly this holds for
proposals that do not depend on the order of the problems. Later proposals depend on it a little, through trials that
were stopped; that is the price of one order for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from agenttts.budgets.cost import Budget, Cost, amount

if TYPE_CHECKING:
    from agenttts.pipeline.base import Rollout
    from agenttts.study.archive import Trial

__all__ = ["ALPHA", "Race", "blocks", "n_until_decided", "surely_below", "surely_over"]

T = TypeVar("T")
ALPHA = 0.05
"""Chance at most that racing stops a trial that would have been the winner."""
SCORE_SHARE = 0.8
"""Of `ALPHA` for stopping below the incumbent; the rest for stopping over the budget, which is seldom in doubt: an
allocation is proposed because it is expected to fit."""
BETS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the wealth that are staked, each by an equal part of it. Small ones find small steady differences."""
ROUNDING = 1e-9
N_BLOCKS = 10
SMALLEST_BLOCK = 10
"""Below it a race loses more by waiting for the slowest problem of each block than it can save."""
SHUFFLE = 0x0ACE
"""Sets the order of problems apart from all else that the seed decides."""


def blocks(problems: Sequence[T], seed: int) -> list[tuple[T, ...]]:
    """Return problems in the order and the blocks that all trials of a study take them in.

    A tenth of the problems a block, at least 10: each look waits for the slowest problem of its block, and looking after
    every problem would save half a block a trial. It depends on the seed and the number of problems alone, so that
    concurrency has no say in the result.
    """
    import numpy as np

    order = np.random.default_rng(np.random.SeedSequence([seed, SHUFFLE])).permutation(len(problems))
    size = max(SMALLEST_BLOCK, math.ceil(len(problems) / N_BLOCKS))
    starts = range(0, len(problems), size)
    return [tuple(problems[index] for index in order[start : start + size]) for start in starts]


def surely_below(differences: Sequence[float], n_problems: int, *, alpha: float = ALPHA) -> bool:
    """Return whether the mean difference over all problems is surely below 0.

    Args:
        differences: Challenger minus incumbent, each in [-1, 1], on the first problems of a random order, in it.
        n_problems: Problems in all, seen or not.
        alpha: Chance at most of ever returning true, over all looks, where the mean is 0 or above.

    Raises:
        ValueError: A difference lies outside [-1, 1], or there are more than `n_problems`.
    """
    return n_until_decided(differences, n_problems, alpha=alpha) is not None


def n_until_decided(
    differences: Sequence[float], n_problems: int, *, alpha: float = ALPHA, block: int = 1
) -> int | None:
    """Return how many problems it takes until `surely_below` holds, `None` where these do not suffice.

    Args:
        differences: See `surely_below`.
        n_problems: See `surely_below`.
        alpha: See `surely_below`.
        block: Problems between two looks; the answer is a multiple of it, or all of the differences.
    """
    _check(differences, n_problems, low=-1.0, high=1.0)
    # One minus a difference lies in [0, 2]: a large mean of it is a small mean difference.
    passed = _passed([1.0 - difference for difference in differences], 1.0, n_problems, alpha)
    if passed is None:
        return None
    return min(len(differences), math.ceil(passed / block) * block)


def surely_over(costs: Sequence[float], limit: float, n_problems: int, *, alpha: float = ALPHA) -> bool:
    """Return whether the mean cost over all problems is surely above the limit.

    Args:
        costs: Costs of 0 or more, unbounded, of the first problems of a random order, in it.
        limit: The most that the mean may be.
        n_problems: Problems in all, seen or not.
        alpha: Chance at most of ever returning true, over all looks, where the mean is within the limit.

    Raises:
        ValueError: A cost is negative, or there are more than `n_problems`.
    """
    _check(costs, n_problems, low=0.0, high=math.inf)
    return _passed(costs, limit, n_problems, alpha) is not None


def _check(values: Sequence[float], n_problems: int, *, low: float, high: float) -> None:
    if len(values) > n_problems:
        raise ValueError(f"{len(values)} values of {n_problems} problems")
    wrong = next((value for value in values if not low - ROUNDING <= value <= high + ROUNDING), None)
    if wrong is not None:
        raise ValueError(f"{wrong} is not within [{low}, {high}]")


def _passed(values: Sequence[float], limit: float, n: int, alpha: float) -> int | None:
    """Return after how many values, each 0 or more, the mean of all `n` is surely above `limit`.

    With s seen so far in t values, the rest may average (n limit - s) / (n - t) at most under the hypothesis. A stake
    f wins f (value / that - 1), at worst -f. At every step the wealth is averaged over the stakes.
    """
    rest = n * limit
    wealth = [1.0] * len(BETS)
    slack = ROUNDING * max(1.0, abs(rest))
    for t, value in enumerate(values):
        fair = rest / (n - t)
        if fair > slack:
            # Beyond this the product passes any level; held down so that it stays a number.
            gain = min(value / fair - 1.0, 1e30)
            wealth = [min(w * (1.0 + bet * gain), 1e30) for w, bet in zip(wealth, BETS, strict=True)]
        rest -= value
        if rest < -slack or sum(wealth) / len(BETS) >= 1.0 / alpha:
            return t + 1
    return None


@dataclass(frozen=True)
class Race:
    """What a trial has to keep up with, and what is said of it after each block."""

    budget: Budget
    n_problems: int
    """Of the whole search split."""
    incumbent: Trial | None = None
    """The best trial known before the round; `None`: only the budget can end the race."""
    alpha: float = ALPHA

    def stopped_because(self, rollouts: Sequence[Rollout]) -> str:
        """Return why a trial need not go on, empty where it must.

        A problem that failed counts as the best it could have been: solved, at a cost of exactly the budget; one that
        failed for the incumbent counts 0 for the incumbent. So failures never end a race.

        Args:
            rollouts: Of the problems seen so far, in the order of the race.
        """
        if self.incumbent is not None and self._below(self.incumbent, rollouts):
            return f"surely below trial {self.incumbent.number}"
        return "surely over the budget" if self._over(rollouts) else ""

    def _below(self, incumbent: Trial, rollouts: Sequence[Rollout]) -> bool:
        scores = [1.0 if r.failure is not None or r.score is None else r.score for r in rollouts]
        n_left = self.n_problems - len(rollouts)
        if math.fsum(scores) + n_left < math.fsum(incumbent.scores.values()) - ROUNDING:
            return True  # not even by solving all the rest
        differences = [
            score - incumbent.scores.get(rollout.problem_id, 0.0)
            for score, rollout in zip(scores, rollouts, strict=True)
        ]
        return surely_below(differences, self.n_problems, alpha=SCORE_SHARE * self.alpha)

    def _over(self, rollouts: Sequence[Rollout]) -> bool:
        unit = self.budget.unit
        stages = sorted({stage for rollout in rollouts for stage in rollout.costs})
        # In the unit `paper` a stage of few tokens costs less than nothing: count from the least there is.
        floor = sum(min(0.0, amount(Cost(), unit)) for _ in stages)
        costs = [
            self.budget.amount
            if rollout.failure is not None
            else sum(amount(rollout.costs.get(stage, Cost()), unit) for stage in stages)
            for rollout in rollouts
        ]
        limit = self.budget.amount - floor
        over = [max(0.0, cost - floor) for cost in costs]
        return surely_over(over, limit, self.n_problems, alpha=(1 - SCORE_SHARE) * self.alpha)

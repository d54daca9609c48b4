"""The score of n samples from N draws: what selecting among n of them in random order scores on average.

A trial of n samples sees one set of n draws. Where earlier trials have left N > n draws of the same prompt, the mean
over all sets of n is an unbiased estimate of the same thing with less noise, and costs nothing. Pure: answers and
scores in, a number out. It reproduces the selectors of `agenttts.pipeline.selectors`, ties included: a tie goes to the
answer drawn first, which in random order is each of those tied with equal chance.

- `first`, `majority`, `best_of_n`: exact.
- `weighted_vote`: `N_SETS` random sets, the seed given by the caller.
- `list_vote` and fusion make answers that no draw has, so there is nothing to average: no estimate.

Which trials' draws may be used is said by `held_draws`: a function of the archive at the beginning of a round, never
of what the store happens to hold, so the same seed gives the same scores.

Source: Chen et al. 2021, arXiv:2107.03374, for the mean over all sets of n in the case of pass@n; here for selectors.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from agenttts.budgets.run_shares import binomial
from agenttts.pipeline.base import Allocation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agenttts.pipeline.base import StageChoice
    from agenttts.study.archive import Trial

__all__ = ["ESTIMABLE", "N_SETS", "expected_score", "held_draws"]

ESTIMABLE = frozenset({"best_of_n", "first", "majority", "weighted_vote"})
"""Kinds of selectors that pick one of the draws."""
N_SETS = 1000
"""Random sets for `weighted_vote`; the error of one problem's score is 0.016 at most (one standard deviation)."""
ROUNDING = 1e-9
DIGITS = 12
"""Decimals kept of an average; what lies beyond is rounding."""

_Class = tuple[int, float]
"""Draws that share an answer: how many, and their mean value."""


def expected_score(
    kind: str,
    n: int,
    votes: Sequence[Hashable | None],
    values: Sequence[float],
    scores: Sequence[float | None] = (),
    *,
    seed: int = 0,
) -> float:
    """Return the expected value of what a selector selects from `n` of the draws in random order.

    Args:
        kind: Kind of the selector, one of `ESTIMABLE`.
        n: Samples to select from.
        votes: What each draw votes for; draws with equal answers are equal here; `None` could not be parsed. Shape (N,).
        values: Score of each draw against gold. Shape (N,).
        scores: What the verifier gave each draw, `None` is unscored. Shape (N,), or empty where there is no verifier.
        seed: For `weighted_vote`.

    Raises:
        ValueError: `n` is not within 1 to N, or the kind cannot be estimated.
    """
    if not 1 <= n <= len(votes) == len(values):
        raise ValueError(f"expected 1 to {len(votes)} samples of as many values, got {n} of {len(values)}")
    average = _expected(kind, n, votes, values, scores, seed)
    # A certain 1 is a 1: scores have a range, and differences of 0 and 1 have an interval of their own.
    return min(max(values), max(min(values), round(average, DIGITS)))


def _expected(
    kind: str,
    n: int,
    votes: Sequence[Hashable | None],
    values: Sequence[float],
    scores: Sequence[float | None],
    seed: int,
) -> float:
    if kind == "first" or n == 1:
        return _expected_first(n, votes, values)
    if kind == "majority":
        return _expected_majority(n, votes, values)
    given = [scores[i] if i < len(scores) and votes[i] is not None else None for i in range(len(votes))]
    if kind == "best_of_n":
        return _expected_best(n, votes, values, given)
    if kind == "weighted_vote":
        return _expected_weighted(n, votes, values, given, seed)
    raise ValueError(f"no estimate for {kind}: expected one of {', '.join(sorted(ESTIMABLE))}")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _chance_none(n: int, n_chosen: int, n_draws: int) -> float:
    """Return the chance that `n` of the draws hold none of `n_chosen` of them."""
    return math.comb(n_draws - n_chosen, n) / math.comb(n_draws, n)


def _expected_first(n: int, votes: Sequence[Hashable | None], values: Sequence[float]) -> float:
    parsed = [value for vote, value in zip(votes, values, strict=True) if vote is not None]
    rest = [value for vote, value in zip(votes, values, strict=True) if vote is None]
    nothing = _chance_none(n, len(parsed), len(votes))
    return (1 - nothing) * _mean(parsed) + nothing * _mean(rest)


def _expected_majority(n: int, votes: Sequence[Hashable | None], values: Sequence[float]) -> float:
    members: dict[Hashable | None, list[float]] = {}
    for vote, value in zip(votes, values, strict=True):
        members.setdefault(vote, []).append(value)
    unparsed = members.pop(None, [])
    # Which member of the winning answer was drawn first is by chance: its value is the mean of all members.
    classes = tuple(sorted((len(member), _mean(member)) for member in members.values()))
    nothing = _chance_none(n, len(votes) - len(unparsed), len(votes))
    return _vote_value(n, classes, len(unparsed)) + nothing * _mean(unparsed)


@lru_cache(maxsize=1 << 14)
def _vote_value(n: int, classes: tuple[_Class, ...], n_unparsed: int) -> float:
    """Return the expected value of the vote, counting 0 where nothing was parsed.

    Over every largest count k and the ways in which the answers can have k votes or fewer: a table by samples used and
    by answers that have exactly k holds the chance, and the chance times the sum of values of those answers. Counts
    are taken as binomial at rate n / N; given that they add up to n this is drawing without replacement.
    """
    n_draws = n_unparsed + sum(size for size, _ in classes)
    if n_draws == n:  # every set is the whole
        most = max((size for size, _ in classes), default=0)
        return _mean([value for size, value in classes if size == most])
    rate = n / n_draws
    total = 0.0
    for k in range(1, min(n, max((size for size, _ in classes), default=0)) + 1):
        tied = _tied(n, k, classes, n_unparsed, rate)
        total += sum(float(tied[1, t]) / t for t in range(1, tied.shape[1]))
    return total / binomial(n_draws, n, rate)


def _tied(n: int, k: int, classes: Sequence[_Class], n_unparsed: int, rate: float) -> NDArray[np.float64]:
    """Return (chance, chance x sum of values) by number of answers with exactly k votes, n samples used, none above."""
    import numpy as np

    n_tied = min(n // k, len(classes))
    table = np.zeros((2, n_tied + 1, n + 1))
    for used in range(min(n, n_unparsed) + 1):
        table[0, 0, used] = binomial(n_unparsed, used, rate)
    for size, value in classes:
        after = np.zeros_like(table)
        for x in range(min(k - 1, size) + 1):
            after[:, :, x:] += binomial(size, x, rate) * table[:, :, : n + 1 - x]
        if size >= k:
            chance = binomial(size, k, rate)
            after[0, 1:, k:] += chance * table[0, :-1, : n + 1 - k]
            after[1, 1:, k:] += chance * (table[1, :-1, : n + 1 - k] + value * table[0, :-1, : n + 1 - k])
        table = after
    return table[:, :, n]


def _expected_best(
    n: int, votes: Sequence[Hashable | None], values: Sequence[float], scores: Sequence[float | None]
) -> float:
    by_score: dict[float, list[float]] = {}
    for value, score in zip(values, scores, strict=True):
        if score is not None:
            by_score.setdefault(score, []).append(value)
    total, n_above, above = 0.0, 0, 1.0
    for score in sorted(by_score, reverse=True):
        n_above += len(by_score[score])
        not_above, above = above, _chance_none(n, n_above, len(votes))
        total += (not_above - above) * _mean(by_score[score])
    if above > 0:  # no scored draw among them: the majority of the others decides
        others = [i for i, score in enumerate(scores) if score is None]
        total += above * _expected_majority(n, [votes[i] for i in others], [values[i] for i in others])
    return total


def _expected_weighted(
    n: int,
    votes: Sequence[Hashable | None],
    values: Sequence[float],
    scores: Sequence[float | None],
    seed: int,
) -> float:
    import numpy as np

    n_draws = len(votes)
    rng = np.random.default_rng(np.random.SeedSequence([seed, n_draws, n]))
    order = np.argsort(rng.random((N_SETS, n_draws)), axis=1)[:, :n]
    names = {vote: i for i, vote in enumerate(dict.fromkeys(vote for vote in votes if vote is not None))}
    answer = np.array([-1 if vote is None else names[vote] for vote in votes])[order]
    weight = np.array([np.nan if score is None else score for score in scores], dtype=float)[order]
    # Where none is scored the majority decides: every sample that was parsed has the same weight.
    unscored = np.isnan(weight).all(axis=1)
    weight[unscored] = np.where(answer[unscored] >= 0, 1.0, np.nan)
    best = np.full(N_SETS, -np.inf)
    first = np.zeros(N_SETS, dtype=int)  # nothing parsed: the first drawn
    place = np.full(N_SETS, n)
    for name in range(len(names)):
        mine = (answer == name) & ~np.isnan(weight)
        held = mine.any(axis=1)
        total = np.where(mine, weight, 0.0).sum(axis=1)
        where = mine.argmax(axis=1)
        tie = (np.abs(total - best) <= ROUNDING) & (where < place)
        wins = held & ((total > best + ROUNDING) | tie)
        best, place, first = (
            np.where(wins, total, best),
            np.where(wins, where, place),
            np.where(wins, where, first),
        )
    return float(np.asarray(values, dtype=float)[order[np.arange(N_SETS), first]].mean())


def held_draws(
    known: Sequence[Trial], choice: StageChoice, *, same_label: bool
) -> Mapping[str, Mapping[str, int]]:
    """Return how many draws trials have left of what one stage was asked, by problem id and digest of the prompt.

    Only where there are more than the choice draws itself. The prompt is the same whenever the stages before gave the
    same answer, by whatever models and samples; a stage that builds on no other has one prompt, of digest "".

    Args:
        known: Trials that ended before the round began.
        choice: What the stage gets in the allocation that is evaluated.
        same_label: Whether only trials with the same way to select count: those that had a verifier score their draws.
    """
    wanted = Allocation((choice,)).canonical().choices[0]
    result: dict[str, dict[str, int]] = {}
    for trial in known:
        other = trial.allocation.canonical()[choice.stage]
        asked_otherwise = other.model != wanted.model or (same_label and other.select != wanted.select)
        if asked_otherwise or other.n_samples <= wanted.n_samples:
            continue
        digests = trial.prompts.get(choice.stage, {})
        for problem_id in trial.scores:
            by_prompt = result.setdefault(problem_id, {})
            digest = digests.get(problem_id, "")
            by_prompt[digest] = max(by_prompt.get(digest, 0), other.n_samples)
    return result

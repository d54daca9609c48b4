"""What one more sample is worth."""

from __future__ import annotations

import random

import pytest
from scipy.stats import beta, betabinom

from agenttts.pipeline.gains import score_gain, vote_gain


def rise_by_hand(lead: int, second: int, n: int) -> float:
    """The expected rise of the leader's chance to be right, summed over all ways in which `n` votes may fall."""
    now = beta(second + 1, lead + 1).cdf(0.5)
    after = 0.0
    for j in range(n + 1):
        chance = beta(second + j + 1, lead + n - j + 1).cdf(0.5)
        after += betabinom(n, second + 1, lead + 1).pmf(j) * max(chance, 1 - chance)
    return float(after - now)


@pytest.mark.parametrize("votes", [(1, 1), (2, 1), (3, 3), (5, 2), (4, 0)])
def test_a_vote_gains_what_its_posterior_foresees(votes: tuple[int, int]) -> None:
    lead, second = votes
    n_drawn = lead + second
    gain = vote_gain(votes, n_drawn)
    by_hand = max(
        (rise_by_hand(lead, second, n) / n, -n) for n in range(lead - second + 1, lead - second + 13)
    )
    assert gain.per_sample == pytest.approx(by_hand[0], abs=1e-12)
    assert gain.n == -by_hand[1]


def test_a_tie_gains_most_and_a_settled_vote_next_to_nothing() -> None:
    tied, leading, settled = (vote_gain(votes, sum(votes)) for votes in ((3, 3), (4, 2), (6, 0)))
    assert tied.per_sample > leading.per_sample > settled.per_sample
    assert settled.per_sample < 0.01 * tied.per_sample


def test_answers_that_all_differ_are_given_up_on_sooner_than_two_that_compete() -> None:
    assert vote_gain([1] * 8, 8).per_sample < vote_gain([4, 4], 8).per_sample


def test_nothing_parsed_is_no_division_by_nothing() -> None:
    assert vote_gain([], 4).n >= 1
    assert 0 <= vote_gain([], 4).per_sample < vote_gain([2, 2], 4).per_sample


def test_one_more_score_gains_what_drawing_it_would_on_average() -> None:
    rng = random.Random(1)
    scores = [0.3, None, 0.6]
    best, rises = 0.6, []
    for _ in range(200_000):
        drawn = rng.random() if rng.random() < 1 / 3 else rng.choice([0.3, 0.6])
        rises.append(max(0.0, drawn - best))
    assert score_gain(scores).per_sample == pytest.approx(sum(rises) / len(rises), rel=0.02)
    assert score_gain([1.0]).per_sample == 0

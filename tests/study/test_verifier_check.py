"""What labelled draws say of a verifier, against counts by hand and by brute force."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest

from agenttts.study.verifier_check import (
    Labelled,
    auroc,
    check_draws,
    oracle_score,
    powers_of_two,
    reliability,
)

Pairs = list[list[tuple[float, bool]]]


def brute_force(pairs: Pairs, *, within: bool) -> float | None:
    """Count every pair of a right and a wrong sample."""
    samples = [(row, score, right) for row, of_problem in enumerate(pairs) for score, right in of_problem]
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for i, a, a_right in samples
        for j, b, b_right in samples
        if a_right and not b_right and (i == j or not within)
    ]
    return sum(won) / len(won) if won else None


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_area_is_the_share_of_pairs_that_the_right_sample_wins(seed: int, within: bool):
    rng = random.Random(seed)
    pairs = [
        [(rng.choice([0.1, 0.2, 0.5, 0.9]), rng.random() < 0.4) for _ in range(rng.randint(0, 6))]
        for _ in range(12)
    ]
    found, expected = auroc(pairs, within=within), brute_force(pairs, within=within)
    assert found is not None
    assert found.mean == pytest.approx(expected, abs=1e-12)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_a_verifier_that_knows_only_which_problems_are_easy_ranks_nothing_within_one():
    pairs: Pairs = [[(0.9, True), (0.9, True), (0.9, False)], [(0.1, True), (0.1, False), (0.1, False)]]
    # 2 right of the first beat 2 wrong of the second (4), ties: 2 + 2 halves of 9 pairs, the second's right loses 1
    overall, within = auroc(pairs), auroc(pairs, within=True)
    assert overall is not None
    assert within is not None
    assert overall.mean == pytest.approx((4 + 0.5 * 4) / 9)
    assert within.mean == 0.5


def test_without_right_and_wrong_samples_nothing_is_ranked():
    assert auroc([[(0.5, True)], [(0.2, True)]]) is None
    assert auroc([[(0.5, True)], [(0.2, False)]], within=True) is None


def test_an_area_without_spread_is_not_told_as_certain():
    found = auroc([[(0.9, True), (0.1, False)]] * 5)
    assert found is not None
    assert found.mean == 1
    assert found.low == pytest.approx(5 / (5 + 1.959964**2))  # Wilson's bound of 5 of 5
    assert "Wilson" in found.method


def test_bins_tell_the_share_of_right_samples():
    pairs: Pairs = [[(0.05, False), (0.95, True), (1.0, True)], [(0.0, True), (0.9, False), (0.1, False)]]
    low, second, high = reliability(pairs)
    assert (low.low, low.high, low.n, low.n_problems) == (0, 0.1, 2, 2)
    assert low.score == pytest.approx(0.025)
    assert low.right.mean == 0.5
    assert (second.low, second.n, second.right.mean) == (0.1, 1, 0)
    assert (high.n, high.right.mean, high.high) == (3, pytest.approx(2 / 3), 1)
    assert high.score == pytest.approx((0.95 + 1 + 0.9) / 3)


def draws() -> list[Labelled]:
    """Two problems: in the first the vote is wrong and the verifier right, in the second the other way round."""
    return [
        Labelled("a", ("x", "y", "y", None), (1.0, 0.0, 0.0, 0.0), (0.8, 0.4, 0.2, None)),
        Labelled("b", ("z", "z", "w", "z"), (1.0, 1.0, 0.0, 1.0), (0.6, 0.4, 1.0, 0.4)),
    ]


def test_a_check_by_hand():
    check = check_draws(draws())
    assert (check.n_problems, check.n_samples, check.n_scored, check.n_unparsed) == (2, 4, 7, 1)
    assert check.right.mean == 0.5
    # right 0.8, 0.6, 0.4, 0.4 against wrong 0.4, 0.2, 1.0: 2 + 2 + 1.5 + 1.5 of 12
    assert check.auroc is not None
    assert check.auroc.mean == pytest.approx(7 / 12)
    # of one problem: 0.8 beats two; 0.6, 0.4 and 0.4 lose to 1.0
    assert check.auroc_within is not None
    assert check.auroc_within.mean == pytest.approx(2 / 5)
    squares = [0.2**2, 0.4**2, 0.2**2, 0.4**2, 0.6**2, 1.0, 0.6**2]
    assert check.brier is not None
    assert check.brier.mean == pytest.approx(sum(squares) / 7)
    assert check.brier_constant == pytest.approx(4 / 7 * 3 / 7)
    # bins: 0.2 (wrong), three of 0.4 (two right), 0.6 (right), 0.8 (right), 1.0 (wrong)
    assert check.ece == pytest.approx((0.2 + 3 * (2 / 3 - 0.4) + 0.4 + 0.2 + 1.0) / 7)


def test_selecting_is_averaged_over_all_sets_of_draws():
    one, two, four = check_draws(draws()).selected
    assert (one.n, two.n, four.n) == (1, 2, 4)
    assert one.verifier.mean == one.majority.mean == one.oracle.mean == 0.5
    assert four.verifier.mean == 0.5  # right on the first, wrong on the second
    assert four.majority.mean == 0.5
    assert four.oracle.mean == 1.0
    assert four.below_oracle.mean == 0.5
    assert four.over_majority.mean == 0.0
    # Of two: a right where the first draw is there (3 of 6 sets), b wrong where the third is (3 of 6)
    assert two.verifier.mean == pytest.approx((3 / 6 + 3 / 6) / 2)
    assert two.oracle.mean == pytest.approx((3 / 6 + 6 / 6) / 2)


@pytest.mark.parametrize(("n_right", "n"), [(0, 3), (1, 1), (1, 4), (3, 4), (7, 8), (8, 8)])
def test_the_oracle_is_pass_at_n(n_right: int, n: int):
    values = [1.0] * n_right + [0.0] * (8 - n_right)
    sets = list(combinations(values, n))
    assert oracle_score(values, n) == pytest.approx(sum(map(max, sets)) / len(sets))
    assert oracle_score(values, n) == pytest.approx(1 - math.comb(8 - n_right, n) / math.comb(8, n))


def test_numbers_of_samples_double_up_to_all():
    assert powers_of_two(1) == (1,)
    assert powers_of_two(8) == (1, 2, 4, 8)
    assert powers_of_two(12) == (1, 2, 4, 8, 12)


def test_a_verifier_that_scores_nothing_leaves_the_vote():
    silent = [Labelled(d.problem_id, d.votes, d.values, (None,) * 4) for d in draws()]
    check = check_draws(silent)
    assert check.auroc is check.auroc_within is check.ece is check.brier is check.brier_constant is None
    assert check.bins == ()
    assert check.selected[-1].over_majority.mean == 0
    assert check.to_json()["auroc"] is None


def test_draws_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match=r"one number for every problem, got \[1, 4\]"):
        check_draws([*draws(), Labelled("c", ("x",), (1.0,), (0.5,))])


def test_the_same_draws_give_the_same_figures():
    assert check_draws(draws()) == check_draws(draws())

"""Stopping early: the rules against brute force and scipy, and what is drawn when."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.pipeline.selectors import Majority
from agenttts.pipeline.strategies.adaptive import (
    adaptive_best,
    adaptive_vote,
    expected_gain,
    good_enough,
    more_votes,
    sure_to_lead,
)
from tests.pipeline.strategies.hand import NUMBERS, Verifying, asking, play, writing


@pytest.mark.parametrize(("lead", "second"), list(itertools.product(range(1, 12), range(6))))
def test_how_sure_a_leader_is_follows_the_beta_law(lead: int, second: int) -> None:
    from scipy.stats import beta

    chance = float(beta.sf(0.5, lead + 1, second + 1))
    for confidence in (0.3, 0.5, 0.8, 0.95, 0.999):
        if abs(chance - confidence) > 1e-9:
            assert sure_to_lead(lead, second, confidence) == (chance >= confidence)


def test_nobody_leads_without_a_vote() -> None:
    assert not sure_to_lead(0, 0, 0.0)


def decided(votes: tuple[int, ...], left: int, confidence: float) -> bool:
    """Whether the rule stops after these votes, said anew and slowly."""
    counts = sorted(Counter(vote for vote in votes if vote >= 0).values(), reverse=True)
    lead, second = (*counts, 0, 0)[:2]
    return left == 0 or lead - second > left or sure_to_lead(lead, second, confidence)


@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.95])
def test_the_next_round_is_the_fewest_samples_after_which_the_vote_may_be_decided(confidence: float) -> None:
    n_most = 6
    for n_drawn in range(n_most + 1):
        for votes in itertools.product((-1, 0, 1, 2), repeat=n_drawn):
            counts = list(Counter(vote for vote in votes if vote >= 0).values())
            more = more_votes(counts, n_drawn, n_most, confidence)
            shortest = next(
                k
                for k in range(n_most - n_drawn + 1)
                if any(
                    decided((*votes, *rest), n_most - n_drawn - k, confidence)
                    for rest in itertools.product((-1, 0, 1, 2, 3), repeat=min(k, 2))
                    for rest in [(*rest, *rest[-1:] * (k - 2))]
                )
            )
            assert more == shortest, (votes, more, shortest)


@settings(deadline=None)
@given(
    votes=st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=14),
    confidence=st.sampled_from([0.5, 0.7, 0.9, 0.95, 1.0]),
)
def test_a_vote_draws_no_sample_that_a_stop_would_have_spared(
    votes: list[str | None], confidence: float
) -> None:
    texts = [vote or "none" for vote in votes]
    played = play(adaptive_vote(asking(len(votes)), NUMBERS, confidence), writing(*texts))
    n = len(played.output.answers)
    codes = tuple(-1 if vote is None else int(vote) for vote in votes)
    # It stops at the first number of samples at which the rule stops, as if it had drawn them one by one.
    assert n == next(k for k in range(1, len(votes) + 1) if decided(codes[:k], len(votes) - k, confidence))
    assert played.output.answer == Majority().select(votes[:n]).answer
    assert [draw.first for draw in played.draws] == list(
        itertools.accumulate([0, *(draw.n for draw in played.draws[:-1])])
    )
    assert sum(draw.n for draw in played.draws) == n


@settings(deadline=None)
@given(votes=st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=14))
def test_where_only_the_rest_decides_the_answer_is_that_of_the_full_vote(votes: list[str | None]) -> None:
    # No posterior is this sure, so that it stops only where the rest cannot change the vote.
    texts = [vote or "none" for vote in votes]
    played = play(adaptive_vote(asking(len(votes)), NUMBERS, 1.0), writing(*texts))
    full = Majority().select(votes)
    assert (played.output.answer, played.output.selected) == (full.answer, full.index)


def test_agreement_ends_a_vote_early_and_says_so() -> None:
    played = play(adaptive_vote(asking(16), NUMBERS, 0.95), writing(*["42"] * 16))
    assert played.plan == [("draw", 0, 4)]  # 1 - 2**-5 is the first above 0.95
    assert played.output.notes == ("stopped after 4 of 16 samples",)
    assert (played.output.answer, played.output.selected) == ("42", 0)


def test_disagreement_is_drawn_to_the_end_and_nothing_is_said() -> None:
    played = play(adaptive_vote(asking(4), NUMBERS, 0.95), writing("1", "2", "3", "4"))
    assert sum(draw.n for draw in played.draws) == 4
    assert (played.output.answer, played.output.notes) == ("1", ())


def test_samples_without_an_answer_count_as_drawn_and_vote_for_nobody() -> None:
    played = play(adaptive_vote(asking(5), NUMBERS, 0.95), writing(*["none"] * 5))
    assert sum(draw.n for draw in played.draws) == 5
    assert played.output.answer is None


def test_two_samples_are_always_both_drawn_at_usual_confidence() -> None:
    assert play(adaptive_vote(asking(2), NUMBERS, 0.95), writing("1", "2")).plan == [("draw", 0, 2)]
    assert play(adaptive_vote(asking(1), NUMBERS, 0.95), writing("1")).plan == [("draw", 0, 1)]


def scored(*values: float | None) -> Verifying:
    left = iter(values)
    return Verifying(lambda candidate: next(left))


def test_a_good_score_ends_the_drawing() -> None:
    verifier = scored(0.3, 0.9, 1.0)
    played = play(
        adaptive_best(asking(5), NUMBERS, verifier, threshold=0.9, least_gain=0.0), writing(*"12345")
    )
    assert played.plan == [("draw", 0, 1), ("draw", 1, 1)]
    assert played.batches == [["1"], ["2"]]
    assert (played.output.answer, played.output.verifier_scores) == ("2", (0.3, 0.9))
    assert played.output.notes == ("stopped after 2 of 5 samples",)


def test_the_best_is_taken_where_none_is_good_enough() -> None:
    verifier = scored(0.3, 0.5, 0.5)
    played = play(adaptive_best(asking(3), NUMBERS, verifier, threshold=0.9, least_gain=0.0), writing(*"123"))
    assert (played.output.answer, played.output.selected, played.output.notes) == ("2", 1, ())


def test_samples_without_answer_or_score_end_nothing() -> None:
    played = play(
        adaptive_best(asking(3), NUMBERS, scored(None, 0.95), threshold=0.9, least_gain=0.0),
        writing("none", "2", "3"),
    )
    assert played.batches == [["2"], ["3"]]
    assert played.output.verifier_scores == (None, None, 0.95)
    nothing = play(
        adaptive_best(asking(2), NUMBERS, scored(), threshold=0.0, least_gain=0.0), writing("a", "b")
    )
    assert nothing.output.answer is None


def test_unscored_samples_leave_the_majority() -> None:
    verifier = Verifying()
    played = play(
        adaptive_best(asking(3), NUMBERS, verifier, threshold=0.9, least_gain=0.0), writing("1", "2", "2")
    )
    assert played.output.answer == "2"
    assert "no sample was scored: majority vote" in played.output.notes


def test_drawing_ends_where_another_sample_is_hardly_worth_it() -> None:
    # (1 - 0.6)^2 / 2 / (1 + k) is 0.04 after one sample, 0.027 after two.
    played = play(
        adaptive_best(asking(9), NUMBERS, scored(0.6, 0.5, 0.5), threshold=1.0, least_gain=0.03),
        writing(*"123"),
    )
    assert len(played.draws) == 2


def test_the_expected_gain_is_that_of_a_uniform_score_with_the_chance_of_a_new_one() -> None:
    grid = [(i + 0.5) / 10_000 for i in range(10_000)]
    for scores in ([], [0.2], [0.2, 0.7], [0.7, None, 0.2], [1.0]):
        known = [score for score in scores if score is not None]
        best = max(known, default=0.0)
        uniform = sum(max(0.0, score - best) for score in grid) / len(grid)
        assert expected_gain(scores) == pytest.approx(uniform / (len(known) + 1), abs=1e-6)


def test_before_the_first_score_nothing_is_good_enough() -> None:
    assert not good_enough([], 0.0, 1.0)
    assert not good_enough([None], 0.5, 0.0)

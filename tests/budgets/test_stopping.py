"""How soon an adaptive vote is expected to stop, against running it on every order of the votes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import fmean

import pytest

from agenttts.budgets.stopping import expected_stop
from agenttts.pipeline.strategies.adaptive import adaptive_vote
from tests.pipeline.strategies.hand import NUMBERS, asking, play, writing


def run(codes: Sequence[int], confidence: float) -> tuple[int, int]:
    """Return samples and requests of the strategy itself on votes in this order."""
    texts = [str(code) if code >= 0 else "none" for code in codes]
    played = play(adaptive_vote(asking(len(codes)), NUMBERS, confidence), writing(*texts))
    return sum(draw.n for draw in played.draws), len(played.draws)


@pytest.mark.parametrize("confidence", [0.7, 0.9, 0.95])
@pytest.mark.parametrize("votes", [(0, 0, 0, 0, 0, 0), (0, 1, 2, 3, 4, 5), (-1,) * 6])
def test_votes_that_are_alike_in_every_order_are_counted_exactly(
    votes: tuple[int, ...], confidence: float
) -> None:
    assert expected_stop([votes], 6, confidence) == run(votes, confidence)


def test_mixed_votes_are_near_the_mean_over_all_orders() -> None:
    votes = (0, 0, 0, 1, 1, -1)
    runs = [run(order, 0.8) for order in itertools.permutations(votes)]
    n_drawn, n_requests = expected_stop([votes] * 60, 6, 0.8)
    assert n_drawn == pytest.approx(fmean(n for n, _ in runs), rel=0.05)
    assert n_requests == pytest.approx(fmean(n for _, n in runs), rel=0.05)


def test_problems_are_averaged() -> None:
    sure, split = (0,) * 6, (0, 1, 2, 3, 4, 5)
    both = expected_stop([sure, split], 6, 0.95)
    assert both == tuple(map(fmean, zip(run(sure, 0.95), run(split, 0.95), strict=True)))


def test_fewer_votes_than_samples_are_drawn_again() -> None:
    n_drawn, _ = expected_stop([(0, 0, 0, 0)], 16, 0.95)
    assert n_drawn == run([0] * 16, 0.95)[0] == 4


def test_never_more_than_allowed_nor_less_than_one() -> None:
    for n in (1, 2, 5):
        n_drawn, n_requests = expected_stop([(0, 1, 0, -1), (1, 1, 1, 1)], n, 0.9)
        assert 1 <= n_requests <= n_drawn <= n


def test_the_same_votes_give_the_same_figure() -> None:
    votes = [(0, 1, 0, 2), (1, 1, -1, 0)] * 9
    assert expected_stop(votes, 4, 0.8) == expected_stop(votes, 4, 0.8)


def test_many_problems_are_thinned_evenly() -> None:
    votes = [(0,) * 6] * 300 + [(0, 1, 2, 3, 4, 5)] * 300
    n_drawn, _ = expected_stop(votes, 6, 0.95)
    assert n_drawn == pytest.approx((4 + 6) / 2, abs=0.1)


def test_no_votes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        expected_stop([], 4, 0.9)

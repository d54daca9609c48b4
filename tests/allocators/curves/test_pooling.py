"""Votes of two stages together, against votes held by the package's own selector over simulated samples."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.allocators.curves.composition import stage_tables
from agenttts.allocators.curves.laws import NODES, ProblemLaws
from agenttts.allocators.curves.pooling import LEADS, lead_tables, turn_tables
from agenttts.allocators.curves.selectors import RIVALS, SelectorLaw
from agenttts.allocators.curves.stagefits import StageFit
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import StageChoice
from agenttts.pipeline.selectors import Majority

RIVAL = 1


def drawn(rng: np.random.Generator, n: int, p: float, share: float, first_other: int) -> list[int]:
    """Return answers: 0 is right, 1 the rival; every other wrong answer is one of its own."""
    kinds = rng.choice(3, size=n, p=[p, (1 - p) * share, (1 - p) * (1 - share)])
    return [int(kind) if kind < 2 else first_other + i for i, kind in enumerate(kinds)]


def cell(chance: float, share: float) -> tuple[float, float, int]:
    """Return the nearest node and share, and their place in a table."""
    node, theta = int(np.abs(NODES - chance).argmin()), int(np.abs(RIVALS - share).argmin())
    return float(NODES[node]), float(RIVALS[theta]), node * len(RIVALS) + theta


def test_one_sample_of_each_worked_by_hand():
    p, _, place = cell(0.8, 0.5)
    leads = dict(zip(LEADS, lead_tables(1, 1.01)[:, place], strict=True))
    # A wrong sample is a vote against: the lead is 1 or -1, never 0.
    assert leads[1.0] == pytest.approx(p)
    assert leads[-1.0] == pytest.approx(1 - p)
    turned = dict(zip(LEADS, turn_tables(1)[:, place], strict=True))
    # One vote against one is a tie, which goes to the answer drawn first.
    assert turned[1.0] == pytest.approx(1.0)
    assert turned[-1.0] == pytest.approx(0.0)


def test_leads_sum_to_the_chance_that_samples_disagree():
    _, _, place = cell(0.5, 0.98)
    assert lead_tables(4, 1.01)[:, place].sum() == pytest.approx(1.0)
    assert lead_tables(1, 1.0)[:, place].sum() == pytest.approx(0.0)
    # Of four samples, all right or (nearly always alike) all wrong are agreed upon.
    p, share, _ = cell(0.5, 0.98)
    agreed = p**4 + ((1 - p) * share) ** 4
    assert lead_tables(4, 1.0)[:, place].sum() == pytest.approx(1 - agreed)


@pytest.mark.parametrize(("n_first", "n_second"), [(1, 1), (1, 4), (4, 1), (4, 8), (8, 16)])
@pytest.mark.parametrize("threshold", [0.7, 1.01])
@pytest.mark.parametrize("chances", [(0.7, 0.2), (0.3, 0.6), (0.1, 0.8)])
def test_pooled_votes_are_right_as_often_as_predicted(
    n_first: int, n_second: int, threshold: float, chances: tuple[float, float]
):
    p1, share, at1 = cell(chances[0], 0.6)
    p2, _, at2 = cell(chances[1], 0.6)
    predicted = float(lead_tables(n_first, threshold)[:, at1] @ turn_tables(n_second)[:, at2])
    rng = np.random.default_rng([n_first, n_second, int(100 * threshold)])
    n_runs, right = 3000, 0
    for _ in range(n_runs):
        first = drawn(rng, n_first, p1, share, 10)
        winner = Majority().select(first, ()).answer
        if first.count(int(winner)) / n_first < threshold:
            pool = [*first, *drawn(rng, n_second, p2, share, 100)]
            right += Majority().select(pool, ()).answer == 0
    # The law shares leads out over those it tells apart, and takes a lone wrong answer for the second stage's rival.
    assert right / n_runs == pytest.approx(predicted, abs=0.08)


def test_tables_of_a_stage_use_the_rivals_share_that_was_fitted():
    choices = (StageChoice("a", "m", 1, "first"), StageChoice("a", "m", 4, "majority"))
    space = Space((choices,), ((1.0, 4.0),), Budget(9.0, Unit.TOKENS))
    theta = 9
    laws = ProblemLaws(np.eye(len(NODES))[5], np.eye(len(NODES))[[5, 8]], np.ones(2, dtype=bool))
    selector = SelectorLaw(np.eye(len(RIVALS))[theta], np.eye(len(RIVALS))[[theta, theta]])
    fit = StageFit("a", {"m": (laws, laws)}, {("m", "majority"): selector}, frozenset({"m"}))
    tables = stage_tables(space, 0, fit, frozenset({0.7}), None, led=(1,), pooled=(1,))
    assert tables.turned is not None
    for place, n in enumerate((1, 4)):
        for problem, node in enumerate((5, 8)):
            at = node * len(RIVALS) + theta
            assert tables.leads[0.7][1][place, problem] == pytest.approx(lead_tables(n, 0.7)[:, at], abs=1e-6)
            assert tables.turned[1][place, problem] == pytest.approx(turn_tables(n)[:, at], abs=1e-6)

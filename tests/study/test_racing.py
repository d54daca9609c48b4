"""A race ends early where the outcome is sure, and seldom where it should not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, Failure, Rollout, StageChoice
from agenttts.study.archive import Trial
from agenttts.study.racing import Race, blocks, n_until_decided, surely_below, surely_over

N_RACES = 1000
ALLOCATION = Allocation((StageChoice("solve", "m", 1, "first"),))


# --- the order


def test_all_trials_take_the_same_blocks_of_the_same_order():
    problems = [f"p{i}" for i in range(205)]
    taken = blocks(problems, seed=3)
    assert taken == blocks(problems, seed=3)
    assert taken != blocks(problems, seed=4)
    assert [len(block) for block in taken] == [21] * 9 + [16]
    assert sorted(name for block in taken for name in block) == sorted(problems)
    assert taken[0] != tuple(problems[:21])


def test_a_block_has_ten_problems_at_least():
    assert [len(block) for block in blocks(range(34), seed=0)] == [10, 10, 10, 4]


# --- surely below


def reference(differences: list[float], n: int) -> float:
    """Return the largest wealth, from the definition: bets on m - d, where m is what the rest must average."""
    best = 0.0
    for t in range(1, len(differences) + 1):
        wealth = []
        for bet in (0.1, 0.25, 0.5, 0.75, 0.9):
            product = 1.0
            for i, d in enumerate(differences[:t]):
                m = -sum(differences[:i]) / (n - i)
                product *= 1 + bet * (m - d) / (1 - m)
            wealth.append(product)
        best = max(best, sum(wealth) / len(wealth))
    return best


def test_the_wealth_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        differences = [float(d) for d in rng.choice([-1.0, -0.5, 0.0, 1.0], size=12)]
        wealth = reference(differences, 40)
        assert surely_below(differences, 40, alpha=1.001 / wealth)
        assert not surely_below(differences, 40, alpha=0.999 / wealth)


def test_a_race_that_cannot_be_won_any_more_ends_at_any_level():
    assert surely_below([-1.0] * 6, 11, alpha=1e-300)
    assert not surely_below([-1.0] * 5, 10, alpha=1e-300), "five wins would make it a tie"


def test_a_tie_over_all_problems_is_never_below_for_sure():
    """Exact: over all orders of a tie, the share of races that were stopped is at most alpha."""
    orders = set(permutations([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 0.0, 0.0]))
    for alpha in (0.05, 0.2, 0.5):
        stopped = sum(surely_below(order, 8, alpha=alpha) for order in orders)
        assert stopped / len(orders) <= alpha
    assert stopped > 0, "at level 0.5 some are stopped, so the bound means something"


def binary(n: int, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Paired 0/1 scores of equal mean that differ on a share of the problems."""
    half = round(n * share / 2)
    return rng.permutation(np.r_[np.ones(half), -np.ones(half), np.zeros(n - 2 * half)])


def skewed(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Seldom much better, mostly a little worse, 0 on average."""
    good = n // 10
    return rng.permutation(np.r_[np.full(good, 0.9), np.full(n - good, -0.9 * good / (n - good))])


def fractional(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    d = rng.uniform(-0.4, 0.4, n)
    return np.clip(d - d.mean(), -1, 1)


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize(
    "make",
    [
        lambda n, rng: binary(n, 0.1, rng),
        lambda n, rng: binary(n, 0.4, rng),
        lambda n, rng: binary(n, 0.9, rng),
        skewed,
        fractional,
    ],
)
def test_an_equal_is_stopped_no_more_often_than_the_level_says(make, n):
    rng = np.random.default_rng(n)
    stopped = sum(surely_below(make(n, rng), n, alpha=0.05) for _ in range(N_RACES))
    assert stopped / N_RACES <= 0.05


def test_a_clear_gap_is_seen_well_before_half_of_the_problems():
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(200):
        differences = rng.choice([1.0, -1.0, 0.0], size=200, p=[0.1, 0.3, 0.6])
        seen.append(n_until_decided(differences, 200, alpha=0.04, block=20) or 200)
    assert np.median(seen) <= 70
    assert np.mean(seen) <= 80


def test_a_decision_falls_at_the_end_of_a_block():
    differences = [-1.0] * 40
    first = n_until_decided(differences, 40)
    assert first is not None
    assert 1 < first < 10
    assert n_until_decided(differences, 40, block=10) == 10
    assert n_until_decided([0.0] * 40, 40) is None


@pytest.mark.parametrize("wrong", [[1.5], [-2.0], [0.0] * 5, [float("nan")]])
def test_what_is_no_difference_of_these_problems_is_refused(wrong):
    with pytest.raises(ValueError, match=r"within|problems"):
        surely_below(wrong, 4)


# --- surely over


@pytest.mark.parametrize("spread", [0.1, 1.0, 2.0])
def test_an_allocation_that_just_fits_is_seldom_stopped_for_its_cost(spread):
    """Costs are log-normal: unbounded, and for the last with a heavy tail."""
    rng = np.random.default_rng(2)
    stopped = 0
    for _ in range(N_RACES):
        costs = rng.lognormal(0.0, spread, 100)
        stopped += surely_over(costs, float(costs.mean()), 100, alpha=0.05)
    assert stopped / N_RACES <= 0.05


def test_twice_the_budget_is_seen_soon():
    rng = np.random.default_rng(3)
    for _ in range(20):
        costs = 2 * rng.lognormal(0.0, 0.3, 100)
        assert surely_over(costs[:20], 1.0, 100, alpha=0.01)


def test_a_budget_already_spent_is_over_at_any_level():
    assert surely_over([6.0, 5.0], 1.0, 10, alpha=1e-300)
    assert not surely_over([6.0, 4.0], 1.0, 10, alpha=1e-300), "free problems would make it fit"


# --- a race


def rollouts(scores: list[float | None], tokens: float = 5.0) -> list[Rollout]:
    failure = Failure("solve", "ProviderUnavailableError", "gone")
    return [
        Rollout(f"p{i}", {}, None, failure=failure)
        if score is None
        else Rollout(f"p{i}", {}, score, costs={"solve": Cost(decode_tokens=tokens)})
        for i, score in enumerate(scores)
    ]


def race(scores: list[float], budget: Budget | None = None) -> Race:
    trial = Trial(7, ALLOCATION, "ok", {f"p{i}": score for i, score in enumerate(scores)}, 5.0)
    return Race(budget or Budget(10.0, Unit.TOKENS), len(scores), trial)


def test_what_stops_a_trial_is_named():
    assert race([1.0] * 40).stopped_because(rollouts([0.0] * 10)) == "surely below trial 7"
    assert race([1.0] * 40).stopped_because(rollouts([1.0] * 10, tokens=30)) == "surely over the budget"
    assert race([1.0] * 40).stopped_because(rollouts([1.0] * 10)) == ""


def test_without_an_incumbent_only_the_budget_counts():
    alone = Race(Budget(10.0, Unit.TOKENS), 40)
    assert alone.stopped_because(rollouts([0.0] * 30)) == ""
    assert alone.stopped_because(rollouts([0.0] * 30, tokens=30)) == "surely over the budget"


def test_failures_never_end_a_race():
    assert race([1.0] * 40).stopped_because(rollouts([None] * 40)) == ""


def test_a_problem_that_failed_for_the_incumbent_does_not_count_for_it():
    incumbent = Trial(7, ALLOCATION, "ok", {f"p{i}": 1.0 for i in range(20, 40)}, 5.0)
    started = Race(Budget(10.0, Unit.TOKENS), 40, incumbent)
    assert started.stopped_because(rollouts([0.0] * 20)) == ""


def test_the_known_scores_of_the_incumbent_end_what_cannot_be_won():
    """The incumbent solved none of the last 10: catching up would need more than all of them."""
    incumbent = race([1.0, 0.0] * 15 + [0.0] * 10)
    assert incumbent.stopped_because(rollouts([0.5, 0.0] * 5)) == ""
    scores = [1.0, 0.0] * 10
    assert Race(incumbent.budget, 22, race([1.0] * 20 + [0.0] * 2).incumbent).stopped_because(
        rollouts([*scores, 0.0])
    )


def test_the_unit_paper_may_cost_less_than_nothing():
    """One token of a small model is below the 128 tokens that the paper counts as free."""
    budget = Budget(10.0, Unit.PAPER)
    cheap = [
        Rollout(f"p{i}", {}, 1.0, costs={"solve": Cost(linear_flops=6e9), "plan": Cost(linear_flops=6e9)})
        for i in range(30)
    ]
    assert race([1.0] * 40, budget).stopped_because(cheap) == ""
    dear = [
        Rollout(f"p{i}", {}, 1.0, costs={"solve": Cost(linear_flops=6e9 * (128 + 64 * 30))})
        for i in range(20)
    ]
    assert race([1.0] * 40, budget).stopped_because(dear) == "surely over the budget"

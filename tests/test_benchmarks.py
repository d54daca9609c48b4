"""The grounds of benchmarks/search.py measure what a study would, and know the truth about it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def grounds_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grounds")


def tiny(cache: Path):
    from grounds.tiny import TinyGround

    return TinyGround(cache, n_problems=2, n_draws=33)


def test_vectorised_selectors_select_what_the_package_selects(cache):
    from grounds.tiny_check import compare_selectors

    assert compare_selectors(tiny(cache), n_streams=40) == 40 * 4 * 7


def test_a_trial_on_the_tiny_ground_is_what_the_package_measures(cache):
    from grounds.tiny_check import compare

    assert asyncio.run(compare(tiny(cache), n_allocations=8, n_problems=2)) < 1e-9


def test_charges_of_the_tiny_ground_are_those_of_the_cost_model(cache):
    from grounds.tiny import cost_by_cost_model

    assert cost_by_cost_model(tiny(cache)) < 1e-12


def test_truth_of_the_tiny_ground_is_the_mean_over_orders(cache):
    ground = tiny(cache)
    allocation = ground.space.allocation(
        ground.truths.indices[np.argsort(ground.truths.feasible)[len(ground.truths.feasible) // 2]]
    )
    scores = [ground.begin(seed).run(allocation, 0)[0].score for seed in range(200)]
    assert abs(np.mean(scores) - ground.truth(allocation)) < 4 * np.std(scores) / np.sqrt(len(scores)) + 0.02


def test_a_trial_that_is_repeated_pays_nothing_and_a_larger_one_the_difference(cache):
    ground = tiny(cache)
    run = ground.begin(3)
    small, large = (
        ground.space.allocation([i, j])
        for i, j in (
            (_place(ground, 0, 1), _place(ground, 1, 1)),
            (_place(ground, 0, 2), _place(ground, 1, 1)),
        )
    )
    _, first = run.run(small, 0)
    _, again = run.run(small, 1)
    _, more = run.run(large, 2)
    assert first.fresh == pytest.approx(first.alone)
    assert again.fresh == 0
    assert again.alone == first.alone
    assert 0 < more.fresh < more.alone


def _place(ground, stage: int, n: int) -> int:
    """Place of the choice of the smallest model with n samples and a plain vote."""
    wanted = ("tiny/xs", n, "first" if n == 1 else "majority")
    return next(
        i for i, c in enumerate(ground.space.stages[stage]) if (c.model, c.n_samples, c.select) == wanted
    )


def test_racing_on_a_ground_sees_part_of_the_problems_and_pays_for_no_more():
    from grounds.loading import allocator_for, search
    from grounds.raced import Raced
    from grounds.simulated import SimulatedGround

    ground = SimulatedGround("simulated/small")
    raced = Raced(ground, 0)
    fast = search(ground, allocator_for("random", ground), seed=0, n_trials=12, evaluate=raced)
    full = search(ground, allocator_for("random", ground), seed=0, n_trials=12)
    stopped = [t for t in fast.archive.trials if t.status == "stopped"]
    assert stopped
    assert all(0 < len(t.scores) < ground.n_problems for t in stopped)
    assert sum(fast.fresh) < sum(full.fresh)


@pytest.mark.skipif("AGENTTTS_REPLAY" not in os.environ, reason="AGENTTTS_REPLAY names no recorded tables")
def test_truth_and_expected_cost_of_the_aime_ground_are_means_over_all_its_orders(cache, monkeypatch):
    from grounds import aime

    monkeypatch.setattr(aime, "N_ORDERS", 6)
    ground = aime.AimeGround(Path(os.environ["AGENTTTS_REPLAY"]), cache)
    rng = np.random.default_rng(0)
    for pick in rng.choice(len(ground.truths.indices), 6, replace=False):
        allocation = ground.space.allocation(ground.truths.indices[pick])
        trials = [ground.begin(None if k == 0 else k - 1).run(allocation, 0)[0] for k in range(6)]
        assert np.mean([t.score for t in trials]) == pytest.approx(ground.truth(allocation))
        # Where escalate runs the problems are harder than on average, so what is expected is a little off.
        assert np.mean([t.charged for t in trials]) == pytest.approx(ground.space.cost(allocation), rel=0.25)


def test_reuse_is_measured_over_whole_trials_though_a_study_races_and_averages(tmp_path, monkeypatch):
    import reuse

    monkeypatch.setattr(reuse, "OUT", tmp_path / "reuse.json")
    monkeypatch.setattr("sys.argv", ["reuse.py", "--trials", "8", "--problems", "8", "--check", "1"])
    reuse.main()
    rows = json.loads((tmp_path / "reuse.json").read_text())["rows"]
    assert [row["n_trials"] for row in rows] == [8, 8]
    assert all(row["ratio"] < 1 for row in rows)

"""What a batch is chosen from."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.allocators.curves.acquisition import log_worth, to_pay
from agenttts.allocators.curves.candidates import N_DRAWN_UNLISTED, SHORTLIST, beam, candidates
from agenttts.allocators.curves.model import CurvesModel, fitted
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive
from agenttts.testing.surfaces import SimulatedTask, chain_space

PRICES = {f"simulated/m{i}": float(2**i) for i in range(4)}


def fit_on(
    space: Space, seed: int = 0, skill: float = 0.0, spread: float = 1.2
) -> tuple[CurvesModel, Archive]:
    rng = np.random.default_rng(seed)
    skills = {
        choices[0].stage: dict(zip(PRICES, np.sort(rng.normal(skill, spread, 4)), strict=True))
        for choices in space.stages
    }
    task = SimulatedTask(space, skills, n_problems=40, seed=seed)
    rows = np.unique(space.sample(rng, 30), axis=0)[:12]
    archive = Archive.of(task.run(space.allocation(row), i) for i, row in enumerate(rows))
    model = fitted(archive, space)
    assert model is not None
    return model, archive


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_stages", [2, 3])
def test_the_beam_finds_the_best_score_of_brute_force_within_two_thousandths(seed: int, n_stages: int):
    space = chain_space(
        n_stages, PRICES, (1, 2, 3, 5, 8, 13, 20), ("majority", "best_of_n"), budget=40.0 * n_stages
    )
    model, _ = fit_on(space, seed)
    assert model.composition is not None
    best = model.composition.predict(space.feasible_indices()).max()
    found = beam(model.composition)
    assert (space.cost_array(found) <= space.budget.amount * (1 + 1e-9)).all()
    assert model.composition.predict(found).max() >= best - 0.002


def test_a_shortlist_holds_the_most_worthy_of_all_allocations():
    space = chain_space(3, PRICES, (1, 2, 3, 5, 8, 13, 20), ("majority", "best_of_n"), budget=120.0)
    model, archive = fit_on(space)
    every = space.feasible_indices()
    chosen = candidates(model, archive, np.random.default_rng(0), archive.tried)
    assert len(chosen) < len(every) / 2
    incumbent = model.incumbent
    assert incumbent is not None

    def worth(rows: np.ndarray) -> np.ndarray:
        mean, _, gap = model.against_incumbent(rows)
        # The dearest of all sets the floor, so the same rows have the same worth in both sets.
        pay = np.append(
            to_pay(space, archive.held_by_label, rows), to_pay(space, archive.held_by_label, every).max()
        )
        return log_worth(np.append(mean, 0.0), np.append(gap, 1e-3), incumbent[1], pay)[:-1]

    tried = np.array([space.index(a) for a in archive.tried])
    fresh = every[~(every[:, None] == tried[None]).all(axis=2).any(axis=1)]
    best = np.sort(worth(fresh))[::-1]
    assert np.sort(worth(chosen))[::-1][:20] == pytest.approx(best[:20])


def test_nothing_that_was_tried_or_is_too_dear_is_a_candidate():
    space = chain_space(5, PRICES, (1, 2, 4, 8, 16, 32), ("majority", "best_of_n"), budget=60.0)
    assert not space.enumerable
    model, archive = fit_on(space)
    rows = candidates(model, archive, np.random.default_rng(0), archive.tried)
    assert len(rows) > 1000
    assert (space.cost_array(rows) <= space.budget.amount * (1 + 1e-9)).all()
    assert not {space.index(a) for a in archive.tried} & set(map(tuple, rows.tolist()))


def test_what_is_held_is_free_and_more_costs_the_difference():
    space = chain_space(1, {"simulated/m0": 2.0}, (1, 2, 4, 8))
    rows = np.arange(4)[:, None]
    assert to_pay(space, {("stage0", "simulated/m0", "majority"): 4}, rows) == pytest.approx([0, 0, 0, 8.0])
    assert to_pay(space, {}, rows) == pytest.approx([2, 4, 8, 16])


def test_worth_rises_with_mean_and_deviation_and_falls_with_cost():
    one = np.ones(3)
    assert np.diff(log_worth(np.array([0.4, 0.5, 0.6]), 0.1 * one, 0.5, one)).min() > 0
    assert np.diff(log_worth(0.4 * one, np.array([0.01, 0.05, 0.2]), 0.5, one)).min() > 0
    assert np.diff(log_worth(0.4 * one, 0.1 * one, 0.5, np.array([0.0, 1.0, 4.0]))).max() < 0


@pytest.mark.parametrize("gap", [-0.5, -0.1, 0.0, 0.1, 0.9])
def test_worth_is_the_logarithm_of_expected_improvement_by_integration(gap: float):
    deviation = 0.1
    draws = gap + deviation * np.linspace(-12, 12, 200_001)
    density = np.exp(-0.5 * ((draws - gap) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    expected = float(np.sum(np.maximum(draws, 0) * density) * (draws[1] - draws[0]))
    found = log_worth(np.array([gap]), np.array([deviation]), 0.0, np.array([1.0]))[0] + np.log(1.5)
    assert found == pytest.approx(np.log(expected), abs=1e-3)


def test_held_draws_do_not_pay_for_the_verifier_until_its_selector_was_tried():
    space = chain_space(1, {"simulated/m0": 10.0}, (1, 8), ("majority", "best_of_n"), budget=500.0)
    place = next(i for i, c in enumerate(space.stages[0]) if (c.n_samples, c.select) == (8, "best_of_n"))
    costs = [400.0 if i == place else 10.0 * c.n_samples for i, c in enumerate(space.stages[0])]
    dear = Space(space.stages, (tuple(costs),), space.budget, space.structure)
    rows = np.array([[place]])
    assert to_pay(dear, {("stage0", "simulated/m0", "majority"): 8}, rows) == pytest.approx([320.0])
    assert to_pay(dear, {("stage0", "simulated/m0", "best_of_n"): 8}, rows) == pytest.approx([0.0])


def test_of_a_space_that_is_not_listed_the_most_worthy_stay_and_not_the_best_alone():
    space = chain_space(5, PRICES, (1, 2, 4, 8, 16, 32), ("majority", "best_of_n"), budget=60.0)
    # All models are as good, so that costs tell allocations apart: by mean alone others would stay.
    model, archive = fit_on(space, skill=2.0, spread=0.0)
    drawn = np.unique(space.sample(np.random.default_rng(0), N_DRAWN_UNLISTED), axis=0)
    mean = model.cheap_mean(drawn)
    pay = to_pay(space, archive.held_by_label, drawn)
    deviation = np.full(len(drawn), max(0.02, model.residual.amplitude))
    worth = log_worth(mean, deviation, float(mean.max()), pay)
    top = drawn[np.argsort(-worth)[: SHORTLIST - 1500]]
    kept = set(map(tuple, candidates(model, archive, np.random.default_rng(0), archive.tried).tolist()))
    assert len(kept) < len(drawn) / 2
    assert set(map(tuple, top.tolist())) - {space.index(a) for a in archive.tried} <= kept

"""The relaxation that CMA-ES works on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.allocators.cmaes import CmaEs, Cube
from agenttts.testing.surfaces import SimulatedSurface, chain_space, search

DIMENSIONS = {"s.model": ("a", "b", "c"), "s.n": 4, "s.select": ("only",), "t.n": 0, "t.model": ("x", "y")}


def test_coordinates_are_spent_only_on_what_can_be_chosen():
    assert Cube(DIMENSIONS).n == 3 + 1 + 0 + 0 + 2


def test_the_largest_label_wins_and_positions_are_equal_parts():
    x = np.array([0.2, 0.9, 0.8, 0.55, 0.7, 0.1])
    assert Cube(DIMENSIONS).decode(x) == {
        "s.model": "b",
        "s.n": 2,  # 0.4 to 0.6
        "s.select": "only",
        "t.n": 0,
        "t.model": "x",
    }


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
    st.sampled_from("abc"),
    st.integers(0, 4),
    st.sampled_from("xy"),
)
def test_a_told_point_lies_in_its_cell_and_in_the_cube(near, model, n, other):
    cube = Cube(DIMENSIONS)
    point = {"s.model": model, "s.n": n, "s.select": "only", "t.n": 0, "t.model": other}
    x = cube.encode(point, np.array(near))
    assert cube.decode(x) == point
    assert ((x >= 0) & (x <= 1)).all()


def test_a_point_that_lies_in_its_cell_is_told_as_it_is():
    x = np.array([0.2, 0.9, 0.8, 0.55, 0.7, 0.1])
    cube = Cube(DIMENSIONS)
    assert cube.encode(cube.decode(x), x) == pytest.approx(x)


def test_later_generations_draw_better_allocations_than_the_first():
    space = chain_space(3, {"small": 1.0, "large": 2.0}, (1, 2, 4, 8), budget=1e6)

    def surface(allocation):
        return sum(0.1 * (c.model == "large") + 0.05 * np.log2(c.n_samples) for c in allocation.choices)

    task = SimulatedSurface(space, surface, n_problems=300)
    gains = []
    for seed in range(4):
        trials = search(CmaEs(), task, n_trials=60, seed=seed).trials
        truths = [surface(trial.allocation) for trial in trials]
        gains.append(np.mean(truths[-12:]) - np.mean(truths[:12]))
    assert np.mean(gains) > 0.05

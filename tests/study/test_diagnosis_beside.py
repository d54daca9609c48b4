"""Ways that stop early are diagnosed beside parallel draws of another trial; ways that cannot be are named with why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agenttts.study.archive import Archive, Trial
from agenttts.study.diagnosis import WayDiagnosis, diagnose, limited_by
from agenttts.study.statistics import paired_difference
from agenttts.task.task import Task
from tests.study.conftest import write_task
from tests.study.test_diagnosis import ALL_RIGHT, ALL_WRONG, RIGHT_IN_MINORITY, trial

MARK = "verifier: {kind: regex, pattern: '1'}"
WAYS = f"""    select:
      - majority
      - {{kind: best_of_n, {MARK}}}
      - adaptive_vote
      - {{kind: adaptive_best, {MARK}}}
      - {{kind: tree, {MARK}}}
      - {{kind: refine}}
      - {{kind: cascade, to: rec/large}}
    score: {{verifier: numeric, gold: answer}}
"""
LATE = (0.0, 0.0, 1.0, 1.0, 1.0)
"""Right samples come late: a vote that stops after two agreeing ones is wrong, a vote of all five is right."""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    path = write_task(tmp_path)
    path.write_text(path.read_text().replace("    score: {verifier: numeric, gold: answer}\n", WAYS))
    return Task.load(path)


def way_of(task: Task, trials: list[Trial], label: str) -> WayDiagnosis:
    ways = [way for cell in diagnose(task, Archive.of(trials)).cells for way in cell.ways]
    return next(way for way in ways if way.stage == "solve" and way.label == label)


def adaptive(number: int, samples: list[tuple[float, ...]], selected: list[float], **more) -> Trial:
    return trial(number, samples, selected=selected, select="adaptive_vote", **{"n": 5, **more})


def test_a_single_sample_is_that_of_parallel_draws_and_not_of_a_way_that_stops_at_what_it_likes(task: Task):
    one = trial(0, [(1.0,), (0.0,), (0.0,), (0.0,)], selected=[1.0, 0.0, 0.0, 0.0], n=1)
    liked = trial(
        1, [(1.0,), (1.0,), (0.0, 1.0), (0.0, 0.0)], selected=[1.0, 1.0, 1.0, 0.0], n=2,
        select="adaptive_best(regex)",
    )  # fmt: skip
    found = diagnose(task, Archive.of([one, liked]))
    (cell,) = [cell for cell in found.cells if cell.stage == "solve"]
    assert (cell.trial, cell.n_samples, cell.coverage[1].mean) == (0, 1, 0.25)


def test_coverage_of_a_vote_that_stops_is_that_of_as_many_parallel_draws(task: Task):
    cut = adaptive(0, [(0.0, 0.0)] * 6 + [(1.0, 1.0)] * 14, [0.0] * 6 + [1.0] * 14)
    whole = trial(1, [LATE] * 6 + [(1.0,) * 5] * 14, selected=[1.0] * 20, n=5)
    way = way_of(task, [cut, whole], "adaptive_vote")
    assert (way.coverage.mean, way.selected.mean, way.n_uncovered) == (1.0, 0.7, 0)
    assert way.single.mean == pytest.approx((6 * 3 / 5 + 14) / 20)
    assert way.beside is not None
    assert (way.beside.trial, way.beside.drawn) == (1, 2.0)
    assert way.beside.full is not None
    assert (way.beside.full.mean, way.beside.stopping.mean) == (1.0, pytest.approx(0.3))
    assert way.limited_by == "stopping"
    assert way.curve == {}
    assert way.saturation is None


def test_what_a_vote_over_all_draws_would_miss_as_well_is_lost_by_selection(task: Task):
    cut = adaptive(0, [(0.0, 0.0)] * 10 + [(1.0, 1.0)] * 10, [0.0] * 10 + [1.0] * 10, n=4)
    whole = trial(1, [RIGHT_IN_MINORITY] * 10 + [ALL_RIGHT] * 10, selected=[0.0] * 10 + [1.0] * 10)
    way = way_of(task, [cut, whole], "adaptive_vote")
    assert way.coverage.mean == 1.0
    assert way.beside is not None
    assert way.beside.stopping.mean == 0.0
    assert way.limited_by == "selection"


def test_problems_without_a_right_parallel_draw_are_lost_by_generation(task: Task):
    cut = adaptive(0, [(0.0, 0.0)] * 10 + [(1.0, 1.0)] * 10, [0.0] * 10 + [1.0] * 10, n=4)
    whole = trial(1, [ALL_WRONG] * 10 + [ALL_RIGHT] * 10, selected=[0.0] * 10 + [1.0] * 10)
    way = way_of(task, [cut, whole], "adaptive_vote")
    assert (way.limited_by, way.n_uncovered) == ("generation", 10)


def test_the_best_that_stops_is_set_against_best_of_n_by_the_same_verifier(task: Task):
    marks = {f"p{i}": (0.5, 0.9, 0.1, 0.1) for i in range(20)}
    draws = [(0.0, 1.0, 0.0, 0.0)] * 20
    cut = trial(0, [(0.0,)] * 20, selected=[0.0] * 20, select="adaptive_best(regex)")
    best = trial(1, draws, selected=[1.0] * 20, select="best_of_n(regex)", verifier_scores={"solve": marks})
    vote = trial(2, draws, selected=[0.0] * 20)
    told = way_of(task, [cut, best, vote], "adaptive_best(regex)")
    assert told.beside is not None
    assert (told.beside.trial, told.beside.stopping.mean) == (1, 1.0)
    assert told.limited_by == "stopping"
    untold = way_of(task, [cut, vote], "adaptive_best(regex)")
    assert untold.beside is not None
    assert untold.beside.full is None
    assert untold.beside.stopping.mean == 1.0  # all that came after the stop: the most it can have lost


def test_draws_of_the_same_prompts_are_compared_first(task: Task):
    cut = adaptive(0, [(0.0, 0.0)] * 4, [0.0] * 4, n=4, prompts={"solve": {"p0": "a"}})
    other = trial(1, [ALL_RIGHT] * 4, selected=[1.0] * 4, prompts={"solve": {"p0": "b"}})
    same = trial(2, [RIGHT_IN_MINORITY] * 4, selected=[0.0] * 4, prompts={"solve": {"p0": "a"}})
    way = way_of(task, [cut, other, same], "adaptive_vote")
    assert way.beside is not None
    assert way.beside.trial == 2


@pytest.mark.parametrize(
    ("label", "more", "why"),
    [
        ("adaptive_vote", {}, "no trial drew 4 or more of this model in parallel"),
        (
            "tree(regex)",
            {"sample_scores": {"plan": {"p0": (1.0,)}}},
            "some of its samples are refined from others",
        ),
        ("refine", {}, "all samples but the first are refined from others"),
    ],
)
def test_ways_that_are_in_no_cell_are_named_with_the_reason(task: Task, label: str, more: dict, why: str):
    one = trial(0, [(0.0,)] * 4, selected=[0.0] * 4, n=1)
    other = replace(trial(1, [(1.0,)] * 4, selected=[1.0] * 4, select=label), **more)
    found = diagnose(task, Archive.of([one, other]))
    (left,) = found.apart
    assert (left.stage, left.label, left.trial, left.n_samples) == ("solve", label, 1, 4)
    assert left.selected.mean == 1.0
    assert left.why.endswith(why)
    assert found.best == 1
    assert found.plan_apart == (left,)
    assert "solve" not in found.without_gold
    assert found.to_json()["apart"][0]["why"] == left.why


def test_draws_before_a_cascade_escalates_are_parallel_draws(task: Task):
    made = trial(0, [RIGHT_IN_MINORITY] * 4, selected=[1.0] * 4, select="cascade(to rec/large)")
    found = diagnose(task, Archive.of([made]))
    assert found.apart == ()
    assert found.plan[1].single.mean == 0.25


def loss(missed: int, n: int = 100):
    names = [f"p{i}" for i in range(n)]
    return paired_difference(dict.fromkeys(names, 1.0), {k: float(i >= missed) for i, k in enumerate(names)})


@pytest.mark.parametrize(
    ("coverage", "missed", "by_stopping", "limit"),
    [
        (0.95, 30, 20, "stopping"),
        (0.95, 30, 10, "selection"),
        (0.7, 30, 20, "generation"),
        (1.0, 4, 4, "neither"),
    ],
)
def test_the_largest_of_three_losses_is_the_limit(coverage: float, missed: int, by_stopping: int, limit: str):
    assert limited_by(coverage, loss(missed), loss(by_stopping)) == limit


def test_a_loss_by_stopping_that_may_be_chance_is_unclear():
    assert limited_by(1.0, loss(2, 20), loss(2, 20)) == "unclear"

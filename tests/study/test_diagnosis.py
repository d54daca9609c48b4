"""What limits a stage, where more samples stop to gain, and how rewards spread: worked examples by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Runaway, StageLengths, Trial, TrialStatus, Unparsed, Unscored
from agenttts.study.diagnosis import anti_concentrated, diagnose, limited_by, mix, saturation
from agenttts.study.events import fold, read_events
from agenttts.study.statistics import paired_difference
from agenttts.task.task import Task

OLD_LOG = Path(__file__).parent / "logs" / "before_verifier_scores.jsonl"
RIGHT_IN_MINORITY = (1.0, 0.0, 0.0, 0.0)
ALL_RIGHT, ALL_WRONG = (1.0,) * 4, (0.0,) * 4


def trial(
    number: int,
    samples: list[tuple[float, ...]],
    *,
    selected: list[float],
    plan: list[float] | None = None,
    n: int = 4,
    model: str = "rec/small",
    select: str = "majority",
    status: TrialStatus = "ok",
    **more,
) -> Trial:
    """A trial of the recorded task: one sample of the plan, `n` of the answer; wrong samples share one answer."""
    names = [f"p{i}" for i in range(len(samples))]
    how = "first" if n == 1 else select
    allocation = Allocation(
        (StageChoice("plan", "rec/large", 1, "first"), StageChoice("solve", model, n, how))
    )
    plans = dict(zip(names, plan or [1.0] * len(names), strict=True))
    return Trial(
        number,
        allocation,
        status,
        dict(zip(names, selected, strict=True)),
        1.0,
        stage_scores={"plan": plans, "solve": dict(zip(names, selected, strict=True))},
        sample_scores={
            "plan": {name: (score,) for name, score in plans.items()},
            "solve": dict(zip(names, samples, strict=True)),
        },
        votes={"solve": {a: tuple(int(v) for v in s) for a, s in zip(names, samples, strict=True)}},
        **more,
    )


def test_a_right_sample_that_the_vote_misses_is_lost_by_selection(task: Task):
    samples = [RIGHT_IN_MINORITY] * 9 + [ALL_RIGHT] * 10 + [ALL_WRONG]
    found = diagnose(task, Archive.of([trial(0, samples, selected=[0.0] * 9 + [1.0] * 10 + [0.0])]))
    solve = found.plan[1]
    assert (solve.coverage.mean, solve.selected.mean, solve.single.mean) == (0.95, 0.5, (9 / 4 + 10) / 20)
    assert solve.gap.mean == pytest.approx(0.45)
    assert solve.limited_by == "selection"
    assert (solve.n_uncovered, solve.n_misled) == (1, 0)


def test_problems_without_a_right_sample_are_lost_by_generation_and_told_apart_by_their_cause(task: Task):
    samples = [ALL_WRONG] * 8 + [ALL_RIGHT] * 12
    plan = [0.0] * 5 + [1.0] * 14 + [0.0]
    found = diagnose(task, Archive.of([trial(0, samples, selected=[0.0] * 8 + [1.0] * 12, plan=plan)]))
    solve = found.plan[1]
    assert solve.limited_by == "generation"
    assert (solve.n_uncovered, solve.n_misled) == (8, 5)
    assert found.plan[0].limited_by == "unknown"  # one sample: nothing to select
    assert found.plan[0].n_misled is None


def gap(missed: int, n: int):
    covered = {f"p{i}": 1.0 for i in range(n)}
    return paired_difference(covered, {name: float(i >= missed) for i, name in enumerate(covered)})


@pytest.mark.parametrize(
    ("coverage", "missed", "n", "limit"),
    [
        (0.98, 4, 100, "neither"),
        (0.9, 20, 100, "selection"),
        (0.7, 20, 100, "generation"),
        (0.95, 2, 20, "unclear"),
    ],
)
def test_the_larger_loss_is_the_limit(coverage: float, missed: int, n: int, limit: str):
    assert limited_by(coverage, gap(missed, n)) == limit


def test_coverage_and_votes_of_fewer_samples_are_means_over_all_sets(task: Task):
    samples = [RIGHT_IN_MINORITY, (1.0, 1.0, 1.0, 0.0)]
    cell = diagnose(task, Archive.of([trial(0, samples, selected=[0.0, 1.0])])).cells[-1]
    assert {n: found.mean for n, found in cell.coverage.items()} == {
        1: pytest.approx((1 / 4 + 3 / 4) / 2),
        2: pytest.approx((1 / 2 + 1) / 2),
        4: 1.0,
    }
    # Of two samples that differ, the one drawn first decides: the vote of two is as good as one.
    assert {n: found.mean for n, found in cell.majority.items()} == {1: 0.5, 2: 0.5, 4: 0.5}


def test_saturation_is_where_all_that_follows_gains_little():
    def curve(*means: float) -> dict[int, dict[str, float]]:
        return {2**k: {"a": mean, "b": mean} for k, mean in enumerate(means)}

    found = saturation(curve(0.5, 0.7, 0.8, 0.805))
    assert found is not None
    assert (found.at, found.start, found.n) == (4, 4, 8)
    assert found.gain.mean == pytest.approx(0.005)
    rising = saturation(curve(0.5, 0.7, 0.8, 0.9))
    assert rising is not None
    assert (rising.at, rising.start) == (None, 4)
    assert rising.gain.mean == pytest.approx(0.1)
    falling = saturation(curve(0.9, 0.8))
    assert falling is not None
    assert falling.at == 1
    assert saturation({1: {"a": 1.0}}) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ALL_RIGHT, False),
        (ALL_WRONG, False),
        (RIGHT_IN_MINORITY, True),  # mean 0.25, deviation 0.43: 1 lies above 0.47
        ((1.0,) * 9 + (0.0,), False),  # mean 0.9, deviation 0.3: nothing lies above 1.05
        ((1.0,) + (0.0,) * 29, False),  # 1 of 30 is below a chance of 0.05
    ],
)
def test_rewards_are_anti_concentrated_where_a_sample_may_be_clearly_better(values, expected: bool):
    assert anti_concentrated(values) is expected


def test_the_mix_tells_where_selecting_matters():
    found = mix([ALL_RIGHT, ALL_WRONG, RIGHT_IN_MINORITY, RIGHT_IN_MINORITY])
    assert (found.all_right, found.all_wrong, found.mixed) == (0.25, 0.25, 0.5)
    assert found.anti_concentrated is not None
    assert found.anti_concentrated.mean == 0.5
    assert mix([(1.0, 0.0)]).anti_concentrated is None  # two samples cannot tell


def test_graded_scores_have_their_best_as_coverage(task: Task):
    graded = [(0.2, 0.6, 0.4, 0.2), (0.9, 0.1, 0.1, 0.1)]
    way = diagnose(task, Archive.of([trial(0, graded, selected=[0.4, 0.9])])).plan[1]
    assert way.coverage.mean == pytest.approx(0.75)
    assert way.gap.mean == pytest.approx(0.1)


def test_a_verifier_is_set_against_vote_and_oracle_on_the_same_samples(task: Task):
    samples = [RIGHT_IN_MINORITY] * 2 + [(1.0, 1.0, 0.0, 0.0)]
    scores = {"p0": (0.9, 0.1, 0.2, 0.3), "p1": (0.1, 0.9, 0.2, 0.3), "p2": (0.5, 0.4, 0.3, None)}
    made = trial(0, samples, selected=[1.0, 0.0, 1.0], verifier_scores={"solve": scores})
    way = diagnose(task, Archive.of([made])).plan[1]
    assert way.verifier is not None
    assert way.verifier.verifier.mean == pytest.approx(2 / 3)
    assert way.verifier.majority.mean == pytest.approx(
        0.5 / 3
    )  # two answers tie on the last: each with equal chance
    assert way.verifier.oracle.mean == 1
    assert way.auroc is not None
    assert way.auroc.mean == pytest.approx((3 + 0 + 2) / (3 + 3 + 2))


def test_scores_that_were_averaged_over_other_trials_are_not_set_against_own_samples(task: Task):
    made = trial(0, [RIGHT_IN_MINORITY, ALL_RIGHT], selected=[0.8, 1.0], estimated_from={"solve": 16})
    assert diagnose(task, Archive.of([made])).plan[1].selected.mean == 0.5


def test_a_model_is_judged_by_the_trial_that_drew_most_and_a_way_by_its_own(task: Task):
    few = trial(0, [(1.0, 0.0)] * 4, selected=[1.0] * 4, n=2)
    many = trial(1, [RIGHT_IN_MINORITY] * 4, selected=[0.0] * 4, status="stopped")
    other = trial(2, [ALL_RIGHT] * 4, selected=[1.0] * 4, model="rec/large")
    failed = trial(3, [(1.0,) * 8], selected=[1.0], n=8, status="invalid")
    found = diagnose(task, Archive.of([few, many, other, failed]))
    solve = [cell for cell in found.cells if cell.stage == "solve"]
    assert [(cell.model, cell.trial, cell.n_samples) for cell in solve] == [
        ("rec/small", 1, 4),
        ("rec/large", 2, 4),
    ]
    assert [(way.label, way.trial) for way in solve[0].ways] == [("majority", 1)]
    assert (found.best, found.n_trials) == (0, 3)


def test_lengths_runaway_and_unparsed_samples_are_those_of_that_trial(task: Task):
    lengths = {"solve": StageLengths("rec/small", {10: 2}, {4: 4, 8: 4}, spread=1.5)}
    runaway = {"solve": Runaway("rec/small", 3, 8)}
    unparsed = {"solve": Unparsed("rec/small", 2, 8, "no idea")}
    made = trial(0, [ALL_RIGHT] * 2, selected=[1.0] * 2, lengths=lengths, runaway=runaway, unparsed=unparsed)
    cell = diagnose(task, Archive.of([made])).cells[-1]
    assert cell.spread == pytest.approx(1.5 / 6)
    assert cell.runaway == runaway["solve"]
    assert cell.unparsed == unparsed["solve"]


def test_samples_without_a_score_are_those_of_the_way(task: Task):
    unscored = {"solve": Unscored("majority", 8, 8, "no mark")}
    made = trial(0, [ALL_RIGHT] * 2, selected=[1.0] * 2, unscored=unscored)
    cell = diagnose(task, Archive.of([made])).cells[-1]
    assert [way.unscored for way in cell.ways] == [unscored["solve"]]


def test_an_older_log_is_diagnosed_as_far_as_it_tells():
    state = fold(read_events(OLD_LOG)[0])
    found = diagnose(Task.from_json(state.started["task"]), state.archive)
    answer = next(way for way in found.plan if way.stage == "answer")
    assert answer.limited_by == "selection"
    assert answer.curve == {}
    assert answer.verifier is None
    cell = next(cell for cell in found.cells if cell.stage == "answer")
    assert cell.majority == {}
    assert cell.runaway is cell.spread is None
    assert cell.coverage[1].mean == pytest.approx(0.3625)


def test_stages_without_gold_are_named(task: Task):
    made = trial(0, [ALL_RIGHT], selected=[1.0])
    blind = Trial(0, made.allocation, "ok", made.scores, 1.0)
    found = diagnose(task, Archive.of([blind]))
    assert found.without_gold == ("plan", "solve")
    assert found.cells == found.plan == ()

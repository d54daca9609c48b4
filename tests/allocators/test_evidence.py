"""Evidence, against worked examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from agenttts.allocators.evidence import evidence_text, gather
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import chain_space

SMALL, LARGE = "simulated/small", "simulated/large"


def space() -> Space:
    """Two stages; a sample costs 1 or 4, the budget is 40."""
    return chain_space(2, {SMALL: 1.0, LARGE: 4.0}, (1, 2, 4, 8), budget=40.0)


def choice(stage: int, model: str, n: int) -> StageChoice:
    return StageChoice(f"stage{stage}", model, n, "first" if n == 1 else "majority")


def trial(
    number: int,
    first: tuple[str, int],
    second: tuple[str, int],
    scores: Sequence[float],
    stage0: Sequence[float] | None = None,
    samples0: Mapping[str, tuple[float, ...]] | None = None,
) -> Trial:
    names = [f"p{i}" for i in range(len(scores))]
    return Trial(
        number,
        Allocation((choice(0, *first), choice(1, *second))),
        "ok",
        dict(zip(names, scores, strict=True)),
        1.0,
        stage_scores={} if stage0 is None else {"stage0": dict(zip(names, stage0, strict=True))},
        sample_scores={} if samples0 is None else {"stage0": samples0},
    )


def test_nothing_is_known_of_an_empty_archive():
    found = gather(Archive(), space())
    assert (found.gains, found.singles, found.saturation, found.influence, found.held) == ((), (), (), (), ())
    assert evidence_text(found).count("not known yet") == 5


def test_the_gain_of_a_stage_is_paired_by_problem():
    # 8 problems; the second trial spends 4 of 40 more at stage 0, which is a tenth of the budget.
    before = [1, 0, 0, 0, 1, 1, 0, 0]
    after = [1, 1, 1, 0, 1, 0, 1, 0]
    archive = Archive.of([trial(0, (LARGE, 1), (SMALL, 1), before), trial(1, (LARGE, 2), (SMALL, 1), after)])
    (gain,) = gather(archive, space()).gains
    differences = [b - a for a, b in zip(before, after, strict=True)]
    mean = sum(differences) / 8
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / 7)
    assert gain.stage == "stage0"
    assert (gain.how, gain.n_pairs, gain.gain.n) == ("paired", 1, 8)
    assert gain.gain.value == pytest.approx(mean)
    assert gain.gain.high - gain.gain.value == pytest.approx(1.96 * deviation / math.sqrt(8))


def test_pairs_of_different_size_give_the_least_squares_slope():
    flat = [0.0] * 6
    archive = Archive.of(
        [
            trial(0, (SMALL, 1), (SMALL, 1), flat),
            trial(1, (SMALL, 2), (SMALL, 1), [0.1] * 6),  # 1 more
            trial(2, (SMALL, 4), (SMALL, 1), [0.6] * 6),  # 3 more than the first, 2 more than the second
        ]
    )
    (gain,) = gather(archive, space()).gains
    # (1*0.1 + 3*0.6 + 2*0.5) / (1 + 9 + 4) a token; a tenth of the budget is 4 tokens
    assert gain.gain.value == pytest.approx(4 * 2.9 / 14)
    assert gain.n_pairs == 3


def test_trials_that_differ_in_two_stages_are_regressed():
    def score(a: int, b: int) -> list[float]:
        return [0.1 + 0.02 * a + 0.01 * b] * 6

    counts = [(1, 1), (2, 4), (4, 2), (8, 8), (1, 8), (2, 1), (4, 4)]
    distinct = [(1, 1), (2, 4), (4, 2), (8, 8)]
    assert set(distinct) <= set(counts)
    picks = [((SMALL, 1), (LARGE, 1)), ((SMALL, 2), (LARGE, 2)), ((SMALL, 4), (SMALL, 8))]
    picks += [((LARGE, 1), (SMALL, 1)), ((LARGE, 2), (SMALL, 2)), ((SMALL, 8), (LARGE, 4))]
    cost = {SMALL: 1, LARGE: 4}
    trials = [trial(i, a, b, score(cost[a[0]] * a[1], cost[b[0]] * b[1])) for i, (a, b) in enumerate(picks)]
    gains = gather(Archive.of(trials), space()).gains
    assert [(g.stage, g.how) for g in gains] == [("stage0", "regression"), ("stage1", "regression")]
    assert gains[0].gain.value == pytest.approx(0.02 * 4)
    assert gains[1].gain.value == pytest.approx(0.01 * 4)
    assert gains[0].gain.high - gains[0].gain.low == pytest.approx(0.0, abs=1e-9)


def test_a_stage_is_flat_from_the_count_that_no_larger_one_beats():
    worse, good = [0, 0, 0, 0, 1, 0, 0, 0] * 50, [1, 1, 1, 0, 1, 1, 1, 1] * 50
    same = good
    archive = Archive.of(
        [
            trial(0, (SMALL, 1), (SMALL, 1), worse, worse),
            trial(1, (SMALL, 2), (SMALL, 1), good, good),
            trial(2, (SMALL, 8), (SMALL, 1), same, same),
        ]
    )
    curve = next(c for c in gather(archive, space()).saturation if c.stage == "stage0")
    assert (curve.model, curve.select, curve.of) == (SMALL, "majority", "stage")
    assert {n: point.value for n, point in curve.points.items()} == {1: 1 / 8, 2: 7 / 8, 8: 7 / 8}
    assert curve.flat_from == 2


def test_few_problems_never_make_a_curve_flat_nor_an_interval_a_point():
    same = [1.0] * 10
    archive = Archive.of(
        [trial(i, (SMALL, n), (SMALL, 1), same, same) for i, n in enumerate((1, 2, 8))],
    )
    curve = next(c for c in gather(archive, space()).saturation if c.stage == "stage0")
    assert curve.flat_from is None
    # Wilson, 10 of 10: 10 / (10 + 1.96^2)
    assert curve.points[8].low == pytest.approx(10 / (10 + 1.96**2), abs=1e-3)
    assert curve.points[8].high == 1.0


def test_influence_counts_problems_once_however_many_trials_they_were_in():
    right, final = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0]
    one = Archive.of([trial(0, (SMALL, 1), (SMALL, 1), final, right)])
    two = Archive.of([*one.trials, trial(1, (SMALL, 1), (SMALL, 2), final, right)])
    (single,), (double,) = gather(one, space()).influence, gather(two, space()).influence
    assert single.stage == "stage0"
    assert single.after_right.value == pytest.approx(5 / 6)
    assert single.after_wrong.value == pytest.approx(1 / 6)
    assert double.after_right.low == pytest.approx(single.after_right.low)


def test_single_samples_are_averaged_by_problem_and_held_draws_are_told():
    samples = {f"p{i}": (1.0, 0.0) if i else (1.0, 1.0) for i in range(6)}
    found = gather(Archive.of([trial(0, (SMALL, 2), (LARGE, 1), [0.0] * 6, [0.0] * 6, samples)]), space())
    (single,) = found.singles
    assert (single.stage, single.model) == ("stage0", SMALL)
    assert single.score.value == pytest.approx((1 + 5 * 0.5) / 6)
    assert [(h.stage, h.model, h.n_samples) for h in found.held] == [
        ("stage0", SMALL, 2),
        ("stage1", LARGE, 1),
    ]
    text = evidence_text(found)
    assert f"- stage0, {SMALL}: 2" in text


def test_too_few_problems_give_no_interval_and_no_figure():
    archive = Archive.of([trial(0, (SMALL, 1), (SMALL, 1), [0, 1]), trial(1, (SMALL, 2), (SMALL, 1), [1, 1])])
    found = gather(archive, space())
    assert found.gains == ()
    assert found.saturation == ()


def test_the_order_of_trials_does_not_matter():
    trials = [
        trial(i, (SMALL, n), (LARGE, 1), [float((i + p) % 3 == 0) for p in range(9)])
        for i, n in enumerate((1, 2, 4, 8))
    ]
    assert gather(Archive(tuple(trials)), space()) == gather(Archive(tuple(reversed(trials))), space())

"""Stages that run on a condition: what skipped problems say, and what makes no difference."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.allocators.base import make_allocator
from agenttts.allocators.conditional import Conditional
from agenttts.allocators.curves.model import fitted
from agenttts.allocators.curves.samples import Samples, run_shares
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial

COUNTS = (1, 4, 8)
THRESHOLDS = (0.6, 1.01)
STRONG = {"m0": 0.35, "m1": 0.8}


def share(stage: str, below: float | None, watched: StageChoice, floor: float = 0.0) -> float:
    """One sample always agrees with itself, so only a threshold above 1 makes the second stage run."""
    if below == 0:
        return 0.0
    return 1.0 if below is None or below > 1 else 0.0 if watched.n_samples == 1 else 0.5


def space() -> Space:
    first = tuple(
        StageChoice("try", m, n, "first" if n == 1 else "majority") for m in ("m0", "m1") for n in COUNTS
    )
    second = (
        StageChoice("again", "m0", 1, "first", 0.0),
        *(
            StageChoice("again", m, n, "first" if n == 1 else "majority", t)
            for t in THRESHOLDS
            for m in ("m0", "m1")
            for n in COUNTS
        ),
    )
    costs = tuple(
        tuple(0.0 if c.below == 0 else (1.0 if c.model == "m0" else 3.0) * c.n_samples for c in stage)
        for stage in (first, second)
    )
    kinds = {(stage, "majority"): "majority" for stage in ("try", "again")}
    structure = Structure({"again": ("try",)}, "again", kinds, {"again": "try"})
    conditional = Conditional.build((first, second), 1, 0, share)
    return Space((first, second), costs, Budget(30.0, Unit.TOKENS), structure, (conditional,))


def run(allocation: Allocation, number: int = 0, n_problems: int = 60) -> Trial:
    """Half of the problems are easy; on the others a sample is right by the strength of its model.

    Wrong answers are all alike, so right samples win a vote where they are more than half.
    """
    first, second = allocation.choices
    scores: dict[str, float] = {}
    stages: dict[str, dict[str, float]] = {"try": {}, "again": {}}
    samples: dict[str, dict[str, tuple[float, ...]]] = {"try": {}, "again": {}}
    for p in range(n_problems):
        name = f"p{p}"
        for choice in (first, second):
            chance = 0.99 if p % 2 else STRONG[choice.model]
            rng = np.random.default_rng([p, choice.stage == "try", choice.model == "m0"])
            drawn = tuple((rng.random(8) < chance).astype(float))[: choice.n_samples]
            right = float(2 * sum(drawn) > len(drawn) or (2 * sum(drawn) == len(drawn) and drawn[0]))
            samples[choice.stage][name], stages[choice.stage][name] = drawn, right
            scores[name] = right
            held = max(sum(drawn), len(drawn) - sum(drawn)) / len(drawn)
            if choice is first and not (second.below is not None and held < second.below):
                break
    return Trial(number, allocation, "ok", scores, 1.0, {}, stages, samples)


def trials(n: int) -> Archive:
    where = space()
    rows = np.random.default_rng(0).permutation(where.feasible_indices())
    chosen: dict[Allocation, None] = dict.fromkeys(where.allocation(row) for row in rows)
    return Archive.of(run(allocation, i) for i, allocation in enumerate(list(chosen)[:n]))


def test_only_problems_on_which_a_stage_ran_count_for_it():
    allocation = Allocation(
        (StageChoice("try", "m0", 8, "majority"), StageChoice("again", "m1", 4, "majority", 0.6))
    )
    trial = run(allocation)
    ran = len(trial.sample_scores["again"])
    assert 0 < ran < 30
    samples = Samples(space(), (trial,))
    wrong, right = samples.counts("again", "m1")
    assert int(((wrong.n + right.n) > 0).sum()) == ran
    assert set((wrong.n + right.n).tolist()) <= {0.0, 4.0}


def test_the_fit_predicts_conditional_allocations():
    where = space()
    model = fitted(trials(14), where)
    assert model is not None
    rows = where.feasible_indices()
    mean, deviation = model.predict(rows)
    measured = np.array([run(where.allocation(row)).score for row in rows])
    assert np.corrcoef(mean, measured)[0, 1] > 0.8
    assert np.mean(np.abs(mean - measured) < 2.5 * np.sqrt(deviation**2 + model.noise)) > 0.85


def test_allocations_that_differ_in_a_stage_that_never_runs_are_taken_for_the_same():
    where = space()
    single = StageChoice("try", "m1", 1, "first")
    one, other, real = (
        where.index(Allocation((single, StageChoice("again", *rest))))
        for rest in (("m0", 1, "first", 0.6), ("m1", 8, "majority", 0.6), ("m1", 8, "majority", 1.01))
    )
    assert run_shares(where, np.array([one, other, real]))[1] == pytest.approx([0, 0, 1])
    archive = trials(10)
    number = len(archive.trials)
    archive = archive.with_trials([run(where.allocation(np.array(one)), number)])
    model = fitted(archive, where)
    assert model is not None
    place = [t.number for t in model.trials].index(number)
    rows = np.array([other, real], dtype=np.int32)
    _, _, gap = model.residual.against(rows, model.prior(rows), place)
    assert gap[0] < 0.01
    assert gap[1] > 2 * gap[0]


def test_proposals_on_a_conditional_space_are_new_and_fit():
    where, archive = space(), trials(8)
    proposals = make_allocator("curves").propose(archive, where, 6, np.random.default_rng(0))
    assert len({p.allocation for p in proposals} - archive.tried) == 6
    assert all(where.feasible(p.allocation) for p in proposals)

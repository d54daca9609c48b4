"""The fit of an archive: what it predicts, how sure it is, and what may not lead it astray. All simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agenttts.allocators.base import Sketch, make_allocator
from agenttts.allocators.curves import CurvesModel, fitted
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive
from agenttts.testing.surfaces import SimulatedTask, chain_space, search

from .traps import MODELS, contrary


def task(seed: int = 0, upstream: tuple[float, ...] = (-1.5, 0.0, 2.0)) -> SimulatedTask:
    skills = {
        "stage0": dict(zip(MODELS, upstream, strict=True)),
        "stage1": dict(zip(MODELS, (0.5, 0.6, 0.7), strict=True)),
    }
    return SimulatedTask(chain_space(selectors=("majority", "best_of_n")), skills, seed=seed)


def model_of(archive: Archive, simulated: SimulatedTask) -> CurvesModel:
    model = fitted(archive, simulated.space)
    assert model is not None
    return model


def test_two_trials_are_too_few():
    assert fitted(search(make_allocator("curves"), task(), n_trials=2), task().space) is None


def test_single_samples_predict_allocations_that_were_never_tried():
    simulated = task()
    model = model_of(search(make_allocator("curves"), simulated, n_trials=12), simulated)
    assert model.composition is not None
    rows = simulated.space.sample(np.random.default_rng(4), 60)
    predicted = model.composition.predict(rows)
    measured = np.array([simulated.run(simulated.space.allocation(row)).score for row in rows])
    assert np.corrcoef(predicted, measured)[0, 1] > 0.9
    assert np.mean(np.abs(predicted - measured)) < 0.08


def test_the_forecast_is_about_as_sure_as_it_should_be():
    z = []
    for seed in range(4):
        simulated = task(seed)
        model = model_of(search(make_allocator("curves"), simulated, n_trials=12, seed=seed), simulated)
        rows = simulated.space.sample(np.random.default_rng(9), 40)
        mean, deviation = model.predict(rows)
        measured = np.array([simulated.run(simulated.space.allocation(row)).score for row in rows])
        z += list((measured - mean) / np.sqrt(deviation**2 + model.noise))
    assert 0.75 < np.mean(np.abs(z) < 2) <= 1
    # Not so unsure either that anything would fit.
    assert np.mean(np.abs(z) < 0.15) < 0.4


def test_the_order_of_the_trials_does_not_matter():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=8)
    rows = simulated.space.sample(np.random.default_rng(4), 20)
    backwards = Archive(tuple(reversed(archive.trials)))
    for ours, theirs in zip(
        model_of(archive, simulated).predict(rows), model_of(backwards, simulated).predict(rows), strict=True
    ):
        assert ours == pytest.approx(theirs)


def test_stage_curves_tell_models_apart_and_rise_with_samples():
    simulated = task()
    points = model_of(search(make_allocator("curves"), simulated, n_trials=8), simulated).stage_curves()
    curve = {(p.stage, p.model, p.select, p.n_samples): p for p in points}
    assert all(p.low <= p.mean <= p.high for p in points)
    small, large = (curve["stage0", name, "first", 1] for name in (MODELS[0], MODELS[2]))
    assert small.high < large.low
    best = [curve["stage0", MODELS[1], "best_of_n", n].mean for n in (2, 4, 8)]
    assert best == sorted(best)
    assert all(p.seen for p in points)


def test_the_chance_to_beat_the_incumbent_goes_with_what_is_known():
    simulated = task()
    model = model_of(search(make_allocator("curves"), simulated, n_trials=12), simulated)
    rows = simulated.space.feasible_indices()
    chances = model.chance_to_beat(rows)
    mean, _ = model.predict(rows)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert chances[np.argmin(mean)] < 0.01
    assert chances[np.argmax(mean)] >= 0.4


def test_a_stopped_trial_teaches_on_the_problems_it_saw():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=3, batch=3)
    # A model nobody has seen but in a trial that racing stopped after 30 of 100 problems.
    new = simulated.run(
        Allocation(
            (
                StageChoice("stage0", MODELS[2], 2, "best_of_n"),
                StageChoice("stage1", MODELS[0], 4, "majority"),
            )
        ),
        9,
    )
    seen = {f"p{i}" for i in range(30)}
    stopped = replace(
        new,
        status="stopped",
        scores={k: v for k, v in new.scores.items() if k in seen},
        stage_scores={s: {k: v for k, v in by.items() if k in seen} for s, by in new.stage_scores.items()},
        sample_scores={s: {k: v for k, v in by.items() if k in seen} for s, by in new.sample_scores.items()},
    )
    others = [t for t in archive.trials if t.allocation["stage0"].model != MODELS[2]]
    without = model_of(Archive.of([*others, *[replace(others[0], number=7)]]), simulated)
    with_it = model_of(Archive.of([*others, replace(others[0], number=7), stopped]), simulated)
    truth = simulated.skills["stage0"][MODELS[2]]
    assert truth == 2.0  # right on nearly all problems

    def one_sample(model: CurvesModel) -> float:
        return next(
            p.mean
            for p in model.stage_curves()
            if (p.stage, p.model, p.n_samples) == ("stage0", MODELS[2], 1)
        )

    measured = float(
        np.mean([scores[0] for scores in simulated.run(new.allocation).sample_scores["stage0"].values()])
    )
    assert abs(one_sample(with_it) - measured) < 0.08
    assert abs(one_sample(with_it) - measured) < abs(one_sample(without) - measured)


ABSURD = tuple(
    Sketch(stage, model, one, plateau, 1e6)
    for stage in ("stage0", "stage1")
    for model, one, plateau in zip(MODELS, (1.0, 0.5, 0.0), (1.0, 0.0, 0.0), strict=True)
)


def test_absurd_sketches_move_predictions_little_once_trials_are_in():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=8)
    rows = simulated.space.sample(np.random.default_rng(4), 60)
    honest, _ = model_of(archive, simulated).predict(rows)
    lied_to, _ = model_of(replace(archive, sketches=ABSURD), simulated).predict(rows)
    assert np.mean(np.abs(honest - lied_to)) < 0.02


def test_a_sketch_without_a_number_is_passed_over():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=4)
    broken = replace(archive, sketches=(Sketch("stage0", MODELS[0], float("nan"), 0.5, 2.0),))
    rows = simulated.space.sample(np.random.default_rng(4), 5)
    ours, theirs = model_of(archive, simulated).predict(rows), model_of(broken, simulated).predict(rows)
    assert ours[0] == pytest.approx(theirs[0])


def test_a_composition_that_says_the_opposite_is_not_followed():
    trap = contrary(0)
    rows = trap.space.sample(np.random.default_rng(1), 40)
    allocations = list(dict.fromkeys(map(trap.space.allocation, rows)))[:20]
    archive = Archive.of(trap.run(allocation, i) for i, allocation in enumerate(allocations))
    model = fitted(archive, trap.space)
    assert model is not None
    assert model.composition is not None
    others = trap.space.sample(np.random.default_rng(2), 60)
    truth = np.array([trap.run(trap.space.allocation(row)).score for row in others])
    assert np.corrcoef(model.composition.predict(others), truth)[0, 1] < -0.8
    assert np.corrcoef(model.predict(others)[0], truth)[0, 1] > 0.5

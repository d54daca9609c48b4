"""The fit of an archive: predicted scores with their uncertainty, and the curves of the stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.composition import Composition, stage_tables
from agenttts.allocators.curves.residual import Prior, Residual, fit_residual
from agenttts.allocators.curves.samples import Samples
from agenttts.allocators.curves.stagefits import StageFit, fit_stage, sketch_laws
from agenttts.allocators.space import Indices, Space
from agenttts.study.archive import Archive, Trial

__all__ = ["CurvesModel", "StagePoint", "fitted"]

Floats = NDArray[np.float64]

N_FEW = 3
"""With fewer scored trials than this nothing is predicted."""
N_DRAWS = 8
"""Draws of the stages' laws; their spread is the composition's own uncertainty."""
SEED = 20250802
"""Draws do not depend on the round: the same archive gives the same fit."""


@dataclass(frozen=True, slots=True)
class StagePoint:
    """One point of a stage's curve: the score of its answer after right answers of the stages before."""

    stage: str
    model: str
    select: str
    n_samples: int
    mean: float
    low: float
    """2.5 % point."""
    high: float
    """97.5 % point."""
    seen: bool
    """Whether a trial has used the model at the stage; otherwise the curve is guessed from other models."""


@dataclass(frozen=True)
class CurvesModel:
    """What an archive says about allocations, tried or not."""

    space: Space
    trials: tuple[Trial, ...]
    """Those it rests on."""
    fits: tuple[StageFit, ...]
    """Of the stages in the composition; empty where the final stage has no scored samples."""
    composition: Composition | None
    draws: tuple[Composition, ...]
    residual: Residual
    noise: float
    """Mean variance of a measured score around its expectation."""

    def prior(self, indices: Indices) -> Prior:
        """Return what the composition says of allocations."""
        return _prior(self.composition, self.draws, indices)

    def predict(self, indices: Indices) -> tuple[Floats, Floats]:
        """Return expected scores and their standard deviations, shape (n_allocations,) each."""
        return self.residual.at(indices, self.prior(indices))

    def against_incumbent(self, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return `predict(indices)`, and the standard deviations of the differences to the incumbent."""
        place = None if self.incumbent is None else self.incumbent[2]
        return self.residual.against(indices, self.prior(indices), place)

    def cheap_mean(self, indices: Indices) -> Floats:
        """Return nearly `predict(indices)[0]`, for very many allocations."""
        composed = np.zeros(len(indices)) if self.composition is None else self.composition.predict(indices)
        return self.residual.cheap_mean(indices, composed)

    @cached_property
    def incumbent(self) -> tuple[Trial, float, int] | None:
        """The trial that may win with the highest expected score, that score, and its position in `trials`.

        A lucky measurement makes no incumbent.
        """
        mean, _ = self.residual.at(self.residual.seen, self.residual.prior)
        ok = [(float(mean[i]), -i) for i, trial in enumerate(self.trials) if trial.status == "ok"]
        if not ok:
            return None
        value, place = max(ok)
        return self.trials[-place], value, -place

    def chance_to_beat(self, indices: Indices) -> Floats:
        """Return the chance that allocations are better than the incumbent, shape (n_allocations,); 1 without one."""
        if self.incumbent is None:
            return np.ones(len(indices))
        from scipy.special import ndtr

        mean, _, gap = self.against_incumbent(indices)
        result: Floats = ndtr((mean - self.incumbent[1]) / gap)
        return result

    def stage_curves(self) -> list[StagePoint]:
        """Return how the score of every stage's answer rises with samples, by model and selector.

        Only stages of the composition have one. Intervals are those of the laws' posterior draws on these problems.
        """
        if self.composition is None:
            return []
        return [point for fit in self.fits for point in self._curve(self.composition, fit)]

    def _curve(self, composition: Composition, fit: StageFit) -> Iterator[StagePoint]:
        stages = [choices[0].stage for choices in self.space.stages]
        place = stages.index(fit.stage)
        means = composition.tables[place].right[1].mean(axis=1)
        drawn = np.stack([draw.tables[place].right[1].mean(axis=1) for draw in self.draws])
        width = 1.96 * drawn.std(axis=0, ddof=1)
        done = set()
        for i, choice in enumerate(self.space.stages[place]):
            # Choices that differ in the threshold alone are one point.
            point = replace(choice, below=None)
            if point in done:
                continue
            done.add(point)
            low, high = np.clip([means[i] - width[i], means[i] + width[i]], 0, 1)
            yield StagePoint(
                choice.stage,
                choice.model,
                choice.select,
                choice.n_samples,
                float(means[i]),
                float(low),
                float(high),
                choice.model in fit.seen,
            )


def fitted(archive: Archive, space: Space) -> CurvesModel | None:
    """Return the fit of an archive; `None` with fewer than three scored trials of allocations in the space.

    Deterministic: the same trials and sketches give the same fit, whatever their order.
    """
    trials = sorted(archive.valid, key=lambda trial: trial.number)
    seen = tuple(t for t in trials if space.index(t.allocation) is not None)
    if len(seen) < N_FEW:
        return None
    fits, composition, draws = _compose(archive, Samples(space, seen))
    rows = np.array([space.index(t.allocation) for t in seen], dtype=np.int32)
    scores = np.array([archive.estimate(t) for t in seen])
    noise = np.array([_noise(t, score) for t, score in zip(seen, scores, strict=True)])
    prior = _prior(composition, draws, rows)
    residual = fit_residual(space, rows, scores, noise, prior)
    return CurvesModel(space, seen, fits, composition, draws, residual, float(noise.mean()))


def _compose(
    archive: Archive, samples: Samples
) -> tuple[tuple[StageFit, ...], Composition | None, tuple[Composition, ...]]:
    """Return the stages' fits, the expected composition and draws of it; nothing where the final stage has no gold.

    Nothing either where problems are sent to stages by a rating or a test, or a stage may be left out: a composition
    knows no answers but right and wrong ones that one stage hands to the next, by their agreement.
    """
    space = samples.space
    final = space.structure.final
    structure = space.structure
    sent = structure.routes or structure.optional or "score" in structure.measures.values()
    if final is None or final not in samples.gold or sent:
        return (), None, ()
    order = samples.upstream(final)
    sketches = sketch_laws(archive)
    fits = tuple(fit_stage(samples, stage, sketches) for stage in order)
    rng = np.random.default_rng(SEED)
    expected, *draws = (
        _composition(samples, fits, None if draw == 0 else rng) for draw in range(N_DRAWS + 1)
    )
    return fits, expected, tuple(draws)


def _composition(
    samples: Samples, fits: tuple[StageFit, ...], rng: np.random.Generator | None
) -> Composition:
    space = samples.space
    place = {fit.stage: samples.stages.index(fit.stage) for fit in fits}
    watched = {stage: samples.watched(stage) for stage in place}
    pooled = space.structure.pooled
    tables = {}
    for fit in fits:
        watchers = [place[stage] for stage, other in watched.items() if other == fit.stage]
        thresholds = frozenset(c.below for s in watchers for c in space.stages[s] if c.below is not None)
        sides = (0, 1) if samples.sources(fit.stage) else (1,)
        votes_on = any(samples.stages[s] in pooled for s in watchers)
        tables[place[fit.stage]] = stage_tables(
            space,
            place[fit.stage],
            fit,
            thresholds,
            rng,
            led=sides if votes_on else (),
            pooled=sides if fit.stage in pooled and watched[fit.stage] in place else (),
        )
    return Composition(
        space=space,
        order=tuple(place.values()),
        feeds={p: tuple(place[feed] for feed in samples.feeds(stage)) for stage, p in place.items()},
        watched={place[stage]: place[w] for stage, w in watched.items() if w is not None and w in place},
        tables=tables,
    )


def _prior(composition: Composition | None, draws: tuple[Composition, ...], indices: Indices) -> Prior:
    if composition is None:
        return Prior.flat(len(indices))
    mean = composition.predict(indices)
    drawn = np.stack([draw.predict(indices) for draw in draws])
    return Prior(mean, drawn - drawn.mean(axis=0))


def _noise(trial: Trial, score: float) -> float:
    """Return the variance of a trial's score around its expectation on all problems.

    Part of the binomial variance only: which problems are hard is the same for all trials.
    """
    return max(2.5e-5, 0.3 * max(score * (1 - score), 0.02) / len(trial.scores))

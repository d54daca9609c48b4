"""The fitted laws of every stage: one of single samples by model, one by selector and model.

A model that no trial has used at a stage gets the laws of those that were, by likeness (price and family), moved along
the trend of score over price, and is held for as uncertain as one problem makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import (
    LOGITS,
    PRIOR_MEAN_SAMPLES,
    Counts,
    ProblemLaws,
    SketchLaw,
    fit_laws,
)
from agenttts.allocators.curves.samples import Samples
from agenttts.allocators.curves.selectors import SelectorLaw, fit_selector
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive

__all__ = ["StageFit", "fit_stage", "likeness", "sketch_laws", "unit_prices"]

Floats = NDArray[np.float64]

WRONG_CARRIES = 0.3
"""Before data: the share of a model's chance that is left when an earlier stage was wrong."""
CARRIED_SAMPLES = 8.0
"""Independent samples that a high chance after wrong answers counts as for the chance after right ones."""
TREND = 0.35
"""Before data: rise of a chance, in logits, for a model whose sample costs twice as much."""
TREND_SD = 0.35
SCATTER_SD = 0.6
"""Standard deviation of a model's mean chance around the trend, in logits."""


@dataclass(frozen=True)
class StageFit:
    """What is known of one stage. Sides: 0 after a wrong answer of the stages before, 1 after a right one."""

    stage: str
    laws: Mapping[str, tuple[ProblemLaws, ProblemLaws]]
    """Model -> laws of one sample by side."""
    selectors: Mapping[tuple[str, str], SelectorLaw]
    """(model, label) -> law of the selector's parameter."""
    seen: frozenset[str]
    """Models that a trial has used here."""


def unit_prices(space: Space, stage: int) -> dict[str, float]:
    """Return the expected cost of one sample by model; where one sample is not on offer, that of the fewest."""
    prices: dict[str, tuple[int, float]] = {}
    for choice, cost in zip(space.stages[stage], space.costs[stage], strict=True):
        if choice.below == 0:  # never runs, whatever model it names
            continue
        known = prices.get(choice.model)
        if known is None or choice.n_samples < known[0]:
            prices[choice.model] = choice.n_samples, cost / choice.n_samples
    names = dict.fromkeys(choice.model for choice in space.stages[stage])
    return {model: max(prices.get(model, (1, 0.0))[1], 1e-12) for model in names}


def likeness(prices: Mapping[str, float]) -> Floats:
    """Return how alike models are before data, shape (n_models, n_models), 1 on the diagonal.

    Models that cost about the same are, and variants of one model (`name@variant`) are a little more.
    """
    names = list(prices)
    doublings = np.log2([prices[name] for name in names])
    families = np.array([name.split("@")[0] for name in names])
    near = np.exp(-((doublings[:, None] - doublings[None, :]) ** 2) / 2)
    result: Floats = 0.25 + 0.4 * near + 0.15 * (families[:, None] == families[None, :])
    np.fill_diagonal(result, 1.0)
    return result


def sketch_laws(archive: Archive) -> dict[tuple[str, str], SketchLaw]:
    """Return the planner's guesses by (stage, model); the latest of each counts."""
    return {
        (s.stage, s.model): SketchLaw.of(s.one_sample, s.plateau, s.half_way)
        for s in archive.sketches
        if np.isfinite([s.one_sample, s.plateau, s.half_way]).all()
    }


def fit_stage(
    samples: Samples, stage: str, sketches: Mapping[tuple[str, str], SketchLaw] | None = None
) -> StageFit:
    """Return the fit of one stage with gold."""
    place = samples.stages.index(stage)
    prices = unit_prices(samples.space, place)
    counts = {model: samples.counts(stage, model) for model in prices}
    seen = frozenset(m for m, (wrong, right) in counts.items() if (wrong.n + right.n).sum() > 0)
    known = {
        model: _seen_laws(counts[model], (sketches or {}).get((stage, model)))
        for model in prices
        if model in seen
    }
    eased = _with_ease(known)
    laws = {
        model: eased[model]
        if model in seen
        else _unseen_laws(model, eased, prices, counts[model], (sketches or {}).get((stage, model)))
        for model in prices
    }
    return StageFit(stage, laws, _selectors(samples, place, list(prices)), seen)


def _seen_laws(counts: tuple[Counts, Counts], sketch: SketchLaw | None) -> tuple[ProblemLaws, ProblemLaws]:
    """Return both sides. What is right after wrong answers is so after right ones, unless trials say otherwise."""
    least = fit_laws(counts[0], WRONG_CARRIES * 0.5).mean
    weight = PRIOR_MEAN_SAMPLES if least < 0.5 else CARRIED_SAMPLES
    right = fit_laws(counts[1], max(0.5, least), sketch, weight)
    return fit_laws(counts[0], WRONG_CARRIES * right.mean), right


Sides = tuple[ProblemLaws, ProblemLaws]


def _with_ease(known: Mapping[str, Sides]) -> dict[str, Sides]:
    """Return the laws with the problems that a model was not seen on moved by how easy others found them."""
    if not known:
        return {}
    ease: list[Floats] = []
    for side in (0, 1):
        shifts = np.stack([laws[side].ease for laws in known.values()])
        count = (~np.isnan(shifts)).sum(axis=0)
        ease.append(np.nansum(shifts, axis=0) / (count + 1))
    # What is known after right answers tells of a problem after wrong ones, too, and the other way round.
    both = [np.where(ease[0] == 0, ease[1], ease[0]), np.where(ease[1] == 0, ease[0], ease[1])]
    return {model: (laws[0].tilted(both[0]), laws[1].tilted(both[1])) for model, laws in known.items()}


def _unseen_laws(
    model: str,
    known: Mapping[str, Sides],
    prices: Mapping[str, float],
    counts: tuple[Counts, Counts],
    sketch: SketchLaw | None,
) -> Sides:
    if not known:
        return _seen_laws(counts, sketch)
    names = list(prices)
    alike = likeness(prices)[names.index(model)]
    weights = np.array([alike[names.index(name)] ** 2 for name in known])
    weights /= weights.sum()
    wrong, right = (_mixed(model, known, prices, side, weights) for side in (0, 1))
    if sketch is not None:
        right = _half(right, sketch.weights)
    return wrong, right


def _half(laws: ProblemLaws, weights: Floats) -> ProblemLaws:
    """Return the even mixture of laws and a planner's guess; what is unseen is itself worth no more."""
    return ProblemLaws((laws.population + weights) / 2, (laws.problems + weights) / 2, laws.seen)


def _mixed(
    model: str, known: Mapping[str, Sides], prices: Mapping[str, float], side: int, weights: Floats
) -> ProblemLaws:
    """Return the mixture of the laws of other models, moved along the trend of score over price."""
    sides = [laws[side] for laws in known.values()]
    population = np.einsum("m,mk->k", weights, np.stack([laws.population for laws in sides]))
    problems = np.einsum("m,mpk->pk", weights, np.stack([laws.problems for laws in sides]))
    doublings = np.log2([prices[name] for name in known])
    offset = np.log2(prices[model]) - float(weights @ doublings)
    means = [float(np.clip(laws.mean, 0.01, 0.99)) for laws in sides]
    shift = _trend(doublings, np.log(means) - np.log1p(np.negative(means))) * offset
    spread = float(population @ LOGITS**2 - (population @ LOGITS) ** 2)
    tilt = np.exp(np.clip(shift / max(spread, 0.5), -2, 2) * LOGITS)
    population, problems = population * tilt, problems * tilt
    unseen = np.zeros(len(problems), dtype=bool)
    return ProblemLaws(population / population.sum(), problems / problems.sum(axis=1, keepdims=True), unseen)


def _trend(doublings: Floats, logits: Floats) -> float:
    """Return the slope of scores over price, in logits a doubling, drawn to its prior."""
    centred = doublings - doublings.mean()
    noise = SCATTER_SD**2
    precision = 1 / TREND_SD**2 + float(centred @ centred) / noise
    return float((TREND / TREND_SD**2 + centred @ logits / noise) / precision)


def _selectors(samples: Samples, place: int, models: Sequence[str]) -> dict[tuple[str, str], SelectorLaw]:
    """Return the laws of the selectors by model: first of all models together, which is each one's prior."""
    choices = samples.space.stages[place]
    stage = samples.stages[place]
    size = len(samples.problems)
    labels = {c.select: samples.space.structure.kind(c) for c in choices if c.n_samples > 1}
    result = {}
    for label, kind in labels.items():
        uses = {model: samples.selected(stage, model, label) for model in models}
        # Another model's answers to a problem are another problem: its rivals differ.
        apart = [
            type(use)(use.n_samples, use.problems + m * size, use.right, use.score)
            for m, of_model in enumerate(uses.values())
            for use in of_model
        ]
        together = fit_selector(kind, apart, size * len(models)).population
        for model in models:
            result[model, label] = fit_selector(kind, uses[model], size, together)
    return result

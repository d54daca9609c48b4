"""What more samples of a stage bring, measured: only trials that differ in their number are held against each other.

A stage's answer depends on the stages before it, and the final score on all others; so a curve joins only trials in
which these are the same, on the same problems, and a gain is taken between such trials, problem by problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum, log2, sqrt
from typing import TYPE_CHECKING

from agenttts.allocators.evidence import Estimate, flat_from
from agenttts.report.facts.intervals import Z, band
from agenttts.report.facts.values import SampleCurve, SampleGain

if TYPE_CHECKING:
    from agenttts.pipeline.base import StageChoice
    from agenttts.study.archive import Trial

__all__ = ["sample_curves", "sample_gains"]

FEW = 5
"""With fewer problems than this nothing is told."""
LEAST_SHARED = 0.5
"""A trial joins a curve where that leaves this share of the problems of the fullest one."""

Scores = Mapping[str, float]


@dataclass(frozen=True)
class _Way:
    """What trials have in common that differ in the number of a stage's samples alone."""

    model: str
    select: str
    below: float | None
    beside: tuple[StageChoice, ...]


def sample_curves(trials: Iterable[Trial], stages: Sequence[str]) -> tuple[SampleCurve, ...]:
    """Return the score of each stage's answer by number of samples; one curve for every setting of the stages before it.

    Stages without gold are told by the final score, and then all other stages are the same along a curve.
    """
    known = list(trials)
    return tuple(curve for stage in stages for curve in _curves(known, stage))


def _curves(trials: Sequence[Trial], stage: str) -> Iterator[SampleCurve]:
    with_gold = any(trial.stage_scores.get(stage) for trial in trials)
    by_way: dict[_Way, dict[int, list[Scores]]] = {}
    for trial, way, n in _ways(trials, stage, whole=not with_gold):
        scores = trial.stage_scores.get(stage, {}) if with_gold else trial.scores
        by_way.setdefault(way, {}).setdefault(n, []).append(scores)
    for way, by_number in by_way.items():
        means = {n: _by_problem(several) for n, several in sorted(by_number.items())}
        for part in _comparable(means):
            points = {n: _estimate(list(scores.values())) for n, scores in part.items()}
            yield SampleCurve(
                stage,
                way.model,
                way.select,
                "stage" if with_gold else "final",
                way.beside,
                points,
                flat_from(part),
            )


def _ways(trials: Sequence[Trial], stage: str, *, whole: bool) -> Iterator[tuple[Trial, _Way, int]]:
    """Give each trial with its way and its number of samples; one sample begins every way of its model.

    Args:
        trials: All of them.
        stage: Whose samples vary.
        whole: Whether all other stages must be the same, or only those before.
    """
    chosen = [(trial, trial.allocation.canonical()) for trial in trials]
    selects: dict[str, dict[str, None]] = {}
    for _, allocation in chosen:
        own = allocation[stage]
        if own.n_samples > 1 and own.below != 0:
            selects.setdefault(own.model, {})[own.select] = None
    for trial, allocation in chosen:
        own = allocation[stage]
        if own.below == 0:
            continue
        place = allocation.choices.index(own)
        beside = allocation.choices[:place] + (allocation.choices[place + 1 :] if whole else ())
        for select in selects.get(own.model, {}) if own.n_samples == 1 else [own.select]:
            yield trial, _Way(own.model, select, own.below, beside), own.n_samples


def _by_problem(several: Iterable[Scores]) -> dict[str, float]:
    """Return each problem's mean over trials."""
    found: dict[str, list[float]] = {}
    for scores in several:
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
    return {name: fsum(found[name]) / len(found[name]) for name in sorted(found)}


def _comparable(means: Mapping[int, Scores]) -> Iterator[dict[int, Scores]]:
    """Give the numbers that share most problems, on these problems; then each of the others on its own."""
    fullest = sorted((n for n in means if len(means[n]) >= FEW), key=lambda n: (-len(means[n]), n))
    joined: list[int] = []
    shared: set[str] = set(means[fullest[0]]) if fullest else set()
    for n in fullest:
        rest = shared & means[n].keys()
        if len(rest) >= max(FEW, LEAST_SHARED * len(means[fullest[0]])):
            joined.append(n)
            shared = rest
    if joined:
        yield {n: {name: means[n][name] for name in sorted(shared)} for n in sorted(joined)}
    for n in fullest:
        if n not in joined:
            yield {n: means[n]}


def _estimate(values: Sequence[float]) -> Estimate:
    mean = min(1.0, max(0.0, fsum(values) / len(values)))
    return Estimate(mean, *band(values), len(values))


# --- gains -----------------------------------------------------------------------------------------------------------


def sample_gains(trials: Iterable[Trial], best: Trial, stages: Sequence[str]) -> tuple[SampleGain, ...]:
    """Return what twice the samples bring at each stage, for the model and the way that the winner takes there.

    By trials whose other stages are the winner's; where no two of these differ in samples alone, by those that share
    other settings of the other stages. A stage of which nothing is known is left out.
    """
    known = list(trials)
    return tuple(gain for stage in stages if (gain := _gain(known, best, stage)) is not None)


def _gain(trials: Sequence[Trial], best: Trial, stage: str) -> SampleGain | None:
    own = best.allocation.canonical()[stage]
    by_way: dict[_Way, list[tuple[Trial, int]]] = {}
    for trial, way, n in _ways(trials, stage, whole=True):
        if (
            way.model == own.model
            and own.below == way.below
            and (own.n_samples == 1 or own.select == way.select)
        ):
            by_way.setdefault(way, []).append((trial, n))
    beside = tuple(choice for choice in best.allocation.canonical().choices if choice.stage != stage)
    at_winner = {way: several for way, several in by_way.items() if way.beside == beside}
    for ways, is_there in ((at_winner, True), (by_way, False)):
        pairs = [pair for several in ways.values() for pair in _pairs(several)]
        slopes = _slopes(pairs)
        if len(slopes) >= FEW:
            return SampleGain(stage, own.model, _mean(slopes), is_there, len(pairs))
    return None


def _pairs(several: Sequence[tuple[Trial, int]]) -> Iterator[tuple[Trial, Trial, float]]:
    """Give two trials and how often the second doubles the samples of the first."""
    for (one, n), (other, m) in combinations(several, 2):
        if n != m:
            yield one, other, log2(m / n)


def _slopes(pairs: Iterable[tuple[Trial, Trial, float]]) -> list[float]:
    """Return each problem's gain by a doubling, least squares through the pairs that have the problem."""
    above: dict[str, float] = {}
    below: dict[str, float] = {}
    for one, other, step in pairs:
        for name in one.scores.keys() & other.scores.keys():
            above[name] = above.get(name, 0.0) + step * (other.scores[name] - one.scores[name])
            below[name] = below.get(name, 0.0) + step * step
    return [above[name] / below[name] for name in sorted(above)]


def _mean(slopes: Sequence[float]) -> Estimate:
    """Return their mean with a normal interval, with one more problem in either direction, so that few are no certainty."""
    mean = fsum(slopes) / len(slopes)
    padded = [*slopes, 1.0, -1.0]
    n, middle = len(padded), fsum(padded) / len(padded)
    error = sqrt(fsum((one - middle) ** 2 for one in padded) / (n - 1) / n)
    return Estimate(mean, min(mean, middle - Z * error), max(mean, middle + Z * error), len(slopes))

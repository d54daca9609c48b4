"""What the trials of an archive say, in figures with intervals: handed to a planner rather than left to its reading.

Four questions: what a unit of budget brings at each stage, where each stage saturates, how the outcome of a stage moves
the final score, and which draws are held already. Pure; all trials come from search problems, as everything in an
archive does. Intervals are normal ones over problems (95 %): problems are what trials share, so differences between
trials are taken problem by problem first. They do not correct for having looked at many of them.

The questions are the three insights of Shi et al. 2025, arXiv:2508.00890, section 4.2, which leaves them to the
planner's reading of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.space import Space
from agenttts.pipeline.base import StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.study.statistics import wilson

__all__ = [
    "Estimate",
    "Evidence",
    "Held",
    "Influence",
    "Saturation",
    "Single",
    "StageGain",
    "evidence_text",
    "flat_from",
    "gather",
]

Floats = NDArray[np.float64]

Z = 1.96
"""Half width of a 95 % interval in standard errors."""
SHARE = 0.1
"""Gains are told for this share of the budget."""
RIGHT = 0.5
"""A stage's answer counts as right from this score on."""
CONFIDENCE = 0.95
FLAT = 0.1
"""A curve is flat where more samples surely gain less than this."""
FEW = 5
"""With fewer problems than this no interval is given."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Problems (for a regression: trials) behind it."""

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class StageGain:
    """What the final score gains where a tenth of the budget more goes to one stage."""

    stage: str
    gain: Estimate
    how: Literal["paired", "regression"]
    """`paired`: trials that differ in this stage alone, problem by problem; `regression`: of the scores of all trials
    on the costs of their stages, which other differences may blur."""
    n_pairs: int
    """Pairs of trials (for a regression: trials)."""


@dataclass(frozen=True, slots=True)
class Single:
    """The score of one sample of a model at a stage, whatever the stages before it did in the trials."""

    stage: str
    model: str
    score: Estimate


@dataclass(frozen=True, slots=True)
class Saturation:
    """How the score of a stage's answer rises with samples of one model."""

    stage: str
    model: str
    select: str
    of: Literal["stage", "final"]
    """`stage`: scored against the stage's gold; `final`: the final score, for stages without gold, other stages as
    they were in the trials."""
    points: Mapping[int, Estimate]
    """Number of samples -> score."""
    flat_from: int | None
    """Smallest number of samples from which all larger ones that were tried surely gain less than `FLAT`; `None`: none
    is known."""


@dataclass(frozen=True, slots=True)
class Influence:
    """The final score where a stage was right, and where it was wrong."""

    stage: str
    after_right: Estimate
    after_wrong: Estimate


@dataclass(frozen=True, slots=True)
class Held:
    """Draws that a later trial gets without paying."""

    stage: str
    model: str
    n_samples: int


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    gains: tuple[StageGain, ...] = ()
    singles: tuple[Single, ...] = ()
    saturation: tuple[Saturation, ...] = ()
    influence: tuple[Influence, ...] = ()
    held: tuple[Held, ...] = ()


def gather(archive: Archive, space: Space) -> Evidence:
    """Return what the archive says about the stages of a space."""
    trials = [t for t in Archive.of(archive.valid).trials if space.index(t.allocation) is not None]
    return Evidence(
        gains=tuple(gain for s in range(space.n_stages) if (gain := _gain(trials, archive, space, s))),
        singles=tuple(single for choices in space.stages for single in _singles(trials, choices[0].stage)),
        saturation=tuple(
            curve for choices in space.stages for curve in _saturation(trials, choices[0].stage)
        ),
        influence=tuple(
            found
            for choices in space.stages
            if choices[0].stage != space.structure.final and (found := _influence(trials, choices[0].stage))
        ),
        held=tuple(Held(stage, model, n) for (stage, model), n in sorted(archive.held.items())),
    )


# --- means and intervals -----------------------------------------------------------------------------------------


def _mean(values: Sequence[float] | Floats) -> Estimate | None:
    """Return the mean of one value per problem; `None` for too few problems."""
    n = len(values)
    if n < FEW:
        return None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / n**0.5
    return Estimate(mean, mean - Z * error, mean + Z * error, n)


def _ratio(sums: Mapping[str, tuple[float, float]]) -> Estimate | None:
    """Return total over count, from (total, count) by problem; problems, not single trials, are independent."""
    n = len(sums)
    if n < FEW:
        return None
    totals = np.array([total for total, _ in sums.values()])
    counts = np.array([count for _, count in sums.values()])
    value = float(totals.sum() / counts.sum())
    spread = float(np.sqrt(np.sum((totals - value * counts) ** 2) * n / (n - 1)))
    error = spread / float(counts.sum())
    # Never narrower than that of as many independent problems: equal values are no certainty.
    low, high = wilson(min(1.0, max(0.0, value)), n, CONFIDENCE)
    return Estimate(value, min(low, max(0.0, value - Z * error)), max(high, min(1.0, value + Z * error)), n)


def _share(values: Sequence[float]) -> Estimate | None:
    """Return the mean of scores in [0, 1], one per problem, with Wilson's interval; `None` for too few problems."""
    n = len(values)
    if n < FEW:
        return None
    mean = min(1.0, max(0.0, float(np.mean(values))))
    return Estimate(mean, *wilson(mean, n, CONFIDENCE), n)


# --- gain by stage -----------------------------------------------------------------------------------------------


def _gain(trials: Sequence[Trial], archive: Archive, space: Space, stage: int) -> StageGain | None:
    pairs = list(_pairs(trials, space, stage))
    slopes = _slopes(pairs)
    gain = _mean(slopes)
    if gain is not None:
        return StageGain(space.stages[stage][0].stage, _scaled(gain), "paired", len(pairs))
    return _regressed(trials, archive, space, stage)


def _pairs(trials: Iterable[Trial], space: Space, stage: int) -> Iterator[tuple[Trial, Trial, float]]:
    """Give trials that differ in this stage alone, with the difference of their costs in budgets."""
    alike: dict[tuple[StageChoice, ...], list[tuple[Trial, float]]] = {}
    for trial in trials:
        choices = trial.allocation.choices
        # Of whole allocations: a watched stage also moves how often a conditional one runs.
        cost = space.cost(trial.allocation) / space.budget.amount
        alike.setdefault((*choices[:stage], *choices[stage + 1 :]), []).append((trial, cost))
    for several in alike.values():
        for (a, cost_a), (b, cost_b) in combinations(several, 2):
            if a.allocation != b.allocation and abs(cost_b - cost_a) > 1e-9:
                yield a, b, cost_b - cost_a


def _slopes(pairs: Iterable[tuple[Trial, Trial, float]]) -> list[float]:
    """Return each problem's slope of score over cost, least squares through the pairs that have the problem."""
    above: dict[str, float] = {}
    below: dict[str, float] = {}
    for a, b, step in pairs:
        for name in a.scores.keys() & b.scores.keys():
            above[name] = above.get(name, 0.0) + step * (b.scores[name] - a.scores[name])
            below[name] = below.get(name, 0.0) + step * step
    return [above[name] / below[name] for name in sorted(above)]


def _scaled(slope: Estimate) -> Estimate:
    return Estimate(slope.value * SHARE, slope.low * SHARE, slope.high * SHARE, slope.n)


def _regressed(trials: Sequence[Trial], archive: Archive, space: Space, stage: int) -> StageGain | None:
    n, p = len(trials), space.n_stages + 1
    if n < p + 2:
        return None
    costs = [[space.cost_of(c) / space.budget.amount for c in t.allocation.choices] for t in trials]
    design = np.column_stack([np.ones(n), np.array(costs)])
    scores = np.array([archive.estimate(t) for t in trials])
    if np.linalg.matrix_rank(design) < p:
        return None
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ scores
    residual = scores - design @ slopes
    error = float(np.sqrt(residual @ residual / (n - p) * inverse[stage + 1, stage + 1]))
    slope = float(slopes[stage + 1])
    estimate = Estimate(slope, slope - Z * error, slope + Z * error, n)
    return StageGain(space.stages[stage][0].stage, _scaled(estimate), "regression", n)


# --- single samples ----------------------------------------------------------------------------------------------


def _singles(trials: Sequence[Trial], stage: str) -> list[Single]:
    """Return the mean score of single samples by model; by problem first, over all trials that drew some."""
    drawn: dict[str, list[dict[str, float]]] = {}
    for trial in trials:
        scores = trial.sample_scores.get(stage)
        if scores:
            means = {name: sum(each) / len(each) for name, each in scores.items() if each}
            drawn.setdefault(trial.allocation[stage].model, []).append(means)
    found = {model: _share(list(_by_problem(several).values())) for model, several in sorted(drawn.items())}
    return [Single(stage, model, score) for model, score in found.items() if score is not None]


# --- saturation --------------------------------------------------------------------------------------------------


def _saturation(trials: Sequence[Trial], stage: str) -> list[Saturation]:
    """Return one curve for every model and selector that several samples were tried of."""
    with_gold = any(t.stage_scores.get(stage) for t in trials)
    by_choice: dict[StageChoice, list[Mapping[str, float]]] = {}
    for trial in trials:
        scores = trial.stage_scores.get(stage, {}) if with_gold else trial.scores
        by_choice.setdefault(trial.allocation[stage], []).append(scores)
    ways = sorted({(c.model, c.select) for c in by_choice if c.n_samples > 1})
    curves = []
    for model, select in ways:
        same = [c for c in by_choice if c.model == model and (c.n_samples == 1 or c.select == select)]
        mine = {
            # Choices of the same number may differ in when the stage runs.
            n: _by_problem(scores for c in same if c.n_samples == n for scores in by_choice[c])
            for n in sorted({c.n_samples for c in same})
        }
        points = {
            n: mean for n, scores in mine.items() if (mean := _share(list(scores.values()))) is not None
        }
        if points:
            of: Literal["stage", "final"] = "stage" if with_gold else "final"
            curves.append(Saturation(stage, model, select, of, points, flat_from(mine)))
    return curves


def _by_problem(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return each problem's mean over trials."""
    found: dict[str, list[float]] = {}
    for scores in several:
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
    return {name: sum(found[name]) / len(found[name]) for name in sorted(found)}


def flat_from(curve: Mapping[int, Mapping[str, float]]) -> int | None:
    """Return the smallest number of samples from which all larger ones surely gain less than `FLAT`, if any.

    Args:
        curve: Number of samples -> score by problem.
    """
    counts = sorted(curve)
    if len(counts) < 2:
        return None
    for n in counts:
        larger = [more for more in counts if more > n]
        if larger and all(_surely_no_gain(curve[more], curve[n]) for more in larger):
            return n
    return None


def _surely_no_gain(more: Mapping[str, float], less: Mapping[str, float]) -> bool:
    gains = [more[name] - less[name] for name in sorted(more.keys() & less.keys())]
    gain = _mean(gains)
    if gain is None:
        return False
    # Equal scores on a few problems are no certainty: at least what Wilson grants a share of 0.
    slack = wilson(0.0, gain.n, CONFIDENCE)[1]
    return max(gain.high, gain.value + slack) < FLAT


# --- influence ---------------------------------------------------------------------------------------------------


def _influence(trials: Sequence[Trial], stage: str) -> Influence | None:
    right: dict[str, tuple[float, float]] = {}
    wrong: dict[str, tuple[float, float]] = {}
    for trial in trials:
        stage_scores = trial.stage_scores.get(stage, {})
        for name in sorted(stage_scores.keys() & trial.scores.keys()):
            side = right if stage_scores[name] >= RIGHT else wrong
            total, count = side.get(name, (0.0, 0.0))
            side[name] = (total + trial.scores[name], count + 1)
    after_right, after_wrong = _ratio(right), _ratio(wrong)
    if after_right is None or after_wrong is None:
        return None
    return Influence(stage, after_right, after_wrong)


# --- as text -----------------------------------------------------------------------------------------------------


def evidence_text(evidence: Evidence) -> str:
    """Return the evidence as short tables in plain text; a question without an answer says so."""
    return "\n\n".join(
        [
            _block(
                "Gain of the final score for a tenth of the budget more at a stage (95 % interval):",
                [
                    f"- {g.stage}: {g.gain} ({g.how}, {g.n_pairs} {'pairs' if g.how == 'paired' else 'trials'})"
                    for g in evidence.gains
                ],
            ),
            _block(
                "Score of a single sample at a stage with gold, by model:",
                [f"- {s.stage}, {s.model}: {s.score}" for s in evidence.singles],
            ),
            _block(
                "Score of a stage's answer by number of samples, earlier stages as they were in the trials; flat from: "
                "a larger number tried surely gains less than 0.1:",
                [_saturation_line(curve) for curve in evidence.saturation],
            ),
            _block(
                "Final score where the stage was right / wrong:",
                [f"- {i.stage}: {i.after_right} / {i.after_wrong}" for i in evidence.influence],
            ),
            _block(
                "Draws that this run holds of nearly all problems and does not pay for again; verifying or fusing them may "
                "still cost (stage, model: samples):",
                [f"- {h.stage}, {h.model}: {h.n_samples}" for h in evidence.held],
            ),
        ]
    )


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(lines or ["- not known yet"])])


def _saturation_line(curve: Saturation) -> str:
    points = "; ".join(f"n={n}: {estimate}" for n, estimate in curve.points.items())
    flat = "" if curve.flat_from is None else f"; flat from {curve.flat_from}"
    what = "" if curve.of == "stage" else " (final score)"
    return f"- {curve.stage}, {curve.model}, {curve.select}{what}: {points}{flat}"

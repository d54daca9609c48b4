"""What the outcomes of single samples say about allocations that were never tried.

From the per-problem scores of single samples this module estimates, for every stage and model, how likely a sample is
right on each problem, given that the stages before were right or wrong; from there how each selector turns n samples
into one answer; and from there, stage by stage, the mean final score of any allocation. All of it is a prior mean:
what it gets wrong is left to the residual in `gaussian`.

Sources: the Beta-binomial law of repeated samples (Brown et al. 2024, arXiv:2407.21787, for its use on LLM samples);
the plurality margin of self-consistency (Wang et al. 2022, arXiv:2203.11171). The forms of `gain` are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import StageChoice
from agenttts.study.archive import Trial

__all__ = ["Composition", "compose", "gain"]

Floats = NDArray[np.float64]

EDGES = np.array(
    [0, 0.01, 0.03, 0.07, 0.13, 0.2, 0.28, 0.36, 0.44, 0.5, 0.56, 0.64, 0.72, 0.8, 0.87, 0.93, 0.97, 0.99, 1]
)
NODES: Floats = (EDGES[1:] + EDGES[:-1]) / 2
"""Chances of success that laws are tabulated on, shape (n_nodes,); finer near 0 and 1, where laws pile up."""
THETAS = np.linspace(-0.2, 1.0, 13)
"""What is tried for the one parameter of a selector's form."""
VOTES = frozenset({"majority", "list_vote"})
MOST_PROBLEMS = 96
PRIOR_OVERDISPERSION = 0.5
PRIOR_PROBLEMS = 10.0
"""Problems that the prior overdispersion counts as."""
WRONG_CARRIES = 0.3
"""Before data: the share of a model's chance that is left when an earlier stage was wrong."""


def gain(kind: str, n_samples: int, theta: float, chance: Floats = NODES) -> Floats:
    """Return the chance that the selected answer is right, given the chance of one sample.

    Votes: right samples must outnumber the strongest rival answer, which holds a share `theta` of the wrong ones; by
    the normal approximation of the margin, and equal to one sample at n = 2, where a tie goes to the first.
    Everything else (verifiers, fusion): a share `theta` of the way from one sample to "any sample is right"; negative
    where selecting harms.

    Args:
        kind: Kind of the selector.
        n_samples: Samples.
        theta: The selector's parameter.
        chance: Chances of one sample in [0, 1], any shape; the result has the same.
    """
    if n_samples == 1 or kind == "first":
        return chance
    if kind in VOTES:
        rival = max(theta, 0.0) * (1 - chance)
        margin = chance - rival
        spread = np.sqrt(np.maximum(chance + rival - margin**2, 1e-6))
        won = _normal_cdf(margin * np.sqrt(n_samples) / spread)
        result: Floats = chance + (1 - 2 / n_samples) * (won - chance)
        return result
    found = 1 - (1 - chance) ** n_samples
    lifted: Floats = np.clip(chance + theta * (found - chance), 0, 1)
    return lifted


def _normal_cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z), dtype=float)


@dataclass(frozen=True)
class Outcomes:
    """Samples of one model at one stage, by problem, with what came before right (`after[1]`) or wrong (`after[0]`)."""

    right: tuple[Floats, Floats]
    """Sum of sample scores, shape (n_problems,) each."""
    n: tuple[Floats, Floats]
    """Samples, weighted by how far the stages before were right or wrong."""

    def laws(self) -> tuple[Floats, Floats]:
        """Return the laws of the chance of success after wrong and after right, shape (n_problems, n_nodes) each."""
        after_right, mean = _law(self.right[1], self.n[1], prior_mean=0.5)
        after_wrong, _ = _law(self.right[0], self.n[0], prior_mean=WRONG_CARRIES * mean)
        return after_wrong, after_right


def _law(right: Floats, n: Floats, prior_mean: float) -> tuple[Floats, float]:
    """Return each problem's law of the chance of success, and the mean chance over problems."""
    from scipy.special import betainc

    seen = n > 0
    shares = right[seen] / n[seen]
    # A problem is worth at most about two samples: those beyond tell of this problem alone.
    worth = n[seen] / (1 + PRIOR_OVERDISPERSION * (n[seen] - 1)).clip(min=0.5)
    mean = float((np.sum(worth * shares) + 2 * prior_mean) / (np.sum(worth) + 2))
    mean = min(max(mean, 0.005), 0.995)
    rho = _overdispersion(shares, n[seen], mean)
    strength = (1 - rho) / rho
    a = np.where(seen, mean * strength + right, mean * strength)
    b = np.where(seen, (1 - mean) * strength + n - right, (1 - mean) * strength)
    cumulated = betainc(a[:, None], np.maximum(b, 1e-6)[:, None], EDGES[None, :])
    return np.diff(cumulated, axis=1), mean


def _overdispersion(shares: Floats, n: Floats, mean: float) -> float:
    """Return how much chances differ between problems, in (0, 1), by moments, shrunk to the prior."""
    several = n >= 2
    count = int(several.sum())
    if count < 3:
        return PRIOR_OVERDISPERSION
    noise = float(np.mean(1 / n[several]))
    ratio = float(np.mean((shares[several] - mean) ** 2)) / (mean * (1 - mean))
    moment = min(max((ratio - noise) / max(1 - noise, 1e-3), 0.03), 0.97)
    return (count * moment + PRIOR_PROBLEMS * PRIOR_OVERDISPERSION) / (count + PRIOR_PROBLEMS)


@dataclass(frozen=True)
class Composition:
    """Predicted scores by stage and choice, put together along the stages."""

    space: Space
    order: tuple[int, ...]
    """Stages that the final answer depends on and that have gold, in the order of running."""
    feeds: Mapping[int, tuple[int, ...]]
    """Stage -> the stages of `order` right before it."""
    after_wrong: Mapping[int, NDArray[np.float32]]
    """Stage -> chance that its answer is right although an earlier one was wrong, shape (n_choices, n_problems)."""
    after_right: Mapping[int, NDArray[np.float32]]
    final: int

    def predict(self, indices: Indices, chunk: int = 8192) -> Floats:
        """Return the mean score of allocations, shape (n_allocations,)."""
        parts = [self._predict(indices[i : i + chunk]) for i in range(0, len(indices), chunk)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _predict(self, indices: Indices) -> Floats:
        right: dict[int, NDArray[np.float32]] = {}
        for s in self.order:
            chosen = indices[:, s]
            result = self.after_right[s][chosen]
            if self.feeds[s]:
                before = right[self.feeds[s][0]]
                for other in self.feeds[s][1:]:
                    before = before * right[other]
                wrong = self.after_wrong[s][chosen]
                result = wrong + (result - wrong) * before
            right[s] = result
        means: Floats = right[self.final].mean(axis=1).astype(np.float64)
        return means


@dataclass(frozen=True)
class _Evidence:
    """Scores of single samples and of stages, read from trials."""

    space: Space
    trials: tuple[Trial, ...]
    stages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(choices[0].stage for choices in self.space.stages))

    @cached_property
    def problems(self) -> tuple[str, ...]:
        names = sorted({name for trial in self.trials for name in trial.scores})
        step = max(1, -(-len(names) // MOST_PROBLEMS))
        return tuple(names[::step])

    @cached_property
    def gold(self) -> frozenset[str]:
        """Stages whose samples were scored."""
        return frozenset(
            stage for trial in self.trials for stage, scores in trial.sample_scores.items() if scores
        )

    def feeds(self, stage: str) -> tuple[str, ...]:
        """Return the nearest stages with gold that feed this one, through stages without."""
        found: dict[str, None] = {}
        for need in self.space.structure.needs.get(stage, ()):
            found.update(dict.fromkeys([need] if need in self.gold else self.feeds(need)))
        return tuple(found)

    def before(self, trial: Trial, stage: str) -> Floats:
        """Return how far the stages before were right, by problem; NaN where unknown."""
        result = np.ones(len(self.problems))
        for feed in self.feeds(stage):
            scores = trial.stage_scores.get(feed, {})
            result *= np.array([scores.get(name, np.nan) for name in self.problems])
        return result

    def outcomes(self, stage: str, model: str) -> Outcomes:
        """Return the samples of one model at one stage; of draws that trials share, the longest run counts."""
        size = len(self.problems)
        right = (np.zeros(size), np.zeros(size))
        n = (np.zeros(size), np.zeros(size))
        for trial in self.trials:
            samples = trial.sample_scores.get(stage)
            if not samples or trial.allocation[stage].model != model:
                continue
            before = self.before(trial, stage)
            drawn = [samples.get(name, ()) for name in self.problems]
            counts = np.array([len(scores) for scores in drawn], dtype=float)
            sums = np.array([sum(scores) for scores in drawn])
            for side, weight in ((0, 1 - before), (1, before)):
                weight = np.nan_to_num(weight)
                longer = counts * weight > n[side]
                n[side][longer] = (counts * weight)[longer]
                right[side][longer] = (sums * weight)[longer]
        return Outcomes(right, n)


def compose(trials: Sequence[Trial], space: Space) -> Composition | None:
    """Return what sample scores predict; `None` where the final stage has none."""
    evidence = _Evidence(space, tuple(sorted(trials, key=lambda trial: trial.number)))
    final = space.structure.final
    if final is None or final not in evidence.gold:
        return None
    order = tuple(s for s in _upstream(evidence, final))
    laws = {
        (stage, model): evidence.outcomes(stage, model).laws()
        for stage in order
        for model in dict.fromkeys(c.model for c in space.stages[evidence.stages.index(stage)])
    }
    tables = {stage: _tables(evidence, stage, laws) for stage in order}
    place = {stage: evidence.stages.index(stage) for stage in order}
    return Composition(
        space=space,
        order=tuple(place[stage] for stage in order),
        feeds={place[stage]: tuple(place[feed] for feed in evidence.feeds(stage)) for stage in order},
        after_wrong={place[stage]: tables[stage][0] for stage in order},
        after_right={place[stage]: tables[stage][1] for stage in order},
        final=place[final],
    )


def _upstream(evidence: _Evidence, final: str) -> list[str]:
    """Return the final stage and the stages with gold that it depends on, in the order of the task."""
    found = {final}
    open_ = [final]
    while open_:
        for feed in evidence.feeds(open_.pop()):
            if feed not in found:
                found.add(feed)
                open_.append(feed)
    return [stage for stage in evidence.stages if stage in found]


Laws = Mapping[tuple[str, str], tuple[Floats, Floats]]


def _tables(evidence: _Evidence, stage: str, laws: Laws) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return chances of a right answer after wrong and after right, shape (n_choices, n_problems) each."""
    choices = evidence.space.stages[evidence.stages.index(stage)]
    labels = dict.fromkeys(c.select for c in choices if c.n_samples > 1)
    weights = {label: _theta_weights(evidence, stage, label, laws) for label in labels}
    curves = [_curve(evidence.space, choice, weights) for choice in choices]

    def table(side: int) -> NDArray[np.float32]:
        rows = [laws[stage, c.model][side] @ curve for c, curve in zip(choices, curves, strict=True)]
        stacked: NDArray[np.float32] = np.stack(rows).astype(np.float32)
        return stacked

    return table(0), table(1)


def _curve(space: Space, choice: StageChoice, weights: Mapping[str, Floats]) -> Floats:
    """Return the expected outcome of a choice at every chance of one sample, shape (n_nodes,)."""
    if choice.n_samples == 1:
        return NODES
    kind = space.structure.kind(choice)
    rows = np.stack([gain(kind, choice.n_samples, float(theta)) for theta in THETAS])
    curve: Floats = weights[choice.select] @ rows
    return curve


def _theta_weights(evidence: _Evidence, stage: str, label: str, laws: Laws) -> Floats:
    """Return the posterior of a selector's parameter over `THETAS`, from what the selector made of samples."""
    log_weights = _theta_prior(evidence.space.structure.kinds.get((stage, label), label))
    for choice, trial in _uses(evidence, stage, label):
        measured = trial.stage_scores.get(stage, {})
        before = evidence.before(trial, stage)
        known = np.array([name in measured for name in evidence.problems]) & ~np.isnan(before)
        if not known.any():
            continue
        mean = float(np.mean([measured[p] for p, k in zip(evidence.problems, known, strict=True) if k]))
        wrong, right = laws[stage, choice.model]
        mixed = (right * before[:, None] + wrong * (1 - before)[:, None])[known].mean(axis=0)
        kind = evidence.space.structure.kind(choice)
        predicted = np.array([mixed @ gain(kind, choice.n_samples, float(theta)) for theta in THETAS])
        variance = 0.02**2 + 0.25 * max(mean * (1 - mean), 0.02) / int(known.sum())
        log_weights = log_weights - (predicted - mean) ** 2 / (2 * variance)
    weights = np.exp(log_weights - log_weights.max())
    normalised: Floats = weights / weights.sum()
    return normalised


def _uses(evidence: _Evidence, stage: str, label: str) -> Iterable[tuple[StageChoice, Trial]]:
    for trial in evidence.trials:
        choice = trial.allocation[stage]
        if (
            choice.select == label
            and choice.n_samples > 1
            and (stage, choice.model)
            in {(c.stage, c.model) for c in evidence.space.stages[evidence.stages.index(stage)]}
        ):
            yield choice, trial


def _theta_prior(kind: str) -> Floats:
    centre = 0.4 if kind in VOTES else 0.5
    prior: Floats = -((THETAS - centre) ** 2) / (2 * 0.3**2)
    return prior

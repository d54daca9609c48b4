"""What trials say about single samples and about selectors, by stage, model and problem. Nothing is fitted here.

Draws are numbered and shared between trials, so of runs that begin alike the longest counts, once. A stopped trial
counts on the problems that it saw, a skipped stage on those where it ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import Counts
from agenttts.allocators.curves.selectors import Selected
from agenttts.allocators.space import Indices, Space
from agenttts.study.archive import Trial

__all__ = ["Samples", "conditions", "run_shares"]

Floats = NDArray[np.float64]

MOST_PROBLEMS = 200
"""Of more problems an even part is looked at: beyond this the error of a score is small, and time is not."""


def conditions(space: Space) -> dict[str, str]:
    """Return the stages that run on a condition, each with the stage whose agreement decides."""
    found = dict(space.structure.when)
    for choices in space.stages:
        stage = choices[0].stage
        needs = space.structure.needs.get(stage, ())
        # A space put together by hand may have thresholds and not say whose.
        known = stage in found or stage in space.structure.optional
        if not known and needs and any(choice.below is not None for choice in choices):
            found[stage] = needs[0]
    return found


def run_shares(space: Space, indices: Indices) -> dict[int, Floats]:
    """Return the share of problems on which each conditional stage is expected to run, by position of the stage.

    Where the space does not tell, read from expected costs: what an allocation costs beyond the stages that always
    run, over what the conditional ones would cost if they always did.
    """
    if space.conditionals:
        return {one.stage: np.clip(one.at(indices), 0.0, 1.0) for one in space.conditionals}
    places = {choices[0].stage: s for s, choices in enumerate(space.stages)}
    when = [places[stage] for stage in conditions(space)]
    if not when:
        return {}
    full = [np.maximum(np.array(costs), 0.0)[indices[:, s]] for s, costs in enumerate(space.costs)]
    always = sum(cost for s, cost in enumerate(full) if s not in when)
    nominal = sum(cost for s, cost in enumerate(full) if s in when)
    shares = np.clip((space.cost_array(indices) - always) / np.maximum(nominal, 1e-300), 0.0, 1.0)
    return {s: np.where(_off(space, s)[indices[:, s]], 0.0, shares) for s in when}


def _off(space: Space, stage: int) -> NDArray[np.bool_]:
    return np.array([choice.below == 0 for choice in space.stages[stage]])


@dataclass(frozen=True)
class Samples:
    """Scores of single samples and of stages, read from trials."""

    space: Space
    trials: tuple[Trial, ...]

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """LLM stages in the order of the task."""
        return tuple(choices[0].stage for choices in self.space.stages)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Names of the problems that are looked at, sorted."""
        names = sorted({name for trial in self.trials for name in trial.scores})
        step = max(1, -(-len(names) // MOST_PROBLEMS))
        return tuple(names[::step])

    @cached_property
    def gold(self) -> frozenset[str]:
        """Stages whose samples are scored."""
        return frozenset(stage for trial in self.trials for stage, by in trial.sample_scores.items() if by)

    def watched(self, stage: str) -> str | None:
        """Return the stage whose agreement decides whether this one runs; `None` where it always runs."""
        return conditions(self.space).get(stage)

    def feeds(self, stage: str) -> tuple[str, ...]:
        """Return the nearest stages with gold upstream, through those without."""
        found: dict[str, None] = {}
        needs = self.space.structure.needs.get(stage, ())
        watched = self.watched(stage)
        for need in dict.fromkeys((*needs, *([watched] if watched is not None else []))):
            found.update(dict.fromkeys([need] if need in self.gold else self.feeds(need)))
        return tuple(found)

    def sources(self, stage: str) -> tuple[str, ...]:
        """Return the feeds that a sample of the stage builds on: not the watched stage where votes are pooled.

        Both stages of a pool answer the same question, so given the problem the samples of one are taken to be as good
        whether the other was right or not.
        """
        pooled = stage in self.space.structure.pooled
        return tuple(feed for feed in self.feeds(stage) if not (pooled and feed == self.watched(stage)))

    def upstream(self, final: str) -> list[str]:
        """Return the final stage and the stages with gold that it depends on, in the order of the task."""
        found, open_ = {final}, [final]
        while open_:
            for feed in self.feeds(open_.pop()):
                if feed not in found:
                    found.add(feed)
                    open_.append(feed)
        return [stage for stage in self.stages if stage in found]

    # --- one trial ---------------------------------------------------------------------------------------------

    @cached_property
    def _drawn(self) -> dict[tuple[int, str], tuple[Floats, Floats]]:
        """(Position of the trial, stage) -> sums of sample scores, and counts, by problem."""
        result = {}
        for t, trial in enumerate(self.trials):
            for stage, by_problem in trial.sample_scores.items():
                drawn = [by_problem.get(name, ()) for name in self.problems]
                sums = np.array([sum(scores) for scores in drawn], dtype=float)
                result[t, stage] = sums, np.array([len(scores) for scores in drawn], dtype=float)
        return result

    def _outcome(self, trial: Trial, stage: str) -> Floats:
        """Return the score of a stage's answer by problem, NaN where unknown; a skipped stage passes on."""
        scores = trial.stage_scores.get(stage, {})
        result = np.array([scores.get(name, np.nan) for name in self.problems])
        watched = self.watched(stage)
        if watched is not None and np.isnan(result).any():
            result = np.where(np.isnan(result), self._outcome(trial, watched), result)
        return result

    def before(self, trial: Trial, stage: str) -> Floats:
        """Return how right the answers were that a stage worked on, by problem, NaN where unknown."""
        result = np.ones(len(self.problems))
        for feed in self.sources(stage):
            result = result * self._outcome(trial, feed)
        return result

    @cached_property
    def _before(self) -> dict[tuple[int, str], Floats]:
        return {
            (t, stage): self.before(trial, stage)
            for t, trial in enumerate(self.trials)
            for stage in self.stages
            if stage in self.gold
        }

    # --- over trials -------------------------------------------------------------------------------------------

    def counts(self, stage: str, model: str) -> tuple[Counts, Counts]:
        """Return the samples of a model at a stage, after wrong and after right answers of the stages before."""
        size = len(self.problems)
        right, n = np.zeros((2, size)), np.zeros((2, size))
        for t in self._using(stage, model):
            sums, counts = self._drawn[t, stage]
            before = np.nan_to_num(self._before[t, stage])
            known = ~np.isnan(self._before[t, stage])
            for side, weight in ((0, (1 - before) * known), (1, before)):
                longer = counts * weight > n[side]
                n[side][longer] = (counts * weight)[longer]
                right[side][longer] = (sums * weight)[longer]
        return Counts(right[0], n[0]), Counts(right[1], n[1])

    def _using(self, stage: str, model: str) -> Iterator[int]:
        for t, trial in enumerate(self.trials):
            if (t, stage) in self._drawn and trial.allocation[stage].model == model:
                yield t

    def selected(self, stage: str, model: str, label: str) -> Sequence[Selected]:
        """Return what a selector made of a model's samples; by problem the run of most samples.

        Nothing of a stage whose votes are pooled: what it selected is no outcome of its own samples.
        """
        if stage in self.space.structure.pooled:
            return []
        taken = np.zeros(len(self.problems), dtype=bool)
        found = []
        for t in sorted(self._using(stage, model), key=lambda t: -self.trials[t].allocation[stage].n_samples):
            choice = self.trials[t].allocation[stage]
            # A score averaged over more draws than these is no outcome of their count of right ones.
            averaged = stage in self.trials[t].estimated_from
            if choice.n_samples == 1 or choice.select != label or averaged:
                continue
            sums, counts = self._drawn[t, stage]
            scores = self.trials[t].stage_scores.get(stage, {})
            score = np.array([scores.get(name, np.nan) for name in self.problems])
            use = ~np.isnan(score) & (counts > 0) & ~taken
            if use.any():
                right = sums[use] / counts[use] * choice.n_samples
                found.append(Selected(choice.n_samples, np.flatnonzero(use), right, score[use]))
                taken |= use
        return found

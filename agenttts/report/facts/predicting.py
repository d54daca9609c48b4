"""The fit that predictions come from: the archive refitted once, over all allocations up to twice the budget.

The fit is that of the allocator `curves`, whoever searched. Its intervals are of the expected score on the search
problems; how much harder or easier others are comes on top. The best of many predictions is a little too good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.candidates import beam
from agenttts.allocators.curves.model import CurvesModel, fitted
from agenttts.allocators.space import Indices, Space
from agenttts.budgets.cost import Budget
from agenttts.budgets.lengths import Lengths
from agenttts.errors import AgentTTSError
from agenttts.report.facts.values import FitNote, Predicted
from agenttts.study.archive import Archive, Trial
from agenttts.study.pilot import learn_pilot, learn_trial

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord

__all__ = ["Fit", "fit_of", "space_of"]

Floats = NDArray[np.float64]
MaxRecorded = Callable[[str, str], "int | None"]

TIMES = 2.0
"""Predictions reach up to so many times the budget."""
Z = 1.96
MOST_IN_FULL = 40_000
"""Up to so many allocations are all predicted in full; of more, the ones of the highest near means are, and those next
to trials, of which near means know least."""
N_CELLS, N_CELLS_BY_MODEL, PER_CELL = 32, 4, 150
"""Ranges of cost, over all and by stage and model, and how many are kept of each."""
N_DRAWN = 40_000
"""Uniform draws, where a space is too large to be listed."""
SEED = 20250802
MOST_TRIALS = 200
"""More trials than this are thinned before the fit, whose time grows with their cube."""


@dataclass(frozen=True)
class Fit:
    """A fitted model and the allocations that it is asked about."""

    model: CurvesModel
    n_trials: int
    """Valid trials of the archive; the fit may rest on fewer."""
    most_in_full: int = MOST_IN_FULL

    @property
    def space(self) -> Space:
        """All that costs up to twice the budget."""
        return self.model.space

    @property
    def exact(self) -> bool:
        """Whether `rows` are all allocations that fit."""
        return self.space.enumerable

    @cached_property
    def every(self) -> Indices:
        """Allocations that are looked at, each once: all that fit, where they can be listed."""
        space = self.space
        if space.enumerable:
            return space.feasible_indices()
        rng = np.random.default_rng(SEED)
        tried = [space.index(trial.allocation) for trial in self.model.trials]
        parts = [space.sample(rng, N_DRAWN), np.array(tried, dtype=np.int32)]
        if self.model.composition is not None:
            parts.append(beam(self.model.composition))
        found = np.unique(np.concatenate(parts), axis=0)
        fitting: Indices = found[space.fits(found)]
        return fitting

    @cached_property
    def rows(self) -> Indices:
        """Those of `every` that are predicted in full: all, or the ones that may be best at some cost."""
        every = self.every
        if len(every) <= self.most_in_full:
            return every
        mean, cost = self.model.cheap_mean(every), self.space.cost_array(every)
        keep = np.zeros(len(every), dtype=bool)
        keep[_best_by_cell(mean, cost, N_CELLS, PER_CELL)] = True
        for s, choices in enumerate(self.space.stages):
            for model in {choice.model for choice in choices}:
                with_it = np.array([c.model == model and c.below != 0 for c in choices])[every[:, s]]
                places = np.flatnonzero(with_it)
                keep[places[_best_by_cell(mean[places], cost[places], N_CELLS_BY_MODEL, PER_CELL)]] = True
        return np.unique(np.concatenate([every[keep], self._near_trials()]), axis=0)

    def _near_trials(self) -> Indices:
        """Return the trials' allocations and those that differ from one at a single stage, as far as they fit."""
        space, seen = self.space, self.model.residual.seen
        found = [seen]
        for s, choices in enumerate(space.stages):
            block = np.repeat(seen, len(choices), axis=0)
            block[:, s] = np.tile(np.arange(len(choices), dtype=np.int32), len(seen))
            found.append(block)
        rows = space.once(np.unique(np.concatenate(found), axis=0))
        fitting: Indices = rows[space.fits(rows)]
        return fitting

    @cached_property
    def costs(self) -> Floats:
        """Expected costs of `rows`."""
        return self.space.cost_array(self.rows)

    @cached_property
    def predicted(self) -> tuple[Floats, Floats]:
        """Expected scores of `rows`, in [0, 1], and their standard deviations."""
        mean, deviation = self.model.predict(self.rows)
        return np.clip(mean, 0.0, 1.0), deviation  # the process knows of no bounds

    def best_of(self, allowed: NDArray[np.bool_]) -> tuple[Indices, Predicted, float] | None:
        """Return the allocation of the highest expected score, that score, and its cost; `None` where none is allowed.

        Args:
            allowed: Which of `rows` may be taken.
        """
        places = np.flatnonzero(allowed)
        if not len(places):
            return None
        mean, deviation = (values[places] for values in self.predicted)
        # Of equal ones the cheaper.
        i = int(np.lexsort((self.costs[places], -np.round(mean, 6)))[0])
        return self.rows[places[i]], _predicted(mean[i], deviation[i]), float(self.costs[places[i]])

    def chance_to_beat(self, row: Indices, trial: Trial) -> float | None:
        """Return the chance that an allocation is better than that of a trial; `None` where the fit lacks the trial."""
        from scipy.special import ndtr

        place = next((i for i, known in enumerate(self.model.trials) if known.number == trial.number), None)
        if place is None:
            return None
        one = row[None, :]
        if self.space.index(trial.allocation) == tuple(int(i) for i in row):
            return None
        residual = self.model.residual
        mean, _, gap = residual.against(one, self.model.prior(one), place)
        own, _ = residual.at(residual.seen[[place]], residual.prior.at(np.array([place])))
        return float(ndtr((mean[0] - own[0]) / gap[0]))

    @property
    def note(self) -> FitNote:
        """Say which fit this is."""
        n = len(self.model.trials)
        of = f"{n} trials" if n == self.n_trials else f"{n} of {self.n_trials} trials"
        believed = self.model.composition is not None and self.model.residual.believed
        how = (
            "laws of how each stage gets better with samples, composed over the stages, and a Gaussian process over "
            "what they leave"
            if believed
            else "a Gaussian process over final scores"
        )
        return FitNote(f"A prediction, not a measurement: fitted to {of} by {how}.", n, believed)


def _best_by_cell(mean: Floats, cost: Floats, n_cells: int, per_cell: int) -> NDArray[np.int64]:
    """Return the places of the highest means in each of so many equally filled ranges of cost."""
    if not len(mean):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(cost, kind="stable")
    found = [
        cell[np.argsort(-mean[cell], kind="stable")[:per_cell]] for cell in np.array_split(order, n_cells)
    ]
    return np.concatenate(found)


def _predicted(mean: float, deviation: float) -> Predicted:
    low, high = np.clip([mean - Z * deviation, mean + Z * deviation], 0.0, 1.0)
    return Predicted(float(mean), float(low), float(high))


def space_of(record: RunRecord, max_recorded: MaxRecorded | None = None) -> Space:
    """Return all allocations up to twice the budget, with costs expected from all lengths that the run has seen.

    Raises:
        AgentTTSError: No allocation fits, or a card lacks what the unit needs.
    """
    lengths = Lengths(record.task.file)
    if record.state.pilot is not None:
        learn_pilot(lengths, record.state.pilot)
    for trial in record.archive.trials:
        learn_trial(lengths, trial)
    budget = record.options.budget
    wide = Budget(TIMES * budget.amount, budget.unit)
    return Space.build(record.task, lengths, record.cost_model, wide, max_recorded)


def fit_of(record: RunRecord, max_recorded: MaxRecorded | None = None) -> tuple[Fit | None, str]:
    """Return the fit of a run's trials, or why there is none.

    Args:
        record: The run.
        max_recorded: See `Space.build`.
    """
    try:
        space = space_of(record, max_recorded)
        archive = record.archive
        model = fitted(thinned(archive, MOST_TRIALS), space)
    except AgentTTSError as error:
        return None, str(error)
    if model is None:
        return None, "fewer than three trials have scores, and with fewer nothing is predicted"
    return Fit(model, len(archive.valid)), ""


def thinned(archive: Archive, most: int) -> Archive:
    """Return the archive with at most so many trials: the best half, and of the rest every so many.

    The rest is taken evenly in the order of cost, so that cheap and dear ones stay; the same archive is thinned alike
    each time.
    """
    if len(archive.valid) <= most:
        return archive
    ranked = sorted(archive.valid, key=lambda trial: (-archive.estimate(trial), trial.number))
    best, rest = ranked[: most // 2], ranked[most // 2 :]
    rest.sort(key=lambda trial: (trial.charged, trial.number))
    n = most - len(best)
    kept = [rest[(2 * i + 1) * len(rest) // (2 * n)] for i in range(n)]
    return replace(archive, trials=Archive.of([*best, *kept]).trials)

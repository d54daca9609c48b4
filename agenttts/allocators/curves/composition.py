"""From the fits of the stages to the mean final score of any allocation, problem by problem.

An answer of a stage is right by the chance of its choice after a right or a wrong answer of the stages before; so the
chance of every problem is carried through the stages, and the score is its mean over the problems. A stage that runs
on a condition passes the watched stage's answer on where that is agreed upon. Given the problem, stages are taken as
independent; what that gets wrong is left to `residual`.

The final stage is linear in what comes before, so all allocations of a space are one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import LOGITS, ProblemLaws
from agenttts.allocators.curves.selectors import (
    N_THETAS,
    RIVALS,
    VOTES,
    SelectorLaw,
    binomial_table,
    chance_table,
    outcome_table,
)
from agenttts.allocators.curves.stagefits import StageFit
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import StageChoice

__all__ = ["Composition", "Tables", "stage_tables"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

DENSE_UP_TO = 2_000_000
"""Grids of up to this many allocations are predicted as a whole."""
CHUNK = 4096


@dataclass(frozen=True)
class Tables:
    """Chances by choice and problem, shape (n_choices, n_problems) each."""

    right: tuple[Singles, Singles]
    """That the answer is right, by side: after a wrong, after a right answer."""
    agreed: Mapping[float, tuple[tuple[Singles, Singles], tuple[Singles, Singles]]]
    """Threshold -> (that it is right, that it is wrong) by side, and in both cases agreed upon by at least that share
    of the samples. For stages that another one watches."""


@dataclass(frozen=True)
class Composition:
    """Predicted scores of one set of stage tables: the expected ones, or one draw of the posterior."""

    space: Space
    order: tuple[int, ...]
    """Stages that the final answer depends on and that have gold, in the order of running; the final one last."""
    feeds: Mapping[int, tuple[int, ...]]
    """Stage -> the stages of `order` right before it."""
    watched: Mapping[int, int]
    """Conditional stage -> the stage that it watches."""
    tables: Mapping[int, Tables]

    # --- any allocations ---------------------------------------------------------------------------------------

    def predict(self, indices: Indices) -> Floats:
        """Return the mean score of allocations, shape (n_allocations,)."""
        if not self._dense_grid or len(indices) < CHUNK:
            parts = [
                self.by_problem(indices[i : i + CHUNK]).mean(axis=1) for i in range(0, len(indices), CHUNK)
            ]
            return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)
        shape = tuple(len(self.space.stages[s]) for s in self.order)
        flat = np.ravel_multi_index(tuple(indices[:, s] for s in self.order), shape)
        result: Floats = self.grid[flat].astype(np.float64)
        return result

    def by_problem(self, indices: Indices) -> Singles:
        """Return chances that the final answer is right, shape (n_allocations, n_problems)."""
        right = self._carried(indices, self.order)
        return right[self.order[-1]]

    def _carried(self, indices: Indices, order: tuple[int, ...]) -> dict[int, Singles]:
        right: dict[int, Singles] = {}
        for s in order:
            chosen = indices[:, s]
            kept, after_wrong, after_right = self._arrival(s, indices, right)
            table = self.tables[s].right
            result = after_right * table[1][chosen]
            if after_wrong is not None:
                result += after_wrong * table[0][chosen]
            right[s] = result if kept is None else result + kept
        return right

    def _arrival(
        self, s: int, indices: Indices, right: Mapping[int, Singles]
    ) -> tuple[Singles | None, Singles | None, Singles]:
        """Return the chances that a right answer passes a stage by, and that it runs after a wrong or right one."""
        feeds = self.feeds[s]
        if not feeds:
            return None, None, np.ones((len(indices), 1), dtype=np.float32)
        before = right[feeds[0]]
        for feed in feeds[1:]:
            before = before * right[feed]
        if s not in self.watched:
            return None, 1 - before, before
        watched = self.watched[s]
        below = np.array([c.below if c.below is not None else np.inf for c in self.space.stages[s]])
        thresholds = below[indices[:, s]]
        kept_right = np.zeros_like(right[watched])
        kept_wrong = np.zeros_like(right[watched])
        for threshold in np.unique(thresholds):
            at = thresholds == threshold
            kept_right[at], kept_wrong[at] = self._agreed(watched, float(threshold), indices[at], right, at)
        ran_right = np.maximum(before - kept_right, 0)
        return kept_right, np.maximum(1 - before - kept_wrong, 0), ran_right

    def _agreed(
        self,
        s: int,
        threshold: float,
        indices: Indices,
        right: Mapping[int, Singles],
        at: NDArray[np.bool_],
    ) -> tuple[Singles, Singles]:
        """Return the chances that a watched stage's answer is agreed upon and right, and that it is so and wrong."""
        if threshold == np.inf:
            nothing = np.zeros((len(indices), self.n_problems), dtype=np.float32)
            return nothing, nothing
        sides = self.tables[s].agreed[threshold]
        chosen = indices[:, s]
        before = np.ones((len(indices), 1), dtype=np.float32)
        for feed in self.feeds[s]:
            before = before * right[feed][at]
        mixed = [before * side[1][chosen] + (1 - before) * side[0][chosen] for side in sides]
        return mixed[0], mixed[1]

    @property
    def n_problems(self) -> int:
        """Problems that chances are kept for."""
        return int(self.tables[self.order[-1]].right[1].shape[1])

    # --- the whole grid ----------------------------------------------------------------------------------------

    @property
    def _dense_grid(self) -> bool:
        return prod(len(self.space.stages[s]) for s in self.order) <= DENSE_UP_TO

    @cached_property
    def grid(self) -> Singles:
        """Mean scores of all combinations of the choices of `order`, row-major, feasible or not."""
        final = self.order[-1]
        n_final = len(self.space.stages[final])
        result = np.empty(
            (prod(len(self.space.stages[s]) for s in self.order[:-1]), n_final), dtype=np.float32
        )
        for start, prefixes in self._prefixes():
            right = self._carried(prefixes, self.order[:-1])
            block = result[start : start + len(prefixes)]
            for columns in self._alike(final):
                block[:, columns] = self._last(final, columns, prefixes, right)
        return result.ravel()

    def partial(self, rows: Indices, depth: int) -> Singles:
        """Return the mean score of the answers reached so far, for every choice of one more stage.

        Args:
            rows: Allocations of which the first `depth` stages of `order` count, shape (n_rows, n_stages).
            depth: Position of the next stage in `order`.

        Returns:
            Shape (n_rows, n_choices): the mean chance of the next stage's answer to be right, plus those of the stages
            before it whose answers are still to be used by a later one.
        """
        s = self.order[depth]
        right = self._carried(rows, self.order[:depth])
        result = np.empty((len(rows), len(self.space.stages[s])), dtype=np.float32)
        for columns in self._alike(s):
            result[:, columns] = self._last(s, columns, rows, right)
        later = {feed for other in self.order[depth + 1 :] for feed in self.feeds[other]}
        for waiting in later & set(self.order[:depth]):
            result += right[waiting].mean(axis=1, keepdims=True)
        return result

    def _prefixes(self) -> Iterator[tuple[int, Indices]]:
        """Give the combinations of all stages but the final one, in chunks, each with where it begins."""
        shape = tuple(len(self.space.stages[s]) for s in self.order[:-1])
        total = prod(shape)
        for start in range(0, total, CHUNK):
            flat = np.arange(start, min(start + CHUNK, total))
            rows = np.zeros((len(flat), self.space.n_stages), dtype=np.int32)
            if shape:
                for s, column in zip(self.order[:-1], np.unravel_index(flat, shape), strict=True):
                    rows[:, s] = column
            yield start, rows

    def _alike(self, final: int) -> list[NDArray[np.int64]]:
        """Return the final stage's choices, grouped by threshold."""
        below = [c.below for c in self.space.stages[final]]
        return [np.flatnonzero([b == value for b in below]) for value in dict.fromkeys(below)]

    def _last(
        self, final: int, columns: NDArray[np.int64], prefixes: Indices, right: Mapping[int, Singles]
    ) -> Singles:
        rows = prefixes.copy()
        rows[:, final] = columns[0]
        kept, after_wrong, after_right = self._arrival(final, rows, right)
        table = self.tables[final].right
        if after_wrong is None:
            result = np.tile(table[1][columns].mean(axis=1), (len(prefixes), 1))
        else:
            if kept is None:  # then `after_wrong` is 1 - `after_right`, and one product does
                result = after_right @ (table[1][columns] - table[0][columns]).T + table[0][columns].sum(
                    axis=1
                )
            else:
                result = after_right @ table[1][columns].T + after_wrong @ table[0][columns].T
            result /= np.float32(self.n_problems)
        if kept is not None:
            result = result + kept.mean(axis=1, keepdims=True)
        return np.asarray(result, dtype=np.float32)


def stage_tables(
    space: Space, place: int, fit: StageFit, thresholds: frozenset[float], rng: np.random.Generator | None
) -> Tables:
    """Return the tables of one stage: expected ones, or, with a generator, those of one draw of all laws."""
    choices = space.stages[place]
    laws = {m: tuple(_weights(side, rng) for side in sides) for m, sides in fit.laws.items()}
    selectors = {key: _thetas(law, rng) for key, law in fit.selectors.items()}
    size = len(next(iter(laws.values()))[0])
    shape = (len(choices), size)
    right = [np.zeros(shape, dtype=np.float32) for _ in range(2)]
    agreed = {t: [[np.zeros(shape, np.float32) for _ in range(2)] for _ in range(2)] for t in thresholds}
    for (model, select), at in _groups(choices).items():
        thetas = selectors.get((model, select))
        group = [choices[i] for i in at]
        kind = space.structure.kind(group[0])
        plain = [chance_table(kind, choice.n_samples) for choice in group]
        for side in (0, 1):
            right[side][at] = _expected(laws[model][side], thetas, plain)
            for threshold in thresholds:
                tables = [_agreed_tables(kind, choice.n_samples, threshold) for choice in group]
                for outcome in (0, 1):
                    found = _expected(laws[model][side], thetas, [table[outcome] for table in tables])
                    agreed[threshold][outcome][side][at] = found
    return Tables((right[0], right[1]), {t: (_pair(a[0]), _pair(a[1])) for t, a in agreed.items()})


def _pair(values: Sequence[Singles]) -> tuple[Singles, Singles]:
    return values[0], values[1]


def _groups(choices: Sequence[StageChoice]) -> dict[tuple[str, str], list[int]]:
    """Return the positions of choices by model and selector."""
    found: dict[tuple[str, str], list[int]] = {}
    for i, choice in enumerate(choices):
        found.setdefault((choice.model, choice.select), []).append(i)
    return found


def _expected(weights: Floats, thetas: Floats | None, tables: Sequence[Floats]) -> Floats:
    """Return the means of tables over the laws of a problem's chance and parameter, shape (n_tables, n_problems)."""
    stacked = np.stack(tables, axis=1)
    if thetas is None:
        result: Floats = (weights @ stacked[:, :, 0]).T
        return result
    by_theta = (weights @ stacked.reshape(len(stacked), -1)).reshape(len(weights), *stacked.shape[1:])
    mixed: Floats = np.einsum("pct,pt->cp", by_theta, thetas)
    return mixed


@lru_cache(maxsize=4096)
def _agreed_tables(kind: str, n_samples: int, threshold: float) -> tuple[Floats, Floats]:
    """Return the chances of an answer that is right, or wrong, and that at least a share `threshold` agrees upon.

    Shape (n_nodes, N_THETAS) each. A wrong winner is taken to hold the rival's share of the wrong samples.
    """
    n = n_samples
    k = np.arange(n + 1)
    outcome = outcome_table(kind, n) if n > 1 else np.tile(k.astype(float), (N_THETAS, 1))
    shares = RIVALS if kind in VOTES else np.full(N_THETAS, 0.5)
    rival = np.maximum(shares[:, None] * (n - k), np.minimum(n - k, 1))
    slack = 1e-9
    right = outcome * (k / n >= threshold - slack)
    wrong = (1 - outcome) * (np.round(rival) / n >= threshold - slack)
    draws = binomial_table(n)
    return draws @ right.T, draws @ wrong.T


def _weights(laws: ProblemLaws, rng: np.random.Generator | None) -> Floats:
    """Return laws by problem, or one chance by problem drawn from them, as weights."""
    if rng is None:
        return laws.problems
    n_seen = int(laws.seen.sum())
    spread = float(laws.population @ LOGITS**2 - (laws.population @ LOGITS) ** 2)
    # Problems that were not seen share what is unknown of the population.
    tilt = rng.standard_normal() / np.sqrt(max(spread, 0.3) * (n_seen + 1))
    moved = laws.problems * np.where(laws.seen[:, None], 1.0, np.exp(np.clip(tilt, -2, 2) * LOGITS))
    return _one_hot(moved / moved.sum(axis=1, keepdims=True), rng)


def _thetas(law: SelectorLaw, rng: np.random.Generator | None) -> Floats:
    return law.problems if rng is None else _one_hot(law.problems, rng)


def _one_hot(weights: Floats, rng: np.random.Generator) -> Floats:
    cumulated = np.cumsum(weights, axis=1)
    picked = (cumulated < rng.random((len(weights), 1)) * cumulated[:, -1:]).sum(axis=1)
    result = np.zeros_like(weights)
    result[np.arange(len(weights)), np.minimum(picked, weights.shape[1] - 1)] = 1.0
    return result

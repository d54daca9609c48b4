"""From the fits of the stages to the mean final score of any allocation, problem by problem.

An answer of a stage is right by the chance of its choice after a right or a wrong answer of the stages before; so the
chance of every problem is carried through the stages, and the score is its mean over the problems. A stage that runs
on a condition passes the watched stage's answer on where that is agreed upon; where it does not, and the votes are
pooled, it turns the watched stage's lead or does not (see `pooling`). Given the problem, stages are taken as
independent; what that gets wrong is left to `residual`.

The final stage is linear in what comes before, so all allocations of a space are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.laws import LOGITS, ProblemLaws
from agenttts.allocators.curves.pooling import LEADS, lead_tables, turn_tables
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
    leads: Mapping[float, Mapping[int, Singles]] = field(default_factory=dict)
    """Threshold -> chances of a lead where it is not agreed upon, by side, shape (n_choices, n_problems, n_leads). For
    stages whose votes another one counts with its own. A stage that builds on no other has side 1 alone."""
    turned: Mapping[int, Singles] | None = None
    """That the pooled vote is right by the lead before it, by side, same shape; the watched stage is on no side. For
    stages with pooled votes."""


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
            table, turned = self.tables[s].right, self.tables[s].turned
            if turned is not None and after_wrong is not None:
                led = self._led(s, indices, right, after_wrong + after_right)
                result = _total([np.einsum("apl,apl->ap", lead, turned[side][chosen]) for side, lead in led])
            else:
                result = after_right * table[1][chosen]
                if after_wrong is not None:
                    result += after_wrong * table[0][chosen]
            right[s] = result if kept is None else result + kept
        return right

    def _led(
        self, s: int, indices: Indices, right: Mapping[int, Singles], ran: Singles
    ) -> list[tuple[int, Singles]]:
        """Return the chances that a stage with pooled votes runs after a lead, by side as far as there are any.

        Shape (n_allocations, n_problems, n_leads) each.
        """
        watched = self.watched[s]
        lead = np.zeros((len(indices), self.n_problems, len(LEADS)), dtype=np.float32)
        below = np.array([c.below for c in self.space.stages[s]], dtype=float)[indices[:, s]]
        for threshold in np.unique(below):
            at = below == threshold
            for side, share in self._sides(self.feeds[watched], {f: of[at] for f, of in right.items()}):
                lead[at] += share * self.tables[watched].leads[float(threshold)][side][indices[at, watched]]
        # How often it runs is known from what is agreed upon.
        lead *= (ran / np.maximum(lead.sum(axis=2), 1e-9))[..., None]
        others = tuple(feed for feed in self.feeds[s] if feed != watched)
        return [(side, share * lead) for side, share in self._sides(others, right)]

    def _sides(
        self, feeds: Sequence[int], right: Mapping[int, Singles]
    ) -> list[tuple[int, Singles | np.float32]]:
        """Return the chances that the answers of feeds are all right (side 1), or not; one side where there are none."""
        if not feeds:
            return [(1, np.float32(1))]
        before = right[feeds[0]]
        for feed in feeds[1:]:
            before = before * right[feed]
        return [(0, 1 - before[..., None]), (1, before[..., None])]

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
        table, turned = self.tables[final].right, self.tables[final].turned
        if turned is not None and after_wrong is not None:
            led = self._led(final, rows, right, after_wrong + after_right)
            result = _total(
                [
                    lead.reshape(len(rows), -1) @ turned[side][columns].reshape(len(columns), -1).T
                    for side, lead in led
                ]
            ) / np.float32(self.n_problems)
        elif after_wrong is None:
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


def _total(parts: Sequence[Singles]) -> Singles:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def stage_tables(
    space: Space,
    place: int,
    fit: StageFit,
    thresholds: frozenset[float],
    rng: np.random.Generator | None,
    *,
    led: Sequence[int] = (),
    pooled: Sequence[int] = (),
) -> Tables:
    """Return the tables of one stage: expected ones, or, with a generator, those of one draw of all laws.

    Args:
        space: The choices.
        place: Of the stage.
        fit: Its laws.
        thresholds: Those of the stages that watch it.
        rng: For a draw.
        led: Sides to tabulate its leads on, where one of these stages counts its votes, too.
        pooled: Sides to tabulate on what becomes of leads, where it counts the votes of the stage that it watches.
    """
    choices = space.stages[place]
    drawn = _Drawn(
        {m: tuple(_weights(side, rng) for side in sides) for m, sides in fit.laws.items()},
        {key: _thetas(law, rng) for key, law in fit.selectors.items()},
    )
    right = drawn.of(choices, lambda c: [chance_table(space.structure.kind(c), c.n_samples)])
    agreed = {t: _agreement(drawn, space, place, t) for t in thresholds}
    leads = {t: drawn.of_votes(choices, led, partial(lead_tables, threshold=t)) for t in thresholds if led}
    turned = drawn.of_votes(choices, pooled, turn_tables) if pooled else None
    return Tables(_one_of(right, 0), agreed, leads, turned)


@dataclass(frozen=True)
class _Drawn:
    """Laws of one stage as weights."""

    laws: Mapping[str, tuple[Floats, ...]]
    """Model -> by side."""
    thetas: Mapping[tuple[str, str], Floats]

    def of(
        self, choices: Sequence[StageChoice], tables: Callable[[StageChoice], Sequence[Floats]]
    ) -> tuple[Singles, Singles]:
        """Return the means of each choice's tables, by side, shape (n_choices, n_problems, n_tables) each."""
        sides: list[Singles | None] = [None, None]
        for (model, select), at in _groups(choices).items():
            of_group = [tables(choices[i]) for i in at]
            flat = [table for group in of_group for table in group]
            for side in (0, 1):
                found = _expected(self.laws[model][side], self.thetas.get((model, select)), flat)
                found = found.reshape(len(at), -1, found.shape[1]).transpose(0, 2, 1)
                whole = sides[side]
                if whole is None:
                    whole = sides[side] = np.zeros((len(choices), *found.shape[1:]), dtype=np.float32)
                whole[at] = found
        wrong, right = sides
        assert wrong is not None  # noqa: S101 - a stage has choices
        assert right is not None  # noqa: S101
        return wrong, right

    def of_votes(
        self, choices: Sequence[StageChoice], sides: Sequence[int], tables: Callable[[int], Floats]
    ) -> dict[int, Singles]:
        """Return the means of tables that depend on the number of samples, by side, shaped as those of `of`."""
        counts = list(dict.fromkeys(choice.n_samples for choice in choices))
        flat = np.concatenate([tables(n) for n in counts]).T.astype(np.float32)
        place = {n: i for i, n in enumerate(counts)}
        labels = dict(self.thetas.keys())
        unknown: Floats = np.full((1, N_THETAS), 1 / N_THETAS)
        means: dict[int, Singles] = {}
        for side in sides:
            both = []
            for model, laws in self.laws.items():
                thetas = self.thetas[model, labels[model]] if model in labels else unknown
                both.append(laws[side][:, :, None] * thetas[:, None, :])
            size = len(both[0])
            # One product: many small ones wait for one another's threads.
            flat_means = np.concatenate(both).reshape(size * len(both), -1).astype(np.float32) @ flat
            blocks = flat_means.reshape(len(both), size, len(counts), -1)
            by_model = dict(zip(self.laws, blocks, strict=True))
            means[side] = np.stack([by_model[c.model][:, place[c.n_samples]] for c in choices])
        return means


def _one_of(sides: tuple[Singles, Singles], i: int) -> tuple[Singles, Singles]:
    return sides[0][..., i], sides[1][..., i]


def _agreement(
    drawn: _Drawn, space: Space, place: int, threshold: float
) -> tuple[tuple[Singles, Singles], tuple[Singles, Singles]]:
    kind = space.structure.kind
    sides = drawn.of(space.stages[place], lambda c: _agreed_tables(kind(c), c.n_samples, threshold))
    return _one_of(sides, 0), _one_of(sides, 1)


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

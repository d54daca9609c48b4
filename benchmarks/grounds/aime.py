"""The ground `aime`: recorded draws of Qwen3 on AIME 2024, in two stages of which the second runs on a condition.

attempt: a model with a thinking cap, n samples, majority vote. Where the share of samples that hold the selected
answer is below a threshold (which is searched), escalate: a model, cap and n; votes of both stages are pooled,
attempt's first. Draws 0-63 of the recording belong to attempt, 64-127 to escalate, because the caps of one draw are
one rollout cut at several lengths. The tables stay where they are: give their folder.

The law: a search with seed s sees, for every problem and model, one of N_ORDERS fixed orders of each stage's draws.
The truth is the mean over all of these orders, so it is exact. Costs are 2 x parameters x tokens; an allocation's
expected cost counts escalate as often as it runs, over the same orders.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.conditional import Conditional
from agenttts.allocators.space import Space, Structure
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.selectors import Majority
from agenttts.study.archive import Trial
from agenttts.verifiers.equality import vote_key
from grounds.base import Floats, Paid, Source, Truths

TABLE = "aime24_qwen3.csv.gz"
COUNTS = (1, 2, 4, 8, 16, 32)
THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 1.01)
CAPS = ("cap1000", "cap2000", "cap4000", "cap8000", "cap16000", "full")
N_DRAWS = 64
"""Of each stage."""
N_ORDERS = 256
BUDGET_GFLOPS = 400_000.0
"""About seven whole rollouts of the 1.7B model, or not quite two of the 8B one."""
STEP = 128
"""Keys of votes are STEP x votes - place of the first vote: more votes win, then the earlier first one."""
NEVER = -30_000
SLACK = 1e-9

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Draws of the recording."""

    problems: tuple[str, ...]
    models: tuple[str, ...]
    """`model@cap`, caps of one model together."""
    parameters: Floats
    """Billions, shape (n_models,)."""
    prefill: Ints
    """Tokens, shape (n_problems,)."""
    answer: Ints
    """Number of the answer within its problem, -1 where there is none, shape (n_problems, n_models, 128)."""
    decode: Ints
    """Tokens; same shape."""
    right: tuple[NDArray[np.bool_], ...]
    """By problem: whether each answer is right."""

    @classmethod
    def load(cls, path: Path) -> Table:
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        problems = tuple(sorted({row["example_id"] for row in rows}))
        sizes = {row["model"]: float(row["model_params_b"]) for row in rows}
        models = tuple(f"{model}@{cap}" for model in sorted(sizes, key=sizes.__getitem__) for cap in CAPS)
        place = {name: i for i, name in enumerate(models)}
        at = {name: i for i, name in enumerate(problems)}
        shape = (len(problems), len(models), 2 * N_DRAWS)
        answer, decode = np.full(shape, -1), np.zeros(shape, np.int64)
        prefill = np.zeros(len(problems), np.int64)
        codes: list[dict[object, int]] = [{} for _ in problems]
        right: list[list[bool]] = [[] for _ in problems]
        for row in rows:
            p, m, d = (
                at[row["example_id"]],
                place[f"{row['model']}@{row['variant']}"],
                int(row["sample_index"]),
            )
            decode[p, m, d] = int(row["completion_tokens"])
            prefill[p] = int(row["prompt_tokens"])
            if row["answer"] == "":
                continue
            key = vote_key(row["answer"])
            code = codes[p].setdefault(key, len(codes[p]))
            if code == len(right[p]):
                right[p].append(float(row["score"]) == 1.0)
            answer[p, m, d] = code
        sized = np.array([sizes[name.partition("@")[0]] for name in models])
        return cls(problems, models, sized, prefill, answer, decode, tuple(np.array(r) for r in right))


class AimeGround:
    """See the module."""

    name = "aime"
    source: Source = "recorded"

    def __init__(self, replay: Path, cache: Path, budget: float = BUDGET_GFLOPS) -> None:
        self.table = Table.load(replay / TABLE)
        self.models = {name: m for m, name in enumerate(self.table.models)}
        self.n_problems = len(self.table.problems)
        self.attempts = tuple(_choices("attempt", self.table.models, (None,)))
        off = StageChoice("escalate", self.table.models[0], 1, "first", 0.0)
        self.escalations = (off, *_choices("escalate", self.table.models, THRESHOLDS))
        self._path = cache / f"aime24-truth-{N_ORDERS}-orders.npz"
        self.flops_prefill = 2 * self.table.parameters[None, :] * self.table.prefill[:, None]
        self.flops_decode = 2 * self.table.parameters[None, :, None] * self.table.decode
        structure = Structure(
            needs={"attempt": (), "escalate": ("attempt",)},
            final="escalate",
            kinds={(stage, "majority"): "majority" for stage in ("attempt", "escalate")},
            when={"escalate": "attempt"},
            pooled=frozenset({"escalate"}),
        )
        costs, conditional = self._expected_costs()
        stages = (self.attempts, self.escalations)
        self.space = Space(stages, costs, Budget(budget, Unit.GFLOPS), structure, (conditional,))
        self.truths = Truths(self.space, self._tables["truth"], self._tables["cost"] <= budget)
        self.note = (
            f"{self.n_problems} problems of AIME 2024, {N_DRAWS} recorded draws a stage, {self.space.budget}"
        )

    @property
    def best(self) -> float:
        return self.truths.best

    def truth(self, allocation: Allocation) -> float:
        return self.truths.of(allocation)

    def affords(self, allocation: Allocation) -> bool:
        return self.truths.affords(allocation)

    def begin(self, seed: int | None) -> AimeRun:
        return AimeRun(self, seed)

    @cached_property
    def orders(self) -> NDArray[np.int16]:
        """Places in the recording, shape (N_ORDERS, n_problems, 2 stages, 4 models, N_DRAWS); order 0: as recorded."""
        shape = (N_ORDERS, self.n_problems, 2, len(self.models) // len(CAPS), N_DRAWS)
        plain = np.broadcast_to(np.arange(N_DRAWS, dtype=np.int16), shape)
        orders: NDArray[np.int16] = np.random.default_rng(2024).permuted(plain, axis=-1)
        orders[0] = np.arange(N_DRAWS)
        orders[:, :, 1] += N_DRAWS
        return orders

    def _expected_costs(self) -> tuple[tuple[tuple[float, ...], ...], Conditional]:
        """Costs as a study comes to expect them: escalate's cost where it always runs, times how often it runs.

        Where it runs the problems are harder and the completions longer, so the shares are those that fit the true
        costs best on average: within some per cent of the truth.
        """
        table = self._tables["cost"]
        extra = table[:, 1:] - table[:, :1]
        always = extra[:, -len(self.attempts) :].mean(axis=0)  # the last threshold is above any agreement
        shares = (extra.reshape(len(table), len(THRESHOLDS), -1) / always).mean(axis=2)
        column = (0, *(1 + k // len(self.attempts) for k in range(extra.shape[1])))
        known = np.array([(0.0, *np.minimum(row, 1.0)) for row in shares])
        second = (0.0, *map(float, np.tile(always, len(THRESHOLDS))))
        return (tuple(map(float, table[:, 0])), second), Conditional(
            (0, 1), (tuple(range(len(table))), column), known
        )

    # --- the truth ---------------------------------------------------------------------------------------------

    @cached_property
    def _tables(self) -> Mapping[str, Floats]:
        """`truth` and `cost` (GFLOPs) by choice of attempt and of escalate."""
        if not self._path.exists():
            truth = np.zeros((len(self.attempts), len(self.escalations)))
            cost = np.zeros_like(truth)
            for p in range(self.n_problems):
                _Problem(self, p).add_to(truth, cost)
            np.savez_compressed(self._path, truth=truth / self.n_problems, cost=cost / self.n_problems)
        with np.load(self._path) as file:
            return {name: file[name] for name in ("truth", "cost")}


def _choices(stage: str, models: Sequence[str], thresholds: Sequence[float | None]) -> Iterator[StageChoice]:
    """Choices in the order of thresholds, models, counts: `_Problem` counts on it."""
    for below in thresholds:
        for model in models:
            for n in COUNTS:
                yield StageChoice(stage, model, n, "first" if n == 1 else "majority", below)


class _Problem:
    """All orders of one problem at once."""

    def __init__(self, ground: AimeGround, p: int) -> None:
        self.table, self.p = ground.table, p
        self.right = ground.table.right[p]
        self.n_answers = len(self.right)
        self.costs = [self._costs(ground, stage) for stage in (0, 1)]
        self.answers = [self._answers(ground, stage) for stage in (0, 1)]

    def _answers(self, ground: AimeGround, stage: int) -> Ints:
        """Shape (n_orders, n_models, max count)."""
        orders = np.repeat(ground.orders[:, self.p, stage], len(CAPS), axis=1)[:, :, : max(COUNTS)]
        answers: Ints = np.take_along_axis(self.table.answer[self.p][None], orders.astype(np.int64), axis=2)
        return answers

    def _costs(self, ground: AimeGround, stage: int) -> Floats:
        """GFLOPs, shape (n_orders, n_models x counts)."""
        orders = np.repeat(ground.orders[:, self.p, stage], len(CAPS), axis=1).astype(np.int64)
        each = np.take_along_axis(ground.flops_decode[self.p][None], orders, axis=2)
        sums = np.cumsum(each, axis=2)[:, :, [n - 1 for n in COUNTS]]
        costs: Floats = (sums + ground.flops_prefill[self.p][None, :, None]).reshape(N_ORDERS, -1)
        return costs

    def _keys(self, stage: int, shift: int) -> NDArray[np.int16]:
        """Keys of votes (see STEP), NEVER where there is none, shape (n_orders, n_answers, n_models x counts)."""
        answers = self.answers[stage]
        n_models = answers.shape[1]
        keys = np.full((N_ORDERS, self.n_answers, n_models, len(COUNTS)), NEVER, np.int16)
        rows = np.arange(N_ORDERS)[:, None]
        columns = np.arange(n_models)[None, :]
        running = np.full((N_ORDERS, self.n_answers, n_models), NEVER, np.int16)
        for d in range(max(COUNTS)):
            code = answers[:, :, d]
            r, m = np.nonzero(code >= 0)
            at = (rows[r, 0], code[r, m], columns[0, m])
            now = running[at]
            running[at] = np.where(now == NEVER, STEP - (shift + d), now + STEP)
            if d + 1 in COUNTS:
                keys[..., COUNTS.index(d + 1)] = running
        return keys.reshape(N_ORDERS, self.n_answers, -1)

    def add_to(self, truth: Floats, cost: Floats) -> None:
        first, second = self._keys(0, 0), self._keys(1, max(COUNTS))
        votes = np.where(second == NEVER, 0, -(-second // STEP)).astype(np.int16)
        best_second = second.max(axis=1)  # (n_orders, n_escalate)
        right_second = self.right[second.argmax(axis=1)] & (best_second > NEVER)
        n_columns = first.shape[2]
        for a in range(n_columns):
            key = first[:, :, a]
            won, best = key.argmax(axis=1), key.max(axis=1)
            right = self.right[won] & (best > NEVER)
            n = COUNTS[a % len(COUNTS)]
            share = np.where(best > NEVER, -(-best.astype(np.int64) // STEP), 0) / n
            runs = share[None, :] < np.array(THRESHOLDS)[:, None]  # (n_thresholds, n_orders)
            pooled = self._pooled(key, n, votes, best_second, right_second)
            gained = pooled.astype(float) - right[:, None]
            truth[a, 0] += right.mean()
            truth[a, 1:] += (right.mean() + (runs @ gained) / N_ORDERS).ravel()
            own = self.costs[0][:, a].mean()
            cost[a, 0] += own
            cost[a, 1:] += (own + (runs @ self.costs[1]) / N_ORDERS).ravel()

    def _pooled(
        self,
        key: NDArray[np.int16],
        n: int,
        votes: NDArray[np.int16],
        best_second: NDArray[np.int16],
        right_second: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return whether the pooled vote is right, shape (n_orders, n_escalate).

        The winner is an answer of attempt's, or else escalate's own winner: any answer that attempt has not named
        has at most as many votes as that one.
        """
        size = min(n, self.n_answers)
        support = np.argpartition(-key.astype(np.int32), size - 1, axis=1)[:, :size]
        mine = np.take_along_axis(key, support, axis=1)
        rows = np.arange(N_ORDERS)[:, None]
        pooled = np.where(mine[:, :, None] == NEVER, NEVER, mine[:, :, None] + STEP * votes[rows, support])
        place = pooled.argmax(axis=1)
        top = np.take_along_axis(pooled, place[:, None], axis=1)[:, 0]
        right_mine = self.right[np.take_along_axis(support, place, axis=1)] & (top > NEVER)
        return np.where(top >= best_second, right_mine, right_second)


def _by_stage() -> dict[str, dict[str, Any]]:
    return {"attempt": {}, "escalate": {}}


@dataclass
class _Tally:
    """What a trial has seen so far."""

    scores: dict[str, float] = field(default_factory=dict)
    stage_scores: dict[str, dict[str, float]] = field(default_factory=_by_stage)
    sample_scores: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=_by_stage)
    costs: dict[str, float] = field(default_factory=lambda: {"attempt": 0.0, "escalate": 0.0})
    """GFLOPs, over all problems."""
    fresh: float = 0.0
    votes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


class AimeRun:
    """One search on the ground; see `base.Run`."""

    def __init__(self, ground: AimeGround, seed: int | None) -> None:
        self._ground = ground
        self._order = 0 if seed is None else 1 + seed % (N_ORDERS - 1)
        self._held: dict[tuple[int, int, int], int] = {}

    def run(
        self, allocation: Allocation, number: int, problems: Sequence[int] | None = None
    ) -> tuple[Trial, Paid]:
        chosen = range(self._ground.n_problems) if problems is None else problems
        tally = _Tally()
        for p in chosen:
            self._one(p, allocation, tally)
        n = len(chosen)
        charged = sum(tally.costs.values()) / n
        fits = charged <= self._ground.space.budget.amount * (1 + SLACK)
        flops = {stage: cost * 1e9 / n for stage, cost in tally.costs.items()}
        trial = Trial(
            number,
            allocation,
            "ok" if fits else "over_budget",
            tally.scores,
            charged,
            {stage: Cost(flops=value, linear_flops=value) for stage, value in flops.items()},
            tally.stage_scores,
            tally.sample_scores,
            votes={"attempt": tally.votes},
            measured={"escalate": tally.measured},
        )
        return trial, Paid(tally.fresh, charged * n)

    def _one(self, p: int, allocation: Allocation, tally: _Tally) -> None:
        """Take one problem through the stages."""
        name = self._ground.table.problems[p]
        first, second = allocation.choices
        codes = self._drawn(0, first, p, tally)
        winner, share = _vote(codes)
        tally.votes[name], tally.measured[name] = codes, share
        tally.scores[name] = tally.stage_scores["attempt"][name] = self._right(p, winner)
        if share < (second.below or 0.0):
            pooled, _ = _vote((*codes, *self._drawn(1, second, p, tally)))
            tally.scores[name] = tally.stage_scores["escalate"][name] = self._right(p, pooled)

    def _drawn(self, stage: int, choice: StageChoice, p: int, tally: _Tally) -> tuple[int, ...]:
        """Return the samples' answers, and take note of scores and costs."""
        codes = self._codes(stage, choice, p)
        name = self._ground.table.problems[p]
        tally.sample_scores[choice.stage][name] = tuple(self._right(p, c) for c in codes)
        tally.costs[choice.stage] += self._charge(stage, choice, p)
        tally.fresh += self._pay(stage, choice, p)
        return codes

    def _places(self, stage: int, choice: StageChoice, p: int) -> NDArray[np.int16]:
        m = self._ground.models[choice.model]
        places: NDArray[np.int16] = self._ground.orders[self._order, p, stage, m // len(CAPS)]
        return places

    def _codes(self, stage: int, choice: StageChoice, p: int) -> tuple[int, ...]:
        m = self._ground.models[choice.model]
        places = self._places(stage, choice, p)[: choice.n_samples]
        return tuple(int(c) for c in self._ground.table.answer[p, m][places])

    def _right(self, p: int, code: int) -> float:
        return float(code >= 0 and self._ground.table.right[p][code])

    def _charge(self, stage: int, choice: StageChoice, p: int) -> float:
        m = self._ground.models[choice.model]
        drawn = self._ground.flops_decode[p, m][self._places(stage, choice, p)[: choice.n_samples]]
        return float(self._ground.flops_prefill[p, m] + drawn.sum())

    def _pay(self, stage: int, choice: StageChoice, p: int) -> float:
        m, n = self._ground.models[choice.model], choice.n_samples
        held = self._held.get((stage, m, p), 0)
        if n <= held:
            return 0.0
        self._held[stage, m, p] = n
        drawn = self._ground.flops_decode[p, m][self._places(stage, choice, p)[held:n]]
        return float(self._ground.flops_prefill[p, m] + drawn.sum())


def _vote(codes: Sequence[int]) -> tuple[int, float]:
    """Return the selected answer, -1 for none, and the share of all samples that hold it."""
    answer = Majority().select([None if c < 0 else c for c in codes], ()).answer
    if answer is None:
        return -1, 0.0
    return int(answer), sum(c == answer for c in codes) / len(codes)

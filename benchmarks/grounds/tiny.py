"""The ground `tiny`: the whole grid of the task `tiny` on recorded draws of the models that come with the package.

A trial selects by the package's own selectors and charges by its cost model. The truth is the mean over problems of
the expectation over orders of both stages' draws: the chance that the translate stage selects each plan, times the
chance that the solve stage is then right. Chances are shares of N_ORDERS random orders (of fewer where all draws of a
stream agree, which makes them exact).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agenttts.allocators.space import Space, Structure, stage_choices
from agenttts.budgets.cost import Budget, Cost
from agenttts.budgets.cost_model import CostModel
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.selectors import SELECTORS
from agenttts.study.archive import Trial
from agenttts.task.task import Task
from grounds.base import Floats, Flops, Orders, Paid, Source, Truths
from grounds.selection import selected
from grounds.tiny_recording import Draws, recorded

STAGES = ("translate", "solve")
N_ORDERS = {"translate": 2000, "solve": 256}
JUDGE = "tiny/prm"
SLACK = 1e-9


@dataclass(frozen=True)
class _Outcome:
    """What one stage makes of one prompt under one choice."""

    draw: int
    """The selected draw, -1: none could be parsed."""
    cost: float
    """Charged FLOPs."""
    rights: tuple[float, ...]
    """Score of each sample, in drawing order."""


@dataclass(frozen=True)
class _Charges:
    """FLOPs of the draws of one stage."""

    prefill: Floats
    """Shape (n_rows, n_models)."""
    decode: Floats
    """Shape (n_rows, n_models, n_draws)."""
    judge: Floats
    """Of the reward model for each draw, 0 where it is not asked; same shape."""

    @classmethod
    def of(cls, draws: Draws, models: Sequence[str], cards: Mapping[str, Any]) -> _Charges:
        flops = [Flops.of(cards[model]) for model in models]
        prefill = np.stack([f.prefill(draws.prefill) for f in flops], axis=1)
        decode = np.stack(
            [f.decode(draws.prefill[:, None], draws.decode[:, m]) for m, f in enumerate(flops)], axis=1
        )
        judge = np.where(draws.answer >= 0, Flops.of(cards[JUDGE]).prefill(draws.read), 0.0)
        return cls(prefill, decode, judge)


class TinyGround:
    """See the module."""

    name = "tiny"
    source: Source = "tiny"

    def __init__(self, cache: Path, *, n_problems: int = 100, n_draws: int = 64, budget: str = "") -> None:
        self.recording = recorded(cache, n_problems, n_draws)
        self.n_problems, self.n_draws = n_problems, n_draws
        self.task = Task.load("tiny", n_search=n_problems)
        self.models = {model: m for m, model in enumerate(self.recording.models)}
        self.draws = {"translate": self.recording.translate, "solve": self.recording.solve}
        self.charges = {
            s: _Charges.of(d, self.recording.models, self.task.cards) for s, d in self.draws.items()
        }
        self._path = cache / f"tiny-truth-{n_problems}-problems-{n_draws}-draws.npz"
        structure = Structure.of(self.task)
        self.kinds = structure.kinds
        blocks = self.task.file.stages
        self.choices = tuple(stage_choices(name, blocks[name]) for name in STAGES)
        amount = Budget.parse(budget or str(self.task.file.budget.default), self.task.file.budget.unit)
        self.space = Space(self.choices, self._expected_costs(), amount, structure)
        self.truths = Truths(self.space, self._tables["truth"])
        self.note = f"{n_problems} search problems of the task tiny, {n_draws} draws of each prompt, {amount} per problem"

    @property
    def best(self) -> float:
        return self.truths.best

    def truth(self, allocation: Allocation) -> float:
        return self.truths.of(allocation)

    def affords(self, allocation: Allocation) -> bool:
        return self.truths.affords(allocation)

    def begin(self, seed: int | None) -> TinyRun:
        return TinyRun(self, seed)

    def kind(self, choice: StageChoice) -> str:
        return "first" if choice.n_samples == 1 else self.kinds[choice.stage, choice.select]

    # --- the truth ---------------------------------------------------------------------------------------------

    def _expected_costs(self) -> tuple[tuple[float, ...], ...]:
        """GFLOPs by choice; of the second stage for the prompts that the choices of the first lead to on average."""
        reach = self._tables["reach"].mean(axis=0) / self.n_problems
        first = self._mean_costs("translate", np.full(self.n_problems, 1 / self.n_problems))
        return first, self._mean_costs("solve", reach)

    def _mean_costs(self, stage: str, weights: Floats) -> tuple[float, ...]:
        charges = self.charges[stage]
        costs = []
        for choice in self.choices[STAGES.index(stage)]:
            m = self.models[choice.model]
            each = charges.decode[:, m].mean(axis=1)
            if choice.n_samples > 1 and self.kind(choice) != "majority":
                each = each + charges.judge[:, m].mean(axis=1)
            costs.append(float(weights @ (charges.prefill[:, m] + choice.n_samples * each)) / 1e9)
        return tuple(costs)

    @cached_property
    def _tables(self) -> Mapping[str, Floats]:
        """`reach` (first choices, rows of solve): chance of each; `truth` (first choices, second choices)."""
        if self._path.exists():
            with np.load(self._path) as file:
                return {name: file[name] for name in ("reach", "truth")}
        reach = self._reach()
        truth = reach @ self._chances() / self.n_problems
        np.savez_compressed(self._path, reach=reach, truth=truth)
        return {"reach": reach, "truth": truth}

    def _reach(self) -> Floats:
        draws, choices = self.draws["translate"], self.choices[0]
        reach = np.zeros((len(choices), len(self.draws["solve"].problem)))
        for row in range(len(draws.problem)):
            for i, picks in self._picks("translate", row):
                m = self.models[choices[i].model]
                to = np.where(picks >= 0, draws.next_row[row, m][picks], draws.no_answer_row[row])
                np.add.at(reach[i], to, 1 / len(to))
        return reach

    def _chances(self) -> Floats:
        """Chance of a right answer by row and choice of the second stage."""
        draws, choices = self.draws["solve"], self.choices[1]
        chances = np.zeros((len(draws.problem), len(choices)))
        for row in range(len(draws.problem)):
            for i, picks in self._picks("solve", row):
                right = draws.right[row, self.models[choices[i].model]]
                chances[row, i] = np.where(picks >= 0, right[picks], 0.0).mean()
        return chances

    def _picks(self, stage: str, row: int) -> list[tuple[int, Any]]:
        """Selected draws by choice, over many orders."""
        draws, s = self.draws[stage], STAGES.index(stage)
        result: list[tuple[int, Any]] = []
        for model, m in self.models.items():
            answers, scores = draws.answer[row, m], draws.prm[row, m].astype(np.float64)
            alike = (answers == answers[0]).all()
            rng = np.random.default_rng([11, s, m, row])
            n_orders = 1 if alike else N_ORDERS[stage]
            orders = rng.permuted(np.tile(np.arange(self.n_draws), (n_orders, 1)), axis=1)
            for kind in {self.kind(c) for c in self.choices[s] if c.model == model}:
                mine = [
                    (i, c) for i, c in enumerate(self.choices[s]) if c.model == model and self.kind(c) == kind
                ]
                picks = selected(kind, [c.n_samples for _, c in mine], answers, scores, orders)
                result += [(i, picks[:, k]) for k, (i, _) in enumerate(mine)]
        return result


class TinyRun:
    """One search on the ground; see `base.Run`."""

    def __init__(self, ground: TinyGround, seed: int | None) -> None:
        self._ground = ground
        self._orders = Orders(seed, ground.n_draws)
        self._outcomes: dict[tuple[StageChoice, int], _Outcome] = {}
        self._held: dict[tuple[int, int, int], int] = {}
        """(stage, model, row) -> draws."""
        self._judged: set[tuple[int, int, int]] = set()
        """(stage, row, reply)."""

    def run(
        self, allocation: Allocation, number: int, problems: Sequence[int] | None = None
    ) -> tuple[Trial, Paid]:
        ground = self._ground
        chosen = range(ground.n_problems) if problems is None else problems
        scores: dict[str, float] = {}
        stage_scores: dict[str, dict[str, float]] = {name: {} for name in STAGES}
        sample_scores: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in STAGES}
        costs = dict.fromkeys(STAGES, 0.0)
        fresh = 0.0
        for problem in chosen:
            name, row = ground.recording.problems[problem], problem
            for s, choice in enumerate(allocation.choices):
                outcome = self._outcome(s, choice, row)
                fresh += self._pay(s, choice, row)
                draws, m = ground.draws[choice.stage], ground.models[choice.model]
                score = float(draws.right[row, m, outcome.draw]) if outcome.draw >= 0 else 0.0
                costs[choice.stage] += outcome.cost
                stage_scores[choice.stage][name] = score
                sample_scores[choice.stage][name] = outcome.rights
                if s == 0:
                    found = outcome.draw >= 0
                    row = int(draws.next_row[row, m, outcome.draw] if found else draws.no_answer_row[row])
            scores[name] = score
        n = len(chosen)
        charged = sum(costs.values()) / n / 1e9
        fits = charged <= ground.space.budget.amount * (1 + SLACK)
        trial = Trial(
            number,
            allocation,
            "ok" if fits else "over_budget",
            scores,
            charged,
            {stage: Cost(flops=cost / n, linear_flops=None) for stage, cost in costs.items()},
            stage_scores,
            sample_scores,
        )
        return trial, Paid(fresh / 1e9, charged * n)

    def _outcome(self, s: int, choice: StageChoice, row: int) -> _Outcome:
        key = (replace(choice, select="first") if choice.n_samples == 1 else choice, row)
        if key not in self._outcomes:
            self._outcomes[key] = self._select(s, choice, row)
        return self._outcomes[key]

    def _select(self, s: int, choice: StageChoice, row: int) -> _Outcome:
        ground = self._ground
        draws, charges = ground.draws[choice.stage], ground.charges[choice.stage]
        m = ground.models[choice.model]
        order = self._orders(s, m, row)[: choice.n_samples]
        answers = [None if a < 0 else int(a) for a in draws.answer[row, m][order]]
        kind = ground.kind(choice)
        cost = float(charges.prefill[row, m] + charges.decode[row, m][order].sum())
        scores: tuple[float | None, ...] = ()
        if kind not in ("first", "majority"):
            given = draws.prm[row, m][order].astype(float)
            scores = tuple(None if np.isnan(v) else float(v) for v in given)
            cost += float(charges.judge[row, m][order].sum())
        selection = SELECTORS[kind].select(answers, scores)
        assert selection.index is not None
        draw = -1 if selection.answer is None else int(order[selection.index])
        return _Outcome(draw, cost, tuple(map(float, draws.right[row, m][order])))

    def _pay(self, s: int, choice: StageChoice, row: int) -> float:
        """Return the FLOPs of what is not held yet, and hold it."""
        ground = self._ground
        draws, charges = ground.draws[choice.stage], ground.charges[choice.stage]
        m, n = ground.models[choice.model], choice.n_samples
        order = self._orders(s, m, row)
        held = self._held.get((s, m, row), 0)
        paid = 0.0
        if n > held:
            paid += float(charges.prefill[row, m] + charges.decode[row, m][order[held:n]].sum())
            self._held[s, m, row] = n
        if n > 1 and ground.kind(choice) not in ("first", "majority"):
            for draw in order[:n]:
                reply = (s, row, int(draws.text[row, m, draw]))
                if draws.answer[row, m, draw] >= 0 and reply not in self._judged:
                    self._judged.add(reply)
                    paid += float(charges.judge[row, m, draw])
        return paid


def cost_by_cost_model(ground: TinyGround) -> float:
    """Largest relative difference between the ground's charges and the package's cost model (a check)."""
    from agenttts.models.base import CallUsage

    model, worst = CostModel(ground.task.cards), 0.0
    for stage, draws in ground.draws.items():
        for name, m in ground.models.items():
            for row in range(0, len(draws.problem), 97):
                usage = CallUsage(int(draws.prefill[row]), tuple(map(int, draws.decode[row, m])))
                exact = model.charge(name, usage).flops or 0.0
                mine = ground.charges[stage].prefill[row, m] + ground.charges[stage].decode[row, m].sum()
                worst = max(worst, abs(mine / exact - 1))
    return worst

"""One shadow price across the problems of a batch: samples go where they are expected to gain most per cost.

Stage by stage: every problem gets a few samples first; what is left of the stage's share of the budget goes, block by
block, to the problems with the largest expected gain per cost. All draws are numbered and kept, so in the end every
problem is answered as if its own number of samples had been asked for from the beginning. What is charged on top, the
prompt that is read again for every further block, is added to the bill.

Stages that vote or take the best scored sample are shared out; the others, and those that run on a condition, get what
the allocation says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Cost, Unit, amount
from agenttts.errors import InputError, ProviderError
from agenttts.models.base import CallUsage, Request
from agenttts.models.sampler import Drawn
from agenttts.pipeline.base import Allocation, Charge, Problem, Rollout, StageChoice, StageOutput
from agenttts.pipeline.driver import Requests, StageRun, World, drive
from agenttts.pipeline.gains import Gain, score_gain, vote_gain
from agenttts.pipeline.pipeline import Pipeline, StageFailedError
from agenttts.pipeline.prompts import PromptRenderError
from agenttts.pipeline.stages import LLMStage
from agenttts.pipeline.together import together
from agenttts.verifiers.equality import vote_counts

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.sampler import Sampler
    from agenttts.task.task import Task

__all__ = ["SHARED", "Across", "BatchResult", "Spread", "kinds_of"]

SHARED = frozenset({"adaptive_vote", "best_of_n", "majority", "weighted_vote"})
"""Kinds of ways whose samples are shared out."""
SCORED = frozenset({"best_of_n"})
OPENING = 2
"""Samples that every problem gets: as few as show whether they agree, and as a verifier is asked about."""
MOST_TIMES = 8
"""Most samples of one problem, as a multiple of what the allocation says."""
LEAST_GAIN = 1e-3
"""A sample that is expected to gain less is not drawn, whatever is left: the rest of the budget is saved."""
PART = 0.25
"""Share of what is left that one round may take: later rounds know more."""
N_PILOT = 8
"""Problems on which it is seen what the stages cost that are not shared out."""
MARGIN = 1.0
"""Largest blocks that are kept back, so that a block which turns out longer than expected passes nothing."""


def kinds_of(task: Task, allocation: Allocation) -> dict[str, str]:
    """Return the kind of the way to select that an allocation names, by stage.

    Raises:
        InputError: No stage has samples that could be shared out.
    """
    kinds = {c.stage: task.file.stages[c.stage].kind_of(c.select) for c in allocation.choices}
    if not any(_shared(choice, kinds) for choice in allocation.choices):
        raise InputError(
            f"no stage of this plan has samples to share out across problems: it takes {allocation}. Stages that run on "
            f"every problem and select by {', '.join(sorted(SHARED))} among several samples have"
        )
    return kinds


def _shared(choice: StageChoice, kinds: Mapping[str, str]) -> bool:
    return choice.n_samples > 1 and choice.below is None and kinds[choice.stage] in SHARED


@dataclass(frozen=True)
class Spread:
    """How the samples of one stage were shared out."""

    stage: str
    n_samples: Mapping[str, int]
    """By problem id."""
    price: float
    """Gain per unit of the budget of the last block that was drawn: the shadow price; 0 where nothing was left to gain."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    rollouts: tuple[Rollout, ...]
    """In the order of the problems."""
    spreads: tuple[Spread, ...]
    n_paid: int = 0
    """Draws paid for, those of the opening and of every block included."""
    n_reused: int = 0
    """The other draws of the rollouts."""


class _Counting:
    """A sampler that counts the draws paid for through it; questions of verifiers are none."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.n_paid = 0

    async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Drawn:
        """See `Sampler.sample`."""
        drawn = await self._sampler.sample(request, n, purpose=purpose)
        self.n_paid += 0 if purpose == "verify" else drawn.n_paid
        return drawn


@dataclass
class _Drawn:
    """What one problem has at one stage."""

    problem: Problem
    needed: Mapping[str, StageOutput]
    """Of the stages before, which have their samples by now."""
    n: int
    run: StageRun
    n_blocks: int = 1
    closed: bool = False
    """It failed with more samples: it gets none."""


@dataclass(frozen=True)
class Across:
    """Answers batches of problems under an average budget.

    The fields are those of `Pipeline.run`.
    """

    pipeline: Pipeline
    allocation: Allocation
    kinds: Mapping[str, str]
    """Stage -> kind of the way that the allocation names there."""
    clients: Requests
    sampler: Sampler
    cost_model: CostModel
    unit: Unit
    """What gains are divided by, and the budget is counted in."""
    most: Callable[[str, str], int | None] = field(default=lambda stage, model: None)
    """(stage, model) -> draws that a recording holds, `None` where draws are without end."""
    concurrency: int = 32

    async def run(
        self,
        problems: Sequence[Problem],
        *,
        share: float = 1.0,
        score: bool = True,
        on_rollout: Callable[[Rollout], None] | None = None,
    ) -> BatchResult:
        """Answer a batch.

        Args:
            problems: The batch; the larger, the more there is to share.
            share: The average budget, as a share of what the allocation costs where every problem gets the same.
            score: Whether to score against gold.
            on_rollout: Told of each problem.

        Raises:
            ProviderError, SearchBudgetExhausted, RecordedMissError: As `Pipeline.run`.
        """
        counting = _Counting(self.sampler)
        made = await replace(self, sampler=counting)._run(problems, share, score, on_rollout)
        n_drawn = sum(rollout.n_paid + rollout.n_reused for rollout in made.rollouts)
        return replace(made, n_paid=counting.n_paid, n_reused=max(0, n_drawn - counting.n_paid))

    async def _run(
        self,
        problems: Sequence[Problem],
        share: float,
        score: bool,
        on_rollout: Callable[[Rollout], None] | None,
    ) -> BatchResult:
        gate = asyncio.Semaphore(self.concurrency)
        if share != 1:
            share = await self._of_shared_stages(share, problems[:N_PILOT])
        own = {problem.id: self.allocation for problem in problems}
        blocks: dict[tuple[str, str], int] = {}
        spreads = []
        for choice in self.allocation.choices:
            if _shared(choice, self.kinds):
                drawn = await self._spread(choice, problems, own, share, gate)
                spreads.append(drawn[0])
                for one in drawn[1]:
                    own[one.problem.id] = _with_samples(own[one.problem.id], choice.stage, one.n)
                    blocks[choice.stage, one.problem.id] = one.n_blocks

        async def answer(problem: Problem) -> Rollout:
            async with gate:
                rollout = await self._pass(problem, own[problem.id], score=score, measure=score)
            rollout = self._billed(rollout, own[problem.id], blocks)
            if on_rollout is not None:
                on_rollout(rollout)
            return rollout

        return BatchResult(tuple(await together([answer(p) for p in problems])), tuple(spreads))

    async def _of_shared_stages(self, share: float, pilot: Sequence[Problem]) -> float:
        """Return the share of their cost that the stages may take that are shared out: the others cost what they cost.

        It is seen on a few problems with the samples that every problem gets anyway.

        Raises:
            InputError: The budget is below what these samples and the other stages cost.
        """
        opening = self.allocation
        shared = [choice for choice in self.allocation.choices if _shared(choice, self.kinds)]
        for choice in shared:
            opening = _with_samples(opening, choice.stage, OPENING)
        rollouts = await together([self._pass(problem, opening, score=False) for problem in pilot])
        seen = [rollout for rollout in rollouts if rollout.failure is None]
        if not seen:  # what failed for all of the pilot is told problem by problem
            return share
        floor = sum(_amount(cost, self.unit) for rollout in seen for cost in rollout.costs.values())
        charges = [(choice, r.outputs[choice.stage].charges) for r in seen for choice in shared]
        begun = sum(self._sum(made) for _, made in charges)
        full = sum(self._expected(made, OPENING, choice.n_samples) for choice, made in charges)
        others = floor - begun
        left = share * (full + others) - others
        if left < begun:
            raise InputError(
                f"the average budget is {share:.1%} of what the plan costs; {OPENING} samples of every problem and the "
                f"stages whose samples are not shared out take {floor / (full + others):.1%} of it. Give a larger one"
            )
        return left / full

    async def _pass(
        self, problem: Problem, allocation: Allocation, *, score: bool, measure: bool = False
    ) -> Rollout:
        return await self.pipeline.run(
            problem,
            allocation,
            clients=self.clients,
            sampler=self.sampler,
            cost_model=self.cost_model,
            score=score,
            measure=measure,
        )

    # --- one stage

    async def _spread(
        self,
        choice: StageChoice,
        problems: Sequence[Problem],
        own: Mapping[str, Allocation],
        share: float,
        gate: asyncio.Semaphore,
    ) -> tuple[Spread, list[_Drawn]]:
        scored = self.kinds[choice.stage] in SCORED

        async def begin(problem: Problem) -> _Drawn | None:
            async with gate:
                return await self._begun(choice, problem, own[problem.id])

        async def draw(one: _Drawn, n: int) -> StageRun | None:
            async with gate:
                return await self._at(choice, one.problem, one.needed, n)

        begun = await together([begin(problem) for problem in problems])
        drawn = [one for one in begun if one is not None]
        left = sum(
            share * self._expected(one.run.output.charges, one.n, choice.n_samples) - self._cost(one.run)
            for one in drawn
        )
        limit = self._limit(choice)
        price = 0.0
        while taken := self._taken(drawn, left, limit, scored=scored):
            price = taken[-1][2]
            before = [self._cost(one.run) for one, _, _ in taken]
            runs = await together([draw(one, one.n + n) for one, n, _ in taken])
            for (one, n, _), run, cost in zip(taken, runs, before, strict=True):
                if run is None:
                    one.closed = True
                    continue
                one.n, one.run, one.n_blocks = one.n + n, run, one.n_blocks + 1
                left -= self._cost(run) - cost + self._reading(run.output.charges)
        return Spread(choice.stage, {one.problem.id: one.n for one in drawn}, price), drawn

    def _limit(self, choice: StageChoice) -> int:
        recorded = self.most(choice.stage, choice.model)
        most = MOST_TIMES * choice.n_samples
        return most if recorded is None else min(most, recorded)

    def _taken(
        self, drawn: Sequence[_Drawn], left: float, limit: int, *, scored: bool
    ) -> list[tuple[_Drawn, int, float]]:
        """Return the problems of one round, what each gets, and its gain per cost, largest first."""
        offers = []
        for one in (one for one in drawn if not one.closed):
            gain = _gain(one.run, scored=scored)
            # Half of what it takes to change the vote tells whether it is going to.
            n = min(-(-gain.n // 2), limit - one.n)
            if n > 0 and gain.per_sample >= LEAST_GAIN:
                charges = one.run.output.charges
                cost = self._per_sample(charges, one.n) * n + self._reading(charges)
                offers.append((one, n, gain.per_sample * n / cost, cost))
        offers.sort(key=lambda offer: -offer[2])
        room = left - MARGIN * max((cost for *_, cost in offers), default=0.0)
        taken: list[tuple[_Drawn, int, float]] = []
        part = PART * room
        for one, n, worth, cost in offers:
            if cost > room or (taken and part < cost):
                break
            taken.append((one, n, worth))
            room, part = room - cost, part - cost
        return taken

    async def _begun(self, choice: StageChoice, problem: Problem, allocation: Allocation) -> _Drawn | None:
        """Return a problem with its first samples; `None`: something failed for this problem alone."""
        upstream = self._upstream(self._stage(choice.stage))
        try:
            needed = await upstream.outputs(problem, allocation, clients=self.clients, sampler=self.sampler)
        except StageFailedError:
            return None
        run = await self._at(choice, problem, needed, OPENING)
        return None if run is None else _Drawn(problem, needed, OPENING, run)

    async def _at(
        self, choice: StageChoice, problem: Problem, needed: Mapping[str, StageOutput], n: int
    ) -> StageRun | None:
        """Return what a stage makes of a problem with `n` samples; `None`: something failed for this problem alone."""
        stage = self._stage(choice.stage)
        world = World(self.clients, self.sampler, problem, stage.name)
        try:
            return await drive(stage.strategy(replace(choice, n_samples=n), problem, needed), world)
        except PromptRenderError:
            return None
        except ProviderError as error:
            if error.stops_run:
                raise
            return None

    def _stage(self, name: str) -> LLMStage:
        return next(
            stage for stage in self.pipeline.stages if stage.name == name and isinstance(stage, LLMStage)
        )

    def _upstream(self, stage: LLMStage) -> Pipeline:
        """Return the pipeline of the stages that a stage builds on."""
        names: set[str] = set()
        open_ = list(stage.needs)
        while open_:
            name = open_.pop()
            if name not in names:
                names.add(name)
                open_ += next(other.needs for other in self.pipeline.stages if other.name == name)
        return replace(self.pipeline, stages=tuple(s for s in self.pipeline.stages if s.name in names))

    # --- what it costs

    def _sum(self, charges: Sequence[Charge]) -> float:
        """Return what charges add up to; in the unit `paper` that of their FLOPs, which do."""
        costs = [self.cost_model.charge(charge.model, charge.usage) for charge in charges]
        return sum(_amount(cost, self.unit) for cost in costs)

    def _cost(self, run: StageRun) -> float:
        return self._sum(run.output.charges)

    def _reading(self, charges: Sequence[Charge]) -> float:
        return _amount(self._reading_cost(charges), self.unit)

    def _reading_cost(self, charges: Sequence[Charge]) -> Cost:
        """Return what reading the stage's prompt once costs."""
        first = _first_draw(charges)
        return self.cost_model.charge(first.model, CallUsage(first.usage.prefill_tokens, ()))

    def _per_sample(self, charges: Sequence[Charge], n: int) -> float:
        """Return what one more sample of a problem costs, as its own `n` have cost: written, and verified."""
        return max(1e-12, (self._sum(charges) - self._reading(charges)) / n)

    def _expected(self, charges: Sequence[Charge], n: int, n_wanted: int) -> float:
        """Return what a problem would cost with `n_wanted` samples, from the charges of `n`."""
        return self._reading(charges) + n_wanted * self._per_sample(charges, n)

    def _billed(
        self, rollout: Rollout, allocation: Allocation, blocks: Mapping[tuple[str, str], int]
    ) -> Rollout:
        """Return the rollout with the readings of its prompts by every block after the first."""
        costs = dict(rollout.costs)
        for choice in allocation.choices:
            extra = blocks.get((choice.stage, rollout.problem_id), 1) - 1
            output = rollout.outputs.get(choice.stage)
            if extra > 0 and output is not None and output.charges:
                # Of a stage that problems share each bears its part.
                times = extra / self._stage(choice.stage).queries
                costs[choice.stage] += self._reading_cost(output.charges).scaled(times)
        return replace(rollout, costs=costs)


def _amount(cost: Cost, unit: Unit) -> float:
    return amount(cost, Unit.GFLOPS if unit is Unit.PAPER else unit)  # `paper` is affine and adds nothing up


def _first_draw(charges: Sequence[Charge]) -> Charge:
    return next((charge for charge in charges if charge.purpose == "draw"), charges[0])


def _gain(run: StageRun, *, scored: bool) -> Gain:
    if scored:
        return score_gain(run.output.verifier_scores or [None] * len(run.output.answers))
    return vote_gain(list(vote_counts(run.output.answers).values()), len(run.output.answers))


def _with_samples(allocation: Allocation, stage: str, n: int) -> Allocation:
    choices = (replace(c, n_samples=n) if c.stage == stage else c for c in allocation.choices)
    return Allocation(tuple(choices))

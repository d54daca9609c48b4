"""Run one allocation on many problems and say what came of it.

Used by trials, by the confirmation and by `agenttts evaluate`. A problem that failed is data; nothing is dropped from
a denominator in silence and nothing is scored 0 for being unreachable.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agenttts.budgets.cost import Budget, Cost, total, total_amount
from agenttts.models.base import CallUsage
from agenttts.models.tokens import EXACT
from agenttts.pipeline.base import Allocation, CostPart, Judged, Problem, Rollout
from agenttts.study.archive import (
    ProblemFailure,
    Runaway,
    StageLengths,
    Trial,
    TrialStatus,
    Unparsed,
    Unscored,
)
from agenttts.study.figures import Unmeasured
from agenttts.study.racing import blocks

if TYPE_CHECKING:
    from agenttts.allocators.base import Proposal
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import Sampler
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.study.racing import Race
    from agenttts.task.task import Task

__all__ = ["Evaluation", "Runner", "evaluate", "pipeline_runner", "run_all", "run_problems", "run_race"]

T = TypeVar("T")
LONGEST_EXAMPLE = 200
"""Characters kept of a reply that could not be parsed, and of why a sample has no score."""
OVER_BUDGET_SLACK = 1e-9
"""Relative; for the rounding of sums."""


class Runner(Protocol):
    """Takes one problem through the pipeline; a seam for simulated pipelines."""

    async def __call__(self, problem: Problem, allocation: Allocation) -> Rollout:
        """Return the scored rollout; raise only what must stop the run."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What an allocation scored on a list of problems."""

    allocation: Allocation
    scores: Mapping[str, float]
    """Final score by problem id, for the problems that have one, in the order of the problems."""
    failures: tuple[ProblemFailure, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Mean charged cost of a scored problem by stage."""
    stage_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sample_scores: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    verifier_scores: Mapping[str, Mapping[str, tuple[float | None, ...]]] = field(default_factory=dict)
    """See `Trial.verifier_scores`."""
    lengths: Mapping[str, StageLengths] = field(default_factory=dict)
    unparsed: Mapping[str, Unparsed] = field(default_factory=dict)
    """By stage, over all samples drawn, also those of failed problems."""
    runaway: Mapping[str, Runaway] = field(default_factory=dict)
    """As `unparsed`."""
    unscored: Mapping[str, Unscored] = field(default_factory=dict)
    """As `unparsed`, for stages that sent samples to a verifier. One that scored nothing makes no evaluation invalid:
    the way then does without, as it would in production; results say so."""
    counted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model -> what counted its tokens, where that was not the endpoint itself."""
    n_paid: int = 0
    n_reused: int = 0
    max_failed: float = 0.02
    """Largest share of failed problems at which the scores still mean something."""
    stopped_because: str = ""
    """Why racing ended it before all problems were run; empty where they all were."""
    prompts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    estimated_from: Mapping[str, int] = field(default_factory=dict)
    """Stage -> most draws that a problem's score was averaged over."""
    votes: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """See `Trial.votes`."""
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """See `Trial.measured`."""
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The task's `measures`: name -> problem id -> value, over scored problems; empty where none were taken."""
    unmeasured: Mapping[str, Unmeasured] = field(default_factory=dict)
    """Of each measure the scored problems without a value; those that all have one are left out."""
    parts: Mapping[str, tuple[CostPart, ...]] = field(default_factory=dict)
    """`costs` by model and purpose; empty where the rollouts do not tell."""

    @property
    def n_problems(self) -> int:
        """Problems that were run, scored or failed."""
        return len(self.scores) + len(self.failures)

    @property
    def invalid(self) -> bool:
        """Whether too many problems failed, or all of them."""
        return not self.scores or len(self.failures) > self.max_failed * self.n_problems

    def charged(self, budget: Budget) -> float:
        """Return the mean charged cost of a scored problem in the unit of the budget; 0 where none was scored."""
        return total_amount(self.costs, budget.unit) if self.scores else 0.0

    def status(self, budget: Budget) -> TrialStatus:
        """Return how the allocation counts as a trial."""
        if self.invalid:
            return "invalid"
        if self.stopped_because:
            return "stopped"
        within = self.charged(budget) <= budget.amount * (1 + OVER_BUDGET_SLACK)
        return "ok" if within else "over_budget"

    def as_trial(self, number: int, proposal: Proposal, budget: Budget) -> Trial:
        """Return this evaluation as the trial of a proposal."""
        return Trial(
            number=number,
            allocation=self.allocation,
            status=self.status(budget),
            scores=self.scores,
            charged=self.charged(budget),
            costs=self.costs,
            parts=self.parts,
            stage_scores=self.stage_scores,
            sample_scores=self.sample_scores,
            verifier_scores=self.verifier_scores,
            failures=self.failures,
            origin=proposal.origin,
            reason=proposal.reason,
            repaired=proposal.repaired,
            lengths=self.lengths,
            n_paid=self.n_paid,
            n_reused=self.n_reused,
            unparsed=self.unparsed,
            runaway=self.runaway,
            unscored=self.unscored,
            counted_by=self.counted_by,
            stopped_because=self.stopped_because,
            prompts=self.prompts,
            estimated_from=self.estimated_from,
            votes=self.votes,
            measured=self.measured,
        )

    @classmethod
    def of(cls, allocation: Allocation, rollouts: Sequence[Rollout], max_failed: float = 0.02) -> Evaluation:
        """Add up rollouts, given in the order of the problems."""
        scored = [rollout for rollout in rollouts if rollout.failure is None]
        return cls(
            allocation=allocation,
            scores={r.problem_id: float(r.score) for r in scored if r.score is not None},
            failures=tuple(
                ProblemFailure(r.problem_id, r.failure) for r in rollouts if r.failure is not None
            ),
            costs=_mean_costs(scored),
            parts=_mean_parts(scored),
            stage_scores=_by_stage((r.problem_id, r.stage_scores) for r in scored),
            sample_scores=_by_stage((r.problem_id, r.sample_scores) for r in scored),
            verifier_scores=_by_stage((r.problem_id, _verifier_scores(r)) for r in scored),
            lengths=_lengths(allocation, rollouts),
            unparsed=_unparsed(allocation, rollouts),
            runaway=_runaway(allocation, rollouts),
            unscored=_unscored(allocation, rollouts),
            counted_by=_counted_by(rollouts),
            n_paid=sum(r.n_paid for r in rollouts),
            n_reused=sum(r.n_reused for r in rollouts),
            max_failed=max_failed,
            prompts=_by_stage((r.problem_id, r.prompts) for r in scored),
            estimated_from=_estimated_from(rollouts),
            votes=_by_stage((r.problem_id, r.votes) for r in scored),
            measured=_by_stage((r.problem_id, r.measured) for r in scored),
            measures=_by_stage((r.problem_id, r.measures) for r in scored),
            unmeasured=_unmeasured(scored),
        )


def _mean_costs(rollouts: Sequence[Rollout]) -> dict[str, Cost]:
    stages = dict.fromkeys(stage for rollout in rollouts for stage in rollout.costs)
    share = 1 / max(1, len(rollouts))
    return {stage: total(r.costs.get(stage, Cost()) for r in rollouts).scaled(share) for stage in stages}


def _mean_parts(rollouts: Sequence[Rollout]) -> dict[str, tuple[CostPart, ...]]:
    sums: dict[str, dict[tuple[str, str], CostPart]] = {}
    for rollout in rollouts:
        for stage, parts in rollout.parts.items():
            known = sums.setdefault(stage, {})
            for part in parts:
                place = part.model, part.purpose
                known[place] = _added(known[place], part) if place in known else part
    share = 1 / max(1, len(rollouts))
    return {
        stage: tuple(
            replace(part, prefill=part.prefill.scaled(share), decode=part.decode.scaled(share))
            for _, part in sorted(known.items())
        )
        for stage, known in sums.items()
    }


def _added(one: CostPart, other: CostPart) -> CostPart:
    return replace(one, prefill=one.prefill + other.prefill, decode=one.decode + other.decode)


def _by_stage(rows: Iterable[tuple[str, Mapping[str, T]]]) -> dict[str, dict[str, T]]:
    result: dict[str, dict[str, T]] = {}
    for problem_id, values in rows:
        for stage, value in values.items():
            result.setdefault(stage, {})[problem_id] = value
    return result


def _lengths(allocation: Allocation, rollouts: Sequence[Rollout]) -> dict[str, StageLengths]:
    result = {}
    for choice in allocation.choices:
        prefill: Counter[int] = Counter()
        decode: Counter[int] = Counter()
        steps: Counter[int] = Counter()
        drawn: list[list[int]] = []
        for rollout in rollouts:
            steps.update(rollout.steps.get(choice.stage, ()))
            usages = _draw_usages(rollout, choice.stage)
            prefill.update(usage.prefill_tokens for usage in usages)
            drawn.append([n for usage in usages for n in usage.decode_tokens])
            decode.update(drawn[-1])
        if decode:
            result[choice.stage] = StageLengths(
                choice.model, dict(prefill), dict(decode), dict(steps), _pooled_deviation(drawn)
            )
    return result


def _draw_usages(rollout: Rollout, stage: str) -> list[CallUsage]:
    """Return what the samples of a stage's own prompt and model used."""
    output = rollout.outputs.get(stage)
    charges = output.charges if output is not None else ()
    return [charge.usage for charge in charges if charge.purpose == "draw"]


def _pooled_deviation(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups, pooled; `None` where no group has two members."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    if not freedom:
        return None
    means = [math.fsum(group) / len(group) for group in several]
    squares = ((x - mean) ** 2 for group, mean in zip(several, means, strict=True) for x in group)
    return math.sqrt(math.fsum(squares) / freedom)


def _verifier_scores(rollout: Rollout) -> dict[str, tuple[float | None, ...]]:
    """Return what verifiers gave the plain samples, of stages where one took part; in few digits, to keep logs small."""
    return {
        stage: tuple(
            None if score is None else float(f"{score:.4g}")
            for score in output.verifier_scores[: output.n_plain]
        )
        for stage, output in rollout.outputs.items()
        if any(score is not None for score in output.verifier_scores)
    }


def _unparsed(allocation: Allocation, rollouts: Sequence[Rollout]) -> dict[str, Unparsed]:
    result = {}
    for choice in allocation.choices:
        made = (rollout.outputs.get(choice.stage) for rollout in rollouts)
        outputs = [output for output in made if output is not None and not output.skipped]
        n_samples = sum(len(output.answers) for output in outputs)
        if n_samples:
            n = sum(answer is None for output in outputs for answer in output.answers)
            example = next((output.text for output in outputs if output.answer is None), "")
            result[choice.stage] = Unparsed(choice.model, n, n_samples, example[:LONGEST_EXAMPLE])
    return result


def _unscored(allocation: Allocation, rollouts: Sequence[Rollout]) -> dict[str, Unscored]:
    result = {}
    for choice in allocation.choices:
        made = (rollout.outputs.get(choice.stage) for rollout in rollouts)
        judged = sum((output.judged for output in made if output is not None), Judged())
        if judged.n_samples:
            result[choice.stage] = Unscored(
                choice.select, judged.n_unscored, judged.n_samples, judged.because[:LONGEST_EXAMPLE]
            )
    return result


def _unmeasured(rollouts: Sequence[Rollout]) -> dict[str, Unmeasured]:
    causes: dict[str, list[str]] = {}
    for rollout in rollouts:
        for name, cause in rollout.unmeasured.items():
            causes.setdefault(name, []).append(cause)
    return {name: Unmeasured(len(all_), all_[0][:LONGEST_EXAMPLE]) for name, all_ in causes.items()}


def _runaway(allocation: Allocation, rollouts: Sequence[Rollout]) -> dict[str, Runaway]:
    result = {}
    for choice in allocation.choices:
        n_samples = sum(len(u.decode_tokens) for r in rollouts for u in _draw_usages(r, choice.stage))
        made = (rollout.outputs.get(choice.stage) for rollout in rollouts)
        n = sum(output.n_runaway for output in made if output is not None and not output.skipped)
        if n_samples:
            result[choice.stage] = Runaway(choice.model, n, n_samples)
    return result


def _estimated_from(rollouts: Sequence[Rollout]) -> dict[str, int]:
    result: dict[str, int] = {}
    for rollout in rollouts:
        for stage, n in rollout.estimated_from.items():
            result[stage] = max(result.get(stage, 0), n)
    return result


def _counted_by(rollouts: Sequence[Rollout]) -> dict[str, tuple[str, ...]]:
    charges = (c for rollout in rollouts for output in rollout.outputs.values() for c in output.charges)
    pairs = {(charge.model, charge.usage.counted_by) for charge in charges}
    result: dict[str, tuple[str, ...]] = {}
    for model, name in sorted(pair for pair in pairs if pair[1] not in EXACT):
        result[model] = (*result.get(model, ()), name)
    return result


def pipeline_runner(
    pipeline: Pipeline, clients: Clients, sampler: Sampler, cost_model: CostModel, *, measure: bool = False
) -> Runner:
    """Return the runner that takes problems through a real pipeline; `measure`: with the task's measures."""

    async def run(problem: Problem, allocation: Allocation) -> Rollout:
        return await pipeline.run(
            problem, allocation, clients=clients, sampler=sampler, cost_model=cost_model, measure=measure
        )

    return run


async def evaluate(
    task: Task,
    allocation: Allocation,
    problems: Sequence[Problem],
    *,
    clients: Clients,
    sampler: Sampler,
    cost_model: CostModel,
    concurrency: int = 32,
    max_failed: float = 0.02,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> Evaluation:
    """Evaluate an allocation of a task on problems, measures included, at most `concurrency` of them at a time.

    Raises:
        ProviderError: One that stops the run: wrong key, endpoint down.
        SearchBudgetExhausted: The ledger behind the sampler allows no more.
        RecordedMissError: A draw that was not recorded is needed.
        DataError: Problems of one context differ in what a stage that they share reads.
    """
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.task.sharing import refuse_unlike

    refuse_unlike(task.file, problems)
    runner = pipeline_runner(Pipeline.build(task), clients, sampler, cost_model, measure=True)
    gate = asyncio.Semaphore(concurrency)
    return await run_problems(
        runner, allocation, problems, gate=gate, max_failed=max_failed, on_rollout=on_rollout
    )


async def run_problems(
    runner: Runner,
    allocation: Allocation,
    problems: Sequence[Problem],
    *,
    gate: asyncio.Semaphore,
    max_failed: float = 0.02,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> Evaluation:
    """Run problems through a gate that other evaluations may share."""
    rollouts = await _run(runner, allocation, problems, gate, on_rollout)
    return Evaluation.of(allocation, rollouts, max_failed)


async def run_race(
    runner: Runner,
    allocation: Allocation,
    problems: Sequence[Problem],
    race: Race,
    *,
    seed: int,
    gate: asyncio.Semaphore,
    max_failed: float = 0.02,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> Evaluation:
    """Run problems block by block, and no further than the race goes.

    Args:
        runner: Takes a problem through the pipeline.
        allocation: What is evaluated.
        problems: All problems of the race.
        race: Says after each block whether to go on.
        seed: Of the study; it sets the order of the problems.
        gate: As for `run_problems`.
        max_failed: As for `run_problems`. While more than this share of what was run has failed, nothing is stopped.
        on_rollout: As for `run_problems`.
    """
    taken = blocks(problems, seed)
    rollouts: list[Rollout] = []
    reason = ""
    for number, block in enumerate(taken, start=1):
        rollouts += await _run(runner, allocation, block, gate, on_rollout)
        if number < len(taken) and not Evaluation.of(allocation, rollouts, max_failed).invalid:
            reason = race.stopped_because(rollouts)
        if reason:
            break
    # In the order of the problems, as if they had been run at once.
    place = {problem.id: index for index, problem in enumerate(problems)}
    rollouts.sort(key=lambda rollout: place[rollout.problem_id])
    return replace(Evaluation.of(allocation, rollouts, max_failed), stopped_because=reason)


async def _run(
    runner: Runner,
    allocation: Allocation,
    problems: Sequence[Problem],
    gate: asyncio.Semaphore,
    on_rollout: Callable[[Rollout], None] | None,
) -> list[Rollout]:
    async def one(problem: Problem) -> Rollout:
        async with gate:
            rollout = await runner(problem, allocation)
        if on_rollout is not None:
            on_rollout(rollout)
        return rollout

    return await run_all([one(problem) for problem in problems])


async def run_all(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all; when one fails or the caller is cancelled, cancel and await the rest, then raise.

    Unlike `asyncio.TaskGroup` it raises the first error itself, and unlike `asyncio.gather` it leaves nothing running.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise

"""Scores of a rollout averaged over all draws that earlier trials left behind (see `estimation` for the arithmetic).

The rollout itself is untouched: its outputs, its charged cost and what later stages saw stay those of its own n
samples. Only scores that nothing else in the rollout hangs on are replaced by their averages: the final score, and the
score of a stage whose answer no other stage uses. The score of a stage that others build on stays the one that they
saw, because allocators learn from the pair. Stages that run on a condition are left alone; a
stage that is off (`below` 0) hands on the answer of the one it watches, which then decides in its place.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from agenttts.errors import ProviderError
from agenttts.pipeline.driver import Requests, StageRun, World, drive
from agenttts.pipeline.scoring import sample_candidates, score_candidates
from agenttts.pipeline.stages import LLMStage
from agenttts.study.estimation import ESTIMABLE, expected_score, held_draws
from agenttts.verifiers.base import AskingVerifier, Verifier
from agenttts.verifiers.equality import vote_key

if TYPE_CHECKING:
    from agenttts.models.sampler import Sampler
    from agenttts.pipeline.base import Allocation, Problem, Rollout
    from agenttts.pipeline.pipeline import Pipeline
    from agenttts.study.archive import Trial
    from agenttts.study.evaluate import Runner
    from agenttts.task.task import Task

__all__ = ["Averager", "PipelineAverager", "averaged", "usable_draws"]

Usable = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Stage -> problem id -> digest of the prompt -> draws held, where they are more than the allocation's own samples."""


class Averager(Protocol):
    """Replaces scores of a rollout by their averages; a seam for simulated pipelines."""

    async def __call__(
        self, problem: Problem, allocation: Allocation, rollout: Rollout, held: Mapping[str, int]
    ) -> Rollout:
        """Return the rollout with averaged scores for the stages in `held`, which gives the draws of each."""
        ...


def usable_draws(task: Task, known: Sequence[Trial], allocation: Allocation) -> Usable:
    """Return which draws of earlier trials can be averaged over when an allocation is evaluated.

    Args:
        task: The task.
        known: Trials that ended before the round began.
        allocation: What is to be evaluated.
    """
    result: dict[str, Mapping[str, Mapping[str, int]]] = {}
    for stage in task.llm_stages:
        choice = allocation[stage]
        kind = _kind(task, allocation, stage)
        runs_always = choice.below is None and not task.file.stages[stage].routed
        if kind not in ESTIMABLE or not runs_always or _is_used(task, allocation, stage):
            continue
        verified = choice.n_samples > 1 and kind in {"best_of_n", "weighted_vote"}
        if held := held_draws(known, choice, same_label=verified):
            result[stage] = held
    return result


def averaged(runner: Runner, averager: Averager | None, usable: Usable) -> Runner:
    """Return a runner whose rollouts' scores are averaged where draws of earlier trials can be used."""
    if averager is None or not usable:
        return runner

    async def run(problem: Problem, allocation: Allocation) -> Rollout:
        rollout = await runner(problem, allocation)
        held = {
            stage: n
            for stage, by_problem in usable.items()
            if (n := by_problem.get(problem.id, {}).get(rollout.prompts.get(stage, ""), 0))
        }
        return await averager(problem, allocation, rollout, held) if held else rollout

    return run


def _is_used(task: Task, allocation: Allocation, stage: str) -> bool:
    """Return whether another stage builds on this one; one that is off only hands on what it gets.

    So does a test, unless its outcome is scored.
    """
    users = [name for name, block in task.file.stages.items() if stage in block.needs]
    return any(not _is_off(task, allocation, name) or _is_used(task, allocation, name) for name in users)


def _is_off(task: Task, allocation: Allocation, stage: str) -> bool:
    block = task.file.stages[stage]
    if block.test is not None:
        return block.score is None and stage != task.scored_stage
    return block.asks_model and allocation[stage].below == 0


def _deciding(task: Task, allocation: Allocation) -> str:
    """Return the stage whose answer gets the final score."""
    stage = task.scored_stage
    while _is_off(task, allocation, stage):
        passed = task.file.passed_on(stage)
        assert passed is not None  # noqa: S101 - the space gives a threshold to stages with `when` alone
        stage = passed
    return stage


def _kind(task: Task, allocation: Allocation, stage: str) -> str:
    return task.file.stages[stage].kind_of(allocation.canonical()[stage].select)


@dataclass(frozen=True)
class PipelineAverager:
    """Averages over draws of a real pipeline. What it asks for is held, so it pays nothing.

    A store that has lost draws (one in memory, after a restart) makes it pay for them again, as any rerun does.
    """

    task: Task
    pipeline: Pipeline
    clients: Requests
    sampler: Sampler

    async def __call__(
        self, problem: Problem, allocation: Allocation, rollout: Rollout, held: Mapping[str, int]
    ) -> Rollout:
        """See `Averager`."""
        if rollout.failure is None:
            for stage in self.pipeline.stages:
                if isinstance(stage, LLMStage) and stage.name in held:
                    rollout = await self._stage(stage, problem, allocation, rollout, held[stage.name])
        return rollout

    async def _stage(
        self, stage: LLMStage, problem: Problem, allocation: Allocation, rollout: Rollout, n_held: int
    ) -> Rollout:
        choice = allocation.canonical()[stage.name]
        world = World(self.clients, self.sampler, problem, stage.name)
        needed = {need: rollout.outputs[need] for need in stage.needs}
        decide = stage.name == _deciding(self.task, allocation)
        draws = _Draws(_kind(self.task, allocation, stage.name), choice.n_samples, decide, world)
        try:
            run = await drive(stage.strategy(replace(choice, n_samples=n_held), problem, needed), world)
            own = None if stage.scorer is None else await draws.average(run, stage.scorer)
            final = await self._final(stage, draws, run, own)
        except ProviderError as error:
            if error.stops_run:
                raise
            return rollout  # a draw that is gone for good: the rollout's own score will do
        if own is None and final is None:
            return rollout
        return replace(
            rollout,
            score=rollout.score if final is None else final,
            stage_scores={**rollout.stage_scores, **({} if own is None else {stage.name: own})},
            n_paid=rollout.n_paid + world.draws.n_paid,
            estimated_from={**rollout.estimated_from, stage.name: n_held},
        )

    async def _final(self, stage: LLMStage, draws: _Draws, run: StageRun, own: float | None) -> float | None:
        """Return the average of the final score; `None` where this stage does not decide it or it is unknown."""
        scorer = self.pipeline.final_scorer
        if not draws.decide:
            return None
        if scorer == stage.scorer:
            return own
        # Earlier trials have asked the stage's own scorer about every sample, this one about the selected ones only.
        return None if isinstance(scorer, AskingVerifier) else await draws.average(run, scorer)


@dataclass(frozen=True)
class _Draws:
    """How the draws of a stage are turned into one score."""

    kind: str
    n_samples: int
    decide: bool
    """Whether the final score is that of this stage's answer."""
    world: World

    async def average(self, run: StageRun, scorer: Verifier) -> float | None:
        """Return the average score over sets of `n_samples`; `None` where a draw could not be scored."""
        given = await score_candidates(scorer, sample_candidates(run), self.world)
        values = [score.value for score in given if score.value is not None]
        if len(values) < len(given):
            return None
        votes = [None if answer is None else vote_key(answer) for answer in run.output.answers]
        seed = zlib.crc32(self.world.problem.id.encode())
        return expected_score(self.kind, self.n_samples, votes, values, run.output.verifier_scores, seed=seed)

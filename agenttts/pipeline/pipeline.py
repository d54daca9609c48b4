"""One problem through all stages, under one allocation, scored against gold.

A stage starts as soon as the stages that it needs are done. What goes wrong for this problem alone (a provider that
gives up on it, a template that does not fit it, a function that raises) is a `Failure` on the rollout; what would go
wrong for every problem (a wrong key, a dead endpoint, a spent search budget) is raised.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from agenttts.errors import InputError, ProviderError
from agenttts.pipeline.base import (
    Allocation,
    CostPart,
    Failure,
    Problem,
    Rollout,
    StageChoice,
    StageOutput,
)
from agenttts.pipeline.conditions import answer_codes, measured, skipped, with_details_of
from agenttts.pipeline.driver import Draws, Requests, StageRun, World, drive
from agenttts.pipeline.prompts import PromptRenderError, prompt_digest
from agenttts.pipeline.scoring import Measure, measure_all, score_candidates, selected_candidate, stage_scores
from agenttts.pipeline.stages import FunctionStage, LLMStage, Stage, TestStage, compile_stage
from agenttts.pipeline.together import first_error
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.build import build

if TYPE_CHECKING:
    from agenttts.budgets.cost import Cost
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.sampler import Sampler
    from agenttts.task.options import WhenBlock
    from agenttts.task.task import Task

__all__ = ["Pipeline", "StageFailedError"]

LONGEST_MESSAGE = 1000


class StageFailedError(Exception):
    """A stage failed for one problem; the error itself is the cause."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"stage {failure.stage}: {failure.cause}: {failure.message}")
        self.failure = failure


@dataclass
class _Pass:
    """What a pass has made so far; kept outside the tasks, so that a failure does not lose the rest."""

    runs: dict[str, StageRun] = field(default_factory=dict)
    draws: Draws = field(default_factory=Draws)


@dataclass(frozen=True)
class Pipeline:
    """The compiled stages of a task. Holds no state of a run, so any number of problems may run at once.

    Test stages keep what they found, so that equal answers are tested once.
    """

    stages: tuple[Stage, ...]
    """In the order of the task."""
    scored_stage: str
    final_scorer: Verifier
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """What is told of a rollout beside its score, by name."""

    @classmethod
    def build(cls, task: Task) -> Pipeline:
        """Compile a task's templates, parsers, selectors and verifiers.

        Raises:
            TrustError: The task names Python functions and is not trusted.
        """
        final = task.file.score
        return cls(
            stages=tuple(compile_stage(task, name) for name in task.file.stages),
            scored_stage=task.scored_stage,
            final_scorer=build(final.verifier, task, final.gold),
            measures={
                name: Measure(one.stage or list(task.file.stages)[-1], build(one.verifier, task, one.gold))
                for name, one in task.file.measures.items()
            },
        )

    async def run(
        self,
        problem: Problem,
        allocation: Allocation,
        *,
        clients: Requests,
        sampler: Sampler,
        cost_model: CostModel,
        score: bool = True,
        measure: bool = False,
    ) -> Rollout:
        """Take one problem through the stages.

        Args:
            problem: The problem.
            allocation: A choice for every LLM stage.
            clients: Makes the requests.
            sampler: Draws, from the store or from the models.
            cost_model: Charges each stage.
            score: Whether to score against gold; without, `score` and the score mappings stay empty.
            measure: Whether to take the task's measures of a rollout that is scored.

        Raises:
            ProviderError: Of the kinds that stop a run.
            SearchBudgetExhausted: The search may spend no more.
            RecordedMissError: A recording lacks a draw.
            CardError: A model card lacks figures.
        """
        done, failure = _Pass(), None
        try:
            await self._advance(done, problem, allocation, clients, sampler)
        except StageFailedError as error:
            failure = error.failure
        rollout = self._rollout(problem, done, cost_model, failure)
        if score and failure is None:
            rollout = await self._scored(rollout, done, problem, clients, sampler)
            if measure and rollout.failure is None:
                world = World(clients, sampler, problem, self.scored_stage)
                values, causes = await measure_all(self.measures, done.runs, world)
                return replace(rollout, measures=values, unmeasured=causes)
        return rollout

    async def outputs(
        self, problem: Problem, allocation: Allocation, *, clients: Requests, sampler: Sampler
    ) -> dict[str, StageOutput]:
        """Return what each stage made of a problem, without scores.

        Raises:
            StageFailedError: A stage failed for this problem; its cause is the error itself.
            AgentTTSError: As `run`.
        """
        done = _Pass()
        await self._advance(done, problem, allocation, clients, sampler)
        return {stage.name: done.runs[stage.name].output for stage in self.stages}

    def _rollout(
        self, problem: Problem, done: _Pass, cost_model: CostModel, failure: Failure | None
    ) -> Rollout:
        runs = {stage.name: done.runs[stage.name] for stage in self.stages if stage.name in done.runs}
        outputs = {name: run.output for name, run in runs.items()}
        return Rollout(
            problem_id=problem.id,
            outputs=outputs,
            score=None,
            costs=self.charged(outputs, cost_model),
            parts=self._parts(outputs, cost_model),
            failure=failure,
            n_paid=done.draws.n_paid,
            n_reused=done.draws.n_reused,
            prompts={
                stage.name: prompt_digest(runs[stage.name].messages)
                for stage in self.stages
                if isinstance(stage, LLMStage) and stage.needs and stage.name in runs
            },
            votes=self._votes(runs),
            steps=self._steps(runs),
            measured=self._measured(runs),
        )

    def charged(self, outputs: Mapping[str, StageOutput], cost_model: CostModel) -> dict[str, Cost]:
        """Return the charged cost of each LLM stage; of one that problems share, each bears its part.

        Raises:
            CardError: A model card is missing.
        """
        from agenttts.budgets.cost_model import stage_costs

        made = [s for s in self.stages if isinstance(s, LLMStage) and s.name in outputs]
        costs = stage_costs(cost_model, {stage.name: outputs[stage.name].charges for stage in made})
        return {stage.name: costs[stage.name].scaled(1 / stage.queries) for stage in made}

    def _parts(
        self, outputs: Mapping[str, StageOutput], cost_model: CostModel
    ) -> dict[str, tuple[CostPart, ...]]:
        """Return the same by model and purpose, reading and writing apart."""
        from agenttts.budgets.cost_model import stage_parts

        made = [s for s in self.stages if isinstance(s, LLMStage) and s.name in outputs]
        return {s.name: stage_parts(cost_model, outputs[s.name].charges, 1 / s.queries) for s in made}

    def _votes(self, runs: Mapping[str, StageRun]) -> dict[str, tuple[int, ...]]:
        """Return the answer codes of the plain samples of stages that others watch, or whose votes tell their cost.

        Of stages with gold as well, where there are several: a diagnosis compares ways to select by them.
        """
        watched = [when.stage for when in self._conditions.values() if when.measure != "score"]
        own = [stage.name for stage in self.stages if isinstance(stage, LLMStage) and stage.votes_tell]
        return {
            name: answer_codes(output.answers[: output.n_plain])
            for name in dict.fromkeys([*watched, *own, *self._with_several(runs)])
            if name in runs and not runs[name].output.skipped
            for output in [runs[name].output]
        }

    def _with_several(self, runs: Mapping[str, StageRun]) -> list[str]:
        """Return the stages with gold that drew more than one sample."""
        llm = (stage for stage in self.stages if isinstance(stage, LLMStage) and stage.scorer is not None)
        return [
            stage.name
            for stage in llm
            if stage.name in runs
            and not runs[stage.name].output.skipped
            and len(runs[stage.name].output.answers) > 1
        ]

    def _steps(self, runs: Mapping[str, StageRun]) -> dict[str, tuple[int, ...]]:
        """Return the steps of each plain sample of stages whose ways search over steps."""
        return {
            stage.name: tuple(
                len(text.strip().split(stage.separator)) for text in run.texts[: run.output.n_plain]
            )
            for stage in self.stages
            if isinstance(stage, LLMStage) and stage.separator is not None and stage.name in runs
            for run in [runs[stage.name]]
        }

    def _measured(self, runs: Mapping[str, StageRun]) -> dict[str, float]:
        found = {
            name: measured(when.measure, runs[when.stage].output)
            for name, when in self._conditions.items()
            if when.stage in runs
        }
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def _conditions(self) -> dict[str, WhenBlock]:
        """By stage."""
        llm = (stage for stage in self.stages if isinstance(stage, LLMStage))
        return {stage.name: stage.when for stage in llm if stage.when is not None}

    # --- stages

    async def _advance(
        self, done: _Pass, problem: Problem, allocation: Allocation, requests: Requests, sampler: Sampler
    ) -> None:
        """Run all stages, each as soon as its needs are there; the first failure cancels the rest."""
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(stage: Stage) -> None:
            for need in stage.needs:
                await tasks[need]
            needed = {need: done.runs[need] for need in stage.needs}
            world = World(requests, sampler, problem, stage.name, done.draws)
            done.runs[stage.name] = await _guarded(stage, allocation, needed, world)

        try:
            async with asyncio.TaskGroup() as group:
                for stage in _in_running_order(self.stages):
                    tasks[stage.name] = group.create_task(one(stage))
        except BaseExceptionGroup as errors:
            error = first_error(errors)
            raise error from error.__cause__

    # --- scores

    async def _scored(
        self, rollout: Rollout, done: _Pass, problem: Problem, requests: Requests, sampler: Sampler
    ) -> Rollout:
        """Return the rollout with its scores. A final answer that cannot be scored is a failure, not a 0."""
        of_stages: dict[str, float] = {}
        sample_scores: dict[str, tuple[float, ...]] = {}
        for stage in self.stages:
            if stage.scorer is None or done.runs[stage.name].output.skipped:
                continue
            world = World(requests, sampler, problem, stage.name)
            selected, samples = await stage_scores(stage.scorer, done.runs[stage.name], world)
            if selected is not None:
                of_stages[stage.name] = selected
            if samples:
                sample_scores[stage.name] = samples
        world = World(requests, sampler, problem, self.scored_stage)
        answer = selected_candidate(done.runs[self.scored_stage])
        final = (await score_candidates(self.final_scorer, [answer], world))[0]
        failure = None
        if final.value is None:
            failure = Failure(self.scored_stage, "Unscored", final.unscored_because[:LONGEST_MESSAGE])
        return replace(
            rollout,
            score=final.value,
            stage_scores=of_stages,
            sample_scores=sample_scores,
            failure=failure,
        )


def _in_running_order(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages so that each comes after those it needs; stages of a cycle are refused by the task's checks."""
    ordered: dict[str, Stage] = {}
    pending = list(stages)
    while pending:
        ready = [stage for stage in pending if all(need in ordered for need in stage.needs)]
        if not ready:
            raise InputError(
                f"the stages {', '.join(stage.name for stage in pending)} need one another or are missing"
            )
        ordered.update((stage.name, stage) for stage in ready)
        pending = [stage for stage in pending if stage.name not in ordered]
    return list(ordered.values())


async def _guarded(
    stage: Stage, allocation: Allocation, needed: Mapping[str, StageRun], world: World
) -> StageRun:
    """Run a stage, or skip it; what is the matter with this problem alone becomes a `StageFailedError`."""
    outputs = {name: run.output for name, run in needed.items()}
    try:
        if isinstance(stage, FunctionStage):
            return await _call(stage, outputs, world)
        if isinstance(stage, TestStage):
            return await _test(stage, needed[stage.stage], world)
        choice = allocation[stage.name]
        if (run := skipped(stage, choice, needed)) is not None:
            return run
        run = await _ask(stage, choice, needed, world)
    except PromptRenderError as error:
        raise _failed(stage, error.kind, error) from error
    except ProviderError as error:
        if error.stops_run:
            raise
        raise _failed(stage, type(error).__name__, error) from error
    empty = [name for name, output in outputs.items() if output.answer is None and not output.left_open]
    notes = tuple(f"stage {name} has no answer; its place in the prompt is empty" for name in empty)
    return replace(run, output=replace(run.output, notes=(*run.output.notes, *notes))) if notes else run


async def _ask(
    stage: LLMStage, choice: StageChoice, needed: Mapping[str, StageRun], world: World
) -> StageRun:
    outputs = {name: run.output for name, run in needed.items()}
    if stage.when is None or not stage.pool:
        return await drive(stage.strategy(choice, world.problem, outputs), world)
    watched = needed[stage.when.stage]
    pool = watched.output.answers, watched.texts
    return with_details_of(await drive(stage.strategy(choice, world.problem, outputs, pool), world), watched)


async def _call(stage: FunctionStage, needed: Mapping[str, StageOutput], world: World) -> StageRun:
    answers = {name: output.answer for name, output in needed.items()}
    try:
        answer = await asyncio.to_thread(stage.function, dict(world.problem.fields), answers)
    except Exception as error:
        raise _failed(stage, type(error).__name__, error, _place(error, stage.function)) from error
    return StageRun(StageOutput(answer))


async def _test(stage: TestStage, run: StageRun, world: World) -> StageRun:
    """Return what a verifier says of an answer. A test that could not be run is no test that failed."""
    score = await stage.known.score(stage.verifier, selected_candidate(run), world)
    if score.value is None:
        raise StageFailedError(Failure(stage.name, "Unscored", score.unscored_because[:LONGEST_MESSAGE]))
    answer = {"passed": score.value >= 1, "score": score.value, "feedback": score.feedback}
    return StageRun(StageOutput(answer, score.feedback), tested=run)


def _place(error: Exception, function: Callable[..., object]) -> str:
    """Return `file:line: ` of the last line of the function's own file that the error came through, if any."""
    file = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and frame.filename == file.co_filename]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _failed(stage: Stage, cause: str, error: Exception, place: str = "") -> StageFailedError:
    return StageFailedError(Failure(stage.name, cause, f"{place}{error}"[:LONGEST_MESSAGE]))

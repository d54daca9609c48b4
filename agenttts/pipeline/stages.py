"""The stages of a task, compiled once: templates, parsers, selectors and verifiers ready for use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.errors import InputError
from agenttts.models.base import Message, SamplingParameters
from agenttts.pipeline.base import Problem, StageChoice, StageOutput
from agenttts.pipeline.parsing import Parser, make_parser
from agenttts.pipeline.prompts import BUILT_IN_FUSION, Prompt, variables
from agenttts.pipeline.selectors import SELECTORS, Selector
from agenttts.pipeline.strategies import Draw, Strategy, first_of_one, fused, pooled, selected
from agenttts.task.options import WhenBlock
from agenttts.task.schema import SamplingBlock, SelectBlock, StageBlock, StageScoreBlock
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.build import build

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["FunctionStage", "LLMStage", "Stage", "compile_stage", "sampling_parameters"]


def sampling_parameters(block: SamplingBlock) -> SamplingParameters:
    """Return the sampling parameters of a task's `sampling` block."""
    return SamplingParameters(
        temperature=block.temperature,
        max_tokens=block.max_tokens,
        top_p=block.top_p,
        stop=block.stop,
        seed=block.seed,
        extra=tuple((name, json.dumps(block.extra[name], sort_keys=True)) for name in sorted(block.extra)),
    )


@dataclass(frozen=True)
class _Select:
    """A way to select one of the samples, or to put an answer together from them."""

    selector: Selector
    verifier: Verifier | None


@dataclass(frozen=True)
class _Fusion:
    """A request that makes one reply of all samples."""

    prompt: Prompt
    sampling: SamplingParameters


@dataclass(frozen=True)
class FunctionStage:
    """A stage that is a Python function of the task."""

    name: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    scorer: Verifier | None


@dataclass(frozen=True)
class LLMStage:
    """A stage that asks a model."""

    name: str
    needs: tuple[str, ...]
    prompt: Prompt
    sampling: SamplingParameters
    parser: Parser
    selects: Mapping[str, _Select | _Fusion]
    """By label."""
    scorer: Verifier | None
    """What scores this stage's answers against gold; `None` where the task gives no gold for it."""
    when: WhenBlock | None = None
    """The condition on which it runs; `None`: it always does."""
    pool: bool = False
    """Whether it votes together with the stage that `when` watches."""

    def strategy(
        self,
        choice: StageChoice,
        problem: Problem,
        needed: Mapping[str, StageOutput],
        pool: tuple[Sequence[Any], Sequence[str]] | None = None,
    ) -> Strategy:
        """Return the procedure that this choice spends its samples by.

        Args:
            choice: Model, number of samples, and the label of the way to select.
            problem: The problem.
            needed: Outputs of the stages that this one needs.
            pool: Answers and texts of the samples to vote together with; `None`: its own samples alone.

        Raises:
            PromptRenderError: The prompt cannot be rendered for this problem.
            InputError: The stage has no way to select of that label.
        """
        values = variables(problem, needed)
        draw = Draw(choice.model, self.prompt.render(values), self.sampling, choice.n_samples)
        if pool is not None:
            return pooled(draw, self.parser, *pool)
        if choice.n_samples == 1:
            return first_of_one(draw, self.parser)
        how = self._how(choice.select)
        if isinstance(how, _Select):
            return selected(draw, self.parser, how.selector, how.verifier)

        def messages(
            candidates: Sequence[str], answers: Sequence[Any], prompt_text: str
        ) -> tuple[Message, ...]:
            parsed = [answer for answer in answers if answer is not None]
            return how.prompt.render(
                {**values, "candidates": candidates, "answers": parsed, "prompt": prompt_text}
            )

        return fused(draw, self.parser, messages, how.sampling)

    def _how(self, label: str) -> _Select | _Fusion:
        if label in self.selects:
            return self.selects[label]
        if label == "first":  # needs no settings, so a task need not list it
            return _Select(SELECTORS["first"], None)
        known = ", ".join(self.selects)
        raise InputError(f"stage {self.name} has no way to select called {label!r}; there are: {known}")


Stage = FunctionStage | LLMStage


def compile_stage(task: Task, name: str) -> Stage:
    """Return a stage ready for use.

    Raises:
        TrustError: It names a function and the task is not trusted.
    """
    block = task.file.stages[name]
    scorer = _scorer(task, name, block)
    if block.function is not None:
        return FunctionStage(name, block.needs, task.function(block.function), scorer)
    assert block.prompt is not None  # noqa: S101 - the schema demands it of every stage without a function
    parse = None if block.parse.function is None else task.function(block.parse.function)
    return LLMStage(
        name=name,
        needs=block.needs,
        prompt=Prompt.compile(block.prompt),
        sampling=sampling_parameters(block.sampling),
        parser=make_parser(block.parse, parse),
        selects={select.name: _compile_select(task, block, select) for select in block.select},
        scorer=scorer,
        when=block.when,
        pool=block.pool,
    )


def _scorer(task: Task, name: str, block: StageBlock) -> Verifier | None:
    """Return what scores the stage: its own `score`, else, for the stage scored in the end, the task's."""
    score: StageScoreBlock | None = block.score
    if score is None and name == task.scored_stage:
        score = task.file.score
    return None if score is None else build(score.verifier, task, score.gold)


def _compile_select(task: Task, stage: StageBlock, select: SelectBlock) -> _Select | _Fusion:
    if select.kind != "fusion":
        verifier = None if select.verifier is None else build(select.verifier, task)
        return _Select(SELECTORS[select.kind], verifier)
    system = stage.prompt.system if stage.prompt is not None and select.prompt is None else None
    sampling = select.sampling or stage.sampling.model_copy(update={"temperature": 0.0})
    return _Fusion(Prompt.compile(select.prompt or BUILT_IN_FUSION, system), sampling_parameters(sampling))

"""The stages of a task, compiled once: templates, parsers, ways to select and verifiers ready for use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agenttts.errors import InputError
from agenttts.models.base import SamplingParameters
from agenttts.pipeline.base import Problem, StageChoice, StageOutput
from agenttts.pipeline.parsing import Parser, make_parser
from agenttts.pipeline.prompts import Prompt, variables
from agenttts.pipeline.selectors import SELECTORS
from agenttts.pipeline.strategies.parallel import first_of_one, pooled, selected
from agenttts.pipeline.strategies.steps import Draw, Strategy
from agenttts.pipeline.tested import Tested
from agenttts.pipeline.ways import Beginning, Way, compile_way, separator_of
from agenttts.task.options import WhenBlock, queries_of
from agenttts.task.schema import StageBlock, StageScoreBlock, sampling_parameters
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.build import build

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["FunctionStage", "LLMStage", "Stage", "TestStage", "compile_stage"]


@dataclass(frozen=True)
class FunctionStage:
    """A stage that is a Python function of the task."""

    name: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    scorer: Verifier | None


@dataclass(frozen=True)
class TestStage:
    """A stage that runs a verifier on the answer of another one."""

    __test__ = False  # no test of pytest

    name: str
    needs: tuple[str, ...]
    stage: str
    """Whose answer is tested."""
    verifier: Verifier
    scorer: Verifier | None
    """What scores the outcome of the test itself; `None`: nothing."""
    known: Tested = field(default_factory=Tested)


@dataclass(frozen=True)
class LLMStage:
    """A stage that asks a model."""

    name: str
    needs: tuple[str, ...]
    prompt: Prompt
    sampling: Mapping[str, SamplingParameters]
    """By model, or model in a mode."""
    parser: Parser
    ways: Mapping[str, Way]
    """By label."""
    scorer: Verifier | None
    """What scores this stage's answers against gold; `None` where the task gives no gold for it."""
    when: WhenBlock | None = None
    """The condition on which it runs; `None`: none."""
    otherwise: str | None = None
    """The stage that it takes over from where that did not run; `None`: none."""
    queries: float = 1.0
    """Problems that share one run of it, by which its charge is divided."""
    separator: str | None = None
    """What stands between two steps; `None`: no way searches over steps."""
    votes_tell: bool = False
    """Whether the votes of its samples tell what a way will cost."""
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
        messages, sampling = self.prompt.render(values), self.sampling[choice.model]
        draw = Draw(choice.model, messages, sampling, choice.n_samples)
        if pool is not None:
            return pooled(draw, self.parser, *pool)
        if choice.n_samples == 1:
            return first_of_one(draw, self.parser)
        return self._way(choice.select)(Beginning(draw, self.parser, values))

    def _way(self, label: str) -> Way:
        if label in self.ways:
            return self.ways[label]
        if label == "first":  # needs no settings, so a task need not list it
            return lambda begin: selected(begin.draw, begin.parser, SELECTORS["first"])
        known = ", ".join(self.ways)
        raise InputError(f"stage {self.name} has no way to select called {label!r}; there are: {known}")


Stage = FunctionStage | LLMStage | TestStage


def compile_stage(task: Task, name: str) -> Stage:
    """Return a stage ready for use.

    Raises:
        TrustError: It names a function and the task is not trusted.
    """
    block = task.file.stages[name]
    scorer = _scorer(task, name, block)
    if block.function is not None:
        return FunctionStage(name, block.needs, task.function(block.function), scorer)
    if block.test is not None:
        return TestStage(name, block.needs, block.test.stage, build(block.test.verifier, task), scorer)
    assert block.prompt is not None  # noqa: S101 - the schema demands it of every stage that asks a model
    parse = None if block.parse.function is None else task.function(block.parse.function)
    return LLMStage(
        name=name,
        needs=block.needs,
        prompt=Prompt.compile(block.prompt),
        sampling={model: sampling_parameters(block.sampling_of(model)) for model in block.variants},
        parser=make_parser(block.parse, parse),
        ways={select.name: compile_way(task, block, select) for select in block.ways},
        scorer=scorer,
        when=block.when,
        otherwise=block.otherwise,
        queries=queries_of(block.shared_by),
        separator=next(
            (separator_of(way, task.cards) for way in block.ways if way.kind in {"beam", "dvts"}), None
        ),
        votes_tell=block.votes_tell,
        pool=block.pool,
    )


def _scorer(task: Task, name: str, block: StageBlock) -> Verifier | None:
    """Return what scores the stage: its own `score`, else, for the stage scored in the end, the task's."""
    score: StageScoreBlock | None = block.score
    if score is None and name == task.scored_stage:
        score = task.file.score
    return None if score is None else build(score.verifier, task, score.gold)

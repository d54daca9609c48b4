"""From a task's `select` entries to strategies: prompts compiled, verifiers built, ready for any problem."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agenttts.models.base import Message
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.parsing import Parser
from agenttts.pipeline.prompts import (
    BUILT_IN_CHOICE,
    BUILT_IN_CRITIC,
    BUILT_IN_FUSION,
    BUILT_IN_REFINE,
    BUILT_IN_RIVALS,
    Prompt,
)
from agenttts.pipeline.selectors import SELECTORS
from agenttts.pipeline.strategies.adaptive import adaptive_best, adaptive_vote
from agenttts.pipeline.strategies.cascade import cascade
from agenttts.pipeline.strategies.parallel import Second, agreed_fusion, chosen, fused, selected
from agenttts.pipeline.strategies.refinement import Critic, Refining, refine
from agenttts.pipeline.strategies.steps import Draw, Strategy
from agenttts.pipeline.strategies.stepwise import StepSearch, search_steps
from agenttts.pipeline.strategies.tree import search_tree
from agenttts.task.prompting import PromptBlock
from agenttts.task.schema import StageBlock, sampling_parameters
from agenttts.task.ways import CriticBlock, SelectBlock, the
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.build import build

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.task.task import Task

__all__ = ["Beginning", "Way", "compile_way", "separator_of"]

DEFAULT_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Beginning:
    """What a way begins with."""

    draw: Draw
    """The stage's prompt with the choice's model and the most samples it may draw."""
    parser: Parser
    values: Mapping[str, Any]
    """Variables of the stage's templates."""


Way = Callable[[Beginning], Strategy]


def compile_way(task: Task, stage: StageBlock, select: SelectBlock) -> Way:
    """Return what a way to select does; `select` is one of a block's `ways`."""
    verifier = None if select.verifier is None else build(select.verifier, task)
    if select.kind in SELECTORS:
        selector = SELECTORS[select.kind]
        return lambda begin: selected(begin.draw, begin.parser, selector, verifier)
    return _MAKERS[select.kind](task, stage, select, verifier)


def separator_of(select: SelectBlock, cards: Mapping[str, ModelCard]) -> str:
    """Return what ends a step: of the way, else of its verifier, else of that one's card, else a blank line."""
    verifier = select.verifier
    if select.separator is not None or verifier is None:
        return select.separator or DEFAULT_SEPARATOR
    if verifier.kind == "tiny_prm":
        return " "
    card = cards.get(verifier.model or "")
    of_card = card.reward.separator if card is not None and card.reward is not None else None
    return verifier.separator or of_card or DEFAULT_SEPARATOR


def _second(stage: StageBlock, select: SelectBlock, built_in: PromptBlock) -> Callable[[Beginning], Second]:
    system = stage.prompt.system if stage.prompt is not None and select.prompt is None else None
    prompt = Prompt.compile(select.prompt or built_in, system)
    greedy = select.sampling

    def second(begin: Beginning) -> Second:
        sampling = (
            sampling_parameters(greedy)
            if greedy is not None
            else replace(begin.draw.sampling, temperature=0.0)
        )

        def messages(texts: Sequence[str], answers: Sequence[Any], asked: str) -> tuple[Message, ...]:
            parsed = [answer for answer in answers if answer is not None]
            return prompt.render({**begin.values, "candidates": texts, "answers": parsed, "prompt": asked})

        return Second(messages, sampling, select.model)

    return second


def _fusion(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    second = _second(stage, select, BUILT_IN_FUSION)
    return lambda begin: fused(begin.draw, begin.parser, second(begin))


def _agreed_fusion(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    second = _second(stage, select, BUILT_IN_RIVALS)
    return lambda begin: agreed_fusion(begin.draw, begin.parser, second(begin))


def _llm_select(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    second = _second(stage, select, BUILT_IN_CHOICE)
    return lambda begin: chosen(begin.draw, begin.parser, second(begin))


def _adaptive_vote(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    confidence = the(select.confidence)
    return lambda begin: adaptive_vote(begin.draw, begin.parser, confidence)


def _adaptive_best(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    scorer = _there(verifier)
    threshold, least_gain = the(select.threshold), the(select.least_gain)
    return lambda begin: adaptive_best(
        begin.draw, begin.parser, scorer, threshold=threshold, least_gain=least_gain
    )


def _cascade(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    to, below = the(select.to or ()), the(select.below)
    sampling = sampling_parameters(stage.sampling_of(to))
    return lambda begin: cascade(
        begin.draw, begin.parser, to=to, sampling=sampling, below=below, verifier=verifier
    )


def _refine(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    how = _refining(task, select, verifier)
    return lambda begin: refine(begin.draw, begin.parser, how(begin))


def _tree(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    how = _refining(task, select, _there(verifier))

    def start(begin: Beginning) -> Strategy:
        # The same prompt and seed give the same tree, whatever runs beside it.
        seed = zlib.crc32(prompt_text(begin.draw.messages).encode("utf-8", "surrogatepass"))
        rng = random.Random(seed ^ begin.draw.sampling.seed)
        return search_tree(begin.draw, begin.parser, how(begin), rng)

    return start


def _refining(task: Task, select: SelectBlock, verifier: Verifier | None) -> Callable[[Beginning], Refining]:
    prompt = Prompt.compile(select.prompt or BUILT_IN_REFINE)
    threshold = the(select.threshold) if select.kind == "refine" else 1.0
    critic = None if select.critic is None else _critic(task, select.critic)

    def refining(begin: Beginning) -> Refining:
        def messages(text: str, answer: Any, feedback: str, asked: str) -> tuple[Message, ...]:
            return prompt.render(_seen(begin, text, answer, asked) | {"feedback": feedback})

        return Refining(messages, None if critic is None else critic(begin), verifier, threshold)

    return refining


def _critic(task: Task, block: CriticBlock) -> Callable[[Beginning], Critic]:
    if block.verifier is not None:
        verifier = build(block.verifier, task)
        return lambda begin: Critic(None, verifier=verifier)
    prompt = Prompt.compile(block.prompt or BUILT_IN_CRITIC)
    sampling = None if block.sampling is None else sampling_parameters(block.sampling)

    def critic(begin: Beginning) -> Critic:
        def messages(text: str, answer: Any, asked: str) -> tuple[Message, ...]:
            return prompt.render(_seen(begin, text, answer, asked))

        return Critic(messages, sampling, block.model)

    return critic


def _seen(begin: Beginning, text: str, answer: Any, asked: str) -> dict[str, Any]:
    return {**begin.values, "prompt": asked, "text": text, "answer": "" if answer is None else answer}


def _step_search(task: Task, stage: StageBlock, select: SelectBlock, verifier: Verifier | None) -> Way:
    how = StepSearch(
        verifier=_there(verifier),
        width=the(select.width),
        separator=separator_of(select, task.cards),
        max_steps=select.max_steps,
        diverse=select.kind == "dvts",
    )
    return lambda begin: search_steps(begin.draw, begin.parser, how)


def _there(verifier: Verifier | None) -> Verifier:
    assert verifier is not None  # noqa: S101 - the schema demands it of these ways
    return verifier


_MAKERS: Mapping[str, Callable[[Task, StageBlock, SelectBlock, Verifier | None], Way]] = {
    "adaptive_best": _adaptive_best,
    "adaptive_vote": _adaptive_vote,
    "agreed_fusion": _agreed_fusion,
    "beam": _step_search,
    "cascade": _cascade,
    "dvts": _step_search,
    "fusion": _fusion,
    "llm_select": _llm_select,
    "refine": _refine,
    "tree": _tree,
}
"""By the `kind` of a task's `select` entry; those of `SELECTORS` need no maker."""

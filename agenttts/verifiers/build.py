"""From a task's `verifier` block to the verifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from agenttts.models.tiny_reward import TINY_PRM, score_messages
from agenttts.sandbox import Limits
from agenttts.task.schema import VerifierBlock
from agenttts.task.ways import the
from agenttts.verifiers import rules
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.certainty import Agreement, SelfCertainty
from agenttts.verifiers.code import CodeVerifier
from agenttts.verifiers.completeness import Completeness
from agenttts.verifiers.executable import ExecutableVerifier
from agenttts.verifiers.function import FunctionVerifier
from agenttts.verifiers.gen_prm import gen_prm, in_sandbox
from agenttts.verifiers.judge import judge
from agenttts.verifiers.maths import MathVerifier
from agenttts.verifiers.recorded import RecordedVerifier
from agenttts.verifiers.reward import RewardModelVerifier, asking
from agenttts.verifiers.rouge import rouge_l
from agenttts.verifiers.tools import node_f1, parameter_f1

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard

__all__ = ["Origin", "build"]


class Origin(Protocol):
    """Where what a block names is looked up; a task is one."""

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """Model cards by name."""
        ...

    def function(self, reference: str) -> Callable[..., Any]:
        """Return the function that `file.py:name` or `module:name` names, or raise TrustError."""
        ...


def build(block: VerifierBlock, task: Origin, gold: str | None = None) -> Verifier:
    """Return the verifier of a block.

    Args:
        block: Its kind and settings.
        task: Where functions and model cards are looked up.
        gold: Dotted path of the gold field, for the kinds that compare with gold.

    Raises:
        TrustError: The block names a function and the task is not trusted.
        ValueError: The kind needs gold and none is given, or a setting is wrong.
    """
    comparisons: dict[str, Callable[[Any, Any], float]] = {
        "choice": rules.choice,
        "exact": _EXACT[block.normalise],
        "node_f1": node_f1,
        "numeric": partial(rules.numeric, tolerance=block.tolerance),
        "parameter_f1": partial(parameter_f1, values=block.values),
        "rouge_l": partial(rouge_l, stemmer=block.stemmer),
        "set_f1": rules.set_f1,
        "token_f1": partial(rules.token_f1, yes_no=block.yes_no),
    }
    if block.kind in comparisons:
        return rules.GoldRule(_needed(gold, block.kind), comparisons[block.kind])
    if block.kind == "math":
        return MathVerifier(_needed(gold, block.kind))
    return _without_gold(block, task)


_EXACT: Mapping[bool | str, Callable[[Any, Any], float]] = {
    True: rules.exact,
    False: rules.exact_as_written,
    "squad": rules.exact_squad,
}


def _without_gold(block: VerifierBlock, task: Origin) -> Verifier:
    if block.kind == "regex":
        return rules.FormRule(rules.matches(block.pattern or ""))
    if block.kind == "json_schema":
        return rules.FormRule(rules.json_schema(block.json_schema or {}))
    if block.kind == "recorded":
        return RecordedVerifier()
    if block.kind == "function":
        return FunctionVerifier(task.function(block.function or ""), the(block.aggregate))
    if block.kind in _BY_BLOCK:
        return _BY_BLOCK[block.kind](block)
    if block.kind == "similarity":
        return _similarity(block, task.cards[block.model or ""])
    if block.kind in {"orm", "prm"} and block.model != TINY_PRM:
        return _reward_model(block, task.cards[block.model or ""])
    return RewardModelVerifier(TINY_PRM, the(block.aggregate), score_messages)


_BY_BLOCK: Mapping[str, Callable[[VerifierBlock], Verifier]] = {
    "agreement": lambda block: Agreement(),
    "code": lambda block: _code(block),
    "completeness": lambda block: Completeness(),
    "executable": lambda block: ExecutableVerifier(_limits(block), block.isolation),
    "gen_prm": lambda block: gen_prm(block, in_sandbox(block)),
    "judge": judge,
    "self_certainty": lambda block: SelfCertainty(),
}
"""Kinds that need nothing but their block."""


def _code(block: VerifierBlock) -> Verifier:
    return CodeVerifier(
        tests=block.tests or "",
        suite=block.suite,
        entry_point=block.entry_point,
        partial=block.partial,
        limits=_limits(block),
        isolation=block.isolation,
    )


def _limits(block: VerifierBlock) -> Limits:
    return Limits(timeout_s=block.timeout_s, memory_mb=block.memory_mb)


def _reward_model(block: VerifierBlock, card: ModelCard) -> Verifier:
    """Return the verifier of a reward model over HTTP."""
    from agenttts.models.reward_client import reward_of, score_messages

    alone = partial(score_messages, card, asking(block.separator))
    if block.kind == "orm":
        return RewardModelVerifier(card.name, "last", alone, judges_whole=False)
    judges_whole = reward_of(card).judges_whole
    return RewardModelVerifier(card.name, the(block.aggregate), alone, judges_whole, block.separator)


def _similarity(block: VerifierBlock, card: ModelCard) -> Verifier:
    """Return the verifier of an embedding model."""
    from agenttts.models.alone import asked_alone
    from agenttts.models.embedding_client import embedding_client
    from agenttts.verifiers.similarity import ASKING, Similarity

    alone = partial(asked_alone, embedding_client, card, ASKING)
    return Similarity(card.name, block.field or "", alone)


def _needed(gold: str | None, kind: str) -> str:
    if gold is None:
        raise ValueError(f"verifier {kind} needs `gold`")
    return gold

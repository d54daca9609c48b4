"""What a verifier asks about n samples: how many questions, how long they are, and what is written in reply.

Pure. Rules, and functions of the user, ask nothing and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agenttts.models.tiny_reward import TINY_PRM
from agenttts.task.ways import the

if TYPE_CHECKING:
    from agenttts.task.ways import VerifierBlock

__all__ = ["Asked", "asked_of"]

INSTRUCTIONS = 120.0
"""Tokens of a judge's instructions around what is judged."""
DEFAULT_REPLY_TOKENS = 256.0
"""Of a judge, where its sampling gives no limit."""
DEFAULT_STEPS = 8.0
READS = frozenset({"tiny_prm", "prm", "orm"})
"""Kinds that read the prompt with one sample and write nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions of one kind."""

    model: str
    n: float
    """Questions."""
    read: float
    """Tokens of one."""
    n_shown: float
    """Samples shown in one."""
    replies: int = 1
    """Replies drawn to one."""
    written: float = 0.0
    """Tokens of one reply."""


def asked_of(verifier: VerifierBlock, n: float, prompt: float, text: float) -> Iterator[Asked]:
    """Yield what a verifier asks.

    Args:
        verifier: The verifier; its knobs hold one value each.
        n: Samples to be scored.
        prompt: Mean tokens of the prompt.
        text: Mean tokens of a sample.
    """
    if verifier.kind in READS:
        yield Asked(verifier.model or TINY_PRM, n, prompt + text, 1)
    elif verifier.kind == "judge":
        yield _judge(verifier, n, prompt, text)
    elif verifier.kind == "gen_prm":
        yield from _gen_prm(verifier, n, prompt, text)


def _written(verifier: VerifierBlock) -> float:
    return float(verifier.sampling.max_tokens) if verifier.sampling is not None else DEFAULT_REPLY_TOKENS


def _judge(verifier: VerifierBlock, n: float, prompt: float, text: float) -> Asked:
    shown = {"pointwise": 1.0, "pairwise": 2.0, "listwise": n}[verifier.form]
    questions = {"pointwise": n, "pairwise": n * (n - 1) if n > 1 else n, "listwise": 1.0}[verifier.form]
    read = prompt + shown * text + INSTRUCTIONS
    return Asked(verifier.model or "", questions, read, shown, the(verifier.samples), _written(verifier))


def _gen_prm(verifier: VerifierBlock, n: float, prompt: float, text: float) -> Iterator[Asked]:
    """Yield, for each step of each sample, the analysis and, having run its program, the verdict."""
    replies, written = the(verifier.samples), _written(verifier)
    read = prompt + text / 2 + INSTRUCTIONS
    yield Asked(verifier.model or "", n * DEFAULT_STEPS, read, 0.5, replies, written)
    yield Asked(verifier.model or "", n * DEFAULT_STEPS * replies, read + written, 0.5, 1, 1.0)

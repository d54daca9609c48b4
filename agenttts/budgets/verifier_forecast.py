"""What a verifier asks about n samples: how many questions, how long they are, and what is written in reply.

Pure. Rules, and functions of the user, ask nothing and cost nothing. Replies are counted at the limit that the task
sets, else at a usual length, and at worst at their limit: how long they are is learnt with the ways that they serve (see `agenttts.budgets.calibration`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agenttts.budgets.calibration import WRITES
from agenttts.models.tiny_reward import TINY_PRM

if TYPE_CHECKING:
    from agenttts.task.ways import VerifierBlock
    from agenttts.verifiers.asking import Calls

__all__ = ["Asked", "asked_of", "feedback_tokens"]

DEFAULT_STEPS = 8.0
MOST_STEPS = 64.0
"""Of a reply, that a generative PRM judges."""
BYTES_PER_TOKEN = 8.0
"""More than any tokenizer makes of plain words: at worst every byte of the instructions is a token."""
MOST_OUTPUT = 8000.0
"""At worst, tokens of what a program put out."""
MOST_FAULT = 1200.0
"""At worst, tokens of what is wrong with a reply that is sent back, or of why there is no score."""
USUAL_REPLY = 256.0
"""Tokens of a judge's reply or of one analysis where the task sets no limit of its own: a first guess between the few
that a mark takes and the limit, which would make judges look many times too dear to be tried."""
READS = frozenset({"tiny_prm", "prm", "orm"})
"""Kinds that read the prompt with one sample and write nothing."""
RUNS = frozenset({"code", "executable", "completeness"})
"""Kinds that say what is wrong with a program, in at most 2000 characters."""
PROGRAM_OUTPUT = 512.0
"""Tokens of what they say of one that fails."""


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


def asked_of(
    verifier: VerifierBlock,
    n: int,
    prompt: float,
    text: float,
    *,
    steps: float = DEFAULT_STEPS,
    at_worst: bool = False,
) -> Iterator[Asked]:
    """Yield what a verifier asks about samples that it gets at once.

    Args:
        verifier: The verifier; its knobs hold one value each.
        n: Samples to be scored.
        prompt: Mean tokens of the prompt.
        text: Mean tokens of a sample.
        steps: Mean steps of a sample, at least 1.
        at_worst: `prompt` and `text` are the most there can be; so is what is yielded, repairs included.
    """
    if verifier.kind == "similarity":
        # The field that answers are compared with is read, too; how long it is, is not known here, but the prompt
        # mostly shows it.
        model = verifier.model or ""
        yield Asked(model, n, text, 1)
        yield Asked(model, 1, prompt, 0)
    elif verifier.kind in READS:
        yield Asked(verifier.model or TINY_PRM, n, prompt + text, 1)
    elif verifier.kind in WRITES:
        for calls in _calls(verifier, n, min(MOST_STEPS, max(1.0, text)) if at_worst else max(1.0, steps)):
            yield from _questions(verifier, calls, prompt, text, at_worst=at_worst)


def _calls(verifier: VerifierBlock, n: int, steps: float) -> tuple[Calls, ...]:
    if verifier.kind == "judge":
        from agenttts.verifiers.judge import judge_calls

        return (judge_calls(verifier, n),)
    from agenttts.verifiers.gen_prm import gen_prm_calls

    return gen_prm_calls(verifier, n, steps)


def _questions(
    verifier: VerifierBlock, calls: Calls, prompt: float, text: float, *, at_worst: bool
) -> Iterator[Asked]:
    model = verifier.model or ""
    if not at_worst:
        read = prompt + calls.samples_read * text + calls.fixed_tokens
        yield Asked(
            model, calls.n, read, calls.samples_read, calls.replies, _said(verifier, calls.reply_tokens)
        )
        return
    shown = max(1.0, calls.samples_read)
    own = len((verifier.rubric or "").encode()) + len(str(verifier.prompt or "").encode())
    read = prompt + shown * (text + 2 * BYTES_PER_TOKEN) + BYTES_PER_TOKEN * calls.fixed_tokens + own
    if verifier.kind == "gen_prm":
        read += MOST_OUTPUT
    yield Asked(model, calls.n, read, shown, calls.replies, calls.reply_tokens)
    if verifier.kind == "judge":  # each reply may be sent back once
        again = read + calls.reply_tokens + MOST_FAULT
        yield Asked(model, calls.n * calls.replies, again, shown, 1, calls.reply_tokens)


def _said(verifier: VerifierBlock, limit: float) -> float:
    """Return the tokens that a reply is expected to have: the limit that the task gives, else what is usual."""
    return limit if verifier.sampling is not None else min(limit, USUAL_REPLY)


def feedback_tokens(verifier: VerifierBlock | None, *, at_worst: bool) -> float:
    """Return the tokens of what a verifier has to say about one sample, for a model that refines it."""
    if verifier is None:
        return 0.0
    if verifier.kind in WRITES:
        limit = _calls(verifier, 1, 1.0)[0].reply_tokens
        said = limit if at_worst else _said(verifier, limit)
    else:
        said = PROGRAM_OUTPUT if verifier.kind in RUNS else 0.0
    return max(said * (BYTES_PER_TOKEN if verifier.kind in RUNS else 1.0), MOST_FAULT) if at_worst else said

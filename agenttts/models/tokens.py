"""Token counters: the one place where tokens are counted that no server counted for us.

Every count made here carries the counter's name in the result, so that an estimate is never taken for a bill.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from agenttts.errors import CardError
from agenttts.models.base import Message

__all__ = [
    "COUNTERS",
    "EXACT",
    "count_notes",
    "counter",
    "most_prompt_tokens",
    "prompt_text",
    "split_begun",
    "split_total",
]

Counter = Callable[[str], int]
COUNTERS = ("chars/4", "tiny", "litellm:<model>")
"""Names that `counter` knows."""
EXACT = frozenset({"server", "recorded"})
"""`CallUsage.counted_by` of counts that need no remark: reported by the endpoint, or recorded when it was."""
SPLIT = "server, split by "
TOKENS_AROUND_MESSAGE = 16
"""More than any chat template known to us puts around one message."""


@lru_cache(maxsize=64)
def counter(name: str) -> Counter:
    """Return the token counter of that name.

    `chars/4`: a quarter of the characters, rounded up; `tiny`: exact for the tiny family; `litellm:<model>`: the
    tokenizer that litellm holds for a model.

    Raises:
        CardError: No counter has this name.
    """
    if name == "chars/4":
        return _quarter_of_characters
    if name == "tiny":
        return _tiny()
    if name.startswith("litellm:") and len(name) > len("litellm:"):
        return _litellm(name.removeprefix("litellm:"))
    near = difflib.get_close_matches(name, COUNTERS, n=1, cutoff=0.0)
    raise CardError(
        f"token_counter {name!r} is unknown; did you mean {near[0]!r}? Known: {', '.join(COUNTERS)}"
    )


def count_notes(counted_by: Mapping[str, Iterable[str]], *, splits: bool = True) -> list[str]:
    """Return in sentences which token counts are not the endpoint's own.

    Args:
        counted_by: Model -> what counted its tokens (`CallUsage.counted_by`).
        splits: Whether to name counts whose totals are the server's and whose split alone is estimated.
    """
    return [
        _count_note(model, name)
        for model in sorted(counted_by)
        for name in sorted(set(counted_by[model]) - EXACT)
        if splits or not name.startswith(SPLIT)
    ]


def _count_note(model: str, name: str) -> str:
    if name.startswith(SPLIT):
        return (
            f"tokens of {model} are totals of the server; their split over samples was estimated by "
            f"{name.removeprefix(SPLIT)}"
        )
    if name.startswith("recorded"):
        return f"tokens of {model} are those of its recording, which holds estimates"
    return f"tokens of {model} were estimated by {name}: the server reported no usage"


def _quarter_of_characters(text: str) -> int:
    return -(-len(text) // 4)


def _tiny() -> Counter:
    from agenttts.models.tiny.tokenizer import encode

    return lambda text: len(encode(text))


def _litellm(model: str) -> Counter:
    from agenttts.models.litellm_client import quiet_litellm

    litellm = quiet_litellm()
    return lambda text: int(litellm.token_counter(model=model, text=text))


def prompt_text(messages: Sequence[Message]) -> str:
    """Return the contents of the messages, one after another, each on lines of its own."""
    return "\n".join(message.content for message in messages)


def split_begun(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """Return what is asked, and the beginning of the reply that is to be gone on from: a last message of the assistant."""
    begun = bool(messages) and messages[-1].role == "assistant"
    return (messages[:-1], messages[-1].content) if begun else (messages, "")


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """Return a bound on the prompt's tokens, whatever the tokenizer: one per UTF-8 byte plus the chat template's."""
    n_bytes = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
    return n_bytes + TOKENS_AROUND_MESSAGE * (len(messages) + 1)


def split_total(total: int, counts: Sequence[int], stopped: Sequence[bool]) -> tuple[int, ...]:
    """Split a reported total of tokens over several choices, in proportion to counted ones.

    Where the counts add up to the total, with or without one end-of-text token for each choice that stopped by itself,
    they are taken as they are: that is exact. Else the largest remainders get the odd tokens, first choice first.

    Args:
        total: Tokens that the server reported for all choices together.
        counts: Tokens counted in each choice, shape (n_choices,).
        stopped: Whether the choice stopped by itself, shape (n_choices,).

    Returns:
        Tokens of each choice; they add up to `total`.
    """
    with_ends = tuple(count + stop for count, stop in zip(counts, stopped, strict=True))
    for exact in (tuple(counts), with_ends):
        if sum(exact) == total:
            return exact
    weights = with_ends if sum(with_ends) else (1,) * len(counts)
    shares = [total * weight / sum(weights) for weight in weights]
    whole = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (whole[i] - shares[i], i))
    for i in by_remainder[: total - sum(whole)]:
        whole[i] += 1
    return tuple(whole)

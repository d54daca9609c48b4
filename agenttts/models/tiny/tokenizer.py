"""Text to token numbers and back for the tiny family.

A token is a word, a syllable of an invented word, a digit or a sign. Matching is greedy, longest first. What the
vocabulary does not hold becomes `<unk>`, one per character, so no text is refused. The texts of `problems` come back
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from agenttts.models.tiny.problems import SYLLABLES, special_strings

PAD, UNKNOWN, PROMPT_END, END, GOOD, BAD = range(6)
"""Token numbers with a meaning of their own: `PROMPT_END` stands between prompt and completion; `GOOD` and `BAD` are
reserved for verdicts; the shipped models neither read nor write them."""
_SPECIAL = ("", "\N{REPLACEMENT CHARACTER}", "", "", "", "")


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Return the text of every token by number; special tokens have none, `<unk>` the replacement character."""
    stages = ("translate: ", "solve: ", " ", "\n")
    words = (*(f" {syllable}" for syllable in SYLLABLES), *SYLLABLES)
    return (*_SPECIAL, *stages, *"0123456789", *special_strings(), *words)


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {text: number for number, text in enumerate(vocabulary()) if number > BAD}


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    by_length = sorted(_numbers(), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, by_length)) + "|.", re.DOTALL)


def encode(text: str) -> list[int]:
    """Return the token numbers of a text."""
    numbers = _numbers()
    return [numbers.get(piece, UNKNOWN) for piece in _pattern().findall(text)]


def encode_prompt(text: str) -> list[int]:
    """Return the token numbers of a prompt, outer whitespace dropped, with `PROMPT_END` at the end."""
    return [*encode(text.strip()), PROMPT_END]


def decode(tokens: Iterable[int]) -> str:
    """Return the text of token numbers."""
    texts = vocabulary()
    return "".join(texts[token] for token in tokens)

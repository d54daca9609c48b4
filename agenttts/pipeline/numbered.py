"""Reading which numbered items a completion names, as models truly write them: parse rule `numbers`.

Asked for a line such as `Passages: [3], [17]`, models also write `**Passages:** 3 and 17`, one number to a line with a
word about each, a JSON list or object, and reasons before and after. What names no number is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

__all__ = ["numbers"]

MOST_LABELS, LONGEST_LIST = 20, 4000
"""Labels that are looked at, and characters after one: a text of nothing but labels would take quadratic time."""
_NUMBER = re.compile(r"(?<![\d.])\d{1,9}(?![\d.]*\d)")
_BRACKETS = re.compile(r"\[([^\[\]a-zA-Z]*)\]")
_ITEM = re.compile(r"[\W_]*(?:[^\W\d_]+\s+)?(?:no\.?\s*)?#?\s*(\d{1,9})(?![.\d]*\d)", re.IGNORECASE)
_BETWEEN = re.compile(r"[,;\n]|\band\b|&", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]+")
_NO_WORDS = frozenset({"and", "json"})


def numbers(text: str, label: str | None = None) -> list[int] | None:
    r"""Return the whole numbers that a completion names, in order, each once; `None` where it names none.

    With a label, those after the last `label:` (or `label [`) that is followed by any, up to a blank line: all that stand in brackets,
    or where there are no brackets the one that each item of the list begins with (`Passage 3` begins with 3). A
    completion without the label counts where it is a list and nothing else, as of JSON.

    >>> numbers("The mayor is in [3].\n\n**Passages:** [3], [17]", "Passages")
    [3, 17]
    >>> numbers("Passages: 3 (the mayor) and 17", "Passages"), numbers("[3, 17]", "Passages")
    ([3, 17], [3, 17])
    >>> numbers("I looked at 100 of them", "Passages"), numbers("Passages: none", "Passages")
    (None, None)
    """
    lists = (list(dict.fromkeys(_named(part))) for part in _parts(text, label))
    return next(filter(None, lists), None)


def _parts(text: str, label: str | None) -> Iterator[str]:
    """Yield the parts of a text that may name the numbers, the likeliest first."""
    if label is None:
        yield text
        return
    word = re.escape(label.removesuffix("s")) + "s?"
    declared = [*re.finditer(rf"(?i)\b{word}(?: \w{{1,20}}){{0,6}}[\s\"'*_`]{{0,9}}(?:[:=]|(?=\[))", text)]
    for match in reversed(declared[-MOST_LABELS:]):
        rest = text[match.end() : match.end() + LONGEST_LIST].lstrip("\"'*_` \t\r\n")
        yield "\n".join(takewhile(str.strip, rest.splitlines()))
    if not declared and {found.casefold() for found in _WORDS.findall(text)} <= _NO_WORDS:
        yield text


def _named(told: str) -> Iterator[int]:
    inside = _BRACKETS.findall(told)
    if inside:
        yield from (int(number) for part in inside for number in _NUMBER.findall(part))
        return
    items = (_ITEM.match(item) for item in _BETWEEN.split(told))
    yield from (int(item[1]) for item in items if item is not None)

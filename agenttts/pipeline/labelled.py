r"""Reading the short answer that a completion ends in, as models truly write it: parse rule `short_answer`.

Asked for a last line `Answer: Paris`, models also write `**Answer:** Paris.`, `The answer is **Paris**.`, the two at once,
`<answer>Paris</answer>`, `{"answer": "Paris"}`, `Answer: $\boxed{Paris}$`, or nothing but `Paris`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

__all__ = ["short_answer"]

LONGEST_BARE = 60
"""Characters of a reply without a label that is taken for the answer itself."""
MOST_LAYERS = 8
"""Marks around an answer that are peeled off, one after the other."""
MOST_TAIL = 8000
"""Characters at the end of a completion that are looked at: what it ends in stands there."""
_MARKS = "*_`$ \t"
_QUOTES = "\"'“”„«»‘’"
_BOXED = re.compile(r"\\(?:boxed|text|textbf|mathrm)\{(.*)\}", re.DOTALL)
_ONLY_POINT = re.compile(r"[^.]*[^.\s]\.")


def short_answer(text: str, label: str | None = None) -> str | None:
    r"""Return what follows the last label in a completion, without the marks around it; `None` where nothing does.

    Without a label, a reply of one short line without a colon is the answer itself.

    Args:
        text: The completion.
        label: The word before the answer, whatever its case; `None`: `Answer`.

    >>> short_answer("Ann was born in Hull.\n\n**Answer:** The answer is *Hull*.")
    'Hull'
    >>> short_answer("Answer: $\boxed{12}$"), short_answer("<answer>Hull</answer>"), short_answer("Hull")
    ('12', 'Hull', 'Hull')
    >>> short_answer("I do not know: the passages say nothing."), short_answer("Answer:")
    (None, None)
    """
    word = re.escape(label or "Answer")
    for told in _declared(text[-MOST_TAIL:], word):
        if answer := _peeled(told, word):
            return answer
    return None


def _declared(text: str, word: str) -> Iterator[str]:
    """Yield what may be the answer, the likeliest first."""
    tagged = re.findall(rf"(?is)<{word}>([^<]*)</{word}>", text)
    keyed = re.findall(rf'(?i)"{word}"\s*:\s*("(?:[^"\\\n]|\\.)*")', text)
    if tagged or keyed:
        yield from reversed(tagged or [_unescaped(value) for value in keyed])
        return
    found = re.findall(
        rf"(?im)\b{word}\b(?:[ \t*_\"]*:|[ \t]+is\b[ \t]*:?)[*_\"]*[ \t]*(\S.*|\n{{1,3}}[ \t]*\S.*)$", text
    )
    yield from reversed(found)
    bare = text.strip()
    if not found and 0 < len(bare) <= LONGEST_BARE and not re.search(rf"(?i):|\n|\b{word}\b", bare):
        yield bare


def _unescaped(value: str) -> str:
    """Return the text that a JSON string stands for; what is no JSON stays as it is written."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _peeled(told: str, word: str) -> str:
    """Return an answer without marks, repeated labels, boxes and a lone full stop at its end."""
    answer = told
    for _ in range(MOST_LAYERS):
        before = answer
        answer = answer.strip().strip(_MARKS).strip()
        if len(answer) > 1 and answer[0] in _QUOTES and answer[-1] in _QUOTES:
            answer = answer[1:-1]
        answer = re.sub(rf"(?i)\A(?:the\s+)?(?:final\s+)?{word}\b(?:\s+is\b|\s*:)[\s:]*", "", answer)
        if box := _BOXED.fullmatch(answer):
            answer = box[1]
        if _ONLY_POINT.fullmatch(answer):
            answer = answer[:-1]
        if answer == before:
            break
    return answer

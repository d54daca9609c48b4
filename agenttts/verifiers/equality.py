"""When two answers are the same: the one normaliser of answers, for votes, scores and parsing.

Pure functions. Sources: Rajpurkar et al. 2016, arXiv:1606.05250, and its official script for `squad_normalise`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any

__all__ = [
    "field_value",
    "format_number",
    "loose_key",
    "parse_number",
    "same_answer",
    "squad_normalise",
    "vote_counts",
    "vote_key",
    "written",
]

LONGEST_NUMBER = 400
"""Digits and exponents beyond this are no numbers to us: exact arithmetic on `1e999999999` would fill the memory."""
KEPT = 1 << 15
"""Texts whose reading is remembered: samples mostly repeat a few answers, and every trial reads its samples again."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SIGNS = str.maketrans(
    {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " "}
)
_PLAIN = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_NUMBER = re.compile(rf"[$€£]?(?P<sign>[+-]?)[$€£]?(?P<top>{_PLAIN})(?:\s?/\s?(?P<bottom>{_PLAIN}))?\s?%?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def squad_normalise(text: str) -> str:
    """Return the text in lower case without punctuation, articles and spare white space.

    >>> squad_normalise("The  Eiffel-Tower, Paris!")
    'eiffeltower paris'
    """
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def parse_number(value: object) -> Fraction | None:
    """Return the number that the whole value says, exactly; `None` where it says none.

    Understood in text: sign, thousands separators (`1,234`), decimals, `6e-3`, fractions (`3/4`), a currency sign
    before and a per cent sign after the number, which are dropped (`50%` is 50).

    >>> parse_number("$1,234.50"), parse_number("three"), parse_number(True)
    (Fraction(2469, 2), None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | Decimal | str):
        return None
    if isinstance(value, str):
        return _number_in(value)
    try:
        return Fraction(value)
    except (ValueError, OverflowError):  # not a number, infinity
        return None


@lru_cache(maxsize=KEPT)
def _number_in(text: str) -> Fraction | None:
    text = text.translate(_SIGNS).strip()
    if not text or len(text) > LONGEST_NUMBER:
        return None
    match = _NUMBER.fullmatch(_THOUSANDS.sub("", text))
    if match is None:
        return None
    try:
        top, bottom = Decimal(match["top"]), Decimal(match["bottom"] or 1)
    except InvalidOperation:
        return None
    if not bottom or max(abs(top.adjusted()), abs(bottom.adjusted())) > LONGEST_NUMBER:
        return None
    value = Fraction(top) / Fraction(bottom)
    return -value if match["sign"] == "-" else value


def format_number(text: str) -> str:
    """Return a number in its plain form: no separators, no trailing zeros; fractions stay fractions.

    >>> format_number("1,234.50"), format_number("+6e3"), format_number("3/4"), format_number("4/2")
    ('1234.5', '6000', '3/4', '2')
    """
    value = parse_number(text)
    if value is None:
        return text
    if value.denominator == 1:
        return str(value.numerator)
    if "/" in text:
        return str(value)
    return format(Decimal(re.sub(r"[$€£%,\s]", "", text.translate(_SIGNS))), "f").rstrip("0")


def vote_counts(answers: Iterable[Any]) -> Counter[Hashable]:
    """Return the votes of each answer, by `vote_key`; `None`, which could not be parsed, has none."""
    return Counter(vote_key(answer) for answer in answers if answer is not None)


def vote_key(answer: Any) -> Hashable:
    """Return what answers that mean the same have in common.

    Numbers are equal as numbers (`42`, `"42.0"`), texts without regard to case and white space, lists item by item
    in order, mappings and sets without order.
    """
    if isinstance(answer, bool) or answer is None:
        return ("constant", str(answer).lower())
    if isinstance(answer, str):
        return _text_key(answer)
    number = parse_number(answer)
    if number is not None:
        return _number_key(number)
    if isinstance(answer, Mapping):
        return ("mapping", frozenset((str(key), vote_key(value)) for key, value in answer.items()))
    if isinstance(answer, Set):
        return ("set", frozenset(vote_key(item) for item in answer))
    if isinstance(answer, Sequence) and not isinstance(answer, bytes | bytearray):
        return ("list", tuple(vote_key(item) for item in answer))
    return ("other", repr(answer))


@lru_cache(maxsize=KEPT)
def _text_key(text: str) -> Hashable:
    number = parse_number(text)
    return ("text", " ".join(text.casefold().split())) if number is None else _number_key(number)


def _number_key(number: Fraction) -> Hashable:
    return ("number", number.numerator, number.denominator)  # a fraction itself is slow to hash


def same_answer(a: Any, b: Any) -> bool:
    """Tell whether two answers agree after SQuAD normalisation, item by item within lists and mappings.

    We depart from the official script twice, where it would call different answers the same: numbers are compared as
    numbers (the script drops the point of `4.2` and finds 42), and texts of which nothing is left (`A`, `the`, `+`)
    are compared as they stand.
    """
    return loose_key(a) == loose_key(b)


def loose_key(answer: Any) -> Hashable:
    """Return what answers that `same_answer` calls the same have in common."""
    if isinstance(answer, str) and parse_number(answer) is None:
        return ("text", squad_normalise(answer) or answer.strip().casefold())
    if isinstance(answer, Mapping):
        return ("mapping", frozenset((str(key), loose_key(value)) for key, value in answer.items()))
    if isinstance(answer, list | tuple):
        return ("list", tuple(loose_key(item) for item in answer))
    return vote_key(answer)


def written(value: Any) -> str:
    """Return a value as text; empty where it is nested too deeply to be written."""
    try:
        return str(value)
    except RecursionError:
        return ""


def field_value(fields: Mapping[str, Any], path: str) -> Any:
    """Return the field at a dotted path; a field whose own name holds the dots comes first.

    Raises:
        KeyError: There is none.
    """
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        value = step_into(value, part)
    return value


def step_into(value: Any, part: str) -> Any:
    """Return one item of a mapping by its key, or of a list by its number.

    Raises:
        KeyError: There is none.
    """
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, Sequence) and not isinstance(value, str) and part.lstrip("-").isdigit():
        try:
            return value[int(part)]
        except IndexError:
            pass
    raise KeyError(part)

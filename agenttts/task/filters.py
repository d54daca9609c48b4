"""Filters that prompts have beside Jinja's own. Pure; what a model wrote reaches them and may hold anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Undefined

from agenttts.verifiers.equality import parse_number

__all__ = ["FILTERS", "pick"]


def pick(items: Sequence[Any], indices: Any) -> list[Any]:
    """Return the items at these indices, counted from 0, in the order of the indices.

    Args:
        items: What to choose from, e.g. `problem.candidates`.
        indices: Numbers or texts of numbers, as the answer of a stage that chose; a single one counts as a list of one.
            What is no index of `items` is left out, and one that is named again, too.

    Raises:
        TypeError: `items` is no list.
        jinja2.UndefinedError: A variable is missing.

    >>> pick(["a", "b", "c"], ["2", 0, "none", 7, 2])
    ['c', 'a']
    """
    for value in (items, indices):
        if isinstance(value, Undefined):
            iter(value)  # raises, naming the variable
    if not isinstance(items, list | tuple):
        raise TypeError(f"pick chooses from a list, got {type(items).__name__}")
    asked = indices if isinstance(indices, list | tuple | set | frozenset) else [indices]
    places = (_place(index, len(items)) for index in asked)
    return [items[place] for place in dict.fromkeys(places) if place is not None]


def _place(index: Any, n: int) -> int | None:
    number = parse_number(index)
    return int(number) if number is not None and number.denominator == 1 and 0 <= number < n else None


FILTERS: Mapping[str, Callable[..., Any]] = {"pick": pick}
"""By the name that templates call them."""

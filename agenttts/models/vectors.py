"""Vectors of texts: how they are kept, and how like one another two of them are. Pure.

They are kept as base64 of single-precision numbers, lowest byte first: models compute in single precision or less, so
nothing is lost, and 1536 numbers take 8 kB in the store, not the 30 kB of their digits in JSON.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any

__all__ = ["NoVectorError", "cosine", "packed", "unpacked", "vector_of"]


class NoVectorError(Exception):
    """What should be a vector is none, or none that another can be compared with; the message says why."""


def vector_of(value: Any) -> Sequence[float]:
    """Return the vector that a JSON value is.

    Raises:
        NoVectorError: It is no list of numbers, an empty one, or not all of them are finite in single precision.
    """
    if not isinstance(value, list) or not all(type(number) in {int, float} for number in value):
        raise NoVectorError("the vector is no list of numbers")
    if not value:
        raise NoVectorError("the vector is empty")
    try:
        vector = array("f", value)
    except OverflowError as error:  # an integer beyond all floats
        raise NoVectorError("the vector holds a number that is not finite") from error
    if not all(map(math.isfinite, vector)):
        raise NoVectorError("the vector holds a number that is not finite")
    return vector


def packed(vector: Sequence[float]) -> str:
    """Return a vector as it is kept."""
    return base64.b64encode(_lowest_first(array("f", vector)).tobytes()).decode("ascii")


def unpacked(text: str) -> Sequence[float]:
    """Return the vector that `packed` made a text of.

    Raises:
        NoVectorError: The text is of something else.
    """
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise NoVectorError("what is kept is no vector") from error
    return vector_of(_lowest_first(numbers).tolist())


def _lowest_first(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors, in [-1, 1].

    Raises:
        NoVectorError: They differ in length, or one of them is all zeros and points nowhere.
    """
    if len(one) != len(other):
        raise NoVectorError(f"the vectors differ in length: {len(one)} and {len(other)} numbers")
    lengths = [math.hypot(*vector) for vector in (one, other)]
    if not all(lengths):
        raise NoVectorError("a vector is all zeros and points nowhere")
    product = math.fsum(a / lengths[0] * (b / lengths[1]) for a, b in zip(one, other, strict=True))
    return min(1.0, max(-1.0, product))

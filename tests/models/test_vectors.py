from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest

from agenttts.models.vectors import NoVectorError, cosine, packed, unpacked, vector_of


def test_what_is_kept_is_single_precision_with_the_lowest_byte_first() -> None:
    assert packed([1.0, -2.5]) == base64.b64encode(struct.pack("<2f", 1.0, -2.5)).decode()


def test_what_is_kept_comes_back() -> None:
    numbers = [0.1, -0.25, 3e-39, 3e38]
    singles = struct.unpack("<4f", struct.pack("<4f", *numbers))
    assert tuple(unpacked(packed(vector_of(numbers)))) == singles


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, "no list of numbers"),
        ("AACAPw==", "no list of numbers"),
        ([0.1, "0.2"], "no list of numbers"),
        ([0.1, None], "no list of numbers"),
        ([True, False], "no list of numbers"),
        ([[0.1]], "no list of numbers"),
        ([], "empty"),
        ([0.1, math.nan], "not finite"),
        ([0.1, -math.inf], "not finite"),
        ([0.1, 1e39], "not finite"),
        ([0.1, 10**400], "not finite"),
    ],
)
def test_what_is_no_vector_says_why(value: Any, cause: str) -> None:
    with pytest.raises(NoVectorError, match=cause):
        vector_of(value)


@pytest.mark.parametrize("text", ["[0.1]", "AAAA", "AADAfw=="], ids=["not base64", "3 bytes", "not a number"])
def test_a_kept_text_that_is_no_vector_is_told(text: str) -> None:
    with pytest.raises(NoVectorError):
        unpacked(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0], [0, 1], 0),
        ([3, 4], [3, 4], 1),
        ([3, 4], [-6, -8], -1),
        ([1, 0], [1, 1], 0.7071067811865476),
        ([1, 2, 2], [2, 1, 2], 8 / 9),
        ([1e-30, 0], [1e30, 1e30], 0.7071067811865476),
    ],
)
def test_the_cosine_is_that_of_the_angle(one: list[float], other: list[float], expected: float) -> None:
    assert cosine(one, other) == pytest.approx(expected, abs=1e-12)


def test_rounding_makes_no_cosine_beyond_1() -> None:
    vector = [0.1 * k for k in range(1, 1000)]
    assert cosine(vector, vector) <= 1


def test_vectors_that_cannot_be_compared_say_why() -> None:
    with pytest.raises(NoVectorError, match="differ in length: 2 and 3 numbers"):
        cosine([1, 0], [1, 0, 0])
    with pytest.raises(NoVectorError, match="all zeros"):
        cosine([1, 0], [0, 0])

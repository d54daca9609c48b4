"""Verifiers of one's own as functions of a task. They need no gold, so they may select."""

from __future__ import annotations

from typing import Any


def is_multiple(problem: dict[str, Any], answer: Any, text: str) -> float:
    """Return 1 where the answer is a multiple of both numbers of the problem, else 0.

    Args:
        problem: The fields of the row.
        answer: What `parse` made of the completion; `None` where it could not.
        text: The whole completion.
    """
    if answer is None:
        return 0.0
    return float(all(float(answer) % number == 0 for number in (problem["a"], problem["b"])))

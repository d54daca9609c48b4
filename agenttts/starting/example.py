"""Rows that stand for the user's own until there are any: sums, with a field for the question and one for the answer."""

from __future__ import annotations

from agenttts.starting.sheet import Sheet

__all__ = ["example_sheet"]

N_ROWS = 12


def example_sheet(question: str, gold: str) -> Sheet:
    """Return a few problems whose fields have these names."""
    rows = [
        {"id": f"example-{i}", question: f"What is {7 * i + 12} + {5 * i + 9}?", gold: 12 * i + 21}
        for i in range(1, N_ROWS + 1)
    ]
    return Sheet(tuple(rows), None)

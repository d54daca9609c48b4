"""The child process of `maths`: one JSON line `[gold, answer]` in, one JSON line out.

`true` or `false`; a text where the gold answer cannot be read. The parent limits the time.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

MOST_MEMORY_BYTES = 4 << 30
ORPHAN_TIMEOUT_S = 120
DELIMITERS = ("$", "\\boxed", "\\(", "\\[", "\\begin")


def main() -> None:
    """Answer until the parent closes the pipe."""
    from math_verify import parse, verify

    _limit_memory()
    logging.disable(logging.CRITICAL)  # it warns that its own time limits are off
    replies, sys.stdout = sys.stdout, sys.stderr  # nothing but replies may reach the parent
    for line in sys.stdin:
        gold, answer = json.loads(line)
        _end_after(ORPHAN_TIMEOUT_S)
        replies.write(json.dumps(_compare(gold, answer, parse, verify)) + "\n")
        replies.flush()
        _end_after(0)


def _end_after(timeout_s: int) -> None:
    """Let the system end this process in so many seconds, should the parent be gone by then; 0: no longer."""
    if hasattr(signal, "alarm"):  # not on Windows
        signal.alarm(timeout_s)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MOST_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, hard))


def _compare(
    gold: str, answer: str, parse: Callable[..., list[Any]], verify: Callable[..., bool]
) -> bool | str:
    try:
        wanted = parse(_delimited(gold), parsing_timeout=None)
        if not wanted:
            return "it cannot be read as mathematics"
        given = parse(_delimited(answer), parsing_timeout=None)
        return bool(given and verify(wanted, given, timeout_seconds=None))
    except Exception:  # whatever a model wrote that the algebra stumbles over is not equal to the gold answer
        return False


def _delimited(text: str) -> str:
    """Mark a bare formula as LaTeX, which is the only form in which one is found reliably."""
    return text if any(mark in text for mark in DELIMITERS) else f"${text}$"


if __name__ == "__main__":
    main()

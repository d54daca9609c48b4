"""Whether two mathematical answers are equal, by math-verify, in a process of its own.

math-verify limits its time by signals, which work in the main thread only, and without a limit an answer such as a
tower of powers can keep it busy for ever. So it runs in one child process, one comparison at a time; a comparison
that takes too long ends the child, and the next one starts another. Results are kept.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.equality import field_value, parse_number, vote_key

__all__ = ["MathComparer", "MathVerifier"]

START_TIMEOUT_S = 120.0
"""Importing sympy on a busy machine takes seconds."""
COMPARISON_TIMEOUT_S = 10.0
MOST_KEPT = 50_000


class MathTimeoutError(Exception):
    """A comparison took too long."""


class MathComparer:
    """Compares answers in a child process that is started at first use."""

    def __init__(self, timeout_s: float = COMPARISON_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._kept: OrderedDict[tuple[str, str], bool | str] = OrderedDict()

    def equal(self, gold: str, answer: str) -> bool:
        """Tell whether two answers in LaTeX or plain notation are mathematically equal.

        Raises:
            MathTimeoutError: It took too long.
            ValueError: The gold answer cannot be read as mathematics.
        """
        with self._lock:
            key = (gold, answer)
            if key not in self._kept:
                self._kept[key] = self._ask(gold, answer)
                if len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            result = self._kept[key]
        if result == "timeout":
            raise MathTimeoutError(f"the comparison took longer than {self._timeout_s:g} s")
        if isinstance(result, str):
            raise ValueError(result)
        return result

    def close(self) -> None:
        """End the child process."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def _ask(self, gold: str, answer: str) -> bool | str:
        if self._child is None:
            self._start()
        reply = self._exchange(json.dumps([gold, answer]), self._timeout_s)
        if reply is None:
            return "timeout"
        value = json.loads(reply)
        return value if isinstance(value, bool) else str(value)

    def _start(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "agenttts.verifiers._math_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        atexit.register(self.close)
        if self._exchange(json.dumps(["1", "1"]), START_TIMEOUT_S) != "true\n":
            raise RuntimeError(
                "the process for comparing mathematics did not start: is math-verify installed?"
            )

    def _exchange(self, line: str, timeout_s: float) -> str | None:
        """Send a line and return the reply; `None` where none came in time, and then the child is gone."""
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise RuntimeError("the process for comparing mathematics is not running")
        watchdog = threading.Timer(timeout_s, child.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            reply = child.stdout.readline()
        except (BrokenPipeError, OSError):
            reply = ""
        finally:
            watchdog.cancel()
        if not reply:
            self.close()
            return None
        return reply


_COMPARER = MathComparer()


@dataclass(frozen=True)
class MathVerifier:
    """Scores 1 where the answer equals the gold answer (any item of a gold list) as mathematics, else 0."""

    gold: str
    comparer: MathComparer = _COMPARER
    reads_text = False

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        try:
            gold = field_value(problem.fields, self.gold)
        except KeyError:
            return [Score(None, f"problem {problem.id} has no field {self.gold!r}")] * len(candidates)
        golds = list(gold) if isinstance(gold, list | tuple) else [gold]
        if not golds or None in golds:
            return [Score(None, f"problem {problem.id}: field {self.gold!r} is empty")] * len(candidates)
        return [await self._one(golds, candidate.answer) for candidate in candidates]

    async def _one(self, golds: Sequence[Any], answer: Any) -> Score:
        if answer is None:
            return Score(0.0)
        if any(vote_key(gold) == vote_key(answer) for gold in golds):
            return Score(1.0)
        if parse_number(answer) is not None and all(_is_whole(gold) for gold in golds):
            # Plain numbers need no algebra; math-verify would round first. A sure case, and by far the most common.
            return Score(0.0)
        return await asyncio.to_thread(self._compared, [str(gold) for gold in golds], str(answer))

    def _compared(self, golds: Sequence[str], answer: str) -> Score:
        causes = []
        for gold in golds:
            try:
                if self.comparer.equal(gold, answer):
                    return Score(1.0)
            except (MathTimeoutError, ValueError) as error:
                causes.append(f"gold {gold[:40]!r}: {error}")
        return Score(None, causes[0]) if causes else Score(0.0)


def _is_whole(value: Any) -> bool:
    number = parse_number(value)
    return number is not None and number.denominator == 1

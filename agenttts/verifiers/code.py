"""A verifier that runs a program against the tests of its problem, in the sandbox.

Forms: `asserts` as in MBPP (Austin et al. 2021, arXiv:2108.07732), `humaneval` (Chen et al. 2021, arXiv:2107.03374),
`stdin` as in APPS (Hendrycks et al. 2021, arXiv:2105.09938) and LiveCodeBench. Departures: tests run in another process
than the program (see `_code_judge`), outputs are compared as text by lines, not as numbers, and the time limit is that of
all calls of a method together.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from agenttts.errors import SandboxError
from agenttts.pipeline.base import Problem
from agenttts.sandbox import Execution, Isolation, Limits, run_python
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.code_tests import (
    Assertions,
    Cases,
    Suite,
    TestsError,
    completed,
    read_tests,
    same_output,
)

__all__ = ["CodeVerifier"]

FEEDBACK = 2000
"""Characters of feedback; a model is to read it."""
SHOWN = 400
"""Characters of one input, output or trace in it."""


@dataclass(frozen=True)
class _Outcome:
    passed: int
    total: int
    failure: str = ""
    """Which test failed first, and how."""


@dataclass(frozen=True)
class CodeVerifier:
    """Scores 1 where a program passes all tests, else 0; with `partial` the share that it passes.

    A candidate without code scores 0. Tests that cannot be read, and a machine that cannot run programs apart, leave
    it unscored.
    """

    tests: str
    """Dotted path of the field."""
    suite: Suite = "auto"
    entry_point: str = "entry_point"
    partial: bool = False
    limits: Limits = field(default_factory=Limits)
    """Of one program; each case of `stdin` is one."""
    isolation: Isolation = "auto"
    reads_text = False

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        try:
            tests = read_tests(problem, self.tests, self.suite, self.entry_point)
        except TestsError as error:
            return [Score(None, str(error))] * len(candidates)
        answers = {answer: None for candidate in candidates if (answer := _code_of(candidate)) is not None}
        scores = await asyncio.gather(*(asyncio.to_thread(self._one, tests, answer) for answer in answers))
        of_answer = dict(zip(answers, scores, strict=True))
        return [
            Score(0.0, feedback="There is no code in the answer.") if answer is None else of_answer[answer]
            for answer in map(_code_of, candidates)
        ]

    def _one(self, tests: Assertions | Cases, answer: str) -> Score:
        try:
            outcome = (
                self._judged(tests, answer) if isinstance(tests, Assertions) else self._cases(tests, answer)
            )
        except SandboxError as error:
            return Score(None, f"the program could not be run: {error}")
        value = outcome.passed / outcome.total if self.partial else float(outcome.passed == outcome.total)
        return Score(value, feedback=outcome.failure[:FEEDBACK])

    def _run(self, source: str, stdin: str) -> Execution:
        return run_python(source, stdin=stdin, limits=self.limits, isolation=self.isolation)

    def _cases(self, tests: Cases, answer: str) -> _Outcome:
        passed, failure = 0, ""
        for index, (given, expected) in enumerate(tests.cases):
            done = self._run(answer, given)
            if done.ok and same_output(done.stdout, expected):
                passed += 1
                continue
            title = f"Test {index + 1} of {len(tests.cases)} failed."
            failure = failure or "\n".join([title, *_case_failure(done, given, expected)])
            if not self.partial:
                break
        return _Outcome(passed, len(tests.cases), failure)

    def _judged(self, tests: Assertions, answer: str) -> _Outcome:
        # Made anew for each run and told to the judge alone, so that no program can write a verdict.
        token = secrets.token_hex(16)
        job = {
            "all": self.partial,
            "before": tests.before,
            "program": completed(answer, tests.prompt, tests.entry_point),
            "setup": tests.setup,
            "tests": tests.tests,
            "token": token,
        }
        done = self._run(_judge(), json.dumps(job))
        return _verdict(tests, list(_verdicts(done.stdout, token)), done)


@lru_cache(maxsize=1)
def _judge() -> str:
    return Path(__file__).with_name("_code_judge.py").read_text(encoding="utf-8")


def _code_of(candidate: Candidate) -> str | None:
    answer = candidate.answer
    return answer if isinstance(answer, str) and answer.strip() else None


def _verdicts(stdout: str, token: str) -> list[dict[str, Any]]:
    lines = [line.partition(" ") for line in stdout.splitlines()]
    return [_loaded(rest) for head, _, rest in lines if secrets.compare_digest(head.encode(), token.encode())]


def _loaded(text: str) -> dict[str, Any]:
    """Read a verdict; one that was cut off, because the judge was ended while it wrote, says nothing."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _verdict(tests: Assertions, verdicts: Sequence[dict[str, Any]], done: Execution) -> _Outcome:
    total = len(tests.tests)
    for verdict in verdicts:
        if "prepared" in verdict:
            return _Outcome(
                0, total, f"The program or its setup failed before the tests:\n{verdict['prepared']}"
            )
    told = {verdict["test"]: verdict["failure"] for verdict in verdicts if "test" in verdict}
    passed = sum(failure == "" for failure in told.values())
    first = next((index for index in range(total) if told.get(index) != ""), None)
    if first is None:
        return _Outcome(passed, total)
    how = told.get(first) or f"The program was ended in it: {_ending(done)}"
    return _Outcome(passed, total, f"Test {first + 1} of {total} failed.\n{_test_shown(tests, first)}{how}")


def _test_shown(tests: Assertions, index: int) -> str:
    """Show an assertion; a whole `check` is too long, and the failing line of it is in the verdict."""
    if tests.shown:
        return f"input: {_shown(tests.shown[index])}\n"
    return "" if tests.entry_point else f"test: {tests.tests[index].strip()[:SHOWN]}\n"


def _case_failure(done: Execution, given: str, expected: str) -> list[str]:
    lines = [f"input: {_shown(given)}", f"expected: {_shown(expected)}", f"got: {_shown(done.stdout)}"]
    if not done.ok:
        lines.append(f"The program was ended: {_ending(done)}")
    return lines


_ENDINGS = {
    "timeout": "it took too long",
    "cpu": "it took too long",
    "memory": "it needed too much memory",
    "output": "it printed too much",
    "files": "it wrote too much to files",
}


def _ending(done: Execution) -> str:
    cause = _ENDINGS.get(done.ended, f"exit status {done.exit_status}")
    trace = done.complaint
    return f"{cause}\n{trace[-SHOWN:]}" if trace and done.ended != "output" else cause


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")

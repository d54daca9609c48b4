"""A verifier that runs a program without tests, in the sandbox, and looks whether it fails.

Source: Qian et al. 2023, arXiv:2307.07924 (ChatDev): a program is executable where main.py, left alone for three seconds,
has printed no traceback (`exist_bugs` in chatdev/chat_env.py, also the paper's evaluation of AgentTTS). Departures:

- A program that ends with a status other than 0, by a signal or out of memory fails, too. The script looks for the word
  Traceback alone, which a syntax error in main.py does not print.
- Standard input is empty. The script lets the program wait at the terminal that it was itself started from.
- Libraries are not installed on demand. There is no display: programs with windows fail here as they do on a server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from agenttts.errors import SandboxError
from agenttts.pipeline.base import Problem
from agenttts.pipeline.code_files import MAIN, as_files
from agenttts.sandbox import Execution, Isolation, Limits, run_python
from agenttts.verifiers.base import Candidate, Score

__all__ = ["ExecutableVerifier", "start_of"]

FEEDBACK = 2000
"""Characters of the end of what a failed program printed; a model is to read it."""
NO_CODE = "There is no code in the answer."
NO_START = "It is not clear which file starts the program: there is no main.py."
_STILL_RUNNING = frozenset({"timeout", "cpu", "output"})
"""Ends that we made while it ran. The script's program would wait for room in its pipe where ours printed too much."""
_ENDINGS = {
    "memory": "The program needed too much memory.",
    "files": "The program wrote too much to files.",
    "killed": "The program was ended by a signal.",
}


@dataclass(frozen=True)
class ExecutableVerifier:
    """Scores 1 where a program ends without an error or is still running at the end of its time, else 0.

    An answer without code scores 0; a machine that cannot run programs apart leaves it unscored.
    """

    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = "auto"
    reads_text = False

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        programs = [as_files(candidate.answer) for candidate in candidates]
        keys = [_key(files) for files in programs]
        distinct = dict(zip(keys, programs, strict=True))
        scores = await asyncio.gather(*(asyncio.to_thread(self._one, files) for files in distinct.values()))
        of_key = dict(zip(distinct, scores, strict=True))
        return [of_key[key] for key in keys]

    def _one(self, files: Mapping[str, str]) -> Score:
        if not files:
            return Score(0.0, feedback=NO_CODE)
        start = start_of(files)
        if start is None:
            return Score(0.0, feedback=NO_START)
        try:
            done = run_python(_source(files, start), limits=self.limits, isolation=self.isolation)
        except SandboxError as error:
            return Score(None, f"the program could not be run: {error}")
        fault = _fault(done)
        return Score(float(not fault), feedback=fault)


def start_of(files: Mapping[str, str]) -> str | None:
    """Return the file that starts a program: main.py, else the only Python file, else the one with `__main__`."""
    if MAIN in files:
        return MAIN
    python = [name for name in files if name.endswith(".py")]
    if len(python) == 1:
        return python[0]
    starting = [name for name in python if "__main__" in files[name]]
    return starting[0] if len(starting) == 1 else None


def _key(files: Mapping[str, str]) -> str:
    return json.dumps(dict(files), sort_keys=True)


def _source(files: Mapping[str, str], start: str) -> str:
    # Twice: the inner text is JSON, the outer one a Python literal of it, for JSON's escapes are Python's, too.
    return _program().replace('"@FILES@"', json.dumps(json.dumps([dict(files), start])))


@lru_cache(maxsize=1)
def _program() -> str:
    return Path(__file__).with_name("_program_files.py").read_text(encoding="utf-8")


def _fault(done: Execution) -> str:
    """Return what went wrong; empty where nothing did."""
    traced = "traceback (most recent call last)" in done.stderr.lower()
    if not traced and (done.ok or done.ended in _STILL_RUNNING):
        return ""
    cause = _ENDINGS.get(done.ended) or (
        "The program printed a traceback."
        if done.exit_status == 0 or done.ended
        else f"The program ended with exit status {done.exit_status}."
    )
    return f"{cause}\n{done.complaint[-FEEDBACK:]}".strip()

"""A verifier that looks for placeholders in a program: what a model left for others to write.

Source: Qian et al. 2023, arXiv:2307.07924 (ChatDev): a program is complete where no placeholder stands in its code. The
script (`get_completeness`, chatdev/eval_quality.py) takes every line that holds "pass" (but password, passenger, passed,
passes) or "todo", in any case, for one. So a program that keeps a list of todos, or an `except` that may pass, is never
complete there. Departures, which read the code instead: a placeholder is

- a body of `pass` or `...` alone (a docstring aside), but of a class, an `except`, a `case`, an abstract or overloaded
  function, or a function of a Protocol;
- a function that only raises NotImplementedError, likewise but for abstract ones;
- TODO or FIXME, in capitals, in a comment.

What is no Python of ours (cut off, or written for another version) is read by its lines: those with nothing but `pass`,
`...` or `raise NotImplementedError` are placeholders.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agenttts.pipeline.base import Problem
from agenttts.pipeline.code_files import as_files, python_tree
from agenttts.verifiers.base import Candidate, Score

__all__ = ["Completeness", "placeholders"]

SHOWN = 20
"""Placeholders named in the feedback."""
FEEDBACK = 2000
"""Characters of it; a model is to read it."""
NO_CODE = "There is no code in the answer."
_NOTE = re.compile(r"\b(TODO|FIXME)\b")
_EMPTY_LINE = re.compile(r"\s*(pass|\.\.\.|raise\s+NotImplementedError\b.*?)\s*(?:#.*)?")
_EXEMPT = frozenset({"abstractmethod", "abstractproperty", "overload"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Completeness:
    """Scores 1 where no placeholder stands in a program, else 0, and tells where they stand. Without code: 0."""

    reads_text = False

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        return [_one(as_files(candidate.answer)) for candidate in candidates]


def _one(files: Mapping[str, str]) -> Score:
    python = {name: text for name, text in files.items() if name.endswith(".py") and text.strip()}
    if not python:
        return Score(0.0, feedback=NO_CODE)
    found = [
        f"{name}, line {line}: {what}" for name, text in python.items() for line, what in placeholders(text)
    ]
    feedback = "\n".join(["Placeholders are left:", *found[:SHOWN]]) if found else ""
    return Score(float(not found), feedback=feedback[:FEEDBACK])


def placeholders(source: str) -> list[tuple[int, str]]:
    """Return the placeholders in a Python file, as line (from 1) and what stands there, in order."""
    tree = python_tree(source)
    if tree is None:
        return sorted({*_empty_lines(source), *_notes_of_lines(source)})
    return sorted({*_empty_bodies(tree), *_notes(source)})


# --- code that Python can read


def _empty_bodies(tree: ast.Module) -> Iterator[tuple[int, str]]:
    exempt = _protocol_functions(tree)
    for node in ast.walk(tree):
        if isinstance(node, Function) and (node in exempt or _is_exempt(node)):
            continue
        for body in _bodies(node):
            what = _emptiness(body, function=isinstance(node, Function))
            if what:
                yield body[-1].lineno, what


def _protocol_functions(tree: ast.Module) -> set[ast.AST]:
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {
        inner
        for node in classes
        if any("Protocol" in ast.dump(base) for base in node.bases)
        for inner in node.body
        if isinstance(inner, Function)
    }


def _is_exempt(function: Function) -> bool:
    names = (getattr(one, "attr", getattr(one, "id", "")) for one in function.decorator_list)
    return any(name in _EXEMPT for name in names)


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.ExceptHandler | ast.match_case):
        return
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list) and body:
            yield body


def _emptiness(body: list[ast.stmt], *, function: bool) -> str:
    """Return what an empty body consists of; empty where it does something."""
    rest = body[1:] if function and len(body) > 1 and _is_constant(body[0], str) else body
    if all(isinstance(statement, ast.Pass) for statement in rest):
        return "pass"
    if all(_is_constant(statement, type(...)) for statement in rest):
        return "..."
    if function and len(rest) == 1 and isinstance(rest[0], ast.Raise) and _not_implemented(rest[0].exc):
        return "raise NotImplementedError"
    return ""


def _is_constant(statement: ast.stmt, kind: type) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, kind)
    )


def _not_implemented(raised: ast.expr | None) -> bool:
    name = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(name, ast.Name) and name.id == "NotImplementedError"


def _notes(source: str) -> Iterator[tuple[int, str]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and (match := _NOTE.search(token.string)):
                yield token.start[0], match[1]
    except (tokenize.TokenError, SyntaxError):
        return


# --- code that it cannot


def _empty_lines(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.splitlines(), start=1):
        if match := _EMPTY_LINE.fullmatch(line):
            yield number, "raise NotImplementedError" if match[1].startswith("raise") else match[1]


def _notes_of_lines(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.splitlines(), start=1):
        if match := _NOTE.search(line.partition("#")[2]):
            yield number, match[1]

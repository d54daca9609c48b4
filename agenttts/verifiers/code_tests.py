"""Reading the tests of a problem: assertions (MBPP), inputs with outputs (LiveCodeBench, APPS), `check` (HumanEval).

Inputs with outputs are either read and printed, or, where `fn_name` stands beside them, arguments and result of a
method of `class Solution` (LiveCodeBench's "functional" tests).

Values in, values out. What cannot be read is an error of the data, told with problem and field, and never a wrong
answer. Also: making a whole program of a HumanEval prompt and a completion.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from agenttts.pipeline.base import Problem
from agenttts.verifiers.equality import field_value

__all__ = ["Assertions", "Cases", "Suite", "TestsError", "completed", "read_tests", "same_output"]

Suite = Literal["auto", "asserts", "stdin", "humaneval"]


class TestsError(ValueError):
    """The tests of a problem cannot be read."""

    __test__ = False  # no test class, whatever pytest takes its name for


@dataclass(frozen=True)
class Assertions:
    """Tests that call functions of the program."""

    tests: tuple[str, ...]
    setup: str = ""
    """Runs before the tests, after the program."""
    prompt: str = ""
    """What a completion continues; empty where the program stands for itself."""
    entry_point: str = ""
    """Name of the function that the prompt begins."""
    before: str = ""
    """Runs before the program, in its module."""
    shown: tuple[str, ...] = ()
    """What feedback shows of each test; empty: the tests themselves."""


@dataclass(frozen=True)
class Cases:
    """Tests that run the whole program: what it reads and what it should print."""

    cases: tuple[tuple[str, str], ...]


def read_tests(problem: Problem, path: str, suite: Suite, entry_point: str) -> Assertions | Cases:
    """Return the tests of a problem.

    Args:
        problem: Holds them.
        path: Dotted path of the field.
        suite: Their form; `auto` tells by their looks.
        entry_point: Dotted path of the field with the function's name, for `humaneval`.

    Raises:
        TestsError: There are none, or they have another form.
    """
    try:
        raw = _from_text(field_value(problem.fields, path))
        found = _form(raw) if suite == "auto" else suite
        if found == "stdin":
            calls = isinstance(raw, Mapping) and bool(raw.get("fn_name"))
            return _calls(raw) if calls else Cases(_cases(raw))
        beside = _Beside(problem, path)
        if found == "humaneval":
            return _check(raw, beside, entry_point)
        return Assertions(_assertions(raw), beside.setup())
    except KeyError:
        raise TestsError(f"problem {problem.id}: there is no field `{path}` with its tests") from None
    except ValueError as error:
        raise TestsError(f"problem {problem.id}: field `{path}`: {error}") from error


def _from_text(raw: Any) -> Any:
    """Read JSON, in which form data sets hold lists of cases."""
    if isinstance(raw, str) and raw.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(raw)
        except ValueError:
            return raw
    return raw


def _form(raw: Any) -> Suite:
    if isinstance(raw, Mapping) or (_is_list(raw) and raw and isinstance(raw[0], Mapping)):
        return "stdin"
    if isinstance(raw, str) and re.search(r"^\s*def\s+check\s*\(", raw, re.MULTILINE):
        return "humaneval"
    if isinstance(raw, str) or (_is_list(raw) and raw):
        return "asserts"
    raise ValueError(
        f"expected a list of assertions, a list of {{input, output}} or a text with `def check(...)`, got {_kind(raw)}"
    )


def _is_list(raw: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(raw, Sequence) and not isinstance(raw, str | bytes)


def _kind(raw: Any) -> str:
    return "an empty list" if _is_list(raw) and not raw else f"{type(raw).__name__} {str(raw)[:60]!r}"


@dataclass(frozen=True)
class _Beside:
    """Fields that stand beside the tests."""

    problem: Problem
    path: str

    def get(self, name: str) -> Any:
        head, dot, _ = self.path.rpartition(".")
        try:
            return field_value(self.problem.fields, f"{head}{dot}{name}")
        except KeyError:
            return None

    def setup(self) -> str:
        """Return MBPP's `test_imports` and `test_setup_code`."""
        imports = self.get("test_imports") or ()
        lines = [imports] if isinstance(imports, str) else [str(line) for line in imports]
        setup = "\n".join([*lines, str(self.get("test_setup_code") or "")]).strip()
        _parsed(setup, "test_setup_code beside it")
        return setup


def _parsed(source: str, what: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is not valid Python: {error}") from error


def _assertions(raw: Any) -> tuple[str, ...]:
    tests = (raw,) if isinstance(raw, str) else raw
    if not _is_list(tests) or not tests or not all(isinstance(test, str) and test.strip() for test in tests):
        raise ValueError(f"expected assertions as a list of texts, got {_kind(raw)}")
    for index, test in enumerate(tests):
        if not _parsed(test, f"test {index + 1}").body:
            raise ValueError(f"test {index + 1} tests nothing")
    return tuple(tests)


def _check(raw: Any, beside: _Beside, entry_point: str) -> Assertions:
    if not isinstance(raw, str):
        raise ValueError(f"expected a text with `def check(candidate)`, got {_kind(raw)}")
    defined = [node.name for node in _parsed(raw, "it").body if isinstance(node, ast.FunctionDef)]
    if "check" not in defined:
        raise ValueError("it defines no `check(candidate)`")
    try:
        name = field_value(beside.problem.fields, entry_point)
    except KeyError:
        raise ValueError(
            f"`check` needs the function's name, and there is no field `{entry_point}`"
        ) from None
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"field `{entry_point}` should name a function, got {_kind(name)}")
    _parsed(name, f"field `{entry_point}`")
    return Assertions((f"{raw}\n\ncheck({name})\n",), beside.setup(), str(beside.get("prompt") or ""), name)


CALLS = """
import json

def given(number):
    return [json.loads(line) for line in GIVEN[number].split("\\n")]

def told(value):
    return list(value) if isinstance(value, tuple) else value

def wanted(number):
    return json.loads(WANTED[number])
"""
"""Reads inputs and outputs of calls; a tuple counts as a list, as LiveCodeBench has it."""
MODULES = (
    *("bisect", "collections", "copy", "datetime", "functools", "heapq", "io", "itertools", "json", "math"),
    *("operator", "random", "re", "statistics", "string", "sys", "typing", "builtins"),
)
"""What a solution may use without importing it, as on the site that its problem is from; LiveCodeBench's list."""
BEFORE = "\n".join(
    [
        *(f"from {name} import *" for name in MODULES),
        *(f"import {name}" for name in MODULES),
        "sys.setrecursionlimit(50_000)",
    ]
)


def _calls(raw: Mapping[str, Any]) -> Assertions:
    """Return tests that call a method of `class Solution`, arguments and result as JSON, an argument a line."""
    name = raw["fn_name"]
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"`fn_name` should name a method, got {_kind(name)}")
    pairs = _pairs(raw)
    for index, pair in enumerate(pairs):
        _check_json(pair, index)
    inputs, outputs = ([*column] for column in zip(*pairs, strict=True))
    setup = f"GIVEN = {inputs!r}\nWANTED = {outputs!r}\n{CALLS}"
    tests = (f"assert told(Solution().{name}(*given({n}))) == wanted({n})" for n in range(len(pairs)))
    return Assertions(tuple(tests), setup, before=BEFORE, shown=tuple(inputs))


def _check_json(pair: tuple[Any, Any], index: int) -> None:
    try:
        for text in (*pair[0].split("\n"), pair[1]):
            json.loads(text)
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise ValueError(
            f"case {index + 1} of a call should have a JSON value a line as input and one as output"
        ) from None


def _pairs(raw: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    inputs, outputs = raw.get("inputs"), raw.get("outputs")
    if not _is_list(inputs) or not _is_list(outputs) or not inputs or len(inputs) != len(outputs):
        raise ValueError("expected `inputs` and `outputs`, lists of the same length")
    return list(zip(inputs, outputs, strict=True))


def _cases(raw: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, Mapping):
        return tuple((_text(given), _text(wanted)) for given, wanted in _pairs(raw))
    if not _is_list(raw) or not raw:
        raise ValueError(f"expected a list of {{input, output}}, got {_kind(raw)}")
    return tuple(_case(case, index) for index, case in enumerate(raw))


def _case(case: Any, index: int) -> tuple[str, str]:
    if not isinstance(case, Mapping) or not {"input", "output"} <= set(case):
        raise ValueError(f"case {index + 1} should have `input` and `output`, got {_kind(case)}")
    if case.get("testtype", "stdin") != "stdin":
        raise ValueError(
            f"case {index + 1} is {case['testtype']!r}: tests of calls are given as {{fn_name, inputs, outputs}}"
        )
    return _text(case["input"]), _text(case["output"])


def _text(value: Any) -> str:
    """Return text; lists are lines, as in parts of APPS."""
    if isinstance(value, str):
        return value
    if _is_list(value):
        return "\n".join(map(_text, value))
    if value is None or isinstance(value, Mapping):
        raise ValueError(f"inputs and outputs should be text, got {_kind(value)}")
    return str(value)


def same_output(got: str, expected: str) -> bool:
    """Tell whether the same was printed, line by line, white space at the ends of lines and of the text apart."""
    return _lines(got) == _lines(expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def completed(answer: str, prompt: str, entry_point: str) -> str:
    """Return the whole program of an answer to a prompt that begins a function.

    An answer that defines the function gets what stands above it in the prompt, which are imports and other functions;
    any other answer is the function's body and is put behind the prompt, indented where it lost that.
    """
    if not prompt:
        return answer
    begun = re.match(r"\w*", entry_point.strip())
    name = re.escape(begun.group() if begun else "")
    definition = re.compile(rf"^((async\s+)?def|class)\s+{name}\b|^{name}\s*=[^=]", re.MULTILINE)
    if definition.search(answer):
        begin = definition.search(prompt)
        above = prompt[: begin.start()] if begin else ""
        return f"{above}\n{answer}" if _compiles(above) else answer
    return next((whole for body in _bodies(answer) if _compiles(whole := prompt + body)), prompt + answer)


def _bodies(answer: str) -> tuple[str, ...]:
    """Return what may have been meant by a body: what reads a reply may have taken its indentation away."""
    answer = answer.lstrip("\n")
    if answer[:1] in {" ", "\t"}:
        return (answer,)
    return (textwrap.indent(answer, "    "), f"    {answer}", answer)


def _compiles(source: str) -> bool:
    try:
        _parsed(source, "it")
    except ValueError:
        return False
    return True

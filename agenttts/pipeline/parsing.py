"""From the text of a completion to an answer: one parser for each rule of a task's `parse` block.

A completion that does not hold what the rule looks for gives the answer `None` and a note; it is billed all the same.
Patterns come from task files and meet text that a model wrote, so every match runs under a time limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import regex

from agenttts.pipeline.code_files import FENCE, code_files
from agenttts.pipeline.labelled import short_answer
from agenttts.pipeline.numbered import numbers
from agenttts.task.schema import ParseBlock
from agenttts.verifiers.equality import format_number, step_into

__all__ = ["Parsed", "Parser", "json_objects", "make_parser"]

MATCH_TIMEOUT_S = 1.0
MOST_JSON_STARTS = 200
"""Places at which a JSON value is looked for; a text of nothing but brackets would otherwise take quadratic time."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer, or why there is none."""

    answer: Any
    note: str = ""


@dataclass(frozen=True)
class Parser:
    """Turns completions into answers by one rule."""

    rule: str
    find: Callable[[str], Any]
    in_thread: bool = False
    """Whether the rule runs code of the user, which may take its time."""

    def parse(self, text: str) -> Parsed:
        """Return the answer in a completion; `None` where there is none. Never raises for what a text holds."""
        try:
            answer = self.find(text)
        except TimeoutError:
            return Parsed(None, f"rule {self.rule} took longer than {MATCH_TIMEOUT_S:g} s")
        except Exception as error:
            if not self.in_thread:
                raise
            return Parsed(None, f"the parse function raised {type(error).__name__}: {error}")
        return Parsed(answer, "" if answer is not None else f"rule {self.rule} found no answer")


def rule_text(block: ParseBlock) -> str:
    """Return a parse rule with what it looks for, e.g. `regex 'Answer: (.*)'`."""
    detail = {
        "regex": block.pattern,
        "regex_all": block.pattern,
        "json": block.path,
        "numbers": block.label,
        "short_answer": block.label,
        "function": block.function,
    }
    found = detail.get(block.rule)
    return block.rule if found is None else f"{block.rule} {found!r}"


def make_parser(block: ParseBlock, function: Callable[[str], Any] | None = None) -> Parser:
    """Return the parser of a block.

    Args:
        block: The rule and its settings.
        function: What `block.function` names, already looked up; for rule `function` only.
    """
    if block.rule == "function":
        if function is None:
            raise ValueError("rule function needs the function itself")
        return Parser("function", function, in_thread=True)
    rules: dict[str, Callable[[str], Any]] = {
        "text": _text,
        "regex": _regex(block),
        "regex_all": _regex_all(block),
        "json": lambda text: _json(text, block.path),
        "last_number": _last_number,
        "numbers": lambda text: numbers(text, block.label),
        "short_answer": lambda text: short_answer(text, block.label),
        "choice": _choice(block),
        "boxed": lambda text: _pick(_boxed(text), block.which),
        "lines": _lines,
        "files": code_files,
        "code_block": lambda text: _pick(_code_blocks(text, block.language), block.which),
    }
    return Parser(block.rule, rules[block.rule])


def _pick(found: Sequence[str], which: str) -> str | None:
    if not found:
        return None
    return found[0 if which == "first" else -1]


def _text(text: str) -> str | None:
    return text.strip() or None


# --- patterns


def _matches(pattern: regex.Pattern[str], text: str) -> Iterator[str]:
    group = 1 if pattern.groups else 0
    for match in pattern.finditer(text, timeout=MATCH_TIMEOUT_S):
        if match[group] is not None:
            yield match[group].strip()


def _regex(block: ParseBlock) -> Callable[[str], str | None]:
    pattern = regex.compile(block.pattern or "")
    if block.which == "first":
        return lambda text: next(_matches(pattern, text), None)
    return lambda text: _pick(list(_matches(pattern, text)), "last")


def _regex_all(block: ParseBlock) -> Callable[[str], list[str] | None]:
    pattern = regex.compile(block.pattern or "")
    return lambda text: list(_matches(pattern, text)) or None


# --- JSON

_OPENING = re.compile(r"[{\[]")
_FENCED_JSON = re.compile(r"```json[^\S\n]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _json(text: str, path: str | None) -> Any:
    """Return the first JSON value (with a path: the first that has it); values in ```json fences come first."""
    for value in _json_values(text):
        try:
            for part in path.split(".") if path else ():
                value = step_into(value, part)
        except KeyError:
            continue
        return value
    return None


def json_objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, outermost only, in order."""
    return [value for value in _decoded(text) if isinstance(value, dict)]


def _json_values(text: str) -> Iterator[Any]:
    for block in _FENCED_JSON.findall(text):
        yield from _decoded(block.strip())
    yield from _lone_value(text.strip())
    yield from _decoded(text)


def _lone_value(text: str) -> list[Any]:
    """Return the string, number or constant that is the whole text; inside a text such values are not JSON."""
    if text[:1] in {"{", "["}:
        return []
    try:
        return [_DECODER.decode(text)]
    except (ValueError, RecursionError):
        return []


def _decoded(text: str) -> Iterator[Any]:
    """Yield the objects and lists in a text, outermost only, in order."""
    position = 0
    for _ in range(MOST_JSON_STARTS):
        match = _OPENING.search(text, position)
        if match is None:
            return
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.end()
        else:
            yield value


# --- numbers

_NUMBER = re.compile(
    r"""(?<![A-Za-z_0-9])(?<!\d\.)
        (?:(?<![A-Za-z0-9)\]])[-−+])?            # a sign, unless it subtracts: 5-3 ends in 3
        [$€£]?
        (?:(?<!/)\d+/[1-9]\d*(?![\d/]|\.\d)        # a fraction, but no date
        |(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![.\w])\.\d+)(?:[eE][+-]?\d{1,3}(?![A-Za-z0-9]))?)""",
    re.VERBOSE,
)


def _last_number(text: str) -> str | None:
    """Return the last number as text in its plain form; `3/4` is one number, the 2 of `x2` is none."""
    found = _NUMBER.findall(text)
    return format_number(found[-1]) if found else None


# --- multiple choice


def _choice(block: ParseBlock) -> Callable[[str], str | None]:
    """Return a finder of labels that believes the clearest form.

    That is a declared answer, then a bracketed label, then a label at the beginning of a line, and last a label
    standing by itself.
    """
    labels = {label.casefold(): label for label in block.choices or ()}
    if not labels:
        return lambda text: None
    patterns = [regex.compile(form) for form in _choice_forms(sorted(labels.values(), key=len, reverse=True))]

    def find(text: str) -> str | None:
        for pattern in patterns:
            label = _pick(list(_matches(pattern, text)), block.which)
            if label is not None:
                return labels[label.casefold()]
        return None

    return find


def _choice_forms(labels: Sequence[str]) -> list[str]:
    one = f"(?i:{'|'.join(map(regex.escape, labels))})"
    declared, alone = one, rf"(?<!\w)({one})(?!\w)"
    if all(len(label) == 1 for label in labels):
        capitals = "|".join(map(regex.escape, labels))
        # "a" is an article and "A" and "I" begin sentences, so what follows such a letter must not be a word.
        declared = rf"(?:{capitals}|{one}(?!\s+[a-z]))"
        alone = rf"(?<![\w'’])((?:{capitals})(?<![AI])|(?:{capitals})(?!\s+(?!is\b)[a-z]))(?!\w)(?!['’]\w)"
    return [
        rf"(?i:answer|choice|option)(?i:\s+is)?[\s:=*_\"'`]*[(\[{{]?\s*({declared})(?!\w)(?!['’]\w)",
        rf"\\boxed\{{\s*(?:\\text\{{)?\s*({one})\s*\}}",
        rf"[(\[]\s*({one})\s*[)\]]",
        rf"(?m)^[\s*_>#-]*({one})\s*(?:[.):]|[*_]*\s*$)",
        alone,
    ]


# --- structure

_BOXED = re.compile(r"\\f?boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BULLET = re.compile(r"^(?:[-*+•‣]|\(?\d+[.)]|\(?[a-z][)])\s+")


def _boxed(text: str) -> list[str]:
    r"""Return the contents of every `\boxed{...}` whose braces are balanced, in order, outermost only."""
    found, position = [], 0
    while (match := _BOXED.search(text, position)) is not None:
        end = _closing_brace(text, match.end())
        position = match.end() if end is None else end + 1
        content = "" if end is None else text[match.end() : end].strip()
        if content:
            found.append(content)
    return found


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _code_blocks(text: str, language: str | None) -> list[str]:
    """Return the fenced blocks; one that is not closed reaches to the end of the text."""
    wanted = None if language is None else language.casefold()
    return [
        code.rstrip()
        for name, _, code in FENCE.findall(text)
        if wanted in (None, name.casefold()) and code.strip()
    ]


def _lines(text: str) -> list[str] | None:
    """Return the lines that are not blank, without bullets and numbers."""
    lines = (_BULLET.sub("", line.strip()).strip() for line in text.splitlines())
    return [line for line in lines if line] or None

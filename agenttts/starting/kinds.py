"""What kind of answer gold shows, and with it how completions are parsed, scored and selected. Pure.

A kind is tried against every gold answer: one that does not fit rules it out, so that nothing is left unscored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agenttts.errors import InputError
from agenttts.starting.columns import Columns
from agenttts.starting.options import Options
from agenttts.starting.sheet import Row, is_empty, values
from agenttts.task.schema import ParseBlock
from agenttts.verifiers.equality import parse_number

__all__ = ["KINDS", "Kind", "guess_kind"]

KINDS = ("number", "choice", "text", "list", "json", "math", "long", "code")
"""What `--answer` may name."""
MOST_LABELS = 10
LONGEST_LABEL = 30
ROWS_PER_LABEL = 3
"""Fewer rows than this for each distinct answer are no labels: they are answers that happen to be short."""
LONGEST_SHORT = 80
"""Characters, on average, of answers that are compared whole."""
SHOWN = 40


@dataclass(frozen=True)
class Kind:
    """How the answers of a task are asked for, read, scored and chosen."""

    name: str
    why: str
    parse: Mapping[str, Any] | str
    verifier: Mapping[str, Any] | str
    select: tuple[Mapping[str, Any] | str, ...]
    ask: str
    """What the prompt says of the form of the answer."""
    max_tokens: int = 1024
    decode_tokens: int = 300
    """Expected length of a completion: a guess that the first draws replace."""
    most_samples: int = 16
    options: Options | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    """Block `fields` of the data: what the gold answer is made of."""
    gold: str | None = None
    """Dotted path of the gold answer; `None`: scored by tests."""
    f1: bool = False
    """Whether the F1 of words is told beside the score."""


VOTES: tuple[Mapping[str, Any] | str, ...] = (
    "majority",
    {"kind": "adaptive_vote", "confidence": [0.8, 0.95]},
)
WRITTEN: tuple[Mapping[str, Any] | str, ...] = ("fusion", "llm_select")


def guess_kind(rows: Sequence[Row], columns: Columns, wanted: str | None = None) -> Kind:
    """Return the kind of the answers.

    Args:
        rows: All rows; those without an answer do not count.
        columns: Which fields are what.
        wanted: One of `KINDS`; `None`: what fits.

    Raises:
        InputError: The gold answers are not of the kind that is wanted.
    """
    if columns.tests is not None or wanted == "code":
        return _code(columns)
    assert columns.gold is not None  # noqa: S101 - guess_columns sees to it
    path = columns.gold.field
    golds = [value for value in values(rows, path) if not is_empty(value)]
    made, golds = _extracted(rows, path, golds)
    kind = _wanted(golds, columns, wanted) if wanted is not None else _fitting(golds, columns)
    gold = next(iter(made), path)
    note = f"; gold is read from it by the rule {made[gold]['parse']['rule']}" if made else ""
    return replace(kind, made=made, gold=gold, why=kind.why + note)


def _extracted(rows: Sequence[Row], path: str, golds: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return the field to make where gold stands within a text, and the gold answers."""
    from agenttts.pipeline.parsing import make_parser

    if not golds or not all(isinstance(value, str) for value in golds):
        return {}, golds
    for rule, sign in _HIDDEN:
        if not all(sign in value for value in golds):
            continue
        parsed = [make_parser(ParseBlock.model_validate(rule)).parse(value).answer for value in golds]
        if all(not is_empty(one) and not isinstance(one, bool | int | float) for one in parsed):
            return {_free_name(rows): {"from": path, "parse": dict(rule)}}, parsed
    return {}, golds


_HIDDEN: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"rule": "regex", "pattern": r"####\s*(.+)"}, "####"),
    ({"rule": "boxed"}, "boxed"),
    ({"rule": "json"}, "{"),
    ({"rule": "json"}, "["),
)
"""Rules that find gold within a text, and a sign without which they are not tried."""


def _free_name(rows: Sequence[Row]) -> str:
    taken = {name for row in rows for name in row}
    name = "gold"
    while name in taken:
        name += "_answer"
    return name


def _fitting(golds: Sequence[Any], columns: Columns) -> Kind:
    tries: tuple[Callable[[Sequence[Any], Columns], Kind | None], ...] = (
        _choice_of_options,
        _number,
        _labels,
        _maths,
        _lists,
        _json,
    )
    for attempt in tries:
        kind = attempt(golds, columns)
        if kind is not None:
            return kind
    return _texts(golds)


def _wanted(golds: Sequence[Any], columns: Columns, wanted: str) -> Kind:
    if wanted in _ALWAYS:
        return replace(_ALWAYS[wanted](), why="you named it")
    attempts: Mapping[str, Callable[[], Kind | None]] = {
        "number": lambda: _number(golds, columns),
        "choice": lambda: _choice_of_options(golds, columns) or _labels(golds, columns, strict=False),
        "list": lambda: _set_of(golds),
    }
    if wanted not in attempts:
        raise InputError(f"--answer {wanted}: expected one of {', '.join(KINDS)}")
    kind = attempts[wanted]()
    if kind is None:
        raise InputError(f"--answer {wanted}: {_misfit(golds, wanted)}\nLeave --answer out to see what fits.")
    return replace(kind, why="you named it")


def _misfit(golds: Sequence[Any], wanted: str) -> str:
    bad = next((value for value in golds if wanted != "number" or parse_number(value) is None), golds[0])
    return f"the gold answers are not all of that kind, e.g. {str(bad)[:SHOWN]!r}."


def _number(golds: Sequence[Any], _columns: Columns) -> Kind | None:
    if not all(parse_number(value) is not None for value in golds):
        return None
    return Kind(
        "number",
        "every gold answer is a number",
        parse="last_number",
        verifier="numeric",
        select=VOTES,
        ask="Think step by step. End with the number alone on the last line.",
    )


def _choice_of_options(golds: Sequence[Any], columns: Columns) -> Kind | None:
    options = columns.options
    if options is None:
        return None
    said = {str(value).strip().strip("()[].").casefold() for value in golds}
    for candidate in _readings(options):
        if said <= {label.casefold() for label in candidate.labels}:
            why = f"the answers to choose from stand in `{options.field}`, and gold names one of them"
            return _choice(why, candidate.labels, candidate)
    return None


def _readings(options: Options) -> list[Options]:
    return [options, options.lettered(), options.from_one()] if options.numbered else [options]


def _labels(golds: Sequence[Any], _columns: Columns, *, strict: bool = True) -> Kind | None:
    if not all(isinstance(value, str | bool | int) for value in golds):
        return None
    labels = _distinct(str(value).strip() for value in golds)
    short = all(0 < len(one) <= LONGEST_LABEL and "\n" not in one for one in labels)
    repeated = len(labels) > 1 and len(labels) * ROWS_PER_LABEL <= len(golds)
    # A few bare small letters may be anything, e.g. names of variables.
    of_choices = r"\(?[A-Ja-j]\)?\.?" if repeated or not strict else r"[A-J]\.?|\(?[A-Ja-j]\)\.?|[a-j]\."
    letters = all(re.fullmatch(of_choices, one) for one in labels)
    if not short or (strict and len(labels) > MOST_LABELS) or (strict and not letters and not repeated):
        return None
    if letters:  # also those that no gold answer happens to be
        named = sorted({one.strip("().").upper() for one in labels} | set("ABCD"))
        why = "every gold answer is the letter of a choice; no field lists the choices, so the question must"
        return _choice(why, tuple(named), None)
    return _choice(f"gold is one of {len(labels)} labels", tuple(labels), None)


def _distinct(texts: Any) -> list[str]:
    """Return texts that differ in more than case, in alphabetical order, so that no row order shows."""
    return [found for _, found in sorted({text.casefold(): text for text in texts}.items())]


def _choice(why: str, labels: Sequence[str], options: Options | None) -> Kind:
    named = ", ".join(labels)
    return Kind(
        "choice",
        why,
        parse={"rule": "choice", "choices": list(labels)},
        verifier="choice",
        select=VOTES,
        ask=f"Think step by step. End with a line `Answer: X`, where X is one of: {named}",
        options=options,
    )


_LATEX = re.compile(r"\\[A-Za-z]+|\$|\^|_\{")


def _maths(golds: Sequence[Any], _columns: Columns) -> Kind | None:
    texts = [value for value in golds if isinstance(value, str)]
    if len(texts) < len(golds) or not any(_LATEX.search(text) for text in texts):
        return None
    short = sum(map(len, texts)) / len(texts) <= LONGEST_SHORT
    mathematical = sum(bool(_LATEX.search(text)) or parse_number(text) is not None for text in texts)
    return _math() if short and mathematical * 2 >= len(texts) else None


def _math() -> Kind:
    return Kind(
        "math",
        "gold answers are formulas in LaTeX",
        parse="boxed",
        verifier="math",
        select=VOTES,
        ask="Think step by step. Put the final answer in \\boxed{}.",
        max_tokens=2048,
        decode_tokens=500,
    )


_ANY_OF = ("answers", "aliases", "goldenanswers", "golds", "references", "targets", "text")


def _lists(golds: Sequence[Any], columns: Columns) -> Kind | None:
    if not all(isinstance(value, list) and all(map(_is_item, value)) for value in golds):
        return None
    assert columns.gold is not None  # noqa: S101 - only kinds with gold come here
    name = re.sub(r"[^a-z]", "", columns.gold.field.rpartition(".")[2].casefold())
    alone = all(len(value) == 1 for value in golds)
    if name in _ANY_OF or alone:
        flat = [item for value in golds for item in value]
        kind = _number(flat, columns) or _texts(flat)
        return replace(kind, why=f"gold lists answers of which any counts; {kind.why}")
    return _set_of(golds)


def _is_item(value: Any) -> bool:
    return isinstance(value, str | int | float) and not is_empty(value)


def _set_of(golds: Sequence[Any]) -> Kind | None:
    if not all(isinstance(value, list) and all(map(_is_item, value)) for value in golds):
        return None
    return Kind(
        "list",
        "every gold answer is a list",
        parse="lines",
        verifier="set_f1",
        select=("list_vote",),
        ask="Write the items of the answer and nothing else, one on each line.",
    )


def _json(golds: Sequence[Any], _columns: Columns) -> Kind | None:
    return _structure() if all(isinstance(value, dict | list) for value in golds) else None


def _structure() -> Kind:
    return Kind(
        "json",
        "every gold answer is a JSON value",
        parse="json",
        verifier="exact",
        select=("majority",),
        ask="Write the answer as JSON and nothing else.",
    )


def _texts(golds: Sequence[Any]) -> Kind:
    lengths = [len(_shown(value)) for value in golds]
    short = sum(lengths) / max(1, len(lengths)) <= LONGEST_SHORT
    return _short() if short else _long()


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _short() -> Kind:
    return Kind(
        "text",
        f"gold answers are short texts (at most {LONGEST_SHORT} characters on average)",
        parse="short_answer",
        verifier="exact",
        select=VOTES,
        ask="Think step by step. End with a line `Answer: ...` that holds the answer alone, as short as it can be.",
        f1=True,
    )


def _long() -> Kind:
    return Kind(
        "long",
        "gold answers are long texts",
        parse="text",
        verifier="rouge_l",
        select=WRITTEN,
        ask="Write the answer and nothing else.",
        most_samples=4,
    )


def _code(columns: Columns) -> Kind:
    if columns.tests is None:
        raise InputError("--answer code: no field holds tests.\nName it with --gold, e.g. --gold test_list.")
    public = columns.public_tests
    best = {"kind": "best_of_n", "verifier": {"kind": "code", "tests": public.field}} if public else None
    return Kind(
        "code",
        f"`{columns.tests.field}` holds tests of code",
        parse={"rule": "code_block", "language": "python"},
        verifier={"kind": "code", "tests": columns.tests.field},
        select=(best,) if best is not None else ("llm_select", "fusion"),
        ask="Write the whole program in Python, in one block that begins with ```python and ends with ```.",
        max_tokens=2048,
        decode_tokens=400,
        most_samples=8,
    )


_ALWAYS: Mapping[str, Callable[[], Kind]] = {"math": _math, "json": _structure, "text": _short, "long": _long}
"""Kinds that any gold answers can be taken for."""

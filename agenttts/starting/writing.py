"""The text of YAML and templates, safe for any field name: what is written is read back as it was. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["block", "comment", "flow", "printable", "reference", "scalar"]

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_CONSTANTS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
WIDTH = 110


def printable(text: str) -> str:
    """Return the text in one line, with codes for all signs that YAML does not allow as they are."""
    return "".join(sign if sign == " " or _allowed(sign) else _code(sign) for sign in text)


def _allowed(sign: str) -> bool:
    return sign.isprintable() and not sign.isspace() and sign != "\N{ZERO WIDTH NO-BREAK SPACE}"


def _code(sign: str) -> str:
    number = ord(sign)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def scalar(value: Any) -> str:
    """Return a value on one line: bare where that cannot be misread, else in quotes.

    >>> scalar("gold"), scalar("yes"), scalar(8), scalar(True), scalar(None)
    ('gold', '"yes"', '8', 'true', 'null')
    """
    if isinstance(value, float):
        short = f"{value:g}"  # 7.61e+09 is read back as it was; 7610000000.0 is hard to read
        return short if float(short) == value else repr(value)
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value.casefold() not in _CONSTANTS:
        return value
    if "\\" in value and printable(value) == value and "'" not in value:
        return f"'{value}'"  # a pattern: in single quotes a backslash stays one
    return '"' + "".join(_quoted(sign) for sign in value) + '"'


def _quoted(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign == " " or _allowed(sign) else _code(sign)


def flow(value: Any) -> str:
    """Return mappings and lists on one line, e.g. `{rule: choice, choices: [A, B]}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def comment(text: str, indent: int = 0) -> str:
    """Return the text as comment lines, folded."""
    start = " " * indent + "# "
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )


def block(text: str, indent: int) -> str:
    """Return a text of several lines as a literal block, which keeps it as it is."""
    lines = (" " * indent + line if line else "" for line in text.rstrip("\n").split("\n"))
    return "|-\n" + "\n".join(lines)


def reference(path: str, fields: Collection[str] = ()) -> str:
    """Return the template expression of a problem's field.

    Args:
        path: Dotted path.
        fields: Names of all fields; one that holds dots itself comes before a path.

    >>> reference("question"), reference("a b.c"), reference("a.b", ["a.b"])
    ('problem.question', 'problem["a b"]["c"]', 'problem["a.b"]')
    """
    parts = [path] if path in fields else path.split(".")
    if len(parts) == 1 and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", parts[0]):
        return f"problem.{parts[0]}"
    return "problem" + "".join(f"[{_index(part, i)}]" for i, part in enumerate(parts))


def _index(part: str, depth: int) -> str:
    """Return one step of a path: numbers count within lists, everything else is a name."""
    if depth and part.isascii() and part.isdigit():
        return part
    # Jinja reads the escapes of Python in its texts.
    signs = (
        sign if sign.isalnum() or sign in " -_.,:;?!()<>{}%#&+*/=@|~^$[]" else _code(sign) for sign in part
    )
    return '"' + "".join(signs) + '"'

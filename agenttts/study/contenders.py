"""Names of what a comparison compares: an allocator with its switches, e.g. `agenttts[no_insight1=true]`.

A name is made of the options of a study alone, so that its log tells it. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agenttts.errors import InputError

__all__ = ["contender_name", "folder_name", "read_contender", "read_switches", "split_names"]

FORM = re.compile(r"(?P<allocator>[^\[\]]+)(?:\[(?P<switches>[^\[\]]*)\])?")
BETWEEN = re.compile(r",(?![^\[\]]*\])")
"""A comma that lies in no brackets."""
EXAMPLE = "e.g. agenttts[no_insight1=true,no_insight2=true]"
MOST_CHARACTERS = 60
"""Of the name of a folder, what makes it unique not counted."""


def split_names(text: str) -> list[str]:
    """Return the names in a text with commas between them; commas in brackets belong to a name."""
    return [name.strip() for name in BETWEEN.split(text) if name.strip()]


def read_contender(text: str) -> tuple[str, dict[str, Any]]:
    """Return the allocator and the switches that a name stands for.

    Raises:
        InputError: The name is not of this form, or has a switch twice.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"allocator {text!r}: expected a name, or one with switches in brackets, {EXAMPLE}")
    pairs = [pair for pair in (match["switches"] or "").split(",") if pair.strip()]
    return match["allocator"].strip(), read_switches(pairs, f"allocator {text!r}", EXAMPLE)


def read_switches(pairs: Iterable[str], where: str, example: str) -> dict[str, Any]:
    """Read `name=value` pairs; values are true, false, numbers or words.

    Args:
        pairs: As a user wrote them.
        where: What an error begins with.
        example: What it ends with.

    Raises:
        InputError: Not a pair, or a name twice.
    """
    switches: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise InputError(f"{where}: {pair.strip()}: expected NAME=VALUE, {example}")
        if name in switches:
            raise InputError(f"{where}: {name} is given twice")
        try:
            switches[name] = json.loads(text)
        except ValueError:
            switches[name] = text
    return switches


def contender_name(allocator: str, switches: Mapping[str, Any]) -> str:
    """Return the one name of an allocator with its switches, whatever order they were given in."""
    if not switches:
        return allocator
    parts = (f"{name}={_value(value)}" for name, value in sorted(switches.items()))
    return f"{allocator}[{','.join(parts)}]"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def folder_name(name: str) -> str:
    """Return the name of the folder that keeps the studies of a contender."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if "[" not in name:
        return plain
    # Two names may become alike once the signs are gone.
    return f"{plain.strip('_')[:MOST_CHARACTERS]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

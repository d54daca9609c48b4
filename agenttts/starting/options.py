"""Answers to choose from that stand beside a question: how they are written, and how a prompt shows them. Pure."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.starting.sheet import Row
from agenttts.starting.writing import reference

__all__ = ["Options", "find_options"]

NAMES = ("choices", "options", "candidates", "alternatives", "endings")
MOST_OPTIONS = 26


@dataclass(frozen=True)
class Options:
    """Answers to choose from."""

    field: str
    template: str
    """Jinja: one line each, the label first."""
    labels: tuple[str, ...]
    """All labels that occur; numbers from 0 where the data have none of their own."""
    numbered: bool = False
    """The labels are places in a list, so that gold may be a number counted from 0 or from 1."""

    def lettered(self) -> Options:
        """Return the same with letters in place of numbers."""
        letters = string.ascii_uppercase[: len(self.labels)]
        template = (
            f"{{% for option in {reference(self.field)} %}}"
            f'{{{{ "{letters}"[loop.index0] }}}}. {{{{ option }}}}\n{{% endfor %}}'
        )
        return Options(self.field, template, tuple(letters))

    def from_one(self) -> Options:
        """Return the same with numbers that count from 1."""
        labels = tuple(str(i + 1) for i in range(len(self.labels)))
        return Options(self.field, self.template.replace("loop.index0", "loop.index"), labels, numbered=True)


def find_options(rows: Sequence[Row], fields: Sequence[str]) -> Options | None:
    """Return the answers to choose from that every row has; `None` where there are none."""
    for name in fields:
        if name.strip().casefold() in NAMES:
            found = [row.get(name) for row in rows]
            options = _lists(name, found) or _labelled(name, found) or _mappings(name, found)
            if options is not None:
                return options
    letters = [name for name in fields if len(name) == 1 and name in string.ascii_uppercase]
    if len(letters) > 1 and letters == list(string.ascii_uppercase[: len(letters)]):
        return _columns(rows, letters)
    return None


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _lists(name: str, found: Sequence[Any]) -> Options | None:
    if not all(isinstance(one, list) and one and all(map(_is_plain, one)) for one in found):
        return None
    most = max(map(len, found))
    if most > MOST_OPTIONS:
        return None
    template = (
        f"{{% for option in {reference(name)} %}}{{{{ loop.index0 }}}}. {{{{ option }}}}\n{{% endfor %}}"
    )
    return Options(name, template, tuple(map(str, range(most))), numbered=True)


def _labelled(name: str, found: Sequence[Any]) -> Options | None:
    """Read `{text: [...], label: [...]}`, as ARC has it."""
    if not all(isinstance(one, dict) and {"text", "label"} <= set(one) for one in found):
        return None
    if not all(isinstance(one[key], list) for one in found for key in ("text", "label")):
        return None
    if not all(len(one["text"]) == len(one["label"]) > 0 for one in found):
        return None
    labels = tuple(dict.fromkeys(str(label) for one in found for label in one["label"]))
    at = reference(name)
    template = (
        f'{{% for label in {at}["label"] %}}{{{{ label }}}}. {{{{ {at}["text"][loop.index0] }}}}\n'
        "{% endfor %}"
    )
    return Options(name, template, labels) if _usable(labels) else None


def _mappings(name: str, found: Sequence[Any]) -> Options | None:
    """Read `{A: ..., B: ...}`."""
    if not all(isinstance(one, dict) and one and all(map(_is_plain, one.values())) for one in found):
        return None
    labels = tuple(sorted({label for one in found for label in one}))
    template = (
        f"{{% for label, option in {reference(name)} | dictsort %}}"
        "{{ label }}. {{ option }}\n{% endfor %}"
    )
    return Options(name, template, labels) if _usable(labels) else None


def _columns(rows: Sequence[Row], letters: Sequence[str]) -> Options | None:
    if not all(_is_plain(row.get(letter)) for row in rows for letter in letters):
        return None
    template = "".join(f"{letter}. {{{{ {reference(letter)} }}}}\n" for letter in letters)
    return Options(", ".join(letters), template, tuple(letters))


def _usable(labels: Sequence[str]) -> bool:
    return len(labels) <= MOST_OPTIONS and all(label.strip() for label in labels)

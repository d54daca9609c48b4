"""YAML files with their line numbers: what stands in a file, and on which line a key stands.

Used for task files and card files. Read by the rules of YAML 1.2: `yes`, `no` and dates are text, `1e6` is a number.
What the keys mean is not known here; see `agenttts.task.wording` for mistakes against a schema.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agenttts.errors import Mistake, TaskFileError

__all__ = ["Document", "missing_file", "nearest", "read_document", "read_text", "shown"]

LARGEST_DOCUMENT = 100_000
"""Most YAML nodes, aliases written out: a few lines of nested aliases can stand for billions."""

Loc = Sequence[int | str]


@dataclass(frozen=True)
class Document:
    """One YAML file: its data and where each key stands."""

    file: str
    """Name in messages."""
    data: dict[str, Any]
    root: yaml.MappingNode

    def place(self, loc: Loc) -> tuple[tuple[int | str, ...], int]:
        """Return the key path as it stands in the file, and its line.

        Parts of `loc` that the file does not hold (tags of unions, the index of an entry that stands alone instead of
        in a list) are left out; a missing last key stays in the path and gets the line of its block.
        """
        node: yaml.Node = self.root
        line, path = 1, []
        for depth, part in enumerate(loc):
            found = _child(node, part)
            if found is not None:
                key, node = found
                line = key.start_mark.line + 1
                path.append(part)
            elif depth == len(loc) - 1 and isinstance(node, yaml.MappingNode) and _is_key(part):
                path.append(part)
        return tuple(path), line

    def node(self, loc: Loc) -> yaml.Node | None:
        """Return the node at a key path; `None` where the file has none."""
        node: yaml.Node = self.root
        for part in loc:
            found = _child(node, part)
            if found is None:
                return None
            node = found[1]
        return node

    def mistake(self, loc: Loc, message: str, hint: str = "") -> Mistake:
        """Return a mistake at a key path of this file."""
        path, line = self.place(loc)
        return Mistake(self.file, line, ".".join(map(str, path)), message, hint)


def _is_key(part: int | str) -> bool:
    return isinstance(part, str) and re.fullmatch(r"[a-z_0-9]+", part) is not None


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of key and value; for entries of lists both are the value."""
    if isinstance(node, yaml.MappingNode):
        pairs = [
            (key, value)
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode) and key.value == str(part)
        ]
        return pairs[-1] if pairs else None
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    """Filled below: the inherited ones follow YAML 1.1."""


_FLOAT = r"""[-+]?(?:[0-9][0-9_]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*\.?[eE][-+]?[0-9]+|[-+]?[0-9]+\.|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"""
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$", re.VERBOSE), list(_first)
    )


def shown(path: Path) -> str:
    """Return a path as messages show it: relative to the working folder where it lies in it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def nearest(name: object, options: Iterable[str], *, listed: str = "Known") -> str:
    """Return a hint that names the option most like `name`, or else (unless `listed` is empty) the options."""
    names = list(dict.fromkeys(options))
    lowered = {option.casefold(): option for option in reversed(names)}
    close = difflib.get_close_matches(str(name).casefold(), lowered, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{lowered[close[0]]}`?"
    if not names or not listed:
        return ""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{listed}: {', '.join(names[:20])}{more}."


def missing_file(path: Path) -> str:
    """Return a hint for a file that is not there: how to make it, or the nearest name in its folder."""
    if (
        path.parent / "import.yaml"
    ).is_file():  # the task runs on recorded draws that its folder does not hold
        in_catalogue = path.parent.parent.name == "tasks"
        name = path.parent.name if in_catalogue else shown(path.parent)
        return (
            "Its draws are recorded ones, which are not part of agenttts. Get their tables, then: "
            f"agenttts record import TABLE... --task {name} --out DIR, and use DIR as the task."
        )
    if how := _preparing(path):
        return how
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    return nearest(path.name, names, listed=f"Files in {shown(path.parent)}")


def _preparing(path: Path) -> str:
    """Return how to make the data of a task that has a recipe for them; empty for all other files."""
    from agenttts.catalogue import catalogue_folder  # imports this module
    from agenttts.preparation.recipes import RECIPES, SEARCH_FILE, TEST_FILE  # only where a file is missing

    folder = path.parent
    if folder.name not in RECIPES or path.name not in {SEARCH_FILE, TEST_FILE}:
        return ""
    # Made in tasks/ of the working folder, the data come before those of the catalogue; elsewhere the folder is named.
    usual = [(root / "tasks" / folder.name).resolve() for root in (Path.cwd(), catalogue_folder())]
    place = "" if folder.resolve() in usual else f" --out {folder}"
    sample = " To try the task first: --data sample." if (folder / "sample").is_dir() else ""
    return f"Run `agenttts data prepare {folder.name}{place}`.{sample}"


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        TaskFileError: It is not there, cannot be read, or is not text in UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _refused(path, None, "no such file", missing_file(path)) from error
    except OSError as error:
        raise _refused(path, None, f"cannot be read: {error.strerror or error}") from error
    start = data.find(b"\0")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start if start < 0 else min(start, error.start)
        text = ""
    if start >= 0:
        line = data.count(b"\n", 0, start) + 1
        raise _refused(path, line, f"not a text file in UTF-8 (byte 0x{data[start]:02x} at position {start})")
    return text


def read_document(path: Path) -> Document:
    """Return a YAML file that holds a mapping.

    Raises:
        TaskFileError: The file cannot be read, is not YAML or holds something else than a mapping; keys that occur
            twice are all named.
    """
    text = read_text(path)
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refused(path, line, f"not valid YAML: character {error.character!r} is not allowed") from error
    try:
        root = loader.get_single_node()
        if root is None:
            raise _refused(
                path, None, "the file is empty", "Copy an example and change it, e.g. tasks/tiny/task.yaml."
            )
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
            raise _refused(
                path, root.start_mark.line + 1, f"expected keys with values at the top, got {kind}"
            )
        _check_size(path, root)
        twice = list(_duplicate_keys(shown(path), root))
        if twice:
            raise TaskFileError(twice)
        return Document(shown(path), loader.construct_document(root), root)
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from error
    except (RecursionError, ValueError) as error:
        raise _refused(path, None, f"not usable YAML: {error}") from error
    finally:
        loader.dispose()


def _refused(path: Path, line: int | None, message: str, hint: str = "") -> TaskFileError:
    return TaskFileError([Mistake(shown(path), line, "", message, hint)])


def _syntax_error(path: Path, error: yaml.YAMLError) -> TaskFileError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    opened = getattr(error, "context_mark", None)
    if context and opened and mark and opened.line != mark.line:
        problem = f"{problem} ({context} that begins on line {opened.line + 1})"
    hint = "Indent with spaces, not with tabs." if "'\\t'" in problem else ""
    if "mapping values are not allowed" in problem:
        hint = "Put text that holds a colon in quotes, and check the indentation."
    return _refused(path, mark.line + 1 if mark else None, f"not valid YAML: {problem}", hint)


def _check_size(path: Path, root: yaml.Node) -> None:
    """Refuse documents whose aliases refer to themselves or multiply beyond reason."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in open_nodes:
            raise _refused(
                path, node.start_mark.line + 1, "an alias (`*name`) refers to the block that it stands in"
            )
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.remove(id(node))
        return sizes[id(node)]

    if size(root) > LARGEST_DOCUMENT:
        raise _refused(path, None, f"holds more than {LARGEST_DOCUMENT:,} entries, aliases written out")


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _duplicate_keys(file: str, root: yaml.Node) -> Iterable[Mistake]:
    """Yield keys that occur twice in one mapping: YAML readers keep the last one in silence."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], yaml.Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [((*path, str(i)), child) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            line = key.start_mark.line + 1
            if name in lines and name != "<<":
                message = f"this key stands twice in its block, first on line {lines[name]}."
                yield Mistake(file, line, ".".join((*path, name)), message, "Remove or rename one of them.")
            lines.setdefault(name, line)
            waiting.append(((*path, name), value))

"""Reference pages made of the package itself: every command, every key of task.yaml and of cards, errors, Python names.

`tools/docs_hooks.py` puts them into the documentation when it is built, so they are never out of date. Each function
returns the Markdown of one page.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

__all__ = ["PAGES", "allocators", "cards", "commands", "errors", "python", "task_keys"]


# --- Commands ---------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return the page of the command line: every command with its arguments and options."""
    from agenttts.cli import app

    top = typer.main.get_command(app)
    found = list(_leaves(top, typer.Context(top, info_name="agenttts"), "agenttts"))
    table = "\n".join(f"| [`{name}`](#{_anchor(name)}) | {_summary(command)} |" for name, command, _ in found)
    head = (
        "# Commands\n\nMade of the command line itself, as `agenttts COMMAND --help` tells it. "
        "Exit codes stand on the page of [errors](errors.md).\n\n| Command | Does |\n| --- | --- |\n" + table
    )
    return "\n\n".join([head, *(_command(*one) for one in found)]) + "\n"


def _leaves(command: Any, context: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if not hasattr(command, "commands"):
        yield name, command, context
        return
    for key, child in sorted(command.commands.items()):
        below = typer.Context(child, info_name=key, parent=context)
        yield from _leaves(child, below, f"{name} {key}")


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _summary(command: Any) -> str:
    return _cell((command.help or "").strip().partition("\n\n")[0])


def _command(name: str, command: Any, context: Any) -> str:
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    rows = "\n".join(f"| {_code(left)} | {_cell(right)} |" for left, right in records)
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    return f"## {name} {{#{_anchor(name)}}}\n\n{_angles(text)}\n\n```text\n{usage}\n```\n\n| | |\n| --- | --- |\n{rows}"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return _angles(" ".join(text.split())).replace("|", "\\|")


def _angles(text: str) -> str:
    """Keep `<name>` outside of code from being read as HTML, and `[name]` from being read as a link."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if i % 2 else part.replace("<", "&lt;").replace("[", "\\[") for i, part in enumerate(parts)
    )


# --- Keys of files ----------------------------------------------------------------------------------------------------


def task_keys() -> str:
    """Return the page of task.yaml: every block, every key, its type, default and meaning."""
    from agenttts.task.schema import TaskFile

    head = (
        "# task.yaml\n\nMade of the schema itself. Keys that are not listed are refused, with the nearest right name. "
        "How to write a task is told in [Write a task](../howto/task.md); model cards have "
        "[a page of their own](cards.md).\n\n"
        "`agenttts check task.yaml` tells every mistake at once and spends nothing."
    )
    return _page(head, TaskFile, "The file", elsewhere={"ModelCard": "cards.md#a-card"})


def cards() -> str:
    """Return the page of model cards."""
    from agenttts.budgets.cards import ModelCard

    head = (
        "# Model cards\n\nMade of the schema itself. A card stands in `models:` of a task, or in a file "
        "`budgets/models/*.yaml` of your project; its key is its name. `agenttts models` lists those that come with "
        "the package."
    )
    return _page(head, ModelCard, "A card", elsewhere={})


def _page(head: str, root: type[BaseModel], title: str, elsewhere: dict[str, str]) -> str:
    blocks = _blocks(root, frozenset(elsewhere))
    titles = {block.__name__: _title(block) for block in blocks} | {root.__name__: title}
    links = {name: f"#{_slug(text)}" for name, text in titles.items()} | elsewhere
    return "\n\n".join([head, *(_block(block, titles[block.__name__], links) for block in blocks)]) + "\n"


def _title(block: type[BaseModel]) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", block.__name__.removesuffix("Block")).lower()
    return words[0].upper() + words[1:]


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _blocks(root: type[BaseModel], without: frozenset[str]) -> list[type[BaseModel]]:
    """Return a model and those it is made of, each once, in the order of mention."""
    found: list[type[BaseModel]] = []
    waiting = [root]
    while waiting:
        block = waiting.pop(0)
        if block in found or block.__name__ in without:
            continue
        found.append(block)
        waiting += [one for info in block.model_fields.values() for one in _models_in(info.annotation)]
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _block(block: type[BaseModel], title: str, links: dict[str, str]) -> str:
    texts = field_texts(block)
    rows = "\n".join(
        f"| `{info.alias or name}` | {_type(info, links)} | {_default(info)} | {_cell(_as_in_yaml(texts.get(name, '')))} |"
        for name, info in block.model_fields.items()
    )
    text = _angles(inspect.cleandoc(block.__doc__ or ""))
    return f"## {title}\n\n{text}\n\n| Key | Value | Default | |\n| --- | --- | --- | --- |\n{rows}"


def _as_in_yaml(text: str) -> str:
    return text.replace("`None`", "left out")


def field_texts(block: type[BaseModel]) -> dict[str, str]:
    """Return the text that stands under each field in the source, also of the classes that it inherits from."""
    found: dict[str, str] = {}
    for one in reversed(block.__mro__):
        if not (isinstance(one, type) and issubclass(one, BaseModel) and one is not BaseModel):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
                found[field.target.id] = text.value.value  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    value = info.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, tuple):
        return f"`{_entry(value[0])}`" if len(value) == 1 else "`[]`" if not value else f"`{list(value)}`"
    return f"`{_scalar(value)}`"


def _entry(value: Any) -> str:
    return value.kind if isinstance(value, BaseModel) and hasattr(value, "kind") else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value).strip("'") if value.strip() else f'"{repr(value)[1:-1]}"'
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))


_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def _type(info: FieldInfo, links: dict[str, str]) -> str:
    text = _words(info.annotation, links)
    return _cell_type(text + _limits(info.metadata))


def _cell_type(text: str) -> str:
    return text.replace("|", "\\|")


def _words(annotation: Any, links: dict[str, str]) -> str:
    """Return a type in words, with links to blocks."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0], links) + _limits(inner[1:])
    if origin is Literal:
        return ", ".join(f"`{_scalar(one)}`" for one in inner)
    if origin in {Union, types.UnionType}:
        return " or ".join(_words(one, links) for one in inner if one is not type(None))
    if origin in {tuple, list}:
        return f"list of {_words(inner[0], links)}"
    if origin is dict:
        return "mapping" if inner[1] is Any else f"mapping of names to {_words(inner[1], links)}"
    return _plain(annotation, links)


def _plain(annotation: Any, links: dict[str, str]) -> str:
    if not isinstance(annotation, type):
        return "anything"
    if issubclass(annotation, BaseModel):
        return f"[{_title(annotation).lower()}]({links[annotation.__name__]})"
    if hasattr(annotation, "__members__"):
        return ", ".join(f"`{one.value}`" for one in annotation)  # type: ignore[attr-defined]
    return _WORDS.get(annotation, annotation.__name__)


_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def _limits(metadata: Sequence[Any]) -> str:
    flat = [
        one for entry in metadata for one in (entry.metadata if isinstance(entry, FieldInfo) else [entry])
    ]
    said = [
        form.format(_scalar(limit))
        for entry in flat
        for name, form in _BOUNDS.items()
        if isinstance(limit := getattr(entry, name, None), int | float)
    ]
    return f" {', '.join(said)}" if said else ""


# --- Errors, allocators, Python ---------------------------------------------------------------------------------------


def errors() -> str:
    """Return the page of exit codes and errors."""
    from agenttts import errors as module
    from agenttts.cli import _EXIT_CODES

    codes, _, debug = _EXIT_CODES.removeprefix("Exit codes: ").partition(". ")
    pairs = [code.strip().split(" ", 1) for code in codes.split(";")]
    table = "\n".join(f"| {code} | {_cell(meaning)} |" for code, meaning in pairs)
    tree = textwrap.dedent((module.__doc__ or "").partition("\n\n")[2].partition("\n\n")[2])
    kinds = [getattr(module, name) for name in module.__all__ if hasattr(getattr(module, name), "exit_code")]
    rows = "\n".join(
        f"| `{kind.__name__}` | {kind.exit_code} | {_cell((kind.__doc__ or '').partition(chr(10))[0])} |"
        for kind in kinds
    )
    return (
        f"# Errors and exit codes\n\nEvery command ends with one of these. {debug}\n\n| Exit code | Means |\n| --- | --- "
        f"|\n{table}\n\nIn Python, everything that agenttts raises on purpose is an `agenttts.AgentTTSError`; the classes "
        f"are in `agenttts.errors`. A message says what is wrong, where, and how to mend it.\n\n```text\n{tree.strip()}"
        f"\n```\n\n| Class | Exit code | Raised where |\n| --- | --- | --- |\n{rows}\n"
    )


def allocators() -> str:
    """Return a table of all allocators with what their classes say of themselves."""
    from agenttts.allocators.base import ALLOCATORS, ConversingAllocator

    rows = []
    for name, place in sorted(ALLOCATORS.items()):
        module, _, attribute = place.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
        asks = "yes" if issubclass(kind, ConversingAllocator) else "no"
        rows.append(f"| `{name}` | {_cell((kind.__doc__ or '').partition(chr(10))[0])} | {asks} |")
    return (
        "# Allocators\n\nMade of the allocators themselves. How to choose between them is told in "
        "[Compare allocators](../howto/compare.md); how to write one in "
        "[Write an allocator](../extending/allocator.md).\n\n| Name | Does | Asks an LLM |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


SEAMS = (
    ("Errors", "agenttts.errors"),
    ("Scoring outputs", "agenttts.verifiers.base"),
    ("Proposing allocations", "agenttts.allocators.base"),
    ("Contract tests of verifiers", "agenttts.testing.verifiers"),
    ("Contract tests of allocators", "agenttts.testing.allocators"),
)
"""Modules that authors of plug-ins build on."""


def python() -> str:
    """Return the page of the Python interface: the names that are promised, then the seams of plug-ins."""
    import agenttts

    names = [name for name in agenttts.__all__ if not name.startswith("__")]
    promised = "\n\n".join(f"::: agenttts.{name}" for name in names)
    seams = "\n\n".join(
        f"## {title}\n\n::: {module}\n    options:\n      heading_level: 3" for title, module in SEAMS
    )
    return (
        "# Python\n\nThe names that `import agenttts` promises, from their docstrings, then the modules that verifiers "
        f"and allocators of your own build on.\n\n## agenttts\n\n{promised}\n\n{seams}\n"
    )


PAGES = {
    "reference/allocators.md": allocators,
    "reference/cards.md": cards,
    "reference/commands.md": commands,
    "reference/errors.md": errors,
    "reference/python.md": python,
    "reference/task.md": task_keys,
}
"""Path in the documentation -> what makes the page."""


if __name__ == "__main__":
    for page in PAGES.values():
        click.echo(page())

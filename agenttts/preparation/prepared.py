"""Runs a recipe and writes what comes out: the rows of both splits, the task, and a record of what was done.

Files are written beside their places first and moved there whole, the record last. Nothing in them depends on the time
or the machine, so the same input gives the same files.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agenttts.catalogue import TASK_FILE, catalogue_folder
from agenttts.errors import DataError, InputError
from agenttts.preparation.base import Made, Report, Row, Wish, named_ids
from agenttts.preparation.bm25 import require_bm25
from agenttts.preparation.recipes import RECIPES, SEARCH_FILE, TEST_FILE, Recipe
from agenttts.preparation.sources import Origin, found
from agenttts.task.reading import nearest, shown

__all__ = ["RECORD_FILE", "Prepared", "prepare", "recipe_of"]

RECORD_FILE = "PREPARED.md"


@dataclass(frozen=True)
class Prepared:
    """What a preparation wrote."""

    folder: Path
    files: tuple[Path, ...]
    made: Made
    origin: Origin
    recipe: Recipe
    has_task: bool
    """Whether there is a task in the folder that runs on it."""


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a task.

    Raises:
        InputError: It has none; the nearest name is told.
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe for {name!r}. {nearest(name, RECIPES, listed='Recipes')}")
    return RECIPES[name]


def prepare(name: str, wish: Wish, *, source: str | None, out: Path, force: bool, report: Report) -> Prepared:
    """Make the data of a task and write them.

    Args:
        name: The task.
        wish: How many problems, and which.
        source: Where the published rows are read from; `None`: where they are published. See `sources.found`.
        out: The folder, made where it is not there.
        force: Write over files that are there with other contents.
        report: Told what goes on, a line at a time.

    Raises:
        InputError: There is no such recipe, the library that it needs is missing, or a file is in the way.
        DataError: The source cannot be fetched or read, or has another shape.
    """
    recipe = recipe_of(name)
    if recipe.ranks:
        require_bm25()  # before gigabytes are fetched
    with found(recipe.published, source, report) as (tables, origin):
        try:
            made = recipe.prepare(tables, wish, report)
        except DataError as error:
            raise DataError(
                f"{origin.source} cannot be prepared for {name}: {error}\nExpected rows as published: {recipe.published.home}"
            ) from error
    contents = _task_files(name, out) | {
        SEARCH_FILE: _json_lines(made.search),
        TEST_FILE: _json_lines(made.test),
        RECORD_FILE: record(name, recipe, wish, origin, made).encode(),
    }
    files = _write(out, contents, force)
    return Prepared(out, files, made, origin, recipe, (out / TASK_FILE).is_file())


def _json_lines(rows: Iterable[Row]) -> bytes:
    # A lone surrogate, which JSON texts may hold, has no form in UTF-8; it becomes a question mark.
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "replace")


def _task_files(name: str, out: Path) -> dict[str, bytes]:
    """Return the catalogue's files of the task, for a folder that is not the catalogue's."""
    folder = catalogue_folder() / "tasks" / name
    if folder.resolve() == out.resolve():
        return {}
    own = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        place: path.read_bytes()
        for place, path in own.items()
        if place not in {SEARCH_FILE, TEST_FILE, RECORD_FILE}
    }


def record(name: str, recipe: Recipe, wish: Wish, origin: Origin, made: Made) -> str:
    """Return the record of a preparation, in Markdown."""
    lines = [
        f"# Data of the task {name}",
        "",
        f"Made by `agenttts data prepare {name}`, recipe version {recipe.version}: {recipe.outcome}.",
        "",
        f"- published set: {recipe.published.home}",
        f"- licence of the published set: {recipe.published.licence}",
        f"- read from: {origin.source}",
        *(f"    - {file}, SHA-256 {digest}" for file, digest in origin.files),
        f"- rows: {' for search, '.join(f'{n:,}' for n in made.n_rows)}{' for test' if len(made.n_rows) > 1 else ''}",
        f"- seed: {wish.seed}",
        *_dates(recipe, wish),
        f"- search problems: {len(made.search):,} of {wish.n_search:,} wanted, in `{SEARCH_FILE}`",
        f"- test problems: {len(made.test):,} of {wish.n_test:,} wanted, in `{TEST_FILE}`",
        *(f"- {fact}" for fact in made.facts),
        f"- rows that were looked at and left out: {sum(made.left_out.values()):,}",
        *(f"    - {reason}: {n:,}{named_ids(made, reason)}" for reason, n in sorted(made.left_out.items())),
        "",
    ]
    return "\n".join(lines)


def _dates(recipe: Recipe, wish: Wish) -> list[str]:
    if not recipe.has_dates:
        return []
    return [f"- contests: from {wish.first_date or 'the first'} to {wish.last_date or 'the last'}"]


def _write(out: Path, contents: Mapping[str, bytes], force: bool) -> tuple[Path, ...]:
    """Write files, each whole; none where one that is there would be lost."""
    lost = [out / name for name, content in contents.items() if _differs(out / name, content)]
    if lost and not force:
        names = ", ".join(shown(path) for path in lost)
        raise InputError(f"{names}: there already, with other contents. Give another --out, or --force")
    with _beside(out) as waiting:
        for name, content in contents.items():
            (waiting / name).parent.mkdir(parents=True, exist_ok=True)
            (waiting / name).write_bytes(content)
        for name in contents:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (waiting / name).replace(out / name)
    return tuple(out / name for name in contents)


def _differs(path: Path, content: bytes) -> bool:
    return path.exists() and not (path.is_file() and path.read_bytes() == content)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a folder on the same disk, which goes away whatever happens."""
    out.mkdir(parents=True, exist_ok=True)
    waiting = Path(tempfile.mkdtemp(prefix=".prepare-", dir=out))
    try:
        yield waiting
    finally:
        shutil.rmtree(waiting, ignore_errors=True)

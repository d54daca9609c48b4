"""A file of problems as it lies there, before anybody knows which of its fields are what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.errors import DataError
from agenttts.task.data import SUFFIXES, read_table
from agenttts.task.reading import read_text, shown
from agenttts.task.schema import DataBlock
from agenttts.task.splits import MISSING, lookup

__all__ = ["Sheet", "is_empty", "read_sheet", "values"]

Row = Mapping[str, Any]
SHOWN = 8
"""Files of a folder that are named."""


@dataclass(frozen=True)
class Sheet:
    """Rows and where they come from."""

    rows: tuple[Row, ...]
    path: Path | None
    """The file; `None`: the rows are an example that stands for the user's own."""
    must_copy: bool = False
    """No task can read the file as it is, e.g. because it is one JSON list."""

    @property
    def fields(self) -> list[str]:
        """Names of the fields of all rows, in the order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def read_sheet(path: Path) -> Sheet:
    """Read a file of rows: what tasks read (JSONL, CSV, Parquet, each also gzipped), or one JSON list of objects.

    Raises:
        DataError: It cannot be read, or holds no rows.
    """
    found = path.expanduser()
    if found.is_dir():
        raise DataError(_folder(found))
    if found.suffix.lower() == ".json":
        rows = _json_list(found)
        sheet = Sheet(tuple(rows), found, must_copy=True)
    else:
        table = read_table(DataBlock(path=str(found.absolute())), Path.cwd())
        sheet = Sheet(tuple(row.fields for row in table.rows), found)
    if not sheet.rows:
        raise DataError(f"{shown(found)}: the file holds no rows.\nPut one problem on each line.")
    return sheet


def _folder(path: Path) -> str:
    kinds = (".json", *SUFFIXES)
    try:
        files = sorted(one.name for one in path.iterdir() if one.name.removesuffix(".gz").endswith(kinds))
    except OSError as error:
        return f"{shown(path)}: a folder, and it cannot be read: {error.strerror or error}"
    listed = f"It holds {', '.join(files[:SHOWN])}." if files else "It holds none."
    return f"{shown(path)}: a folder, and one file of problems is needed ({', '.join(kinds)}).\n{listed}"


def _json_list(path: Path) -> Sequence[Row]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)}: not valid JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        kinds = ", ".join(SUFFIXES)
        raise DataError(f"{shown(path)}: expected one JSON list of objects, or a file that ends in {kinds}.")
    return found


def values(rows: Sequence[Row], path: str) -> list[Any]:
    """Return the value at a dotted path of every row; `None` where there is none."""
    found = (lookup(row, path) for row in rows)
    return [None if value is MISSING else value for value in found]


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing: nothing at all, blank text, an empty list or mapping."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | dict) and not value)

"""How a table of recorded draws is read row by row, and which columns it must have.

What the columns mean is in `recorded_columns`, what a checked table holds in `recorded_draws`; replaying one is in
`recorded`. Columns `parent_sample_index`, `model_params_b` and `split` are read by `agenttts record import` alone.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agenttts.errors import DataError
from agenttts.models.recorded_columns import ALIASES, KNOWN, NEEDED

__all__ = ["SUFFIXES", "open_rows", "require_columns", "whole", "words"]

SUFFIXES = (".csv", ".csv.gz", ".parquet")
"""Ends of the names of files that are read."""


def open_rows(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the column names as the file has them (see `require_columns`), and the rows of a table.

    A row may have another width than the names; a blank line is an empty row.

    Raises:
        DataError: Neither CSV nor Parquet, as the name of the file says, or a quote is not closed.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: a table of draws ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    return _parquet(content, path) if path.suffix == ".parquet" else _csv(content, path)


def _csv(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    try:
        raw = gzip.decompress(content) if path.suffix == ".gz" else content
        # Strict: otherwise a quote that is not closed takes the rows after it for text of its own.
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {error}") from error
    return header, _csv_rows(reader, path)


def _csv_rows(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    n_read = 1  # the header
    try:
        for values in reader:
            n_read += 1
            yield values
    except csv.Error as error:
        raise DataError(
            f"{path}: row {n_read + 1}: not CSV: {error}. Most often a quote that is opened in this row is not closed; "
            'a quote that is part of a text is written twice (""), in a field within quotes'
        ) from error


def _parquet(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except Exception as error:
        raise DataError(f"{path}: not a Parquet table: {error}") from error
    columns = [table.column(name).to_pylist() for name in table.column_names]
    return list(table.column_names), (list(row) for row in zip(*columns, strict=True))


def require_columns(header: Sequence[str], path: Path) -> list[str]:
    """Return the names that columns have here, aliases resolved, in the order of the table.

    Raises:
        DataError: A needed column is missing or there twice; columns are named as the table names them.
    """
    from agenttts.task.reading import nearest  # imports the models of the task file

    names = [ALIASES.get(name, name) for name in header]
    missing = [name for name in NEEDED if name not in names]
    if "text" not in names and "answer" not in names:
        missing.append("text (or answer)")
    if missing:
        strange = [name for name in names if name not in KNOWN]
        hints = (nearest(name.partition(" ")[0], strange, listed="Others") for name in missing)
        near = next((hint for hint in hints if "mean" in hint), "")
        there = ", ".join(header) or "no columns"
        raise DataError(f"{path}: {_columns(missing)} missing; it has {there}. {near}".rstrip())
    if len(set(names)) < len(names):
        twice = [written for written, name in zip(header, names, strict=True) if names.count(name) > 1]
        raise DataError(
            f"{path}: columns {', '.join(twice)}: every column may be there once, under one of its names"
        )
    return names


def _columns(names: Sequence[str]) -> str:
    return f"column {names[0]} is" if len(names) == 1 else f"columns {', '.join(names)} are"


def words(value: Any) -> str:
    """Return a cell as text; empty where the table says nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None or value != value else str(value)  # NaN is how tables say nothing


def whole(text: str) -> int | None:
    """Return a count; `None` where there is none. Recordings mark unknown counts as empty or below 0.

    Raises:
        ValueError: Not a whole number.
    """
    if not text:
        return None
    try:
        number = int(text) if text.isdecimal() else float(text)
        is_whole = number == int(number)
    except (ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise ValueError(f"{text!r} is not a whole number")
    return int(number) if number >= 0 else None

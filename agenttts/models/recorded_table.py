"""The form of a table of recorded draws: its columns, their other names, and how a file is read row by row.

Table (CSV or Parquet, CSV also gzipped), one row per draw:

| column | needed | meaning |
| --- | --- | --- |
| `stage`, `model`, `problem_id` | yes | where the draw belongs; `example_id` is accepted for `problem_id` |
| `sample_index` | yes | number of the draw, from 0 |
| `text` or `answer` | yes | the completion; an `answer` alone stands in for it (empty: nothing could be parsed) |
| `prompt` | no | the messages' contents, joined by newlines; where given, only this prompt has the draw |
| `prefill_tokens`, `decode_tokens` | for costs | `prompt_tokens`, `completion_tokens` are accepted |
| `score` | no | what the recording says the draw was worth, in [0, 1]; kept in `details` |
| `tokens_estimated` | no | 1 where the token counts are estimates, 0 where they are not |
| `variant` | no | several recordings of one model: asked for as `model@variant`, or `model` where there is one |
| `parent_sample_index` | import | the draw that this one goes on from: such draws form chains and are not independent |
| `model_params_b` | import | parameters of the model in billions |
| `split` | import | `search` (or `train`, `dev`), `test` |

The last three are read by `agenttts record import` alone. What a checked table holds is in `recorded_draws`; replaying
one is in `recorded`.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agenttts.errors import DataError

__all__ = ["ALIASES", "KNOWN", "NEEDED", "SUFFIXES", "open_rows", "require_columns", "whole", "words"]

ALIASES = {
    "example_id": "problem_id",
    "prompt_tokens": "prefill_tokens",
    "completion_tokens": "decode_tokens",
}
SUFFIXES = (".csv", ".csv.gz", ".parquet")
"""Ends of the names of files that are read."""
NEEDED = ("stage", "model", "problem_id", "sample_index")
KNOWN = (
    *NEEDED, "text", "answer", "prompt", "prefill_tokens", "decode_tokens", "score", "tokens_estimated", "variant",
    "parent_sample_index", "model_params_b", "split",
)  # fmt: skip


def open_rows(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the column names, aliases resolved, and the rows of a table.

    A row may have another width than the names; a blank line is an empty row.

    Raises:
        DataError: Neither CSV nor Parquet, as the name of the file says.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: a table of draws ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    header, rows = _parquet(content, path) if path.suffix == ".parquet" else _csv(content, path)
    return [ALIASES.get(name, name) for name in header], rows


def _csv(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    try:
        raw = gzip.decompress(content) if path.suffix == ".gz" else content
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        header = next(reader, [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {error}") from error
    return header, _csv_rows(reader, path)


def _csv_rows(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV table: {error}") from error


def _parquet(content: bytes, path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except Exception as error:
        raise DataError(f"{path}: not a Parquet table: {error}") from error
    columns = [table.column(name).to_pylist() for name in table.column_names]
    return list(table.column_names), (list(row) for row in zip(*columns, strict=True))


def require_columns(names: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a needed column or has one twice.

    Raises:
        DataError: The columns are named.
    """
    from agenttts.task.reading import nearest  # imports the models of the task file

    missing = [name for name in NEEDED if name not in names]
    if "text" not in names and "answer" not in names:
        missing.append("text")
    if missing:
        strange = [name for name in names if name not in KNOWN]
        near = next(
            (hint for name in missing if "mean" in (hint := nearest(name, strange, listed="Others"))), ""
        )
        there = ", ".join(names) or "no columns"
        raise DataError(f"{path}: column {', '.join(missing)} is missing; it has {there}. {near}".rstrip())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} is there twice (aliases included)")


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

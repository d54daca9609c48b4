"""Rows of data files (JSONL, CSV, Parquet, each also gzipped) and of Hugging Face data sets.

Which rows are problems of which split is decided in `agenttts.task.splits`.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.errors import DataError, Mistake
from agenttts.task.reading import missing_file, shown
from agenttts.task.schema import DataBlock

__all__ = ["DataFileError", "Row", "Table", "read_table"]

SUFFIXES = (".jsonl", ".csv", ".parquet")
MOST_MISTAKES = 20
"""A file of the wrong kind has a mistake in every line; the first ones tell enough."""


class DataFileError(DataError):
    """A data file or data set cannot be read as problems; all mistakes found are in `mistakes`."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    number: int
    """Counted from 0, blank lines not counted."""
    line: int | None
    """Line in the file, from 1; `None` where there are no lines."""
    fields: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """All rows of one source."""

    name: str
    """File or data set, as messages show it."""
    rows: tuple[Row, ...]
    sha256: str
    """Of the file as it lies there, or of the rows of a data set."""


def read_table(block: DataBlock, folder: Path) -> Table:
    """Read a source; relative paths count from `folder`.

    Raises:
        DataFileError: The source cannot be found or read; all mistakes in it up to 20.
    """
    if block.dataset is not None:
        return _read_dataset(block, folder)
    path = folder / Path(block.path or "").expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _refused(shown(path), None, "no such file", missing_file(path)) from error
    except OSError as error:
        raise _refused(shown(path), None, f"cannot be read: {error.strerror or error}") from error
    return Table(shown(path), tuple(_parse(path, data)), hashlib.sha256(data).hexdigest())


def _refused(name: str, line: int | None, message: str, hint: str = "") -> DataFileError:
    return DataFileError([Mistake(name, line, "", message, hint)])


def _parse(path: Path, data: bytes) -> list[Row]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    name = shown(path)
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise _refused(name, None, f"not a whole gzip file: {error}") from error
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet":
        return _read_parquet(name, data)
    if kind not in SUFFIXES:
        raise _refused(
            name,
            None,
            f"expected a file that ends in {', '.join(SUFFIXES)}, each also with .gz, got {kind!r}",
        )
    text = _text(name, data)
    return _read_jsonl(name, text) if kind == ".jsonl" else _read_csv(name, text)


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
        start = text.find("\0")
        if start >= 0:
            raise _refused(name, text.count("\n", 0, start) + 1, "not a text file: holds a NUL character")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(name, line, f"not a text file in UTF-8 (byte 0x{data[error.start]:02x})") from error
    return text


def _read_jsonl(name: str, text: str) -> list[Row]:
    rows: list[Row] = []
    mistakes: list[Mistake] = []
    for line, part in enumerate(text.split("\n"), start=1):
        if not part.strip():
            continue
        try:
            fields = json.loads(part)
        except (
            json.JSONDecodeError
        ) as error:  # counts lines within the row; the row's own line is told already
            mistakes.append(Mistake(name, line, "", f"not valid JSON: {error.msg} at column {error.colno}"))
            continue
        except (ValueError, RecursionError) as error:
            mistakes.append(Mistake(name, line, "", f"not valid JSON: {error}"))
            continue
        if isinstance(fields, dict):
            rows.append(Row(len(rows), line, fields))
        else:
            mistakes.append(Mistake(name, line, "", f"expected a JSON object, got {type(fields).__name__}"))
    if mistakes:
        raise DataFileError(mistakes[:MOST_MISTAKES])
    return rows


def _read_csv(name: str, text: str) -> list[Row]:
    """Read CSV; every value is text."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    mistakes: list[Mistake] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = cells
                mistakes += _header_mistakes(name, header)
            elif len(cells) == len(header):
                rows.append(Row(len(rows), reader.line_num, dict(zip(header, cells, strict=True))))
            elif cells:
                message = f"expected {len(header)} values as in the header, got {len(cells)}"
                mistakes.append(
                    Mistake(name, reader.line_num, "", message, "Put values that hold commas in quotes.")
                )
    except csv.Error as error:
        mistakes.append(Mistake(name, reader.line_num, "", f"not valid CSV: {error}"))
    if mistakes:
        raise DataFileError(mistakes[:MOST_MISTAKES])
    return rows


def _header_mistakes(name: str, header: Sequence[str]) -> list[Mistake]:
    twice = sorted({column for column in header if header.count(column) > 1})
    return [Mistake(name, 1, "", f"the column {column!r} stands twice in the header") for column in twice]


def _read_parquet(name: str, data: bytes) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        records = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise _refused(name, None, f"not a readable Parquet file: {error}") from error
    return _rows(records)


def _rows(records: Iterable[dict[str, Any]]) -> list[Row]:
    return [
        Row(number, None, {key: _plain(value) for key, value in record.items()})
        for number, record in enumerate(records)
    ]


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_dataset(block: DataBlock, folder: Path) -> Table:
    from agenttts.task.hub import HubError, load_split, shown_name

    try:
        split, records = load_split(block, folder)
    except HubError as error:
        raise DataFileError([error.mistake]) from error
    rows = tuple(_rows(records.to_list()))  # five times as quick as one record after the other
    text = json.dumps([row.fields for row in rows], sort_keys=True, separators=(",", ":"))
    return Table(f"{shown_name(block)}[{split}]", rows, hashlib.sha256(text.encode()).hexdigest())

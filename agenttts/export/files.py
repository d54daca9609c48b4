"""Tables and plans as files. What they hold is decided in `trials` and by the plan itself."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agenttts.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from agenttts.export.trials import Column

__all__ = ["TABLE_KINDS", "data_frame", "draft", "json_line", "save_plan_file", "save_table"]

TABLE_KINDS = (".csv", ".jsonl", ".parquet")
PLAN_KINDS = (".json", ".yaml", ".yml")
_DTYPES: Mapping[str, Any] = {"int": "Int64", "float": "float64", "text": "string", "bool": "boolean"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet compute a cell."""
_NOT_IN_YAML = re.compile(
    "[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML 1.1 holds only as an escape, or takes for the end of a line."""
_TEXT_OR_POWER = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\d.])(-?\d+)(e[+-]\d+)')
"""A text, to be passed over; or a number in JSON that has an exponent and no point."""


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return rows as a data frame, each column of the type it declares; unknown is NA."""
    import pandas as pd

    frame = pd.DataFrame({name: [row[name] for row in rows] for name in columns}, dtype="object")
    for name, column in columns.items():
        if column.kind == "time":
            frame[name] = pd.to_datetime(frame[name], utc=True)
        else:
            frame[name] = frame[name].astype(_DTYPES[column.kind])
    return frame


def save_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> None:
    """Write rows as CSV, Parquet or JSON lines, by the ending of the file's name.

    In CSV, a text that a spreadsheet would compute as a formula gets an apostrophe before it: models wrote some.

    Raises:
        InputError: The ending is none of these.
        OSError: The file cannot be written.
    """
    kind = _kind(path, TABLE_KINDS)
    if kind == ".parquet":
        with draft(path) as made:
            data_frame(rows, columns).to_parquet(made, engine="pyarrow", index=False)
        return
    with draft(path) as made, made.open("w", encoding="utf-8", newline="") as file:
        if kind == ".jsonl":
            file.writelines(json_line({name: _plain(row[name]) for name in columns}) for row in rows)
        else:
            _write_csv(file, rows, columns)


def _write_csv(file: IO[str], rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> None:
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_csv_cell(row[name]) for name in columns] for row in rows)


def _csv_cell(value: Any) -> Any:
    value = _plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value


def json_line(value: Mapping[str, Any]) -> str:
    """Return an object as one line of ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n"


def save_plan_file(path: Path, plan_yaml: str) -> None:
    """Write the text of a plan as it is, or as JSON, by the ending of the file's name; `Plan.load` reads both.

    Raises:
        InputError: The ending is none of these.
        OSError: The file cannot be written.
    """
    kind = _kind(path, PLAN_KINDS)
    with draft(path) as made:
        made.write_text(_as_json(plan_yaml) if kind == ".json" else plan_yaml, encoding="utf-8")


def _as_json(plan_yaml: str) -> str:
    """Return JSON that is YAML as well.

    Where JSON writes a pair of escapes for one sign, YAML would read two; and to YAML `1e-07` is a text.
    """
    import yaml

    text = json.dumps(yaml.safe_load(plan_yaml), ensure_ascii=False, indent=2, allow_nan=False)
    text = _TEXT_OR_POWER.sub(lambda found: found[0] if found[1] is None else f"{found[1]}.0{found[2]}", text)
    return _NOT_IN_YAML.sub(lambda sign: f"\\u{ord(sign.group()):04x}", text) + "\n"


def _kind(path: Path, kinds: Sequence[str]) -> str:
    kind = path.suffix.lower()
    if kind not in kinds:
        raise InputError(
            f"{path}: the name tells the format; end it in {', '.join(kinds[:-1])} or {kinds[-1]}"
        )
    return kind


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to, and put it in its place where nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield made
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)

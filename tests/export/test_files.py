"""Tables and plans as files: hostile texts stay text, and what is read back is what was written."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from agenttts.errors import InputError
from agenttts.export.files import save_plan_file, save_table
from agenttts.export.trials import Column

COLUMNS = {
    "number": Column("int", "a number"),
    "score": Column("float", "a score"),
    "reason": Column("text", "a text"),
    "at": Column("time", "a time"),
    "resumed": Column("bool", "a mark"),
}
HOSTILE = ["=cmd|'/c calc'!A1", "+1", "-1", "@x", 'a "b", c\nd\x1b[2J\x00']
AT = datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC)
ROWS = [
    {"number": i, "score": None if i else 0.5, "reason": text, "at": None if i else AT, "resumed": False}
    for i, text in enumerate(HOSTILE)
]


def test_a_spreadsheet_computes_nothing_that_a_model_wrote(tmp_path: Path) -> None:
    save_table(tmp_path / "t.csv", ROWS, COLUMNS)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == [*("'" + text for text in HOSTILE[:4]), HOSTILE[4]]
    assert [row["score"] for row in rows] == ["0.5", "", "", "", ""]
    assert rows[0]["at"] == "2026-05-04T03:02:01.500+00:00"


def test_json_lines_hold_everything_as_it_is(tmp_path: Path) -> None:
    save_table(tmp_path / "t.jsonl", ROWS, COLUMNS)
    text = (tmp_path / "t.jsonl").read_text()
    assert text.isascii()
    assert "\x1b" not in text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["reason"] for row in rows] == HOSTILE
    assert rows[1]["score"] is None


def test_parquet_keeps_types_and_what_is_unknown(tmp_path: Path) -> None:
    save_table(tmp_path / "new" / "t.parquet", ROWS, COLUMNS)
    frame = pd.read_parquet(tmp_path / "new" / "t.parquet")
    assert list(frame.columns) == list(COLUMNS)
    assert frame["number"].dtype == "Int64"
    assert frame["score"].isna().tolist() == [False, True, True, True, True]
    assert frame["reason"].tolist() == HOSTILE
    assert frame["at"][0] == pd.Timestamp(AT)


def test_a_column_without_any_value_keeps_its_type(tmp_path: Path) -> None:
    save_table(tmp_path / "t.parquet", [dict.fromkeys(COLUMNS)], COLUMNS)
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["number"].dtype == "Int64"
    assert str(frame["at"].dtype).startswith("datetime64")
    assert frame.isna().all(axis=None)


@pytest.mark.parametrize("name", ["t.xlsx", "t", "csv"])
def test_another_ending_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"end it in \.csv, \.jsonl or \.parquet"):
        save_table(tmp_path / name, ROWS, COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("old")
    with pytest.raises(KeyError):
        save_table(tmp_path / "t.jsonl", [*ROWS, {}], COLUMNS)
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]
    assert (tmp_path / "t.jsonl").read_text() == "old"


def test_json_of_a_plan_is_read_as_yaml_with_the_same_signs(tmp_path: Path) -> None:
    import yaml

    signs = "".join(map(chr, [0x07, 0x7F, 0x85, 0x2028, 0xFEFF, 0xD83D, 0x1F600])) + "\\ud83d\\n\té: x # y"
    numbers = [1e-7, -2e22, 1.5e-9, 0.25, 3, -1e-300]
    data = {"1e-7": signs, "n": numbers, "t": '\\"1e-7', "none": None}
    save_plan_file(tmp_path / "p.json", yaml.safe_dump(data, allow_unicode=False))
    written = (tmp_path / "p.json").read_text(encoding="utf-8")
    assert json.loads(written) == yaml.safe_load(written) == data

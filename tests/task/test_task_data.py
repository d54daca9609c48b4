from __future__ import annotations

import datetime
import decimal
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agenttts.task.data import DataFileError, read_table
from agenttts.task.schema import DataBlock

RECORDS = [{"id": "a", "n": 1, "tags": ["x", "y"]}, {"id": "b", "n": 2, "tags": []}]


def _parquet(records: list[dict[str, Any]]) -> bytes:
    import io

    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), buffer)
    return buffer.getvalue()


def _fields(folder: Path, name: str) -> list[dict[str, Any]]:
    return [row.fields for row in read_table(DataBlock(path=name), folder).rows]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str, packed: bool) -> None:
    records = RECORDS if kind != "csv" else [{"id": "a", "n": "1"}, {"id": "b, c", "n": "2"}]
    content = {
        "jsonl": "\n\n".join(json.dumps(record) for record in RECORDS).encode(),
        "csv": b'\xef\xbb\xbfid,n\r\na,1\r\n\r\n"b, c",2\r\n',
        "parquet": _parquet(RECORDS),
    }[kind]
    name = f"rows.{kind}" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert _fields(tmp_path, name) == records


def test_values_that_json_lacks_become_plain(tmp_path: Path) -> None:
    record = {
        "day": datetime.date(2024, 5, 1),
        "price": decimal.Decimal("1.50"),
        "whole": decimal.Decimal("3"),
        "raw": b"abc",
        "nested": {"when": [datetime.datetime(2024, 5, 1, 12, 0)]},
    }
    (tmp_path / "rows.parquet").write_bytes(_parquet([record]))
    assert _fields(tmp_path, "rows.parquet") == [
        {
            "day": "2024-05-01",
            "price": 1.5,
            "whole": 3,
            "raw": "abc",
            "nested": {"when": ["2024-05-01T12:00:00"]},
        }
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "r.jsonl",
            b'{"a": 1}\n{"a": \n[1]\n',
            ["r.jsonl:2: not valid JSON", "r.jsonl:3: expected a JSON object, got list"],
        ),
        ("r.jsonl", b'{"a": 1}\n\xff\n', ["r.jsonl:2: not a text file in UTF-8 (byte 0xff)"]),
        ("r.jsonl", b'{"a": 1}\n\0\n', ["r.jsonl:2: not a text file: holds a NUL character"]),
        ("r.csv", b"a,b\n1,2\n3\n", ["r.csv:3: expected 2 values as in the header, got 1"]),
        ("r.csv", b"a,a\n1,2\n", ["r.csv:1: the column 'a' stands twice in the header"]),
        ("r.csv", b'a,b\n"1"x,2\n', ["r.csv:2: not valid CSV"]),
        ("r.parquet", b"PAR1 nonsense", ["r.parquet: not a readable Parquet file"]),
        ("r.jsonl.gz", b"plain", ["r.jsonl.gz: not a whole gzip file"]),
        ("r.jsonl.gz", gzip.compress(b'{"a": 1}' * 100, mtime=0)[:-9], ["r.jsonl.gz: not a whole gzip file"]),
        ("r.txt", b"x", ["r.txt: expected a file that ends in .jsonl, .csv, .parquet"]),
    ],
)
def test_file_that_cannot_be_read_is_told_with_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileError) as caught:
        read_table(DataBlock(path=name), tmp_path)
    told = [str(mistake) for mistake in caught.value.mistakes]
    assert len(told) == len(expected)
    assert all(line.startswith(start) for line, start in zip(told, expected, strict=True)), told


def test_data_set_is_loaded_by_name_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "sums"
    folder.mkdir()
    for split in ("train", "test"):
        rows = [json.dumps({"id": f"{split}-{i}", "n": i}) for i in range(3)]
        (folder / f"{split}.jsonl").write_text("\n".join(rows))
    table = read_table(DataBlock(dataset="sums", split="test"), tmp_path)
    assert (table.name, [row.fields["id"] for row in table.rows]) == (
        "sums[test]",
        ["test-0", "test-1", "test-2"],
    )
    again = read_table(DataBlock(dataset="sums", split="test"), tmp_path)
    assert (
        again.sha256 == table.sha256 != read_table(DataBlock(dataset="sums", split="train"), tmp_path).sha256
    )
    with pytest.raises(DataFileError, match=r"there is no split 'tset'\nDid you mean `test`\?"):
        read_table(DataBlock(dataset="sums", split="tset"), tmp_path)
    with pytest.raises(DataFileError, match=r"expected `split`\nSplits: "):
        read_table(DataBlock(dataset="sums"), tmp_path)


def test_a_broken_row_is_told_with_one_line_number(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"a": 1}\n{bad}\n')
    with pytest.raises(DataFileError) as caught:
        read_table(DataBlock(path="d.jsonl"), tmp_path)
    assert "d.jsonl:2: not valid JSON: " in str(caught.value)
    assert "column 2" in str(caught.value)
    assert "line 1" not in str(caught.value)

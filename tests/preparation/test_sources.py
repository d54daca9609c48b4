"""Files of published sets: which are chosen, and that every form gives the same rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from agenttts.errors import DataError, InputError
from agenttts.preparation.recipes import RECIPES
from agenttts.preparation.sources import Files, found
from tests.preparation.published import question, write_jsonl

ROWS = [{"id": "1", "text": "one"}, {"id": "2", "text": "zwei, \u00fc"}]


def as_csv() -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "text"])
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


FORMS = {
    "rows.jsonl": "".join(json.dumps(row) + "\n\n" for row in ROWS).encode(),
    "rows.json": json.dumps(ROWS, indent=2).encode(),
    "lines.json": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "rows.csv": as_csv(),
    "rows.parquet": as_parquet(),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows_each_time(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(FORMS[name]) if packed else FORMS[name])
    rows = Files((path, path))
    assert [dict(row) for row in rows] == [*ROWS, *ROWS]
    assert [dict(row) for row in rows] == [*ROWS, *ROWS]


def test_a_parquet_row_tells_its_columns_and_lacks_others(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(as_parquet())
    row = next(iter(Files((tmp_path / "rows.parquet",))))
    assert (list(row), len(row), "id" in row, "other" in row, row.get("other")) == (
        ["id", "text"],
        2,
        True,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", b'{"id": 1}\n{"id":', "line 2: not valid JSON"),
        ("a.jsonl", b"[1]", "line 1: expected an object, got list"),
        ("a.json", b'[{"id": 1}, {"id"', "not valid JSON"),
        ("a.json", b'[{"id": 1}', "the list has no end"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.csv", b'id,text\n"1', "cannot be read"),
        ("a.csv", b"id,text\n1,2,3\n", "another number of values than the header"),
        ("a.parquet", b"no", "not a readable Parquet file"),
        ("a.jsonl.gz", b"no", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"id": 1}' * 99, mtime=0)[:-20], "cannot be read"),
        ("a.jsonl", b"\xff\xfe", "not a text file in UTF-8"),
        ("a.txt", b"", "expected a file that ends in .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_name(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=told) as caught:
        list(Files((tmp_path / name,)))
    assert name in str(caught.value)


def chosen(name: str, folder: Path) -> tuple[list[str], list[str], dict[str, list[str]]]:
    with found(RECIPES[name].published, str(folder), lambda line: None) as (tables, origin):
        assert isinstance(tables.search, Files)
        assert isinstance(tables.test, Files)
        beside: dict[str, Any] = dict(tables.beside)
        names = [
            [path.relative_to(folder).as_posix() for path in files.paths]
            for files in (tables.search, tables.test)
        ]
        assert len(origin.files) == len({*names[0], *names[1], *beside})
        return (
            names[0],
            names[1],
            {role: [path.name for path in files.paths] for role, files in beside.items()},
        )


@pytest.mark.parametrize(
    ("name", "files", "search", "test", "beside"),
    [
        (
            "hotpotqa",
            ["distractor/train-00000-of-00002.parquet", "distractor/train-00001-of-00002.parquet",
             "distractor/validation-00000-of-00001.parquet", "fullwiki/train-00000-of-00001.parquet",
             "fullwiki/validation-00000-of-00001.parquet", "fullwiki/test-00000-of-00001.parquet"],
            ["distractor/train-00000-of-00002.parquet", "distractor/train-00001-of-00002.parquet"],
            ["distractor/validation-00000-of-00001.parquet"],
            {},
        ),
        (
            "hotpotqa",
            ["hotpot_train_v1.1.json", "hotpot_dev_distractor_v1.json", "hotpot_dev_fullwiki_v1.json"],
            ["hotpot_train_v1.1.json"],
            ["hotpot_dev_distractor_v1.json"],
            {},
        ),
        (
            "2wikimultihopqa",
            ["train.json", "dev.json", "test.json", "id_aliases.json"],
            ["train.json"], ["dev.json"], {"aliases": ["id_aliases.json"]},
        ),
        ("2wikimultihopqa", ["train.parquet", "dev.parquet", "test.parquet", "README.md"], ["train.parquet"], ["dev.parquet"], {}),
        (
            "cwq",
            ["data/train-00000-of-00018-a0.parquet", "data/test-00000-of-00003-e6.parquet", "data/validation-00000-4f.parquet"],
            ["data/train-00000-of-00018-a0.parquet"], ["data/test-00000-of-00003-e6.parquet"], {},
        ),
        (
            "taskbench",
            [f"data_{kind}/{file}" for kind in ("dailylifeapis", "huggingface", "multimedia")
             for file in ("data.json", "data.parquet", "improved.parquet", "tool_desc.json", "graph_desc.json", "user_requests.jsonl")],
            ["data_dailylifeapis/data.parquet"], ["data_dailylifeapis/data.parquet"], {"tools": ["tool_desc.json"]},
        ),
        ("taskbench", ["data.json", "graph_desc.json"], ["data.json"], ["data.json"], {"tools": ["graph_desc.json"]}),
        (
            "livecodebench",
            ["test.jsonl", "test2.jsonl", "test6.jsonl", "code_generation_lite.py"],
            ["test.jsonl", "test2.jsonl", "test6.jsonl"], ["test.jsonl", "test2.jsonl", "test6.jsonl"], {},
        ),
        ("chatdev", ["data_attribute_format.csv", "check.csv"], ["data_attribute_format.csv"], ["data_attribute_format.csv"], {}),
    ],
)  # fmt: skip
def test_the_files_of_a_set_are_found_by_their_names(
    tmp_path: Path,
    name: str,
    files: list[str],
    search: list[str],
    test: list[str],
    beside: dict[str, list[str]],
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    assert chosen(name, tmp_path) == (search, test, beside)


def test_a_folder_without_the_files_of_a_split_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [question(1)])
    with pytest.raises(DataError, match="no file for test problems"):
        chosen("hotpotqa", tmp_path)


def test_one_file_serves_both_splits_and_what_lies_beside_it_is_found(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"id": "1"}])
    write_jsonl(tmp_path / "tool_desc.json", [{"id": "t"}])
    with found(RECIPES["taskbench"].published, str(tmp_path / "mine.jsonl"), lambda line: None) as (
        tables,
        origin,
    ):
        assert tables.search is tables.test
        assert list(tables.beside["tools"]) == [{"id": "t"}]
        assert [name for name, _ in origin.files] == ["mine.jsonl", "tool_desc.json"]


@pytest.mark.parametrize("source", ["nowhere.jsonl", "no/such.parquet", "a/b/c", "missing"])
def test_a_source_that_is_nothing_is_told(source: str) -> None:
    with (
        pytest.raises(InputError, match="there is no such file or folder"),
        found(RECIPES["cwq"].published, source, lambda line: None),
    ):
        pass

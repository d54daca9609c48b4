from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import DataError, TaskFileError
from agenttts.task.sources import locate_data
from agenttts.task.task import Task
from tests.task.conftest import ROWS

Write = Callable[..., Path]
OTHERS = [
    {"id": f"o{i}", "question": f"{i}?", "answer": i, "hard": False, "split": split}
    for i, split in enumerate(["dev"] * 4 + ["final"] * 4)
]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def _folder(path: Path) -> Path:
    _write(path / "search.jsonl", OTHERS[:4])
    _write(path / "test.jsonl.gz", OTHERS[4:])
    return path


@pytest.fixture
def published(project: Write) -> Path:
    """A task whose source is a data set that is not there."""
    return project(
        ("data: {path: rows.jsonl, id: id}", "data: {dataset: nobody/nothing, split: train, id: id}"),
        ("search: {where: {split: dev}}", "search: {n: 50, where: {split: dev}}"),
        ("test: {where: {split: final}}", "test: {n: 500, where: {split: final}}"),
    )


def test_a_file_in_place_of_the_source_is_divided_as_the_splits_say_and_n_is_at_most(
    published: Path, tmp_path: Path
) -> None:
    _write(tmp_path / "own.jsonl", OTHERS)
    task = Task.load(published, data="own.jsonl")
    assert {one.id for one in task.search} == {"o0", "o1", "o2", "o3"}
    assert {one.id for one in task.test()} == {"o4", "o5", "o6", "o7"}
    assert task.n_test == 4


def test_of_one_file_without_where_search_problems_take_half_at_most(project: Write, tmp_path: Path) -> None:
    path = project(("{where: {split: dev}}", "{n: 50}"), ("{where: {split: final}}", "{n: 3}"))
    task = Task.load(path, data=_write(tmp_path / "own.jsonl", OTHERS))
    assert (len(task.search), len(task.test())) == (4, 3)
    with pytest.raises(TaskFileError, match="50 problems wanted, 8 left"):
        Task.load(path, data=tmp_path / "own.jsonl", n_search=50)


def test_a_folder_gives_search_and_test_problems_each(published: Path, tmp_path: Path) -> None:
    _folder(tmp_path / "own")
    task = Task.load(published, data="own")
    assert {one.id for one in task.search} == {"o0", "o1", "o2", "o3"}
    assert {one.id for one in task.test()} == {"o4", "o5", "o6", "o7"}


def test_a_name_is_looked_up_in_the_working_folder_first_and_then_beside_the_task_file(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "sample")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert locate_data("sample", tmp_path).folder == tmp_path / "sample"
    _folder(elsewhere / "sample")
    assert locate_data("sample", tmp_path).folder == elsewhere / "sample"
    with pytest.raises(
        DataError, match=r"^smple: no such file or folder of data(.|\n)*Did you mean `sample`"
    ):
        locate_data("smple", tmp_path)


def test_a_folder_that_lacks_a_split_is_refused_unless_that_is_not_needed(
    published: Path, tmp_path: Path
) -> None:
    folder = _folder(tmp_path / "own")
    (folder / "test.jsonl.gz").unlink()
    with pytest.raises(
        DataError, match=r"own: this folder has no file with test problems(.|\n)*found: search.jsonl"
    ):
        Task.load(published, data=folder)
    task = Task.load(published, data=folder, needs="search")
    assert (len(task.search), task.n_test) == (4, 0)
    for one in (task, Task.from_json(task.to_json())):
        assert len(one.search) == 4
        with pytest.raises(DataError, match="no test problems"):
            one.test()


def test_two_files_of_one_split_are_refused(published: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "own")
    _write(folder / "search.jsonl.gz", OTHERS)
    with pytest.raises(DataError, match=r"search.jsonl and search.jsonl.gz are both there"):
        Task.load(published, data=folder)


@pytest.mark.parametrize(
    ("old", "new", "reader"),
    [
        ("question", "qestion", "a prompt"),
        ("answer", "answers", "gold"),
        ("id", "idx", "`id`"),
        ("split", "splt", "`where`"),
    ],
)
def test_a_column_that_the_file_lacks_is_told_with_the_file_and_the_nearest(
    published: Path, tmp_path: Path, old: str, new: str, reader: str
) -> None:
    rows = [{new if key == old else key: value for key, value in row.items()} for row in OTHERS]
    _write(tmp_path / "own.jsonl", rows)
    with pytest.raises(TaskFileError) as caught:
        Task.load(published, data="own.jsonl")
    (mistake,) = caught.value.mistakes
    assert mistake.file == "own.jsonl"
    assert f"no row has the column `{old}`" in mistake.message
    assert reader in mistake.message
    assert mistake.hint == f"Did you mean `{new}`?"


def test_fields_are_made_of_the_columns_of_the_file(project: Write, tmp_path: Path) -> None:
    path = project(
        ("id: id}", "id: id, fields: {answer: {from: published, parse: last_number}}}"),
        rows=[{**row, "published": f"#### {row['answer']}"} for row in ROWS],
    )
    own = [{**row, "published": f"#### {10 * i}"} for i, row in enumerate(OTHERS)]
    task = Task.load(path, data=_write(tmp_path / "own.jsonl", own))
    assert {one.fields["answer"] for one in task.search} == {"0", "10", "20", "30"}


def test_other_data_make_another_task_wherever_they_lie(published: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "own")
    task = Task.load(published, data=folder)
    shutil.copytree(folder, tmp_path / "moved")
    assert Task.load(published, data=tmp_path / "moved").digest == task.digest
    _write(folder / "search.jsonl", [{**row, "hard": True} for row in OTHERS[:4]])
    assert Task.load(published, data=folder).digest != task.digest


def test_a_stored_task_knows_its_data_and_refuses_them_changed(published: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "own")
    task = Task.load(published, data=folder)
    stored = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert (stored.search, stored.test(), stored.digest) == (task.search, task.test(), task.digest)
    folder.rename(tmp_path / "moved")
    assert Task.from_json(task.to_json()).with_data(tmp_path / "moved").test() == task.test()
    _write(tmp_path / "moved" / "test.jsonl.gz", OTHERS[5:])
    (tmp_path / "moved").rename(folder)
    with pytest.raises(DataError, match=r"test.jsonl.gz: has changed"):
        Task.from_json(task.to_json()).test()


def test_a_loaded_task_takes_other_data_or_its_own_from_where_they_were_moved(
    project: Write, tmp_path: Path
) -> None:
    task = Task.load(project())
    assert len(task.test()) == 6
    other = task.with_data(_write(tmp_path / "own.jsonl", OTHERS))
    assert {one.id for one in other.test()} == {"o4", "o5", "o6", "o7"}
    assert other.digest != task.digest
    (tmp_path / "rows.jsonl").rename(_write(tmp_path / "there" / "rows.jsonl", []))
    for place in ("there", "there/rows.jsonl"):
        moved = Task.from_json(task.to_json()).with_data(place)
        assert (moved.digest, moved.test()) == (task.digest, task.test())


def test_of_a_folder_with_one_split_a_loaded_task_takes_what_is_needed(
    project: Write, tmp_path: Path
) -> None:
    task = Task.load(project())
    folder = _folder(tmp_path / "own")
    (folder / "search.jsonl").unlink()
    assert len(task.with_data(folder, needs="test").test()) == 4
    with pytest.raises(DataError, match="no file with search problems"):
        task.with_data(folder)


def test_a_loaded_task_refuses_data_that_lack_what_it_reads(project: Write, tmp_path: Path) -> None:
    task = Task.load(project())
    _write(tmp_path / "own.jsonl", [{"id": "x", "split": "dev", "question": "?"}])
    with pytest.raises(DataError, match=r"own.jsonl: no row has the column `answer`"):
        task.with_data("own.jsonl")


def test_problems_that_search_and_test_files_share_are_refused(published: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "own")
    _write(folder / "test.jsonl.gz", [{**row, "split": "final"} for row in OTHERS[:4]])
    with pytest.raises(TaskFileError, match="is also in the test data"):
        Task.load(published, data=folder)


def test_columns_that_verifiers_read_are_looked_for_too(project: Write, tmp_path: Path) -> None:
    path = project(
        ("data: {path: rows.jsonl, id: id}", "data: {dataset: nobody/nothing, split: train, id: id}"),
        ("score:\n  verifier: numeric\n  gold: answer\n", "score: {verifier: {kind: code, tests: cases}}\n"),
    )
    _write(tmp_path / "own.jsonl", [{**row, "case": []} for row in OTHERS])
    with pytest.raises(TaskFileError) as caught:
        Task.load(path, data="own.jsonl")
    (mistake,) = caught.value.mistakes
    assert mistake.message == "no row has the column `cases`, which `score.verifier` reads."
    assert mistake.hint == "Did you mean `case`?"

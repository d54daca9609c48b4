"""`agenttts record` as users start it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenttts.cli import app
from agenttts.models.recorded_columns import COLUMNS
from tests.task.test_importing import row, table, votes


def record(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["record", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_an_import_says_what_it_found_and_what_to_do_next(tmp_path: Path) -> None:
    path = table(tmp_path, [*votes(), *[row("hard", d, answer="z", score="0") for d in range(4)]])
    code, out, _ = record("import", path, "--out", tmp_path / "mine")
    assert code == 0
    words = " ".join(out.split())
    assert "solve m 9 4 0.444 10 20 1B counted" in words
    assert "1 problem no draw solves" in words
    assert f"agenttts optimize {tmp_path / 'mine'}" in words


def test_an_imported_folder_is_searched_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, [*votes(n_problems=12), *votes(n_problems=12, model="big", size="4")])
    assert record("import", path, "--out", tmp_path / "mine")[0] == 0
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["optimize", "mine", "--trials", "4", "--json"])
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["figures_from"].startswith("Figures come from recorded draws")
    assert result["n_trials"] == 4


def test_mistakes_end_with_exit_code_2_and_their_places(tmp_path: Path) -> None:
    path = table(tmp_path, [row(score="2"), row("p1", score="x")])
    code, out, err = record("import", path, "--out", tmp_path / "mine")
    assert (code, out) == (2, "")
    assert "row 2, column score" in err
    assert "row 3, column score" in err
    assert not (tmp_path / "mine").exists()


def test_json_holds_cells_and_warnings(tmp_path: Path) -> None:
    path = table(tmp_path, votes(stage="solve"))
    code, out, _ = record("import", path, "--out", tmp_path / "mine", "--stage", "first=solve:0-2", "--json")
    data = json.loads(out)
    assert code == 0
    assert [(cell["stage"], cell["least"]) for cell in data["cells"]] == [("first", 3)]
    assert data["task_file"] == str(tmp_path / "mine" / "task.yaml")


@pytest.mark.parametrize("place", ["draws.csv", "."])
def test_show_tells_what_a_table_or_a_folder_holds(tmp_path: Path, place: str) -> None:
    turns = [row("p0", t, stage="debug", parent=str(t - 1) if t else "") for t in range(3)]
    table(tmp_path, [*votes(), *turns])
    code, out, _ = record("show", tmp_path / place)
    assert code == 0
    assert "35 draws, SHA-256" in out
    assert "its draws are turns" in " ".join(out.split())


def test_show_of_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    code, _, err = record("show", tmp_path)
    assert code == 2
    assert "no table in this folder" in err


def test_an_import_without_a_task_says_why_first_and_ends_with_2(tmp_path: Path) -> None:
    path = table(tmp_path, votes(decode=""))
    code, out, _ = record("import", path, "--out", tmp_path / "mine")
    assert code == 2
    assert " ".join(out.split()).startswith(
        "No task was drafted: nothing is left that could be replayed. Name a task by --task"
    )
    assert "Next:" not in out
    assert record("import", path, "--out", tmp_path / "mine", "--json")[0] == 2


def test_tables_without_scores_are_said_to_hold_nothing_to_score_by(tmp_path: Path) -> None:
    rows = [row(f"p{i}", score="") for i in range(4)]
    _, out, _ = record("import", table(tmp_path, rows), "--out", tmp_path / "mine")
    words = " ".join(out.split())
    assert "nothing can be scored" in words
    assert "is worth what its column" not in words


def test_the_help_of_import_says_what_each_column_means_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = record("import", "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    for column in COLUMNS:
        assert f"{column.name} {'needed: ' if column.needed else ''}{column.meaning}" in words
    assert "(also named prompt_tokens)" in words

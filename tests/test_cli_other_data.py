"""`--data` and `data=`: a task's commands on other data than the task names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import agenttts as package
from agenttts.cli import app

SEARCH, TEST = 8, 10


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def printed(*arguments: str | Path) -> Any:
    done = agenttts(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def optimized(task: Path, *arguments: str | Path) -> Path:
    """Return the folder of a run."""
    told = printed("optimize", task, "--allocator", "random", "--trials", "3", *arguments)
    return Path(told["plan"]["path"]).parent


@pytest.fixture
def published(recorded_task: Path) -> Path:
    """The task, of a data set that cannot be reached; some of its rows lie in the working folder under `own`."""
    rows = [json.loads(line) for line in (recorded_task.parent / "problems.jsonl").read_text().splitlines()]
    (recorded_task.parent / "problems.jsonl").unlink()
    text = recorded_task.read_text()
    before = next(line for line in text.splitlines() if line.startswith("data:"))
    recorded_task.write_text(text.replace(before, "data: {dataset: nobody/nothing, split: train, id: id}"))
    Path("own").mkdir()
    for split, n in (("search", SEARCH), ("test", TEST)):
        kept = [row for row in rows if row["split"] == split][:n]
        Path("own", f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    Path("own.jsonl").write_text(Path("own/search.jsonl").read_text() + Path("own/test.jsonl").read_text())
    return recorded_task


@pytest.mark.parametrize("data", ["own", "own.jsonl"])
def test_check_tells_the_numbers_of_problems_that_there_are(published: Path, data: str) -> None:
    done = agenttts("check", published, "--data", data)
    assert done.exit_code == 0, done.stderr
    assert f"{SEARCH} for search; sealed for the test: {TEST}" in done.stdout
    assert f"a confirmation on {TEST} problems" in " ".join(done.stdout.split())


def test_a_sample_beside_the_task_file_is_found_from_elsewhere(published: Path) -> None:
    Path("own").rename(published.parent / "sample")
    assert printed("check", published, "--data", "sample")["n_search"] == SEARCH


def test_what_is_wrong_with_data_ends_with_a_message_and_code_2(published: Path) -> None:
    row = json.loads(Path("own/test.jsonl").read_text().splitlines()[0])
    for name, content, expected in (
        ("nothing.jsonl", None, "nothing.jsonl: no such file or folder of data"),
        ("empty.jsonl", "", "empty.jsonl holds no rows"),
        (
            "other.jsonl",
            json.dumps({**row, "answr": 1, "answer": 2}).replace('"answer"', '"reply"'),
            "`answer`",
        ),
        ("torn.jsonl", '{"id": "a"', "torn.jsonl:1: not valid JSON"),
    ):
        if content is not None:
            Path(name).write_text(content)
        done = agenttts("check", published, "--data", name)
        assert done.exit_code == 2
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
    Path("own/test.jsonl").unlink()
    for command in (
        ["check", published],
        ["optimize", published],
        ["compare", published, "--allocators", "random"],
    ):
        done = agenttts(*command, "--data", "own")
        assert done.exit_code == 2
        assert "own: this folder has no file with test problems" in done.stderr


def test_a_plan_made_with_data_knows_them(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = optimized(published, "--data", "own").absolute()
    told = printed("evaluate", run)
    assert told["n_problems"] == TEST
    assert printed("evaluate", run, "--split", "search")["n_problems"] == SEARCH
    monkeypatch.chdir(tmp_path)
    assert printed("evaluate", run)["score"] == told["score"]

    data = tmp_path / "work" / "own"
    data.rename(tmp_path / "moved")
    gone = agenttts("evaluate", run)
    assert gone.exit_code == 2
    assert "--data FOLDER" in gone.stderr
    assert printed("evaluate", run, "--data", "moved")["score"] == told["score"]


def test_a_plan_is_scored_on_other_data(published: Path) -> None:
    lines = Path("own/test.jsonl").read_text().splitlines(keepends=True)
    for name, kept in (("few", lines[:4]), ("others", lines[3:])):
        Path(name).mkdir()
        Path(name, "search.jsonl").write_bytes(Path("own/search.jsonl").read_bytes())
        Path(name, "test.jsonl").write_text("".join(kept))
    run = optimized(published, "--data", "few")
    Path("others/search.jsonl").unlink()
    assert printed("evaluate", run)["n_problems"] == 4
    assert printed("evaluate", run, "--data", "others")["n_problems"] == TEST - 3
    assert package.evaluate(run, data="others").evaluation.n_problems == TEST - 3
    done = agenttts("evaluate", run, "--data", "others", "--split", "search")
    assert done.exit_code == 2
    assert "others: this folder has no file with search problems" in done.stderr


def test_other_data_make_another_run(published: Path) -> None:
    run = optimized(published, "--data", "own")
    assert optimized(published, "--data", "own") == run
    lines = Path("own/search.jsonl").read_text().splitlines(keepends=True)
    Path("own/search.jsonl").write_text("".join(lines[:-1]))
    assert optimized(published, "--data", "own") != run
    done = agenttts(
        "optimize", published, "--allocator", "random", "--trials", "3", "--data", "own", "--run", run
    )
    assert done.exit_code == 2
    assert "is a run of another task" in done.stderr


def test_a_run_goes_on_with_its_data_wherever_they_lie_and_with_no_other(published: Path) -> None:
    run = optimized(published, "--data", "own")
    Path("own").rename("moved")
    assert optimized(run, "--trials", "4", "--data", "moved") == run
    assert optimized(published, "--data", "moved", "--trials", "4", "--run", str(run)) == run
    done = agenttts("optimize", run, "--data", "own.jsonl")
    assert done.exit_code == 2
    assert "data cannot be changed" in " ".join(done.stderr.split())


def test_what_needs_search_problems_alone_takes_a_folder_without_others(published: Path) -> None:
    Path("own/test.jsonl").unlink()
    done = agenttts("verifiers", "check", "oracle", "--task", published, "--data", "own")
    assert f"{SEARCH} search problems" in " ".join(done.stdout.split()), done.stderr
    run = optimized(published, "--data", "own", "--no-confirm")
    assert printed("evaluate", run, "--split", "search")["n_problems"] == SEARCH
    done = agenttts("evaluate", run)
    assert done.exit_code == 2
    assert "there are no test problems" in done.stderr


def test_allocators_are_compared_on_data(published: Path) -> None:
    told = printed(
        "compare", published, "--allocators", "random", "--seeds", "2", "--trials", "3", "--jobs", "1", "--data", "own",
    )  # fmt: skip
    assert f"{SEARCH} search problems" in told["asked"]


def test_data_in_python(published: Path) -> None:
    result = package.optimize(published, data="own", allocator="random", n_trials=3)
    again = package.optimize(package.Task.load(published, data="own"), allocator="random", n_trials=3)
    assert again.plan_path == result.plan_path
    other = package.optimize(
        package.Plan.load(result.plan_path).task, data="own.jsonl", allocator="random", n_trials=3
    )
    assert other.plan_path != result.plan_path
    assert len(package.Plan.load(other.plan_path).task.search) == SEARCH

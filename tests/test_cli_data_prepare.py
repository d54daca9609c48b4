"""`agenttts data` as users start it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from agenttts.catalogue import catalogue_folder
from agenttts.cli import app
from agenttts.preparation import RECIPES
from agenttts.task.reading import missing_file
from tests.preparation.published import TOOLS, contest, graph_question, question, request, write_jsonl


def data(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def publish(name: str, folder: Path) -> Path:
    """Write a small set in the published shape."""
    if name in {"hotpotqa", "2wikimultihopqa"}:
        write_jsonl(folder / "train.jsonl", [question(n) for n in range(30)])
        write_jsonl(folder / "dev.jsonl", [question(n) for n in range(30, 60)])
    elif name in {"cwq", "webqsp"}:
        write_jsonl(folder / "train.jsonl", [graph_question(n) for n in range(6)])
        write_jsonl(folder / "test.jsonl", [graph_question(n) for n in range(6, 12)])
    elif name == "taskbench":
        write_jsonl(folder / "data.json", [request(n) for n in range(12)])
        (folder / "tool_desc.json").write_text(json.dumps({"nodes": TOOLS}))
    elif name == "chatdev":
        lines = "".join(f'App_{n},"Draws shape {n}, in colours.",Art\n' for n in range(12))
        folder.mkdir(parents=True)
        (folder / "data_attribute_format.csv").write_text(f"Name,Description,Category\n{lines}")
    else:
        write_jsonl(folder / "test.jsonl", [contest(n) for n in range(12)])
    return folder


COLUMNS = {
    "2wikimultihopqa": {"id", "question", "answers", "candidates", "gold_candidates", "type", "level"},
    "hotpotqa": {"id", "question", "answers", "candidates", "gold_candidates", "type", "level"},
    "cwq": {"id", "question", "answers", "topic_entities", "candidates", "gold_candidates"},
    "webqsp": {"id", "question", "answers", "topic_entities", "candidates", "gold_candidates"},
    "taskbench": {"id", "user_request", "type", "tools", "task_steps", "task_nodes", "task_links"},
    "chatdev": {"id", "description", "category"},
    "livecodebench": {"id", "question", "starter_code", "public_tests", "private_tests", "difficulty", "contest_date"},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_rows_and_a_record(name: str, tmp_path: Path, work: Path) -> None:
    source = publish(name, tmp_path / "set")
    code, out, err = data("prepare", name, "--from", source, "--n-search", "4", "--n-test", "5")
    assert code == 0, err
    made = work / "tasks" / name
    assert (len(rows(made / "search.jsonl")), len(rows(made / "test.jsonl"))) == (4, 5)
    for row in [*rows(made / "search.jsonl"), *rows(made / "test.jsonl")]:
        assert set(row) == COLUMNS[name]
    record = (made / "PREPARED.md").read_text()
    assert f"- licence of the published set: {RECIPES[name].published.licence}" in record
    assert "- search problems: 4 of 4 wanted" in record
    for path in source.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() in record
    assert str(tmp_path) not in record
    assert "search    4 problems\ntest      5 problems" in out
    assert not [path for path in made.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", RECIPES)
def test_the_task_comes_along_and_runs_on_what_was_made(name: str, tmp_path: Path, work: Path) -> None:
    """The folder is found by the task's name then, before that of the catalogue."""
    source = publish(name, tmp_path / "set")
    code, out, _ = data("prepare", name, "--from", source)
    assert code == 0
    assert (
        f"Next:\n  agenttts check {name} --data tasks/{name}\n" in out
    )  # there are fewer rows than the splits take
    made = work / "tasks" / name
    assert (made / "task.yaml").read_bytes() == (
        catalogue_folder() / "tasks" / name / "task.yaml"
    ).read_bytes()
    listed = CliRunner().invoke(app, ["tasks", "--json"])
    paths = {task["name"]: task["path"] for task in json.loads(listed.stdout)["tasks"]}
    assert paths[name] == str(made / "task.yaml")
    checked = CliRunner().invoke(app, ["check", name, "--data", f"tasks/{name}"])
    assert checked.exit_code == 0, checked.stderr


def test_the_same_files_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    source = publish("hotpotqa", tmp_path / "set")
    for out in ("one", "two"):
        assert data("prepare", "hotpotqa", "--from", source, "--out", out, "--n-search", "9")[0] == 0
    for path in Path("one").iterdir():
        if path.is_file():
            assert path.read_bytes() == (Path("two") / path.name).read_bytes()
    assert data("prepare", "hotpotqa", "--from", source, "--out", "one", "--n-search", "9")[0] == 0


def test_files_with_other_contents_are_kept_unless_forced(tmp_path: Path) -> None:
    source = publish("chatdev", tmp_path / "set")
    assert data("prepare", "chatdev", "--from", source, "--out", "mine")[0] == 0
    before = Path("mine/search.jsonl").read_bytes()
    code, _, err = data("prepare", "chatdev", "--from", source, "--out", "mine", "--seed", "1")
    assert code == 2
    assert "mine/search.jsonl" in err
    assert "--force" in err
    assert Path("mine/search.jsonl").read_bytes() == before
    assert data("prepare", "chatdev", "--from", source, "--out", "mine", "--seed", "1", "--force")[0] == 0
    assert Path("mine/search.jsonl").read_bytes() != before


def test_all_faulty_rows_are_told_at_once_with_line_and_id(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_jsonl(folder / "tool_desc.json", TOOLS)
    lacking = {key: value for key, value in request(2).items() if key != "tool_nodes"}
    nameless = {key: value for key, value in request(3).items() if key != "id"}
    rows = [json.dumps(row) for row in (request(1), lacking, nameless)]
    (folder / "data.jsonl").write_text("\n".join([*rows[:2], "{broken", rows[2], "[]"]) + "\n")
    arguments = ("prepare", "taskbench", "--from", folder, "--out", "mine")
    code, _, err = data(*arguments)
    words = " ".join(err.split())
    assert code == 2
    assert "data.jsonl: line 3: not valid JSON" in words
    assert "data.jsonl: line 4: a row has no column `id`" in words
    assert "data.jsonl: line 5: expected an object, got list" in words
    many = [json.dumps(lacking | {"id": f"r{n}"}) for n in range(30)]
    (folder / "data.jsonl").write_text("\n".join([rows[0], *many]))
    code, _, err = data(*arguments)
    assert (code, err.count("a row has no column `tool_nodes` or `task_nodes`")) == (2, 20)
    assert "(id r" in err
    assert "These are the first 20 faults." in err


def test_what_is_left_out_and_what_is_lacking_is_told(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "set" / "tool_desc.json", TOOLS)
    write_jsonl(tmp_path / "set" / "data.json", [request(1), request(2), request(3, tool_nodes="[]")])
    wished = ("--out", "mine", "--n-search", "1", "--n-test", "5")
    code, out, _ = data("prepare", "taskbench", "--from", tmp_path / "set", *wished)
    words = " ".join(out.split())
    assert code == 0
    assert "test 1 problem (of 5 wanted: there are no more)" in words
    assert f"left out 1 row: there are no gold steps or no gold nodes ({request(3)['id']})" in words
    record = Path("mine/PREPARED.md").read_text()
    assert "- rows: 3\n" in record
    assert "- test problems: 1 of 5 wanted" in record
    assert "    - there are no gold steps or no gold nodes: 1" in record


def test_json_holds_counts_and_origin(tmp_path: Path) -> None:
    source = publish("livecodebench", tmp_path / "set")
    wished = ("--n-search", "4", "--n-test", "4", "--from-date", "2024-02-01", "--to-date", "2024-10-31")
    code, out, err = data("prepare", "livecodebench", "--from", source, *wished, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["n_search"], told["n_test"], told["recipe_version"], told["n_rows"]) == (4, 4, 1, [12])
    assert [file["name"] for file in told["source_files"]] == ["test.jsonl"]
    record = Path("tasks/livecodebench/PREPARED.md").read_text()
    assert "- contests: from 2024-02-01 to 2024-10-31" in record


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("hotpot",), "Did you mean `hotpotqa`?"),
        (("chatdev", "--from-date", "2024-01-01"), "nothing reads --from-date"),
        (("livecodebench", "--from-date", "2024-02-01", "--to-date", "2024-01-01"), "is after --to-date"),
        (("chatdev", "--from", "missing.csv"), "there is no such file or folder"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_nothing_written(
    arguments: tuple[str, ...], told: str, work: Path
) -> None:
    code, out, err = data("prepare", *arguments)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())
    assert not list(work.iterdir())


def test_rows_of_another_set_are_told_with_what_was_expected(tmp_path: Path) -> None:
    source = publish("chatdev", tmp_path / "set")
    code, _, err = data("prepare", "cwq", "--from", source / "data_attribute_format.csv")
    assert code == 2
    assert "a row has no column `id`; its columns: Name, Description, Category" in err
    assert "Expected rows as published: rmanluo/RoG-cwq" in err


def test_a_missing_library_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)  # what Python does where it is not installed
    code, _, err = data("prepare", "hotpotqa", "--from", publish("hotpotqa", tmp_path / "set"))
    assert code == 2
    assert err == (
        "error: this preparation ranks by BM25, for which the library bm25s is missing. "
        "Install it: pip install 'agenttts[data]'\n"
    )
    assert data("prepare", "chatdev", "--from", publish("chatdev", tmp_path / "other"))[0] == 0


def test_the_list_names_every_recipe_with_source_and_licence() -> None:
    code, out, _ = data("list")
    words = " ".join(out.split())
    assert code == 0
    for name, recipe in RECIPES.items():
        assert name in words
        assert recipe.published.licence in words
    code, out, _ = data("list", "--json")
    assert {one["name"] for one in json.loads(out)["recipes"]} == set(RECIPES)


def test_a_task_without_its_data_says_how_to_make_them(tmp_path: Path, work: Path) -> None:
    assert "Run `agenttts data prepare cwq`" in missing_file(work / "tasks" / "cwq" / "search.jsonl")
    in_catalogue = missing_file(catalogue_folder() / "tasks" / "cwq" / "test.jsonl")
    assert "Run `agenttts data prepare cwq`" in in_catalogue
    elsewhere = tmp_path / "mine" / "cwq"
    assert f"Run `agenttts data prepare cwq --out {elsewhere}`" in missing_file(elsewhere / "search.jsonl")
    assert "data prepare" not in missing_file(tmp_path / "mine" / "other" / "search.jsonl")
    assert "data prepare" not in missing_file(elsewhere / "else.jsonl")


# --- over HTTP


@contextmanager
def serving(files: dict[str, bytes], name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serve files by their paths, and, with `name`, as a data set of Hugging Face; gives address and what was asked."""
    asked: list[str] = []
    commit = "a" * 40

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            info = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}
            file = path.removeprefix(f"/datasets/{name}/resolve/{commit}/").lstrip("/")
            is_info = name and path.startswith(f"/api/datasets/{name}")
            body = json.dumps(info).encode() if is_info else files.get(file)
            self.send_response(404 if body is None else 200)
            self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if with_body and body:
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def run(work: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the command as a process, since the library reads its settings when it is imported."""
    command = [sys.executable, "-m", "agenttts", "data", "prepare", *map(str, arguments)]
    settings = os.environ | environment
    return subprocess.run(command, cwd=work, env=settings, capture_output=True, text=True, timeout=100)


def test_a_data_set_is_read_at_its_commit_and_no_file_more_than_needed(tmp_path: Path, work: Path) -> None:
    source = publish("hotpotqa", tmp_path / "set")
    files = {
        "distractor/train-00000.jsonl": (source / "train.jsonl").read_bytes(),
        "distractor/validation-00000.jsonl": (source / "dev.jsonl").read_bytes(),
        "fullwiki/train-00000.jsonl": b"x",
    }
    with serving(files, "some/hotpot") as (address, asked):
        settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        wished = ("--from", "some/hotpot@v1", "--n-search", "3", "--n-test", "3")
        done = run(work, "hotpotqa", *wished, **settings)
    assert done.returncode == 0, done.stderr
    assert "/api/datasets/some/hotpot/revision/v1" in asked
    assert not any("fullwiki" in path for path in asked)
    record = (work / "tasks/hotpotqa/PREPARED.md").read_text()
    assert f"- read from: data set some/hotpot at commit {'a' * 40}" in record
    assert "- rows: 30 for search, 30 for test" in record
    assert len(rows(work / "tasks/hotpotqa/search.jsonl")) == 3


def test_a_data_set_that_cannot_be_reached_is_one_clear_line(tmp_path: Path, work: Path) -> None:
    done = run(work, "cwq", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: rmanluo/RoG-cwq@{RECIPES['cwq'].published.revision} cannot be fetched (")
    assert line.endswith("or give the files: --from FILE|FOLDER")
    assert "Traceback" not in done.stderr
    assert not (work / "tasks").exists()


def test_without_network_access_the_line_is_the_same(tmp_path: Path, work: Path) -> None:
    done = run(work, "webqsp", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "error: rmanluo/RoG-webqsp@main cannot be fetched (" in done.stderr


def test_a_file_is_read_from_a_web_address(tmp_path: Path) -> None:
    source = publish("chatdev", tmp_path / "set") / "data_attribute_format.csv"
    with serving({"data/srdd.csv": source.read_bytes()}) as (address, _):
        assert data("prepare", "chatdev", "--from", f"{address}/data/srdd.csv")[0] == 0
        code, _, err = data("prepare", "chatdev", "--from", f"{address}/none.csv", "--out", "other")
    assert code == 2
    assert "cannot be fetched" in err
    assert f"- read from: {address}/data/srdd.csv" in Path("tasks/chatdev/PREPARED.md").read_text()


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path, work: Path) -> None:
    write_jsonl(tmp_path / "set" / "train.jsonl", [graph_question(n) for n in range(2000)])
    write_jsonl(tmp_path / "set" / "test.jsonl", [graph_question(n) for n in range(2000, 2010)])
    wished = ["cwq", "--from", str(tmp_path / "set"), "--n-search", "2000"]
    command = [sys.executable, "-m", "agenttts", "data", "prepare", *wished]
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    assert "looked at" in process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "interrupted" in process.stderr.read()
    assert not list(work.rglob("*.jsonl"))

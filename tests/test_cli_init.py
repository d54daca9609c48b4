"""`agenttts init`, started as users start it: from a file to a task that runs, on endpoints that are real local servers."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from agenttts.cli import app
from agenttts.task.task import Task
from tests.models.local_server import Answer, closed_port_url, error, local_server

TINY = Path(__file__).resolve().parent.parent / "tasks" / "tiny" / "problems.jsonl"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def sums(name: str = "sums.jsonl", n: int = 30, **more: Any) -> Path:
    rows = [{"id": f"p{i}", "question": f"What is {i} + 1?", "answer": i + 1} | more for i in range(n)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(name)


def init(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["init", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def refused(code: int, *arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["init", *map(str, arguments)])
    assert done.exit_code == code, done.output
    assert not Path("tasks").exists()
    return " ".join(done.stderr.split())


def serving(*names: str) -> Any:
    return local_server(lambda body: {"object": "list", "data": [{"id": name} for name in names]})


def written(name: str = "sums") -> dict[str, Any]:
    return dict(yaml.safe_load(Path(f"tasks/{name}/task.yaml").read_text()))


# --- from a file


def test_what_was_guessed_is_told_with_the_reasons() -> None:
    text = " ".join(init(sums()).split())
    for words in (
        "tasks/sums/task.yaml written",
        "30 read from sums.jsonl; 15 to search with, 15 sealed",
        "question question: by its name",
        "kind number: every gold answer is a number",
        "scored by numeric",
        "of the 52 allocations",
        "for trying only",
        "agenttts check tasks/sums",
    ):
        assert words in text


def test_the_file_is_read_where_it_lies_unless_it_must_be_copied() -> None:
    init(sums())
    assert written()["data"]["path"] == "../../sums.jsonl"
    init(sums("other.jsonl"), "--copy")
    assert written("other")["data"]["path"] == "problems.jsonl"
    assert Path("tasks/other/problems.jsonl").read_text() == Path("other.jsonl").read_text()


def test_rows_that_cannot_be_used_are_left_out_and_counted() -> None:
    file = sums()
    with file.open("a") as opened:
        opened.write(
            '{"id": "x", "question": " ", "answer": 1}\n{"id": "y", "question": "?", "answer": null}\n'
        )
        opened.write('{"id": "z", "question": "?", "answer": ""}\n')
    told = json.loads(init(file, "--json"))
    assert (told["n_problems"], told["n_left_out"], told["copied"]) == (30, 3, True)
    assert "3 rows were left out (1 without a question, 2 without an answer)" in re.sub(
        r"\s*\n# ", " ", Path("tasks/sums/task.yaml").read_text()
    )


def test_one_row_is_too_few_and_nothing_is_written() -> None:
    assert "1 of 1 rows can be used; a task needs 2" in refused(2, sums(n=1))


def test_few_problems_are_told_with_what_they_can_tell_apart() -> None:
    text = " ".join(init(sums(n=2)).split())
    # 1.96 * sqrt(0.25 / 1), and of 100 problems.
    assert "1 search problem can tell a score only to within 0.98 either way" in text
    assert "100 tell it to within 0.10" in text
    assert "Few problems" not in init(sums("many.jsonl", n=60))


def test_rows_that_hold_chats_make_a_task() -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{i} + 1?"}, {"role": "assistant", "content": f"{i + 1}"}]}
        for i in range(6)
    ]
    Path("chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads(init("chats.jsonl", "--json"))
    assert (told["question"]["field"], told["gold"]["field"]) == ("messages.0.content", "messages.1.content")
    assert told["kind"] == "number"
    assert len(Task.load("tasks/chats").search) == 3


def test_a_folder_is_refused_with_its_files() -> None:
    folder = Path("data")
    folder.mkdir()
    (folder / "more.csv.gz").touch()
    assert "data: a folder, and one file of problems is needed" in refused(2, folder)
    assert "It holds more.csv.gz." in refused(2, folder)


def test_a_json_list_is_copied_into_lines() -> None:
    rows = [{"q": f"{i} + {i}", "a": 2 * i} for i in range(6)]
    Path("rows.json").write_text(json.dumps(rows))
    init("rows.json")
    assert len(Task.load("tasks/rows").search) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "holds no rows"), ("{", "not valid JSON"), ("[1, 2]\n", "expected a JSON object")],
)
def test_a_file_that_cannot_be_read_is_refused(content: str, words: str) -> None:
    Path("rows.jsonl").write_text(content)
    assert words in refused(2, "rows.jsonl")


def test_a_file_that_is_not_there_gets_the_nearest_name() -> None:
    sums()
    assert "Did you mean `sums.jsonl`?" in refused(2, "sum.jsonl")


def test_nothing_else_is_ever_written_over() -> None:
    init(sums())
    path = Path("tasks/sums/task.yaml")
    assert "unchanged" in init(sums())
    path.write_text("mine\n")
    done = CliRunner().invoke(app, ["init", "sums.jsonl"])
    assert done.exit_code == 2
    assert "there already, with other contents" in done.stderr
    assert path.read_text() == "mine\n"
    init("sums.jsonl", "--force")
    assert written()["name"] == "sums"
    assert [entry.name for entry in Path("tasks").iterdir()] == ["sums"], "nothing is left behind"


def test_without_a_file_an_example_stands_for_the_users_own() -> None:
    text = init("--name", "mine", "--question", "ask", "--gold", "right", "--yes")
    assert "They are an example" in " ".join(text.split())
    first = json.loads(Path("tasks/mine/problems.jsonl").read_text().splitlines()[0])
    assert set(first) == {"id", "ask", "right"}
    assert CliRunner().invoke(app, ["check", "mine"]).exit_code == 0


def test_several_stages_hand_on_what_they_wrote() -> None:
    init(sums(), "--stages", "plan,solve", "--models", "qwen2.5-7b,qwen2.5-72b")
    task = Task.load("tasks/sums")
    assert task.llm_stages == ("plan", "solve")
    prompt = task.file.stages["solve"].prompt
    assert prompt is not None
    assert "{{ stages.plan.answer }}" in str(prompt.user)
    assert (
        "--stages: '2nd' is no name"
        in CliRunner().invoke(app, ["init", "sums.jsonl", "--stages", "2nd"]).stderr
    )


def test_a_name_of_the_catalogue_is_taken_with_a_remark() -> None:
    assert "no longer the catalogue's" in " ".join(init(sums("gsm8k.jsonl")).split())


def test_the_default_budget_lets_in_about_half_of_the_allocations() -> None:
    for models in ("tiny/s,tiny/l", "qwen2.5-7b,qwen2.5-72b"):
        init(sums(), "--models", models, "--force")
        checked = CliRunner().invoke(app, ["check", "sums", "--json"])
        assert 0.4 < json.loads(checked.stdout)["space"]["feasible_share"] < 0.7


# --- models


def test_known_models_of_an_endpoint_keep_their_figures() -> None:
    with serving("Qwen/Qwen2.5-7B-Instruct", "tiny/s", "text-embedding-3-small") as server:
        init(sums(), "--endpoint", server.url)
        task = Task.load("tasks/sums")
    assert set(task.cards) == {"qwen2.5-7b", "tiny/s"}
    card = task.cards["qwen2.5-7b"]
    assert (card.base_url, card.served_as) == (server.url, "Qwen/Qwen2.5-7B-Instruct")
    assert card.parameters == 7.61e9
    assert task.cards["tiny/s"].source == "openai"
    assert task.file.budget.unit.value == "gflops"


def test_unknown_models_get_cards_and_a_budget_in_tokens_that_says_why() -> None:
    with serving("acme/mystery-1") as server:
        init(sums(), "--endpoint", server.url)
    task = Task.load("tasks/sums")
    assert task.file.budget.unit.value == "tokens"
    text = re.sub(r"\s*\n\s*# ", " ", Path("tasks/sums/task.yaml").read_text())
    assert "the size of acme/mystery-1 is not known" in text
    assert "add `parameters` or `price` to every card" in text


def test_a_size_that_is_given_makes_it_gflops() -> None:
    with serving("acme/mystery-1") as server:
        init(sums(), "--endpoint", server.url, "--parameters", "acme/mystery-1=7e9")
    assert written()["budget"]["unit"] == "gflops"
    assert Task.load("tasks/sums").cards["acme/mystery-1"].parameters == 7e9


def test_a_size_that_is_no_number_is_refused() -> None:
    with serving("acme/mystery-1") as server:
        told = refused(2, sums(), "--endpoint", server.url, "--parameters", "acme/mystery-1=seven")
    assert "expected NAME=NUMBER" in told


def test_the_key_stands_in_a_variable_and_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2-hunter2")
    with serving("m") as server:
        init(sums(), "--endpoint", server.url, "--api-key-env", "MY_KEY")
        assert server.keys == ["Bearer hunter2-hunter2"]
    text = Path("tasks/sums/task.yaml").read_text()
    assert "api_key_env: MY_KEY" in text
    assert "hunter2" not in text


def test_many_models_are_to_be_chosen_from() -> None:
    with serving(*(f"model-{i}" for i in range(40))) as server:
        told = refused(2, sums(), "--endpoint", server.url)
        assert "serves 40 models: choose up to 6 of them with --models" in told
        assert "Did you mean `model-33`?" in refused(
            2, sums(), "--endpoint", server.url, "--models", "modle-33"
        )
        init(sums(), "--endpoint", server.url, "--models", "model-3,model-7")
    assert list(written()["models"]) == ["model-3", "model-7"]


def test_an_endpoint_without_a_list_takes_models_by_name() -> None:
    with local_server(lambda body: error(404)) as server:
        assert "does the address lack /v1?" in refused(4, sums(), "--endpoint", server.url)
        init(sums(), "--endpoint", server.url, "--models", "acme-1,qwen2.5-7b")
    assert "could not be compared with it" in re.sub(
        r"\s*\n# ", " ", Path("tasks/sums/task.yaml").read_text()
    )


@pytest.mark.parametrize("answer", [Answer(401), Answer(500), Answer(body=b"hello")], ids=str)
def test_an_endpoint_that_cannot_be_asked_ends_with_4(answer: Answer) -> None:
    with local_server(lambda body: answer) as server:
        refused(4, sums(), "--endpoint", server.url)


def test_an_endpoint_that_is_gone_ends_with_4_and_no_address_with_2() -> None:
    assert "no connection" in refused(4, sums(), "--endpoint", closed_port_url())
    assert "begins with http" in refused(2, sums(), "--endpoint", "localhost:8000")


def test_names_that_a_hostile_endpoint_serves_stay_text() -> None:
    names = ('m: {x}"', "a\nb: c", "{{ 7 * 7 }}", "\x1b[31m", "m@mode", "- x", "x" * 400)
    with serving(*names) as server:
        init(sums(), "--endpoint", server.url)
    assert set(Task.load("tasks/sums").cards) == {'m: {x}"', "{{ 7 * 7 }}", "m-mode", "- x"}
    assert CliRunner().invoke(app, ["check", "sums"]).exit_code == 0


def test_a_model_that_is_no_card_gets_the_nearest_name() -> None:
    assert "Did you mean `qwen2.5-7b`?" in refused(2, sums(), "--models", "qwen2.5-7")
    assert "does not write" in refused(2, sums(), "--models", "tiny/prm")


# --- on a terminal


def on_terminal(*arguments: str, answers: list[str]) -> str:
    """Start a process on a terminal of its own, answer its questions one by one, and return all that it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "agenttts", "init", *arguments])  # noqa: S606 - on a terminal
    shown, waiting = b"", list(answers)
    while select.select([terminal], [], [], 30)[0]:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how a terminal says that its last process has ended
            break
        shown += part
        if shown.endswith(b": ") and waiting:
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    return shown.decode()


def test_a_terminal_is_asked_and_every_question_has_a_default() -> None:
    sums()
    shown = on_terminal(answers=["sums.jsonl", "", "", "", "", "", "", ""])
    for words in (
        "Field with the question [question]",
        "Kind of answer",
        "Stages",
        "Name of the task [sums]",
    ):
        assert words in shown
    assert written()["score"]["gold"] == "answer"


def test_what_is_answered_is_taken() -> None:
    sums(hint="short")
    with serving("acme-1", "acme-2") as server:
        answers = ["question", "hint", "text", server.url, "acme-2", "7e9", "plan,solve", "mine"]
        on_terminal("sums.jsonl", answers=answers)
    task = Task.load("tasks/mine")
    assert task.file.score.gold == "hint"
    assert task.llm_stages == ("plan", "solve")
    assert {name: card.parameters for name, card in task.cards.items()} == {"acme-2": 7e9}


# --- the whole way of a newcomer


@contextmanager
def tiny_endpoint() -> Iterator[str]:
    """`agenttts serve-models` in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "agenttts", "serve-models", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "Serving" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def test_a_newcomer_gets_from_30_rows_to_a_scored_plan(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in TINY.read_text().splitlines()[:30]]
    rows = [{"id": row["id"], "question": f"solve: {row['plan']}", "answer": row["answer"]} for row in lines]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def agenttts(*arguments: str) -> str:
        before = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "agenttts", *arguments], capture_output=True, text=True, timeout=100
        )
        with capsys.disabled():
            if os.environ.get("AGENTTTS_SHOW"):
                took = time.perf_counter() - before
                print(f"\n$ agenttts {' '.join(arguments)}   ({took:.1f} s)\n{done.stdout}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    with tiny_endpoint() as url:
        assert "kind      number" in agenttts("init", "rows.jsonl", "--endpoint", url)
        assert "15 for search; sealed for the test: 15" in agenttts("check", "rows")
        assert "serves 4 models" in agenttts("doctor", "rows", "--spend")
        found = json.loads(agenttts("optimize", "rows", "--trials", "12", "--run", "first", "--json"))
        assert found["status"] == "finished"
        assert "score" in agenttts("evaluate", "runs/first")
    best = max(trial["score"] for trial in found["trials"] if trial.get("score") is not None)
    assert best > 0.5, "the tiny models solve the problems that they were made for"

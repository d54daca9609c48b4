"""`agenttts doctor`, on tasks and plans whose endpoints are real local servers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agenttts.cli import app
from tests.conftest import write_recorded_task
from tests.models.local_server import Answer, closed_port_url, local_server

TASK = """
name: asked
data: {{path: rows.jsonl}}
splits: {{search: {{n: 4}}}}
models:
  m: {{source: openai, base_url: "{url}", parameters: 1.0e+9, api_key_env: DOCTOR_KEY}}
  spare: {{source: openai, base_url: "{spare}", parameters: 1.0e+9}}
stages:
  say:
    models: [m{more}]
    prompt: {{user: "{{{{ problem.question }}}}"}}
score: {{verifier: exact, gold: gold}}
budget: {{unit: gflops, default: 1.0e+9}}
"""
LIST = {"data": [{"id": "m"}, {"id": "spare"}]}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("DOCTOR_KEY", raising=False)


def task(folder: Path, url: str, more: str = "", spare: str = "http://127.0.0.1:9/v1") -> Path:
    rows = [json.dumps({"question": f"What is {i}?", "gold": str(i)}) for i in range(8)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "task.yaml").write_text(TASK.format(url=url, more=more, spare=spare))
    return folder / "task.yaml"


def doctor(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def findings(*arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    done = doctor(*arguments, "--json")
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.exit_code
    return done.exit_code, told["findings"]


def test_without_a_task_it_looks_at_the_machine_and_makes_nothing(tmp_path: Path) -> None:
    done = doctor()
    assert done.exit_code == 0, done.output
    for word in ("machine", "python", "sandbox", "store", "all 7", "OPENAI_API_KEY", "Name a task"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_task_whose_endpoint_answers_is_ready_and_nothing_is_spent(tmp_path: Path) -> None:
    with local_server(lambda body: LIST) as server:
        done = doctor(task(tmp_path, server.url))
        assert done.exit_code == 0, done.output
        assert server.paths == ["/v1/models"]
    assert "--spend asks" in done.stdout


def test_with_leave_the_models_are_asked(tmp_path: Path) -> None:
    with local_server() as server:
        server.routes = {"/v1/models": lambda body: LIST, "/v1/chat/completions": lambda body: Answer()}
        done = doctor(task(tmp_path, server.url), "--spend")
        assert done.exit_code == 0, done.output
        assert server.paths.count("/v1/chat/completions") == 4
    assert "this cost" in done.stdout


def test_a_refused_key_is_told_once_for_all_models_with_the_variable_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTOR_KEY", "hunter2-hunter2")
    refusal = Answer(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    with local_server(lambda body: refusal) as server:
        path = task(tmp_path, server.url, more=", n, o")
        cards = "".join(
            f'  {name}: {{source: openai, base_url: "{server.url}", parameters: 1, api_key_env: DOCTOR_KEY}}\n'
            for name in "no"
        )
        path.write_text(path.read_text().replace("stages:", cards + "stages:"))
        code, found = findings(path, "--spend")
    assert code == 2
    of_list, of_models = [one for one in found if one["verdict"] == "mend"]
    assert of_models["name"] == "m, n, o"
    assert {of_list["help"], of_models["help"]} == {"Put the right key into DOCTOR_KEY."}
    assert "HTTP 401" in of_models["message"]
    assert "⏎" not in of_models["message"]


def test_an_endpoint_that_is_down_ends_with_4(tmp_path: Path) -> None:
    code, found = findings(task(tmp_path, closed_port_url()))
    assert code == 4
    (down,) = [one for one in found if one["verdict"] == "down"]
    assert down["about"] == "endpoints"
    assert "base_url of m" in down["help"]


def test_a_key_that_is_not_set_ends_with_2_and_no_key_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = findings(task(tmp_path, "https://api.example.invalid/v1"))
    assert code == 2
    assert [one["name"] for one in found if one["verdict"] == "mend"] == ["DOCTOR_KEY"]
    monkeypatch.setenv("DOCTOR_KEY", "hunter2-hunter2")
    with local_server(lambda body: Answer(401, {"error": {"message": "bad key hunter2-hunter2"}})) as server:
        done = doctor(task(tmp_path, server.url))
        assert server.keys == ["Bearer hunter2-hunter2"]
    assert done.exit_code == 2
    assert "hunter2" not in done.output


def test_the_mistakes_of_a_task_are_findings(tmp_path: Path) -> None:
    path = task(tmp_path, "http://127.0.0.1:9/v1")
    path.write_text(path.read_text().replace("gold: gold", "gold: glod"))
    code, found = findings(path)
    assert code == 2
    (mistake,) = [one for one in found if one["about"] == "task"]
    assert "score.gold" in mistake["message"]
    assert mistake["help"] == "Did you mean `gold`?"
    assert any(one["about"] == "machine" for one in found), "everything else is looked at all the same"


def test_an_endpoint_may_be_named_alone(tmp_path: Path) -> None:
    with local_server(lambda body: LIST) as server:
        done = doctor("--endpoint", server.url)
    assert done.exit_code == 0
    assert "serves 2 models" in done.stdout
    assert doctor("--endpoint", closed_port_url()).exit_code == 4
    assert "begins with http" in doctor("--endpoint", "localhost:8000").output


def test_slow_endpoints_are_waited_for_at_once(tmp_path: Path) -> None:
    slow = Answer(body=LIST, after_s=1.0)
    with local_server(lambda body: slow) as one, local_server(lambda body: slow) as other:
        path = task(tmp_path, one.url, more=", spare", spare=other.url)
        before = time.monotonic()
        done = doctor(path, "--timeout", "0.4")
        assert time.monotonic() - before < 10
        assert done.exit_code == 4, done.output
        assert done.stdout.count("no reply within 0.4 s") == 2
        assert abs(one.times[0] - other.times[0]) < 0.4


def test_a_plan_is_looked_at_by_the_models_that_it_asks(tmp_path: Path) -> None:
    recorded = write_recorded_task(tmp_path / "sums")
    run = CliRunner().invoke(
        app, ["optimize", str(recorded), "--allocator", "random", "--trials", "4", "--run", "first"]
    )
    assert run.exit_code == 0, run.output
    for name in ("first", "runs/first", "runs/first/plan.yaml"):
        code, found = findings(name)
        assert code == 0, found
        (store,) = [one for one in found if one["about"] == "store"]
        assert "opens and can be written" in store["message"]
    (tmp_path / "sums" / "draws.csv").unlink()
    code, found = findings("first")
    assert code == 2
    assert any("draws.csv" in one["message"] for one in found if one["about"] in {"cards", "task"})

"""What a run does when it is asked for again: after edits of its code, from its folder, after failures."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app
from agenttts.study.events import read_events

SEARCH = ("--allocator", "random", "--trials", "2")
FAILING = (
    "def last(problem, answers):\n"
    "    if problem['id'] < 'p005':\n"
    "        raise ValueError('no such day')\n"
    "    return answers['answer']\n"
)
"""Fails on more search problems than a trial may lack."""
RIGHT = "def last(problem, answers):\n    return answers['answer']\n"


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


def outcome(done: Result) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def logged(folder: str | Path) -> list[dict[str, Any]]:
    return read_events(Path(folder) / "events.jsonl")[0]


@pytest.fixture
def function_task(recorded_task: Path) -> Path:
    """The task with a last stage by the function `last` of `steps.py`, which is not there yet."""
    text = recorded_task.read_text().replace(
        "score: {stage: answer",
        "  last:\n    needs: [answer]\n    function: steps.py:last\nscore: {stage: last",
    )
    recorded_task.write_text(text)
    return recorded_task


def test_a_run_by_code_that_was_mended_since_is_not_taken_for_the_answer(function_task: Path) -> None:
    steps = function_task.parent / "steps.py"
    steps.write_text(FAILING)
    first = outcome(agenttts("optimize", function_task, *SEARCH, "--no-confirm", "--trust", "--json"))
    assert {trial["status"] for trial in first["trials"]} == {"invalid"}
    steps.write_text(RIGHT)
    done = agenttts("optimize", function_task, *SEARCH, "--no-confirm", "--trust", "--json")
    assert done.exit_code == 0, done.stderr
    assert outcome(done)["run"] != first["run"]
    assert outcome(done)["n_paid"] == 0
    assert {trial["status"] for trial in outcome(done)["trials"]} == {"ok"}


def test_a_run_does_not_go_on_with_other_code_than_it_was_begun_with(function_task: Path) -> None:
    steps = function_task.parent / "steps.py"
    steps.write_text(RIGHT)
    begun = agenttts(
        "optimize", function_task, *SEARCH, "--trust", "--search-budget", "14", "--run", "r", "--json"
    )
    assert begun.exit_code == 3
    events = logged("runs/r")
    go_on = ("optimize", "runs/r", "--trust", "--search-budget", "2000")
    steps.write_text(FAILING)
    refused = agenttts(*go_on)
    assert refused.exit_code == 2
    assert "steps.py: changed or gone since runs/r was begun" in words(refused.stderr)
    assert [event["event"] for event in logged("runs/r")[len(events) :]] in ([], ["options"])
    again = agenttts("optimize", function_task, *SEARCH, "--trust", "--run", "r")
    assert again.exit_code == 2
    assert "other models, problems or functions" in words(again.stderr)
    steps.write_text(RIGHT)
    assert agenttts(*go_on).exit_code == 0


FLAKY = (
    "from pathlib import Path\n"
    "def last(problem, answers):\n"
    "    if Path('outage').exists() and problem['id'] >= 'p020':\n"
    "        raise OSError('the service is away')\n"
    "    return answers['answer']\n"
)
"""Fails on every unseen problem while there is a file `outage` in the working folder."""


def test_a_plan_without_a_score_on_unseen_problems_is_told_and_can_be_confirmed_again(
    function_task: Path,
) -> None:
    (function_task.parent / "steps.py").write_text(FLAKY)
    Path("outage").touch()
    asked = ("optimize", function_task, *SEARCH, "--trust", "--run", "r")
    cut = agenttts(*asked)
    assert cut.exit_code == 3, cut.stderr
    told = words(cut.stdout)
    assert "24 unseen problems failed and have no score (stage last: OSError, e.g. problem p0" in told
    assert "runner-up: 24 unseen problems failed" in told
    assert "failures none on search problems; on unseen ones see above" in told
    assert "Mend the cause, then confirm it again: agenttts optimize runs/r" in told
    assert "go on agenttts optimize runs/r" in words(agenttts("runs").stdout)
    search = [event for event in logged("runs/r") if event["event"] in {"pilot", "round", "trial"}]

    still = agenttts(*asked, "--json")
    assert (still.exit_code, outcome(still)["n_paid_now"]) == (3, 0)
    assert "run the same command again" in outcome(still)["message"]

    Path("outage").unlink()
    done = agenttts("optimize", "runs/r", "--trust", "--json")
    assert done.exit_code == 0, done.stderr
    assert outcome(done)["confirmation"]["winner"]["n"] == 24
    assert outcome(done)["message"] == ""
    assert [e for e in logged("runs/r") if e["event"] in {"pilot", "round", "trial"}] == search
    assert "agenttts optimize" not in agenttts("runs").stdout

    events = logged("runs/r")
    assert "nothing had to be paid again" in words(agenttts(*asked).stdout)
    assert logged("runs/r") == events


class _Adder(BaseHTTPRequestHandler):
    """A model that answers `What is I + 1?` and, while there is a file `outage`, refuses what is asked with I > 19."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        number = int(re.findall(r"What is (\d+) \+ 1", asked)[0])
        if number > 19 and Path("outage").exists():
            self._say(400, {"error": {"message": "no such sum", "type": "invalid_request_error"}})
            return
        choice = {"index": 0, "finish_reason": "stop"}
        message = {"role": "assistant", "content": f"It is {number + 1}"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": "adder"}
        self._say(200, {**head, "choices": [{**choice, "message": message}], "usage": usage})

    def _say(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def adder() -> Iterator[str]:
    """The base URL of an endpoint that serves `_Adder`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Adder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


@pytest.fixture
def served_task(recorded_task: Path, adder: str) -> Path:
    """The task with one stage, its model served over HTTP."""
    text = recorded_task.read_text()
    head, rest = text.split("models:\n", 1)
    answer = rest[rest.index("  answer:") :].replace("    needs: [think]\n", "")
    answer = answer.replace(
        "{{ problem.question }} Somebody says {{ stages.think.answer }}.", "{{ problem.question }}"
    )
    card = f"  adder: {{source: openai, base_url: '{adder}', parameters: 1.0e+6}}\n"
    answer = answer.replace("[rec/small, rec/large]", "[adder]")
    recorded_task.write_text(f"{head}models:\n{card}stages:\n{answer}")
    return recorded_task


def test_a_confirmation_that_a_provider_spoilt_ends_with_its_code_and_pays_for_what_was_missing(
    served_task: Path,
) -> None:
    Path("outage").touch()
    asked = ("optimize", served_task, *SEARCH, "--json")
    cut = agenttts(*asked)
    assert cut.exit_code == 4, cut.stdout + cut.stderr
    assert outcome(cut)["failures"] == []
    assert {f["cause"] for f in outcome(cut)["confirmation"]["winner_failures"]} == {"RequestRefusedError"}
    Path("outage").unlink()
    done = agenttts(*asked)
    assert done.exit_code == 0, done.stderr
    assert outcome(done)["run"] == outcome(cut)["run"]
    assert outcome(done)["confirmation"]["winner"]["mean"] == 1.0
    assert outcome(done)["n_trials"] == outcome(cut)["n_trials"]
    assert outcome(done)["n_paid"] == outcome(cut)["n_paid"] + outcome(done)["n_paid_now"]


def test_going_on_with_a_run_takes_options_that_change_nothing(served_task: Path, adder: str) -> None:
    begun = agenttts(
        *("optimize", served_task, *SEARCH, "--no-confirm", "--seed", "3", "--run", "r"),
        *("--endpoint", adder, "--search-problems", "18", "--budget", "0.5", "--json"),
    )
    assert begun.exit_code == 0, begun.stderr
    same = (
        *("--endpoint", f"{adder}/", "--source", "openai", "--seed", "3", "--allocator", "random"),
        *("--budget", "0.5gflops", "--search-problems", "18", "--no-confirm", "--run", "runs/r"),
        *("--store", f"sqlite:///{Path('runs/samples.sqlite').absolute()}"),
    )
    done = agenttts("optimize", "runs/r", *same, "--json")
    assert done.exit_code == 0, done.stderr
    assert outcome(done)["best"] == outcome(begun)["best"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (("--endpoint", "http://127.0.0.1:9/v1"), "endpoint"),
        (("--source", "litellm"), "source"),
        (("--seed", "4", "--budget", "0.5"), "seed"),
        (("--budget", "0.6"), "budget"),
        (("--no-racing",), "no_racing"),
        (("--search-problems", "17"), "n_search"),
        (("--run", "other"), "run"),
        (("--planner", "adder"), "planner"),
        (("--switch", "a=1"), "switches"),
    ],
)
def test_going_on_with_a_run_refuses_what_would_change_it_by_name(
    served_task: Path, said: tuple[str, ...], named: str
) -> None:
    begun = agenttts("optimize", served_task, *SEARCH, "--budget", "0.5", "--run", "r", "--json")
    assert begun.exit_code == 0, begun.stderr
    done = agenttts("optimize", "runs/r", *said)
    assert done.exit_code == 2
    assert f"what it was begun with is fixed, and {named} cannot be changed" in words(done.stderr)

"""What results say of a verifier that scores nothing, or little: it is paid for, and something else decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app
from tests.models.local_server import completion, local_server

CARD = "  judge: {{source: openai, base_url: '{url}', parameters: 1.0e+6}}\nstages:\n"
JUDGED = """    n_samples: [4]
    select: [{kind: best_of_n, verifier: {kind: judge, model: judge}}]
    sampling"""
NONSENSE = "I like it."


def agenttts(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


def words(done: Result) -> str:
    return " ".join(done.stdout.split())


def judged(task: Path, url: str) -> Path:
    """Let a judge choose among the samples of the last stage."""
    text = task.read_text().replace("stages:\n", CARD.format(url=url), 1)
    text = text.replace("    n_samples: [1, 4, 8]\n    sampling", JUDGED)
    text = text.replace("[1, 2, 4]", "[1]").replace("default: 0.6", "default: 20")
    task.write_text(text)
    return task


def nonsense(body: dict[str, Any]) -> dict[str, Any]:
    return completion(body, contents=[NONSENSE] * body.get("n", 1))


def sometimes(body: dict[str, Any]) -> dict[str, Any]:
    """Judge samples that say 100 alone: of the others nothing can be made."""
    told = "It is 100" in body["messages"][-1]["content"]
    return completion(body, contents=['{"mark": 7}' if told else NONSENSE] * body.get("n", 1))


OPTIONS = ("--allocator", "random", "--trials", "2", "--no-racing")


def test_a_verifier_that_never_scores_is_told_of_wherever_its_samples_are(recorded_task: Path) -> None:
    with local_server(nonsense) as server:
        judged(recorded_task, server.url)
        result = json.loads(agenttts("optimize", recorded_task, *OPTIONS, "--json").stdout)
        text = words(agenttts("optimize", recorded_task, *OPTIONS))
        plan = result["plan"]["path"]
        scored = json.loads(agenttts("evaluate", plan, "--json").stdout)
        shown = words(agenttts("evaluate", plan))
        diagnosed = agenttts("diagnose", result["run"])
    entry = result["best"]["unscored"]["answer"]
    assert (entry["select"], entry["n"]) == ("best_of_n(judge)", entry["n_samples"])
    assert entry["example"].startswith('it holds no JSON object with the key "mark"')
    assert (result["best"]["status"], result["best"]["n_failed"]) == ("ok", 0)
    n = sum(trial["unscored"]["answer"]["n_samples"] for trial in result["trials"])
    told = "the verifier of best_of_n(judge) scored 0 of {} samples at stage answer, e.g. "
    assert told.format(n) in text
    assert scored["unscored"]["answer"]["n"] == scored["unscored"]["answer"]["n_samples"] > 0
    assert told.format(scored["unscored"]["answer"]["n"]) in shown
    for out in (text, shown, words(diagnosed)):
        assert "scored 0 of" in out
        assert "the majority decided instead: as it is, this verifier is paid for and of no use" in out


def test_a_verifier_that_scores_some_samples_is_told_of_as_such(recorded_task: Path) -> None:
    with local_server(sometimes) as server:
        judged(recorded_task, server.url)
        result = json.loads(agenttts("optimize", recorded_task, *OPTIONS, "--json").stdout)
        text = words(agenttts("optimize", recorded_task, *OPTIONS))
    entry = result["best"]["unscored"]["answer"]
    assert 0 < entry["n"] < entry["n_samples"]
    assert "samples without a score cannot win" in text
    assert "of no use" not in text


def test_a_verifier_that_scores_needs_no_remark(recorded_task: Path) -> None:
    def marks(body: dict[str, Any]) -> dict[str, Any]:
        return completion(body, contents=['{"mark": 7}'] * body.get("n", 1))

    with local_server(marks) as server:
        judged(recorded_task, server.url)
        result = json.loads(agenttts("optimize", recorded_task, *OPTIONS, "--json").stdout)
        text = words(agenttts("optimize", recorded_task, *OPTIONS))
    assert result["best"]["unscored"]["answer"]["n"] == 0
    assert "the verifier of" not in text

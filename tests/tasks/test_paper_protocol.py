"""The paper's protocol on one of its tasks: six methods over HTTP, models and planner played from a script."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from agenttts._cli.quoting import forecast
from agenttts.allocators.base import PlannerCall
from agenttts.models.base import Message
from agenttts.report.published import published
from agenttts.study.opening import study_options
from agenttts.study.paper_methods import PAPER_METHODS
from agenttts.task.first_ways import with_first_ways
from agenttts.task.task import Task
from agenttts.testing.planners import Sensible
from tests.models.local_server import Body, completion, local_server
from tests.scripted_server import Asked, Reply, scripted_server

TASK = "2wikimultihopqa"
RIGHT = {
    "qwen2.5-7b": 0.5, "qwen2.5-32b": 0.7, "qwen2.5-72b": 0.9,
    "llama3.2-3b": 0.5, "llama3.1-8b": 0.65, "llama3.1-70b": 0.8,
}  # fmt: skip
"""Share of right draws that the script gives a model; an answer is right only where passages were found, too."""
ARGUMENTS = ["--trials", "9", "--batch", "3", "--planner", "adviser", "--jobs", "2", "--out", "paper"]


def chance(*parts: object) -> float:
    """A number in [0, 1) that follows from its arguments alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def players(task: Task):
    """Models that are right as often as `RIGHT` says; fusion writes the answer that most replies give."""
    problems = [*task.search, *task.test()]

    def script(asked: Asked) -> Reply:
        # As long as the paper takes them to be: in its unit, much shorter calls to a 3B model would cost less than nothing.
        return Reply(text(asked), prefill_tokens=256, decode_tokens=64)

    def text(asked: Asked) -> str:
        if "replies to the task above" in asked.prompt:
            told = re.findall(r"Answer: (.+)", asked.prompt.rpartition("replies to the task above")[2])
            return f"Answer: {Counter(told).most_common(1)[0][0]}" if told else "Answer: nobody"
        problem = next(one for one in problems if one.fields["question"] in asked.prompt)
        gold = problem.fields["gold_candidates"]
        right = chance(asked.model, problem.id, asked.draw) < RIGHT[asked.model]
        if "Do not answer the question." in asked.prompt:
            return "Passages: " + ", ".join(f"[{i}]" for i in (gold if right else [7]))
        knows = problem.fields["candidates"][gold[0]] in asked.prompt
        return (
            f"Answer: {problem.fields['answers'][0]}"
            if right and knows
            else f"Answer: nobody {asked.draw % 7}"
        )

    return script


def adviser(task: Task):
    """A scripted planner as a model behind an endpoint."""
    planner = Sensible(forecast(task, study_options(task, allocator="random")).space)

    def answer(body: Body) -> Body:
        messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
        form = body.get("response_format", {}).get("json_schema", {}).get("schema")
        return completion(body, contents=[planner(PlannerCall(messages, form)).text])

    return answer


@dataclass(frozen=True)
class Done:
    """The command, run once, and what it left behind."""

    ended: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def result(self) -> dict:
        return json.loads((self.folder / "runs/paper/paper.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("protocol")
    task = with_first_ways(Task.load(TASK, data="sample"))
    with scripted_server(players(task)) as server, local_server(always=adviser(task)) as planner:
        cards = folder / "budgets" / "models"
        cards.mkdir(parents=True)
        (cards / "mine.yaml").write_text(
            "format: 1\nmodels:\n  adviser:\n    source: openai\n"
            f"    base_url: {planner.url}\n    supports_json_schema: true\n"
        )
        arguments = ["--task", TASK, "--data", "sample", "--endpoint", server.url, "--yes", *ARGUMENTS]
        ended = subprocess.run(
            [sys.executable, "-m", "agenttts", "paper", *arguments],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=folder,
            env={**os.environ, "OPENAI_API_KEY": "unused", "COLUMNS": "80"},
        )
        return Done(ended, folder)


def test_our_table_stands_beside_the_published_one(done: Done):
    assert done.ended.returncode == 0, done.ended.stderr
    known = published(TASK)
    assert known is not None
    score = r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]"
    for method in PAPER_METHODS:
        figure = known.figures[method.contender]
        hours = "-" if figure.hours is None else f"{figure.hours:.1f}"
        name = re.escape(method.label)
        assert re.search(rf"^{name} +3 +\d\.\d{{3}} +{score} +{figure.score:.2f}$", done.ended.stdout, re.M)
        assert re.search(rf"^{name} +\d of 3 +\S.* {hours}$", done.ended.stdout, re.M)
    text = " ".join(done.ended.stdout.split())
    assert "answer: only fusion turns samples into an answer, the first way" in text
    assert "Problems are those of --data sample, not the task's own" in text
    assert max(map(len, done.ended.stdout.splitlines())) <= 80


def test_every_search_came_to_its_end_with_advice_and_the_rows_agree_with_them(done: Done):
    result = done.result
    assert (result["n_seeds"], result["n_search"], result["n_test"]) == (3, 6, 6)
    assert [one["status"] for one in result["searches"]] == ["finished"] * 18
    for row in result["methods"]:
        own = [one["test_score"] for one in result["searches"] if one["allocator"] == row["allocator"]]
        assert row["test_score"]["value"] == pytest.approx(sum(own) / 3)
        assert set(row["cost_to_best"]) == {
            "gflops",
            "usd",
        }  # the cards tell no speed, so hours are not known
        if row["planner"] is not None:
            assert row["planner"]["calls"] > 0
            assert row["planner"]["failed"] == 0


def test_only_the_first_way_of_each_stage_was_tried(done: Done):
    ways = {
        (choice["stage"], choice["select"])
        for one in done.result["searches"]
        for choice in one["allocation"]
        if choice["n_samples"] > 1
    }
    assert ways <= {("retrieve", "list_vote"), ("answer", "fusion")}

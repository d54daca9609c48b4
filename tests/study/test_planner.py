"""A study asks a planner model: a real server that answers, talks nonsense, refuses, stalls or is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import CardError, InputError
from agenttts.study.events import read_events
from agenttts.study.opening import study_options
from agenttts.study.planner import briefing
from agenttts.study.result import ProgressEvent, StudyOptions, StudyResult
from agenttts.study.study import Study
from agenttts.task.task import Task
from tests.models.local_server import Answer, Body, closed_port_url, completion, error, local_server

ADVICE = {
    "insights": [{"text": "The plan needs the large model.", "trials": [0, 1, 999], "confidence": 0.8}],
    "sketches": [
        {"stage": "solve", "model": "rec/large", "one_sample": 0.7, "plateau": 0.95, "half_way": 2},
    ],
    "allocations": [
        {
            "stages": {
                "plan": {"model": "rec/large", "n_samples": 2, "select": "majority"},
                "solve": {"model": "rec/large", "n_samples": 2, "select": "majority"},
            },
            "reason": "both large",
            "expected_score": 0.8,
        }
    ],
}


def advising(body: Body) -> Body:
    return completion(body, contents=[json.dumps(ADVICE)])


def saying(text: str) -> Callable[[Body], Body]:
    return lambda body: completion(body, contents=[text])


def card(url: str, **more: Any) -> ModelCard:
    figures = {"parameters": 1e9, "max_attempts": 1, "timeout_s": 5.0, **more}
    return ModelCard(name="adviser", source="openai", base_url=url, **figures)


def asking(options: StudyOptions, url: str, **more: Any) -> StudyOptions:
    return replace(options, allocator="agent", n_trials=9, batch=3, planner=card(url), **more)


def rounds(study: Study) -> list[dict[str, Any]]:
    events, _ = read_events(study.folder / "events.jsonl")
    return [event for event in events if event["event"] == "round"]


def make(tmp_path: Path, task: Task, options: StudyOptions, store: str = "memory:") -> Study:
    return Study.create(tmp_path / "run", task, options, store)


async def test_advice_is_asked_for_followed_and_kept(tmp_path: Path, task: Task, options: StudyOptions):
    with local_server(always=advising) as server:
        study = make(tmp_path, task, asking(options, server.url))
        result = await study.run()
    assert len(result.trials) == 9
    assert "agent" in {trial.origin for trial in result.trials}
    (insight,) = result.insights
    assert insight.text == "The plan needs the large model."
    assert insight.trials == (0, 1)
    assert result.planner is not None
    assert result.planner.calls == len(server.bodies) > 0
    assert result.planner.failed == 0
    assert result.planner.decode_tokens == 3 * result.planner.calls
    assert any("cites 1 trial(s) that do not exist" in note for note in result.planner.notes)
    assert study.state().archive.sketches[0].plateau == 0.95


async def test_the_planner_is_on_the_bill_and_its_replies_are_no_draws(
    tmp_path: Path, task: Task, options: StudyOptions
):
    with local_server(always=advising) as server:
        result = await make(tmp_path, task, asking(options, server.url)).run()
    used = sum(trial.n_paid for trial in result.trials)
    assert result.n_paid >= used
    assert result.planner is not None
    paid_for_draws = result.spent.decode_tokens - result.planner.decode_tokens
    # every completion of the recordings has between 3 and 9 tokens, so no reply of the planner can be among them
    assert 0 < 3 * result.n_paid <= paid_for_draws <= 9 * result.n_paid


BAD: dict[str, Callable[[Body], Any]] = {
    "malformed": saying('{"allocations": [{"stages": {"plan": '),
    "empty": saying(""),
    "hostile": saying("\x1b[2J\x00\ud800<script>" + '{"allocations":' * 2000 + "1" * 6000),
    "long": saying("[" * 1_000_000),
    "slow": lambda body: Answer(after_s=1.0),
    "refused 400": lambda body: error(400),
    "refused 401": lambda body: error(401),
    "broken 500": lambda body: error(500),
    "not JSON": lambda body: Answer(body=b"<html>"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_planner_costs_its_calls_alone_and_is_named(
    tmp_path: Path, task: Task, options: StudyOptions, kind: str
):
    with local_server(always=BAD[kind]) as server:
        deadline = 0.2 if kind == "slow" else 20.0
        study = make(tmp_path, task, asking(options, server.url, planner_deadline_s=deadline))
        result = await study.run()
    assert result.status == "finished"
    assert len(result.trials) == 9
    assert "agent" not in {trial.origin for trial in result.trials}
    asked = [event for event in rounds(study) if event["planner"]["calls"]]
    assert asked
    assert all(event["notes"] for event in asked)
    assert all(event["planner"]["calls"] <= 3 for event in asked)
    text = json.dumps(rounds(study))
    assert "\\u001b" not in text
    assert "\\u0000" not in text
    assert len(text) < 100_000


async def test_a_planner_that_is_not_there_costs_nothing(tmp_path: Path, task: Task, options: StudyOptions):
    study = make(tmp_path, task, asking(options, closed_port_url()))
    result = await study.run()
    assert len(result.trials) == 9
    assert result.planner is not None
    assert result.planner.failed == result.planner.calls > 0
    assert result.planner.decode_tokens == 0
    assert "no advice from the planner" in result.planner.notes[0]


class _StopAfter:
    """Cancels the study after some trials."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.task: asyncio.Task[StudyResult] | None = None

    def on(self, event: ProgressEvent) -> None:
        if event.kind == "trial" and event.trials_done >= self.after and self.task is not None:
            self.task.cancel()


async def test_a_recording_that_holds_no_advice_costs_nothing(
    tmp_path: Path, task: Task, options: StudyOptions
):
    recorded = replace(asking(options, ""), planner=task.cards["rec/large"])
    result = await make(tmp_path, task, recorded).run()
    assert len(result.trials) == 9
    assert result.planner is not None
    assert result.planner.failed == result.planner.calls > 0
    assert "RecordedMissError" in result.planner.notes[0]


async def test_a_study_that_is_resumed_asks_nothing_twice(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    with local_server(always=advising) as server:
        asked = asking(options, server.url)
        whole = await Study.create(tmp_path / "whole", task, asked, "memory:").run()
        n_whole = len(server.bodies)
        server.bodies.clear()
        study = Study.create(tmp_path / "run", task, asked, store_url)
        for after in (4, 6, 8):
            stop = _StopAfter(after)
            stop.task = asyncio.create_task(study.run(stop))
            with pytest.raises(asyncio.CancelledError):
                await stop.task
            study = Study.open(tmp_path / "run")
        result = await study.run()
        messages = [json.dumps(body["messages"]) for body in server.bodies]
    assert len(messages) == len(set(messages)) == n_whole
    assert [t.allocation for t in result.trials] == [t.allocation for t in whole.trials]
    assert result.insights == whole.insights
    assert result.planner == whole.planner


async def test_a_round_lost_after_the_reply_is_planned_again_from_the_store(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    with local_server(always=advising) as server:
        study = make(tmp_path, task, asking(options, server.url), store_url)
        first = await study.run()
        n_asked = len(server.bodies)
        # as a crash between the last reply and the writing of its round would leave the log
        path = study.folder / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        last = max(i for i, line in enumerate(lines) if '"event":"round"' in line)
        path.write_text("".join(lines[:last]))
        again = await Study.open(study.folder).run()
        assert len(server.bodies) == n_asked
    assert [t.allocation for t in again.trials] == [t.allocation for t in first.trials]
    assert again.insights == first.insights


async def test_the_budget_of_the_planner_holds(tmp_path: Path, task: Task, options: StudyOptions):
    with local_server(always=advising) as server:
        # Room for one call at its worst case: long prompts, up to 4,096 tokens written.
        study = make(tmp_path, task, asking(options, server.url, planner_budget=Budget(20, Unit.TOKENS)))
        result = await study.run()
        assert not server.bodies
    assert len(result.trials) == 9
    assert result.planner is not None
    assert (result.planner.calls, result.planner.failed) == (0, 0)
    assert result.planner.refused > 0
    assert "the planner's budget is 20 tokens, of which 0 tokens are spent" in " ".join(result.planner.notes)


async def test_the_budget_of_the_planner_counts_over_all_runs(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    def costly(body: Body) -> Body:
        usage = {"prompt_tokens": 3000, "completion_tokens": 4000, "total_tokens": 7000}
        return completion(body, contents=[json.dumps(ADVICE)], usage=usage)

    with local_server(always=costly) as server:
        limit = asking(options, server.url, planner_budget=Budget(20_000, Unit.TOKENS))
        study = make(tmp_path, task, limit, store_url)
        stop = _StopAfter(6)
        stop.task = asyncio.create_task(study.run(stop))
        with pytest.raises(asyncio.CancelledError):
            await stop.task
        result = await Study.open(study.folder).run()
    assert result.planner is not None
    assert 7000 * len(server.bodies) <= 20_000
    assert 1 <= len(server.bodies) <= 2
    assert result.planner.refused > 0


async def test_the_cap_needs_a_price_of_the_planner_alone(tmp_path: Path, task: Task, options: StudyOptions):
    price = {"input_per_million_usd": 2, "output_per_million_usd": 8}
    with local_server(always=advising) as server:
        priced = asking(options, server.url, planner_budget=Budget(1.0, Unit.USD))
        priced = replace(priced, planner=card(server.url, price=price))
        result = await make(tmp_path, task, priced).run()
    assert result.planner is not None
    assert result.planner.spent is not None
    assert result.planner.spent.usd == pytest.approx(
        (2 * result.planner.prefill_tokens + 8 * result.planner.decode_tokens) * 1e-6
    )
    assert result.spent.usd is None


async def test_billed_replies_without_content_are_on_the_planner_s_line(
    tmp_path: Path, task: Task, options: StudyOptions
):
    def nothing(body: Body) -> Body:
        return {**completion(body, contents=[""]), "choices": []}

    with local_server(always=nothing) as server:
        result = await make(tmp_path, task, asking(options, server.url)).run()
        n_requests = len(server.bodies)
    assert result.planner is not None
    assert result.spent_on_task is not None
    assert result.planner.calls == n_requests > 0
    assert result.planner.prefill_tokens > 0
    apart = result.spent_on_task.prefill_tokens + result.planner.prefill_tokens
    assert apart == pytest.approx(result.spent.prefill_tokens)


class _StopInTheSecondCall:
    """Cancels the study while the planner is asked for the second time."""

    def __init__(self) -> None:
        self.n_asked = 0
        self.messages: list[str] = []
        self.task: asyncio.Task[StudyResult] | None = None

    def on(self, event: ProgressEvent) -> None:
        self.n_asked += event.kind == "planning"
        self.messages.append(event.message)
        if self.n_asked == 2 and self.task is not None:
            self.task.cancel()


async def test_calls_of_a_round_that_was_cut_off_are_on_the_planner_s_line(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    with local_server(always=saying("no JSON")) as server:
        study = make(tmp_path, task, asking(options, server.url), store_url)
        stop = _StopInTheSecondCall()
        stop.task = asyncio.create_task(study.run(stop))
        with pytest.raises(asyncio.CancelledError):
            await stop.task
        cut = study.result()
        again = await Study.open(study.folder).run()
    assert "asking the planner adviser (for 120 s at most)" in stop.messages
    assert cut.planner is not None
    assert cut.planner.calls == 1
    assert cut.planner.prefill_tokens > 0
    assert again.n_asked_now > 0


async def test_a_planner_without_parameters_that_is_not_asked_leaves_flops_known(
    tmp_path: Path, task: Task, options: StudyOptions
):
    few = replace(asking(options, closed_port_url(), planner_budget=Budget(20, Unit.TOKENS)), n_trials=3)
    few = replace(few, planner=card(closed_port_url(), parameters=None))
    result = await make(tmp_path, task, few).run()
    assert result.spent.flops is not None


async def test_a_planner_that_cannot_be_billed_against_the_search_budget_is_refused_at_once(
    tmp_path: Path, task: Task, options: StudyOptions
):
    dear = replace(asking(options, "http://localhost:1/v1"), search_budget=Budget(1e6, Unit.USD))
    with pytest.raises(CardError, match="adviser"):
        make(tmp_path, task, dear)
    assert not (tmp_path / "run").exists()


def test_nothing_of_the_problems_is_in_the_briefing(task: Task):
    told = repr(briefing(task))
    assert "plan: {{ problem.question }}" in told
    for problem in (*task.search, *task.test()):
        assert problem.fields["question"] not in told


async def test_no_prompt_holds_anything_of_the_test_split(tmp_path: Path, task: Task, options: StudyOptions):
    with local_server(always=advising) as server:
        await make(tmp_path, task, asking(options, server.url)).run()
        asked = json.dumps(server.bodies)
    assert "solve" in asked
    for problem in task.test():
        assert problem.id not in asked
        assert problem.fields["question"] not in asked


async def test_the_schema_is_sent_where_the_card_says_so(tmp_path: Path, task: Task, options: StudyOptions):
    with local_server(always=advising) as server:
        plain = asking(options, server.url)
        await make(tmp_path, task, plain).run()
        assert all("response_format" not in body for body in server.bodies)
        server.bodies.clear()
        able = replace(plain, planner=card(server.url, supports_json_schema=True))
        await Study.create(tmp_path / "other", task, able, "memory:").run()
        form = server.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert set(form["json_schema"]["schema"]["properties"]) == {"insights", "sketches", "allocations"}


# --- options -----------------------------------------------------------------------------------------------------


def test_an_allocator_that_asks_needs_a_planner(task: Task):
    with pytest.raises(InputError, match="--planner"):
        study_options(task, budget=90, allocator="agent")


def test_an_allocator_that_asks_nobody_takes_no_planner(task: Task):
    with pytest.raises(InputError, match="--planner: allocator 'curves' asks no planner"):
        study_options(task, budget=90, allocator="curves", planner="rec/large")


def test_with_a_planner_the_agent_is_the_default(task: Task):
    assert study_options(task, budget=90, planner="rec/large").allocator == "agent"
    assert study_options(task, budget=90).allocator == "curves"


def test_the_planner_of_the_task_file_is_used(tmp_path: Path, task: Task):
    path = task.folder / "task.yaml"
    spare = "  other: {source: openai, base_url: 'http://localhost:1/v1', parameters: 1.0e+9}\n"
    text = path.read_text().replace("models:\n", "models:\n" + spare, 1)
    path.write_text(text + "planner: {model: other, temperature: null, max_tokens: 900}\n")
    options = study_options(Task.load(path), budget=90)
    assert options.allocator == "agent"
    assert options.planner is not None
    assert options.planner.name == "other"
    assert StudyOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    stored = Task.from_json(Task.load(path).to_json())
    assert stored.file.planner is not None
    assert stored.file.planner.temperature is None


def test_a_planner_without_a_card_is_told_with_its_line(task: Task):
    path = task.folder / "task.yaml"
    path.write_text(path.read_text() + "planner: rec/larg\n")
    with pytest.raises(InputError, match=r"task.yaml:\d+: planner: there is no model card `rec/larg`"):
        Task.load(path)


def test_a_planner_in_the_task_file_does_not_change_the_digest(task: Task):
    path = task.folder / "task.yaml"
    before = Task.load(path).digest
    path.write_text(path.read_text() + "planner: rec/large\n")
    assert Task.load(path).digest == before


def test_a_broken_prompt_is_found_before_anything_is_spent(tmp_path: Path, task: Task):
    (tmp_path / "propose.j2").write_text("{{ no_such_thing }}")
    with pytest.raises(InputError, match="no_such_thing"):
        study_options(task, budget=90, planner="rec/large", planner_prompts=tmp_path)
    (tmp_path / "propose.j2").write_text("{% if %}")
    with pytest.raises(InputError, match=r"propose\.j2:1"):
        study_options(task, budget=90, planner="rec/large", planner_prompts=tmp_path)


async def test_prompts_of_the_user_replace_those_of_the_package(
    tmp_path: Path, task: Task, options: StudyOptions
):
    (tmp_path / "propose.j2").write_text("MY OWN WORDS {{ budget }}\n{% include 'form.j2' %}")
    with local_server(always=advising) as server:
        mine = asking(options, server.url, planner_prompts=str(tmp_path))
        await make(tmp_path, task, mine).run()
        asked = server.bodies[0]["messages"][0]["content"]
    assert asked.startswith("MY OWN WORDS 90 tokens")
    assert "`insights`" in asked

"""Single passes read back from the store of a real run on recorded draws."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest

from agenttts.budgets.cost import Budget, Unit
from agenttts.models.base import Message, Request, SamplingParameters
from agenttts.report.facts import RunFacts, facts_of
from agenttts.report.facts.replay import telling, unreadable
from agenttts.study.result import StudyOptions
from agenttts.study.study import Study
from agenttts.task.task import Task
from tests.study.conftest import write_task


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run of the recorded task, its data and its store."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "task").mkdir()
    task = Task.load(write_task(folder / "task"))
    options = StudyOptions(budget=Budget(90, Unit.TOKENS), n_trials=9, batch=3, seed=5, n_confirm=20)
    study = Study.create(folder / "run", task, options, f"sqlite:///{folder / 'samples.sqlite'}")
    asyncio.run(study.run())
    return folder


@pytest.fixture(scope="module")
def facts(finished: Path) -> RunFacts:
    return facts_of(finished / "run")


def recorded(folder: Path) -> dict[tuple[str, str, str], list[str]]:
    texts = defaultdict(list)
    with (folder / "task" / "draws.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            texts[row["stage"], row["model"], row["problem_id"]].append(row["text"])
    return texts


def test_every_pass_that_was_asked_for_is_read_back_in_full(facts):
    rollouts = facts.rollouts
    assert (rollouts.n_asked, rollouts.n_read, rollouts.why_none) == (24, 24, "")
    assert {one.trial for one in rollouts.passes} == {facts.answer.winner, facts.answer.runner_up}


def test_samples_are_the_draws_of_the_run_with_the_scores_of_its_log(finished, facts):
    texts = recorded(finished)
    trials = {trial.number: trial for trial in Study.open(finished / "run").result().trials}
    for one in facts.rollouts.passes:
        trial = trials[one.trial]
        assert one.score == trial.scores[one.problem_id]
        for stage in one.stages:
            choice = trial.allocation[stage.stage]
            drawn = texts[choice.stage, choice.model, one.problem_id][: choice.n_samples]
            assert [sample.text for sample in stage.samples] == drawn
            assert [sample.score for sample in stage.samples] == list(
                trial.sample_scores[stage.stage][one.problem_id]
            )
            (selected,) = [sample for sample in stage.samples if sample.selected]
            assert selected.answer == stage.answer
            assert stage.prompt[0][0] == "user"


def test_a_later_stage_was_asked_with_the_answer_that_was_selected_before(facts):
    for one in facts.rollouts.passes:
        plan, solve = one.stages
        assert solve.prompt[0][1].endswith(plan.answer)


def test_what_trials_cost_is_told_by_purpose(facts):
    winner = facts.money.trials[0]
    assert winner.trial == facts.answer.winner
    assert winner.exact
    assert {share.purpose for share in winner.shares} == {"draw"}
    assert sum(share.total for share in winner.shares) == pytest.approx(facts.answer.charged)


def test_what_the_store_was_paid_is_what_the_phases_paid(facts):
    money = facts.money
    assert sum(call.n_draws for call in money.calls) == money.n_paid
    assert sum(purse.n_draws for purse in money.purses) == money.n_paid
    spent = sum(purse.cost.decode_tokens for purse in money.purses)
    assert spent == pytest.approx(money.spent.decode_tokens)
    assert spent == pytest.approx(sum(call.decode_tokens for call in money.calls))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_draw_that_the_store_lost_is_named_and_the_rest_is_kept(copied):
    store = copied / "samples.sqlite"
    with sqlite3.connect(store) as database:
        database.execute(
            "DELETE FROM samples WHERE stream_key IN (SELECT key FROM streams WHERE request LIKE '%solve%')"
        )
    database.close()
    facts = facts_of(copied / "run", store_url=f"sqlite:///{store}")
    assert facts.rollouts.n_read == 0
    for one in facts.rollouts.passes:
        assert "at stage solve" in one.missing
        assert one.stages[0].samples
        assert not one.stages[1].samples


def test_reading_back_changes_nothing_in_the_store(copied):
    store = copied / "samples.sqlite"

    def rows() -> list[int]:
        with sqlite3.connect(store) as database:
            found = [
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of our own
                for table in ("samples", "streams", "calls")
            ]
        database.close()
        return found

    before = rows()
    facts_of(copied / "run", store_url=f"sqlite:///{store}")
    assert rows() == before


def move_streams(folder: Path, endpoint: str) -> None:
    """Write every draw again as one of another endpoint, as a run does that is asked elsewhere."""
    with sqlite3.connect(folder / "samples.sqlite") as database:
        rows = database.execute(
            "SELECT key, model, request FROM streams WHERE endpoint LIKE 'recorded:%'"
        ).fetchall()
        for key, model, request in rows:
            told = json.loads(request)
            moved = Request(
                model,
                endpoint,
                tuple(Message(*message) for message in told["messages"]),
                SamplingParameters(**{**told["sampling"], "stop": (), "extra": ()}),
                place=told["place"],
            ).key
            database.execute("INSERT INTO streams VALUES (?, ?, ?, ?)", (moved, endpoint, model, request))
            database.execute(
                "INSERT INTO samples SELECT ?, idx, prefill_tokens, decode_tokens, body FROM samples "
                "WHERE stream_key = ?",
                (moved, key),
            )
    database.close()


def drop_streams(folder: Path, endpoint: str) -> None:
    with sqlite3.connect(folder / "samples.sqlite") as database:
        database.execute(
            "DELETE FROM samples WHERE stream_key IN (SELECT key FROM streams WHERE endpoint LIKE ?)",
            (endpoint,),
        )
        database.execute("DELETE FROM streams WHERE endpoint LIKE ?", (endpoint,))
    database.close()


def test_draws_of_an_address_that_is_no_longer_set_are_found(copied):
    """A base URL may have come from the environment of the run."""
    move_streams(copied, "http://127.0.0.1:1/v1")
    drop_streams(copied, "recorded:%")
    url = f"sqlite:///{copied / 'samples.sqlite'}"
    assert facts_of(copied / "run", store_url=url).rollouts.n_read == 24


def test_of_several_other_addresses_none_is_guessed(copied):
    for port in (1, 2):
        move_streams(copied, f"http://127.0.0.1:{port}/v1")
    drop_streams(copied, "recorded:%")
    url = f"sqlite:///{copied / 'samples.sqlite'}"
    assert facts_of(copied / "run", store_url=url).rollouts.n_read == 0


def test_without_the_store_the_rest_is_told_and_no_store_is_made(copied):
    gone = copied / "elsewhere" / "samples.sqlite"
    facts = facts_of(copied / "run", store_url=f"sqlite:///{gone}")
    assert facts.rollouts.passes == ()
    assert facts.rollouts.why_none == f"the store {gone} is not there"
    assert facts.money.calls == ()
    assert facts.answer.score is not None
    assert not gone.parent.exists()


def test_none_can_be_asked_for(finished):
    rollouts = facts_of(finished / "run", n_passes=0).rollouts
    assert (rollouts.n_asked, rollouts.why_none) == (0, "none were asked for")


async def test_passes_are_read_back_inside_an_event_loop_too(finished):
    assert facts_of(finished / "run", n_passes=2).rollouts.n_read == 2


def test_a_store_in_memory_is_gone():
    assert unreadable("memory:") == "the draws were kept in memory, and are gone"


def test_problems_that_tell_most_come_in_turn():
    winner = {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0, "e": 1.0}
    runner_up = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0, "e": 0.0}
    names = list(winner)
    # Apart: b, e. Wrong: b, d. Right: a, c, e.
    assert telling(names, winner, runner_up, 2) == ["a", "b"]
    assert telling(names, winner, runner_up, 4) == ["a", "b", "d", "e"]
    assert telling(names, winner, {}, 9) == ["a", "b", "c", "d", "e"]
    assert telling(["c"], winner, runner_up, 9) == ["c"]
    # Of those that are right, the hardest.
    means = {"a": 0.9, "c": 0.2, "e": 0.8}
    assert telling(names, winner, runner_up, 3, means) == ["b", "c", "e"]

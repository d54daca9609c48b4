"""A run as a study of Optuna, made of a log written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.errors import RunError
from agenttts.export.optuna_file import save_optuna
from agenttts.export.trials import columns_of, trial_rows
from agenttts.pipeline.base import Allocation, Failure, StageChoice
from agenttts.study.archive import Archive, ProblemFailure, Trial
from agenttts.study.result import StudyOptions
from agenttts.task.task import Task

OPTIONS = StudyOptions(budget=Budget(2.0, Unit.GFLOPS))


def trial(number: int, status: Any, scores: dict[str, float], charged: float, n: int = 2) -> Trial:
    choices = (
        StageChoice("think", "rec/small", 1, "first"),
        StageChoice("answer", "rec/large", n, "majority"),
    )
    return Trial(
        number=number,
        allocation=Allocation(choices),
        status=status,
        scores=scores,
        charged=charged,
        costs={"think": Cost(flops=0.25e9), "answer": Cost(flops=(charged - 0.25) * 1e9)} if scores else {},
        failures=() if scores else (ProblemFailure("a", Failure("think", "ProviderError", "gone")),),
        origin="planner",
        reason="=because " + "x" * 5000,
    )


TRIALS = [
    trial(0, "ok", {"a": 1.0, "b": 0.0}, 1.5, n=4),
    trial(1, "over_budget", {"a": 1.0, "b": 1.0}, 2.5, n=8),
    trial(2, "stopped", {"b": 0.0}, 1.5, n=4),
    trial(3, "invalid", {}, 0.0, n=4),
]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"event": "round", "round": 7, "first": 0, "proposals": [{}, {}]},
        *({"event": "trial", "at": 1_800_000_000.25 + t.number, "trial": t.to_json()} for t in TRIALS[:3]),
        {"event": "trial", "trial": TRIALS[3].to_json()},
    ]
    return trial_rows(Archive.of(TRIALS), events, OPTIONS)


def logged(archive: Archive) -> list[dict[str, Any]]:
    return [{"event": "trial", "trial": one.to_json()} for one in archive.trials]


def saved(storage: str, recorded_task: Path, rows: list[dict[str, Any]]) -> Any:
    return save_optuna(storage, "s", Task.load(recorded_task), Archive.of(TRIALS), rows, {"task": "sums"})


def test_rows_have_the_declared_columns(rows: list[dict[str, Any]]) -> None:
    assert all(set(row) == set(columns_of(["think", "answer"])) for row in rows)
    assert [row["round"] for row in rows] == [7, 7, None, None]
    assert rows[0]["finished_at"] == datetime.fromtimestamp(1_800_000_000.25, UTC)
    assert (rows[0]["think.charged"], rows[0]["answer.charged"]) == (0.25, 1.25)
    # Trials 0 and 1, which saw both problems, have 1.0 on `b` and `a` together 0.75 and 0.5 on `b` alone.
    assert rows[2]["estimate"] == pytest.approx(0.25)
    assert rows[3]["charged"] is rows[3]["score"] is rows[3]["answer.charged"] is None


@pytest.mark.parametrize("file", ["sqlite:///study.db", "study.log"])
def test_states_values_and_distributions_survive_the_storage(
    recorded_task: Path, rows: list[dict[str, Any]], file: str
) -> None:
    saved(file, recorded_task, rows)
    storage: Any = file
    if file.endswith(".log"):
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(file))
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.direction.name == "MAXIMIZE"
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert [t.value for t in study.trials[:2]] == [0.5, 1.0]
    # The stopped one scored 0 on the problem that it saw; 0.25 for both is an estimate and no value.
    assert study.trials[2].value == 0.0
    assert study.trials[2].intermediate_values == {1: 0.0}
    assert study.trials[2].user_attrs["estimate"] == pytest.approx(0.25)
    assert study.trials[1].params == {
        "think.model": "rec/small",
        "think.n_samples": 1,
        "think.select": "first",
        "answer.model": "rec/large",
        "answer.n_samples": 8,
        "answer.select": "majority",
    }
    spaces = study.trials[1].distributions
    assert spaces["answer.n_samples"] == optuna.distributions.CategoricalDistribution([1, 4, 8])
    assert spaces["think.model"] == optuna.distributions.CategoricalDistribution(["rec/small", "rec/large"])
    # The second scores more and is over the budget.
    assert study.best_trial.number == 0
    assert study.trials[3].user_attrs["n_failed"] == 1
    assert len(study.trials[0].user_attrs["reason"]) == 2000
    assert study.user_attrs["task"] == "sums"


def test_of_equal_scores_the_study_names_the_cheaper_as_winner(recorded_task: Path) -> None:
    tied = [
        trial(0, "ok", {"a": 1.0, "b": 0.0}, 1.5, n=4),
        trial(1, "ok", {"a": 0.0, "b": 1.0}, 0.75, n=1),
    ]
    archive = Archive.of(tied)
    made = trial_rows(archive, logged(archive), OPTIONS)
    study = save_optuna("sqlite:///study.db", "s", Task.load(recorded_task), archive, made, {"task": "sums"})
    assert study.best_trial.number == 0
    assert study.user_attrs == {"task": "sums", "winner": 1, "runner_up": 0}


def test_a_study_without_a_scored_trial_names_no_winner(recorded_task: Path) -> None:
    archive = Archive.of([trial(0, "invalid", {}, 0.0, n=4)])
    made = trial_rows(archive, logged(archive), OPTIONS)
    study = save_optuna("sqlite:///study.db", "s", Task.load(recorded_task), archive, made, {})
    assert study.user_attrs == {}


def test_numbers_in_even_steps_are_a_range(recorded_task: Path, rows: list[dict[str, Any]]) -> None:
    recorded_task.write_text(recorded_task.read_text().replace("[1, 4, 8]", "[2, 4, 6, 8]"))
    study = saved("sqlite:///study.db", recorded_task, rows)
    space = study.trials[0].distributions["answer.n_samples"]
    assert space == optuna.distributions.IntDistribution(2, 8, step=2)


def test_a_name_that_is_taken_and_a_place_that_is_none_are_refused(
    recorded_task: Path, rows: list[dict[str, Any]]
) -> None:
    saved("sqlite:///study.db", recorded_task, rows)
    with pytest.raises(RunError, match=r"holds a study 's' already\. Give another --study-name"):
        saved("sqlite:///study.db", recorded_task, rows)
    for place in ("study.txt", "nosuch://x", "sqlite:////no/such/folder/x.db"):
        with pytest.raises(RunError, match="cannot be written to"):
            saved(place, recorded_task, rows)


def test_a_password_is_not_told(recorded_task: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(RunError) as caught:
        saved("postgresql://me:hunter2@127.0.0.1:1/x", recorded_task, rows)
    assert "hunter2" not in str(caught.value)

"""The log survives crashes, refuses what it does not know, and belongs to one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttts.budgets.cost import Cost
from agenttts.errors import RunError
from agenttts.pipeline.base import Allocation, Failure, StageChoice
from agenttts.study.archive import Archive, ProblemFailure, StageLengths, Trial
from agenttts.study.events import EventLog, fold, is_running, read_events


def trial(number: int, scores: dict[str, float], charged: float = 1.0, n: int = 2, **fields) -> Trial:
    allocation = Allocation((StageChoice("solve", "simulated/small", n, "majority"),))
    return Trial(number, allocation, **{"status": "ok", **fields}, scores=scores, charged=charged)


def test_a_trial_survives_the_log():
    original = trial(
        3,
        {"a": 1.0, "b": 0.25},
        costs={"solve": Cost(1.0, None, 0.5, 3, 4, None)},
        stage_scores={"solve": {"a": 1.0, "b": 0.25}},
        sample_scores={"solve": {"a": (1.0, 0.0), "b": (0.25, 0.5)}},
        failures=(ProblemFailure("c", Failure("solve", "RateLimitedError", "too many")),),
        lengths={"solve": StageLengths("simulated/small", {7: 2}, {3: 1, 5: 3})},
        origin="random",
    )
    assert Trial.from_json(original.to_json()) == original


def started() -> dict[str, object]:
    return {"study_id": "s", "options": {"n_trials": 1}, "task": {}, "task_digest": "d", "store": "memory:"}


def test_a_cut_off_last_line_is_ignored_and_cut_away(tmp_path: Path):
    log = EventLog(tmp_path)
    log.append("started", **started())
    log.append("trial", trial=trial(0, {"a": 1.0}).to_json())
    log.close()
    whole = (tmp_path / "events.jsonl").read_bytes()
    for cut in (1, 20, 200):
        (tmp_path / "events.jsonl").write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
        assert len(read_events(tmp_path / "events.jsonl")[0]) == 2
        EventLog(tmp_path).close()
        assert (tmp_path / "events.jsonl").read_bytes() == whole


def test_damage_before_the_end_is_an_error(tmp_path: Path):
    (tmp_path / "events.jsonl").write_bytes(b'{"format":1,"event"\n{"format":1,"event":"started"}\n')
    with pytest.raises(RunError, match=r"events\.jsonl:1: not a JSON object"):
        read_events(tmp_path / "events.jsonl")


def test_a_newer_format_is_refused_with_the_remedy(tmp_path: Path):
    (tmp_path / "events.jsonl").write_bytes(b'{"format":2,"event":"started"}\n')
    with pytest.raises(RunError, match="pip install --upgrade agenttts"):
        read_events(tmp_path / "events.jsonl")


def test_a_folder_without_a_log_is_no_run(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run"):
        read_events(tmp_path / "events.jsonl")


def test_two_logs_of_one_folder_are_refused(tmp_path: Path):
    log = EventLog(tmp_path)
    with pytest.raises(RunError, match=f"in use by another process \\(id {os.getpid()}\\)"):
        EventLog(tmp_path)
    log.close()
    EventLog(tmp_path).close()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from agenttts.study.events import EventLog\n"
        "log = EventLog(Path(sys.argv[1])); print('locked', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=env)
    assert other.stdout is not None
    assert other.stdout.readline() == b"locked\n"
    with pytest.raises(RunError, match=f"id {other.pid}"):
        EventLog(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    time.sleep(0.1)
    EventLog(tmp_path).close()


def test_the_fold_keeps_the_first_of_twins_and_sorts_by_number():
    events = [
        {"event": "started", **started()},
        {"event": "trial", "trial": trial(1, {"a": 0.0}).to_json()},
        {"event": "trial", "trial": trial(0, {"a": 1.0}).to_json(), "spent": {"usd": 1.0}},
        {"event": "trial", "trial": trial(1, {"a": 1.0}).to_json()},
        {"event": "ended", "status": "interrupted"},
        {"event": "options", "options": {"n_trials": 5}},
    ]
    state = fold(events)
    assert [t.number for t in state.archive.trials] == [0, 1]
    assert state.archive.trials[1].score == 0.0
    assert state.ended is None
    assert state.options == {"n_trials": 5}
    assert state.spent == {"usd": 1.0}


def test_a_log_must_begin_with_the_start():
    with pytest.raises(RunError, match="does not begin"):
        fold([{"event": "ended", "status": "finished"}])
    with pytest.raises(RunError, match="empty"):
        fold([])


def test_the_best_is_the_highest_mean_then_the_cheaper():
    archive = Archive.of(
        [
            trial(0, {"a": 1.0, "b": 0.0}, charged=1, n=1),
            trial(1, {"a": 1.0, "b": 1.0}, charged=9, n=2),
            trial(2, {"a": 1.0, "b": 1.0}, charged=5, n=3),
            trial(3, {"a": 1.0, "b": 1.0}, charged=1, n=4, status="over_budget"),
            trial(4, {"a": 1.0}, charged=1, n=5, status="invalid"),
        ]
    )
    best, second = archive.best(), archive.runner_up()
    assert best is not None
    assert best.number == 2
    assert second is not None
    assert second.number == 1


def test_an_invalid_allocation_may_be_tried_once_more():
    bad = trial(0, {}, status="invalid")
    assert bad.allocation not in Archive.of([bad]).tried
    again = trial(1, {}, status="invalid")
    assert bad.allocation in Archive.of([bad, again]).tried


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"file/run cannot be written: .*--run"):
        EventLog(tmp_path / "file" / "run")


def test_a_folder_is_running_as_long_as_a_process_has_it_open(tmp_path: Path):
    assert not is_running(tmp_path)
    log = EventLog(tmp_path)
    assert is_running(tmp_path)
    log.close()
    assert not is_running(tmp_path)

"""A run as another process sees it: while it runs, when it has ended, when it was killed."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from agenttts.budgets.cost import Cost
from agenttts.models.counts import CallCounts
from agenttts.study.beat import BEAT_FILE, Beat, Beating, read_beat
from agenttts.study.events import EventLog, read_events, read_events_from
from agenttts.study.follow import Follower, RunSeen
from agenttts.study.result import ProgressEvent, StudyOptions
from agenttts.study.study import Study
from agenttts.task.task import Task


class Looking:
    """Observer that looks at the run from outside at every turning point."""

    def __init__(self, folder: Path) -> None:
        self.follower, self.seen = Follower(folder), list[RunSeen]()

    def on(self, event: ProgressEvent) -> None:
        if event.kind != "rollout":
            self.seen.append(self.follower.look())


async def test_a_run_is_followed_from_its_pilot_to_its_end(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
) -> None:
    study = Study.create(tmp_path / "run", task, options, store_url)
    looking = Looking(study.folder)
    result = await study.run(looking)
    assert {seen.status for seen in looking.seen} == {"running"}
    phases = list(dict.fromkeys(seen.phase for seen in looking.seen))
    assert phases == ["pilot", "round", "confirming"]
    # In a round the log is a trial ahead of nothing, and never behind the file of the beat.
    counts = [len(seen.archive.trials) for seen in looking.seen]
    assert counts == sorted(counts)
    assert counts[-1] == len(result.trials)
    spent = [seen.spent.decode_tokens for seen in looking.seen if seen.spent is not None]
    assert spent == sorted(spent)
    after = looking.follower.look()
    fresh = Follower(study.folder).look()
    assert after.status == fresh.status == "finished"
    assert after.best == fresh.best == result.best
    assert after.best_interval == result.best_interval
    assert after.spent == result.spent
    assert (after.n_paid, after.n_reused) == (result.n_paid, result.n_reused)
    assert not (study.folder / BEAT_FILE).exists()


async def test_a_run_that_was_cut_off_says_so_and_one_that_was_killed_cannot(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
) -> None:
    study = Study.create(tmp_path / "run", task, options, store_url)
    assert Follower(study.folder).look().status == "killed"  # nobody has begun to work on it
    running = asyncio.create_task(study.run())
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    seen = Follower(study.folder).look()
    assert seen.status == "interrupted"
    assert "To go on, run the same command again" in seen.message
    # As a kill leaves it: the end is in no log, the file of the beat is there.
    log = study.folder / "events.jsonl"
    lines = [line for line in log.read_text().splitlines(keepends=True) if '"ended"' not in line]
    log.write_text("".join(lines))
    old = Beat(at=time.time() - 60, pid=1, phase="round", n_paid=7, calls=CallCounts(1, 2.0, 0, {}))
    (study.folder / BEAT_FILE).write_text(json.dumps(old.to_json()))
    seen = Follower(study.folder).look()
    assert (seen.status, seen.phase, seen.n_paid) == ("killed", "round", 7)
    assert seen.last_sign_at is not None
    assert seen.last_sign_at > time.time() - 120


def test_the_lock_tells_life_where_the_beat_is_old(tmp_path: Path, task: Task, options: StudyOptions) -> None:
    study = Study.create(tmp_path / "run", task, options, "memory:")
    log = EventLog(study.folder)
    try:
        assert Follower(study.folder).look().status == "running"
    finally:
        log.close()
    assert Follower(study.folder).look().status == "killed"


def event(kind: str, **more: object) -> ProgressEvent:
    return ProgressEvent(
        **{  # type: ignore[arg-type]
            "kind": kind,
            "trials_done": 1,
            "n_trials": 2,
            "rollouts_done": 3,
            "rollouts_total": 4,
            "spent": Cost(flops=None, usd=0.5),
            "n_paid": 5,
            "n_reused": 6,
            **more,
        }
    )


def test_a_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    calls = CallCounts(1, 2.5, 3, {"timeout": 4})
    beating.on(event("planning"))
    beating.on(event("waiting", message="x" * 5000))
    beating.on(event("tick", calls=calls, eta_s=9.5, by_stage={"solve": (3, 40)}))
    beat = read_beat(tmp_path)
    assert beat is not None
    expected = Beat(
        at=beat.at,
        pid=os.getpid(),
        phase="planning",
        trials_done=1,
        n_trials=2,
        rollouts_done=3,
        rollouts_total=4,
        spent=Cost(flops=None, usd=0.5),
        n_paid=5,
        n_reused=6,
        eta_s=9.5,
        by_stage={"solve": (3, 40)},
        calls=calls,
        message="x" * 500,
    )
    assert beat == expected
    later = {**expected.to_json(), "format": 2, "new": 1}
    assert Beat.from_json(later) == expected
    beating.gone()
    assert read_beat(tmp_path) is None


def test_a_thousand_problems_in_a_second_write_the_beat_once(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    beating.on(event("rollout"))
    (tmp_path / BEAT_FILE).unlink()
    for _ in range(1000):
        beating.on(event("rollout"))
    assert not (tmp_path / BEAT_FILE).exists()


def test_a_beat_that_cannot_be_written_or_read_harms_nobody(tmp_path: Path) -> None:
    Beating(tmp_path / "gone").on(event("tick"))
    for text in ("", "{}", "[]", '{"spent": 1}', '{"at": 1, "pid": 2, "spent": {"euros": 1}}'):
        (tmp_path / BEAT_FILE).write_text(text)
        assert read_beat(tmp_path) is None


def test_a_log_is_read_on_from_where_it_was_left(tmp_path: Path, task: Task, options: StudyOptions) -> None:
    study = Study.create(tmp_path / "run", task, options, "memory:")
    path = study.folder / "events.jsonl"
    first, place = read_events_from(path, 0)
    study.amend(n_trials=options.n_trials + 1)
    with path.open("ab") as file:
        file.write(b'{"format":1,"event":"tri')
    second, place = read_events_from(path, place)
    assert [e["event"] for e in first + second] == ["started", "options"]
    assert read_events_from(path, place) == ([], place)
    assert read_events(path) == (first + second, place)
    assert Follower(study.folder).look().options == replace(options, n_trials=options.n_trials + 1)

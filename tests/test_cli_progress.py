"""How a running study is shown, and figures in words."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts._cli.progress import PlainProgress, live_lines, plain_line
from agenttts._cli.words import allocation_text, amount_text, charged_text, cost_text, duration_text, plural
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.models.counts import CallCounts
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.study.result import ProgressEvent
from agenttts.study.statistics import mean_interval
from tests.terminal import on_terminal, slow_models

TRIAL = Trial(
    number=0,
    allocation=Allocation((StageChoice("solve", "simulated/a", 4, "majority"),)),
    status="ok",
    scores={"a": 1.0, "b": 0.0},
    charged=1.0,
)
EVENT = ProgressEvent(
    kind="trial",
    trials_done=3,
    n_trials=40,
    rollouts_done=300,
    rollouts_total=4000,
    spent=Cost(flops=2.5e12),
    n_paid=1200,
    n_reused=34,
    best=TRIAL,
    best_interval=mean_interval([1.0, 0.0]),
    trial=TRIAL,
    eta_s=150.0,
)


def test_live_lines_tell_what_is_done_trials_best_spent_draws_and_time():
    lines = live_lines(EVENT, Budget(5000, Unit.GFLOPS), Unit.USD)
    assert lines == [
        "now          trying allocations",
        "trials       3 of 40  ██░░░░░░░░░░░░░░░░░░  about 2 min left",
        "rollouts     300 of 4,000, each one problem in one trial",
        "best so far  0.500 [0.095, 0.905], trial 0",
        "  solve      simulated/a x4 majority",
        "spent        2,500 of 5,000 GFLOPs  ██████████░░░░░░░░░░  50%",
        "draws        1,200 paid, 34 reused",
    ]


def test_what_stages_are_at_is_told():
    event = replace(EVENT, by_stage={"plan": (0, 1200), "solve": (3, 40)})
    line = "calls        plan 0 at work, 1,200 done; solve 3 at work, 40 done"
    assert line in live_lines(event, None, Unit.GFLOPS)
    assert not [line for line in live_lines(EVENT, None, Unit.GFLOPS) if line.startswith("calls")]


def test_the_confirmation_has_its_own_progress_and_time():
    event = replace(EVENT, finals_done=150, finals_total=600, eta_s=19.0)
    lines = live_lines(event, None, Unit.GFLOPS, "confirming")
    assert lines[1] == "trials       3 of 40  ██░░░░░░░░░░░░░░░░░░"
    assert "unseen       150 of 600  █████░░░░░░░░░░░░░░░  about 19 s left" in lines


def test_without_a_cap_spending_is_in_the_unit_of_the_budget():
    for unit in (Unit.GFLOPS, Unit.PAPER):
        assert "spent        2,500 GFLOPs (no limit)" in live_lines(EVENT, None, unit)


def test_the_best_tells_what_each_of_its_stages_costs():
    choices = (
        StageChoice("plan", "a", 1, "first"),
        StageChoice("a-stage-of-a-long-name", "b", 2, "majority", 0.5),
    )
    costs = {"plan": Cost(flops=1e9), "a-stage-of-a-long-name": Cost(flops=3e9)}
    best = replace(TRIAL, allocation=Allocation(choices), costs=costs)
    lines = live_lines(replace(EVENT, best=best), None, Unit.GFLOPS)
    assert "  plan       a x1 (25% of its cost)" in lines
    assert "  a-stage-o… b x2 majority below 0.5 (75% of its cost)" in lines


def test_waits_and_retries_are_told_by_their_cause():
    calls = CallCounts(2, 12.4, 3, {"rate_limit": 4, "timeout": 1200, "new\x1b_kind": 1})
    lines = live_lines(replace(EVENT, calls=calls), None, Unit.GFLOPS)
    assert "rate limits  waited 12 s, summed over models; 3 calls waiting now" in lines
    assert "retries      1,200 no reply in time, 4 rate limit, 1 new\\x1b kind" in lines
    assert plain_line(replace(EVENT, calls=calls), None, Unit.GFLOPS).endswith(
        "rate limits: waited 12 s, summed over models; 3 calls waiting now; "
        "retries: 1,200 no reply in time, 4 rate limit, 1 new\\x1b kind; 2 min left"
    )


@pytest.mark.parametrize("columns", [24, 40, 61, 80, 200])
def test_no_live_line_is_wider_than_the_terminal(columns: int):
    calls = CallCounts(2, 12.4, 3, {"rate_limit": 4, "unavailable": 1200, "no_connection": 5})
    long = StageChoice(
        "a-stage-of-a-long-name", "some/model-of-a-very-long-name-indeed", 64, "weighted_vote(x)"
    )
    best = replace(TRIAL, allocation=Allocation((long,)))
    event = replace(EVENT, calls=calls, best=best)
    lines = live_lines(
        event, Budget(5e6, Unit.USD), Unit.USD, "confirming", "gone \x1b[2J[red] " * 50, columns
    )
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in "".join(lines)
    assert columns < 40 or len(lines) <= 24


def test_a_plain_line_tells_a_trial():
    assert plain_line(EVENT, None, Unit.GFLOPS) == (
        "3/40 trials: trial 0 0.500 solve simulated/a x4 majority; best so far 0.500 [0.095, 0.905]; "
        "spent 2,500 GFLOPs; draws 1,200 paid, 34 reused; 2 min left"
    )


def test_a_trial_over_budget_or_without_score_is_told_as_such():
    over = replace(EVENT, trial=replace(TRIAL, status="over_budget"))
    failed = replace(EVENT, trial=replace(TRIAL, status="invalid", scores={}), best=None, best_interval=None)
    assert "0.500 (over budget)" in plain_line(over, None, Unit.GFLOPS)
    assert "no score (invalid)" in plain_line(failed, None, Unit.GFLOPS)
    assert "best so far: none" in plain_line(failed, None, Unit.GFLOPS)


def test_off_a_terminal_the_pilot_is_announced():
    event = replace(EVENT, kind="pilot", trial=None)
    assert plain_line(event, None, Unit.GFLOPS) == "pilot: learning how long prompts and answers are"


def test_a_thousand_waits_make_one_line():
    lines: list[str] = []
    progress = PlainProgress(None, Unit.GFLOPS, write=lines.append)
    for _ in range(1000):
        progress.on(replace(EVENT, kind="waiting", message="rate limit of \x1b[2Jserver"))
    assert lines == ["rate limit of \\x1b[2Jserver"]


def test_a_thousand_quick_trials_make_few_lines_and_news_are_among_them():
    lines: list[str] = []
    progress = PlainProgress(None, Unit.GFLOPS, write=lines.append)
    for number in range(1000):
        best = replace(TRIAL, number=900 if number >= 900 else 0)
        trial = replace(TRIAL, number=number)
        progress.on(replace(EVENT, trials_done=number + 1, n_trials=1000, trial=trial, best=best, message=""))
    told = [int(line.partition("/")[0]) - 1 for line in lines]
    assert told == [*range(40), 900, 999]


def test_a_long_silence_is_broken(monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    clock = [100.0]
    monkeypatch.setattr("agenttts._cli.progress.time.monotonic", lambda: clock[0])
    progress = PlainProgress(None, Unit.GFLOPS, write=lines.append)
    calls = CallCounts(1, 50.0, 2, {})
    for _ in range(150):
        clock[0] += 1
        progress.on(replace(EVENT, kind="tick", trial=None, calls=calls))
    assert (
        lines
        == [
            "still running: 3/40 trials, 300 of 4,000 rollouts; spent 2,500 GFLOPs; draws 1,200 paid, 34 reused; "
            "rate limits: waited 50 s, summed over models; 2 calls waiting now"
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (amount_text(1234567.8), "1,234,568"),
        (amount_text(0.0123456), "0.01235"),
        (amount_text(0.00008064), "0.00008064"),
        (amount_text(999.96), "1,000"),
        (str(Budget(1e6, Unit.GFLOPS)), "1,000,000 GFLOPs"),
        (charged_text(0.00008, Budget(0.02, Unit.USD)), "0.00008 of 0.02 USD a problem (0.4%)"),
        (charged_text(0.3323, Budget(0.5, Unit.GFLOPS)), "0.3323 of 0.5 GFLOPs a problem (66%)"),
        (plural(1, "draw"), "1 draw"),
        (plural(2000, "draw"), "2,000 draws"),
        (duration_text(None), "unknown"),
        (duration_text(80), "80 s"),
        (duration_text(600), "10 min"),
        (duration_text(7200), "2.0 h"),
        (allocation_text(TRIAL.allocation), "solve simulated/a x4 majority"),
    ],
)
def test_figures_in_words(text, expected):
    assert text == expected


def test_unknown_costs_are_said_to_be_unknown():
    text = cost_text(Cost(flops=None, usd=None, prefill_tokens=10, decode_tokens=20))
    assert text == "FLOPs unknown; USD unknown; tokens 10 read, 20 written"


def test_on_a_terminal_progress_is_live_and_gone_at_the_end(recorded_task: Path):
    command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task), "--allocator", "random"]
    done = on_terminal([*command, "--trials", "6"], columns=80, out=subprocess.PIPE)
    assert done.returncode == 0, done.shown
    assert "trials       " in done.shown
    assert "best so far" in done.shown
    assert "1/6 trials" not in done.shown
    assert "\x1b[2K" in done.shown
    assert "\x1b" not in done.out
    assert done.cursor_is_shown
    assert "best so far" not in "\n".join(done.screen)


@pytest.mark.parametrize("columns", [40, 80])
def test_ctrl_c_leaves_the_terminal_as_it_was_and_tells_how_to_go_on(recorded_task: Path, columns: int):
    with slow_models(recorded_task) as environment:
        command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task), "--allocator", "random"]
        done = on_terminal(
            [*command, "--trials", "6", "--run", "r"],
            columns=columns,
            environment=environment,
            interrupt=lambda shown: "retries " in shown and "trying allocations" in shown,
        )
    assert done.returncode == 130, done.shown
    assert done.cursor_is_shown
    text = " ".join("\n".join(done.screen).split())
    assert "Go on: agenttts optimize runs/r" in text
    assert "now trying allocations" not in text  # the live lines are gone
    assert not Path("runs/r/beat.json").exists()
    live = [line for line in done.lines if line.startswith(("now  ", "trials  ", "spent  ", "retries  "))]
    assert live
    assert max(map(len, live)) <= columns


def test_off_a_terminal_nothing_controls_one(recorded_task: Path):
    with slow_models(recorded_task) as environment:
        command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task), "--allocator", "random"]
        done = subprocess.run(
            [*command, "--trials", "1", "--no-confirm"],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=100,
        )
    assert done.returncode == 0, done.stderr
    assert "1/1 trials" in done.stderr
    assert "retries: " in done.stderr
    for text in (done.stdout, done.stderr):
        assert not [sign for sign in text if ord(sign) < 32 and sign != "\n"]

"""How a running study is shown, and figures in words."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts._cli.progress import PlainProgress, live_lines, plain_line
from agenttts._cli.words import allocation_text, amount_text, charged_text, cost_text, duration_text, plural
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.study.result import ProgressEvent
from agenttts.study.statistics import mean_interval

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


def test_live_lines_tell_trials_best_spent_draws_and_time():
    first, second, third = live_lines(EVENT, Budget(5000, Unit.GFLOPS), Unit.USD)
    assert first == "trials 3 of 40  problems 300 of 4,000  2 min left"
    assert second.startswith("best so far 0.500 [0.095, 0.905]  solve simulated/a x4 majority")
    assert third == "spent 2,500 of 5,000 GFLOPs; draws 1,200 paid, 34 reused"


def test_without_a_cap_spending_is_in_the_unit_of_the_budget():
    assert live_lines(EVENT, None, Unit.GFLOPS)[2].startswith("spent 2,500 GFLOPs;")
    assert live_lines(EVENT, None, Unit.PAPER)[2].startswith("spent 2,500 GFLOPs;")


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
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "agenttts", "optimize", str(recorded_task), "--allocator", "random"]
    process = subprocess.Popen(
        [*command, "--trials", "6"],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # how Linux tells that the other side is closed
        pass
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown.decode()
    text = shown.decode()
    assert "trials " in text
    assert "best so far" in text
    assert "1/6 trials" not in text
    assert "\x1b[2K" in text
    assert "\x1b" not in out

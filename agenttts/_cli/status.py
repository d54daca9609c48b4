"""Where a run stands, as a few lines that fit the terminal. Pure; what models and providers wrote is made harmless.

`optimize` shows it of itself, `watch` of a run of another process.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agenttts._cli.console import clean
from agenttts._cli.words import amount_text, duration_text, plural, share_text
from agenttts.budgets.cost import Budget, Cost, Unit, amount, total_amount
from agenttts.errors import CardError

if TYPE_CHECKING:
    from agenttts.models.counts import CallCounts
    from agenttts.study.archive import Trial
    from agenttts.study.follow import RunSeen
    from agenttts.study.result import ProgressEvent
    from agenttts.study.statistics import Interval

__all__ = ["PHASES", "Status", "spent_text", "status_lines", "trouble_text"]

LABEL = 13
"""Columns of the labels at the left."""
NARROWEST = 24
LONGEST_BAR = 20
MOST_MESSAGE_LINES = 3
PHASES = {
    "pilot": "pilot: learning how long prompts and answers are",
    "planning": "asking the planner",
    "round": "trying allocations",
    "confirming": "confirming winner and runner-up on unseen problems",
}
"""What a study does for some time, by the event that tells so."""
_CAUSES = {
    "rate_limit": "rate limit",
    "unavailable": "server unavailable",
    "timeout": "no reply in time",
    "malformed": "unusable reply",
    "no_connection": "no connection",
}


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is shown of a run; `None` where it is not known."""

    phase: str
    """One of `PHASES`; empty where the run does nothing any more."""
    trials_done: int
    n_trials: int
    rollouts_done: int | None
    rollouts_total: int | None
    spent: Cost | None
    cap: Budget | None
    """Most that the study may spend; `None`: no limit."""
    unit: Unit
    n_paid: int
    n_reused: int
    best: Trial | None
    best_interval: Interval | None
    eta_s: float | None
    by_stage: Mapping[str, tuple[int, int]]
    """Stage -> requests at work now, and those that ended."""
    finals: tuple[int, int]
    """Problems of the confirmation: done and to run; (0, 0) before it begins."""
    calls: CallCounts | None
    message: str = ""
    """What was told last; a provider may have written it."""

    @classmethod
    def of_event(cls, event: ProgressEvent, cap: Budget | None, unit: Unit, phase: str) -> Status:
        """Return where a study of this process stands."""
        return cls(
            phase=phase,
            trials_done=event.trials_done,
            n_trials=event.n_trials,
            rollouts_done=event.rollouts_done,
            rollouts_total=event.rollouts_total,
            spent=event.spent,
            cap=cap,
            unit=unit,
            n_paid=event.n_paid,
            n_reused=event.n_reused,
            best=event.best,
            best_interval=event.best_interval,
            eta_s=event.eta_s,
            by_stage=event.by_stage,
            finals=(event.finals_done, event.finals_total),
            calls=event.calls,
            message=event.message,
        )

    @classmethod
    def of_run(cls, seen: RunSeen) -> Status:
        """Return where a run stands that is watched."""
        beat, options, runs = seen.beat, seen.options, seen.status == "running"
        return cls(
            phase=seen.phase if runs else "",
            trials_done=len(seen.archive.trials),
            n_trials=options.n_trials,
            rollouts_done=None if beat is None else beat.rollouts_done,
            rollouts_total=None if beat is None else beat.rollouts_total,
            spent=seen.spent,
            cap=options.search_budget,
            unit=options.budget.unit,
            n_paid=seen.n_paid,
            n_reused=seen.n_reused,
            best=seen.best,
            best_interval=seen.best_interval,
            eta_s=beat.eta_s if beat is not None and runs else None,
            by_stage={} if beat is None or not runs else beat.by_stage,
            finals=(0, 0) if beat is None or not runs else (beat.finals_done, beat.finals_total),
            calls=seen.calls if runs or seen.calls is None else replace(seen.calls, waiting=0),
            message=beat.message if beat is not None and runs else "",
        )


def status_lines(status: Status, columns: int) -> list[str]:
    """Return the lines, none of them longer than `columns` (24 at least)."""
    columns = max(NARROWEST, columns)
    rows: list[tuple[str, str]] = []
    if status.phase:
        rows.append(("now", PHASES.get(status.phase, clean(status.phase))))
    rows.append(("trials", _trials(status, columns)))
    if status.rollouts_done is not None and status.rollouts_total:
        counted = f"{status.rollouts_done:,} of {status.rollouts_total:,}, each one problem in one trial"
        rows.append(("rollouts", counted))
    if status.by_stage:
        rows.append(("calls", "; ".join(_at_stage(*entry) for entry in status.by_stage.items())))
    if status.finals[1]:
        rows.append(("unseen", _finals(status, columns)))
    rows += _best_rows(status)
    rows.append(("spent", _spent_row(status, columns)))
    rows.append(("draws", f"{status.n_paid:,} paid, {status.n_reused:,} reused"))
    rows += _trouble_rows(status.calls)
    lines = [line for label, text in rows for line in _folded(label, text, columns)]
    if status.message:
        lines += _folded("told", clean(status.message, limit=400), columns)[:MOST_MESSAGE_LINES]
    return lines


def _folded(label: str, text: str, columns: int) -> list[str]:
    return textwrap.wrap(
        text,
        columns,
        initial_indent=clean(label, limit=LABEL - 1).ljust(LABEL),
        subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
    ) or [label]


def _trials(status: Status, columns: int) -> str:
    words = f"{status.trials_done:,} of {status.n_trials:,}"
    # Once winner and runner-up are confirmed, the time left is theirs.
    left = "" if status.finals[1] else _left(status)
    return _with_bar(words, left, status.trials_done / max(1, status.n_trials), columns)


def _at_stage(stage: str, counted: tuple[int, int]) -> str:
    return f"{clean(stage, limit=LABEL)} {counted[0]:,} at work, {counted[1]:,} done"


def _finals(status: Status, columns: int) -> str:
    done, n = status.finals
    return _with_bar(f"{done:,} of {n:,}", _left(status), done / n, columns)


def _left(status: Status) -> str:
    return "" if status.eta_s is None else f"  about {duration_text(status.eta_s)} left"


def _with_bar(words: str, after: str, share: float, columns: int) -> str:
    """Return the words with a bar between them, where there is room for one."""
    room = columns - LABEL - len(words) - len(after) - 2
    if room < LONGEST_BAR // 2:
        return words + after
    length = min(LONGEST_BAR, room)
    full = min(length, round(share * length))
    return f"{words}  {'█' * full}{'░' * (length - full)}{after}"


def _best_rows(status: Status) -> list[tuple[str, str]]:
    best, label = status.best, "best so far" if status.phase else "best found"
    if best is None or status.best_interval is None:
        return [(label, "none")]
    shares = _shares(best, status.unit)
    rows = [(label, f"{status.best_interval}, trial {best.number}")]
    for choice in best.allocation.choices:
        share = shares.get(choice.stage)
        # The stage is the label; the rest of the words are the same as everywhere.
        words = clean(str(choice).removeprefix(f"{choice.stage} "))
        cost = "" if share is None else f" ({share_text(share)} of its cost)"
        rows.append((f"  {clean(choice.stage)}", words + cost))
    return rows


def _shares(best: Trial, unit: Unit) -> Mapping[str, float]:
    """Return the share of each stage in what a problem is charged; empty where that is nothing or not known."""
    try:
        whole = total_amount(best.costs, unit)
        return {stage: amount(cost, unit) / whole for stage, cost in best.costs.items()} if whole > 0 else {}
    except CardError:
        return {}


def _spent_row(status: Status, columns: int) -> str:
    if status.spent is None:
        return "nothing yet"
    words = spent_text(status.spent, status.cap, status.unit)
    if status.cap is None:
        return f"{words} (no limit)"
    share = amount(status.spent, _sum_unit(status.cap.unit)) / status.cap.amount
    return _with_bar(words, f"  {share_text(share)}", share, columns)


def spent_text(spent: Cost, cap: Budget | None, unit: Unit) -> str:
    """Return what was spent in the unit of the cap, else of the budget: `2,500 of 5,000 GFLOPs`."""
    shown = cap.unit if cap is not None else _known_unit(spent, unit)
    of = "" if cap is None else f" of {amount_text(cap.amount)}"
    return f"{amount_text(amount(spent, _sum_unit(shown)))}{of} {_sum_unit(shown).label}"


def _known_unit(cost: Cost, unit: Unit) -> Unit:
    """Return the unit, or tokens where the cost in it is unknown: a planner's card may lack what tasks' cards have."""
    try:
        amount(cost, _sum_unit(unit))
    except CardError:
        return Unit.TOKENS
    return unit


def _sum_unit(unit: Unit) -> Unit:
    """Calls of many problems do not add up in unit `paper`; GFLOPs stand in."""
    return Unit.GFLOPS if unit is Unit.PAPER else unit


def _trouble_rows(calls: CallCounts | None) -> list[tuple[str, str]]:
    rows = []
    if calls is not None and calls.n_waits:
        rows.append(("rate limits", _waits(calls)))
    if calls is not None and calls.retries:
        rows.append(("retries", _retries(calls)))
    return rows


def trouble_text(calls: CallCounts | None) -> str:
    """Return waits and retries in one line; empty where there were none."""
    if calls is None:
        return ""
    waits = f"rate limits: {_waits(calls)}" if calls.n_waits else ""
    retries = f"retries: {_retries(calls)}" if calls.retries else ""
    return "; ".join(filter(None, (waits, retries)))


def _waits(calls: CallCounts) -> str:
    now = f"; {plural(calls.waiting, 'call')} waiting now" if calls.waiting else ""
    return f"waited {duration_text(calls.waited_s)}, summed over models{now}"


def _retries(calls: CallCounts) -> str:
    causes = sorted(calls.retries.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n:,} {_CAUSES.get(cause, clean(cause.replace('_', ' ')))}" for cause, n in causes)

"""How long a study will still take, from how long its problems took so far. Pure.

A trial that is stopped early leaves problems out, so of trials to come only as many are expected as those that ended have
run. Reused draws make problems quick all at once, so the pace is that of the later half of the problems.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["problems_left", "seconds_left"]


def problems_left(
    n_trials_left: int, n_problems: int, n_trials_done: int, n_skipped: int, n_done: int
) -> float:
    """Return how many problems trials are expected to run still.

    Args:
        n_trials_left: Trials that have not ended.
        n_problems: Of a trial that is not stopped.
        n_trials_done: Trials that ended in this run of the study.
        n_skipped: Problems that those left out.
        n_done: Problems that ended in this run of the study, those of trials in work included.
    """
    n_ended = n_trials_done * n_problems - n_skipped
    of_each = n_ended / n_trials_done if n_trials_done else n_problems
    return max(0.0, n_trials_left * of_each - max(0, n_done - n_ended))


def seconds_left(n_left: float, ended_s: Sequence[float], since_s: float, now_s: float) -> float | None:
    """Return the seconds that so many problems take at the pace so far; `None`: none has ended yet.

    Args:
        n_left: Problems still to run.
        ended_s: When each problem so far ended, ascending.
        since_s: When the first of them began, on the same clock.
        now_s: The time on that clock.
    """
    if n_left <= 0:
        return 0.0
    if not ended_s:
        return None
    n_early = len(ended_s) // 2
    begun_s = ended_s[n_early - 1] if n_early else since_s
    return n_left * (now_s - begun_s) / (len(ended_s) - n_early)

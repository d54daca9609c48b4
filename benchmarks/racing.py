"""What racing saves, and how often it stops a trial that it should not.

    python benchmarks/racing.py --cache DIR [--replay DIR] [--seeds 20] [--trials 80] [--races 1000]

First, simulated races of a challenger that is exactly as good as the incumbent over all problems, the hardest case
that must not be stopped: the share stopped at any look, against the nominal level; and, for challengers that are
worse, how much of the problems a race takes. Then whole searches on grounds with a known truth, with racing and
without, same seeds: spend of one over the other and the difference in final regret, paired by seed.
Writes runs/benchmarks/racing.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from grounds.loading import allocator_for, load_ground, search
from grounds.raced import Raced
from numpy.typing import NDArray
from scipy.stats import binomtest

from agenttts.study.comparison_statistics import mean_estimate, ratio_estimate
from agenttts.study.racing import ALPHA, SCORE_SHARE, blocks, n_until_decided

OUT = Path("runs/benchmarks/racing.json")
LEVEL = ALPHA * SCORE_SHARE
"""Of the part that compares scores."""
N_PROBLEMS = 200
GROUNDS = ("tiny", "aime", "simulated/3-stages")

Floats = NDArray[np.float64]
Row = dict[str, Any]


# --- simulated races


def as_good(share: float) -> Callable[[np.random.Generator], Floats]:
    """0/1 scores that differ on a share of the problems, as often for as against."""

    def draw(rng: np.random.Generator) -> Floats:
        half = round(share * N_PROBLEMS / 2)
        return np.repeat([1.0, -1.0, 0.0], [half, half, N_PROBLEMS - 2 * half])

    return draw


def fractional(rng: np.random.Generator) -> Floats:
    values = np.clip(rng.normal(0, 0.3, N_PROBLEMS), -0.9, 0.9)
    centred: Floats = np.clip(values - values.mean(), -1, 1)
    return centred


def skewed(rng: np.random.Generator) -> Floats:
    """Small losses on most problems, made good by large gains on a few: looks lost until those come."""
    n_gains = N_PROBLEMS // 20
    gains = np.full(n_gains, 0.95)
    losses = np.full(N_PROBLEMS - n_gains, -0.95 * n_gains / (N_PROBLEMS - n_gains))
    return np.concatenate([gains, losses])


EVEN: Mapping[str, Callable[[np.random.Generator], Floats]] = {
    "0/1 scores, 10 % of problems differ": as_good(0.1),
    "0/1 scores, 40 % of problems differ": as_good(0.4),
    "0/1 scores, 80 % of problems differ": as_good(0.8),
    "fractional scores": fractional,
    "small losses, few large gains": skewed,
}


def stopped_at(differences: Floats, rng: np.random.Generator) -> int | None:
    """Race in a random order, with looks as often as a study takes them."""
    size = len(blocks(range(len(differences)), 0)[0])
    ordered = rng.permutation(differences)
    return n_until_decided(list(map(float, ordered)), len(ordered), alpha=LEVEL, block=size)


def false_stops(n_races: int) -> list[Row]:
    rows = []
    for k, (name, draw) in enumerate(EVEN.items()):
        rng = np.random.default_rng([5, k])
        # Decided after the last problem is no stop: the trial was seen in full.
        stops = [stopped_at(draw(rng), rng) for _ in range(n_races)]
        n_stopped = sum(stop is not None and stop < N_PROBLEMS for stop in stops)
        interval = binomtest(n_stopped, n_races).proportion_ci(0.95, "exact")
        rows.append(
            {
                "law": name,
                "races": n_races,
                "stopped": n_stopped / n_races,
                "interval": [float(interval.low), float(interval.high)],
                "nominal": LEVEL,
                "above_nominal": bool(interval.low > LEVEL),
            }
        )
    return rows


def problems_seen(n_races: int, gaps: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.3)) -> list[Row]:
    """0/1 scores that differ on 40 % of the problems: the share of problems that a race takes."""
    rows = []
    for gap in gaps:
        rng = np.random.default_rng([6, round(1000 * gap)])
        n_for = round((0.4 - gap) / 2 * N_PROBLEMS)
        n_against = round((0.4 + gap) / 2 * N_PROBLEMS)
        differences = np.repeat([1.0, -1.0, 0.0], [n_for, n_against, N_PROBLEMS - n_for - n_against])
        seen = [stopped_at(differences, rng) or N_PROBLEMS for _ in range(n_races)]
        rows.append({"gap": gap, "problems_seen": float(np.mean(seen)) / N_PROBLEMS})
    return rows


# --- whole searches


def one_pair(
    ground_name: str, allocator: str, seed: int, n_trials: int, cache: Path, replay: Path | None
) -> Row:
    """One search with racing and one without, from the same seed."""
    ground = load_ground(ground_name, cache, replay)
    raced = Raced(ground, seed)
    row: Row = {"ground": ground_name, "allocator": allocator, "seed": seed}
    for name, evaluate in (("with", raced), ("without", None)):
        found = search(
            ground, allocator_for(allocator, ground), seed=seed, n_trials=n_trials, evaluate=evaluate
        )
        row[name] = {
            "fresh": sum(found.fresh),
            "alone": sum(found.alone),
            "regret": ground.best - found.recommended[-1],
            "trials": len(found.truths),
        }
    return row | {"stopped": raced.n_stopped, "falsely": raced.n_falsely}


def summary(rows: Sequence[Row]) -> Row:
    spend = {
        key: ratio_estimate([r["with"][key] for r in rows], [r["without"][key] for r in rows])
        for key in ("fresh", "alone")
    }
    difference = mean_estimate([100 * (r["with"]["regret"] - r["without"]["regret"]) for r in rows])
    n_trials = sum(r["with"]["trials"] for r in rows)
    assert difference is not None
    return {
        "ground": rows[0]["ground"],
        "allocator": rows[0]["allocator"],
        "seeds": len(rows),
        "spend_ratio_with_reuse": _plain(spend["fresh"]),
        "spend_ratio_without_reuse": _plain(spend["alone"]),
        "regret_with": 100 * float(np.mean([r["with"]["regret"] for r in rows])),
        "regret_without": 100 * float(np.mean([r["without"]["regret"] for r in rows])),
        "regret_difference_points": _plain(difference),
        "regret_not_distinguishable": difference.low <= 0 <= difference.high,
        "stopped": sum(r["stopped"] for r in rows) / n_trials,
        "falsely_stopped": sum(r["falsely"] for r in rows) / n_trials,
    }


def _plain(estimate: Any) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def searches(args: argparse.Namespace) -> list[Row]:
    names = [g for g in args.ground.split(",") if g != "aime" or args.replay is not None]
    for name in names:
        load_ground(name, args.cache, args.replay)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    rows = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for name in names:
            for allocator in args.allocators.split(","):
                jobs = [
                    pool.submit(one_pair, name, allocator, seed, args.trials, args.cache, args.replay)
                    for seed in range(args.seeds)
                ]
                rows.append(summary([job.result() for job in jobs]))
                print_search(rows[-1])
    return rows


# --- the report


def print_search(row: Row) -> None:
    value, low, high = row["spend_ratio_with_reuse"]
    alone = row["spend_ratio_without_reuse"][0]
    gap, least, most = row["regret_difference_points"]
    print(
        f"{row['ground']:<20} {row['allocator']:<8} spend {value:.2f} [{low:.2f}, {high:.2f}] with reuse, {alone:.2f} "
        f"without; regret {row['regret_with']:.2f} against {row['regret_without']:.2f} points, difference {gap:+.2f} "
        f"[{least:+.2f}, {most:+.2f}]; stopped {row['stopped']:.0%} of trials, falsely {row['falsely_stopped']:.2%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    known = os.environ.get("AGENTTTS_REPLAY")
    parser.add_argument("--replay", type=Path, default=Path(known) if known else None)
    parser.add_argument("--ground", default=",".join(GROUNDS))
    parser.add_argument("--allocators", default="random,tpe,curves")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--races", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    even, seen = false_stops(args.races), problems_seen(args.races)
    for row in even:
        low, high = row["interval"]
        print(
            f"as good as the incumbent, {row['law']}: stopped {row['stopped']:.1%} [{low:.1%}, {high:.1%}] of {args.races} "
            f"races, nominal {LEVEL:.0%}"
        )
    for row in seen:
        print(f"worse by {row['gap']:.2f}: a race takes {row['problems_seen']:.0%} of {N_PROBLEMS} problems")
    report = {
        "level": LEVEL,
        "problems": N_PROBLEMS,
        "false_stops": even,
        "problems_seen": seen,
        "options": {"seeds": args.seeds, "trials": args.trials},
        "figures_from": "races: simulated; grounds: tiny (recorded grid of the tiny models), aime (recorded draws of "
        "Qwen3), simulated/...",
        "searches": searches(args),
        "python": platform.python_version(),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()

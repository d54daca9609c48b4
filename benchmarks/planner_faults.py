"""What a bad planner costs `agent`: final regret against `curves` alone. Target: within 1 point over 20 seeds.

    python benchmarks/planner_faults.py --cache DIR [--replay DIR] [--seeds 20] [--trials 40]

The planners are scripted: one talks nonsense, one lies (well-formed, wrong and sure), one never answers in time, one
cannot be reached; a sensible one is measured beside them. None of them is an LLM. Regret is that of the allocation
recommended in the end, in points of the true score, paired by seed with `curves` alone on the same draws. The target
is met where the mean difference is at most 1 point; its interval says how sure that is.
Writes runs/benchmarks/planner_faults.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from grounds.loading import allocator_for, load_ground, search
from grounds.scripted import scripted_planner

from agenttts.study.comparison_statistics import mean_estimate

OUT = Path("runs/benchmarks/planner_faults.json")
FAULTS = ("nonsense", "liar", "stalls", "down")
PLANNERS = (*FAULTS, "sensible")
TARGET_POINTS = 1.0

Row = dict[str, Any]


def one_search(
    ground_name: str, planner: str | None, seed: int, n_trials: int, cache: Path, replay: Path | None
) -> float:
    """Return the final regret in points; `planner` is None for `curves` alone."""
    ground = load_ground(ground_name, cache, replay)
    name = "curves" if planner is None else "agent"
    answers = None if planner is None else scripted_planner(name, ground, seed, planner)
    found = search(ground, allocator_for(name, ground), seed=seed, n_trials=n_trials, planner=answers)
    return 100 * (ground.best - found.recommended[-1])


def summary(ground: str, planner: str, mine: list[float], alone: list[float]) -> Row:
    difference = mean_estimate([a - b for a, b in zip(mine, alone, strict=True)])
    assert difference is not None
    return {
        "ground": ground,
        "planner": planner,
        "seeds": len(mine),
        "regret_points": float(np.mean(mine)),
        "regret_of_curves_points": float(np.mean(alone)),
        "difference_points": [difference.value, difference.low, difference.high],
        "target_points": TARGET_POINTS,
        "met": difference.value <= TARGET_POINTS,
        "surely_met": difference.high <= TARGET_POINTS,
    }


def on_ground(ground: str, pool: ProcessPoolExecutor, args: argparse.Namespace) -> list[Row]:
    """Search with every planner, and print what came of it."""
    load_ground(ground, args.cache, args.replay)
    jobs = {
        planner: [
            pool.submit(one_search, ground, planner, seed, args.trials, args.cache, args.replay)
            for seed in range(args.seeds)
        ]
        for planner in (None, *PLANNERS)
    }
    alone = [job.result() for job in jobs[None]]
    rows = []
    for planner in PLANNERS:
        row = summary(ground, planner, [job.result() for job in jobs[planner]], alone)
        rows.append(row)
        value, low, high = row["difference_points"]
        print(
            f"{ground:<20} {planner:<9} (scripted) regret {row['regret_points']:.2f}, curves alone "
            f"{row['regret_of_curves_points']:.2f}, difference {value:+.2f} [{low:+.2f}, {high:+.2f}] points: "
            f"{'met' if row['met'] else 'missed'}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    known = os.environ.get("AGENTTTS_REPLAY")
    parser.add_argument("--replay", type=Path, default=Path(known) if known else None)
    parser.add_argument("--ground", default="tiny,aime,simulated/3-stages")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    rows: list[Row] = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for ground in args.ground.split(","):
            if ground == "aime" and args.replay is None:
                print("aime is left out: no --replay")
            else:
                rows += on_ground(ground, pool, args)
    report = {
        "figures_from": "grounds: tiny (recorded grid of the tiny models), aime (recorded draws of "
        "Qwen3), simulated/...; planners are scripted",
        "options": {"trials": args.trials, "seeds": args.seeds},
        "rows": rows,
        "python": platform.python_version(),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()

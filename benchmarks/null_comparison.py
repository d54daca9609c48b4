"""How often the comparison calls two allocators different that are the same but for the seed. Target: at most 5 %.

    python benchmarks/null_comparison.py [--repetitions 200] [--seeds 20] [--pool 800] [--allocators random,tpe]

On a small simulated ground one allocator runs many searches, each with a seed of its own. A repetition takes two
disjoint sets of them, calls them allocators A and B and compares them by every measure that `agenttts compare` has:
trials and spend to the target, what was found in the end, and the final plans on test problems that took no part.
Repetitions share a pool of searches, so they are not quite independent; the share is unbiased all the same.
Writes runs/benchmarks/null_comparison.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from grounds.loading import allocator_for, search
from grounds.simulated import SimulatedGround
from scipy.stats import binomtest

from agenttts.study.comparison import compare_records
from agenttts.study.comparison_values import RunRecord

OUT = Path("runs/benchmarks/null_comparison.json")
TARGET = 0.05
GROUND = "simulated/small"
TEST_SEED = 10**6
N_TEST = 200


@cache
def ground() -> SimulatedGround:
    return SimulatedGround(GROUND)


def one_record(allocator: str, seed: int, n_trials: int) -> RunRecord:
    """One search as the comparison takes it."""
    here = ground()
    found = search(here, allocator_for(allocator, here), seed=seed, n_trials=n_trials)
    trials = found.archive.trials
    best_so_far = accumulate((t.score if t.status == "ok" else 0.0 for t in trials), max)
    best = found.archive.best()
    assert best is not None  # no trial of a simulated ground is over budget
    test = replace(here.task, seed=TEST_SEED).run(best.allocation, n_problems=N_TEST)
    return RunRecord(
        allocator,
        seed,
        tuple(best_so_far),
        tuple(accumulate(found.fresh)),
        tuple(found.recommended),
        dict(test.scores),
    )


def renamed(records: Sequence[RunRecord], name: str) -> list[RunRecord]:
    return [replace(record, allocator=name, seed=i) for i, record in enumerate(records)]


def share_called_different(pool: Sequence[RunRecord], args: argparse.Namespace) -> dict[str, Any]:
    rng, by_measure, n_different = np.random.default_rng(8), Counter[str](), 0
    best = ground().best
    for _ in range(args.repetitions):
        picks = rng.choice(len(pool), size=2 * args.seeds, replace=False)
        a, b = ([pool[i] for i in half] for half in np.split(picks, 2))
        compared = compare_records([*renamed(a, "A"), *renamed(b, "B")], target=0.01, best_known=best)
        (pair,) = compared.pairs
        n_different += pair.distinguishable
        by_measure.update(test.measure for test in pair.tests if test.winner)
    interval = binomtest(n_different, args.repetitions).proportion_ci(0.95, "exact")
    n_reached = sum(record.reached(best - 0.01) is not None for record in pool)
    return {
        "allocator": pool[0].allocator,
        "searches": len(pool),
        "searches_that_reached_the_target": n_reached,
        "repetitions": args.repetitions,
        "seeds": args.seeds,
        "called_different": n_different / args.repetitions,
        "interval": [float(interval.low), float(interval.high)],
        "by_measure": dict(by_measure),
        "target": TARGET,
        "met": n_different <= TARGET * args.repetitions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pool", type=int, default=800, help="searches to draw from")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--allocators", default="random,tpe")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    rows = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as workers:
        for allocator in args.allocators.split(","):
            jobs = [workers.submit(one_record, allocator, seed, args.trials) for seed in range(args.pool)]
            rows.append(share_called_different([job.result() for job in jobs], args))
            low, high = rows[-1]["interval"]
            print(
                f"{allocator} against itself: called different in {rows[-1]['called_different']:.1%} [{low:.1%}, {high:.1%}] "
                f"of {args.repetitions} repetitions of {args.seeds} seeds; by measure {rows[-1]['by_measure']}; "
                f"target {TARGET:.0%}: {'met' if rows[-1]['met'] else 'missed'}",
                flush=True,
            )
    report = {
        "figures_from": f"{GROUND}: {ground().note}",
        "options": {"trials": args.trials},
        "rows": rows,
        "python": platform.python_version(),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()

"""Time and memory of one batch of proposals of `curves` over many feasible allocations.

Three stages of simulated models; the budget is set so that about as many allocations fit as were asked for, and the
archive holds trials of random ones. Every repetition starts with a new space, as a study does when lengths have been
learnt, so listing what fits is in the time. Peak memory is what the process holds above what it held when the archive
was made, and in all. Targets: under 2 s a batch, under 500 MB. Exit code 1 where one is missed.

    python benchmarks/proposals.py [--feasible 1000000] [--trials 60] [--batch 4] [--repetitions 5]

Writes runs/benchmarks/proposals.json. The figures are of simulated/chain: they say what a proposal costs, and nothing
about scores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from agenttts.allocators.curves import Curves
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget
from agenttts.study.archive import Archive
from agenttts.testing.surfaces import SimulatedTask, chain_space

TARGET_S = 2.0
TARGET_MB = 500.0
OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "proposals.json"
PRICES = {f"simulated/m{i}": float(2**i) for i in range(4)}


def space_of(n_feasible: int) -> Space:
    """Return a space in which so many allocations fit, of about 1.9 times as many."""
    per_stage = (1.9 * n_feasible) ** (1 / 3)
    # A model has one choice of one sample, and one of every other number by selector.
    n_counts = max(2, round((per_stage / len(PRICES) + 1) / 2))
    counts = tuple(range(1, n_counts + 1))
    space = chain_space(3, PRICES, counts, ("majority", "best_of_n"), budget=1e9)
    costs = space.cost_array(space.feasible_indices())
    wanted = min(n_feasible, len(costs))
    return replace(
        space, budget=Budget(float(np.partition(costs, wanted - 1)[wanted - 1]), space.budget.unit)
    )


def archive_of(space: Space, n_trials: int) -> Archive:
    skills = {
        choices[0].stage: dict(zip(PRICES, (-1.0, -0.2, 0.5, 1.2), strict=True)) for choices in space.stages
    }
    task = SimulatedTask(space, skills, n_problems=100)
    rows = space.sample(np.random.default_rng(0), 2 * n_trials)
    allocations = list(dict.fromkeys(space.allocation(row) for row in rows))[:n_trials]
    return Archive.of(task.run(allocation, i) for i, allocation in enumerate(allocations))


def peak_mb() -> float:
    """Return the most memory the process has held so far. Linux counts in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(n_feasible: int, n_trials: int, batch: int, repetitions: int) -> dict[str, object]:
    space = space_of(n_feasible)
    archive = archive_of(space, n_trials)
    before = peak_mb()
    wall, cpu = [], []
    for repetition in range(repetitions + 1):
        fresh, known = replace(space), Archive(archive.trials)
        started, worked = time.perf_counter(), time.process_time()
        proposals = Curves().propose(known, fresh, batch, np.random.default_rng(repetition))
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - worked)
        if len(proposals) != batch:
            raise SystemExit(f"asked for {batch} proposals, got {len(proposals)}")
    return {
        "source": "simulated/chain",
        "feasible": space.n_feasible,
        "allocations": space.size,
        "trials": n_trials,
        "batch": batch,
        "repetitions": repetitions,
        "median_s": round(statistics.median(wall[1:]), 3),
        "slowest_s": round(max(wall[1:]), 3),
        "first_s": round(wall[0], 3),
        "median_cpu_s": round(statistics.median(cpu[1:]), 3),
        "peak_mb": round(peak_mb(), 1),
        "peak_above_before_mb": round(peak_mb() - before, 1),
        "target_s": TARGET_S,
        "target_mb": TARGET_MB,
        "cores": os.cpu_count(),
        "load_of_machine": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feasible", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    result = measure(given.feasible, given.trials, given.batch, given.repetitions)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    met = float(str(result["median_s"])) <= TARGET_S and float(str(result["peak_mb"])) <= TARGET_MB
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

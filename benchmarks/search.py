"""Trials and spend that each allocator needs to come within 1 point of the best allocation, where the truth is known.

    python benchmarks/search.py [--ground all] [--seeds 20] [--trials 80] [--allocators curves,tpe,...]
        --cache DIR [--replay DIR] [--jobs 2] [--again curves]

Grounds: `tiny` (the whole grid of the task tiny, recorded), `aime` (recorded draws of Qwen3; --replay or
AGENTTTS_REPLAY names the folder of the tables) and `simulated/...` (a documented law, for scale). Each search draws
from its ground in an order shuffled by its seed. A search has found the target with the first trial whose truth is
within 1 point of the best feasible allocation's; those that never do are counted as `>N`. Spend is what the draws of
all trials cost: with reuse, those that no earlier trial has paid for; without, all. Allocators that ask an LLM are
driven by a scripted planner, which is no LLM, and marked so.

Finished searches are kept in the cache folder and not run again (--again names allocators to run anew).
Writes runs/benchmarks/search.json and prints one table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from grounds.loading import GROUNDS, allocator_for, load_ground, search
from grounds.scripted import SCRIPTED, scripted_planner

from agenttts.study.comparison_statistics import Estimate, mean_estimate, median_estimate, ratio_estimate

OUT = Path("runs/benchmarks/search.json")
PLAIN = ("curves", "random", "tpe", "gp", "cmaes", "nsga2", "grid")
RIVALS = ("tpe", "gp", "random")
WITHIN = 0.01
TARGET_TRIALS, TARGET_SPEND = 0.5, 0.1
FORMAT = 1
UNPAIRED = "; unpaired, the rivals' searches are earlier ones"

Row = dict[str, Any]


def row_path(cache: Path, ground: str, allocator: str, seed: int) -> Path:
    return cache / "search" / ground.replace("/", "-") / allocator / f"seed-{seed}.json"


def kept_row(path: Path, n_trials: int) -> Row | None:
    """Return the first trials of a search that was kept; `None` where it had fewer.

    A shorter search is the beginning of a longer one: rounds are planned without looking ahead.
    """
    if not path.exists():
        return None
    row: Row = json.loads(path.read_text())
    if row["asked_for"] < n_trials:
        return None
    return {name: value[:n_trials] if isinstance(value, list) else value for name, value in row.items()}


def one_search(
    ground_name: str, allocator: str, seed: int, n_trials: int, cache: Path, replay: Path | None
) -> Row:
    """Run one search and keep what came of it."""
    ground = load_ground(ground_name, cache, replay)
    planner = scripted_planner(allocator, ground, seed)
    begun = time.perf_counter()
    found = search(ground, allocator_for(allocator, ground), seed=seed, n_trials=n_trials, planner=planner)
    row = {
        "format": FORMAT,
        "ground": ground_name,
        "allocator": allocator,
        "scripted": planner is not None,
        "seed": seed,
        "asked_for": n_trials,
        "seconds": time.perf_counter() - begun,
        "best": ground.best,
        "truths": found.truths,
        "recommended": found.recommended,
        "fresh": found.fresh,
        "alone": found.alone,
        "scores": [found.archive.estimate(trial) for trial in found.archive.trials],
        "statuses": [trial.status for trial in found.archive.trials],
        "allocations": [str(trial.allocation) for trial in found.archive.trials],
    }
    path = row_path(cache, ground_name, allocator, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row))
    part.rename(path)
    return row


def rows_of(args: argparse.Namespace, grounds: Sequence[str], allocators: Sequence[str]) -> list[Row]:
    """Return the rows of all searches, running those that are missing."""
    again = set(filter(None, args.again.split(",")))
    rows, missing = [], []
    for ground in grounds:
        for allocator in allocators:
            for seed in range(args.seeds):
                n_trials = args.longer.get(allocator, args.trials)
                kept = kept_row(row_path(args.cache, ground, allocator, seed), n_trials)
                if kept is None or allocator in again:
                    missing.append((ground, allocator, seed, n_trials))
                else:
                    rows.append(kept)
    if args.kept:
        unfinished = {(ground, allocator) for ground, allocator, _, _ in missing}
        for ground, allocator in sorted(unfinished):
            print(f"{ground}: {allocator} is left out, its searches are not finished")
        rows = [row for row in rows if (row["ground"], row["allocator"]) not in unfinished]
        missing = []
    for ground in {job[0] for job in missing}:
        load_ground(ground, args.cache, args.replay)  # makes recording and truth once, not in every process
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(one_search, *job, args.cache, args.replay): job for job in missing}
        for n_done, job in enumerate(as_completed(jobs), 1):
            rows.append(job.result())
            if n_done % 20 == 0 or n_done == len(jobs):
                print(f"{n_done} of {len(jobs)} searches done", flush=True)
    return sorted(rows, key=lambda row: row["seed"])


# --- what the rows say


def reached(row: Row) -> tuple[float, float, float]:
    """Return trials, spend with reuse and spend without up to the target; infinite where it was not reached."""
    hits = np.flatnonzero(np.array(row["truths"]) >= row["best"] - WITHIN - 1e-12)
    if not len(hits):
        return np.inf, np.inf, np.inf
    n = int(hits[0]) + 1
    return float(n), float(sum(row["fresh"][:n])), float(sum(row["alone"][:n]))


def summary(rows: Sequence[Row], n_common: int) -> Row:
    """What the searches of one allocator on one ground say; in the end means after `n_common` trials."""
    trials, fresh, alone = (list(column) for column in zip(*map(reached, rows), strict=True))
    regret = [row["best"] - row["recommended"][:n_common][-1] for row in rows]
    mean_regret = mean_estimate([100 * value for value in regret])
    n_trials = max(len(row["truths"]) for row in rows)
    return {
        "allocator": rows[0]["allocator"],
        "scripted": rows[0]["scripted"],
        "seeds": len(rows),
        "reached": int(np.isfinite(trials).sum()),
        "trials": as_json(median_estimate(trials), n_trials),
        "spend_with_reuse": as_json(median_estimate(fresh)),
        "spend_without_reuse": as_json(median_estimate(alone)),
        "final_regret_points": as_json(mean_regret),
        "recommended_within_a_point": sum(r <= WITHIN + 1e-12 for r in regret),
        "whole_spend_with_reuse": float(np.median([sum(row["fresh"][:n_common]) for row in rows])),
        "whole_spend_without_reuse": float(np.median([sum(row["alone"][:n_common]) for row in rows])),
        "seconds_a_search": float(np.median([row["seconds"] for row in rows])),
    }


def with_earlier(data: Row, earlier: Row) -> Row:
    """Return a report with the rows of an earlier one for what was not run now, and whole grounds likewise."""
    before = {ground["ground"]: ground for ground in earlier["grounds"]}
    now = {ground["ground"]: _completed(ground, before.get(ground["ground"])) for ground in data["grounds"]}
    order = [name for name in GROUNDS if name in before or name in now]
    return {**data, "grounds": [now.get(name) or before[name] for name in order]}


def _completed(ground: Row, earlier: Row | None) -> Row:
    if earlier is None:
        return ground
    run = {row["allocator"]: row for row in ground["rows"]}
    rows = [*ground["rows"], *(row for row in earlier["rows"] if row["allocator"] not in run)]
    if "curves" not in run:
        return {**ground, "rows": rows, "targets": earlier["targets"]}
    targets = dict(ground["targets"])
    before = next((row for row in earlier["rows"] if row["allocator"] == "curves"), None)
    for name, column, rivals in (
        ("trials_over_best_rival", "trials", RIVALS),
        ("spend_over_agenttts_without_reuse", "spend_with_reuse", ("agenttts",)),
    ):
        paired = name in targets and all(rival in run for rival in rivals)
        if before is not None and name in earlier["targets"] and not paired:
            medians = [row[column]["value"] for row in (run["curves"], before)]
            targets[name] = _rescaled(earlier["targets"][name], *medians)
    return {**ground, "rows": rows, "targets": targets}


def _rescaled(target: Row, now: float, before: float) -> Row:
    """Return an earlier ratio of medians with the median of `curves` of now.

    The rivals' searches are not at hand, so it is not paired and has no interval.
    """
    value = target["value"] * now / before
    said = target["said"].removesuffix(UNPAIRED) + UNPAIRED
    return {
        **target,
        "value": value,
        "low": None,
        "high": None,
        "met": value <= target["target"],
        "said": said,
    }


def as_json(estimate: Estimate | None, limit: float | None = None) -> Row:
    """Return plain data; what was not reached is `>limit`, or null where no limit is known."""
    if estimate is None:
        return dict.fromkeys(("value", "low", "high"))

    def plain(value: float) -> float | str | None:
        return value if math.isfinite(value) else None if limit is None else f">{limit:g}"

    return {name: plain(getattr(estimate, name)) for name in ("value", "low", "high")}


def targets(by_allocator: dict[str, list[Row]]) -> Row:
    """Compare `curves` with its targets, seed by seed."""
    if "curves" not in by_allocator:
        return {}
    mine = [reached(row) for row in by_allocator["curves"]]
    result: Row = {}
    rivals = [name for name in RIVALS if name in by_allocator]
    if rivals:
        trials = {name: [reached(row)[0] for row in by_allocator[name]] for name in rivals}
        best = min(rivals, key=lambda name: (np.median(trials[name]), -np.isfinite(trials[name]).sum()))
        n_reached = int(np.isfinite(trials[best]).sum())
        # A rival that did not get there counts as if its next trial would have.
        at_most = [
            min(n, len(row["truths"]) + 1) for n, row in zip(trials[best], by_allocator[best], strict=True)
        ]
        found = ratio_estimate([m[0] for m in mine], at_most)
        met = found is not None and found.value <= TARGET_TRIALS
        result["trials_over_best_rival"] = {
            **as_json(found),
            "target": TARGET_TRIALS,
            "met": met,
            "said": f"the best rival is {best}, which got there in {n_reached} of {len(at_most)} searches; "
            "the others count as if their next trial had",
        }
    if "agenttts" in by_allocator:
        rows = by_allocator["agenttts"]
        # Where the published procedure does not get there it has spent at least all of its trials.
        spent = [min(reached(row)[2], float(sum(row["alone"]))) for row in rows]
        found = ratio_estimate([m[1] for m in mine], spent)
        n_reached = sum(math.isfinite(reached(row)[0]) for row in rows)
        result["spend_over_agenttts_without_reuse"] = {
            **as_json(found),
            "target": TARGET_SPEND,
            "met": found is not None and found.value <= TARGET_SPEND,
            "said": f"agenttts (scripted) got there in {n_reached} of {len(rows)} searches; the others count as what "
            "all their trials spent, so the ratio is at most this",
        }
    return result


def report(rows: Sequence[Row], args: argparse.Namespace) -> Row:
    grounds: list[Row] = []
    for name in dict.fromkeys(row["ground"] for row in rows):
        ground = load_ground(name, args.cache, args.replay)
        by_allocator: dict[str, list[Row]] = {}
        for row in rows:
            if row["ground"] == name:
                by_allocator.setdefault(row["allocator"], []).append(row)
        grounds.append(
            {
                "ground": name,
                "figures_from": ground.source,
                "note": ground.note,
                "allocations": ground.space.size,
                "feasible": ground.space.n_feasible,
                "best": ground.best,
                "unit_of_spend": ground.space.budget.unit.label,
                "rows": [summary(by_allocator[a], args.trials) for a in by_allocator],
                "targets": targets(by_allocator),
            }
        )
    return {
        "within_points": 100 * WITHIN,
        "options": {
            "seeds": args.seeds,
            "trials": args.trials,
            "trials_of": args.longer,
            "batch": 4,
        },
        "intervals": "95 % percentile bootstrap over seeds",
        "python": platform.python_version(),
        "grounds": grounds,
    }


def _with_interval(m: Row, digits: str = ".0f") -> str:
    def text(value: Any) -> str:
        if value is None:
            return "-"
        return value if isinstance(value, str) else format(value, digits)

    return f"{text(m['value'])} [{text(m['low'])}, {text(m['high'])}]"


def print_report(data: Row) -> None:
    for ground in data["grounds"]:
        print(f"\n{ground['ground']} ({ground['figures_from']}): {ground['note']}")
        print(
            f"  {ground['feasible']} feasible allocations, the best scores {ground['best']:.4f}; spend in "
            f"{ground['unit_of_spend']}"
        )
        print(
            f"  {'allocator':<20} {'reached':>8} {'median trials':>18} {'spend, reuse':>36} {'spend, none':>36} "
            f"{'regret, points':>22} {'s':>6}"
        )
        for row in sorted(ground["rows"], key=_order):
            name = row["allocator"] + (" (scripted)" if row["scripted"] else "")
            print(
                f"  {name:<20} {row['reached']:>4}/{row['seeds']:<3} {_with_interval(row['trials']):>18} "
                f"{_with_interval(row['spend_with_reuse'], ',.4g'):>36} "
                f"{_with_interval(row['spend_without_reuse'], ',.4g'):>36} "
                f"{_with_interval(row['final_regret_points'], '.2f'):>22} {row['seconds_a_search']:>6.1f}"
            )
        for name, target in ground["targets"].items():
            word = "met" if target["met"] else "missed"
            print(
                f"  {name}: {_with_interval(target, '.3f')}, target {target['target']}: {word}; {target['said']}"
            )


def _order(row: Row) -> tuple[float, float]:
    value = row["trials"]["value"]
    return (value if isinstance(value, int | float) else np.inf, row["final_regret_points"]["value"])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ground", default="all", help=f"{', '.join(GROUNDS)}, `simulated` or all; or a list"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument(
        "--longer",
        type=trials_by_name,
        default={},
        metavar="NAME=N,...",
        help="more trials for some, so that their searches get there; what is found in the end is still compared "
        "after --trials",
    )
    parser.add_argument("--allocators", default=",".join((*PLAIN, *SCRIPTED)))
    parser.add_argument("--cache", type=Path, required=True)
    known = os.environ.get("AGENTTTS_REPLAY")
    parser.add_argument("--replay", type=Path, default=Path(known) if known else None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", default="", help="allocators whose kept searches are run anew")
    parser.add_argument("--kept", action="store_true", help="run nothing, report the searches that are kept")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="keep the rows of the file at --out for allocators that were not run",
    )
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def trials_by_name(text: str) -> dict[str, int]:
    return {name: int(n) for name, _, n in (part.partition("=") for part in text.split(",") if part)}


def grounds_named(text: str) -> list[str]:
    chosen = [g for name in text.split(",") for g in GROUNDS if name in ("all", g, g.partition("/")[0])]
    if not chosen:
        raise SystemExit(f"no ground is called {text!r}; there are {', '.join(GROUNDS)}")
    return chosen


def main() -> None:
    args = options()
    rows = rows_of(args, grounds_named(args.ground), args.allocators.split(","))
    data = report(rows, args)
    if args.merge:
        data = with_earlier(data, json.loads(args.out.read_text()))
    print_report(data)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(data, indent=2) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()

"""The tables of a comparison as CSV files, for whoever wants to draw or test something else.

    runs.csv     one row per study
    curves.csv   one row per trial of each study
    pairs.csv    one row per pair of allocators and measure

An empty cell is "not known" or, for figures to the target, "not reached"; `reached` tells which. Spend includes the
planner's calls; `of_that_planner_...` says how much of it they were, empty where no planner was asked.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.budgets.cost import amount
from agenttts.errors import RunError
from agenttts.study.comparison_runs import amount_or_none

if TYPE_CHECKING:
    from agenttts.study.comparison_runs import ComparisonResult, RunOutcome
    from agenttts.study.comparison_values import Comparison, PairTest, RunRecord

__all__ = ["write_run_tables", "write_tables"]

Row = Mapping[str, object]


def write_run_tables(result: ComparisonResult) -> None:
    """Write the tables of studies and of trials alone.

    Raises:
        RunError: They cannot be written.
    """
    _write(result.folder / "runs.csv", list(_runs(result)))
    if result.comparison is not None:
        _write(result.folder / "curves.csv", _curves(result.comparison, result.unit.value))


def write_tables(result: ComparisonResult) -> None:
    """Write the three tables into the folder of the comparison.

    Raises:
        RunError: They cannot be written.
    """
    write_run_tables(result)
    if result.comparison is not None:
        _write(result.folder / "pairs.csv", _pairs(result.comparison))


def _runs(result: ComparisonResult) -> Iterable[Row]:
    records = (
        {} if result.comparison is None else {(r.allocator, r.seed): r for r in result.comparison.records}
    )
    for run in result.runs:
        yield {
            "allocator": run.allocator,
            "seed": run.seed,
            "status": run.status,
            "n_trials": run.n_trials,
            **_figures(result, records.get((run.allocator, run.seed))),
            f"spent_{result.unit.value}": amount(run.spent, result.unit) if run.counts else None,
            f"of_that_planner_{result.unit.value}": amount_or_none(run.planner_spent, result.unit),
            "allocation": _allocation(run),
            "folder": os.path.relpath(run.folder, result.folder),
            "message": run.message if run.status != "finished" else "",
        }


def _figures(result: ComparisonResult, record: RunRecord | None) -> Row:
    comparison = result.comparison
    names = ("reached", "trials_to_target", f"{result.unit.value}_to_target", "search_score", "true_score")
    if record is None or comparison is None:
        return dict.fromkeys([*names, "test_score", "n_test"])
    place = record.reached(comparison.best_known - comparison.target)
    test = record.test or {}
    values = (
        None if record.lacking else int(place is not None),
        None if place is None else place + 1,
        None if place is None else record.spend[place],
        record.best[-1],
        None if record.truth is None else record.truth[-1],
    )
    mean = math.fsum(test.values()) / len(test) if test else None
    return {**dict(zip(names, values, strict=True)), "test_score": mean, "n_test": len(test)}


def _allocation(run: RunOutcome) -> str:
    return "" if run.plan is None else json.dumps(run.plan.to_json())


def _curves(comparison: Comparison, unit: str) -> Iterable[Row]:
    for record in comparison.records:
        for i, (best, spend) in enumerate(zip(record.best, record.spend, strict=True)):
            yield {
                "allocator": record.allocator,
                "seed": record.seed,
                "trials": i + 1,
                f"spent_{unit}": spend,
                f"of_that_planner_{unit}": None if record.planner_spend is None else record.planner_spend[i],
                "search_score": best,
                "true_score": None if record.truth is None else record.truth[i],
            }


def _pairs(comparison: Comparison) -> Iterable[Row]:
    for pair in comparison.pairs:
        for test in pair.tests:
            yield {"first": pair.first, "second": pair.second, **_test(test), "verdict": pair.verdict}


def _test(test: PairTest) -> Row:
    kind = "ratio of medians" if test.measure in {"trials", "spend"} else "mean difference"
    difference = test.difference
    return {
        "measure": test.measure,
        "kind": kind,
        "value": _known(test, None if difference is None else difference.value),
        "low": _known(test, None if difference is None else difference.low),
        "high": _known(test, None if difference is None else difference.high),
        "below": test.bound if difference is not None and difference.value <= 0 else None,
        "above": test.bound if difference is not None and difference.value > 0 else None,
        "p": test.p,
        "p_adjusted": test.p_adjusted,
        "p_by_seed": test.p_by_seed,
        "p_by_problem": test.p_by_problem,
        "n_seeds": test.n_seeds,
        "n_problems": test.n_problems,
        "better": test.winner,
    }


def _known(test: PairTest, value: float | None) -> float | None:
    """Return a value but for ratios to what was not reached: they are known by a bound at most."""
    if value is None or (test.measure in {"trials", "spend"} and not 0 < value < math.inf):
        return None
    return value


def _write(path: Path, rows: Iterable[Row]) -> None:
    found: Sequence[Row] = list(rows)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            if found:
                writer = csv.writer(file)
                writer.writerow(found[0])
                writer.writerows([_cell(value) for value in row.values()] for row in found)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


def _cell(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"  # spreadsheets would run it
    return "" if value is None else value

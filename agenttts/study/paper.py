"""The table of the paper's protocol: what each method found, how it scores on unseen problems, what its search cost.

Pure: records of searches and scores on test problems in, rows out. Searches are run by `comparison_runs`, test problems
scored by `paper_tests`. Costs to the best leave the planner out, whose card may not tell FLOPs; its calls are told
beside.

A method's test score is a mean over its seeds and the problems; methods differ from the paper's own by the problems
that both have scored, seed by seed (see `crossed`), and all differences are corrected together (Holm). The search
problems choose the best, and "found by any method" is the best of all searches here, not the optimum of a full grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from agenttts.budgets.cost import Unit
from agenttts.study.comparison_statistics import Estimate, holm, mean_estimate, median_estimate
from agenttts.study.crossed import CrossedMean, crossed_mean
from agenttts.study.paper_methods import Method
from agenttts.study.planner_share import PlannerShare

if TYPE_CHECKING:
    from agenttts.study.comparison_values import RunRecord

__all__ = ["COST_UNITS", "Against", "PaperRow", "PlannerTold", "paper_rows"]

COST_UNITS = (Unit.GFLOPS, Unit.USD, Unit.SECONDS)
"""What search cost is told in, where the cards say it."""
Verdict = Literal["better", "worse", "not distinguishable", "the same plans"]


@dataclass(frozen=True, slots=True)
class Against:
    """A method's test score less that of the method that all are compared with."""

    difference: CrossedMean
    p_adjusted: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        told = {"p": self.difference.p, "p_adjusted": self.p_adjusted, "verdict": self.verdict}
        return self.difference.to_json() | told


@dataclass(frozen=True, slots=True)
class PlannerTold:
    """What a method asked its planner, over all its seeds."""

    calls: int
    failed: int
    usd: float | None
    """`None`: its card tells no price."""
    share: PlannerShare = PlannerShare()
    """What came of it."""


@dataclass(frozen=True)
class PaperRow:
    """One method."""

    method: Method
    n_seeds: int = 0
    """Searches that came to their end with a trial."""
    n_reached: int = 0
    """Of these: came within the tolerance of the best that any method found."""
    found: Estimate | None = None
    """Mean score by the search problems of what was found."""
    test: CrossedMean | None = None
    """Mean score on the test problems; `None` where nothing could be scored."""
    against: Against | None = None
    """`None` for the method that the others are compared with, and where there is nothing to compare."""
    trials: Estimate | None = None
    """Median over seeds of the trials until then; infinity: half of them never came there."""
    most_trials: int = 0
    cost: Mapping[Unit, Estimate] | None = None
    """Median over seeds of what was spent until then, without the planner, in each unit that is known."""
    planner: PlannerTold | None = None
    """`None` where none is asked."""
    missing: str = ""
    """Why it was not run; empty where it was."""

    @property
    def is_filled(self) -> bool:
        """Whether its planner gave none of the proposals that it was asked for: then it is no search of this method."""
        return self.planner is not None and self.planner.share.due > 0 and self.planner.share.given == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data; JSON has no infinity, so "never" is null beside `n_reached`."""
        return {
            "method": self.method.label,
            "allocator": self.method.contender,
            "n_seeds": self.n_seeds,
            "n_reached": self.n_reached,
            "missing": self.missing or None,
            "search_score": self.found and self.found.to_json(),
            "test_score": self.test and self.test.to_json(),
            "against": self.against and self.against.to_json(),
            "trials_to_best": self.trials and self.trials.to_json(),
            "cost_to_best": {unit.value: one.to_json() for unit, one in (self.cost or {}).items()},
            "planner": self.planner and asdict(self.planner),
        }


def paper_rows(
    methods: Sequence[Method],
    records: Mapping[Unit, Sequence[RunRecord]],
    *,
    reference: str,
    threshold: float,
    plans: Mapping[str, Mapping[int, object]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[PaperRow, ...]:
    """Return a row for each method that was run.

    Args:
        methods: In the order of the rows.
        records: Of the same searches, their spend in each unit that is known; test scores in all of them.
        reference: Contender that the others are compared with.
        threshold: Score by the search problems that counts as arrived.
        plans: Contender -> seed -> what was found, to say where two methods found the same.
        confidence: Of all intervals; 1 - confidence is the level of all differences together.
        seed: Of the resampling of medians.
    """
    rows = []
    for method in methods:
        own = {unit: _of(runs, method.contender) for unit, runs in records.items()}
        rows.append(_row(method, own, threshold, confidence, seed))
    first = next(iter(records.values()))
    base = _of(first, reference)
    against = {
        method.contender: _difference(_of(first, method.contender), base, confidence)
        for method in methods
        if method.contender != reference
    }
    return _judged(rows, against, reference, plans or {}, confidence)


def _of(runs: Sequence[RunRecord], contender: str) -> list[RunRecord]:
    return [run for run in runs if run.allocator == contender]


def _row(
    method: Method, own: Mapping[Unit, Sequence[RunRecord]], threshold: float, confidence: float, seed: int
) -> PaperRow:
    runs = next(iter(own.values()))
    places = [run.reached(threshold) for run in runs]
    cost = {
        unit: median_estimate(
            [
                math.inf if place is None else run.spend[place]
                for run, place in zip(rows, places, strict=True)
            ],
            confidence=confidence,
            seed=seed,
        )
        for unit, rows in own.items()
    }
    found = [run.found for run in runs if not math.isnan(run.found)]
    return PaperRow(
        method,
        n_seeds=len(runs),
        n_reached=sum(place is not None for place in places),
        found=mean_estimate(found, confidence=confidence, seed=seed),
        test=_mean(runs, confidence),
        trials=median_estimate(
            [math.inf if place is None else place + 1.0 for place in places], confidence=confidence, seed=seed
        ),
        most_trials=max((len(run.best) for run in runs), default=0),
        cost={unit: one for unit, one in cost.items() if one is not None},
    )


def _mean(runs: Sequence[RunRecord], confidence: float) -> CrossedMean | None:
    scored = [run.test for run in runs if run.test]
    problems = sorted(set.intersection(*(set(scores) for scores in scored))) if scored else []
    if not problems:
        return None
    table = [[scores[name] for name in problems] for scores in scored]
    return crossed_mean(table, confidence=confidence, within=(0.0, 1.0))


def _difference(
    runs: Sequence[RunRecord], base: Sequence[RunRecord], confidence: float
) -> CrossedMean | None:
    """Return the mean difference, by the seeds and the problems that both have scored."""
    others = {run.seed: run.test for run in base}
    both = [(run.test, others[run.seed]) for run in runs if run.test and others.get(run.seed)]
    pairs = [(a, b) for a, b in both if a and b]
    problems = sorted(set.intersection(*(a.keys() & b.keys() for a, b in pairs))) if pairs else []
    if not problems:
        return None
    return crossed_mean([[a[name] - b[name] for name in problems] for a, b in pairs], confidence=confidence)


def _judged(
    rows: Sequence[PaperRow],
    against: Mapping[str, CrossedMean | None],
    reference: str,
    plans: Mapping[str, Mapping[int, object]],
    confidence: float,
) -> tuple[PaperRow, ...]:
    known = {name: one for name, one in against.items() if one is not None}
    adjusted = dict(zip(known, holm([one.p for one in known.values()]), strict=True))
    judged = []
    for row in rows:
        name = row.method.contender
        if name in known:
            same = bool(plans.get(name)) and plans.get(name) == plans.get(reference)
            verdict = _verdict(known[name], adjusted[name], confidence, same=same)
            row = replace(row, against=Against(known[name], adjusted[name], verdict))
        judged.append(row)
    return tuple(judged)


def _verdict(difference: CrossedMean, p_adjusted: float, confidence: float, *, same: bool) -> Verdict:
    if same:
        return "the same plans"
    if p_adjusted >= 1 - confidence:
        return "not distinguishable"
    return "better" if difference.value > 0 else "worse"

"""What several allocators are worth on one task: searches repeated over seeds, compared with honest statistics.

Pure: records of searches in, a comparison out. Running the searches lives in `comparison_runs`.

Four measures, each tested for each pair of allocators: trials to the target, spend to the target, what was found in the
end, and the final plan on the test problems. Pairs are made by seed. The first two are tested by signed ranks, so that a
search that never arrived is worse than any that did and no better than another; what was found by flipping signs of
differences. Final plans must differ by seed and by problem: either alone would take the luck of the other for certainty,
so the larger p-value counts (intersection-union test, Berger 1982). All p-values of a comparison are corrected together
(Holm), so that two allocators that are the same are called different, by any measure, as seldom as the level says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Literal

from agenttts.study.comparison_statistics import (
    Estimate,
    crossed_interval,
    fewest_seeds,
    holm,
    mean_estimate,
    median_estimate,
    ratio_estimate,
    signed_rank_test,
)
from agenttts.study.comparison_values import (
    AllocatorSummary,
    Comparison,
    Measure,
    PairResult,
    PairTest,
    RunRecord,
)
from agenttts.study.statistics import sign_flip_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["compare_records", "compare_results", "summarise_records"]


def compare_records(
    records: Sequence[RunRecord],
    *,
    target: float = 0.01,
    best_known: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare allocators by their runs, each pair of them tested.

    Args:
        records: Runs; order of allocators is the order in which they first come. Runs of one seed are pairs.
        target: Distance from the best known score that counts as arrived, at least 0.
        best_known: Best true score; needed where the records hold true scores. `None`: the best that any run found.
            Runs that lack a true score have no part in what needs it; where all do, it is as if no truth were known.
        confidence: Of all intervals; 1 - confidence is the level of all tests together.
        seed: Of the resampling.

    Raises:
        ValueError: There are no records, two of the same allocator and seed, or true scores in some of them only.
    """
    summary = summarise_records(
        records, target=target, best_known=best_known, confidence=confidence, seed=seed
    )
    groups, best = _groups(summary.records), summary.best_known
    rules = _Rules(best - target, best, confidence, seed)
    pairs = [_pair(a, groups[a], b, groups[b], rules) for a, b in combinations(groups, 2)]
    notes = (*_few_seeds_notes(pairs, confidence), *summary.notes)
    return replace(summary, pairs=tuple(_corrected(pairs, confidence)), notes=notes)


def summarise_records(
    records: Sequence[RunRecord],
    *,
    target: float = 0.01,
    best_known: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """As `compare_records`, without tests of pairs."""
    told = _lacking_notes(records)
    if records and all(record.lacking for record in records):
        records, best_known = [replace(record, lacking="") for record in records], None
    truth_known = _check(records, best_known)
    finals = [record.found for record in records if not math.isnan(record.found)]
    best = best_known if best_known is not None else max(finals, default=0.0)
    groups = _groups(records)
    rules = _Rules(best - target, best, confidence, seed)
    return Comparison(
        records=tuple(records),
        summaries=tuple(_summary(name, list(runs.values()), rules) for name, runs in groups.items()),
        pairs=(),
        target=target,
        best_known=best,
        truth_known=truth_known,
        confidence=confidence,
        notes=(*told, *_notes(groups)),
    )


def _groups(records: Sequence[RunRecord]) -> dict[str, dict[int, RunRecord]]:
    groups: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        groups.setdefault(record.allocator, {})[record.seed] = record
    return groups


def compare_results(
    best: Mapping[str, ArrayLike],
    spend: Mapping[str, ArrayLike],
    *,
    truth: Mapping[str, ArrayLike] | None = None,
    test: Mapping[str, ArrayLike] | None = None,
    target: float = 0.01,
    best_known: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare allocators by plain arrays, one row per seed; see `compare_records`.

    Args:
        best: Allocator -> best-so-far by the search problems, shape (n_seeds, n_trials).
        spend: Allocator -> spend by the end of each trial, the same shape.
        truth: Allocator -> true score of the best so far, the same shape.
        test: Allocator -> score of the final plan, shape (n_seeds, n_problems), the same problems for all.
        target: As for `compare_records`.
        best_known: As for `compare_records`.
        confidence: As for `compare_records`.
        seed: As for `compare_records`.
    """
    import numpy as np

    records: list[RunRecord] = []
    for name in best:
        tables = [best[name], spend[name], *([] if truth is None else [truth[name]])]
        rows = zip(*(np.atleast_2d(np.asarray(table, dtype=float)).tolist() for table in tables), strict=True)
        tests = None if test is None else np.atleast_2d(np.asarray(test[name], dtype=float)).tolist()
        for number, (scores, spends, *truths) in enumerate(rows):
            by_problem = None if tests is None else {f"p{i}": value for i, value in enumerate(tests[number])}
            known = tuple(truths[0]) if truths else None
            records.append(RunRecord(name, number, tuple(scores), tuple(spends), known, by_problem))
    return compare_records(records, target=target, best_known=best_known, confidence=confidence, seed=seed)


ROUNDING = 1e-9
"""Differences of means nearer to 0 than this are 0 but for the rounding of sums."""


# --- one allocator -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rules:
    threshold: float
    best: float
    confidence: float
    seed: int


def _check(records: Sequence[RunRecord], best_known: float | None) -> bool:
    if not records:
        raise ValueError("a comparison needs at least one run")
    places = [(record.allocator, record.seed) for record in records]
    if len(set(places)) < len(places):
        raise ValueError("two runs have the same allocator and seed")
    known = {record.truth is not None for record in records if not record.lacking}
    if len(known) > 1:
        raise ValueError("some runs hold true scores and some do not")
    if known == {True} and best_known is None:
        raise ValueError("runs with true scores need `best_known`, the best true score")
    return known.pop()


def _summary(name: str, runs: Sequence[RunRecord], rules: _Rules) -> AllocatorSummary:
    judged = [run for run in runs if not run.lacking]
    trials, spend = ([_to_target(run, measure, rules) for run in judged] for measure in ("trials", "spend"))
    found = [run.found for run in runs if not math.isnan(run.found)]
    mean = mean_estimate(found, confidence=rules.confidence, seed=rules.seed)
    regret = None
    if mean is not None:
        regret = Estimate(rules.best - mean.value, rules.best - mean.high, rules.best - mean.low, mean.n)
    return AllocatorSummary(
        name=name,
        n_runs=len(runs),
        n_reached=sum(math.isfinite(value) for value in trials),
        trials_to_target=median_estimate(trials, confidence=rules.confidence, seed=rules.seed),
        spend_to_target=median_estimate(spend, confidence=rules.confidence, seed=rules.seed),
        found=mean,
        regret=regret,
        test=_mean_test(runs, rules),
        most_trials=max(len(run.best) for run in runs),
    )


def _to_target(run: RunRecord, measure: Measure, rules: _Rules) -> float:
    place = run.reached(rules.threshold)
    if place is None:
        return math.inf
    return float(place + 1) if measure == "trials" else run.spend[place]


def _mean_test(runs: Sequence[RunRecord], rules: _Rules) -> Estimate | None:
    scored = [run.test for run in runs if run.test]
    problems = sorted(set.intersection(*(set(scores) for scores in scored))) if scored else []
    if not problems:
        return None
    table = [[scores[name] for name in problems] for scores in scored]
    return Estimate(*crossed_interval(table, confidence=rules.confidence, seed=rules.seed), len(scored))


# --- pairs -------------------------------------------------------------------------------------------------------


_Couples = Sequence[tuple[RunRecord, RunRecord]]


def _pair(
    first: str, firsts: Mapping[int, RunRecord], second: str, seconds: Mapping[int, RunRecord], rules: _Rules
) -> PairResult:
    couples = [(firsts[seed], seconds[seed]) for seed in sorted(firsts.keys() & seconds.keys())]
    if not couples:
        return PairResult(first, second, ())
    judged = [couple for couple in couples if not any(run.lacking for run in couple)]
    tests = [_speed_test(measure, judged, rules) for measure in ("trials", "spend") if judged]
    tests += [test for test in (_found_test(judged, rules), _plan_test(couples, rules)) if test is not None]
    return PairResult(first, second, tuple(tests), why_none="the truth lacks what led their searches")


def _speed_test(measure: Literal["trials", "spend"], couples: _Couples, rules: _Rules) -> PairTest:
    firsts, seconds = ([_to_target(couple[i], measure, rules) for couple in couples] for i in (0, 1))
    ratio = ratio_estimate(firsts, seconds, confidence=rules.confidence, seed=rules.seed)
    p, sign = signed_rank_test(firsts, seconds)
    bound = None
    if ratio is not None and not 0 < ratio.value < math.inf:
        bound = _bound(measure, couples, firsts, seconds)
    return PairTest(measure, ratio, p, p, len(couples), winner=_name(couples, -sign), bound=bound)


def _bound(
    measure: Literal["trials", "spend"], couples: _Couples, firsts: Sequence[float], seconds: Sequence[float]
) -> float | None:
    """Return the ratio of medians, had the runs that did not arrive done so at their ends: later than that they were."""
    above, below = (
        median(_at_least(measure, couple[i], value) for couple, value in zip(couples, values, strict=True))
        for i, values in enumerate((firsts, seconds))
    )
    return above / below if above > 0 and below > 0 else None


def _at_least(measure: Literal["trials", "spend"], run: RunRecord, value: float) -> float:
    if math.isfinite(value):
        return value
    return float(len(run.best)) if measure == "trials" else run.spend[-1]


def _found_test(couples: _Couples, rules: _Rules) -> PairTest | None:
    differences = [a.found - b.found for a, b in couples if not math.isnan(a.found - b.found)]
    difference = mean_estimate(differences, confidence=rules.confidence, seed=rules.seed)
    if difference is None:
        return None
    p = sign_flip_p(differences, rules.seed)
    return PairTest(
        "found", difference, p, p, len(differences), winner=_name(couples, _sign(difference.value))
    )


def _plan_test(couples: _Couples, rules: _Rules) -> PairTest | None:
    both = [(a.test, b.test) for a, b in couples if a.test and b.test]
    problems = sorted(set.intersection(*(a.keys() & b.keys() for a, b in both))) if both else []
    if not problems:
        return None
    table = [[a[name] - b[name] for name in problems] for a, b in both]
    by_seed = [math.fsum(row) / len(row) for row in table]
    by_problem = [math.fsum(column) / len(table) for column in zip(*table, strict=True)]
    p_by_seed, p_by_problem = sign_flip_p(by_seed, rules.seed), sign_flip_p(by_problem, rules.seed)
    p = max(p_by_seed, p_by_problem)
    mean, low, high = crossed_interval(table, confidence=rules.confidence, seed=rules.seed)
    return PairTest(
        "test",
        Estimate(mean, low, high, len(both)),
        p,
        p,
        len(both),
        len(problems),
        p_by_seed,
        p_by_problem,
        _name(couples, _sign(mean)),
    )


def _sign(value: float) -> int:
    return 0 if abs(value) < ROUNDING else (1 if value > 0 else -1)


def _name(couples: _Couples, sign: int) -> str:
    """Return who is ahead: the first for 1, the second for -1, nobody for 0."""
    first, second = couples[0]
    return {1: first.allocator, -1: second.allocator, 0: ""}[sign]


def _corrected(pairs: Sequence[PairResult], confidence: float) -> list[PairResult]:
    """Correct all p-values of the comparison together; who is ahead by chance is no winner."""
    adjusted = iter(holm([test.p for pair in pairs for test in pair.tests]))
    corrected = []
    for pair in pairs:
        tests = [replace(test, p_adjusted=next(adjusted)) for test in pair.tests]
        tests = [test if test.p_adjusted < 1 - confidence else replace(test, winner="") for test in tests]
        corrected.append(replace(pair, tests=tuple(tests)))
    return corrected


def _lacking_notes(records: Sequence[RunRecord]) -> list[str]:
    """Return what a reader must know where the truth lacks allocations that led."""
    lacking = [record for record in records if record.lacking]
    if not lacking:
        return []
    example = f"{lacking[0].lacking} of {lacking[0].allocator}, seed {lacking[0].seed}"
    if len(lacking) == len(records):
        return [
            f"The truth lacks allocations that led every search, e.g. {example}: figures are by the search problems, as if "
            "no truth were known."
        ]
    counts = Counter(record.allocator for record in lacking)
    each = ", ".join(f"{n} of {name}" for name, n in counts.items())
    return [
        f"The truth lacks allocations that led {len(lacking)} of {len(records)} searches ({each}), e.g. {example}: these "
        "have no part in figures to the target and in what was found, which may flatter or harm their allocators."
    ]


def _few_seeds_notes(pairs: Sequence[PairResult], confidence: float) -> list[str]:
    n_tests = sum(len(pair.tests) for pair in pairs)
    fewest = fewest_seeds(n_tests, confidence)
    if not any(pair.tests and max(test.n_seeds for test in pair.tests) < fewest for pair in pairs):
        return []
    return [
        f"With {n_tests} tests at {confidence:.0%}, fewer than {fewest} common seeds cannot show any difference, "
        "however large: take more seeds or fewer allocators."
    ]


def _notes(groups: Mapping[str, Mapping[int, RunRecord]]) -> list[str]:
    notes = []
    for name, runs in groups.items():
        n_empty = sum(math.isnan(run.found) for run in runs.values() if not run.lacking)
        if n_empty:
            notes.append(
                f"{name}: {n_empty} of {len(runs)} runs found no valid allocation within the budget; they count as "
                "not having reached the target and have no part in means of scores."
            )
    everyone = set.union(*(set(runs) for runs in groups.values()))
    short = [name for name, runs in groups.items() if set(runs) != everyone]
    if short:
        notes.append(
            f"Runs are missing for {', '.join(short)}: pairs are compared on the seeds that both have, and figures of "
            "one allocator may look better for the runs that failed."
        )
    return notes

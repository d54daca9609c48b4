"""Where score is lost, and what would gain it: coverage against what was selected, saturation, spread.

Pure: a task and the archive of its trials in, values out; words and plots live in `agenttts.report`.

- Coverage is the share of problems with a right sample (of graded scores: the mean best score). From N draws it is
  known without bias for every n up to N (pass@n, Chen et al. 2021, arXiv:2107.03374). What is missing to 1 is lost by
  generation; what lies between coverage and what was selected is lost by selection.
- A stage saturates at the smallest number of samples from which all further ones gain less than `LITTLE_GAIN`.
- Setlur et al. 2025 (arXiv:2502.12118): verification pays over votes and imitation, the more the longer outputs may be,
  where completions are heterogeneous and rewards anti-concentrated, that is where a problem has a non-negligible chance
  of a reward clearly above its own mean. Both are estimated from the samples of each problem. Departures: they prove it
  for policies trained on verified or imitated traces, we read it as a hint for spending samples; heterogeneity is taken
  from lengths of all completions rather than right ones alone; the thresholds are ours.

- Coverage, single samples and saturation are those of parallel draws: of a way that stops early, or whose samples build
  on one another, the log holds no such draws (see `agenttts.study.diagnosis_beside`).

Figures of a stage that builds on others are those of the trial that they are named with: there the stages before it
gave what they gave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import pstdev
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from agenttts.study.diagnosis_beside import (
    STOPPING,
    Apart,
    Beside,
    apart,
    beside,
    parallel_beside,
    shared_draws,
)
from agenttts.study.estimation import ESTIMABLE, expected_score
from agenttts.study.stage_draws import (
    choice_at,
    draws_at,
    is_parallel,
    kind_at,
    knows_votes,
    weight,
)
from agenttts.study.statistics import Interval, PairedDifference, mean_interval, paired_difference
from agenttts.study.verifier_check import (
    RIGHT,
    Labelled,
    Selected,
    auroc,
    oracle_score,
    powers_of_two,
    selected_of,
)

if TYPE_CHECKING:
    from agenttts.study.archive import Archive, Runaway, Trial, Unparsed, Unscored
    from agenttts.task.task import Task

__all__ = [
    "Apart",
    "Beside",
    "CellDiagnosis",
    "Diagnosis",
    "Limit",
    "Mix",
    "Saturation",
    "WayDiagnosis",
    "anti_concentrated",
    "diagnose",
    "limited_by",
    "mix",
    "saturation",
]

Limit = Literal["generation", "selection", "stopping", "neither", "unclear", "unknown"]
"""`stopping`: a way that stops early would find more if it went on; `unclear`: selection or stopping seems to lose more,
but on so few problems that could be chance; `unknown`: one sample leaves nothing to select, and a way that writes answers
of its own does not select."""
ByProblem = Mapping[str, float]
Told = TypeVar("Told")

LITTLE = 0.05
"""Loss of score that limits nothing."""
LITTLE_GAIN = 0.01
"""Gain of score that more samples are not worth."""
CLEARLY = 0.5
"""Standard deviations above its own mean at which a reward is clearly better."""
CHANCE = 0.05
"""Chance from which it is not negligible."""
FEWEST = 4
"""Samples of a problem from which its rewards can be said to spread."""
PICKS = frozenset({"first", "majority", "best_of_n", "weighted_vote", "llm_select"})
"""Ways whose answer is one of their parallel draws."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """Where more samples no longer gain."""

    at: int | None
    """The number from which more gain less than `LITTLE_GAIN`; `None`: they gained up to the last."""
    n: int
    """The most samples that are known."""
    start: int
    """`at`, or where it is `None` the number before the last that was looked at."""
    gain: PairedDifference
    """Of going from `start` to `n`."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How the samples of problems are mixed of right and wrong ones."""

    n_problems: int
    all_right: float
    """Share of problems."""
    all_wrong: float
    mixed: float
    """Share on which selecting matters."""
    anti_concentrated: Interval | None
    """Share of problems with a non-negligible chance of doing clearly better than their own mean; `None`: too few
    samples to tell."""


@dataclass(frozen=True)
class WayDiagnosis:
    """What one trial says of one stage under its way to select."""

    stage: str
    model: str
    label: str
    """Of the way to select."""
    trial: int
    """Its number."""
    n_samples: int
    """As chosen; ways that stop early draw fewer."""
    single: Interval
    """Score of a single sample; of a way that stops early, of a parallel draw."""
    coverage: Interval
    """Best score among the samples of each problem; of a way that stops early, among `n_samples` parallel draws."""
    selected: Interval
    """Score of what was selected."""
    gap: PairedDifference
    """Coverage minus selected."""
    limited_by: Limit
    n_uncovered: int
    """Problems without a right sample."""
    n_misled: int | None
    """Of these, the ones on which a stage before had a wrong answer; `None`: no stage before has gold."""
    curve: Mapping[int, Interval]
    """Score by number of samples; empty where the way's answers cannot be told from its draws."""
    saturation: Saturation | None
    verifier: Selected | None
    """Best-of-n by its verifier beside the majority and the oracle, on these draws; `None`: it has none, or the log does
    not tell."""
    auroc: Interval | None
    """Of its verifier, among samples of one problem."""
    beside: Beside | None = None
    """Of a way that stops early: where its coverage is from; `None`: from its own draws."""
    unscored: Unscored | None = None
    """What its verifier left without a score; `None`: nothing was sent to one, or an older log does not tell."""


@dataclass(frozen=True)
class CellDiagnosis:
    """What the draws of one model at one stage say, by the trial that drew the most of them in parallel."""

    stage: str
    model: str
    trial: int
    n_samples: int
    n_problems: int
    coverage: Mapping[int, Interval]
    """By number of samples."""
    majority: Mapping[int, Interval]
    """As `coverage`; empty where the log does not tell the votes."""
    saturation: Saturation | None
    """Of coverage; `None`: one sample."""
    mix: Mix
    spread: float | None
    """Heterogeneity: standard deviation of lengths among completions of one problem, over their mean length."""
    unparsed: Unparsed | None
    runaway: Runaway | None
    """Completions that hit their token limit; `None`: an older log does not tell."""
    ways: tuple[WayDiagnosis, ...]
    """Each way to select that can be diagnosed, in the trial with the most samples."""


@dataclass(frozen=True)
class Diagnosis:
    """Of one run."""

    n_trials: int
    """Those that can be read: with scores."""
    best: int | None
    """Number of the best trial; `None`: there is none within the budget."""
    plan: tuple[WayDiagnosis, ...]
    """The stages of the best trial."""
    cells: tuple[CellDiagnosis, ...]
    """By stage and model, in the order of the task."""
    without_gold: tuple[str, ...]
    """Stages that ask a model of which nothing can be said."""
    apart: tuple[Apart, ...] = ()
    """Ways that were tried and are in no cell, each in the trial with the most samples, and why."""
    plan_apart: tuple[Apart, ...] = ()
    """Stages of the best trial that `plan` lacks for that reason."""

    @property
    def models(self) -> set[str]:
        """Those of which something is known."""
        return {cell.model for cell in self.cells} | {way.model for way in self.apart}

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "n_trials": self.n_trials,
            "best": self.best,
            "plan": [_plain(way) for way in self.plan],
            "cells": [_plain(cell) for cell in self.cells],
            "without_gold": list(self.without_gold),
            "apart": [_plain(way) for way in self.apart],
            "plan_apart": [_plain(way) for way in self.plan_apart],
        }


def _plain(value: Any) -> Any:
    """Return plain data; intervals and differences in their own form, which holds verdicts too."""
    if isinstance(value, Interval | PairedDifference | Selected):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def diagnose(task: Task, archive: Archive) -> Diagnosis:
    """Return what the trials of a study say of its stages and models."""
    trials = archive.valid
    best = archive.best()
    with_gold = [s for s in task.llm_stages if any(s in {*t.sample_scores, *t.stage_scores} for t in trials)]
    plan = [_told(task, trials, best, stage) for stage in with_gold] if best is not None else []
    pairs = [(stage, model) for stage in with_gold for model in task.file.stages[stage].variants]
    told = {pair: [_told(task, trials, t, pair[0]) for t in _by_way(trials, *pair)] for pair in pairs}
    made = (_cell(task, trials, pair, _only(WayDiagnosis, ways)) for pair, ways in told.items())
    return Diagnosis(
        n_trials=len(trials),
        best=None if best is None else best.number,
        plan=_only(WayDiagnosis, plan),
        cells=tuple(cell for cell in made if cell is not None),
        without_gold=tuple(stage for stage in task.llm_stages if stage not in with_gold),
        apart=_only(Apart, [way for ways in told.values() for way in ways]),
        plan_apart=_only(Apart, plan),
    )


def _only(kind: type[Told], found: Sequence[object]) -> tuple[Told, ...]:
    return tuple(entry for entry in found if isinstance(entry, kind))


# --- one stage and model ---------------------------------------------------------------------------------------------


def _cell(
    task: Task, trials: Sequence[Trial], pair: tuple[str, str], ways: tuple[WayDiagnosis, ...]
) -> CellDiagnosis | None:
    stage, model = pair
    mine = [t for t in trials if choice_at(t, stage).model == model and is_parallel(task, t, stage)]
    if not mine:
        return None
    most = max(mine, key=lambda trial: weight(trial, stage))
    draws = draws_at(most, stage)
    n = min(len(entry.values) for entry in draws)
    covered = {k: {d.problem_id: oracle_score(d.values, k) for d in draws} for k in powers_of_two(n)}
    lengths = most.lengths.get(stage)
    mean_length = _mean_length(lengths.decode) if lengths is not None else 0.0
    return CellDiagnosis(
        stage=stage,
        model=model,
        trial=most.number,
        n_samples=choice_at(most, stage).n_samples,
        n_problems=len(draws),
        coverage=_intervals(covered),
        majority=_intervals(_curve("majority", draws, n) if knows_votes(most, stage) else {}),
        saturation=saturation(covered),
        mix=mix([entry.values for entry in draws]),
        spread=lengths.spread / mean_length if lengths and lengths.spread is not None else None,
        unparsed=most.unparsed.get(stage),
        runaway=most.runaway.get(stage),
        ways=ways,
    )


def _by_way(trials: Sequence[Trial], stage: str, model: str) -> list[Trial]:
    """Return the trial with the most samples of each way to select, those of one sample only where there is no other."""
    mine = [
        trial
        for trial in trials
        if choice_at(trial, stage).model == model
        and (trial.sample_scores.get(stage) or trial.stage_scores.get(stage))
    ]
    most: dict[str, Trial] = {}
    for trial in sorted(mine, key=lambda trial: weight(trial, stage)):
        most[choice_at(trial, stage).select] = trial
    several = [trial for trial in most.values() if choice_at(trial, stage).n_samples > 1]
    return sorted(several or most.values(), key=lambda trial: choice_at(trial, stage).select)


def _mean_length(lengths: Mapping[int, int]) -> float:
    return sum(n * count for n, count in lengths.items()) / max(1, sum(lengths.values())) or 1.0


# --- one stage in one trial ------------------------------------------------------------------------------------------


def _told(task: Task, trials: Sequence[Trial], trial: Trial, stage: str) -> WayDiagnosis | Apart | None:
    """Return what a trial says of a stage; `None` where it has no score of it."""
    if is_parallel(task, trial, stage):
        return _way(task, trial, stage)
    if kind_at(task, trial, stage) in STOPPING:
        other = parallel_beside(task, trial, stage, trials)
        if other is not None:
            return _stopping_way(task, trial, other, stage)
    return apart(task, trial, stage)


def _way(task: Task, trial: Trial, stage: str) -> WayDiagnosis | None:
    """Return what a trial with parallel draws says; `None` where it has no scored sample."""
    scored = trial.stage_scores.get(stage, {})
    draws = [entry for entry in draws_at(trial, stage) if entry.problem_id in scored]
    if not draws:
        return None
    choice = choice_at(trial, stage)
    kind = kind_at(task, trial, stage)
    n = min(len(entry.values) for entry in draws)
    covered = {d.problem_id: max(d.values) for d in draws}
    curve = _curve(kind, draws, n) if _can_reckon(trial, stage, kind) else {}
    chosen = {d.problem_id: scored[d.problem_id] for d in draws}
    if (
        stage in trial.estimated_from and curve
    ):  # averaged over draws that this trial did not make: take its own
        chosen = dict(curve[n])
    gap = paired_difference(covered, chosen)
    uncovered = [name for name, score in covered.items() if score < RIGHT]
    verified = bool(trial.verifier_scores.get(stage)) and n > 1
    return WayDiagnosis(
        stage=stage,
        model=choice.model,
        label=choice.select,
        trial=trial.number,
        n_samples=choice.n_samples,
        single=_single(draws),
        coverage=_mean(covered),
        selected=_mean(chosen),
        gap=gap,
        limited_by=limited_by(_mean(covered).mean, gap) if kind in PICKS and n > 1 else "unknown",
        n_uncovered=len(uncovered),
        n_misled=_n_misled(task, trial, stage, uncovered),
        curve=_intervals(curve),
        saturation=saturation(curve) if curve else None,
        verifier=selected_of(draws, n) if verified and knows_votes(trial, stage) else None,
        auroc=auroc([entry.pairs for entry in draws], within=True) if verified else None,
        unscored=trial.unscored.get(stage),
    )


def _stopping_way(task: Task, trial: Trial, other: Trial, stage: str) -> WayDiagnosis:
    """Return what a trial whose way stops early says, beside the parallel draws of another one."""
    choice, draws = choice_at(trial, stage), shared_draws(trial, other, stage)
    covered = {d.problem_id: oracle_score(d.values, choice.n_samples) for d in draws}
    chosen = {d.problem_id: trial.stage_scores[stage][d.problem_id] for d in draws}
    gap, found = paired_difference(covered, chosen), beside(task, trial, other, stage)
    uncovered = [d.problem_id for d in draws if max(d.values) < RIGHT]
    return WayDiagnosis(
        stage=stage,
        model=choice.model,
        label=choice.select,
        trial=trial.number,
        n_samples=choice.n_samples,
        single=_single(draws),
        coverage=_mean(covered),
        selected=_mean(chosen),
        gap=gap,
        limited_by=limited_by(_mean(covered).mean, gap, found.stopping),
        n_uncovered=len(uncovered),
        n_misled=_n_misled(task, other, stage, uncovered),
        curve={},
        saturation=None,
        verifier=None,
        auroc=None,
        beside=found,
        unscored=trial.unscored.get(stage),
    )


def _single(draws: Sequence[Labelled]) -> Interval:
    return _mean({d.problem_id: math.fsum(d.values) / len(d.values) for d in draws})


def _can_reckon(trial: Trial, stage: str, kind: str) -> bool:
    """Return whether what a way selects of fewer samples follows from what the log tells of them."""
    if kind not in ESTIMABLE or not knows_votes(trial, stage):
        return False
    return kind in {"first", "majority"} or bool(trial.verifier_scores.get(stage))


def _curve(kind: str, draws: Sequence[Labelled], n: int) -> dict[int, dict[str, float]]:
    """Return the score of each problem by number of samples."""
    return {
        k: {d.problem_id: expected_score(kind, k, d.votes, d.values, d.scores) for d in draws}
        for k in powers_of_two(n)
    }


def _mean(scores: ByProblem) -> Interval:
    return mean_interval([scores[name] for name in sorted(scores)])


def _intervals(curve: Mapping[int, ByProblem]) -> dict[int, Interval]:
    return {n: _mean(scores) for n, scores in curve.items()}


def _n_misled(task: Task, trial: Trial, stage: str, uncovered: Sequence[str]) -> int | None:
    """Return on how many of these problems a stage that this one needs has a wrong answer."""
    before = [
        trial.stage_scores[need] for need in task.file.stages[stage].needs if need in trial.stage_scores
    ]
    if not before:
        return None
    return sum(any(scores.get(name, 1.0) < RIGHT for scores in before) for name in uncovered)


# --- verdicts --------------------------------------------------------------------------------------------------------


def limited_by(coverage: float, gap: PairedDifference, stopping: PairedDifference | None = None) -> Limit:
    """Return which of generation, selection and stopping loses most; `neither` where all lose little.

    Args:
        coverage: Mean best score.
        gap: Coverage minus what was selected.
        stopping: What of the gap is lost by stopping early; `None`: nothing.
    """
    by_generation, by_stopping = 1 - coverage, 0.0 if stopping is None else max(0.0, stopping.mean)
    by_selection = gap.mean - by_stopping
    if max(by_generation, gap.mean) < LITTLE:
        return "neither"
    if max(by_selection, by_stopping) <= by_generation:
        return "generation"
    if stopping is not None and by_stopping > by_selection:
        return "stopping" if stopping.verdict == "better" else "unclear"
    return "selection" if gap.verdict == "better" else "unclear"


def saturation(curve: Mapping[int, ByProblem]) -> Saturation | None:
    """Return where more samples no longer gain; `None` of a single number of samples.

    Args:
        curve: Number of samples -> problem id -> expected score.
    """
    counts = sorted(curve)
    if len(counts) < 2:
        return None
    last = counts[-1]
    for n in counts[:-1]:
        # By the mean first: the test of a difference takes its time.
        if _mean_of(curve[last]) - _mean_of(curve[n]) < LITTLE_GAIN:
            return Saturation(n, last, n, paired_difference(curve[last], curve[n]))
    return Saturation(None, last, counts[-2], paired_difference(curve[last], curve[counts[-2]]))


def _mean_of(scores: ByProblem) -> float:
    return math.fsum(scores.values()) / len(scores)


def mix(values: Sequence[Sequence[float]]) -> Mix:
    """Return how the samples of problems are mixed.

    Args:
        values: Gold scores of the samples of each problem.

    Raises:
        ValueError: No problem.
    """
    n = len(values)
    right = sum(min(samples) >= RIGHT for samples in values) / n
    wrong = sum(max(samples) < RIGHT for samples in values) / n
    told = [float(anti_concentrated(samples)) for samples in values if len(samples) >= FEWEST]
    mixed = sum(max(samples) >= RIGHT > min(samples) for samples in values) / n
    return Mix(n, right, wrong, mixed, mean_interval(told) if len(told) == n else None)


def anti_concentrated(values: Sequence[float]) -> bool:
    """Return whether a sample has a non-negligible chance of a score clearly above the mean of its problem."""
    deviation = pstdev(values)
    if deviation == 0:
        return False
    bar = math.fsum(values) / len(values) + CLEARLY * deviation
    return sum(value > bar for value in values) >= CHANCE * len(values)

"""The facts of a run, as values: what the page, or anybody else, tells of it. Nothing is computed or read here.

In the order in which a reader asks: what to run, what else, where the money goes, what more budget would buy, why, how
the search went, what failed; then trials, problems and single passes. Texts that a model wrote (insights, samples,
causes) are kept as they are: escape them wherever they are shown.

Every figure is one of three kinds, and its field says which: measured (with an interval over problems), predicted (by
a fit that is named), or counted. Costs are in the unit of the budget, `RunFacts.head.budget.unit`, unless they say
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from agenttts.allocators.evidence import Estimate, Influence, Single
from agenttts.budgets.cost import Budget, Cost
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import TrialStatus
from agenttts.study.break_even import BreakEven
from agenttts.study.figures import Figure
from agenttts.study.statistics import Interval, PairedDifference

__all__ = [
    "Answer",
    "BudgetCurve",
    "BudgetPoint",
    "Course",
    "CurvePoint",
    "FailureGroup",
    "Failures",
    "FitNote",
    "FrontierPoint",
    "Head",
    "InsightFact",
    "ModelNote",
    "Money",
    "OtherModel",
    "Predicted",
    "ProblemFact",
    "Purse",
    "Reasons",
    "RolloutFact",
    "RolloutsFact",
    "RoundFact",
    "RunFacts",
    "SampleCurve",
    "SampleFact",
    "SampleGain",
    "SampleProblems",
    "Share",
    "Source",
    "Spending",
    "StageCurve",
    "StageMoney",
    "StagePass",
    "Step",
    "TrialFact",
    "to_json",
]

Source = Literal["tiny", "recorded", "simulated", "live"]
"""Whose answers figures are figures of. No sentence, table or plot may blur them."""
Standing = Literal["frontier", "maybe", "beaten", "apart"]
"""Of a trial, in cost and score. `frontier`: no tried one that costs no more scores more; `maybe`: one does, but not
surely; `beaten`: one surely does; `apart`: invalid, so nothing can be said."""


# --- what the run is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelNote:
    """One model of the run."""

    name: str
    source: Source
    served_by: str = ""
    """Base URL without secrets; empty where it runs in this process or was recorded."""
    counted_by: tuple[str, ...] = ()
    """What counted its tokens in some trial, where that was not the endpoint itself."""
    known: str = ""
    """What its card knows, e.g. `7B parameters, 0.30 USD per million tokens`."""


@dataclass(frozen=True)
class Head:
    """Which run this is, and where its figures come from."""

    folder: str
    task: str
    description: str
    status: str
    """`finished`, `search_budget_exhausted`, `interrupted` or `running`."""
    message: str
    """Why it ended as it did and how to go on; for people."""
    budget: Budget
    """Per problem, charged."""
    search_budget: Budget | None
    allocator: str
    planner: str | None
    seed: int
    n_trials: int
    """Trials in the log."""
    n_trials_wanted: int
    n_problems: int
    """Search problems that some trial has a score for, or failed on."""
    confidence: float
    """Of all intervals that do not say otherwise."""
    metric: str
    """In words, e.g. `exact score of the answer of stage solve, mean over problems`."""
    stages: tuple[str, ...]
    """LLM stages in the order of the task."""
    models: tuple[ModelNote, ...]
    sources: tuple[Source, ...]
    """Of the models, each once."""
    provenance: str
    """A sentence: what the figures come from, with the caution that it deserves. Show it with every figure."""
    agenttts: str
    """Version that began the run."""
    n_feasible: int | None
    """Allocations that fit the budget, as of the last round."""
    n_allocations: int | None


# --- what should I run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What to run, what it scores and costs, and how sure that is."""

    winner: int | None
    """Number of the trial; `None`: no trial is valid and within the budget."""
    allocation: Allocation | None
    plan: str
    """Path of the plan; empty where there is none."""
    score: Interval | None
    """On unseen problems where `split` is `test`; else on those that chose it, which flatters the best of many."""
    split: str
    """`test` or `search`; empty where there is no score."""
    search_score: Interval | None
    """Of the winner on the search problems."""
    charged: float | None
    """What a problem costs in production, measured on the search problems: by them the budget is kept."""
    cost: Cost | None
    """The same in every unit."""
    share_of_budget: float | None
    """`charged` over the budget."""
    runner_up: int | None
    runner_up_score: Interval | None
    """On unseen problems."""
    difference: PairedDifference | None
    """Winner minus runner-up on unseen problems, paired by problem."""
    verdict: str
    """In words; `not distinguishable` is one of them. Empty where nothing was confirmed."""
    unconfirmed_because: str
    """Empty where winner and runner-up were confirmed."""
    n_unseen: int
    """Unseen problems asked of both."""
    n_failed_unseen: int
    """Of these, the ones on which the winner failed; they are in no denominator of `score`."""
    alternative: int | None
    """Number of a trial that costs at least a tenth less and is about as good."""
    alternative_difference: PairedDifference | None
    """Winner minus that one, on the search problems."""
    cautions: tuple[str, ...]
    """Sentences that a reader of the score must know, most important first."""
    measures: Mapping[str, Figure] = field(default_factory=dict)
    """The task's measures of the winner on unseen problems."""
    stage_scores: Mapping[str, Figure] = field(default_factory=dict)
    """Scores of its stages on unseen problems."""
    break_even: tuple[BreakEven, ...] = ()
    unseen_charged: float | None = None
    """What a problem costs on unseen problems; `None`: not measured."""


# --- what else -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrontierPoint:
    """A trial that may be the best for its cost."""

    trial: int
    charged: float
    score: Interval
    """On the search problems."""
    standing: Standing
    over_budget: bool
    behind_winner: PairedDifference | None
    """Winner minus this one, on the search problems that both have; `None`: it is the winner, or they share none."""
    saves: float | None
    """Share of the winner's cost that it saves; negative where it costs more; `None` without a winner."""


# --- where the money goes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A part of a cost: by stage, model and purpose, prefill and decode apart."""

    stage: str
    model: str
    purpose: str
    """As in `agenttts.pipeline.base.Purpose`; `calls` where an older log does not tell what they were for."""
    prefill: float
    """What reading prompts costs, in the unit of the budget."""
    decode: float
    """What writing costs."""
    prefill_tokens: float
    decode_tokens: float

    @property
    def total(self) -> float:
        """Return both together."""
        return self.prefill + self.decode


@dataclass(frozen=True)
class StageMoney:
    """What one trial's problem costs in production, on average."""

    trial: int
    shares: tuple[Share, ...]
    """They add up to `total`."""
    total: float
    exact: bool
    """Whether the log tells what each call was for; older logs do not: there prefill and decode are divided by tokens
    and the stage's model, and calls of a stage are one share."""


@dataclass(frozen=True)
class Purse:
    """What one phase of the run paid, e.g. `pilot`, `trials`, `confirmation`, `planner`."""

    name: str
    cost: Cost
    n_draws: int | None
    """Completions paid for; `None`: the log does not tell."""


@dataclass(frozen=True)
class Spending:
    """What the store says that this run paid, by model and purpose."""

    model: str
    purpose: str
    n_calls: int
    n_draws: int
    prefill_tokens: int
    decode_tokens: int


@dataclass(frozen=True)
class Money:
    """Where the money goes: of the plan in production, and of the search."""

    trials: tuple[StageMoney, ...]
    """Of the winner first, then of the runner-up, the cheaper alternative and the frontier."""
    spent: Cost
    """By the whole run."""
    purses: tuple[Purse, ...]
    """They add up to `spent`, where the log tells all of it."""
    calls: tuple[Spending, ...]
    """Empty where the store cannot be read."""
    n_paid: int
    """Draws paid for."""
    n_reused: int
    """Draws used without paying again."""


# --- predictions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predicted:
    """A prediction of a fit, with its 95 % interval: of the expected score on the search problems.

    How much harder or easier other problems are comes on top.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class FitNote:
    """Which fit predictions come from."""

    text: str
    """A sentence for people: that it is a prediction, and by which fit."""
    n_trials: int
    """Trials it rests on."""
    composed: bool
    """Whether laws of the stages are composed (and believed in), or final scores alone are smoothed."""


@dataclass(frozen=True)
class BudgetPoint:
    """What one budget would buy."""

    budget: float
    predicted: Predicted | None
    """Of `choice`; `None` without a fit. The best of many predictions is a little too good."""
    choice: Allocation | None
    """What the fit would choose."""
    cost: float | None
    """What it is expected to cost."""
    tried: int | None
    """Number of the trial of `choice`; `None`: it was not tried."""
    best_tried: int | None
    """Number of the best trial that costs no more than the budget."""
    measured: Interval | None
    """Its score on the search problems; it too is the best of many."""


@dataclass(frozen=True)
class BudgetCurve:
    """Score against budget: from the cheapest allocation to twice the budget, rising.

    Without a fit from the cheapest trial; empty where there is neither.
    """

    points: tuple[BudgetPoint, ...]
    fit: FitNote | None
    why_none: str = ""
    """Why nothing is predicted; empty where something is."""
    n_choices: int = 0
    """Allocations that were compared at the largest budget."""
    exact: bool = True
    """Whether that were all that fit; else a search that is near exact found them."""


# --- why -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurvePoint:
    """One number of samples on a stage's curve."""

    n_samples: int
    predicted: Predicted


@dataclass(frozen=True)
class StageCurve:
    """How a fit says that a stage's answer gets better with samples, after right answers of the stages before."""

    stage: str
    model: str
    select: str
    points: tuple[CurvePoint, ...]
    seen: bool
    """Whether a trial has used the model here; else the curve is guessed from other models."""
    chosen: int | None
    """Samples that the winner takes on this curve; `None`: it takes another model or way."""


@dataclass(frozen=True)
class OtherModel:
    """Why not this model at this stage."""

    stage: str
    model: str
    chosen: str
    """The model that the winner uses there."""
    single: Single | None
    """Score of one of its samples there; `None`: not known."""
    chosen_single: Single | None
    n_trials: int
    """Scored trials that use it there."""
    best_trial: int | None
    """The best of them that may win; `None`: there is none."""
    difference: PairedDifference | None
    """Winner minus that trial, on the search problems."""
    best_with: Allocation | None
    """The best allocation within the budget that uses it there, by the fit."""
    predicted: Predicted | None
    cost: float | None
    """Of `best_with`."""
    chance: float | None
    """That it is better than the winner, by the fit; in [0, 1]."""
    why: str
    """A sentence for people."""


@dataclass(frozen=True)
class SampleGain:
    """What the final score gains by twice the samples of the winner's model and way at a stage, all else the same."""

    stage: str
    model: str
    gain: Estimate
    at_winner: bool
    """Whether the other stages are as the winner has them; else they are the same within each pair only."""
    n_pairs: int
    """Pairs of trials behind it."""

    @property
    def is_told(self) -> bool:
        """Return whether it can be told from no gain at all."""
        return self.gain.low > 0 or self.gain.high < 0


@dataclass(frozen=True)
class SampleCurve:
    """How the score of a stage's answer goes with samples of one model, all else the same, on the same problems."""

    stage: str
    model: str
    select: str
    of: Literal["stage", "final"]
    """`stage`: scored against the stage's gold; `final`: the final score, for stages without gold."""
    beside: tuple[StageChoice, ...]
    """What the stages before it are along the curve; where `of` is `final`, all other stages."""
    points: Mapping[int, Estimate]
    """Number of samples -> score. A single point shares problems, or the other stages, with no other trial."""
    flat_from: int | None
    """Smallest number of samples from which all larger ones that were tried surely gain less than 0.1; `None`: none is
    known."""


@dataclass(frozen=True)
class Reasons:
    """Why this allocation."""

    gains: tuple[SampleGain, ...]
    """What the final score gains by twice the samples of a stage; measured."""
    saturation: tuple[SampleCurve, ...]
    """Score of a stage's answer by number of samples; measured."""
    curves: tuple[StageCurve, ...]
    """The same by the fit, beyond what was tried; empty where the fit composes no stages."""
    influence: tuple[Influence, ...]
    """The final score where a stage was right, and where it was wrong; measured."""
    singles: tuple[Single, ...]
    """Score of one sample of a model at a stage; measured."""
    other_models: tuple[OtherModel, ...]
    fit: FitNote | None


# --- how the search went ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """The search after one more trial, in the order in which trials ended."""

    trial: int
    best: int | None
    """Number of the best trial by then."""
    best_score: float | None
    spent: float | None
    """By the whole run by then, in the unit of the budget (FLOPs for `paper`, in GFLOPs); `None`: not in the log."""
    n_paid: int
    """Draws that trials had paid for by then."""
    n_reused: int
    after_s: float | None
    """Seconds since the run was begun, pauses included; `None`: an older log does not tell."""


@dataclass(frozen=True)
class InsightFact:
    """Something a planner says it has learnt. Written by a model."""

    round: int
    text: str
    trials: tuple[int, ...]
    confidence: float | None


@dataclass(frozen=True)
class RoundFact:
    """One round of proposals."""

    round: int
    trials: tuple[int, ...]
    origins: Mapping[str, int]
    """Who proposed how many."""
    n_feasible: int | None
    insights: tuple[InsightFact, ...]
    notes: tuple[str, ...]
    """What went wrong or was changed in the conversation with the planner."""


@dataclass(frozen=True)
class Course:
    """How the search went."""

    steps: tuple[Step, ...]
    spent_unit: str
    """Unit of `Step.spent`."""
    rounds: tuple[RoundFact, ...]
    n_stopped: int
    """Trials that racing ended early."""
    n_rollouts: int
    """Problems that trials ran."""
    n_rollouts_saved: int
    """Problems that racing spared."""
    reuse: float | None
    """Share of the trials' draws that were held already; `None`: no draws."""
    planner_calls: int
    planner_failed: int
    planner_notes: tuple[str, ...]


# --- what failed -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FailureGroup:
    """Problems that failed alike."""

    stage: str
    cause: str
    n: int
    trials: tuple[int, ...]
    """At most 20 of them."""
    example: str
    """Message of the first; it may hold what a model or a provider wrote."""
    problem_id: str
    """Of the first."""
    split: str = "search"


@dataclass(frozen=True)
class SampleProblems:
    """Samples of one model at one stage that went wrong, over all trials."""

    stage: str
    model: str
    kind: Literal["unparsed", "runaway", "unscored"]
    """`unparsed`: no answer was found in them; `runaway`: they hit their token limit; `unscored`: the selecting verifier
    gave no score (then `model` is the way)."""
    n: int
    n_samples: int
    example: str


@dataclass(frozen=True)
class Failures:
    """What failed. A failed problem is no wrong answer, and an unscored sample no 0."""

    groups: tuple[FailureGroup, ...]
    samples: tuple[SampleProblems, ...]
    invalid: tuple[int, ...]
    """Trials with too many failed problems."""
    over_budget: tuple[int, ...]
    stopped: tuple[int, ...]
    pilot_failed: int
    """Problems of the pilot."""


# --- single trials and problems --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrialFact:
    """One trial."""

    number: int
    allocation: Allocation
    status: TrialStatus
    standing: Standing
    score: float | None
    """Measured: the mean over the problems that it saw; `None`: nothing was scored."""
    low: float | None
    """95 % interval over problems: Wilson's where all scores are 0 or 1; else normal, never narrower than Wilson's of
    the same mean."""
    high: float | None
    n_problems: int
    """Problems with a score."""
    n_failed: int
    charged: float
    n_paid: int
    n_reused: int
    origin: str
    reason: str
    repaired: str
    stopped_because: str
    estimated_from: Mapping[str, int]
    """Stage -> draws that its score is averaged over, where more than its own."""
    scores: tuple[float | None, ...] = ()
    """By problem, in the order of `RunFacts.problems`; `None`: no score."""
    estimate: float | None = None
    """Of a stopped trial what it would score on all problems (see `Archive.estimate`); not measured. `None`: any other,
    or nothing was scored."""


@dataclass(frozen=True)
class ProblemFact:
    """One search problem over all trials."""

    id: str
    text: str
    """Beginning of the fields that prompts ask about; empty where the data cannot be read."""
    n_scored: int
    """Trials that have a score for it."""
    n_failed: int
    mean: float | None
    """Mean score over those trials."""
    winner: float | None
    """Score of the winner."""
    runner_up: float | None
    golds: Mapping[str, str] = field(default_factory=dict)
    """Right answer by stage, for those that are scored against a field of the problem."""


@dataclass(frozen=True)
class SampleFact:
    """One completion."""

    purpose: str
    model: str
    text: str
    """As the model wrote it, cut where it is very long."""
    cut: bool
    answer: str | None
    """What was parsed from it; `None`: nothing, or it was not parsed."""
    score: float | None
    """Against gold; `None`: the stage has none, or it is not known."""
    verifier_score: float | None
    selected: bool
    prefill_tokens: int
    decode_tokens: int
    finish_reason: str


@dataclass(frozen=True)
class StagePass:
    """One stage of one pass."""

    stage: str
    choice: str
    """In words, e.g. `solve tiny/m x4 majority`."""
    ran: bool
    prompt: tuple[tuple[str, str], ...]
    """(role, text) of the messages of its own prompt; empty where it asked nothing."""
    samples: tuple[SampleFact, ...]
    """Of its own prompt first, then those of fusions, critics and verifiers."""
    answer: str | None
    """The selected answer."""
    score: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RolloutFact:
    """One pass of one problem under one trial's allocation, read back from the store."""

    trial: int
    problem_id: str
    score: float | None
    """As the log has it."""
    stages: tuple[StagePass, ...]
    missing: str = ""
    """Why it could not be read back in full; empty where it could."""


@dataclass(frozen=True)
class RolloutsFact:
    """Passes that were read back."""

    passes: tuple[RolloutFact, ...]
    """Of the winner, and where they tell most also of the runner-up."""
    n_asked: int
    n_read: int
    """Of these, the ones that the store holds in full."""
    why_none: str = ""
    """Why none was read; empty where some were."""


# --- all of it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunFacts:
    """All facts of one run."""

    head: Head
    answer: Answer
    frontier: tuple[FrontierPoint, ...]
    """By rising cost. All on the frontier, and of those that may be on it the ones that lose least."""
    money: Money
    budgets: BudgetCurve
    reasons: Reasons
    course: Course
    failures: Failures
    trials: tuple[TrialFact, ...]
    """In the order of their numbers."""
    problems: tuple[ProblemFact, ...]
    """In the order of their ids."""
    rollouts: RolloutsFact

    def to_json(self) -> dict[str, Any]:
        """Return plain data: no tuples, no NaN, numbers rounded to six significant digits."""
        data: dict[str, Any] = to_json(self)
        return data


DIGITS = 6


def to_json(value: Any) -> Any:
    """Return plain data of any fact: dataclasses as objects, allocations as lists of choices, budgets with their unit.

    Numbers are rounded to six significant digits; those that are no numbers are `None`.
    """
    if isinstance(value, float):
        return _number(value) if isfinite(value) else None
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Allocation):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if is_dataclass(value):
        return _object(value)
    return [to_json(one) for one in value]


def _number(value: float) -> float | int:
    """Return a number in few characters: most scores are whole."""
    return int(value) if value.is_integer() and abs(value) < 1e6 else float(f"{value:.{DIGITS}g}")


def _object(value: Any) -> dict[str, Any]:
    data = {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, PairedDifference):
        data["verdict"] = value.verdict
    return data

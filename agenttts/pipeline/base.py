"""Values of the pipeline: problem, allocation, what a stage produced, what a whole pass produced.

No I/O and no schema here. Procedures that spend samples live in `strategies`, the one driver of their I/O in `driver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agenttts.budgets.cost import Cost
from agenttts.models.base import CallUsage

__all__ = [
    "Allocation",
    "Charge",
    "CostPart",
    "Failure",
    "Judged",
    "Problem",
    "Purpose",
    "Rollout",
    "StageChoice",
    "StageOutput",
]

Purpose = Literal["draw", "step", "refine", "escalate", "critic", "fusion", "choose", "verify", "planner"]
"""What a call is for. `draw`: a sample of the stage's own prompt and model, of which lengths are learnt; `step`: the
continuation of a reply; `refine`: a reply to feedback; `escalate`: a sample of another model; `critic`: feedback;
`fusion`, `choose`: one answer of several samples; `verify`: a score."""


@dataclass(frozen=True)
class Problem:
    """One row of a data set."""

    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class StageChoice:
    """What one stage gets: model, number of samples, and the label of the way to turn them into one answer."""

    stage: str
    model: str
    n_samples: int
    select: str
    """Label of one of the stage's `select` entries; `first` whenever `n_samples` is 1 (see `Allocation.canonical`)."""
    below: float | None = None
    """For a stage with `when`: it runs where the measure of the stage it watches is below this (0: never). 0 as well
    for a stage that is left out. `None` for all others."""

    def __str__(self) -> str:
        if self.below == 0:
            return f"{self.stage} off"
        how = "" if self.n_samples == 1 else f" {self.select}"
        when = "" if self.below is None else f" below {self.below:g}"
        return f"{self.stage} {self.model} x{self.n_samples}{how}{when}"


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """A choice for every LLM stage, in the order of the task."""

    choices: tuple[StageChoice, ...]

    def __str__(self) -> str:
        """Return e.g. `translate tiny/m x4 majority; solve tiny/s x1`."""
        return "; ".join(str(choice) for choice in self.choices)

    def __getitem__(self, stage: str) -> StageChoice:
        return next(choice for choice in self.choices if choice.stage == stage)

    def canonical(self) -> Allocation:
        """Return the allocation with `first` as selector wherever there is one sample: all selectors agree there."""
        return Allocation(tuple(replace(c, select="first") if c.n_samples == 1 else c for c in self.choices))

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain data; `from_json` reads it back."""
        return [
            {"stage": c.stage, "model": c.model, "n_samples": c.n_samples, "select": c.select}
            | ({} if c.below is None else {"below": c.below})
            for c in self.choices
        ]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Allocation:
        """Read what `to_json` wrote."""
        return cls(tuple(StageChoice(**entry) for entry in data))


@dataclass(frozen=True, slots=True)
class Charge:
    """One prompt that a stage is billed for, as it would cost in production (no store, no reuse)."""

    model: str
    purpose: Purpose
    usage: CallUsage


@dataclass(frozen=True, slots=True)
class CostPart:
    """What the calls to one model for one purpose cost, reading and writing apart; both together are their cost."""

    model: str
    purpose: Purpose
    prefill: Cost
    decode: Cost


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a problem has no score. Never a wrong answer."""

    stage: str
    cause: str
    """Class name of the error, e.g. `ProviderUnavailableError`."""
    message: str


@dataclass(frozen=True, slots=True)
class Judged:
    """How many samples were sent to the selecting verifier, and how many of them it gave no score."""

    n_samples: int = 0
    """Of a search over steps: beginnings of replies."""
    n_unscored: int = 0
    because: str = ""
    """Why the first of them has no score; it may hold what a model wrote."""

    @classmethod
    def of(cls, n_samples: int, causes: Sequence[str]) -> Judged:
        """Return what came of samples; one cause for each that has no score."""
        return cls(n_samples, len(causes), causes[0] if causes else "")

    def __add__(self, other: Judged) -> Judged:
        """Return both together; the cause is the first."""
        return Judged(
            self.n_samples + other.n_samples,
            self.n_unscored + other.n_unscored,
            self.because if self.n_unscored else other.because,
        )


@dataclass(frozen=True)
class StageOutput:
    """What one stage made of one problem."""

    answer: Any
    """The selected answer; `None` where nothing could be parsed."""
    text: str = ""
    """Text of the selected sample (or of the fusion); of a test its feedback; empty for function stages."""
    answers: tuple[Any, ...] = ()
    """Parsed answer of each sample, `None` where parsing failed, shape (n_samples,); of a way that stops early fewer,
    of one that refines, escalates or searches also those that came of it."""
    texts: tuple[str, ...] | None = None
    """Texts of the same samples, where they are not just those drawn for the stage's own prompt; else `None`."""
    n_plain: int | None = None
    """How many of the samples, from the first, are independent draws of the choice's model; `None`: all."""
    selected: int | None = None
    """Index of the selected sample; `None` for fusion, functions and tests, and where it is a sample of another stage."""
    verifier_scores: tuple[float | None, ...] = ()
    """What the selecting verifier gave each sample; `None` is unscored. Empty where no verifier took part."""
    judged: Judged = Judged()
    """What came of the samples that were sent to that verifier; those without an answer are not sent."""
    n_runaway: int = 0
    """How many of the plain samples hit their token limit before they ended."""
    charges: tuple[Charge, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader of the result should know, e.g. `2 of 8 samples could not be parsed`."""
    skipped: bool = False
    """It did not run: answer, text and answers are those of the stage that it watches or takes over from, if any; of
    one that watches a test, those of the stage that was tested."""
    left_open: bool = False
    """It did not run and has no answer to pass on: the problem is for the stage that takes over `otherwise`."""


@dataclass(frozen=True)
class Rollout:
    """One pass of one problem through the pipeline, scored against the gold fields."""

    problem_id: str
    outputs: Mapping[str, StageOutput]
    score: float | None
    """Final score in [0, 1]; `None` exactly when `failure` is set."""
    stage_scores: Mapping[str, float] = field(default_factory=dict)
    """Score of each stage's selected answer, for the stages that have gold."""
    sample_scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Score of every single sample of those stages, shape (n_samples,)."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Charged cost by LLM stage."""
    failure: Failure | None = None
    n_paid: int = 0
    """Draws paid for by this pass."""
    n_reused: int = 0
    """Draws taken from the store."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Digest of the prompt of each LLM stage that builds on others: equal digests, same stage, same draws."""
    estimated_from: Mapping[str, int] = field(default_factory=dict)
    """Stage -> draws that its score, and the final one if it decides that, are averaged over; empty: this pass only."""
    votes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Answer codes of each plain sample (see `conditions.answer_codes`), for the stages that another one's `when`
    watches, whose votes tell what they cost, or that have gold and drew several."""
    steps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Stage whose ways search over steps -> steps of each plain sample."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Stage that runs on a condition -> what its `when` measured, where that is known."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """The task's `measures` by name, for those that have a value; empty where none were taken."""
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    """Why the others have none."""
    parts: Mapping[str, tuple[CostPart, ...]] = field(default_factory=dict)
    """`costs` by model and purpose; empty where nobody has divided it."""

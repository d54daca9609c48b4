"""What a study is asked for, tells while it runs, and hands over in the end. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

from agenttts.allocators.base import Insight
from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.models.counts import CallCounts
from agenttts.study.archive import ProblemFailure, Trial
from agenttts.study.break_even import BreakEven
from agenttts.study.figures import Figure
from agenttts.study.statistics import Interval, PairedDifference

__all__ = [
    "Alternative",
    "Confirmation",
    "Observer",
    "PlannerUse",
    "ProgressEvent",
    "StudyOptions",
    "StudyResult",
    "StudyStatus",
]

StudyStatus = Literal["finished", "search_budget_exhausted", "interrupted"]
MOST_CONFIRMED = 500


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How to search. Everything but `concurrency` has a say in the result."""

    budget: Budget
    """Per problem, charged."""
    allocator: str = "curves"
    n_trials: int = 40
    batch: int = 4
    """Trials proposed together, from what is known at that moment."""
    seed: int = 0
    search_budget: Budget | None = None
    """The most that the whole study may spend, confirmation included; `None`: no limit."""
    concurrency: int = 32
    """Problems in work at a time."""
    max_failed: float = 0.02
    """Share of failed problems above which a trial is invalid."""
    n_confirm: int | None = None
    """Test problems of the confirmation; `None`: all, at most 500."""
    confidence: float = 0.95
    confirm: bool = True
    n_pilot: int = 8
    """Search problems that every model answers once at every stage before the first round, to learn lengths."""
    racing: bool = True
    """Whether a trial ends once it is surely no winner (see `agenttts.study.racing`)."""
    reuse_estimation: bool = True
    """Whether scores are averaged over the draws that earlier trials left (see `agenttts.study.averaging`)."""
    planner: ModelCard | None = None
    """The model that the allocator asks; `None`: none."""
    planner_budget: Budget | None = None
    """The most that all calls to the planner may cost; `None`: the search budget alone limits them."""
    planner_prompts: str | None = None
    """Folder with prompt files that replace the allocator's; `None`: the package's."""
    planner_deadline_s: float = 120.0
    """Of one call to the planner, with all its attempts."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Options of the allocator, by name."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `from_json` reads it back."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        return data | {
            "budget": _budget_to_json(self.budget),
            "search_budget": _budget_to_json(self.search_budget),
            "planner": None
            if self.planner is None
            else self.planner.model_dump(mode="json", exclude_none=True),
            "planner_budget": _budget_to_json(self.planner_budget),
            "switches": dict(self.switches),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StudyOptions:
        """Read what `to_json` wrote; studies begun before an option existed go on without what it adds."""
        data = {"racing": False, "reuse_estimation": False, **data}
        budget = _budget_from_json(data["budget"])
        if budget is None:
            raise ValueError("options without a budget")
        planner = data.get("planner")  # older logs lack it
        return cls(
            **{
                **data,
                "budget": budget,
                "search_budget": _budget_from_json(data["search_budget"]),
                "planner": None if planner is None else ModelCard.model_validate(planner),
                "planner_budget": _budget_from_json(data.get("planner_budget")),
            }
        )


def _budget_to_json(budget: Budget | None) -> dict[str, Any] | None:
    return None if budget is None else {"amount": budget.amount, "unit": budget.unit.value}


def _budget_from_json(data: Mapping[str, Any] | None) -> Budget | None:
    return None if data is None else Budget(float(data["amount"]), Unit(data["unit"]))


@dataclass(frozen=True)
class ProgressEvent:
    """Where a running study stands."""

    kind: Literal["pilot", "planning", "round", "rollout", "trial", "confirming", "waiting", "tick", "ended"]
    """`tick`: about a second has passed."""
    trials_done: int
    n_trials: int
    rollouts_done: int
    """Problems finished by this run of the study, of the trials in work and those before."""
    rollouts_total: int
    """Problems that this run of the study is to finish in all its trials; less with each trial that is stopped."""
    spent: Cost
    n_paid: int
    """Draws paid for by the study, over all its runs, as `spent`."""
    n_reused: int
    best: Trial | None = None
    best_interval: Interval | None = None
    trial: Trial | None = None
    """The trial that has just finished, for `trial`."""
    eta_s: float | None = None
    """Time left for trials and confirmation, in seconds, at the pace so far."""
    message: str = ""
    calls: CallCounts | None = None
    """Waits and retries of this run of the study; `None`: nobody counts them."""
    finals_done: int = 0
    """Problems that the confirmation has finished, of both finalists together."""
    finals_total: int = 0
    """Problems that it is to run; 0 before it begins."""
    by_stage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Stage -> requests for draws at work now, and those that ended, of this run of the study."""


class Observer(Protocol):
    """Is told how a study gets on."""

    def on(self, event: ProgressEvent) -> None:
        """Take note; must return quickly and not raise."""
        ...


@dataclass(frozen=True)
class Confirmation:
    """Winner and runner-up on problems that took no part in choosing them."""

    n: int
    """Test problems asked of both."""
    winner: Interval | None
    """`None` where too many of its problems failed."""
    runner_up: Interval | None
    """`None` where there is no runner-up or too many of its problems failed."""
    difference: PairedDifference | None
    """Winner minus runner-up, on the problems that both have a score for."""
    verdict: str
    """In words."""
    winner_failures: tuple[ProblemFailure, ...] = ()
    runner_up_failures: tuple[ProblemFailure, ...] = ()
    winner_charged: float | None = None
    """Mean charged cost of the winner per test problem, in the unit of the budget."""
    split: str = "test"
    n_wanted: int = 0
    """Test problems that would have been asked, had the search budget paid for them."""
    winner_measures: Mapping[str, Figure] = field(default_factory=dict)
    """The task's `measures` of the winner on the test problems, by name."""
    winner_stages: Mapping[str, Figure] = field(default_factory=dict)
    """Scores of the winner's stages that have a `score` of their own, on the test problems."""


@dataclass(frozen=True)
class Alternative:
    """A cheaper trial that the search problems cannot tell from the winner."""

    trial: Trial
    difference: PairedDifference
    """Winner minus the cheaper one, on the search problems."""


@dataclass(frozen=True)
class PlannerUse:
    """What asking the planner model took and brought."""

    model: str
    calls: int
    failed: int
    """Calls that brought no text."""
    prefill_tokens: int
    decode_tokens: int
    refused: int = 0
    """Calls that were not made, because a budget did not cover them."""
    spent: Cost | None = None
    """What its calls cost; `None`: an older log does not tell."""
    notes: tuple[str, ...] = ()
    """What went wrong or was changed, over all rounds, without repeats."""


@dataclass(frozen=True)
class StudyResult:
    """What a study found, and how sure it is."""

    status: StudyStatus
    budget: Budget
    best: Trial | None
    """The trial with the highest mean score within the budget; `None` where there is none."""
    best_interval: Interval | None
    """Of `best` on the search problems. The best of many looks better there than it is: see `confirmation`."""
    runner_up: Trial | None
    confirmation: Confirmation | None
    no_confirmation_because: str
    """Empty where there is one."""
    alternative: Alternative | None
    spent: Cost
    """Everything this study has paid, over all its runs."""
    n_paid: int
    """Draws this study has paid for, over all its runs."""
    n_reused: int
    """Draws it used without paying for them (again)."""
    n_paid_now: int
    """Draws paid for by the last call of `run`; 0 where the study was finished already or the process was killed."""
    trials: tuple[Trial, ...]
    failures: tuple[tuple[int, ProblemFailure], ...]
    """(trial number, failure): every problem of a trial that has no score."""
    plan_path: Path | None
    message: str = ""
    """Why the study ended as it did, and how to go on; for people."""
    what_is_kept: str = ""
    """What a run that goes on finds again, by its store; for people: the end of a sentence."""
    n_feasible: int | None = None
    """Allocations that fit the budget, by the lengths known in the last round."""
    n_allocations: int | None = None
    insights: tuple[Insight, ...] = ()
    """What the planner says it has learnt, oldest first. Written by a model; escape it wherever it is shown."""
    spent_on_task: Cost | None = None
    """`spent` without the planner; `None` where no planner was asked."""
    n_asked_now: int = 0
    """Requests to the planner paid for by the last call of `run`."""
    planner: PlannerUse | None = None
    """`None` where no planner was asked."""
    break_even: tuple[BreakEven, ...] = ()
    """Of each stage of the plan that problems share and that may be left out."""

    @property
    def counted_by(self) -> dict[str, tuple[str, ...]]:
        """Model -> what counted its tokens in some trial, where that was not the endpoint itself."""
        names: dict[str, set[str]] = {}
        for trial in self.trials:
            for model, counters in trial.counted_by.items():
                names.setdefault(model, set()).update(counters)
        return {model: tuple(sorted(names[model])) for model in sorted(names)}

"""Facts of a run in words, for its page: allocations, scores, and what figures come from. Plain text, not escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agenttts.report.words import amount_text, listed, plural

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation, StageChoice
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import FitNote, Head, Predicted, TrialFact
    from agenttts.study.statistics import Interval, PairedDifference

__all__ = [
    "allocation_words",
    "choice_text",
    "difference_text",
    "group_text",
    "measured_text",
    "predicted_text",
    "prediction_text",
    "score_text",
    "source_text",
    "stage_cells",
    "stage_heads",
    "trial_of",
]

SOURCES = {
    "tiny": "tiny models",
    "recorded": "recorded draws",
    "simulated": "simulated models",
    "live": "live endpoints",
}


def source_text(head: Head) -> str:
    """Return whose answers figures are figures of: `tiny models`."""
    return listed([SOURCES[one] for one in head.sources]) or "no models"


def measured_text(head: Head, on: str = "") -> str:
    """Return what stands beside measured figures."""
    return f"Measured on answers of {source_text(head)}{on and f', {on}'}."


def predicted_text(head: Head, fit: FitNote | None) -> str:
    """Return what stands beside predictions of a fit; empty without one."""
    if fit is None:
        return ""
    return f"Predicted by a fit to {plural(fit.n_trials, 'trial')}, not measured; it rests on answers of {source_text(head)}."


# --- scores ----------------------------------------------------------------------------------------------------------


def score_text(interval: Interval | None) -> str:
    """Return a score with its interval; `none` where there is none."""
    return "none" if interval is None else str(interval)


def prediction_text(predicted: Predicted | None) -> str:
    """Return a prediction with its interval; `none` where there is none."""
    if predicted is None:
        return "none"
    return f"{predicted.mean:.3f} [{predicted.low:.3f}, {predicted.high:.3f}]"


def difference_text(difference: PairedDifference | None) -> str:
    """Return a difference with its interval; empty where there is none."""
    if difference is None:
        return ""
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


# --- allocations -----------------------------------------------------------------------------------------------------


def choice_text(choice: StageChoice) -> str:
    """Return what a stage gets, without its name: `tiny/m ×4 majority`."""
    if choice.below == 0:
        return "off"
    how = "" if choice.n_samples == 1 else f" {choice.select}"
    when = "" if choice.below is None else f" below {choice.below:g}"
    return f"{choice.model} ×{choice.n_samples}{how}{when}"


def allocation_words(allocation: Allocation) -> str:
    """Return an allocation as one would say it: `translate with tiny/m (4 samples, majority), then solve with ...`."""
    return ", then ".join(_choice_words(choice) for choice in allocation.choices if choice.below != 0)


def _choice_words(choice: StageChoice) -> str:
    how = "" if choice.n_samples == 1 else f", {choice.select}"
    when = "" if choice.below is None else f", where it is needed (below {choice.below:g})"
    return f"{choice.stage} with {choice.model} ({plural(choice.n_samples, 'sample')}{how}{when})"


def stage_heads(facts: RunFacts) -> list[str]:
    """Return the stages as heads of columns."""
    return list(facts.head.stages)


def stage_cells(facts: RunFacts, allocation: Allocation) -> list[str]:
    """Return a cell for each stage: what it gets."""
    choices = {choice.stage: choice for choice in allocation.choices}
    return [choice_text(choices[stage]) if stage in choices else "" for stage in facts.head.stages]


def trial_of(facts: RunFacts, number: int | None) -> TrialFact | None:
    """Return a trial by its number; `None` where there is none."""
    return next((trial for trial in facts.trials if trial.number == number), None)


def group_text(numbers: Sequence[int], most: int = 10) -> str:
    """Return trials by their numbers, `trials 3, 5 and 9 more`; empty for none."""
    if not numbers:
        return ""
    shown = [str(number) for number in numbers[:most]]
    rest = len(numbers) - len(shown)
    return f"{'trial' if len(numbers) == 1 else 'trials'} {listed([*shown, f'{rest:,} more'] if rest else shown)}"


def per_problem(facts: RunFacts, value: float | None) -> str:
    """Return a cost a problem in the unit of the budget."""
    return "unknown" if value is None else f"{amount_text(value)} {facts.head.budget.unit.label}"


def total_of(values: Iterable[float]) -> str:
    """Return a sum as an amount."""
    return amount_text(sum(values))

"""What a run's folder holds, as values: task, options, folded log, the events themselves, and the result.

The edge: everything that facts are made of is read here, once. Draws are read by `replay`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.study.archive import Archive, Trial
from agenttts.study.events import EVENTS_FILE, StudyState, fold, is_running, read_events
from agenttts.study.result import StudyOptions, StudyResult
from agenttts.study.study import Study

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["RunRecord", "read_run"]


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells."""

    folder: Path
    task: Task
    events: Sequence[Mapping[str, Any]]
    state: StudyState
    result: StudyResult
    running: bool = False
    """Whether a process works on it right now."""

    @property
    def archive(self) -> Archive:
        """The trials."""
        return self.state.archive

    @cached_property
    def options(self) -> StudyOptions:
        """The options, as amended last."""
        return StudyOptions.from_json(self.state.options)

    @property
    def unit(self) -> Unit:
        """Of the budget."""
        return self.options.budget.unit

    @cached_property
    def cost_model(self) -> CostModel:
        """Knows the cards of the task."""
        return CostModel(self.task.cards, files=self.task.card_files)

    @cached_property
    def by_number(self) -> Mapping[int, Trial]:
        """Trials by number."""
        return {trial.number: trial for trial in self.archive.trials}

    @cached_property
    def problem_ids(self) -> tuple[str, ...]:
        """Search problems that a trial has a score for or failed on, sorted."""
        names: set[str] = set()
        for trial in self.archive.trials:
            names.update(trial.scores)
            names.update(entry.problem_id for entry in trial.failures)
        return tuple(sorted(names))


def read_run(folder: Path, *, trust: bool = False) -> RunRecord:
    """Read the run of a folder.

    Args:
        folder: Where its log is.
        trust: Allow the task's own Python code, which reading back single passes may need.

    Raises:
        RunError: There is none, it is damaged, or a newer agenttts wrote it.
        InputError: The task in it cannot be read.
    """
    from agenttts.task.task import Task

    events, _ = read_events(folder / EVENTS_FILE)
    state = fold(events)
    task = Task.from_json(state.started["task"], trust=trust)
    result = _ReadStudy(folder, task, known=state).result()
    running = state.ended is None and is_running(folder)
    return RunRecord(folder, task, [_slim(event) for event in events], state, result, running)


@dataclass(frozen=True)
class _ReadStudy(Study):
    """A study whose log has been read: of a long run that takes most of the time."""

    known: StudyState | None = None

    def state(self) -> StudyState:
        """Return what was read."""
        return super().state() if self.known is None else self.known


def _slim(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event without what is in the folded state already: of a long run that is most of it."""
    if event["event"] != "trial":
        return event
    trial = event["trial"]
    return {**event, "trial": {"number": trial["number"], "n_paid": trial["n_paid"]}}

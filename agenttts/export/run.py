"""A run that is there, for code of the user: its result, its trials as a data frame, its plan, and files for other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import RunError
from agenttts.study.study import PLAN_FILE, Study

if TYPE_CHECKING:
    import pandas as pd

    from agenttts.export.draws import DrawCount
    from agenttts.export.trials import Column
    from agenttts.pipeline.plan import Plan
    from agenttts.study.result import StudyResult
    from agenttts.task.task import Task

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A run and its folder; reading it spends nothing. It may be in work: what its log tells by now is read."""

    study: Study

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        trust: bool = False,
        store: str | None = None,
        data: str | Path | None = None,
    ) -> Run:
        """Open a run.

        Args:
            run: Its folder, or its name under `runs/`.
            trust: Whether Python functions that its task names may run; draws of such tasks need it.
            store: Where its draws are kept, to give a password again, which the run does not keep.
            data: Where the data of its task lie now, if they have moved; draws need them.

        Raises:
            RunError: There is no such run, or it cannot be read.
        """
        from agenttts.study.finding import find_run

        study = Study.open(find_run(run), trust=trust, store_url=store)
        if data is not None:
            needs = None if study.options.confirm else "search"
            study = replace(study, task=_moved(study, data, needs))
        return cls(study)

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.study.folder

    @property
    def task(self) -> Task:
        """The task as it was when the run began."""
        return self.study.task

    def result(self) -> StudyResult:
        """Return what the run has found so far."""
        return self.study.result()

    def plan(self) -> Plan:
        """Return the plan that the run wrote.

        Raises:
            RunError: It wrote none.
        """
        from agenttts.pipeline.plan import Plan

        return Plan.load(self._plan_path, trust=self.task.trusted)

    @property
    def columns(self) -> dict[str, str]:
        """What each column of `trials` holds."""
        return {name: column.meaning for name, column in self._columns.items()}

    def trials(self) -> pd.DataFrame:
        """Return one row per trial, in the order of their numbers; `columns` tells what they hold."""
        from agenttts.export.files import data_frame

        return data_frame(self._rows, self._columns)

    def save_trials(self, path: str | Path) -> Path:
        """Write the trials as `.csv`, `.parquet` or `.jsonl`.

        Raises:
            InputError: The name ends otherwise.
        """
        from agenttts.export.files import save_table

        save_table(Path(path), self._rows, self._columns)
        return Path(path)

    def save_plan(self, path: str | Path) -> Path:
        """Write the plan as `.yaml` or `.json`; `Plan.load` reads both.

        Raises:
            InputError: The name ends otherwise.
            RunError: The run wrote no plan.
        """
        from agenttts.export.files import save_plan_file

        save_plan_file(Path(path), self._plan_path.read_text(encoding="utf-8"))
        return Path(path)

    def save_draws(self, path: str | Path) -> DrawCount:
        """Write every draw that the run used as JSON lines, one by one, and return how many there are.

        Raises:
            AgentTTSError: See `agenttts.export.draws.note_draws`.
        """
        from agenttts.export.draws import note_draws
        from agenttts.export.files import draft, json_line
        from agenttts.pipeline.together import run_now

        with draft(Path(path)) as made, made.open("w", encoding="ascii") as file:
            reading = note_draws(self.study, lambda draw: _write(file, json_line(draw)))
            return run_now(reading, instead="agenttts export RUN --draws FILE")

    def save_optuna(self, storage: str, *, study_name: str | None = None) -> Any:
        """Write the search as a study of Optuna and return it, an `optuna.Study`.

        Args:
            storage: A database URL such as `sqlite:///study.db`, or a journal file such as `study.log`.
            study_name: Its name there; `None`: that of the run's folder.

        Raises:
            RunError: The storage cannot be used, or holds a study of this name.
        """
        from agenttts.export.optuna_file import save_optuna

        options = self.study.options
        about = {
            "task": self.task.file.name,
            "run": str(self.folder),
            "budget": options.budget.amount,
            "unit": options.budget.unit.value,
            "confidence": options.confidence,
            "allocator": options.allocator,
            "seed": options.seed,
            "figures_from": self._figures_from,
        }
        archive = self.study.state().archive
        name = study_name or self.folder.resolve().name
        return save_optuna(storage, name, self.task, archive, self._rows[: len(archive.trials)], about)

    @property
    def _figures_from(self) -> str:
        from agenttts.report.provenance import provenance

        models = [m for stage in self.task.llm_stages for m in self.task.file.stages[stage].variants]
        return provenance(self.task, models)

    @property
    def _plan_path(self) -> Path:
        path = self.folder / PLAN_FILE
        if not path.is_file():
            raise RunError(f"{self.folder} has no plan (yet): a search writes one when it ends with a winner")
        return path

    @property
    def _columns(self) -> dict[str, Column]:
        from agenttts.export.trials import columns_of

        return columns_of(self.task.llm_stages)

    @cached_property
    def _rows(self) -> Sequence[Mapping[str, Any]]:
        from agenttts.export.trials import trial_rows
        from agenttts.study.events import EVENTS_FILE, fold, read_events

        events, _ = read_events(self.folder / EVENTS_FILE)
        return trial_rows(fold(events).archive, events, self.study.options)


def _write(file: Any, line: str) -> None:
    file.write(line)


def _moved(study: Study, data: str | Path, needs: Any) -> Task:
    """Return the task with the same data at another place.

    Raises:
        RunError: They are other data.
    """
    moved = study.task.with_data(data, needs=needs)
    if moved.digest != study.task.digest:
        raise RunError(
            f"{study.folder} was begun with other data than {data}. Leave --data out, or name its own"
        )
    return replace(study.task, look_first=moved.look_first, search=moved.search)

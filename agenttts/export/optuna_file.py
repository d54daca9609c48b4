"""A run as a study of Optuna, in a storage that Optuna and its dashboard open.

Each trial keeps its number. Parameters are `<stage>.model`, `<stage>.n_samples`, `<stage>.select` and, for stages with
`when` or that may be left out, `<stage>.below`; a stage that is off has `below` alone. The value is the mean score of the
problems that have one; of a stopped trial the user attribute `estimate` says what it would score on all problems.

    ok            COMPLETE
    over_budget   COMPLETE, with a constraint above 0
    stopped       PRUNED, with the score as intermediate value at the number of problems seen
    invalid       FAIL

Of equal values Optuna's `best_trial` is the earliest, ours the cheapest: so the study's attributes name our winner and
runner-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.allocators.optuna_study import quiet_optuna
from agenttts.allocators.structure import stage_choices
from agenttts.errors import RunError
from agenttts.export.trials import stage_cells

if TYPE_CHECKING:
    from agenttts.study.archive import Archive, Trial
    from agenttts.task.task import Task

__all__ = ["distributions", "save_optuna"]

JOURNAL_KINDS = (".journal", ".log")
"""Endings of Optuna's other kind of storage, a journal file."""
MOST_ATTRIBUTE = 2000
"""Characters of a text: MySQL keeps no more of an attribute."""
ATTRIBUTES = (
    "status",
    "score",
    "score_low",
    "score_high",
    "estimate",
    "charged",
    "usd",
    "n_problems",
    "n_failed",
    "n_paid",
    "proposer",
    "reason",
    "stopped_because",
)
"""Columns of `trial_rows` that go along. Not all: each takes Optuna's databases some milliseconds."""
_STATES = {"ok": "COMPLETE", "over_budget": "COMPLETE", "stopped": "PRUNED", "invalid": "FAIL"}


def save_optuna(
    storage: str,
    name: str,
    task: Task,
    archive: Archive,
    rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> Any:
    """Write a study and return it.

    Args:
        storage: A database URL such as `sqlite:///study.db`, or a journal file `study.log`.
        name: Of the study; it must be new in this storage.
        task: Tells the distributions.
        archive: The trials.
        rows: The same, see `trial_rows`.
        about: User attributes of the study, beside the numbers of `winner` and `runner_up`.

    Raises:
        RunError: The storage cannot be used, or holds a study of this name.
    """
    with quiet_optuna() as optuna:
        spaces = distributions(task, optuna)
        made = [_frozen(optuna, trial, row, spaces) for trial, row in zip(archive.trials, rows, strict=True)]
        study = _created(optuna, storage, name)
        study.set_metric_names(["score"])
        for key, value in {**about, **_chosen(archive)}.items():
            study.set_user_attr(key, value)
        study.add_trials(made)
    return study


def _chosen(archive: Archive) -> dict[str, int]:
    """Return the numbers of winner and runner-up, as far as there are such."""
    found = {"winner": archive.best(), "runner_up": archive.runner_up()}
    return {name: trial.number for name, trial in found.items() if trial is not None}


def _created(optuna: Any, storage: str, name: str) -> Any:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(storage=_storage(optuna, storage), study_name=name, direction="maximize")
    except optuna.exceptions.DuplicatedStudyError as error:
        raise RunError(
            f"{_shown(storage)} holds a study {name!r} already. Give another --study-name, or another place"
        ) from error
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, ImportError, OSError) as error:
        first = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"the study cannot be written to {_shown(storage)}: {first}\n"
            "Expected a database URL such as sqlite:///study.db, or a journal file such as study.log"
        ) from error


def _storage(optuna: Any, storage: str) -> Any:
    if Path(storage).suffix in JOURNAL_KINDS and "://" not in storage:
        from optuna.storages.journal import JournalFileBackend

        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(JournalFileBackend(storage))
    return storage


def _shown(storage: str) -> str:
    """Return the place without a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "the storage" if "@" in storage else storage


def distributions(task: Task, optuna: Any) -> dict[str, Any]:
    """Return the distribution of each parameter, over everything that the task offers.

    Numbers in even steps are a range, all others (1, 2, 4, 8) are categories: a range would offer what the task does
    not.
    """
    found: dict[str, Any] = {}
    for stage in task.llm_stages:
        cells = [stage_cells(choice) for choice in stage_choices(stage, task.file.stages[stage])]
        for name in ("model", "n_samples", "select"):
            on = dict.fromkeys(cell[name] for cell in cells if "model" in cell)
            found[f"{stage}.{name}"] = _distribution(list(on), optuna)
        thresholds = sorted({cell["below"] for cell in cells if "below" in cell})
        if thresholds:
            found[f"{stage}.below"] = optuna.distributions.CategoricalDistribution(thresholds)
    return found


def _distribution(values: list[Any], optuna: Any) -> Any:
    if len(values) > 1 and all(isinstance(value, int) for value in values):
        values = sorted(values)
        steps = {later - earlier for earlier, later in pairwise(values)}
        if len(steps) == 1:
            return optuna.distributions.IntDistribution(values[0], values[-1], step=steps.pop())
    return optuna.distributions.CategoricalDistribution(values)


def _frozen(optuna: Any, trial: Trial, row: Mapping[str, Any], spaces: Mapping[str, Any]) -> Any:
    params: dict[str, Any] = {}
    for choice in trial.allocation.choices:
        cells = stage_cells(choice)
        names = ("below",) if "model" not in cells else cells
        params |= {f"{choice.stage}.{name}": cells[name] for name in names}
    state = _STATES[trial.status]
    pruned = {len(trial.scores): row["score"]} if state == "PRUNED" else {}
    over = None if row["charged"] is None else row["charged"] - row["budget"]
    made = optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        value=None if state == "FAIL" else row["score"],
        params=params,
        distributions={name: spaces[name] for name in params},
        user_attrs=_attributes(row),
        # As a list, which Optuna 4 and 5 both read.
        system_attrs={} if over is None else {"constraints": [over]},
        intermediate_values=pruned,
    )
    if row["finished_at"] is not None:
        # Optuna keeps local time without a zone. When a trial began is not known: all of a round begin together.
        made.datetime_start = made.datetime_complete = row["finished_at"].astimezone().replace(tzinfo=None)
    return made


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ATTRIBUTES if row[name] not in (None, "")}
    return {name: value[:MOST_ATTRIBUTE] if isinstance(value, str) else value for name, value in kept.items()}

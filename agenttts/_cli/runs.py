"""`agenttts runs`: what was run here, how it stands, and how to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, print_json, say
from agenttts._cli.words import allocation_text, cost_text
from agenttts.errors import AgentTTSError
from agenttts.study.archive import cost_to_json

if TYPE_CHECKING:
    from agenttts.study.result import StudyResult

__all__ = ["run_runs"]


@dataclass(frozen=True)
class _Run:
    folder: Path
    task: str
    result: StudyResult | None
    """`None` where the run cannot be read."""
    why_not: str = ""
    running: bool = False
    """A process works on it right now."""

    @property
    def status(self) -> str:
        if self.running:
            return "running"
        return "" if self.result is None else self.result.status

    @property
    def report(self) -> Path | None:
        """Its page; `None` where there is none."""
        from agenttts.report.run_report import PAGE_FILE

        page = self.folder / PAGE_FILE
        return page if page.is_file() else None

    @property
    def unscored(self) -> bool:
        """Too many unseen problems failed; the confirmation can be run again."""
        confirmed = None if self.result is None else self.result.confirmation
        return confirmed is not None and confirmed.winner is None

    @property
    def resume(self) -> str:
        if self.result is None or self.running or (self.result.status == "finished" and not self.unscored):
            return ""
        more = " --search-budget AMOUNT" if self.result.status == "search_budget_exhausted" else ""
        return f"agenttts optimize {self.folder}{more}"


def run_runs(folder: Path, *, as_json: bool) -> None:
    """List the runs of a folder, the newest first."""
    from agenttts.study.events import EVENTS_FILE

    logs = sorted(folder.glob(f"*/{EVENTS_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    runs = [_read(path.parent) for path in logs]
    if as_json:
        print_json({"runs": [_as_json(run) for run in runs]})
        return
    if not runs:
        say(f"No runs in {folder}. Begin one: agenttts optimize tiny")
    for run in runs:
        say(_as_text(run))


def _read(folder: Path) -> _Run:
    from agenttts.study.events import is_running
    from agenttts.study.study import Study

    try:
        study = Study.open(folder)
        return _Run(folder, study.task.file.name, study.result(), running=is_running(folder))
    except AgentTTSError as error:
        return _Run(folder, "", None, str(error))


def _as_text(run: _Run) -> str:
    result = run.result
    if result is None:
        return fold(f"cannot be read: {clean(run.why_not, limit=400)}", first=f"{run.folder}  ", rest="    ")
    lines = [f"{run.folder}  {run.status.replace('_', ' ')}, {len(result.trials)} trials"]
    lines.append(fold(f"{clean(run.task)} within {result.budget} a problem", first="    task   "))
    if result.best is not None:
        lines.append(
            fold(f"{_score(result)}; {allocation_text(result.best.allocation)}", first="    best   ")
        )
    lines.append(fold(f"{cost_text(result.spent)}; {result.n_paid:,} draws paid", first="    spent  "))
    if run.report is not None:
        lines.append(f"    report {run.report}")
    if run.resume:
        lines.append(f"    go on  {run.resume}")
    if run.running:
        lines.append(f"    watch  agenttts watch {run.folder}")
    return "\n".join(lines)


def _score(result: StudyResult) -> str:
    confirmed = result.confirmation
    if confirmed is not None and confirmed.winner is not None:
        return f"{confirmed.winner} on {confirmed.n:,} unseen problems"
    return f"{result.best_interval} on the search problems"


def _as_json(run: _Run) -> dict[str, Any]:
    result = run.result
    if result is None:
        return {"run": str(run.folder), "error": run.why_not}
    confirmed = result.confirmation
    return {
        "run": str(run.folder),
        "task": run.task,
        "status": run.status,
        "budget": {"amount": result.budget.amount, "unit": result.budget.unit.value},
        "n_trials": len(result.trials),
        "best": None if result.best is None else result.best.allocation.to_json(),
        "search_score": None if result.best_interval is None else result.best_interval.to_json(),
        "confirmed_score": confirmed.winner.to_json() if confirmed is not None and confirmed.winner else None,
        "spent": cost_to_json(result.spent),
        "n_paid": result.n_paid,
        "report": None if run.report is None else str(run.report),
        "resume": run.resume or None,
    }

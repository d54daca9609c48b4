"""`agenttts diagnose`: what limits the stages of a run, in words, tables and a page with plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agenttts._cli.console import clean, fold, print_json, say, say_aside, table
from agenttts._cli.words import allocation_text, plural, provenance
from agenttts.errors import RunError
from agenttts.report.diagnosis_words import (
    apart_table,
    cell_table,
    how_made,
    stages_words,
    way_table,
)

if TYPE_CHECKING:
    from agenttts.study.archive import Archive
    from agenttts.study.diagnosis import Diagnosis
    from agenttts.task.task import Task

__all__ = ["diagnosis_text", "run_diagnose"]

LONGEST = 2000
"""Characters of one sentence."""


def run_diagnose(run: str, *, out: Path | None, as_json: bool) -> None:
    """Diagnose a run, print what was found, and write the page where one is asked for."""
    from agenttts.study.diagnosis import diagnose
    from agenttts.study.finding import find_run
    from agenttts.study.study import Study

    folder = find_run(run)
    study = Study.open(folder)
    archive = study.state().archive
    if not archive.valid:
        raise RunError(_nothing(folder, archive))
    diagnosis = diagnose(study.task, archive)
    if not (diagnosis.cells or diagnosis.apart):
        raise RunError(
            f"{folder}: no stage that asks a model has gold, so nothing can be said of its samples.\n"
            "Give stages a `score` with `verifier` and `gold` in the task file, and run it again"
        )
    title = f"{study.task.file.name}: diagnosis of {folder}"
    source = provenance(study.task, diagnosis.models)
    if out is not None:
        _write(out, diagnosis, title, source)
    if as_json:
        page = None if out is None else str(out)
        print_json({"run": str(folder), **diagnosis.to_json(), "figures_from": source, "page": page})
    else:
        say(diagnosis_text(study.task, archive, diagnosis, folder, source))
    if out is not None:
        say_aside(f"page written to {out}")


def _nothing(folder: Path, archive: Archive) -> str:
    if not archive.trials:
        return f"{folder}: no trial has finished yet. Go on with the run first: agenttts optimize {folder}"
    return (
        f"{folder}: none of the {plural(len(archive.trials), 'trial')} has a score that means something: too many "
        "problems failed. `agenttts runs` tells how the run stands"
    )


def _write(out: Path, diagnosis: Diagnosis, title: str, source: str) -> None:
    from agenttts.report.diagnosis_page import diagnosis_page

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(diagnosis_page(diagnosis, title=title, figures_from=source), encoding="utf-8")


# --- words -----------------------------------------------------------------------------------------------------------


def diagnosis_text(task: Task, archive: Archive, diagnosis: Diagnosis, folder: Path, source: str) -> str:
    """Return a diagnosis for people; sentences in 80 columns, tables as wide as they are."""
    blocks = [
        fold(
            f"{clean(task.file.name)}: diagnosis of {folder}, {plural(diagnosis.n_trials, 'trial')} with scores"
        )
    ]
    blocks += _plan(archive, diagnosis)
    blocks.append(
        _table(
            "Models at each stage, with all samples of the trial that drew the most in parallel",
            *cell_table(diagnosis),
        )
    )
    blocks.append(_table("Ways to select", *way_table(diagnosis)))
    if diagnosis.apart:
        blocks.append(_table("Ways that are in no table", *apart_table(diagnosis)))
    blocks.append("\n".join(_sentence(text) for text in how_made(diagnosis)))
    blocks.append(fold(source))
    return "\n\n".join(blocks)


def _plan(archive: Archive, diagnosis: Diagnosis) -> list[str]:
    best = archive.best()
    if best is None:
        return [fold("No allocation within the budget was scored: there is no plan to look at.")]
    told = [_stage(name, sentences) for name, sentences in stages_words(diagnosis)]
    return [fold(f"The plan is trial {best.number}: {allocation_text(best.allocation)}"), *told]


def _stage(name: str, sentences: list[str]) -> str:
    return "\n".join([clean(name), *(_sentence(text) for text in sentences)])


def _sentence(text: str) -> str:
    return fold(clean(text, limit=LONGEST), first="  - ", rest="    ")


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    return f"{title}\n{table(head, [[clean(cell) for cell in row] for row in rows])}"

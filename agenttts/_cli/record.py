"""`agenttts record`: recorded draws into a folder that can be searched, and what a recording holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agenttts._cli.console import clean, fold, print_json, say, table
from agenttts._cli.words import amount_text, plural
from agenttts.errors import InputError

if TYPE_CHECKING:
    from agenttts.models.recorded_draws import Cell, DrawTable
    from agenttts.task.imported import Imported

__all__ = ["run_import", "run_show"]

NO_DRAFT = "no task was drafted: "
"""How the warning begins that tells why there is no task."""


def run_import(
    tables: Sequence[Path], *, out: Path, task: str | None, stages: Sequence[str], force: bool, as_json: bool
) -> None:
    """Import tables and say what was found and written."""
    from agenttts.task.imported import import_tables
    from agenttts.task.importing import stage_source

    wanted = [stage_source(text) for text in stages]
    names = [name for name, _ in wanted]
    if len(set(names)) < len(names):
        raise InputError("--stage: a stage is given twice")
    done = import_tables(tables, out, task=task, stages=dict(wanted), force=force)
    if as_json:
        print_json(_import_json(done))
        _end(done)
        return
    if done.task_file is None:
        say(fold(clean(_why_no_task(done), limit=2000)) + "\n")
    say(cells_text(done.cells))
    say()
    for warning in done.warnings:
        say(fold(clean(warning, limit=2000), first="! ", rest="  "))
    say(fold(_problems_words(done), first="problems  "))
    for path in done.files:
        say(f"wrote     {path}")
    if done.task_file is not None:
        say(f"\nNext:\n  agenttts check {done.folder}\n  agenttts optimize {done.folder}")
    _end(done)


def _why_no_task(done: Imported) -> str:
    why = next((w for w in done.warnings if w.startswith(NO_DRAFT)), NO_DRAFT).rstrip(": ")
    return f"{why[0].upper()}{why[1:]}. Name a task by --task, or write one that reads these files."


def _end(done: Imported) -> None:
    """End with code 2 where there is nothing to search."""
    if done.task_file is None:
        raise typer.Exit(2)


def _problems_words(done: Imported) -> str:
    counts = [f"{n:,} {split or 'in no split'}" for split, n in done.n_problems.items()]
    words = ", ".join(counts) or "none"
    if done.n_without_gold is None:
        if not any(cell.n_scored for cell in done.cells):
            return f"{words}; nothing can be scored: the tables hold no scores and no gold answers. Add a column `score`"
        return f"{words}; a draw is worth what its column `score` says"
    if not done.n_without_gold:
        return f"{words}; each has a draw that is right, which gives its gold answer"
    lacking = plural(done.n_without_gold, "problem")
    return f"{words}; gold answers are those that score 1; {lacking} no draw solves, so every answer to them is wrong"


def cells_text(cells: Sequence[Cell]) -> str:
    """Return what is recorded, by stage and model."""
    head = ["stage", "model", "problems", "draws", "score", "read", "written", "parameters", "tokens are"]
    return table(head, [_row(cell) for cell in cells], right=range(2, 8))


def _row(cell: Cell) -> list[str]:
    draws = f"{cell.least:,}" if cell.least == cell.most else f"{cell.least:,} to {cell.most:,}"
    score = "-" if cell.mean_score is None else f"{cell.mean_score:.3f}"
    lengths = [
        "-" if n is None else amount_text(n) for n in (cell.mean_prefill_tokens, cell.mean_decode_tokens)
    ]
    size = "-" if cell.parameters is None else f"{cell.parameters / 1e9:g}B"
    names = [clean(cell.stage, limit=24), clean(cell.model, limit=36)]
    return [*names, f"{cell.n_problems:,}", draws, score, *lengths, size, _counted(cell)]


def _counted(cell: Cell) -> str:
    if cell.n_uncounted == cell.n_draws:
        return "unknown"
    words = (
        "estimated"
        if cell.n_estimated == cell.n_draws
        else "partly estimated"
        if cell.n_estimated
        else "counted"
    )
    return f"{words}, {cell.n_uncounted:,} unknown" if cell.n_uncounted else words


def _import_json(done: Imported) -> dict[str, Any]:
    return {
        "folder": str(done.folder),
        "files": [str(path) for path in done.files],
        "cells": [asdict(cell) for cell in done.cells],
        "n_problems": dict(done.n_problems),
        "n_without_gold": done.n_without_gold,
        "warnings": list(done.warnings),
        "task_file": None if done.task_file is None else str(done.task_file),
    }


def run_show(place: Path, *, as_json: bool) -> None:
    """Say what a table, or the tables of a folder, hold."""
    from agenttts.models.recorded_draws import cells, chains, read_draws
    from agenttts.task.imported import draw_warnings

    shown: list[dict[str, Any]] = []
    for path in _tables(place):
        read: DrawTable = read_draws(path)
        found = cells(read.draws)
        warnings = draw_warnings(found, chains(read.draws))
        if as_json:
            shown.append(
                {
                    "path": str(path),
                    "sha256": read.sha256,
                    "cells": [asdict(c) for c in found],
                    "warnings": warnings,
                }
            )
            continue
        say(f"{clean(path)}: {plural(len(read.draws), 'draw')}, SHA-256 {read.sha256[:16]}...\n")
        say(cells_text(found) + "\n")
        for warning in warnings:
            say(fold(clean(warning, limit=2000), first="! ", rest="  "))
    if as_json:
        print_json({"tables": shown})


def _tables(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    from agenttts.models.recorded_table import SUFFIXES

    found = sorted(path for path in place.iterdir() if path.name.endswith(SUFFIXES) and path.is_file())
    if not found:
        raise InputError(
            f"{place}: there is no table in this folder; expected a file that ends in {', '.join(SUFFIXES)}"
        )
    return found

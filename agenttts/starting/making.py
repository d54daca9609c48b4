"""Making a task of a file: which rows can be used, and writing it once it was proven to work."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import InputError
from agenttts.starting.columns import Columns
from agenttts.starting.drafting import BudgetChoice, Draft
from agenttts.starting.kinds import Kind
from agenttts.starting.served import Choice
from agenttts.starting.sheet import Row, Sheet, is_empty, values
from agenttts.task.reading import shown

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.task.task import Task

__all__ = ["TASK", "Made", "Proof", "Wish", "make_task", "task_name", "usable_rows"]

PROBLEMS = "problems.jsonl"
TASK = "task.yaml"
FEWEST_ROWS = 2
MOST_SEARCH = 100
"""Search problems: more of them make every trial dearer, and the rest is needed for the test."""


@dataclass(frozen=True)
class Wish:
    """What is to be made."""

    sheet: Sheet
    columns: Columns
    kind: Kind
    choice: Choice
    book: Mapping[str, ModelCard]
    """All known cards."""
    stages: tuple[str, ...]
    name: str
    out: Path
    """Folder of the task."""
    copy: bool = False
    """Copy the rows even where the task could read the file as it is."""
    force: bool = False
    """Write over other files of the same names."""


@dataclass(frozen=True)
class Made:
    """What was written."""

    task: Path
    """The task file."""
    data: Path
    """The file with the problems."""
    copied: bool
    n_problems: int
    n_left_out: int
    why_left_out: str
    n_search: int
    n_test: int
    budget: BudgetChoice
    unchanged: bool
    """The same files were there already."""


def task_name(path: Path | None) -> str:
    """Return a name for a task of a file, e.g. `my-rows` for `my rows.jsonl`."""
    stem = "problems" if path is None else path.name.partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-._")
    return name if re.match(r"[A-Za-z0-9]", name) else "problems"


Proof = Callable[[Draft, Path, Mapping[str, "ModelCard"]], "tuple[Task, BudgetChoice]"]
"""Called with a draft, a folder and the cards of its models: writes the task file there with a default budget that fits,
does with it what `agenttts check` does, and returns the task and the budget; raises what is wrong with it."""


def make_task(wish: Wish, prove: Proof) -> Made:
    """Write a task, after it was proven to work in a folder beside its place.

    Raises:
        InputError: Too few rows can be used, or other files are in the way.
    """
    rows, why_left_out = usable_rows(wish)
    n_left_out = len(wish.sheet.rows) - len(rows)
    if len(rows) < FEWEST_ROWS:
        raise InputError(
            f"{_source(wish.sheet)}: {len(rows)} of {len(wish.sheet.rows)} rows can be used{why_left_out}; a task needs "
            f"{FEWEST_ROWS} at least, one to search with and one to test on.\nAdd rows to it."
        )
    copied = wish.copy or wish.sheet.must_copy or wish.sheet.path is None or n_left_out > 0
    copied = copied or not _can_be_named(wish.sheet.path, wish.out)
    draft = _draft(wish, rows, n_left_out, why_left_out, copied=copied)
    files = {PROBLEMS: _jsonl(rows)} if copied else {}
    with _beside(wish.out) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        task, budget = prove(draft, folder, _cards(wish))
        files[TASK] = (folder / TASK).read_text(encoding="utf-8")
        unchanged = _put(files, wish.out, force=wish.force)
    data = wish.out / PROBLEMS if copied or wish.sheet.path is None else wish.sheet.path
    n_test = task.n_test or 0
    return Made(
        wish.out / TASK,
        data,
        copied,
        len(rows),
        n_left_out,
        why_left_out,
        draft.n_search,
        n_test,
        budget,
        unchanged,
    )


def usable_rows(wish: Wish) -> tuple[list[Row], str]:
    """Return the rows that a task can use, and why others were left out: the end of a sentence."""
    kept: list[Row] = []
    reasons: dict[str, int] = {}
    seen: set[str] = set()
    for row in wish.sheet.rows:
        text = _written(row)
        reason = "no text" if text is None else _fault(row, wish)
        if not reason and text in seen:
            reason = "the same as an earlier one"
        if reason or text is None:
            reasons[reason] = reasons.get(reason, 0) + 1
            continue
        seen.add(text)
        kept.append(row)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return kept, f" ({told})" if told else ""


def _written(row: Row) -> str | None:
    """Return a row as JSON; `None` for one that no file in UTF-8 can hold."""
    try:
        text = json.dumps(row, ensure_ascii=False, sort_keys=True)
        text.encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        return None
    return text


def _fault(row: Row, wish: Wish) -> str:
    if is_empty(_value(row, wish.columns.question.field, wish.sheet.fields)):
        return "without a question"
    answer = wish.columns.tests or wish.columns.gold
    if answer is not None and is_empty(values([row], answer.field)[0]):
        return "without an answer"
    return ""


def _value(row: Row, path: str, fields: Sequence[str]) -> Any:
    """Return what the prompt reads: a field whose name is the whole path, where any row has one, else the path."""
    return row.get(path) if path in fields else values([row], path)[0]


def _source(sheet: Sheet) -> str:
    return "the example rows" if sheet.path is None else shown(sheet.path)


def _can_be_named(path: Path | None, out: Path) -> bool:
    """Return whether a task file can hold the path: one that is text, and that no `~` at its beginning turns around."""
    if path is None:
        return False
    name = _relative(path, out)
    return name.isprintable() and not name.startswith("~")


def _relative(path: Path, out: Path) -> str:
    return os.path.relpath(path.resolve(), out.resolve())


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _draft(wish: Wish, rows: Sequence[Row], n_left_out: int, why: str, *, copied: bool) -> Draft:
    models = wish.choice.models
    cards = _cards(wish)
    n_search = max(1, min(MOST_SEARCH, len(rows) // 2))
    return Draft(
        name=wish.name,
        data_path=PROBLEMS if copied or wish.sheet.path is None else _relative(wish.sheet.path, wish.out),
        data_note=_data_note(wish, len(rows), n_left_out, why, copied=copied),
        fields=tuple(wish.sheet.fields),
        columns=wish.columns,
        kind=wish.kind,
        stages=wish.stages,
        models=models,
        cards=wish.choice.cards,
        model_notes=wish.choice.notes,
        only_tiny=all(card.served_as.startswith("tiny/") for card in cards.values()),
        n_search=n_search,
    )


def _cards(wish: Wish) -> dict[str, ModelCard]:
    return {name: wish.choice.cards.get(name) or wish.book[name] for name in wish.choice.models}


def _data_note(wish: Wish, n_rows: int, n_left_out: int, why: str, *, copied: bool) -> str:
    asked = wish.columns.question
    note = f"{n_rows:,} problems"
    if wish.sheet.path is not None:
        note += f", {'copied from' if copied else 'read from'} {wish.sheet.path.name}"
    if n_left_out:
        note += f"; {n_left_out:,} rows were left out{why}"
    note += f". The question is `{asked.field}` ({asked.why})"
    judged = wish.columns.tests or wish.columns.gold
    if judged is not None:
        note += f", the right answer `{judged.field}` ({judged.why})"
    return note + "."


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Make a folder beside `out`, from which relative paths lead to the same files, and remove it in the end."""
    parent = out.resolve().parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".agenttts-init-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for empty in made:  # those that still hold nothing: the task was not written
            if not any(empty.iterdir()):
                empty.rmdir()


def _put(files: Mapping[str, str], out: Path, *, force: bool) -> bool:
    """Write the files into the folder; return whether all of them were there already.

    Raises:
        InputError: Files with other contents are in the way.
    """
    there = {name: _read(out / name) for name in files if (out / name).exists()}
    if not force:
        other = [name for name, text in there.items() if text != files[name]]
        if other:
            named = " and ".join(shown(out / name) for name in other)
            raise InputError(
                f"{named}: there already, with other contents.\n"
                "Choose another folder with --out or --name, or write over it with --force."
            )
    if there == dict(files):
        return True
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        part = out / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(out / name)
    return False


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None

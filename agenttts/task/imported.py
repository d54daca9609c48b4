"""Writes the folder of an import: the draws as one table, the problems, and a task that runs on them.

What is taken of the recorded tables is decided in `importing`; a task for tables that come without one is drafted in
`import_draft`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.catalogue import TASK_FILE, resolve_task
from agenttts.errors import DataError, InputError, TaskFileError
from agenttts.models.recorded_draws import Cell, Draw, DrawTable, cells, chains, read_draws
from agenttts.task.import_draft import drafted, only_answers
from agenttts.task.importing import (
    NO_GOLD,
    RECIPE_FILE,
    Golds,
    Recipe,
    StageSource,
    golds,
    read_recipe,
    taken,
)
from agenttts.task.reading import read_document, shown

__all__ = ["Imported", "draw_warnings", "import_tables"]

TABLE_FILE, PROBLEMS_FILE = "draws.csv.gz", "problems.jsonl"
COLUMNS = (
    ("stage", "stage"), ("model", "model"), ("problem_id", "problem_id"), ("sample_index", "sample_index"),
    ("prompt", "prompt"), ("text", "text"), ("answer", "answer"), ("prefill_tokens", "prefill_tokens"),
    ("decode_tokens", "decode_tokens"), ("tokens_estimated", "estimated"), ("score", "score"),
    ("model_params_b", "parameters"), ("split", "split"),
)  # fmt: skip
"""Column of the written table -> field of a draw; a column in which every draw is empty is left out."""


@dataclass(frozen=True)
class Imported:
    """What an import wrote."""

    folder: Path
    files: tuple[Path, ...]
    cells: tuple[Cell, ...]
    n_problems: Mapping[str, int]
    """Split (empty: none was given) -> problems."""
    n_without_gold: int | None
    """Problems that no draw solves; `None`: gold answers cannot be read off the scores."""
    warnings: tuple[str, ...]
    task_file: Path | None
    """What `agenttts optimize` takes; `None` where no task could be drafted."""


def import_tables(
    paths: Sequence[Path],
    out: Path,
    *,
    task: str | None = None,
    stages: Mapping[str, StageSource] | None = None,
    force: bool = False,
) -> Imported:
    """Make a folder that can be searched of recorded tables.

    Args:
        paths: Tables of recorded draws; see `agenttts.models.recorded_columns`.
        out: The folder, made where it is not there.
        task: A task that the draws are for, by name or path; its `import.yaml`, if any, says what it takes. `None`: a
            task is drafted.
        stages: Stage -> recorded draws it takes, in place of those of `import.yaml`.
        force: Write over files that are there.

    Raises:
        DataError: A table holds mistakes.
        TaskFileError: The task or its `import.yaml` does.
        InputError: Draws do not fit together or do not fit the task, which has no `import.yaml` and no stages are given,
            or a file is in the way.
    """
    task_file = None if task is None else resolve_task(task)
    if task_file is not None and not stages and not (task_file.parent / RECIPE_FILE).is_file():
        raise InputError(
            f"task {task}: there is no {RECIPE_FILE} beside {shown(task_file)}, so nothing says which draws its stages "
            "take. Say it by --stage, or leave --task out to have a task drafted"
        )
    recipe = Recipe() if task_file is None else read_recipe(task_file.parent / RECIPE_FILE)
    if stages:
        recipe = recipe.model_copy(update={"stages": dict(stages)})
    tables = _read_all(paths)
    draws = taken(tables, recipe)
    found, right = cells(draws), _right_answers(draws)
    warnings = [*draw_warnings(found, chains(draws)), *_ignored(tables)]
    names = _Names() if task_file is None else _names(task_file)
    splits = {draw.problem_id: draw.split for draw in draws}
    if task_file is None:
        draft = drafted(draws, found, right, (names.table, names.problems), out, tables)
        warnings += draft.warnings
        draws = only_answers(draws)
        splits = {
            name: split for name, split in splits.items() if draft.text is None or name in draft.problems
        }
    contents = _copies(task_file, out, names) if task_file is not None else _text_file(draft.text)
    contents |= _data(_numbered_texts(draws), splits, right, names)
    files = _write(out, contents, force)
    if task_file is not None:
        _check_fits(out)
    return Imported(
        folder=out,
        files=files,
        cells=tuple(found),
        n_problems=dict(Counter(splits.values())),
        n_without_gold=None if right.why_not else sum(not right.answers.get(name) for name in splits),
        warnings=tuple(warnings),
        task_file=out / TASK_FILE if (out / TASK_FILE).is_file() else None,
    )


def _check_fits(out: Path) -> None:
    """Refuse a task that does not load with the draws and problems that were written for it, or lacks draws.

    Raises:
        InputError: What does not fit is named.
    """
    from agenttts.models.clients import Clients  # imports the clients of all sources
    from agenttts.task.task import Task

    start = f"the draws and problems in {out} do not fit the task: "
    try:
        task = Task.load(out)
    except (DataError, TaskFileError) as error:
        raise InputError(f"{start}\n{error}") from error
    recorded = Clients(task.cards).max_recorded
    for stage in task.llm_stages:
        models = task.file.stages[stage].models
        if all(recorded(stage, model) == 0 for model in models):
            raise InputError(f"{start}stage {stage} has no draws of {', '.join(models)}")


def _text_file(text: str | None) -> dict[str, bytes]:
    return {} if text is None else {TASK_FILE: text.encode()}


def _data(draws: Sequence[Draw], problems: Collection[str], right: Golds, names: _Names) -> dict[str, bytes]:
    return {
        names.problems: _problems([draw for draw in draws if draw.problem_id in problems], right),
        names.table: _table(draws, names.table),
    }


def _read_all(paths: Sequence[Path]) -> list[DrawTable]:
    """Read every table, so that the mistakes of all are told at once."""
    tables, wrong = [], []
    for path in paths:
        try:
            tables.append(read_draws(path))
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("\n".join(wrong))
    return tables


def _ignored(tables: Sequence[DrawTable]) -> list[str]:
    return [
        f"{table.path.name}: nothing reads the column{'s' if len(table.ignored) > 1 else ''} {', '.join(table.ignored)}"
        for table in tables
        if table.ignored
    ]


def draw_warnings(found: Sequence[Cell], linked: Mapping[str, str]) -> list[str]:
    """Return what a user must know before trusting a replay of these draws, one line each."""
    warnings = [
        f"stage {stage}: {what}. Do not replay them as independent samples" for stage, what in linked.items()
    ]
    for stage in dict.fromkeys(cell.stage for cell in found):
        here = [cell for cell in found if cell.stage == stage]
        gaps, uncounted, estimated = (
            sum(getattr(cell, name) for cell in here) for name in ("n_gaps", "n_uncounted", "n_estimated")
        )
        if gaps:
            warnings.append(
                f"stage {stage}: {gaps:,} draws are missing between others; only those before count"
            )
        if uncounted:
            warnings.append(f"stage {stage}: {uncounted:,} draws have no token counts, so no cost")
        if estimated:
            share = estimated / sum(cell.n_draws for cell in here)
            warnings.append(f"stage {stage}: {share:.0%} of the token counts are estimates, not measured")
        if not any(cell.n_answered for cell in here):
            warnings.append(f"stage {stage}: it has scores and no answers, so there is nothing to vote on")
    return warnings


def _numbered_texts(draws: Sequence[Draw]) -> list[Draw]:
    """Let the number of a draw stand for its text at stages where neither texts nor answers were recorded."""
    said = {draw.stage for draw in draws if draw.answer or draw.text}
    return [d if d.stage in said else d._replace(text=f"draw {d.sample_index}") for d in draws]


def _right_answers(draws: Sequence[Draw]) -> Golds:
    """Read gold answers off all stages, or, where these disagree, off the last one."""
    every = golds(draws)
    last = list(dict.fromkeys(draw.stage for draw in draws))[-1]
    return golds([draw for draw in draws if draw.stage == last]) if every.why_not else every


# --- files


@dataclass(frozen=True)
class _Names:
    """Files of the folder."""

    problems: str = PROBLEMS_FILE
    table: str = TABLE_FILE


def _names(task_file: Path) -> _Names:
    """Return the files that a task reads its problems and its draws from."""
    data = read_document(task_file).data
    path = _at(data, "data", "path")
    cards = _at(data, "models")
    tables = {
        str(card["table"])
        for card in (cards.values() if isinstance(cards, Mapping) else ())
        if isinstance(card, Mapping) and card.get("table")
    }
    if len(tables) > 1:
        found = ", ".join(sorted(tables))
        raise InputError(f"{shown(task_file)}: models: an import writes one table, the cards name {found}")
    table = next(iter(tables), TABLE_FILE)
    return _Names(Path(path).name if isinstance(path, str) else PROBLEMS_FILE, Path(table).name)


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _copies(task_file: Path, out: Path, names: _Names) -> dict[str, bytes]:
    """Return the task's own files, for a folder that is not the task's."""
    folder = task_file.resolve().parent
    if folder == out.resolve():
        return {}
    own = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {RECIPE_FILE, names.problems, names.table, task_file.name}
    }
    return {**own, TASK_FILE: task_file.read_bytes()}


def _write(out: Path, contents: Mapping[str, bytes], force: bool) -> tuple[Path, ...]:
    """Write files; none where one that is there would be lost."""
    files = {out / name: content for name, content in contents.items()}
    lost = [path for path, content in files.items() if path.is_file() and path.read_bytes() != content]
    if lost and not force:
        names = ", ".join(shown(path) for path in lost)
        raise InputError(f"{names}: there already, with other contents. Give another --out, or --force")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tuple(files)


def _problems(draws: Iterable[Draw], right: Golds) -> bytes:
    rows: dict[str, dict[str, Any]] = {}
    for draw in draws:
        row = rows.setdefault(draw.problem_id, {"id": draw.problem_id})
        if draw.split:
            row["split"] = draw.split
        if not right.why_not:
            row["gold"] = list(right.answers.get(draw.problem_id, ())) or [NO_GOLD]
        if draw.prompt:
            row.setdefault("prompts", {})[draw.stage] = draw.prompt
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()).encode()


def _table(draws: Sequence[Draw], name: str) -> bytes:
    columns = [
        (column, Draw._fields.index(one))
        for column, one in COLUMNS
        if any(getattr(draw, one) not in {None, ""} for draw in draws)
    ]
    rows = ([_cell(column, draw[at]) for column, at in columns] for draw in draws)
    header = [column for column, _ in columns]
    if "text" not in header and "answer" not in header:
        raise InputError("the draws hold neither texts nor answers nor scores; there is nothing to replay")
    if name.endswith(".parquet"):
        return _parquet(header, rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    content = text.getvalue().encode()
    # Without a time in it the same draws give the same file, and so the same identity of the task.
    return gzip.compress(content, mtime=0) if name.endswith(".gz") else content


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return ""
    if column == "model_params_b":
        return value / 1e9
    return int(value) if isinstance(value, bool) else value


def _parquet(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = list(zip(*rows, strict=True))
    values = [[None if value == "" else value for value in column] for column in columns]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(zip(header, values, strict=True))), sink)
    return sink.getvalue()

"""Which columns of the data a task reads, and those that data in place of its own lack. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agenttts.errors import Mistake
from agenttts.task.data import Table
from agenttts.task.naming import verifier_blocks
from agenttts.task.reading import nearest
from agenttts.task.schema import SplitBlock, StageScoreBlock, TaskFile
from agenttts.task.sources import Tables, id_fields
from agenttts.task.splits import MISSING, lookup
from agenttts.task.templates import problem_fields

__all__ = ["lacking_columns"]


def lacking_columns(file: TaskFile, tables: Tables) -> list[Mistake]:
    """Return a mistake for each column that a task reads and that no row of a table has, with the file's name.

    Args:
        file: The task, its prompts in it; `data` and `splits` as they apply to the tables.
        tables: Of search and of test problems, with the fields made.
    """
    ids = id_fields(file.data, file.splits)
    found: list[Mistake] = []
    for table, block, id_field in zip(tables, (file.splits.search, file.splits.test), ids, strict=True):
        if table is not None and table.rows:
            found += _lacking(table, {**_of_split(block, id_field), **dict(_of_task(file))})
    return list(dict.fromkeys(found))


def _lacking(table: Table, reads: dict[str, str]) -> Iterator[Mistake]:
    columns = dict.fromkeys(name for row in table.rows for name in row.fields)
    for column, reader in reads.items():
        if all(lookup(row.fields, column) is MISSING for row in table.rows):
            message = f"no row has the column `{column}`, which {reader} reads."
            yield Mistake(table.name, None, "", message, nearest(column, columns, listed="Columns"))


def _of_split(block: SplitBlock, id_field: str | None) -> dict[str, str]:
    named = {} if id_field is None else {id_field: "`id` of the task's data"}
    return named | dict.fromkeys(block.where, "`where` of the task's splits")


def _of_task(file: TaskFile) -> Iterator[tuple[str, str]]:
    """Yield each column that something other than ids and `where` reads, and what does."""
    for name in problem_fields(file):
        yield name, "a prompt of the task"
    for at, verifier in verifier_blocks(file):
        for column in (verifier.tests, verifier.field):
            if column is not None:
                yield column, f"`{'.'.join(map(str, at))}`"
    for name, stage in file.stages.items():
        if stage.shared_by is not None:
            yield stage.shared_by.field, f"`stages.{name}.shared_by`"
        yield from _gold(f"stages.{name}.score", stage.score)
    yield from _gold("score", file.score)
    for name, measure in file.measures.items():
        yield from _gold(f"measures.{name}", measure)


def _gold(at: str, score: StageScoreBlock | None) -> Iterator[tuple[str, str]]:
    if score is not None and score.gold is not None:
        yield score.gold, f"`{at}.gold`"

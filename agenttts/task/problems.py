"""From the sources of a task to its problems, with every mistake in them: reading, fields and dividing in one step.

For a task file in the making (`read_problems`) and for a task that is loaded and gets other data (`replaced`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import Mistake
from agenttts.task.columns import lacking_columns
from agenttts.task.data import DataFileError
from agenttts.task.drafts import Draft
from agenttts.task.fields import FunctionOf
from agenttts.task.reading import Document, missing_file
from agenttts.task.schema import DataBlock, SplitsBlock, TaskFile
from agenttts.task.sources import Replacement, Tables, id_fields, read_sources
from agenttts.task.splits import Complaint, Parts, divide

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["ReadProblems", "counted", "read_problems", "replaced", "with_replacement"]


@dataclass(frozen=True)
class ReadProblems:
    """What the sources hold. `tables` is `None` where they cannot be read, `parts` where they cannot be divided."""

    tables: Tables | None
    parts: Parts | None
    mistakes: list[Mistake]

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """Fields of all rows, each row once."""
        tables = {id(table): table for table in self.tables or () if table is not None}
        return [row.fields for table in tables.values() for row in table.rows]

    @property
    def fields(self) -> list[str] | None:
        """Names of the fields of all rows; `None`: not known."""
        return None if self.tables is None else list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def sha256(self) -> tuple[str | None, str | None]:
        """Digests of the search and the test source; `None` for one that was not read."""
        search, test = self.tables or (None, None)
        return (None if search is None else search.sha256, None if test is None else test.sha256)


NOT_READ = ReadProblems(None, None, [])


def with_replacement(draft: Draft, files: Replacement) -> Draft:
    """Return a draft whose data are these files."""
    if draft.data is None or draft.sources is None:
        return draft
    data, sources = files.apply(draft.data, draft.sources)
    splits = None if draft.splits is None else files.apply(draft.data, draft.splits)[1]
    return replace(draft, data=data, sources=sources, splits=splits)


def read_problems(
    document: Document,
    draft: Draft,
    folder: Path,
    *,
    n_search: int | None,
    files: Replacement | None,
    file: TaskFile | None,
    function_of: FunctionOf,
) -> ReadProblems:
    """Read, check and divide the data of a task file.

    Args:
        document: For the places of mistakes.
        draft: What is right in it, with `files` in it.
        folder: Where relative paths count from.
        n_search: In place of `splits.search.n`.
        files: What stands in place of the sources; `None`: nothing does.
        file: The whole task with its prompts in it, where it has no mistakes; needed to tell columns that `files` lack.
        function_of: Looks up the functions that fields are parsed by.
    """
    splits = draft.splits or draft.sources
    if draft.data is None or draft.sources is None or splits is None:
        return NOT_READ
    gone = _not_there(document, draft.data, draft.sources, folder) if files is None else []
    if gone:
        return ReadProblems(None, None, gone)
    try:
        tables = _read(draft.data, draft.sources, folder, files, function_of)
    except DataFileError as error:
        return ReadProblems(None, None, list(error.mistakes))
    lacking = [] if file is None or files is None else lacking_columns(file, tables)
    if lacking:
        return ReadProblems(None, None, lacking)
    ids = id_fields(draft.data, splits)
    parts, complaints = divide(splits, *tables, ids, n_search, at_most=files is not None)
    if draft.splits is None:  # what is wrong with the rows is told; how many of them are left is not known
        complaints = [complaint for complaint in complaints if not complaint.counts]
    told = [_placed(document, complaint) for complaint in complaints]
    return ReadProblems(tables, None if complaints or draft.splits is None else parts, told)


def _read(
    data: DataBlock, splits: SplitsBlock, folder: Path, files: Replacement | None, function_of: FunctionOf
) -> Tables:
    if files is None:
        return read_sources(data, splits, folder, function_of=function_of)
    names = (files.search, files.test)
    return read_sources(
        data, splits, files.folder, lambda block, index: block if names[index] else None, function_of
    )


def _not_there(document: Document, data: DataBlock, sources: SplitsBlock, folder: Path) -> list[Mistake]:
    """Return a mistake for each file that is not there, at its key."""
    places = (
        (("data",), data),
        *((("splits", name, "data"), getattr(sources, name).data) for name in ("search", "test")),
    )
    return [
        document.mistake((*at, "path"), f"no such file: {block.path}.", missing_file(folder / block.path))
        for at, block in places
        if block is not None
        and block.path is not None
        and not (folder / Path(block.path).expanduser()).exists()
    ]


def _placed(document: Document, complaint: Complaint) -> Mistake:
    return complaint.mistake or document.mistake(complaint.key, complaint.message, complaint.hint)


def counted(splits: SplitsBlock, parts: Parts, files: Replacement) -> SplitsBlock:
    """Return splits by which files are divided again as they were: of one file, search problems took half at most."""
    if files.search != files.test:
        return splits
    search = splits.search.model_copy(update={"n": len(parts.search)})
    return splits.model_copy(update={"search": search})


def replaced(task: Task, files: Replacement) -> Task:
    """Return a loaded task with other files in place of its data.

    Raises:
        DataFileError: They cannot be read, lack a column that the task reads, or cannot be divided.
    """
    data, splits = files.apply(task.file.data, task.file.splits)
    file = task.file.model_copy(update={"data": data, "splits": splits})
    tables = _read(data, splits, task.folder, files, task.function)
    mistakes = lacking_columns(file, tables)
    if mistakes:
        raise DataFileError(mistakes)
    parts, complaints = divide(splits, *tables, id_fields(data, splits), at_most=True)
    if complaints:
        place = next(table.name for table in tables if table is not None)
        raise DataFileError(
            [
                one.mistake or Mistake(place, None, ".".join(one.key), one.message, one.hint)
                for one in complaints
            ]
        )
    read = ReadProblems(tables, parts, [])
    return replace(
        task,
        file=file.model_copy(update={"splits": counted(splits, parts, files)}),
        search=parts.search,
        search_digest="",  # made anew of the problems
        n_test=len(parts.test),
        data_sha256=read.sha256,
        look_first=(files.folder,),
    )

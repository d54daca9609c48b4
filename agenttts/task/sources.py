"""The sources of a task: which tables hold its search and its test problems, and the files that stand in their place.

How one table is read lives in `agenttts.task.data`, which rows are problems of which split in `agenttts.task.splits`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agenttts.errors import DataError
from agenttts.task.data import SUFFIXES, Table, read_table
from agenttts.task.fields import FunctionOf, with_fields
from agenttts.task.reading import missing_file, shown
from agenttts.task.schema import DataBlock, SplitsBlock

__all__ = [
    "Replacement",
    "SplitName",
    "Tables",
    "find_again",
    "id_fields",
    "lies_at",
    "locate_data",
    "read_sources",
    "sources_of",
]

SplitName = Literal["search", "test"]
Tables = tuple[Table | None, Table | None]
"""Tables of search and of test problems; one and the same where they are one, `None` where there is none."""
ENDINGS = tuple(f"{suffix}{packed}" for suffix in SUFFIXES for packed in ("", ".gz"))


@dataclass(frozen=True)
class Replacement:
    """Files in place of a task's sources: one that is divided, or one for search and one for test problems."""

    folder: Path
    """Where they lie, absolute."""
    search: str | None
    """Name of the file with search problems; `None`: there is none."""
    test: str | None

    def block_of(self, source: DataBlock, split: SplitName) -> DataBlock:
        """Return the block of a source with the file of a split in place of its own; a file not there keeps a name."""
        name = (self.search if split == "search" else self.test) or f"{split}{SUFFIXES[0]}"
        return DataBlock(path=name, id=source.id, fields=source.fields)

    def apply(self, data: DataBlock, splits: SplitsBlock) -> tuple[DataBlock, SplitsBlock]:
        """Return the blocks `data` and `splits` of a task with these files in them."""
        search, test = sources_of(data, splits)
        of_search, of_test = self.block_of(search, "search"), self.block_of(test, "test")
        if (
            self.search == self.test
        ):  # read by one block, as the rows of both splits are divided after reading
            of_test = of_search
        own = {"search": None, "test": None if of_search == of_test else of_test}
        return of_search, splits.model_copy(
            update={
                name: getattr(splits, name).model_copy(update={"data": block}) for name, block in own.items()
            }
        )


def locate_data(path: str | Path, beside: Path, needs: SplitName | None = None) -> Replacement:
    """Return the files that a path means: the file, or `search.*` and `test.*` of a folder.

    Args:
        path: Looked up from the working folder first, then beside the task file.
        beside: Folder of the task file.
        needs: The only split that is asked for; `None`: both are.

    Raises:
        DataError: There is no such file or folder, or the folder lacks a file that is needed.
    """
    found = _found(Path(path).expanduser(), beside)
    if found.is_file():
        return Replacement(found.parent, found.name, found.name)
    search, test = (_of_split(found, split) for split in ("search", "test"))
    for split, name in (("search", search), ("test", test)):
        if name is None and needs in (None, split):
            names = sorted(entry.name for entry in found.iterdir() if not entry.name.startswith("."))
            raise DataError(
                f"{shown(found)}: this folder has no file with {split} problems.\n"
                f"Expected {split}.jsonl, .csv or .parquet, each also with .gz; "
                f"found: {', '.join(names[:20]) or 'nothing'}."
            )
    return Replacement(found, search, test)


def _found(path: Path, beside: Path) -> Path:
    places = list(dict.fromkeys((path.resolve(), (beside / path).resolve())))
    for place in places:
        if place.is_file() or place.is_dir():
            return place
    told = " nor ".join(str(place) for place in places)
    raise DataError(f"{path}: no such file or folder of data: neither {told}.\n{missing_file(places[0])}")


def _of_split(folder: Path, split: str) -> str | None:
    names = [f"{split}{ending}" for ending in ENDINGS if (folder / f"{split}{ending}").is_file()]
    if len(names) > 1:
        raise DataError(f"{shown(folder)}: {' and '.join(names)} are both there.\nLeave one of them.")
    return names[0] if names else None


def read_sources(
    data: DataBlock,
    splits: SplitsBlock,
    folder: Path,
    find: Callable[[DataBlock, int], DataBlock | None] | None = None,
    function_of: FunctionOf | None = None,
) -> Tables:
    """Read the sources of search and of test problems and make the fields of their rows.

    Args:
        data: The task's source.
        splits: Sources of their own.
        folder: Where relative paths count from.
        find: Says where a source (0: of search, 1: of test problems) lies now, `None`: it is not read; left out: all
            lie where they say.
        function_of: Looks up the functions that fields are parsed by.

    Raises:
        DataFileError: As `read_table`, and fields that could not be made.
    """
    search, test = sources_of(data, splits)
    shared = search == test
    found = (search, test) if find is None else (find(search, 0), None if shared else find(test, 1))
    tables = [
        None if block is None else with_fields(read_table(block, folder), block.fields, function_of)
        for block in (found[:1] if shared else found)
    ]
    return tables[0], tables[-1]


def sources_of(data: DataBlock, splits: SplitsBlock) -> tuple[DataBlock, DataBlock]:
    """Return the sources of search and of test problems."""
    return splits.search.data or data, splits.test.data or data


def id_fields(data: DataBlock, splits: SplitsBlock) -> tuple[str | None, str | None]:
    """Return the fields that identify search and test problems."""
    search, test = sources_of(data, splits)
    return search.id, test.id


def lies_at(path: Path, source: DataBlock, sha256: str | None) -> Literal["same", "changed", "not there"]:
    """Return whether the file of a source lies in a folder, or is the file `path`: as it was, or under its name alone."""
    if source.path is None:
        return "not there"
    given = Path(source.path).expanduser()
    places = [path / given, path / given.name] if path.is_dir() else [path] * (path.name == given.name)
    files = [place for place in places if place.is_file()]
    if any(hashlib.sha256(place.read_bytes()).hexdigest() == sha256 for place in files):
        return "same"
    return "changed" if files and path.is_dir() else "not there"


def find_again(block: DataBlock, sha256: str, folders: Sequence[Path]) -> DataBlock:
    """Return a source with the path of the first file that has the digest; data sets stay as they are.

    Args:
        block: The source.
        sha256: Digest of the file when the task was loaded.
        folders: Where to look, each for the path as the task names it and for its last part.

    Raises:
        DataError: None of these places has that file; all are named.
    """
    if block.path is None:
        return block
    given = Path(block.path).expanduser()
    seen: dict[Path, str] = {}
    for path in dict.fromkeys(folder / name for folder in folders for name in (given, given.name)):
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return block.model_copy(update={"path": str(path)})
            seen[path] = "has changed since this task was loaded"
        except FileNotFoundError:
            seen[path] = "no such file"
        except OSError as error:
            seen[path] = f"cannot be read: {error.strerror or error}"
    places = "\n".join(f"  {path}: {why}" for path, why in seen.items())
    hint = "Put the file back as it was, or name its folder: `agenttts evaluate PLAN --data FOLDER` (in Python: `data=`)."
    raise DataError(f"{block.path}: the data of the task are in none of these places:\n{places}\n{hint}")

"""Which rows are search problems and which are test problems. Pure: rows in, problems out.

A row's place is decided by a hash of the seed and its id (of its contents, where the task names no id), so that the
order of rows in the file does not matter, a smaller `n` takes a subset of what a larger one takes, and the first k
problems of a split are a random sample of it. Search takes from the front of that order, test from the back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.errors import Mistake
from agenttts.pipeline.base import Problem
from agenttts.task.data import Row, Table
from agenttts.task.reading import nearest
from agenttts.task.schema import SplitBlock, SplitsBlock

__all__ = ["MISSING", "Complaint", "Parts", "divide", "in_file", "lookup"]

MISSING = object()


@dataclass(frozen=True)
class Complaint:
    """A mistake at a key of the task file, or, with `mistake`, in a data file."""

    key: tuple[str, ...]
    message: str
    hint: str = ""
    mistake: Mistake | None = None
    counts: bool = False
    """It is about how many problems there are, not about what they hold."""


@dataclass(frozen=True)
class Entry:
    """One row with its identity."""

    id: str
    identity: str
    """What ranks it: the id where the task names one, else a digest of the contents."""
    row: Row

    def rank(self, seed: int) -> tuple[str, int]:
        """Return the place in the order of the seed; equal rows stay in file order."""
        return hashlib.sha256(f"{seed}:{self.identity}".encode()).hexdigest(), self.row.number

    @property
    def problem(self) -> Problem:
        """Return the problem."""
        return Problem(self.id, self.row.fields)


@dataclass(frozen=True)
class Parts:
    """The two splits."""

    search: tuple[Problem, ...]
    test: tuple[Problem, ...]


def lookup(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, `MISSING` where there is none; a field whose name holds dots wins."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def divide(
    splits: SplitsBlock,
    search_table: Table | None,
    test_table: Table | None,
    ids: tuple[str | None, str | None],
    n_search: int | None = None,
    *,
    at_most: bool = False,
) -> tuple[Parts, list[Complaint]]:
    """Divide rows into search and test problems; no id is in both.

    Args:
        splits: The block of the task file.
        search_table: Where search problems come from; `None`: nowhere, there are none.
        test_table: Where test problems come from; the same object where the task has one source.
        ids: Id field of either source.
        n_search: In place of `splits.search.n`.
        at_most: Fewer problems than the `n` of a split will do, but not none; of one table without a `where` for the
            test, search problems then take at most half.

    Returns:
        The problems and everything that is wrong; the problems are of use only where nothing is.
    """
    shared = search_table is test_table
    search_pool, test_pool, complaints = _pools(splits, search_table, test_table, ids)
    if complaints:
        return Parts((), ()), complaints
    if not shared:
        complaints = _overlap(search_pool, test_pool)
    wanted = n_search if n_search is not None else splits.search.n
    if shared and not splits.test.where and (wanted is None or (at_most and n_search is None)):
        half = max(1, len(search_pool) // 2)
        wanted = half if wanted is None else min(wanted, half)
    search = sorted(search_pool, key=lambda entry: entry.rank(splits.seed))[:wanted]
    taken = {entry.identity for entry in search}
    left = [entry for entry in test_pool if entry.identity not in taken]
    test = sorted(left, key=lambda entry: entry.rank(splits.seed), reverse=True)[: splits.test.n]
    least_search, least_test = (n_search, None) if at_most else (wanted, splits.test.n)
    why = f" ({len(search)} are search problems)" if shared else ""
    complaints += _too_few("search", least_search, len(search), "") if search_table is not None else []
    complaints += _too_few("test", least_test, len(test), why) if test_table is not None else []
    return Parts(_problems(search), _problems(test)), complaints


def _pools(
    splits: SplitsBlock,
    search_table: Table | None,
    test_table: Table | None,
    ids: tuple[str | None, str | None],
) -> tuple[list[Entry], list[Entry], list[Complaint]]:
    """Return the rows that each split may take, and what is wrong with ids and `where`."""
    shared = search_table is test_table
    search, complaints = _entries(
        search_table, ids[0], "row" if shared else "search-row", _id_key(splits.search, "search")
    )
    test = search
    if not shared:
        test, more = _entries(test_table, ids[1], "test-row", _id_key(splits.test, "test"))
        complaints += more
    search_pool, more = _matching(search, splits.search, "search", search_table)
    complaints += more
    test_pool, more = _matching(test, splits.test, "test", test_table)
    return search_pool, test_pool, complaints + more


def _problems(entries: Sequence[Entry]) -> tuple[Problem, ...]:
    return tuple(entry.problem for entry in entries)


def _id_key(block: SplitBlock, split: str) -> tuple[str, ...]:
    return ("splits", split, "data", "id") if block.data is not None else ("data", "id")


def _entries(
    table: Table | None, id_field: str | None, prefix: str, key: tuple[str, ...]
) -> tuple[list[Entry], list[Complaint]]:
    if table is None:
        return [], []
    if id_field is None:
        return [Entry(f"{prefix}-{row.number}", _digest(row.fields), row) for row in table.rows], []
    entries: list[Entry] = []
    complaints: list[Complaint] = []
    first: dict[str, Row] = {}
    without = []
    for row in table.rows:
        value = lookup(row.fields, id_field)
        if value is MISSING or value is None or value == "":
            without.append(row)
            continue
        name = str(value)
        if name in first:
            message = f"duplicate id {name!r}, first in {_where(first[name])}."
            complaints.append(Complaint(key, message, mistake=in_file(table, row, id_field, message)))
        first.setdefault(name, row)
        entries.append(Entry(name, name, row))
    if without and len(without) == len(table.rows):
        fields = dict.fromkeys(field for row in table.rows for field in row.fields)
        message = f"the data has no field `{id_field}`."
        complaints.append(Complaint(key, message, nearest(id_field, fields, listed="Fields of the data")))
    else:
        complaints += [
            Complaint(key, "", mistake=in_file(table, row, id_field, "this row has no id."))
            for row in without
        ]
    return entries, complaints[:20]


def _where(row: Row) -> str:
    return f"row {row.number + 1}" if row.line is None else f"line {row.line}"


def in_file(table: Table, row: Row, field: str, message: str) -> Mistake:
    """Return a mistake in a field of a row; of a data set its row is told, as it has no lines."""
    return Mistake(table.name, row.line, field if row.line is not None else f"{_where(row)}.{field}", message)


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _matching(
    entries: Sequence[Entry], block: SplitBlock, split: str, table: Table | None
) -> tuple[list[Entry], list[Complaint]]:
    """Return the rows that have the field values of `where`."""
    if table is None:
        return [], []
    if not table.rows:
        key = ("splits", split, "data") if block.data is not None else ("data",)
        return [], [Complaint(key, f"{table.name} holds no rows.")]
    if not entries:
        return [], []  # told already: no row has an id
    fields = dict.fromkeys(field for entry in entries for field in entry.row.fields)
    complaints = [
        Complaint(
            ("splits", split, "where", name),
            f"the data has no field `{name}`.",
            nearest(name, fields, listed="Fields of the data"),
        )
        for name in block.where
        if all(lookup(entry.row.fields, name) is MISSING for entry in entries)
    ]
    if complaints:
        return [], complaints
    left = [entry for entry in entries if _fits(entry.row.fields, block.where)]
    if left:
        return left, []
    return [], [
        Complaint(
            ("splits", split, "where"),
            "the split is empty: no row has these values.",
            _values(entries, block),
        )
    ]


def _fits(fields: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(_equal(lookup(fields, name), value) for name, value in where.items())


def _equal(found: Any, wanted: Any) -> bool:
    """Compare values; where one side is text also by the text, because CSV knows no other type."""
    if isinstance(found, bool) is not isinstance(wanted, bool) and not isinstance(found, str):
        return False
    if found == wanted:
        return True
    return (
        isinstance(found, str) and not isinstance(wanted, str) and found.casefold() == str(wanted).casefold()
    )


def _values(entries: Sequence[Entry], block: SplitBlock) -> str:
    """Say which values there are, of the first `where` field that no row fits."""
    for name, wanted in block.where.items():
        found = [lookup(entry.row.fields, name) for entry in entries]
        if not any(_equal(value, wanted) for value in found):
            values = dict.fromkeys(str(value)[:30] for value in found if value is not MISSING)
            if len(values) <= 12:
                return f"Values of `{name}`: {', '.join(values)}."
            return f"No row has `{name}` {wanted!r}."
    return "Each value occurs, but never together."


def _overlap(search: Sequence[Entry], test: Sequence[Entry]) -> list[Complaint]:
    """Refuse sources of their own that share problems: the test split would not be unseen."""
    both = {entry.identity for entry in search} & {entry.identity for entry in test}
    if not both:
        return []
    example = next(entry.id for entry in search if entry.identity in both)
    message = f"{len(both)} problem{'s' if len(both) > 1 else ''} of the search data, e.g. {example!r}, is also in the test data."
    hint = (
        "Use data that share no problem. If only the ids are the same (each file counts from 0), leave `id` out: "
        "problems are then told apart by their contents."
    )
    return [Complaint(("splits", "test", "data"), message, hint)]


def _too_few(split: str, wanted: int | None, found: int, why: str) -> list[Complaint]:
    if found == 0:
        hint = f"Take fewer search problems (`splits.search.n`), or give `{split}` a `where` or `data` of its own."
        return [Complaint(("splits", split), f"the split is empty{why}.", hint, counts=True)]
    if wanted is not None and found < wanted:
        return [
            Complaint(("splits", split, "n"), f"{wanted} problems wanted, {found} left{why}.", counts=True)
        ]
    return []

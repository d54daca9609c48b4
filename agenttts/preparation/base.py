"""From rows of a published set to problems of a task: which rows, in which split, and what was left out.

Pure: rows in, rows out. Choice and division go by hashes of seed and identifier, so the same seed and files give the
same problems in whatever order the rows come. How a row becomes a problem is in the module of its family; reading and
writing files is in `sources` and `prepared`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, TypeVar

from agenttts.errors import DataError

__all__ = [
    "Division",
    "Faults",
    "Made",
    "Report",
    "Row",
    "Tables",
    "UnusableError",
    "Wish",
    "column",
    "divide",
    "hashed",
    "loaded",
    "named_ids",
    "placed",
    "sizes_fact",
    "texts",
]

Row = Mapping[str, Any]
Report = Callable[[str], None]
"""Takes one line on what goes on."""
T = TypeVar("T")

WINDOW = 4096
"""Published rows held at a time; less where one of them takes megabytes."""


MOST_FAULTS = 20
MOST_IDS = 5


class UnusableError(Exception):
    """A published row gives no problem; the text is the reason that it is counted under."""


class Faults:
    """Rows that are none of the published set, gathered so that all are told at once, each with its place."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, place: str, what: str) -> None:
        """Take note of a fault.

        Raises:
            DataError: These are as many as are told.
        """
        self._found.append(f"{place}: {what}")
        if len(self._found) >= MOST_FAULTS:
            raise DataError("\n".join([*self._found, f"These are the first {MOST_FAULTS} faults."]))

    def check(self) -> None:
        """Raise a DataError that tells all faults; none where there are none."""
        if self._found:
            raise DataError("\n".join(self._found))


def placed(rows: Iterable[Row], faults: Faults) -> Iterator[tuple[str, Row]]:
    """Yield rows with the places where they stand; what cannot be read as a row goes to `faults`."""
    own = getattr(rows, "placed", None)
    yield from own(faults) if own is not None else ((f"row {n}", row) for n, row in enumerate(rows, start=1))


@dataclass(frozen=True)
class Tables:
    """A published set; every table can be gone through again."""

    search: Iterable[Row]
    test: Iterable[Row]
    """The same object where one table is divided between both splits."""
    beside: Mapping[str, Iterable[Row]] = field(default_factory=dict)
    """Further files by their role, e.g. the descriptions of tools."""


@dataclass(frozen=True)
class Wish:
    """What a user asks of a preparation."""

    n_search: int
    n_test: int
    seed: int = 0
    first_date: date | None = None
    """Of a contest, inclusive; `None`: no limit."""
    last_date: date | None = None
    most_test_bytes: int = 2_000_000
    """Of the hidden tests of one problem."""


@dataclass(frozen=True)
class Made:
    """The problems, and what a reader of them must know."""

    search: Sequence[Row]
    test: Sequence[Row]
    left_out: Mapping[str, int]
    """Reason -> rows that were looked at and gave no problem."""
    n_rows: Sequence[int]
    """Of each published table: one that was divided, or that of search and that of test."""
    facts: Sequence[str] = ()
    """One sentence each."""
    left_out_ids: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Reason -> the first identifiers of its rows."""


@dataclass(frozen=True)
class Division(Generic[T]):
    """What was made of the rows chosen for each split."""

    search: list[T]
    test: list[T]
    left_out: Counter[str]
    n_rows: list[int]
    left_out_ids: dict[str, list[str]]


def divide(
    tables: Tables,
    wish: Wish,
    read: Callable[[Row], T],
    *,
    identity: Callable[[Row], str],
    text: Callable[[T], str],
    window: int = WINDOW,
) -> Division[T]:
    """Choose rows for search and test in the order of their hashes, and read them.

    No identifier and no text is taken twice, so no test problem was searched on. Of one table the first rows in that
    order are for search, the next ones for test.

    Args:
        tables: The published set.
        wish: How many, and the seed.
        read: Makes a problem of a row; raises `UnusableError` where it gives none.
        identity: Identifier of a row.
        text: What a model is asked; compared without case and spaces.
        window: Rows held at a time.

    Raises:
        DataError: No row of a split could be used; the reasons are told. Or rows are none of the published set: those
            that were looked at are told with their places, up to 20.
    """
    left_out: Counter[str] = Counter()
    left_out_ids: dict[str, list[str]] = {}
    seen: set[str] = set()
    faults = Faults()
    each = [tables.search] if tables.test is tables.search else [tables.search, tables.test]
    all_places = [_places(rows, wish.seed, identity, faults) for rows in each]
    faults.check()

    def usable(rows: Iterable[Row], places: Sequence[_Place]) -> Iterator[T]:
        for place, row in _in_order(rows, places, window):
            try:
                problem = read(row)
                _once(seen, f"id {identity(row)}", f"text {_bare(text(problem))}")
            except UnusableError as error:
                left_out[str(error)] += 1
                ids = left_out_ids.setdefault(str(error), [])
                ids += [identity(row)] if len(ids) <= MOST_IDS else []  # one more shows that there are more
            except DataError as error:
                faults.add(f"{place} (id {identity(row)})", str(error))
            else:
                yield problem

    if tables.test is tables.search:
        search, test = _shared(usable(tables.search, all_places[0]), wish)
    else:
        search = _first(usable(tables.search, all_places[0]), wish.n_search)
        test = _first(usable(tables.test, all_places[1]), wish.n_test)
    faults.check()
    _check("search", wish.n_search, search, left_out)
    _check("test", wish.n_test, test, left_out)
    return Division(search, test, left_out, list(map(len, all_places)), left_out_ids)


def _check(name: str, wanted: int, problems: Sequence[Any], left_out: Mapping[str, int]) -> None:
    if wanted and not problems:
        why = _reasons(left_out) or "there are no rows left"
        raise DataError(f"no {name} problem could be made: {why}")


def _reasons(left_out: Mapping[str, int]) -> str:
    """Return reasons with their counts, in one line."""
    return "; ".join(f"{reason}: {n:,}" for reason, n in sorted(left_out.items()))


def _once(seen: set[str], *keys: str) -> None:
    if any(key in seen for key in keys):
        raise UnusableError("its identifier or text was taken before")
    seen.update(keys)


def _bare(text: str) -> str:
    return "".join(text.lower().split())


def _first(problems: Iterator[T], n: int) -> list[T]:
    return [problem for _, problem in zip(range(n), problems, strict=False)]


def _shared(problems: Iterator[T], wish: Wish) -> tuple[list[T], list[T]]:
    """Return the problems of search and those of test; where there are too few for both, in the wished proportion."""
    wanted = wish.n_search + wish.n_test
    found = _first(problems, wanted)
    cut = wish.n_search if len(found) == wanted else math.ceil(len(found) * wish.n_search / max(1, wanted))
    return found[:cut], found[cut:]


_Place = tuple[int, str]
"""Which row of a table it is, from 0, and where that stands."""


def _places(rows: Iterable[Row], seed: int, identity: Callable[[Row], str], faults: Faults) -> list[_Place]:
    """Return the places of rows in the order of their hashes; rows without an identifier are faults."""
    found = []
    for number, (place, row) in enumerate(placed(rows, faults)):
        try:
            found.append((hashed(seed, identity(row)), number, place))
        except DataError as error:
            faults.add(place, str(error))
    return [(number, place) for _, number, place in sorted(found)]


def _in_order(rows: Iterable[Row], places: Sequence[_Place], window: int) -> Iterator[tuple[str, Row]]:
    """Yield the rows of some places in that order; goes through `rows` anew for every `window` of them."""
    for start in range(0, len(places), window):
        some = places[start : start + window]
        turns = {number: turn for turn, (number, _) in enumerate(some)}
        # A copy holds no more than the row, whatever the row was read from.
        found = {turns[number]: dict(row) for number, row in enumerate(rows) if number in turns}
        yield from ((some[turn][1], found.pop(turn)) for turn in sorted(found))


def hashed(seed: int, *parts: str) -> str:
    """Return a hash that orders and divides rows."""
    return hashlib.sha256("\0".join([str(seed), *parts]).encode("utf-8", "surrogatepass")).hexdigest()


# --- in words


def named_ids(made: Made, reason: str) -> str:
    """Return the first identifiers of the rows that were left out for a reason, in brackets; empty without any."""
    ids = list(made.left_out_ids.get(reason, ()))
    more = ", ..." if len(ids) > MOST_IDS else ""
    return f" ({', '.join(ids[:MOST_IDS])}{more})" if ids else ""


def sizes_fact(what: str, sizes: Sequence[int]) -> str:
    """Return least, mean and most of some sizes, at least one: `a problem has 12 to 100 candidates, 87.3 on average`."""
    mean = sum(sizes) / len(sizes)
    return f"a problem has {min(sizes):,} to {max(sizes):,} {what}, {mean:,.1f} on average"


# --- fields of published rows


def column(row: Row, *names: str) -> Any:
    """Return the first of some columns that a row has.

    Raises:
        DataError: It has none of them, so it is no row of the published set.
    """
    for name in names:
        if name in row:
            return row[name]
    known = ", ".join(map(str, row)) or "none"
    raise DataError(f"a row has no column {' or '.join(f'`{name}`' for name in names)}; its columns: {known}")


def loaded(value: Any, name: str) -> Any:
    """Return a value that is published as it is or as a JSON text.

    Raises:
        UnusableError: The text is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise UnusableError(f"`{name}` is not valid JSON") from None


def texts(value: Any, name: str) -> list[str]:
    """Return a list of texts; one text is a list of one.

    Raises:
        UnusableError: It is neither.
    """
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise UnusableError(f"`{name}` holds no texts")
    return values

"""What a table of recorded draws holds: every row checked, every mistake told with its row and column.

The importer's side of `recorded_table`; replaying draws is in `recorded`. Values only, apart from reading the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agenttts.errors import DataError
from agenttts.models.recorded_columns import KNOWN
from agenttts.models.recorded_table import open_rows, require_columns, whole, words

__all__ = ["Cell", "Draw", "DrawTable", "cells", "chains", "read_draws"]

MOST_MISTAKES = 20
"""A table of another kind has a mistake in every row; the first ones tell enough."""
SPLITS = {"search": "search", "train": "search", "dev": "search", "test": "test", "": ""}
FLAGS = {"": None, "0": False, "0.0": False, "False": False, "false": False} | dict.fromkeys(
    ("1", "1.0", "True", "true"), True
)


class Draw(NamedTuple):
    """One row; a named tuple, because there are hundreds of thousands of them."""

    stage: str
    model: str
    """With its variant: `model@variant`."""
    problem_id: str
    sample_index: int
    text: str | None
    """`None` where the table has no column for it."""
    answer: str
    """Empty where nothing was recorded or parsed."""
    prompt: str | None
    prefill_tokens: int | None
    decode_tokens: int | None
    estimated: bool | None
    """Whether the token counts are estimates; `None`: the table does not say."""
    score: float | None
    parent: int | None
    """Number of the draw that this one goes on from."""
    parameters: float | None
    """Of the model."""
    split: str
    """`search`, `test` or empty."""


@dataclass(frozen=True)
class DrawTable:
    """A table that holds no mistake."""

    path: Path
    sha256: str
    draws: tuple[Draw, ...]
    ignored: tuple[str, ...]
    """Columns that nothing here reads."""


@dataclass(frozen=True)
class Cell:
    """What is recorded of one model at one stage."""

    stage: str
    model: str
    n_problems: int
    least: int
    """Draws 0, 1, ... that every one of these problems has without a gap."""
    most: int
    """Draws of the problem that has most."""
    n_gaps: int
    """Draws that are missing below a problem's last one."""
    n_draws: int
    n_answered: int
    n_scored: int
    n_uncounted: int
    """Draws without token counts."""
    n_estimated: int
    """Draws whose token counts are estimates."""
    mean_score: float | None
    mean_decode_tokens: float | None
    most_decode_tokens: int | None
    mean_prefill_tokens: float | None
    parameters: float | None


def read_draws(path: str | Path) -> DrawTable:
    """Read and check a table.

    Raises:
        DataError: The file cannot be read, lacks a column, or holds mistakes: the first 20, each with file, row
            (counted from 1, the header included), column and what was expected.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    header, rows = open_rows(content, path)
    names = require_columns(header, path)
    reader = _Reader(path, header, names)
    for number, values in enumerate(rows, start=2):
        reader.take(number, values)
    reader.end()
    ignored = tuple(name for name in names if name not in KNOWN and name != "task")
    return DrawTable(path, hashlib.sha256(content).hexdigest(), tuple(reader.draws), ignored)


class _Reader:
    """Collects rows and mistakes; tables have hundreds of thousands of rows, so columns are looked up once."""

    def __init__(self, path: Path, header: Sequence[str], names: Sequence[str]) -> None:
        self.draws: list[Draw] = []
        self._path = path
        self._n_columns = len(names)
        self._at = {name: names.index(name) for name in names}
        self._written = dict(zip(names, header, strict=True))
        """Name of a column here -> in the table, by which mistakes are told."""
        self._mistakes: list[str] = []
        self._n_mistakes = 0
        self._first_row: dict[tuple[str, str, str, str | None, int], int] = {}
        self._sizes: dict[str, tuple[float | None, int]] = {}
        self._names: dict[str, str] = {}
        self._parents: list[tuple[int, str, int]] = []
        """Row, problem and number of the draw gone on from."""
        self._held: dict[str, set[int]] = {}
        """Problem -> numbers of its draws, at any stage: a parent may be one of another stage and model."""

    def take(self, number: int, values: Sequence[Any]) -> None:
        """Read one row."""
        if not values:
            return  # a blank line
        if len(values) != self._n_columns:
            self._wrong(number, "", f"expected {self._n_columns} fields as in the header, got {len(values)}")
            return
        before = self._n_mistakes
        draw = self._draw(number, values)
        if draw is not None and self._n_mistakes == before:
            self._fits(number, draw)
            self.draws.append(draw)

    def end(self) -> None:
        """Raise what was found wrong."""
        for row, problem_id, parent in (
            [] if self._n_mistakes else self._parents
        ):  # a mistaken row may be the parent
            if parent not in self._held[problem_id]:
                message = f"expected the sample_index of a draw of problem {problem_id!r}, which has no draw {parent}"
                self._wrong(row, "parent_sample_index", message)
        if not self._n_mistakes and not self.draws:
            raise DataError(f"{self._path}: the table holds no draws")
        if self._n_mistakes:
            more = self._n_mistakes - len(self._mistakes)
            raise DataError("\n".join(self._mistakes + ([f"... and {more:,} more mistakes"] if more else [])))

    def _wrong(self, row: int, column: str, message: str) -> None:
        self._n_mistakes += 1
        if len(self._mistakes) < MOST_MISTAKES:
            where = f"row {row}, column {self._written.get(column, column)}" if column else f"row {row}"
            self._mistakes.append(f"{self._path}: {where}: {message}")

    def _draw(self, row: int, values: Sequence[Any]) -> Draw | None:
        def word(column: str) -> str:
            return words(values[self._at[column]]) if column in self._at else ""

        def read(column: str, convert: Callable[[str], Any], expected: str) -> Any:
            text = word(column)
            try:
                return convert(text) if text else None
            except (ValueError, KeyError):
                self._wrong(row, column, f"expected {expected}, got {text[:40]!r}")
                return None

        for column in ("stage", "model", "problem_id", "sample_index"):
            if not word(column):
                self._wrong(row, column, "expected a value, it is empty")
        index = read("sample_index", _index, "a whole number of at least 0")
        variant = word("variant")
        model = f"{word('model')}@{variant}" if variant else word("model")
        size = read("model_params_b", _positive, "a number above 0 (billions of parameters)")
        # Every column is read even where the row is lost already, so that one look tells all there is to mend.
        draw = Draw(
            stage=self._same(word("stage")),
            model=self._same(model),
            problem_id=self._same(word("problem_id")),
            sample_index=-1 if index is None else index,
            text=word("text") if "text" in self._at else None,
            answer=word("answer"),
            prompt=self._same(word("prompt")) if "prompt" in self._at else None,
            prefill_tokens=read("prefill_tokens", _index, "a whole number or nothing"),
            decode_tokens=read("decode_tokens", _index, "a whole number or nothing"),
            estimated=FLAGS[word("tokens_estimated")] if word("tokens_estimated") in FLAGS
            else read("tokens_estimated", _flag, "0, 1 or nothing"),
            score=read("score", _share, "a number in [0, 1] or nothing"),
            parent=read("parent_sample_index", _index, "a whole number or nothing"),
            parameters=None if size is None else size * 1e9,
            split=read("split", SPLITS.__getitem__, "search, train, dev, test or nothing") or "",
        )  # fmt: skip
        return None if index is None else draw

    def _same(self, name: str) -> str:
        """Return one object for equal names, which saves most of the memory."""
        return self._names.setdefault(name, name)

    def _fits(self, row: int, draw: Draw) -> None:
        """Check a row against those before it, and note what is checked when all are read."""
        self._held.setdefault(draw.problem_id, set()).add(draw.sample_index)
        if draw.parent is not None:
            self._parents.append((row, draw.problem_id, draw.parent))
        place = (draw.stage, draw.model, draw.problem_id, draw.prompt, draw.sample_index)
        first = self._first_row.setdefault(place, row)
        if first != row:
            where = f"draw {draw.sample_index} of problem {draw.problem_id!r} at stage {draw.stage!r} with model {draw.model!r}"
            self._wrong(row, "sample_index", f"{where} is there twice, first in row {first}")
        size, first = self._sizes.setdefault(draw.model, (draw.parameters, row))
        if size != draw.parameters:
            message = (
                f"model {draw.model!r} has {_billions(draw.parameters)}, but {_billions(size)} in row {first}"
            )
            self._wrong(row, "model_params_b", message)


def _billions(parameters: float | None) -> str:
    return "no parameters" if parameters is None else f"{parameters / 1e9:g} billion parameters"


def _index(text: str) -> int:
    index = whole(text)
    if index is None:
        raise ValueError(text)
    return index


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(text)
    return number


def _flag(text: str) -> bool | None:
    return FLAGS[text]


def cells(draws: Iterable[Draw]) -> list[Cell]:
    """Return what is recorded, by stage and model, in the order of the table."""
    groups: dict[tuple[str, str], list[Draw]] = {}
    for draw in draws:
        groups.setdefault((draw.stage, draw.model), []).append(draw)
    return [_cell(stage, model, group) for (stage, model), group in groups.items()]


def _cell(stage: str, model: str, draws: Sequence[Draw]) -> Cell:
    indices: dict[tuple[str, str | None], set[int]] = {}
    for draw in draws:
        indices.setdefault((draw.problem_id, draw.prompt), set()).add(draw.sample_index)
    scores = [draw.score for draw in draws if draw.score is not None]
    decode = [draw.decode_tokens for draw in draws if draw.decode_tokens is not None]
    prefill = [draw.prefill_tokens for draw in draws if draw.prefill_tokens is not None]
    return Cell(
        stage=stage,
        model=model,
        n_problems=len({problem for problem, _ in indices}),
        least=min(_gapless(held) for held in indices.values()),
        most=max(map(len, indices.values())),
        n_gaps=sum(max(held) + 1 - len(held) for held in indices.values()),
        n_draws=len(draws),
        n_answered=sum(bool(draw.answer or draw.text) for draw in draws),
        n_scored=len(scores),
        n_uncounted=sum(draw.prefill_tokens is None or draw.decode_tokens is None for draw in draws),
        n_estimated=sum(draw.estimated is True for draw in draws),
        mean_score=_mean(scores),
        mean_decode_tokens=_mean(decode),
        most_decode_tokens=max(decode, default=None),
        mean_prefill_tokens=_mean(prefill),
        parameters=draws[0].parameters,
    )


def _gapless(indices: set[int]) -> int:
    n = 0
    while n in indices:
        n += 1
    return n


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def chains(draws: Iterable[Draw]) -> dict[str, str]:
    """Return the stages whose draws go on from other draws, each with what that means for replaying them.

    Such draws are not independent of one another (turns of one conversation) or not of another stage's (each goes on
    from the draw of a number): a pipeline that draws them apart would be one that nobody ran.
    """
    linked: dict[str, list[Draw]] = {}
    for draw in draws:
        if draw.parent is not None:
            linked.setdefault(draw.stage, []).append(draw)
    return {stage: _chain_words(group) for stage, group in linked.items()}


def _chain_words(draws: Sequence[Draw]) -> str:
    n_turns = sum(draw.parent == draw.sample_index - 1 for draw in draws)
    if 2 * n_turns > len(draws):
        return (
            "its draws are turns, each going on from the one before: `sample_index` counts turns, not samples"
        )
    return "each of its draws goes on from one draw of an earlier stage, not from whatever that stage selects"

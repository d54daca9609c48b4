"""Recorded draws: a table of completions that were drawn once and are replayed, never invented.

The form of a table is in `recorded_table`. A draw that was not recorded is an error, never the nearest row; the same
draw twice in a table is an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import DataError, RecordedMissError
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample
from agenttts.models.recorded_table import open_rows, require_columns, whole, words
from agenttts.models.tokens import counter, prompt_text

__all__ = ["RecordedCell", "RecordedClient", "Recording", "load_recording"]

_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class RecordedCell:
    """What is recorded of one model at one stage."""

    stage: str
    model: str
    n_problems: int
    min_draws: int
    """Draws 0, 1, ... that every problem has without a gap."""
    max_draws: int


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    answer: str | None
    prefill_tokens: int | None
    decode_tokens: int | None
    score: float | None
    estimated: bool


_Place = tuple[str, str, str, str | None]
"""Stage, model, problem, and the prompt where the table has prompts."""


@dataclass(frozen=True)
class Recording:
    """A table in memory."""

    path: Path
    digest: str
    """First 16 hexadecimal digits of the SHA-256 of the file."""
    has_prompts: bool
    has_texts: bool
    _cells: Mapping[_Place, Mapping[int, _Row]]

    def cells(self) -> list[RecordedCell]:
        """Return what is recorded, by stage and model, in the order of the table."""
        draws: dict[tuple[str, str], list[int]] = {}
        problems: dict[tuple[str, str], set[str]] = {}
        for (stage, model, problem_id, _), rows in self._cells.items():
            draws.setdefault((stage, model), []).append(_gapless(rows))
            problems.setdefault((stage, model), set()).add(problem_id)
        return [
            RecordedCell(stage, model, len(problems[stage, model]), min(counts), max(counts))
            for (stage, model), counts in draws.items()
        ]

    def max_draws(self, stage: str, model: str) -> int:
        """Return how many draws every recorded problem of the stage has; 0 where the pair was not recorded."""
        model = self._resolve(stage, model)
        return min(
            (cell.min_draws for cell in self.cells() if (cell.stage, cell.model) == (stage, model)), default=0
        )

    def mean_tokens(
        self, stage: str, model: str, problem_ids: Collection[str]
    ) -> tuple[float | None, float | None]:
        """Return the mean tokens read and written over the draws of some problems; `None` where one has no count."""
        model = self._resolve(stage, model)
        rows = [
            row
            for place, cell in self._cells.items()
            if place[:2] == (stage, model) and place[2] in problem_ids
            for row in cell.values()
        ]
        return _mean([row.prefill_tokens for row in rows]), _mean([row.decode_tokens for row in rows])

    def rows(self, stage: str, model: str, problem_id: str, prompt: str, first: int, n: int) -> list[_Row]:
        """Return draws `first` to `first + n - 1`.

        Raises:
            RecordedMissError: Not all of them are recorded.
        """
        model = self._resolve(stage, model)
        cell = self._cells.get((stage, model, problem_id, prompt if self.has_prompts else None))
        if cell is None:
            raise RecordedMissError(self._why_missing(stage, model, problem_id))
        missing = [index for index in range(first, first + n) if index not in cell]
        if missing:
            raise RecordedMissError(
                f"{self.path.name}: draw {missing[0]} of problem {problem_id!r} at stage {stage!r} with model {model!r} "
                f"was not recorded; it holds {_ranges(cell)}"
            )
        return [cell[index] for index in range(first, first + n)]

    def _resolve(self, stage: str, model: str) -> str:
        """Return the name in the table: `model`, or `model@variant` where one variant alone was recorded."""
        known = self._models(stage)
        if model in known:
            return model
        variants = [name for name in known if name.rpartition("@")[0] == model]
        return variants[0] if len(variants) == 1 else model

    def _models(self, stage: str) -> list[str]:
        return list(dict.fromkeys(key[1] for key in self._cells if key[0] == stage))

    def _why_missing(self, stage: str, model: str, problem_id: str) -> str:
        stages = list(dict.fromkeys(key[0] for key in self._cells))
        if stage not in stages:
            return f"{self.path.name}: stage {stage!r} was not recorded; recorded are {_some(stages)}"
        models = self._models(stage)
        if model not in models:
            return f"{self.path.name}: model {model!r} was not recorded at stage {stage!r}; recorded are {_some(models)}"
        where = f"stage {stage!r} with model {model!r}"
        problems = list(dict.fromkeys(key[2] for key in self._cells if key[:2] == (stage, model)))
        if problem_id in problems:
            return f"{self.path.name}: problem {problem_id!r} at {where} was recorded with other prompts than this one"
        return (
            f"{self.path.name}: problem {problem_id!r} was not recorded at {where}; "
            f"{len(problems)} problems are, e.g. {_some(problems[:3])}"
        )


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known and len(known) == len(counts) else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def _gapless(rows: Mapping[int, Any]) -> int:
    n = 0
    while n in rows:
        n += 1
    return n


def _ranges(indices: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return "draws " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def load_recording(path: str | Path) -> Recording:
    """Read a table; the same file is read once per process, until it changes.

    Raises:
        DataError: Not a table of recorded draws; the message names the row and what is wrong.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _load(path: Path, _mtime_ns: int, _size: int) -> Recording:
    content = path.read_bytes()
    header, rows = open_rows(content, path)
    names = require_columns(header, path)
    read = _reader(names)
    cells: dict[_Place, dict[int, _Row]] = {}
    for number, values in enumerate(rows, start=2):
        if not values:
            continue  # a blank line
        try:
            if len(values) != len(names):
                raise ValueError(f"it has {len(values)} fields, the header {len(names)}")
            place, index, row = read(values)
        except ValueError as error:
            raise DataError(f"{path}: row {number}: {error}") from error
        cell = cells.setdefault(place, {})
        if index in cell:
            raise DataError(
                f"{path}: row {number}: draw {index} of problem {place[2]!r} at stage {place[0]!r} with model "
                f"{place[1]!r} is there twice"
            )
        cell[index] = row
    return Recording(
        path, hashlib.sha256(content).hexdigest()[:16], "prompt" in names, "text" in names, cells
    )


def _reader(names: Sequence[str]) -> Callable[[Sequence[Any]], tuple[_Place, int, _Row]]:
    """Return what reads a row; tables have hundreds of thousands, so columns are looked up once."""
    at = {name: names.index(name) for name in names}
    stage, model, problem = at["stage"], at["model"], at["problem_id"]
    answer, prompt, variant = at.get("answer"), at.get("prompt"), at.get("variant")
    text = at.get("text", answer)

    def read(values: Sequence[Any]) -> tuple[_Place, int, _Row]:
        def word(column: int | None) -> str:
            return "" if column is None else words(values[column])

        index = whole(word(at["sample_index"]))
        if index is None:
            raise ValueError(
                f"sample_index is {word(at['sample_index'])!r}, expected a whole number of at least 0"
            )
        score = word(at.get("score"))
        row = _Row(
            text=word(text),
            answer=word(answer) or None,
            prefill_tokens=whole(word(at.get("prefill_tokens"))),
            decode_tokens=whole(word(at.get("decode_tokens"))),
            score=float(score) if score else None,
            estimated=word(at.get("tokens_estimated")) in {"1", "1.0", "True", "true"},
        )
        suffix = word(variant)
        name = sys.intern(f"{word(model)}@{suffix}" if suffix else word(model))
        return (
            (sys.intern(word(stage)), name, word(problem), None if prompt is None else word(prompt)),
            index,
            row,
        )

    return read


class RecordedClient:
    """Samples of one card from a table."""

    def __init__(self, card: ModelCard) -> None:
        if card.table is None:
            raise DataError(f"model {card.name}: a card with source 'recorded' needs `table`")
        self._card = card
        self._path = Path(card.table)

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return recorded draws; see `ModelClient.draw`. To the meter it is one call, as it would be when drawn."""
        if n <= 0:
            return []
        recording = await asyncio.to_thread(load_recording, self._path)
        prompt = prompt_text(request.messages)
        rows = recording.rows(request.stage, self._card.served_as, request.problem_id, prompt, first, n)
        samples = [self._sample(request, first + i, row, recording) for i, row in enumerate(rows)]
        usage = CallUsage(
            max(sample.prefill_tokens for sample in samples),
            tuple(sample.decode_tokens for sample in samples),
            0,
            samples[0].counted_by,
        )
        if meter is not None:
            settle = await meter.before(usage)
            settle(Reply(tuple(samples), usage))
        return samples

    async def aclose(self) -> None:
        """Nothing is open."""

    def _sample(self, request: Request, index: int, row: _Row, recording: Recording) -> Sample:
        prefill, decode, counted_by = self._tokens(request, row, recording)
        details = {"recorded_answer": row.answer, "recorded_score": row.score}
        kept = {name: value for name, value in details.items() if value is not None}
        return Sample(index, row.text, "stop", prefill, decode, 0, counted_by, None, kept)

    def _tokens(self, request: Request, row: _Row, recording: Recording) -> tuple[int, int, str]:
        if row.prefill_tokens is not None and row.decode_tokens is not None:
            return (
                row.prefill_tokens,
                row.decode_tokens,
                "recorded, estimated" if row.estimated else "recorded",
            )
        if not recording.has_texts:
            raise DataError(
                f"{self._path}: draws of model {self._card.served_as} at stage {request.stage!r} have no token counts "
                "and no text to count; add the columns prefill_tokens and decode_tokens"
            )
        counted = counter(self._card.token_counter)
        prefill = counted(prompt_text(request.messages)) if row.prefill_tokens is None else row.prefill_tokens
        decode = counted(row.text) if row.decode_tokens is None else row.decode_tokens
        return prefill, decode, self._card.token_counter

"""From tables of recorded draws to a folder that can be searched: which draws, which problems, what was right.

Pure but for reading `import.yaml`; what is written, and where, is in `imported`. `import.yaml` beside a task file says
how the draws of that task are made of recorded ones, so that a user need not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agenttts.errors import InputError, TaskFileError
from agenttts.models.recorded_draws import Draw, DrawTable
from agenttts.task.reading import nearest, read_document
from agenttts.task.wording import validated

__all__ = [
    "NO_GOLD",
    "RECIPE_FILE",
    "Golds",
    "Recipe",
    "StageSource",
    "golds",
    "read_recipe",
    "split_of",
    "stage_source",
    "taken",
]

RECIPE_FILE = "import.yaml"
NO_GOLD = "(no recorded draw is right)"
"""Stands for the gold answer of a problem that no draw solves: every recorded answer differs from it, as it should."""


class StageSource(BaseModel):
    """Which recorded draws a stage takes, renumbered from 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(alias="from")
    """The recorded stage."""
    draws: str | None = None
    """`0-63`: first and last draw; `None`: all."""

    @field_validator("draws", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        text = str(value)
        if value is not None and (
            not re.fullmatch(r"\d+-\d+", text) or int(text.partition("-")[0]) > int(text.partition("-")[2])
        ):
            raise ValueError("expected the first and the last draw, e.g. 0-63")
        return value

    @property
    def bounds(self) -> tuple[int, int | None]:
        """First and last draw; `None`: to the end."""
        if self.draws is None:
            return 0, None
        first, _, last = self.draws.partition("-")
        return int(first), int(last)


class Recipe(BaseModel):
    """How a task's draws are made of recorded ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    stages: dict[str, StageSource] = {}
    """Stage of the task -> what it takes; empty: every recorded stage as it is."""
    splits: dict[str, Literal["search", "test"]] = {}
    """Beginning of a table's file name -> the split of its problems; it comes before the table's own column."""


def read_recipe(path: Path) -> Recipe:
    """Read an import.yaml; where there is none, everything is taken as it is.

    Raises:
        TaskFileError: It holds mistakes; all of them are told.
    """
    if not path.is_file():
        return Recipe()
    recipe, _, mistakes = validated(read_document(path), Recipe)
    if recipe is None or mistakes:
        raise TaskFileError(mistakes)
    return recipe


def stage_source(text: str) -> tuple[str, StageSource]:
    """Read an option such as `attempt=solve:0-63`.

    Raises:
        InputError: It has another form.
    """
    name, _, rest = text.partition("=")
    source, _, draws = rest.partition(":")
    match = re.fullmatch(r"(\d+)-(\d+)", draws)
    right = bool(name and source) and (not draws or (match and int(match[1]) <= int(match[2])))
    if not right or (":" in rest and not draws):
        raise InputError(
            f"--stage {text}: expected NEW=RECORDED or NEW=RECORDED:FIRST-LAST, e.g. attempt=solve:0-63"
        )
    return name, StageSource(source=source, draws=draws or None)


# --- which draws


def taken(tables: Sequence[DrawTable], recipe: Recipe) -> list[Draw]:
    """Return the draws of the wanted stages, renumbered from 0, each with its split.

    Raises:
        InputError: A stage that was not recorded, draws taken twice, or a draw that two tables hold.
    """
    draws = [
        draw._replace(split=split) if split and split != draw.split else draw
        for table in tables
        for split in [split_of(table, recipe)]
        for draw in table.draws
    ]
    if recipe.stages:
        _check_sources(recipe, draws)
        wanted = [(name, one.source, *one.bounds) for name, one in recipe.stages.items()]
        draws = [copy for draw in draws for copy in _copies(draw, wanted)]
    _check_apart(tables, draws)
    _check_splits(draws)
    return draws


def split_of(table: DrawTable, recipe: Recipe) -> str:
    """Return the split that the recipe gives a table, by the longest beginning of its name; empty: none."""
    fits = [start for start in recipe.splits if table.path.name.startswith(start)]
    return recipe.splits[max(fits, key=len)] if fits else ""


def _copies(draw: Draw, wanted: Sequence[tuple[str, str, int, int | None]]) -> Iterable[Draw]:
    for name, source, first, last in wanted:
        if (
            draw.stage == source
            and draw.sample_index >= first
            and (last is None or draw.sample_index <= last)
        ):
            yield draw._replace(stage=name, sample_index=draw.sample_index - first)


def _check_sources(recipe: Recipe, draws: Iterable[Draw]) -> None:
    known = dict.fromkeys(draw.stage for draw in draws)
    sources = list(recipe.stages.items())
    for at, (name, one) in enumerate(sources):
        if one.source not in known:
            hint = nearest(one.source, known, listed="Recorded stages")
            raise InputError(f"stage {name}: stage {one.source!r} was not recorded. {hint}")
        for other, two in sources[:at]:
            if one.source == two.source and _overlap(one, two):
                raise InputError(
                    f"stages {other} and {name} take the same draws of {one.source!r}: they would not be independent. "
                    f"Give each its own, e.g. {other}={one.source}:0-63 and {name}={one.source}:64-127"
                )


def _overlap(one: StageSource, two: StageSource) -> bool:
    (a, b), (c, d) = one.bounds, two.bounds
    return (d is None or a <= d) and (b is None or c <= b)


def _check_apart(tables: Sequence[DrawTable], draws: Iterable[Draw]) -> None:
    if len(tables) < 2:
        return  # within one table it is checked already
    seen: set[tuple[str, str, str, str | None, int]] = set()
    for draw in draws:
        place = (draw.stage, draw.model, draw.problem_id, draw.prompt, draw.sample_index)
        if place in seen:
            raise InputError(
                f"two tables hold draw {draw.sample_index} of problem {draw.problem_id!r} at stage {draw.stage!r} with model "
                f"{draw.model!r}; give each problem ids of its own, or import one of them"
            )
        seen.add(place)


def _check_splits(draws: Iterable[Draw]) -> None:
    splits: dict[str, str] = {}
    for draw in draws:
        if splits.setdefault(draw.problem_id, draw.split) != draw.split:
            raise InputError(
                f"problem {draw.problem_id!r} is in two splits; the test split would not be unseen. "
                "Mend the column `split`"
            )


# --- what was right


@dataclass(frozen=True)
class Golds:
    """Gold answers read off the scores."""

    answers: Mapping[str, tuple[str, ...]]
    """Problem -> the answers that scored 1, sorted; empty where no draw did."""
    why_not: str = ""
    """Why there are none to be read off; then a draw is scored by its recorded score alone."""


def golds(draws: Sequence[Draw]) -> Golds:
    """Read off which answers are right: those that score 1, where every answer always scores the same, 0 or 1."""
    scores: dict[tuple[str, str], float] = {}
    for draw in draws:
        if draw.score is None:
            continue
        if draw.score not in {0.0, 1.0}:
            return Golds({}, f"scores such as {draw.score:g} are neither 0 nor 1")
        if draw.score == 1 and not draw.answer:
            return Golds({}, "draws without an answer score 1")
        if scores.setdefault((draw.problem_id, draw.answer), draw.score) != draw.score:
            return Golds(
                {}, f"the answer {draw.answer[:40]!r} of problem {draw.problem_id!r} scores both 0 and 1"
            )
    if not scores:
        return Golds({}, "no draw has a score")
    right: dict[str, set[str]] = {draw.problem_id: set() for draw in draws}
    for (problem, answer), score in scores.items():
        if score == 1:
            right[problem].add(answer)
    return Golds({problem: tuple(sorted(answers)) for problem, answers in right.items()})

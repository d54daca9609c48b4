"""A reply that follows a JSON schema, filled with given allocations: for scripted planners.

The schema is walked by meaning: a property named like a stage is that stage's choice; `model`, `n_samples`, `level`,
`select` and `below` are parts of it; lists named after sketches and insights get theirs; every other list of objects
holds the allocations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenttts.allocators.mlcopilot import level_of_count
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, StageChoice

__all__ = ["Answers", "reply"]

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a reply should say."""

    space: Space
    ideas: Sequence[tuple[Allocation, float]]
    """Allocations to propose, with the score expected of each."""
    sketches: Mapping[tuple[str, str], tuple[float, float, float]]
    """(stage, model) -> score with one sample, plateau, half-way number of samples."""
    trials: tuple[int, ...]
    """Numbers of trials to cite."""
    reason: str
    """For the reason of every allocation."""
    lesson: str
    """For the text of an insight, and wherever else words are wanted."""


@dataclass(frozen=True)
class _Here:
    """Where in the reply we are."""

    answers: Answers
    root: Schema
    allocation: Allocation | None = None
    score: float = 0.5
    choice: StageChoice | None = None
    sketch: tuple[float, float, float] = (0.4, 0.7, 4.0)


def reply(schema: Schema, answers: Answers) -> str:
    """Return JSON text that follows the schema."""
    return json.dumps(_value("", schema, _Here(answers, schema)))


def _value(name: str, schema: Schema, here: _Here) -> Any:
    schema = _resolved(schema, here.root)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {key: _property(key, part, here) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        items = _items(name, schema.get("items", {}), here)
        return items[: schema.get("maxItems", len(items))]
    value = _scalar(name, kind, here)
    options = schema.get("enum")
    return value if options is None or value in options else options[0]


def _property(key: str, schema: Schema, here: _Here) -> Any:
    if here.allocation is not None and here.choice is None:
        mine = [choice for choice in here.allocation.choices if choice.stage == key]
        if mine:
            here = replace(here, choice=mine[0])
    return _value(key, schema, here)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow references and take the first alternative that is not null."""
    while True:
        if "$ref" in schema:
            target: Any = root
            for part in str(schema["$ref"]).lstrip("#/").split("/"):
                target = target[part]
            schema = target
        elif "anyOf" in schema:
            schema = next(part for part in schema["anyOf"] if part.get("type") != "null")
        elif isinstance(schema.get("type"), list):
            schema = {**schema, "type": next(kind for kind in schema["type"] if kind != "null")}
        else:
            return schema


def _items(name: str, schema: Schema, here: _Here) -> list[Any]:
    schema = _resolved(schema, here.root)
    answers = here.answers
    if schema.get("type") in ("integer", "number"):
        return list(answers.trials)
    if schema.get("type") == "string":
        return [answers.lesson]
    if here.allocation is not None:
        return [_value("", schema, replace(here, choice=choice)) for choice in here.allocation.choices]
    if "sketch" in name:
        return [
            _value("", schema, replace(here, choice=StageChoice(stage, model, 1, "first"), sketch=sketch))
            for (stage, model), sketch in answers.sketches.items()
        ]
    if "insight" in name:
        return [_value("", schema, here)]
    return [_value("", schema, replace(here, allocation=idea, score=score)) for idea, score in answers.ideas]


def _scalar(name: str, kind: Any, here: _Here) -> Any:
    if here.choice is not None and name in _PARTS:
        return _PARTS[name](here.choice, here)
    if "one" in name:
        return here.sketch[0]
    if "plateau" in name:
        return here.sketch[1]
    if "half" in name:
        return here.sketch[2]
    if kind == "integer":
        return here.answers.trials[0] if here.answers.trials else 0
    if kind == "number":
        return 0.9 if "confidence" in name else here.score
    if kind == "boolean":
        return True
    return here.answers.lesson if here.allocation is None else here.answers.reason


def _level(choice: StageChoice, here: _Here) -> str:
    stages = here.answers.space.stages
    counts = next([c.n_samples for c in choices] for choices in stages if choices[0].stage == choice.stage)
    return level_of_count(choice.n_samples, counts)


_PARTS: Mapping[str, Callable[[StageChoice, _Here], Any]] = {
    "below": lambda choice, here: choice.below,
    "level": _level,
    "model": lambda choice, here: choice.model,
    "n_samples": lambda choice, here: choice.n_samples,
    "select": lambda choice, here: choice.select,
    "stage": lambda choice, here: choice.stage,
}

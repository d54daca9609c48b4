"""What allocators that ask a planner share: what they tell it of the task, and how they read what it wants.

A reply is text that nobody vouches for. It is bounded, searched for JSON, and each allocation in it is read on its own:
what cannot be used is named in a note and left out. Shortfalls are filled at random, so that a round always has its
proposals.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from agenttts.allocators.base import AllocatorOptions, Briefing, Proposal
from agenttts.allocators.encoding import nearest_choice
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.allocators.structure import Structure
from agenttts.budgets.cost import Budget
from agenttts.errors import InputError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.task.options import threshold

__all__ = [
    "FILLED",
    "Reading",
    "Wish",
    "clean",
    "default_select",
    "filled",
    "json_values",
    "known_switches",
    "object_schema",
    "read_wishes",
    "reply_schema",
    "space_facts",
    "trial_facts",
]

MOST_CHARACTERS = 100_000
"""Of a reply; the rest is not read."""
MOST_ATTEMPTS = 500
"""Places of a reply at which JSON is looked for."""
MOST_NOTED = 120
"""Characters of a planner's text that a note repeats."""
MOST_NOTES = 12
"""Notes of one kind in one round."""
LIST_KEY = "allocations"
FILLED = "random, the planner had no further usable proposal"
"""Reason of a proposal that stands in for one of the planner's."""

Item: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """An allocation that a planner asked for; it may not fit the budget."""

    allocation: Allocation
    reason: str = ""
    expected: float | None = None
    """Score that the planner expects, in [0, 1], where it was asked for one."""


@dataclass(frozen=True)
class Reading:
    """What a reply holds."""

    wishes: tuple[Wish, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be used, and why."""


# --- what the planner is told ------------------------------------------------------------------------------------


def space_facts(briefing: Briefing, space: Space) -> dict[str, Any]:
    """Return what a prompt may say of task, stages and budget, as plain data.

    `task`, `description`, `metric`, `budget` (with unit) and `stages`: each with `name`, `purpose`, `needs`, `counts`,
    `selectors`, `below` (thresholds of a stage that runs on a condition or may be left out, else empty), `watches` (the
    stage on which the condition hangs, else empty), `measure` (what is measured of it: `agreement`, `verifier_score`,
    `answer`, or `score` of a test; else empty), `pooled` (whether its vote counts the samples of the watched stage too), `after` (settings that
    are asked before it, whose problems it does not get), `optional` (whether it may be left out) and `models`, each with
    `name`, `about`, `one` (cost of its fewest samples) and `more` (cost of its most).
    """
    told = {stage.name: stage for stage in briefing.stages}
    stages = []
    for choices in space.stages:
        name = choices[0].stage
        about = told[name].models if name in told else {}
        stages.append(
            {
                "name": name,
                "purpose": told[name].purpose if name in told else "",
                "needs": list(space.structure.needs.get(name, ())),
                "counts": sorted({c.n_samples for c in choices}),
                "selectors": list(dict.fromkeys(c.select for c in choices if c.n_samples > 1)),
                "below": _thresholds(choices),
                **_condition_facts(space.structure, name),
                "models": [_model_facts(space, choices, model, about) for model in _models(choices)],
            }
        )
    return {
        "task": briefing.task,
        "description": briefing.description,
        "metric": briefing.metric or "share of problems solved",
        "budget": str(space.budget),
        "stages": stages,
    }


def _condition_facts(structure: Structure, stage: str) -> dict[str, Any]:
    watches = structure.when.get(stage, "")
    return {
        "watches": watches,
        "measure": structure.measures.get(stage, "agreement") if watches else "",
        "pooled": stage in structure.pooled,
        "after": list(structure.routes.get(stage, ())),
        "optional": stage in structure.optional,
    }


def _models(choices: Sequence[StageChoice]) -> list[str]:
    return list(dict.fromkeys(choice.model for choice in choices))


def _model_facts(
    space: Space, choices: Sequence[StageChoice], model: str, about: Mapping[str, str]
) -> dict[str, Any]:
    # The sample count before the cost: of equal counts, the dearest is the one that runs on every problem.
    mine = sorted((c.n_samples, space.cost_of(c)) for c in choices if c.model == model)
    fewest = max(cost for n, cost in mine if n == mine[0][0])
    return {
        "name": model,
        "about": about.get(model, ""),
        "fewest": mine[0][0],
        "most": mine[-1][0],
        "one": _cost(space, fewest),
        "more": _cost(space, mine[-1][1]),
    }


def _cost(space: Space, amount: float) -> str:
    return str(Budget(float(f"{amount:.4g}"), space.budget.unit))


def trial_facts(
    archive: Archive, space: Space, trials: Iterable[Trial] | None = None
) -> list[dict[str, Any]]:
    """Return what a prompt may say of trials with a score, in the order of their numbers, as plain data.

    Each with `number`, `allocation` (as text), `score` (in [0, 1], three decimals), `cost` (with unit) and `remark`
    (`over the budget`, `stopped early`, or empty). Scores are `Archive.estimate`.
    """
    remarks = {"over_budget": "over the budget", "stopped": "stopped early"}
    known = archive.valid if trials is None else trials
    return [
        {
            "number": trial.number,
            "allocation": str(trial.allocation),
            "score": f"{archive.estimate(trial):.3f}",
            "cost": _cost(space, trial.charged),
            "remark": remarks.get(trial.status, ""),
        }
        for trial in sorted(known, key=lambda trial: trial.number)
    ]


def reply_schema(space: Space, *, levels: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON schema of a reply with allocations.

    Args:
        space: Where the stages, models and selectors come from.
        levels: Words for numbers of samples, asked for as `level` in place of `n_samples`.
    """
    stages = {}
    for choices in space.stages:
        fields: dict[str, Any] = {"model": {"type": "string", "enum": _models(choices)}}
        if levels:
            fields["level"] = {"type": "string", "enum": list(levels)}
        else:
            fields["n_samples"] = {"type": "integer", "enum": sorted({c.n_samples for c in choices})}
        fields["select"] = {"type": "string", "enum": sorted({c.select for c in choices})}
        if thresholds := _thresholds(choices):
            fields["below"] = {"type": "number", "enum": thresholds}
        stages[choices[0].stage] = object_schema(fields)
    item = object_schema({"stages": object_schema(stages), "reason": {"type": "string"}})
    return object_schema({LIST_KEY: {"type": "array", "items": item}})


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object that has all of these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


# --- what the planner says ---------------------------------------------------------------------------------------


def clean(text: str, most: int) -> str:
    """Return text without control characters (line breaks stay), cut at `most` characters."""
    kept = "".join(c for c in text[: 2 * most] if c.isprintable() or c == "\n").strip()
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def json_values(text: str) -> Iterator[Any]:
    """Yield the JSON objects and arrays in a text, outermost first; where one is cut off, those inside it."""
    text = text[:MOST_CHARACTERS]
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(MOST_ATTEMPTS):
        starts = [place for place in (text.find("{", at), text.find("[", at)) if place >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
        else:
            yield value


def read_wishes(text: str, space: Space, *, levels: Sequence[str] = ()) -> Reading:
    """Read the allocations of a reply, in their order.

    A number of samples that the stage does not offer becomes the nearest one below it, else above it. A missing or
    unknown selector becomes the stage's first (fusion where it is offered).

    Args:
        text: The reply.
        space: Where stages and models must come from.
        levels: See `reply_schema`.
    """
    wishes: dict[Allocation, Wish] = {}
    notes = []
    for item in _items(json_values(text)):
        try:
            allocation = _allocation(item, space, levels)
        except ValueError as problem:
            notes.append(f"left out a proposal: {clean(str(problem), MOST_NOTED)}")
            continue
        reason = item.get("reason")
        said = clean(reason, 400) if isinstance(reason, str) else ""
        wishes.setdefault(allocation, Wish(allocation, said, _expected(item.get("expected_score"))))
    if not wishes and not notes:
        notes.append(f"the reply holds no allocation: {clean(text, MOST_NOTED)!r}")
    return Reading(tuple(wishes.values()), _few(notes))


def _expected(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if known else None


def _few(notes: Iterable[str]) -> tuple[str, ...]:
    """Return different notes, the first of many: a reply of a thousand mistakes is not worth a thousand lines."""
    different = list(dict.fromkeys(notes))
    rest = len(different) - MOST_NOTES
    return tuple(different if rest <= 0 else [*different[:MOST_NOTES], f"and {rest} more such notes"])


def _items(values: Iterable[Any]) -> Iterator[Item]:
    for value in values:
        if isinstance(value, list):
            yield from _items(value)
        elif isinstance(value, Mapping):
            if isinstance(value.get(LIST_KEY), list):
                yield from _items(value[LIST_KEY])
            elif "stages" in value:
                yield value


def _allocation(item: Item, space: Space, levels: Sequence[str]) -> Allocation:
    stages = item["stages"]
    if not isinstance(stages, Mapping):
        raise ValueError("`stages` is not an object")
    picks = []
    for choices in space.stages:
        said = stages.get(choices[0].stage)
        if not isinstance(said, Mapping):
            raise ValueError(f"nothing for stage {choices[0].stage}")
        picks.append(_choice(said, choices, space, levels))
    return Allocation(tuple(picks)).canonical()


def _choice(said: Item, choices: Sequence[StageChoice], space: Space, levels: Sequence[str]) -> StageChoice:
    stage = choices[0].stage
    model = said.get("model")
    same = [choice for choice in choices if choice.model == model]
    if not isinstance(model, str) or not same:
        raise ValueError(f"stage {stage} has no model {model!r}")
    n = _level(said.get("level"), same, levels) if levels else _whole(said.get("n_samples"), stage)
    select = said.get("select")
    if select not in [choice.select for choice in same if choice.n_samples > 1]:
        select = default_select(space, same)
    return nearest_choice(
        choices, StageChoice(stage, model, n, str(select), _below(said.get("below"), choices))
    )


def _thresholds(choices: Sequence[StageChoice]) -> list[float]:
    """Return the thresholds on offer, rising; none where a stage always runs.

    A stage that may only be left out is offered with 0, never, and 1.01, always.
    """
    found = sorted({threshold(choice.below) for choice in choices})
    return [] if all(choice.below is None for choice in choices) else found


def _below(value: Any, choices: Sequence[StageChoice]) -> float | None:
    """Return the threshold of a stage that runs on a condition; the highest where none is given."""
    thresholds = _thresholds(choices)
    if not thresholds:
        return None
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 <= value <= max(thresholds) else max(thresholds)


def _whole(value: Any, stage: str) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"stage {stage}: n_samples is {value!r}, expected a whole number of at least 1")
    return value


def _level(value: Any, same: Sequence[StageChoice], levels: Sequence[str]) -> int:
    """Return the number of samples in the middle of a level's share of the counts."""
    if value not in levels:
        raise ValueError(f"stage {same[0].stage}: level is {value!r}, expected one of {', '.join(levels)}")
    counts = sorted({choice.n_samples for choice in same})
    middle = (levels.index(value) + 0.5) / len(levels) * len(counts)
    return counts[min(int(middle), len(counts) - 1)]


def default_select(space: Space, choices: Iterable[StageChoice]) -> str:
    """Return the label of the way to use several samples: fusion where offered, else the first one offered."""
    several = list({choice.select: choice for choice in choices if choice.n_samples > 1}.values())
    fusions = [choice.select for choice in several if space.structure.kind(choice) == "fusion"]
    return next(iter([*fusions, *(choice.select for choice in several)]), "first")


# --- from wishes to a round --------------------------------------------------------------------------------------


def filled(
    wishes: Iterable[Wish],
    archive: Archive,
    space: Space,
    k: int,
    rng: np.random.Generator,
    *,
    origin: str,
    repair: bool = True,
) -> tuple[list[Proposal], list[str]]:
    """Return a round's proposals and notes: the wishes that can be had, in their order, filled up at random.

    Args:
        wishes: What was asked for.
        archive: What is known; tried allocations are left out.
        space: What fits.
        k: How many.
        rng: For the filling.
        origin: Name of the allocator.
        repair: Shrink what is over the budget; else it is left out.
    """
    found: dict[Allocation, Proposal] = {}
    dear, known = [], []
    for wish in wishes:
        allocation, change = wish.allocation, ""
        if not space.feasible(allocation):
            if not repair:
                dear.append(allocation)
                continue
            allocation, change = space.repair(allocation)
        if allocation in archive.tried or allocation in found:
            known.append(allocation)
        elif len(found) < k:
            found[allocation] = Proposal(allocation, origin, wish.reason or "proposed by the planner", change)
    notes = [
        *_few(f"left out a proposal over the budget: {allocation}" for allocation in dear),
        *_few(f"left out a proposal that is known: {allocation}" for allocation in known),
    ]
    return _topped_up(found, archive.tried, space, k, rng, origin, notes)


def _topped_up(
    found: dict[Allocation, Proposal],
    tried: Collection[Allocation],
    space: Space,
    k: int,
    rng: np.random.Generator,
    origin: str,
    notes: list[str],
) -> tuple[list[Proposal], list[str]]:
    drawn = untried(space, k - len(found), rng, {*tried, *found})
    if drawn:
        notes.append(f"{len(drawn)} of {len(found) + len(drawn)} proposals drawn at random")
    for allocation in drawn:
        found[allocation] = Proposal(allocation, origin, FILLED)
    return list(found.values()), notes


def known_switches(options: AllocatorOptions, allocator: str, names: Sequence[str] = ()) -> dict[str, bool]:
    """Return the allocator's switches, each on or off.

    Raises:
        InputError: A switch is unknown, or its value is neither true nor false.
    """
    for name, value in options.switches.items():
        if name not in names:
            there = f"there are {', '.join(names)}" if names else "it has none"
            raise InputError(f"allocator {allocator!r}: switch {name!r} is unknown; {there}")
        if not isinstance(value, bool):
            raise InputError(f"allocator {allocator!r}: switch {name!r} is {value!r}; expected true or false")
    return {name: bool(options.switches.get(name, False)) for name in names}

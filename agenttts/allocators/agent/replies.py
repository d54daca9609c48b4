"""What a planner's reply says: insights, curve sketches and proposals. Nothing in it is believed unread.

Each part is read on its own: what is malformed, out of range or against the trials is left out and named in a note, and
the rest counts. Everything is bounded; text loses its control characters.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from agenttts.allocators.base import Insight, Proposal, Sketch
from agenttts.allocators.conversing import Wish, clean, json_values, object_schema, read_wishes, reply_schema
from agenttts.allocators.evidence import Evidence
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["Advice", "agent_schema", "read_advice", "usable"]

MOST_INSIGHTS = 8
MOST_SKETCHES = 100
MOST_WISHES = 50
MOST_NOTES = 12
MOST_CITED = 20
MOST_TEXT = 300
"""Characters of an insight or a reason."""
MOST_HALF_WAY = 1e4
LEAST_HALF_WAY = 1.01
TOLERANCE = 0.15
"""By how much a sketch may differ from what was measured of a single sample, beyond the interval of it."""


@dataclass(frozen=True)
class Advice:
    """What a reply holds."""

    insights: tuple[Insight, ...] = ()
    sketches: tuple[Sketch, ...] = ()
    wishes: tuple[Wish, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


def agent_schema(space: Space) -> dict[str, Any]:
    """Return the JSON schema of a reply."""
    proposals = reply_schema(space)["properties"]["allocations"]
    item = proposals["items"]
    item["properties"]["expected_score"] = {"type": "number"}
    item["required"] = list(item["properties"])
    stages = [choices[0].stage for choices in space.stages]
    models = list(dict.fromkeys(choice.model for choices in space.stages for choice in choices))
    number = {"type": "number"}
    return object_schema(
        {
            "insights": _list(
                {"text": {"type": "string"}, "trials": {"type": "array", "items": {"type": "integer"}}}
                | {"confidence": number}
            ),
            "sketches": _list(
                {"stage": {"type": "string", "enum": stages}, "model": {"type": "string", "enum": models}}
                | {"one_sample": number, "plateau": number, "half_way": number}
            ),
            "allocations": proposals,
        }
    )


def _list(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": object_schema(properties)}


def read_advice(text: str, archive: Archive, space: Space, evidence: Evidence) -> Advice:
    """Read a reply; anything may stand in it.

    Args:
        text: The reply.
        archive: Which trials there are to cite.
        space: Which stages and models there are.
        evidence: What sketches must not contradict.
    """
    objects = [value for value in json_values(text) if isinstance(value, Mapping)]
    insights, about_insights = _insights(_entries(objects, "insights"), archive)
    sketches, about_sketches = _sketches(_entries(objects, "sketches"), space, evidence)
    reading = read_wishes(text, space)
    return Advice(
        tuple(insights), tuple(sketches), reading.wishes, (*about_insights, *about_sketches, *reading.notes)
    )


def _entries(objects: Iterable[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """Return the objects in the lists of that name, of all top-level objects."""
    lists = [value[key] for value in objects if isinstance(value.get(key), list)]
    return [entry for entries in lists for entry in entries if isinstance(entry, Mapping)]


# --- insights ----------------------------------------------------------------------------------------------------


def _insights(entries: Sequence[Mapping[str, Any]], archive: Archive) -> tuple[list[Insight], list[str]]:
    known = {trial.number for trial in archive.trials}
    said_before = {insight.text for insight in archive.insights}
    found: dict[str, Insight] = {}
    notes = []
    for entry in entries[:MOST_INSIGHTS]:
        said = entry.get("text")
        text = clean(said, MOST_TEXT).replace("\n", " ") if isinstance(said, str) else ""
        if not text:
            notes.append("left out an insight without text")
            continue
        cited, unknown = _cited(entry.get("trials"), known)
        if unknown:
            notes.append(f"an insight cites {unknown} trial(s) that do not exist; those numbers were dropped")
        if text in said_before:
            continue
        found.setdefault(text, Insight(text, cited, _confidence(entry.get("confidence"))))
    if len(entries) > MOST_INSIGHTS:
        notes.append(f"left out {len(entries) - MOST_INSIGHTS} insights beyond the first {MOST_INSIGHTS}")
    return list(found.values()), list(dict.fromkeys(notes))


def _cited(value: Any, known: Collection[int]) -> tuple[tuple[int, ...], int]:
    """Return the numbers of trials that exist, and how many others were cited."""
    numbers = value if isinstance(value, list) else []
    whole = [n for n in numbers if isinstance(n, int) and not isinstance(n, bool)]
    cited = tuple(dict.fromkeys(n for n in whole if n in known))[:MOST_CITED]
    return cited, len([n for n in numbers if n not in known])


def _confidence(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else min(1.0, max(0.0, number))


def _number(value: Any) -> float | None:
    """Return a finite number, else `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


# --- sketches ----------------------------------------------------------------------------------------------------


def _sketches(
    entries: Sequence[Mapping[str, Any]], space: Space, evidence: Evidence
) -> tuple[list[Sketch], list[str]]:
    places = {(choice.stage, choice.model) for choices in space.stages for choice in choices}
    found: dict[tuple[str, str], Sketch] = {}
    notes = []
    for entry in entries[:MOST_SKETCHES]:
        sketch = _sketch(entry)
        where = clean(f"{entry.get('stage')}, {entry.get('model')}", 80)
        if sketch is None:
            notes.append(f"left out a sketch ({where}): its numbers are missing or out of range")
        elif (sketch.stage, sketch.model) not in places:
            notes.append(f"left out a sketch ({where}): there is no such stage and model")
        elif _contradicted(sketch, evidence):
            notes.append(f"left out a sketch ({where}): the trials contradict its score with one sample")
        else:
            found[sketch.stage, sketch.model] = sketch
    return list(found.values()), list(dict.fromkeys(notes))[:MOST_NOTES]


def _sketch(entry: Mapping[str, Any]) -> Sketch | None:
    stage, model = entry.get("stage"), entry.get("model")
    one, plateau, half_way = (_number(entry.get(key)) for key in ("one_sample", "plateau", "half_way"))
    if not isinstance(stage, str) or not isinstance(model, str):
        return None
    if one is None or plateau is None or half_way is None:
        return None
    if not (0 <= one <= 1 and 0 <= plateau <= 1 and 0 < half_way <= MOST_HALF_WAY):
        return None
    return Sketch(stage, model, one, plateau, max(half_way, LEAST_HALF_WAY))


def _contradicted(sketch: Sketch, evidence: Evidence) -> bool:
    for single in evidence.singles:
        if (single.stage, single.model) == (sketch.stage, sketch.model):
            low, high = single.score.low - TOLERANCE, single.score.high + TOLERANCE
            return not low <= sketch.one_sample <= high
    return False


# --- proposals ---------------------------------------------------------------------------------------------------


def usable(
    wishes: Iterable[Wish], archive: Archive, space: Space, *, origin: str
) -> tuple[list[Proposal], list[str]]:
    """Return the proposals that may be tried, in their order, and notes on what was changed or left out."""
    found: dict[Allocation, Proposal] = {}
    notes = []
    for wish in islice(wishes, MOST_WISHES):
        allocation, change = space.repair(wish.allocation)
        if allocation in archive.tried or allocation in found:
            notes.append(f"left out a proposal that is known: {allocation}")
            continue
        if change:
            notes.append(f"shrunk to fit the budget: {wish.allocation} ({change})")
        expected = "" if wish.expected is None else f" (expects {wish.expected:.3f})"
        reason = (clean(wish.reason, MOST_TEXT).replace("\n", " ") or "proposed by the planner") + expected
        found[allocation] = Proposal(allocation, origin, reason, change)
    return list(found.values()), list(dict.fromkeys(notes))[:MOST_NOTES]

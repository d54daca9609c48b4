"""Where figures come from, in words: no table, plot or sentence may blur tiny, recorded, simulated and live models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["provenance"]

CAUTIONS = {
    "tiny": "The tiny family has 30 thousand to a million parameters: its figures say nothing about large models.",
    "simulated": "A simulation says nothing about real models.",
}


def provenance(task: Task, models: Iterable[str]) -> str:
    """Return a sentence that names what the figures of these models come from, with the caution that it deserves."""
    from agenttts.pipeline.plan import figures_from

    names = sorted(set(models))
    families = {name.partition("/")[0] for name in names}
    where = sorted({task.cards[name].base_url or "" for name in names} - {""})
    served = f", served by {' and '.join(where)}" if where else ""
    cautions = [text for family, text in CAUTIONS.items() if family in families]
    return " ".join([f"Figures come from {figures_from(task, names)}{served}.", *cautions])

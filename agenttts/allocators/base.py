"""The seam of everything that proposes allocations, and the registry of names.

An allocator has no state of its own: what it knows is in the archive, so a study can stop, resume and accept results
in any order (design as in treequest's ask/tell).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from agenttts.errors import InputError
from agenttts.pipeline.base import Allocation

if TYPE_CHECKING:
    import numpy as np

    from agenttts.allocators.space import Space
    from agenttts.study.archive import Archive

__all__ = ["ALLOCATORS", "Allocator", "Proposal", "make_allocator"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An allocation that is worth a trial."""

    allocation: Allocation
    origin: str
    """Name of the allocator."""
    reason: str = ""
    """Why, for people: e.g. the score that was predicted."""
    repaired: str = ""
    """What was changed to make it fit the budget; empty where nothing was."""


@runtime_checkable
class Allocator(Protocol):
    """Proposes what to evaluate next."""

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """Return at most `k` different, feasible, canonical allocations that are not in `archive.tried`.

        Fewer than `k` only where the feasible space holds no more. The result depends on the arguments alone; `rng`
        is a fresh generator for every round.
        """
        ...


ALLOCATORS: Mapping[str, str] = {
    "curves": "agenttts.allocators.curves:Curves",
    "grid": "agenttts.allocators.grid:Grid",
    "random": "agenttts.allocators.random:Random",
    "tpe": "agenttts.allocators.tpe:Tpe",
}
"""Name -> `module:class`, imported on first use."""


def make_allocator(name: str) -> Allocator:
    """Return the allocator of that name.

    Raises:
        InputError: There is none.
    """
    place = ALLOCATORS.get(name)
    if place is None:
        near = difflib.get_close_matches(name, ALLOCATORS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise InputError(f"allocator {name!r} is unknown; there are {', '.join(sorted(ALLOCATORS))}.{hint}")
    module, _, attribute = place.partition(":")
    return cast("Allocator", getattr(importlib.import_module(module), attribute)())

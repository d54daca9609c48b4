"""Scripted planners for the allocators that ask an LLM. They are no LLM: figures with them say so."""

from __future__ import annotations

from agenttts.allocators.base import ALLOCATORS
from agenttts.testing.planners import make_planner
from agenttts.testing.surfaces import Planner
from grounds.base import Ground

SCRIPTED = tuple(
    name for name in ("agent", "agenttts", "llm_zs", "mlcopilot", "agenthpo") if name in ALLOCATORS
)
"""Allocators that ask a planner."""


def scripted_planner(allocator: str, ground: Ground, seed: int, kind: str = "sensible") -> Planner | None:
    """Return the planner of an allocator that asks one; `None` for the others."""
    return make_planner(kind, ground.space, seed) if allocator in SCRIPTED else None

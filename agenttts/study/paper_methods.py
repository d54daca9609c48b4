"""The six methods that the paper compares, under its names and ours, and how it runs them. Pure.

Source: Shi et al. 2025, arXiv:2508.00890, section 6; batches of 10 trials are those of the authors' code (FairyFali/
AgentTTS_Code, commit 3f0c2df). Its `BO` is not described and no code of it is public. Here it is `gp`: what the
literature that it compares with calls Bayesian optimisation is a Gaussian process with expected improvement. The other
candidate, `tpe`, can be asked for by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.errors import InputError
from agenttts.study.contenders import contender_name, read_contender

__all__ = [
    "BATCH",
    "N_SEARCH",
    "N_SEEDS",
    "N_TEST",
    "N_TRIALS",
    "OURS",
    "PAPER_METHODS",
    "Method",
    "read_methods",
]

N_SEARCH, N_TEST, N_TRIALS, BATCH, N_SEEDS = 50, 500, 50, 10, 3
"""Of the protocol; the paper has one seed, and we ask for three at least."""


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    label: str
    """As the paper writes it."""
    contender: str
    """Name of the allocator, with its switches (see `contenders`)."""

    @property
    def asks(self) -> bool:
        """Whether it asks a planner.

        Raises:
            InputError: There is no such allocator.
        """
        from agenttts.allocators.base import ConversingAllocator, make_allocator

        return isinstance(make_allocator(read_contender(self.contender)[0]), ConversingAllocator)


OURS = "agenttts"
"""Contender that the others are compared with: the paper's own method."""
PAPER_METHODS = (
    Method("Random", "random"),
    Method("BO (gp)", "gp"),
    Method("LLM_ZS", "llm_zs"),
    Method("MLCopilot", "mlcopilot"),
    Method("AgentHPO", "agenthpo"),
    Method("AgentTTS", OURS),
)
_ALIASES = {"bo": "gp"}


def read_methods(names: Sequence[str] | None) -> tuple[Method, ...]:
    """Return the methods of these names, in their order; `None`: the paper's six.

    Names are those of allocators, and `bo`; case does not matter for the paper's.

    Raises:
        InputError: None is named, one twice, or one that there is not.
    """
    if names is None:
        return PAPER_METHODS
    methods = tuple(_method(name) for name in names)
    if not methods or len(set(methods)) < len(methods):
        raise InputError(f"methods: expected one or more different names, got {', '.join(names) or 'none'}")
    return methods


def _method(name: str) -> Method:
    known = {method.contender: method for method in PAPER_METHODS}
    plain = _ALIASES.get(name.strip().lower(), name.strip().lower())
    if plain in known:
        return known[plain]
    contender = contender_name(*read_contender(name))
    method = Method(contender, contender)
    _ = method.asks  # an unknown name is told before anything is read
    return method

"""The seams of everything that proposes allocations, and the registry of names.

An allocator has no state of its own: what it knows is in the archive, so a study can stop, resume and accept results
in any order (design as in treequest's ask/tell). One that asks an LLM is a generator: it yields what it asks and
receives the answer, and the study does the I/O; its memory goes into the archive with the round.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from agenttts.errors import InputError
from agenttts.models.base import Message
from agenttts.pipeline.base import Allocation

if TYPE_CHECKING:
    import numpy as np

    from agenttts.allocators.space import Space
    from agenttts.study.archive import Archive

__all__ = [
    "ALLOCATORS",
    "Allocator",
    "AllocatorOptions",
    "Briefing",
    "Conversation",
    "ConversingAllocator",
    "Insight",
    "PlannerAnswer",
    "PlannerCall",
    "Proposal",
    "Sketch",
    "StageBriefing",
    "Turn",
    "make_allocator",
]


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


@dataclass(frozen=True, slots=True)
class Insight:
    """Something a planner says it has learnt."""

    text: str
    trials: tuple[int, ...] = ()
    """Numbers of the trials it rests on; only trials that exist."""
    confidence: float | None = None
    """In [0, 1], as the planner states it."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """How a planner believes the score of a stage's answer to rise with samples of one model."""

    stage: str
    model: str
    one_sample: float
    """Score with one sample, in [0, 1]."""
    plateau: float
    """Score that ever more samples approach, in [0, 1]."""
    half_way: float
    """Number of samples, above 1, at which half of the rise from `one_sample` to `plateau` is done."""


@dataclass(frozen=True, slots=True)
class PlannerCall:
    """What an allocator asks the planner model."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    """JSON schema that the reply is asked to follow; it may not. `None`: free text."""
    max_tokens: int = 4096


@dataclass(frozen=True, slots=True)
class PlannerAnswer:
    """What came back."""

    text: str | None
    """As the model wrote it, never trusted; `None` where no reply came."""
    problem: str = ""
    """Why there is none, in words: no reply in time, refused, budget of the planner used up."""
    prefill_tokens: int = 0
    """What the call read and wrote, whether or not it was paid for now."""
    decode_tokens: int = 0
    asked: bool = True
    """Whether a request was made, or found in the store; a budget may refuse it."""


@dataclass(frozen=True)
class Turn:
    """What came of one conversation: a round's proposals, and what should be remembered."""

    proposals: list[Proposal]
    insights: tuple[Insight, ...] = ()
    sketches: tuple[Sketch, ...] = ()
    notes: tuple[str, ...] = ()
    """What went wrong or was changed, for the log: each malformed reply and each repair is named."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """Plain data for later rounds of the same allocator (guidelines, experience); see `Archive.memory`."""


Conversation: TypeAlias = Generator[PlannerCall, PlannerAnswer, Turn]


@dataclass(frozen=True, slots=True)
class StageBriefing:
    """What a planner is told about a stage."""

    name: str
    purpose: str
    """The stage's description or the beginning of its prompt."""
    models: Mapping[str, str]
    """Model -> what is known of it, e.g. `7B parameters, 0.30 USD per million tokens`."""
    prefill_tokens: float | None = None
    decode_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a planner is told about the task. Never holds anything of the test split."""

    task: str
    description: str = ""
    metric: str = ""
    stages: tuple[StageBriefing, ...] = ()


@dataclass(frozen=True)
class AllocatorOptions:
    """What the makers of allocators may use; each takes what it needs."""

    briefing: Briefing = field(default_factory=lambda: Briefing("task"))
    prompts: str | None = None
    """Folder with prompt files that replace those of the package; `None`: the package's."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Options of one allocator by name, e.g. the ablations of `agenttts`."""


@runtime_checkable
class Allocator(Protocol):
    """Proposes what to evaluate next."""

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """Return at most `k` different, feasible, canonical allocations that are not in `archive.tried`.

        Fewer than `k` only where the feasible space holds no more. The result depends on the arguments alone; `rng`
        is a fresh generator for every round.
        """
        ...


@runtime_checkable
class ConversingAllocator(Protocol):
    """Proposes after asking an LLM."""

    def converse(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> Conversation:
        """Yield calls, receive answers, return the round's turn; its proposals are as `Allocator.propose` promises.

        Whatever the answers hold, the turn has `k` proposals where the feasible space holds so many: a planner that
        fails costs one round's advice, never the run. Deterministic given the arguments and the answers.
        """
        ...


ALLOCATORS: Mapping[str, str] = {
    "agent": "agenttts.allocators.agent:Agent",
    "agenthpo": "agenttts.allocators.agenthpo:AgentHpo",
    "agenttts": "agenttts.allocators.agenttts:AgentTts",
    "cmaes": "agenttts.allocators.cmaes:CmaEs",
    "curves": "agenttts.allocators.curves:Curves",
    "gp": "agenttts.allocators.gp:Gp",
    "grid": "agenttts.allocators.grid:Grid",
    "llm_zs": "agenttts.allocators.llm_zs:LlmZs",
    "mlcopilot": "agenttts.allocators.mlcopilot:MlCopilot",
    "nsga2": "agenttts.allocators.nsga2:Nsga2",
    "random": "agenttts.allocators.random:Random",
    "tpe": "agenttts.allocators.tpe:Tpe",
}
"""Name -> `module:class`, imported on first use. A class with a method `build(options)` is made by it."""


def make_allocator(name: str, options: AllocatorOptions | None = None) -> Allocator | ConversingAllocator:
    """Return the allocator of that name; `module:Class` names one that does not come with the package.

    Its module is imported, so it runs: who names one has decided to trust it.

    Raises:
        InputError: There is none, or it does not know a switch.
    """
    kind = _own(name) if ":" in name else _registered(name)
    options = options or AllocatorOptions()
    if hasattr(kind, "build"):
        return cast("Allocator | ConversingAllocator", kind.build(options))
    if options.switches:
        raise InputError(f"allocator {name!r} has no switches; given: {', '.join(options.switches)}")
    return cast("Allocator | ConversingAllocator", kind())


def _registered(name: str) -> Any:
    place = ALLOCATORS.get(name)
    if place is None:
        near = difflib.get_close_matches(name, ALLOCATORS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise InputError(
            f"allocator {name!r} is unknown; there are {', '.join(sorted(ALLOCATORS))}, and `module:Class` for one of "
            f"your own.{hint}"
        )
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _own(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's code may raise anything
        raise InputError(
            f"allocator {name!r} cannot be imported: {type(error).__name__}: {error}. Expected `module:Class`, of a "
            "module that Python finds: installed, or in a folder that PYTHONPATH names"
        ) from error
    if not any(callable(getattr(kind, method, None)) for method in ("propose", "converse")):
        raise InputError(f"allocator {name!r}: expected a class with a method `propose` or `converse`")
    return kind

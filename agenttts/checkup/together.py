"""All checks, many at once, each with a short deadline of its own, so that one that hangs holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.checkup import cards as card_checks
from agenttts.checkup import machine
from agenttts.checkup.base import Finding, Verdict, merged
from agenttts.checkup.endpoints import Place, look_at, only_asked, places_of
from agenttts.checkup.trials import Needs, try_model

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["Subject", "look_around"]

ABOUT_ORDER = ("machine", "store", "task", "cards", "keys", "endpoints")
SLOWEST_LOCAL_S = 30.0
"""Of checks on this computer: starting Python in the sandbox takes its time on a busy one."""
GENEROSITY = 6
"""A completion may take so many times as long as a list of models."""


@dataclass(frozen=True)
class Subject:
    """What the checks are for; without a task they are for whatever comes."""

    task: Task | None = None
    unit: Unit = Unit.GFLOPS
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    """Cards that are asked."""
    endpoint: str | None = None
    """An address to look at although no card is served there."""

    @property
    def needs_sandbox(self) -> bool:
        """Whether a verifier of the task runs programs of models."""
        from agenttts.task.naming import verifier_blocks

        if self.task is None:
            return False
        kinds = {block.kind for _, block in verifier_blocks(self.task.file)}
        return bool(kinds & {"code", "executable", "gen_prm"})

    @property
    def needs(self) -> Needs:
        """What is asked of endpoints."""
        from agenttts.task.naming import verifier_blocks

        if self.task is None:
            return Needs()
        file = self.task.file
        drawn = any(stage.sampling.logprobs for stage in file.stages.values())
        return Needs(logprobs=drawn or any(block.logprobs for _, block in verifier_blocks(file)))


async def look_around(
    subject: Subject, *, store_url: str, runs: Path, spend: bool, timeout_s: float
) -> list[Finding]:
    """Return what all checks found, by group.

    Args:
        subject: What they are for.
        store_url: Where draws are kept.
        runs: Folder of the runs.
        spend: Ask every model for a few tiny completions, which costs what the provider asks.
        timeout_s: Deadline of one request.
    """
    cards, unit = subject.cards, subject.unit
    today = datetime.now(UTC).date()
    local: list[Callable[[], Iterable[Finding]]] = [
        machine.python,
        machine.packages,
        machine.extras,
        lambda: machine.sandbox(needed=subject.needs_sandbox),
        machine.clock,
        lambda: machine.disk(runs),
        lambda: machine.store(store_url),
        card_checks.catalogue,
        lambda: card_checks.figures(_charged(subject), unit, today),
        (lambda: card_checks.keys_of(cards)) if cards else card_checks.usual_keys,
    ]
    # One after the other: what is loaded for checks of this computer would count as time that an endpoint took.
    found = await _all(map(_in_thread, local))
    places = places_of(cards)
    if subject.endpoint is not None and not places:
        places = [Place(subject.endpoint.rstrip("/"), ())]
    found += await _all(_in_time(look_at(place, timeout_s), place.shown, 2 * timeout_s) for place in places)
    if spend:
        longest = GENEROSITY * timeout_s
        asked = list(_writing(cards))
        _load_clients(asked)
        found += await _all(
            _in_time(try_model(card, subject.needs, longest), card.name, 3 * longest) for card in asked
        )
    else:
        found += only_asked(cards)
    return sorted(merged(found), key=lambda finding: ABOUT_ORDER.index(finding.about))


async def _all(checks: Iterable[Awaitable[list[Finding]]]) -> list[Finding]:
    return [finding for group in await asyncio.gather(*checks) for finding in group]


def _load_clients(cards: Iterable[ModelCard]) -> None:
    """Import what talks to models beforehand, for the same reason."""
    for source in {card.source for card in cards}:
        if source == "litellm":
            from agenttts.models.litellm_client import quiet_litellm

            quiet_litellm()
        else:
            import openai  # noqa: F401


def _charged(subject: Subject) -> dict[str, ModelCard]:
    """Return the cards that a budget is charged for."""
    task = subject.task
    charged = frozenset() if task is None else task.charged_models
    return {name: card for name, card in subject.cards.items() if name in charged}


def _writing(cards: Mapping[str, ModelCard]) -> Iterator[ModelCard]:
    """Yield the models behind endpoints that write, each once: modes are the same model under other names."""
    seen = set()
    for card in cards.values():
        place = (card.source, card.base_url, card.served_as)
        if card.source in {"openai", "litellm"} and place not in seen:
            seen.add(place)
            yield card


async def _in_thread(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    name = getattr(check, "__name__", "check")
    return await _in_time(asyncio.to_thread(lambda: list(check())), name, SLOWEST_LOCAL_S)


async def _in_time(check: Awaitable[list[Finding]], name: str, timeout_s: float) -> list[Finding]:
    """Return what a check found; a check that fails in a way nobody thought of is told and stops no other."""
    try:
        async with asyncio.timeout(timeout_s):
            return await check
    except TimeoutError:
        return [Finding("machine", name, Verdict.NOTE, f"could not be told within {timeout_s:g} s")]
    except Exception as error:
        told = f"could not be checked: {type(error).__name__}: {error}"
        return [Finding("machine", name, Verdict.NOTE, told, "This is a bug in agenttts: please report it.")]

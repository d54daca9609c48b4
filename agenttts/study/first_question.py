"""Before anything is paid for: are keys set, do addresses answer, and does the planner reply to a first question?

A planner that never answers does not stop a search: it is filled up at random, and ends as random search under another
name. So a planner is asked once, as a search would ask it, before many searches are paid for. That one short call is billed
to no search.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from agenttts.allocators.base import PlannerAnswer, PlannerCall
from agenttts.budgets.cost import Cost
from agenttts.errors import ProviderError
from agenttts.models.base import Message
from agenttts.models.openai_client import api_key, base_url_of, without_secrets
from agenttts.models.probe import has_address, require_answering

if TYPE_CHECKING:
    from agenttts.budgets.cards import ModelCard
    from agenttts.study.planner import PlannerSetup

__all__ = ["ask_planner", "require_reachable"]

QUESTION = "Reply with the word yes."


async def require_reachable(cards: Mapping[str, ModelCard]) -> None:
    """Check that every key is set and every address takes connections; nothing is asked and nothing paid.

    Raises:
        AuthenticationError: A key is not set.
        EndpointDownError: Nobody answers at an address.
    """
    for card in cards.values():
        if has_address(card):
            api_key(card)
    await require_answering(cards.values())


async def ask_planner(setup: PlannerSetup) -> PlannerAnswer:
    """Ask a planner one short question, in the way that a search asks it; return its reply.

    Raises:
        ProviderError: It gave none; every call of every search would fail as well.
    """
    answer = await _asked(setup)
    if answer.text is None:
        raise ProviderError(
            f"the planner {setup.card.name} did not reply to a first question, so nothing was searched: "
            f"{answer.problem}{_hint(setup.card)}",
            model=setup.card.name,
        )
    return answer


def _hint(card: ModelCard) -> str:
    if card.source != "openai":
        return ""
    return (
        f" It is asked at {without_secrets(base_url_of(card))}. Where the models of the stages are served there too, name "
        "their server with --endpoint and take a planner that has an address or a provider of its own"
    )


async def _asked(setup: PlannerSetup) -> PlannerAnswer:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.store.sql import open_store
    from agenttts.study.planner import Asker

    cards = {setup.card.name: setup.card}
    async with aclosing(open_store("memory:")) as store, aclosing(Clients(cards)) as clients:
        ledger = SpendingLedger(CostModel(cards), None, nothing=Cost())
        asker = Asker.build(setup, clients, store, ledger, "first-question", ())
        return await asker.ask(PlannerCall((Message("user", QUESTION),)))

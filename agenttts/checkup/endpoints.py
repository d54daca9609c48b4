"""Endpoints: do they answer, do they know the models, how far is the clock off. Asks for lists alone: nothing is paid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from agenttts.budgets.cards import ModelCard
from agenttts.checkup.base import Finding, Verdict
from agenttts.errors import AuthenticationError, NotServedError, ProviderError
from agenttts.models.listing import Listing, fetch_listing
from agenttts.models.openai_client import api_key, base_url_of, key_variable, without_secrets
from agenttts.models.probe import has_address
from agenttts.task.reading import nearest

__all__ = ["Place", "look_at", "mend_key", "only_asked", "places_of"]

ABOUT = "endpoints"
MOST_SKEW_S = 60.0


@dataclass(frozen=True)
class Place:
    """One address, and the cards that are served there."""

    url: str
    """Base URL of the API."""
    cards: tuple[ModelCard, ...]

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return without_secrets(self.url)

    @property
    def asked_for(self) -> ModelCard:
        """The card that says which key is sent."""
        return self.cards[0] if self.cards else ModelCard(name="endpoint", source="openai", base_url=self.url)


def places_of(cards: Mapping[str, ModelCard]) -> list[Place]:
    """Return the addresses that cards are served from; litellm's own providers have none that could be asked."""
    found: dict[str, list[ModelCard]] = {}
    for card in cards.values():
        if has_address(card):
            found.setdefault(_list_url(card), []).append(card)
    return [Place(url, tuple(named)) for url, named in found.items()]


def _list_url(card: ModelCard) -> str:
    """Return the base URL below which the list of models lies; servers of reward models have it below /v1."""
    url = base_url_of(card)
    return f"{url}/v1" if card.source == "reward" and not urlsplit(url).path.strip("/") else url


def only_asked(cards: Mapping[str, ModelCard]) -> Iterator[Finding]:
    """Yield cards of which nothing can be told without asking the model itself."""
    for name, card in cards.items():
        if card.source == "litellm" and not card.base_url:
            told = f"{card.served_as} is asked with --spend alone: its provider is reached through litellm"
            yield Finding(ABOUT, name, Verdict.NOTE, told)


async def look_at(place: Place, timeout_s: float) -> list[Finding]:
    """Return whether an endpoint answers and knows the models."""
    try:
        key = api_key(place.asked_for)
    except AuthenticationError:
        told = "was not asked: its key is not set"
        return [Finding(ABOUT, place.shown, Verdict.NOTE, told, "See keys.")]
    try:
        listing = await fetch_listing(place.url, key, timeout_s=timeout_s)
    except ProviderError as error:
        return [_failed(place, error)]
    told = f"answers in {listing.took_s * 1000:,.0f} ms and serves {len(listing.names)} models"
    found = [Finding(ABOUT, place.shown, Verdict.FINE, told), *_unknown(place, listing.names)]
    return [*found, *_skew(place, listing)]


def mend_key(card: ModelCard) -> str:
    """Return what to do where the key of a card was refused."""
    if card.source == "litellm" and card.api_key_env is None:
        return "Put the right key into the variable of its provider, see keys."
    return f"Put the right key into {key_variable(card)}."


def _failed(place: Place, error: ProviderError) -> Finding:
    text = str(error).removeprefix(f"{place.shown}/models: ")
    if isinstance(error, AuthenticationError):
        return Finding(ABOUT, place.shown, Verdict.MEND, text, mend_key(place.asked_for))
    if isinstance(error, NotServedError):
        hint = "Not every server has one; --spend asks the models themselves."
        return Finding(ABOUT, place.shown, Verdict.NOTE, f"answers, and has no list of models ({text})", hint)
    named = ", ".join(card.name for card in place.cards)
    hint = f"Start it, or mend base_url of {named}." if named else "Start it, or give another --endpoint."
    return Finding(ABOUT, place.shown, Verdict.DOWN, text, hint)


def _unknown(place: Place, names: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            ABOUT, card.name, Verdict.MEND, f"{place.shown} lists no model {_id(card)!r}", _hint(card, names)
        )
        for card in place.cards
        if _id(card) not in names
    ]


def _id(card: ModelCard) -> str:
    """Return the name that the endpoint itself knows; behind litellm the kind of provider stands before it."""
    return card.served_as.removeprefix("openai/") if card.source == "litellm" else card.served_as


def _hint(card: ModelCard, names: Sequence[str]) -> str:
    return f"Mend model_id on the card. {nearest(_id(card), names, listed='It serves')}".strip()


def _skew(place: Place, listing: Listing) -> list[Finding]:
    """Return how far the clock here is from the server's, where that is far."""
    try:
        there = parsedate_to_datetime(listing.date).timestamp()
    except (TypeError, ValueError):
        return []
    skew = time.time() - there
    if abs(skew) < MOST_SKEW_S:
        return []
    told = f"is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} that of {place.shown}"
    hint = "Switch on network time: waits for rate limits and certificates go by the clock."
    return [Finding("machine", "clock", Verdict.NOTE, told, hint)]

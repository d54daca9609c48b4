"""Which models a new task chooses from: cards that are known, and new ones for what an endpoint serves. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.budgets.loading import CardBook, override_endpoint
from agenttts.budgets.prices import litellm_price, price_of
from agenttts.errors import InputError
from agenttts.task.reading import nearest

__all__ = ["MOST_MODELS", "TRIAL_MODELS", "Choice", "known_models", "served_cards", "unit_for", "writers"]

TRIAL_MODELS = ("tiny/xs", "tiny/s", "tiny/m", "tiny/l")
"""Models of a task whose user named none: they run in this process, and solve nothing but their own problems."""
MOST_MODELS = 6
"""An endpoint may serve hundreds; more than these make a search long before anybody asked for it."""
OPENAI_HOST = "https://api.openai.com/"


@dataclass(frozen=True)
class Choice:
    """Models to choose from."""

    models: tuple[str, ...]
    """Names of cards."""
    cards: Mapping[str, ModelCard]
    """Those of them that the task file is to hold itself."""
    notes: tuple[str, ...] = ()


def writers(book: CardBook) -> list[str]:
    """Return the names of all cards of models that write, rather than score or make vectors."""
    return sorted(name for name, card in book.items() if card.judges is None)


def known_models(names: Sequence[str], book: CardBook) -> Choice:
    """Return a choice of cards that are known, served from where they say.

    Raises:
        InputError: There is no card of a name, or it is one of a model that does not write.
    """
    for name in names:
        if name not in book:
            hint = nearest(name, writers(book), listed="Cards")
            raise InputError(f"--models: there is no model card `{name}`.\n{hint}".rstrip())
        if book[name].judges is not None:
            raise InputError(f"--models: `{name}` does not write: it gives scores or vectors.")
    return Choice(tuple(dict.fromkeys(names)), {})


_NO_CHAT = re.compile(
    r"(?i)embed|whisper|\btts\b|dall-?e|moderation|rerank|image|audio|realtime|transcri|speech|-search-|babbage|davinci|reward"
)


def served_cards(
    served: Sequence[str] | None,
    wanted: Sequence[str],
    book: CardBook,
    endpoint: str,
    *,
    api_key_env: str | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Choice:
    """Return cards of models behind an endpoint: with the figures of known cards, else with none.

    Args:
        served: What the endpoint lists; `None`: it has no list, so that nothing can be compared with it.
        wanted: Names of cards or of models as the endpoint knows them; empty: all that it serves, if they are few.
        book: Known cards.
        endpoint: Base URL.
        api_key_env: Variable that holds the key.
        parameters: Sizes of models that no card tells, by the name that the endpoint knows.

    Raises:
        InputError: A model that is wanted is not served, or none is named and too many are served.
    """
    ids = _wanted(served, wanted, book) if wanted else _all(served)
    cards: dict[str, ModelCard] = {}
    for model_id in ids:
        card = _card(model_id, book, endpoint, parameters or {})
        cards[card.name] = card.model_copy(update={"api_key_env": api_key_env or card.api_key_env})
    return Choice(tuple(cards), cards, tuple(_notes(cards, served)))


def _wanted(served: Sequence[str] | None, wanted: Sequence[str], book: CardBook) -> list[str]:
    """Return the names that the endpoint knows of what is wanted."""
    if served is None:
        return [book[name].served_as if name in book else name for name in wanted]
    by_card = {_known(model_id, book): model_id for model_id in served}
    found = []
    for name in wanted:
        model_id = name if name in served else by_card.get(name)
        if model_id is None:
            hint = nearest(name, served, listed="It serves")
            raise InputError(f"--models: the endpoint does not serve `{name}`.\n{hint}".rstrip())
        found.append(model_id)
    return list(dict.fromkeys(found))


def _all(served: Sequence[str] | None) -> list[str]:
    if served is None:
        raise InputError(
            "the endpoint has no list of its models.\nName them with --models, as the endpoint knows them."
        )
    chatting = [model_id for model_id in served if not _NO_CHAT.search(model_id)]
    if not chatting:
        raise InputError("the endpoint lists no model that writes.\nName one with --models if that is wrong.")
    if len(chatting) > MOST_MODELS:
        raise InputError(
            f"the endpoint serves {len(chatting)} models: choose up to {MOST_MODELS} of them with --models.\n"
            f"{nearest('', chatting, listed='It serves')}"
        )
    return chatting


def _known(model_id: str, book: CardBook) -> str | None:
    """Return the card of a model that writes: of that name, else of that name at the endpoint, case set aside."""
    if model_id in book and book[model_id].judges is None:
        return model_id
    low = model_id.casefold()
    for name in writers(book):
        served_as = book[name].served_as.casefold()
        if low in {served_as, served_as.rpartition("/")[2], name.casefold()}:
            return name
    return None


def _card(model_id: str, book: CardBook, endpoint: str, parameters: Mapping[str, float]) -> ModelCard:
    known = _known(model_id, book)
    if known is not None:
        card = override_endpoint(book[known], endpoint)
        return card.model_copy(update={"model_id": None if model_id == known else model_id})
    price = litellm_price(model_id) if endpoint.startswith(OPENAI_HOST) else None
    return ModelCard(
        name=model_id.replace("@", "-"),  # what follows @ in a name is a mode
        source="openai",
        model_id=model_id if "@" in model_id else None,
        base_url=endpoint.rstrip("/"),
        parameters=parameters.get(model_id),
        price=price,
    )


def _notes(cards: Mapping[str, ModelCard], served: Sequence[str] | None) -> list[str]:
    notes = ["Models by name; each is a card that says where it is served and what it costs."]
    sizeless = [name for name, card in cards.items() if card.parameters is None]
    if sizeless:
        notes.append(
            f"No card of the catalogue knows the size of {', '.join(sizeless)}. Add `parameters` (and, for attention, "
            "`layers` and `width`) to count GFLOPs, or `price` to count USD."
        )
    if served is None:
        notes.append("The endpoint has no list of its models, so their names could not be compared with it.")
    return notes


def unit_for(cards: Mapping[str, ModelCard]) -> tuple[Unit, str]:
    """Return the unit in which every model can be billed, and why: GFLOPs, else USD, else tokens."""
    sizeless = [name for name, card in cards.items() if card.parameters is None]
    if not sizeless:
        return Unit.GFLOPS, "It is counted in GFLOPs, as the size of every model is known."
    unpriced = [name for name, card in cards.items() if price_of(card) is None]
    because = f"the size of {', '.join(sizeless)} is not known"
    if not unpriced:
        return Unit.USD, f"It is counted in USD: {because}, and every model has a price."
    return Unit.TOKENS, (
        f"It is counted in tokens read and written, of whichever model: {because}, nor is there a price for "
        f"{', '.join(unpriced)}. A token of a large model costs more than one of a small one, so add `parameters` or "
        "`price` to every card, then set `unit` to gflops or usd and give another `default`."
    )

"""Model cards from files: `budgets/models/*.yaml` of the user's project and of the catalogue.

A card file is `format: 1` and `models:`, a mapping from card names to cards. The first file that has a name wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, model_validator

from agenttts.budgets.cards import ModelCard
from agenttts.catalogue import card_files
from agenttts.errors import CardError, InputError, Mistake, TaskFileError
from agenttts.task.reading import Document, nearest, read_document, shown
from agenttts.task.wording import validated

__all__ = ["CardBook", "CardFile", "card_mistakes", "load_cards", "override_endpoint"]


class CardFile(BaseModel):
    """A file of model cards."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal[1] = 1
    models: dict[str, ModelCard]
    """Cards by name."""

    @model_validator(mode="before")
    @classmethod
    def _card_names(cls, value: Any) -> Any:
        """Give each card the name of its key."""
        if not isinstance(value, dict) or not isinstance(value.get("models"), dict):
            return value
        cards = value["models"].items()
        return {
            **value,
            "models": {k: {**card, "name": str(k)} if isinstance(card, dict) else card for k, card in cards},
        }


@dataclass(frozen=True)
class CardBook(Mapping[str, ModelCard]):
    """All cards that can be named, and the file each one stands in."""

    cards: Mapping[str, ModelCard]
    origins: Mapping[str, Path]
    """File of each card; cards given as objects have none."""

    def __getitem__(self, name: str) -> ModelCard:
        return self.cards[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def lookup(self, name: str) -> ModelCard:
        """Return a card by name.

        Raises:
            CardError: There is none; the nearest name is told.
        """
        if name in self.cards:
            return self.cards[name]
        raise CardError(
            f"there is no model card `{name}`.\n{nearest(name, self.cards, listed='Cards')}".rstrip()
        )


def load_cards(
    extra: Mapping[str, ModelCard] | None = None, *, files: Sequence[Path] | None = None
) -> CardBook:
    """Return `extra` and the cards of all files; earlier ones hide later ones of the same name.

    Args:
        extra: Cards that come first, e.g. those of a task.
        files: In place of the user's and the catalogue's.

    Raises:
        TaskFileError: Card files hold mistakes; all of them are told.
    """
    cards: dict[str, ModelCard] = dict(extra or {})
    origins: dict[str, Path] = {}
    mistakes: list[Mistake] = []
    for path in card_files() if files is None else files:
        try:
            found = _read(path, path.stat().st_mtime_ns)
        except TaskFileError as error:
            mistakes += error.mistakes
            continue
        for name, card in found.items():
            if name not in cards:
                cards[name], origins[name] = card, path
    if mistakes:
        raise TaskFileError(mistakes)
    return CardBook(cards, origins)


@lru_cache(maxsize=64)
def _read(path: Path, _changed_ns: int) -> Mapping[str, ModelCard]:
    document = read_document(path)
    value, data, mistakes = validated(document, CardFile)
    mistakes += card_mistakes(document, data.get("models"))
    if value is None or mistakes:
        raise TaskFileError(mistakes)
    return {name: with_folder(card, path.parent) for name, card in value.models.items()}


def with_folder(card: ModelCard, folder: Path) -> ModelCard:
    """Return the card with its table as an absolute path; tables count from the folder of the card's file."""
    if card.table is None:
        return card
    return card.model_copy(update={"table": str((folder / Path(card.table).expanduser()).resolve())})


def card_mistakes(document: Document, models: object) -> list[Mistake]:
    """Return what a card's types cannot tell: secrets in files, unusable addresses, keys that its source ignores."""
    if not isinstance(models, dict):
        return []
    return [
        document.mistake(("models", name, key), message, hint)
        for name, card in models.items()
        if isinstance(card, dict)
        for key, message, hint in _faults(card)
    ]


def _faults(card: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield key, message and hint; values that may be secrets are never quoted."""
    variable, url = card.get("api_key_env"), card.get("base_url")
    if isinstance(variable, str) and not (variable.isidentifier() and variable.isascii()):
        hint = "Keys never stand in files: put the key into a variable and write the variable's name here."
        yield "api_key_env", "expected the name of an environment variable such as OPENAI_API_KEY.", hint
    if isinstance(url, str):
        fault = _address_fault(url)
        if fault:
            yield "base_url", fault, "For example http://localhost:8000/v1."
    if card.get("source") == "recorded" and "table" not in card:
        yield "table", "missing; a recorded model needs the table of its draws.", ""
    yield from _reward_faults(card.get("reward"))
    active, parameters = card.get("active_parameters"), card.get("parameters")
    if isinstance(active, int | float) and isinstance(parameters, int | float) and active > parameters:
        yield "active_parameters", "expected at most `parameters`.", ""
    yield from _nominal_faults(card.get("nominal_parameters"), active or parameters)


def _nominal_faults(nominal: object, used: object) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with a nominal size: one far from the true size is another unit (7 for 7e9) or a slip."""
    if not isinstance(nominal, int | float) or not isinstance(used, int | float):
        return
    if not used / 2 <= nominal <= 2 * used:
        hint = "Write 7e9 for 7B; for a mixture of experts, the size used per token."
        yield "nominal_parameters", f"expected about the size used per token, {used:g}.", hint


def _reward_faults(reward: object) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the request template of a reward model: it must make JSON of any texts."""
    template = reward.get("request") if isinstance(reward, dict) else None
    if not isinstance(template, str):
        return
    import json

    from jinja2 import TemplateSyntaxError

    from agenttts.pipeline.prompts import PromptRenderError, json_template, rendered

    hint = 'Expressions bring their own quotes, e.g. {"question": {{ prompt }}, "steps": {{ steps }}}.'
    try:
        body = json.loads(rendered(json_template(template), EXAMPLE))
    except (TemplateSyntaxError, PromptRenderError) as error:
        yield "reward", f"`request` cannot be rendered: {error}.", hint
    except ValueError as error:
        yield "reward", f"`request` makes no JSON: {error}.", hint
    else:
        if not isinstance(body, dict):
            yield "reward", "`request` makes no JSON object.", hint


EXAMPLE: Mapping[str, Any] = {"prompt": 'a "b"\n', "text": "c\n\nd", "steps": ["c", "d"], "model": "m"}
"""What request templates of reward models are tried with."""


def _address_fault(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return "expected an address."
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "expected an address that begins with http:// or https://."
    return "an address must not hold a user name or password." if "@" in parts.netloc else ""


def override_endpoint(card: ModelCard, endpoint: str | None, source: str | None = None) -> ModelCard:
    """Return the card served by another endpoint; what the model is and costs stays.

    Args:
        card: Any card.
        endpoint: Base URL, e.g. `http://localhost:8000/v1`; `None`: the card's.
        source: `openai` (the default where an endpoint is given) or `litellm`; `None` without endpoint: the card's.

    Raises:
        InputError: Not an address, or another source.
    """
    if endpoint is None and source is None:
        return card
    if endpoint is not None and (fault := _address_fault(endpoint)):
        raise InputError(f"endpoint: {fault}\nFor example http://localhost:8000/v1.")
    if source not in {None, "openai", "litellm"}:
        raise InputError(
            f"source {source!r}: expected openai or litellm. {nearest(source, ['openai', 'litellm'], listed='')}"
        )
    kind = cast("Literal['openai', 'litellm']", source or "openai")
    return card.model_copy(
        update={
            "source": kind,
            "model_id": _id_there(card, kind) if endpoint else card.served_as,
            "base_url": card.base_url if endpoint is None else endpoint.rstrip("/"),
            "table": None,
        }
    )


def _id_there(card: ModelCard, kind: str) -> str:
    """Return the name to ask an OpenAI-compatible endpoint for; litellm wants the kind of provider before it."""
    own = card.served_as.removeprefix("openai/") if card.source == "litellm" else card.served_as
    return f"openai/{own}" if kind == "litellm" else own


def origin(book: CardBook, name: str) -> str:
    """Return the file that a card stands in, as messages show it."""
    path = book.origins.get(name)
    return "" if path is None else shown(path)

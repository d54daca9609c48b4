"""The one place that knows what a token costs: the card's own price, or litellm's map for litellm cards.

The map is the file that ships with litellm, read as data: importing litellm takes seconds, and a price fetched from
the network would differ from one day to the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agenttts.budgets.cards import ModelCard, Price

__all__ = ["litellm_price", "litellm_version", "price_of", "served_until"]

MAP_FILE = "model_prices_and_context_window_backup.json"


def price_of(card: ModelCard) -> Price | None:
    """Return the price of a card's tokens, `None` where it is unknown."""
    if card.price is not None or card.source != "litellm":
        return card.price
    return litellm_price(card.served_as)


@lru_cache(maxsize=1024)
def litellm_price(model_id: str) -> Price | None:
    """Return the price in litellm's map, e.g. of `gpt-4o-mini` or `openai/gpt-4o-mini`; `None` where there is none.

    A map entry of 0 for both directions counts as unknown: it marks models that the map has no price for. Surcharges
    for long contexts and batch discounts are left out.
    """
    entry = _entry(model_id)
    per_input, per_output = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if per_input is None or per_output is None or not (per_input or per_output):
        return None
    cached = entry.get("cache_read_input_token_cost")
    return Price(
        input_per_million_usd=_per_million(per_input),
        output_per_million_usd=_per_million(per_output),
        cached_input_per_million_usd=None if cached is None else _per_million(cached),
        as_of=f"price map of litellm {litellm_version()}",
    )


def served_until(model_id: str) -> date | None:
    """Return the day on which a provider stops serving a model, as litellm's map has it; `None`: it gives none."""
    told = _entry(model_id).get("deprecation_date")
    return date.fromisoformat(told) if isinstance(told, str) and _DAY.fullmatch(told) else None


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _per_million(per_token: float) -> float:
    return round(float(per_token) * 1e6, 9)  # 1.5e-07 * 1e6 is 0.15 but for the last bit


def _entry(model_id: str) -> Mapping[str, Any]:
    prices = _price_map()
    if model_id in prices:
        return prices[model_id]
    provider, _, bare = model_id.partition("/")
    entry = prices.get(bare, {})
    return entry if entry.get("litellm_provider") == provider else {}


@lru_cache(maxsize=1)
def _price_map() -> Mapping[str, Mapping[str, Any]]:
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder) / MAP_FILE
        if file.is_file():
            entries: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
            return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}
    return {}


def litellm_version() -> str:
    """Return the version of the litellm whose map is read."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "(unknown version)"

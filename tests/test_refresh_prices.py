"""The comparison of card prices with litellm's price map, and the catalogue's prices against the map they are from."""

from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from agenttts.budgets.cards import ModelCard, Price
from agenttts.budgets.loading import load_cards
from agenttts.budgets.prices import litellm_price, litellm_version, served_until

ROOT = Path(__file__).resolve().parent.parent
TODAY = date(2026, 11, 25)


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_prices", ROOT / "tools" / "refresh_prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _tool()


def card(as_of: str | None = "maker/m in the price map of litellm 1.0, 2026-01") -> ModelCard:
    price = Price(input_per_million_usd=0.1, output_per_million_usd=0.4, as_of=as_of)
    return ModelCard(name="m", source="openai", price=price)


def now(**figures: float) -> Price:
    return Price(**{"input_per_million_usd": 0.1, "output_per_million_usd": 0.4, **figures})


def test_a_price_that_the_map_still_has_is_not_told() -> None:
    assert list(tool.differences(card(), now(), date(2027, 1, 1), TODAY)) == []


def test_each_figure_that_moved_is_told_with_both_values() -> None:
    moved = now(output_per_million_usd=0.5, cached_input_per_million_usd=0.01)
    assert list(tool.differences(card(), moved, None, TODAY)) == [
        "m: output_per_million_usd is 0.5 now, 0.4 on the card (maker/m)",
        "m: cached_input_per_million_usd is 0.01 now, not given on the card (maker/m)",
    ]


def test_entries_that_are_gone_or_past_their_end_are_told() -> None:
    assert list(tool.differences(card(), None, None, TODAY)) == ["m: the map has no entry maker/m any more"]
    assert list(tool.differences(card(), now(), date(2026, 11, 24), TODAY)) == [
        "m: maker/m was served until 2026-11-24"
    ]


def test_prices_from_elsewhere_are_left_alone() -> None:
    for as_of in (None, "the bill of October"):
        assert list(tool.differences(card(as_of), None, None, TODAY)) == []


FILE = """# A comment that stays.
models:
  a:
    source: openai
    price:
      input_per_million_usd: 0.10
      output_per_million_usd: 0.4
      as_of: maker/m in the price map of litellm 1.0, 2026-01 (for models of this size)
    parameters: 1e9
  b:
    source: openai
    price:
      input_per_million_usd: 7
      output_per_million_usd: 8
      as_of: the bill of October
  c:
    source: openai
    price:
      input_per_million_usd: 1
      output_per_million_usd: 2
      as_of: maker/gone in the price map of litellm 1.0, 2026-01
"""


def test_writing_changes_the_figures_of_known_entries_and_nothing_else(tmp_path: Path) -> None:
    prices = {"maker/m": now(output_per_million_usd=0.123456789, cached_input_per_million_usd=0.01)}
    text = tool.rewritten(FILE, prices.get, "2.0", TODAY)
    old = FILE.splitlines()
    assert text.splitlines() == [
        *old[:5],
        "      input_per_million_usd: 0.1",
        "      output_per_million_usd: 0.123456789",
        "      cached_input_per_million_usd: 0.01",
        "      as_of: maker/m in the price map of litellm 2.0, 2026-11 (for models of this size)",
        *old[8:],
    ]
    (tmp_path / "cards.yaml").write_text(text)
    assert load_cards(files=[tmp_path / "cards.yaml"])["a"].price == prices["maker/m"].model_copy(
        update={"as_of": "maker/m in the price map of litellm 2.0, 2026-11 (for models of this size)"}
    )


def test_the_end_of_a_model_is_read_from_the_map() -> None:
    assert served_until("no/such-model") is None
    assert isinstance(served_until("o3-mini"), date)


def test_the_catalogues_prices_are_those_of_the_map_they_name() -> None:
    book = load_cards(files=sorted((ROOT / "budgets" / "models").glob("*.yaml")))
    named = {name: entry for name in book if (entry := tool.entry_of(book[name]))}
    assert len(named) > 30
    versions = {tool.AS_OF.match(book[name].price.as_of)["version"] for name in named}
    if versions != {litellm_version()}:
        pytest.skip(f"the cards are of litellm {versions}, installed is {litellm_version()}")
    told = [
        line
        for name, entry in named.items()
        for line in tool.differences(book[name], litellm_price(entry), None, TODAY)
    ]
    assert told == []

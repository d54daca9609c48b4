from __future__ import annotations

from functools import lru_cache

import pytest
from pydantic import ValidationError

from agenttts.budgets.cards import EmbeddingBlock, ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.loading import load_cards
from agenttts.budgets.prices import litellm_price
from agenttts.catalogue import catalogue_folder
from agenttts.models.base import CallUsage
from agenttts.models.tokens import counter

OF_OPENAI = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")
OPEN = {"bge-large-en-v1.5": 335_141_888, "qwen3-embedding-0.6b": 595_776_512}


@lru_cache(maxsize=1)
def cards() -> dict[str, ModelCard]:
    book = load_cards(files=[catalogue_folder() / "budgets" / "models" / "embedding.yaml"])
    return dict(book)


def test_the_catalogue_holds_them() -> None:
    assert set(cards()) == {*OF_OPENAI, *OPEN}
    assert {(card.source, card.judges) for card in cards().values()} == {("embedding", "texts")}


def test_the_block_and_the_source_belong_together() -> None:
    with pytest.raises(ValidationError, match="with `source: embedding` alone"):
        ModelCard(name="m", source="openai", embedding=EmbeddingBlock())
    assert ModelCard(name="m", source="embedding").embedding is None


@pytest.mark.parametrize("name", OF_OPENAI)
def test_prices_are_those_of_litellms_map(name: str) -> None:
    (price, there) = (cards()[name].price, litellm_price(name))
    assert price is not None
    assert there is not None
    assert price.input_per_million_usd == there.input_per_million_usd
    assert price.output_per_million_usd == 0
    assert price.as_of


@pytest.mark.parametrize("name", OF_OPENAI)
@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 9),
    ],
)
def test_tokens_are_counted_by_the_models_own_tokenizer(name: str, text: str, n: int) -> None:
    # Counts of cl100k_base in openai/openai-cookbook:examples/How_to_count_tokens_with_tiktoken.ipynb.
    assert counter(cards()[name].token_counter)(text) == n


@pytest.mark.parametrize(("name", "parameters"), OPEN.items())
def test_sizes_are_those_of_the_weights(name: str, parameters: int) -> None:
    card = cards()[name]
    assert card.parameters == pytest.approx(parameters, rel=1e-3)
    assert card.figures_from


def test_reading_is_all_that_costs() -> None:
    costs = CostModel(cards())
    large = costs.charge("text-embedding-3-large", CallUsage(1000, ()))
    assert large.usd == pytest.approx(0.00013)
    assert large.flops is None
    bge = costs.charge("bge-large-en-v1.5", CallUsage(100, ()))
    assert bge.linear_flops == pytest.approx(2 * 335e6 * 100)
    assert bge.decode_tokens == 0

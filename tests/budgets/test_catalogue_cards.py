"""The model cards of the catalogue: the paper's figures with the cards that people name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit, amount
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.loading import load_cards
from agenttts.catalogue import catalogue_folder
from agenttts.errors import CardError, TaskFileError
from agenttts.models.base import CallUsage

PAPER_POOLS = (
    "qwen2.5-7b", "qwen2.5-32b", "qwen2.5-72b",
    "llama3.2-3b", "llama3-8b", "llama3-70b", "llama3.1-8b", "llama3.1-70b",
)  # fmt: skip


@lru_cache(maxsize=1)
def book() -> CostModel:
    return CostModel(load_cards(files=sorted((catalogue_folder() / "budgets" / "models").glob("*.yaml"))))


def cards() -> dict[str, ModelCard]:
    return book().cards


@pytest.mark.parametrize(
    ("name", "prefill", "decode", "n_samples", "expected"),
    [
        ("qwen2.5-72b", 2048, 128, 1, 814),
        ("qwen2.5-72b", 1024, 64, 1, 406),
        ("qwen2.5-32b", 2048, 128, 5, 446),
        ("llama3.2-3b", 256, 64, 50, 52),
        ("llama3.2-3b", 256, 64, 20, 22),
        ("llama3.2-3b", 256, 64, 10, 12),
        ("llama3.1-70b", 256, 64, 1, 344 / 3),
        ("llama3-70b", 256, 64, 1, 344 / 3),
        ("llama3-70b", 128, 64, 1, 68),
    ],
)
def test_the_papers_values_come_out_exactly_with_the_catalogues_cards(
    name: str, prefill: int, decode: int, n_samples: int, expected: float
) -> None:
    cost = book().charge(name, CallUsage(prefill, (decode,) * n_samples))
    assert amount(cost, Unit.PAPER) == pytest.approx(expected, abs=1e-9)


def test_a_nominal_size_moves_the_papers_unit_alone() -> None:
    figures = {"name": "m", "source": "openai", "parameters": 3.2e9, "layers": 28, "width": 3072}
    plain = ModelCard.model_validate(figures)
    called = ModelCard.model_validate({**figures, "nominal_parameters": 3e9})
    usage = CallUsage(128, (64,))
    costs = [CostModel({"m": card}).charge("m", usage) for card in (plain, called)]
    assert costs[0].flops == costs[1].flops
    assert amount(costs[1], Unit.PAPER) == 1
    assert amount(costs[0], Unit.PAPER) == pytest.approx((3.2 / 3 * 192 - 128) / 64)


def test_of_a_mixture_of_experts_the_active_part_is_counted() -> None:
    # Qwen3-30B-A3B on the paper's base task, 128 tokens read and 64 written: as much as a model of 3B, one unit.
    assert amount(book().charge("qwen3-30b-a3b", CallUsage(128, (64,))), Unit.PAPER) == 1


def test_the_nominal_size_alone_is_enough_for_the_papers_unit() -> None:
    model = CostModel({"m": ModelCard(name="m", source="openai", nominal_parameters=3e9)})
    model.require(Unit.PAPER)
    assert amount(model.charge("m", CallUsage(128, (64,))), Unit.PAPER) == 1
    with pytest.raises(CardError):
        model.require(Unit.GFLOPS)


def test_a_nominal_size_far_from_the_true_one_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models:\n"
        "  slip: {source: openai, parameters: 7.6e9, nominal_parameters: 7}\n"
        "  whole: {source: openai, parameters: 30.5e9, active_parameters: 3.3e9, nominal_parameters: 30e9}\n"
        "  right: {source: openai, parameters: 30.5e9, active_parameters: 3.3e9, nominal_parameters: 3e9}\n"
    )
    with pytest.raises(TaskFileError) as caught:
        load_cards(files=[file])
    hint = "Write 7e9 for 7B; for a mixture of experts, the size used per token."
    assert str(caught.value).splitlines() == [
        "mine.yaml:2: models.slip.nominal_parameters: expected about the size used per token, 7.6e+09.",
        hint,
        "mine.yaml:3: models.whole.nominal_parameters: expected about the size used per token, 3.3e+09.",
        hint,
    ]


def test_the_models_of_the_papers_pools_have_figures_for_every_unit_but_seconds() -> None:
    pools = CostModel({name: cards()[name] for name in PAPER_POOLS})
    for unit in (Unit.PAPER, Unit.GFLOPS, Unit.USD):
        pools.require(unit)


SHAPES = {
    # From config.json: layers, hidden, heads, key-value heads, size of a head, inner, vocabulary, tied, extras.
    # Extras: "b" biases of queries, keys and values; "4" four norms per layer; "q" norms of queries and keys.
    "qwen2.5-0.5b": (24, 896, 14, 2, 64, 4864, 151936, True, "b"),
    "qwen2.5-1.5b": (28, 1536, 12, 2, 128, 8960, 151936, True, "b"),
    "qwen2.5-3b": (36, 2048, 16, 2, 128, 11008, 151936, True, "b"),
    "qwen2.5-7b": (28, 3584, 28, 4, 128, 18944, 152064, False, "b"),
    "qwen2.5-14b": (48, 5120, 40, 8, 128, 13824, 152064, False, "b"),
    "qwen2.5-32b": (64, 5120, 40, 8, 128, 27648, 152064, False, "b"),
    "qwen2.5-72b": (80, 8192, 64, 8, 128, 29568, 152064, False, "b"),
    "llama3-8b": (32, 4096, 32, 8, 128, 14336, 128256, False, ""),
    "llama3-70b": (80, 8192, 64, 8, 128, 28672, 128256, False, ""),
    "llama3.1-8b": (32, 4096, 32, 8, 128, 14336, 128256, False, ""),
    "llama3.1-70b": (80, 8192, 64, 8, 128, 28672, 128256, False, ""),
    "llama3.2-1b": (16, 2048, 32, 8, 64, 8192, 128256, True, ""),
    "llama3.2-3b": (28, 3072, 24, 8, 128, 8192, 128256, True, ""),
    "llama3.3-70b": (80, 8192, 64, 8, 128, 28672, 128256, False, ""),
    "gemma2-2b": (26, 2304, 8, 4, 256, 9216, 256000, True, "4"),
    "gemma2-9b": (42, 3584, 16, 8, 256, 14336, 256000, True, "4"),
    "gemma2-27b": (46, 4608, 32, 16, 128, 36864, 256000, True, "4"),
    "gemma3-1b": (26, 1152, 4, 1, 256, 6912, 262144, True, "4q"),
    "gemma3-4b": (34, 2560, 8, 4, 256, 10240, 262144, True, "4q"),
    "gemma3-12b": (48, 3840, 16, 8, 256, 15360, 262144, True, "4q"),
    "gemma3-27b": (62, 5376, 32, 16, 128, 21504, 262144, True, "4q"),
    "phi3-mini": (32, 3072, 32, 32, 96, 8192, 32064, False, ""),
    "phi3-medium": (40, 5120, 40, 10, 128, 17920, 32064, False, ""),
    "phi4": (40, 5120, 40, 10, 128, 17920, 100352, False, ""),
    "phi4-mini": (32, 3072, 24, 8, 128, 8192, 200064, True, ""),
    "mistral-small-3.2": (40, 5120, 32, 8, 128, 32768, 131072, False, ""),
    "qwen3-0.6b": (28, 1024, 16, 8, 128, 3072, 151936, True, "q"),
    "qwen3-1.7b": (28, 2048, 16, 8, 128, 6144, 151936, True, "q"),
    "qwen3-4b": (36, 2560, 32, 8, 128, 9728, 151936, True, "q"),
    "qwen3-8b": (36, 4096, 32, 8, 128, 12288, 151936, False, "q"),
    "qwen3-14b": (40, 5120, 40, 8, 128, 17408, 151936, False, "q"),
    "qwen3-32b": (64, 5120, 64, 8, 128, 25600, 151936, False, "q"),
}


def parameters_of(
    layers: int, hidden: int, heads: int, kv: int, head: int, inner: int, words: int, tied: bool, extras: str
) -> int:
    attention = 2 * hidden * heads * head + 2 * hidden * kv * head
    attention += (heads + 2 * kv) * head if "b" in extras else 0
    norms = hidden * (4 if "4" in extras else 2) + (2 * head if "q" in extras else 0)
    return layers * (attention + 3 * hidden * inner + norms) + hidden + words * hidden * (1 if tied else 2)


def test_counting_parameters_from_a_shape_gives_published_counts() -> None:
    # keras-team/keras-hub: gemma_presets.py, gemma3_presets.py and phi3_presets.py, key `params`.
    published = {"gemma2-2b": 2_614_341_888, "gemma3-1b": 999_885_952, "gemma3-4b": 3_880_099_328,
                 "gemma3-12b": 11_765_788_416, "phi3-mini": 3_821_079_552}  # fmt: skip
    assert {name: parameters_of(*SHAPES[name]) for name in published} == published


@pytest.mark.parametrize("name", SHAPES)
def test_figures_of_a_card_agree_with_the_shape_of_its_weights(name: str) -> None:
    card, (layers, _, heads, _, head, *_) = cards()[name], SHAPES[name]
    assert card.parameters == pytest.approx(parameters_of(*SHAPES[name]), rel=0.01)
    assert (card.layers, card.width) == (layers, heads * head)


def test_every_figure_of_an_open_model_names_its_source() -> None:
    for card in cards().values():
        assert card.figures_from is not None or card.parameters is None, card.name
        assert card.price is None or card.price.as_of, card.name

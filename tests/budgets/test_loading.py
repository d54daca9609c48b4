from __future__ import annotations

from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.loading import load_cards, override_endpoint
from agenttts.budgets.prices import price_of
from agenttts.errors import CardError, InputError, TaskFileError


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_catalogue_cards_have_figures_and_a_source_for_them() -> None:
    for name, card in load_cards().items():
        price = price_of(card)
        assert card.parameters or price, f"{name} can be billed in nothing"
        assert card.figures_from or (price and price.as_of), f"{name} does not say where its figures are from"


def test_first_card_of_a_name_wins(tmp_path: Path) -> None:
    one = _file(tmp_path, "one.yaml", "models: {a: {source: openai, parameters: 1}}")
    two = _file(tmp_path, "two.yaml", "models: {a: {source: openai, parameters: 2}, b: {source: openai}}")
    book = load_cards(files=[one, two])
    assert (book["a"].parameters, list(book), book.origins["b"]) == (1, ["a", "b"], two)
    given = ModelCard(name="a", source="openai", parameters=3)
    book = load_cards({"a": given}, files=[one, two])
    assert book["a"] is given
    assert "a" not in book.origins


def test_unknown_card_is_told_with_the_nearest_name() -> None:
    with pytest.raises(CardError, match=r"there is no model card `tiny/sx`.\nDid you mean `tiny/s`\?"):
        load_cards().lookup("tiny/sx")
    assert load_cards().lookup("tiny/s").name == "tiny/s"


def test_mistakes_of_all_card_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = _file(
        tmp_path,
        "one.yaml",
        "format: 1\nmodels:\n  a:\n    source: opnai\n    paramters: 7e9\n  b:\n    source: recorded\n",
    )
    two = _file(
        tmp_path, "two.yaml", "models:\n  c:\n    source: openai\n    parameters: -1\n  c: {source: tiny}\n"
    )
    three = _file(
        tmp_path,
        "three.yaml",
        "models:\n  d:\n    source: openai\n    parameters: 1\n    active_parameters: 2\n    price: 3\n",
    )
    with pytest.raises(TaskFileError) as caught:
        load_cards(files=[one, two, three])
    assert str(caught.value).splitlines() == [
        "one.yaml:4: models.a.source: expected one of tiny, openai, litellm, recorded, reward, embedding, got 'opnai'.",
        "Did you mean `openai`?",
        "one.yaml:5: models.a.paramters: unknown key.",
        "Did you mean `parameters`?",
        "one.yaml:6: models.b.table: missing; a recorded model needs the table of its draws.",
        "two.yaml:5: models.c: this key stands twice in its block, first on line 2.",
        "Remove or rename one of them.",
        "three.yaml:6: models.d.price: expected a block with keys such as `input_per_million_usd`, "
        "`output_per_million_usd`, `cached_input_per_million_usd`, `as_of`, got 3.",
        "three.yaml:5: models.d.active_parameters: expected at most `parameters`.",
    ]


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    import os

    path = _file(tmp_path, "one.yaml", "models: {a: {source: openai, parameters: 1}}")
    assert load_cards(files=[path])["a"].parameters == 1
    _file(tmp_path, "one.yaml", "models: {a: {source: openai, parameters: 2}}")
    os.utime(path, ns=(1, 1))
    assert load_cards(files=[path])["a"].parameters == 2


def test_table_counts_from_the_folder_of_the_card_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "one.yaml", "models: {a: {source: recorded, table: draws/a.csv}}")
    assert load_cards(files=[path])["a"].table == str(tmp_path / "draws" / "a.csv")


def test_another_endpoint_keeps_what_the_model_is() -> None:
    card = load_cards()["qwen2.5-7b"]
    there = override_endpoint(card, "http://localhost:8000/v1/")
    assert (there.source, there.base_url, there.served_as) == (
        "openai",
        "http://localhost:8000/v1",
        card.served_as,
    )
    assert (there.parameters, there.layers, there.name) == (card.parameters, card.layers, card.name)
    assert override_endpoint(card, None) is card
    assert override_endpoint(card, "https://h/v1", "litellm").source == "litellm"
    with pytest.raises(InputError, match="begins with http"):
        override_endpoint(card, "ftp://h/v1")
    with pytest.raises(
        InputError, match=r"source 'litelm': expected openai or litellm. Did you mean `litellm`\?"
    ):
        override_endpoint(card, None, "litelm")

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Unit
from agenttts.checkup import cards, machine
from agenttts.checkup.base import Finding, Verdict, exit_code


def one(found: Iterable[Finding]) -> Finding:
    (only,) = found
    return only


def test_this_machine_is_fine() -> None:
    assert one(machine.python()).verdict is Verdict.FINE
    assert {finding.verdict for finding in machine.packages()} == {Verdict.FINE}
    assert one(machine.clock()).verdict is Verdict.FINE


def test_a_clock_before_the_installation_must_be_set() -> None:
    found = one(machine.clock(now_s=0.0))
    assert found.verdict is Verdict.MEND
    assert "1970-01-01" in found.message


def test_room_on_disk(tmp_path: Path) -> None:
    verdicts = [one(machine.disk(tmp_path / "runs", free_mb=free)).verdict for free in (10, 500, 5000)]
    assert verdicts == [Verdict.MEND, Verdict.NOTE, Verdict.FINE]
    assert list(tmp_path.iterdir()) == [], "nothing is left or made"


def test_a_folder_that_cannot_be_written_must_be_mended() -> None:
    found = one(machine.disk(Path("/proc/self/runs")))
    assert found.verdict is Verdict.MEND
    assert "cannot be written" in found.message


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = one(machine.store(f"sqlite:///{tmp_path}/new/samples.sqlite"))
    assert (found.verdict, list(tmp_path.iterdir())) == (Verdict.FINE, [])


def test_a_store_that_is_no_store_must_be_mended(tmp_path: Path) -> None:
    (tmp_path / "samples.sqlite").write_text(
        "no database at all, but a text that is long enough to look into" * 20
    )
    assert one(machine.store(f"sqlite:///{tmp_path}/samples.sqlite")).verdict is Verdict.MEND


def test_a_store_that_opens_is_fine_and_one_that_is_locked_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from agenttts.store.sql import open_store

    url = f"sqlite:///{tmp_path}/samples.sqlite"
    asyncio.run(open_store(url).aclose())  # type: ignore[attr-defined]
    assert one(machine.store(url)).verdict is Verdict.FINE
    monkeypatch.setattr(machine, "BUSY_S", 0.2)
    holder = sqlite3.connect(tmp_path / "samples.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert one(machine.store(url)).verdict is Verdict.MEND
    holder.close()


def test_an_address_that_is_none_never_shows_its_password() -> None:
    found = one(machine.store("mysql://me:hunter2@host/db"))
    assert found.verdict is Verdict.MEND
    assert "hunter2" not in str(found)


def test_the_sandbox_is_tried_by_running_a_program() -> None:
    found = one(machine.sandbox(needed=True))
    assert found.verdict in {Verdict.FINE, Verdict.NOTE}
    assert ("bubblewrap" in found.message) <= (shutil.which("bwrap") is not None)


def test_all_cards_of_the_catalogue_load_and_a_wrong_one_of_the_project_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert one(cards.catalogue()).verdict is Verdict.FINE
    (tmp_path / "budgets" / "models").mkdir(parents=True)
    (tmp_path / "budgets" / "models" / "own.yaml").write_text("models: {mine: {source: openai, layer: 3}}")
    found = one(cards.catalogue())
    assert found.verdict is Verdict.MEND
    assert "own.yaml:1: models.mine.layer" in found.message
    assert "layers" in found.help


def test_a_card_without_figures_for_the_budget_is_told_with_an_example() -> None:
    book = {"m": ModelCard(name="m", source="openai", parameters=1e9)}
    assert one(cards.figures(book, Unit.GFLOPS, date(2026, 1, 1))).verdict is Verdict.FINE
    found = one(cards.figures(book, Unit.USD, date(2026, 1, 1)))
    assert found.verdict is Verdict.MEND
    assert "price: {input_per_million_usd" in found.help


def test_keys_are_told_to_be_set_or_not_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    book = {
        "a": ModelCard(name="a", source="openai", base_url="https://api.example.com/v1", api_key_env="A_KEY"),
        "b": ModelCard(name="b", source="openai", base_url="https://api.example.com/v1", api_key_env="B_KEY"),
        "c": ModelCard(name="c", source="openai", base_url="http://127.0.0.1:9/v1", api_key_env="C_KEY"),
        "d": ModelCard(name="d", source="litellm", model_id="anthropic/claude", api_key_env=None),
    }
    for name in ("A_KEY", "C_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("B_KEY", ' "hunter2"')
    found = {finding.name: finding for finding in cards.keys_of(book)}
    assert {name: finding.verdict for name, finding in found.items()} == {
        "A_KEY": Verdict.MEND,
        "B_KEY": Verdict.NOTE,
        "C_KEY": Verdict.FINE,
        "ANTHROPIC_API_KEY": Verdict.NOTE,
    }
    assert found["A_KEY"].help == "export A_KEY=..."
    assert "hunter2" not in str(found)


def test_what_must_be_mended_comes_before_what_is_down() -> None:
    def told(*verdicts: Verdict) -> int:
        return exit_code([Finding("machine", "x", verdict, "") for verdict in verdicts])

    assert told(Verdict.FINE, Verdict.NOTE) == 0
    assert told(Verdict.NOTE, Verdict.DOWN) == 4
    assert told(Verdict.DOWN, Verdict.MEND) == 2

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from agenttts.catalogue import card_files, catalogue_folder, list_tasks, resolve_task
from agenttts.task.task import Task


def _own_task(folder: Path, name: str, description: str = "Mine.") -> Path:
    path = folder / "tasks" / name / "task.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"name: {name}\ndescription: |\n  {description}\n  More.\n")
    return path


def test_a_path_comes_before_the_project_and_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_task("tiny") == catalogue_folder() / "tasks" / "tiny" / "task.yaml"
    own = _own_task(tmp_path, "tiny")
    assert resolve_task("tiny") == own
    (tmp_path / "tiny").mkdir()
    assert resolve_task("tiny") == own
    (tmp_path / "tiny" / "task.yaml").write_text("name: here\n")
    assert resolve_task("tiny") == Path("tiny/task.yaml")
    assert resolve_task(own.parent) == own


def test_tasks_are_listed_once_with_their_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _own_task(tmp_path, "tiny")
    _own_task(tmp_path, "broken").write_text("- not a task\n")
    listed = {task.name: task.description for task in list_tasks()}
    assert listed["tiny"] == "Mine."
    assert listed["broken"].startswith("cannot be read: expected keys with values")


def test_cards_of_the_project_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "budgets" / "models").mkdir(parents=True)
    own = tmp_path / "budgets" / "models" / "zzz.yaml"
    own.write_text("models: {}\n")
    assert card_files()[0] == own
    assert catalogue_folder() / "budgets" / "models" / "tiny.yaml" in card_files()


def test_the_checkout_is_not_listed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(catalogue_folder())
    assert len(card_files()) == len(set(card_files()))


def test_tiny_task_loads_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = Task.load("tiny")
    assert (len(task.search), len(task.test())) == (100, 300)
    assert set(task.cards) == {"tiny/xs", "tiny/s", "tiny/m", "tiny/l", "tiny/prm"}
    assert {problem.fields["split"] for problem in task.search} == {"search"}
    assert {problem.fields["split"] for problem in task.test()} == {"test"}
    gold = [problem.fields for problem in task.search]
    assert all(isinstance(fields["answer"], int) and fields["plan"] for fields in gold)


@pytest.mark.parametrize("name", ["xs", "s", "m", "l", "prm"])
def test_cards_of_the_tiny_family_agree_with_its_weights(name: str) -> None:
    config = resources.files("agenttts.models.tiny") / "weights" / f"{name}.json"
    if not config.is_file():
        pytest.skip(f"the weights of tiny/{name} are not in this checkout")
    from agenttts.budgets.loading import load_cards

    figures = json.loads(config.read_text())
    card = load_cards()[f"tiny/{name}"]
    assert (card.parameters, card.layers, card.width) == (
        figures["parameters"],
        figures["layers"],
        figures["width"],
    )

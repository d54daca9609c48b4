"""Reference pages that are made of the package say all that there is."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import typer

from agenttts.allocators.base import ALLOCATORS
from agenttts.budgets.cards import EmbeddingBlock, ModelCard, Price, RewardBlock, Speed
from agenttts.cli import app
from agenttts.task import schema
from tests.snippets import ROOT


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "tools" / "docs_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _tool()


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def leaves(command: Any, name: str) -> dict[str, Any]:
    """Return all commands by their names."""
    if not hasattr(command, "commands"):
        return {name: command}
    return {k: v for key, one in command.commands.items() for k, v in leaves(one, f"{name} {key}").items()}


def test_every_command_and_every_option_is_listed():
    page = tool.commands()
    for name, command in leaves(typer.main.get_command(app), "agenttts").items():
        part = page.partition(f"\n## {name} {{#{name.replace(' ', '-')}}}\n")[2].partition("\n## ")[0]
        assert part, name
        for parameter in command.params:
            if not getattr(parameter, "hidden", False) and parameter.param_type_name == "option":
                assert parameter.opts[0] in part, f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize(
    "block", [getattr(schema, name) for name in schema.__all__ if isinstance(getattr(schema, name), type)]
)
def test_every_key_of_a_block_of_task_yaml_is_listed(block: type):
    title = "The file" if block is schema.TaskFile else tool._title(block)
    part = section(tool.task_keys(), title)
    for name, info in block.model_fields.items():
        assert f"\n| `{info.alias or name}` |" in part, f"{title}: {name}"


@pytest.mark.parametrize("block", [ModelCard, RewardBlock, EmbeddingBlock, Price, Speed])
def test_every_key_of_a_card_is_listed(block: type):
    part = section(tool.cards(), "A card" if block is ModelCard else tool._title(block))
    for name in block.model_fields:
        assert f"\n| `{name}` |" in part, name


def test_a_key_has_its_type_its_default_and_the_text_under_it():
    page = tool.task_keys()
    row = next(line for line in section(page, "Select").splitlines() if line.startswith("| `threshold` |"))
    assert row == (
        "| `threshold` | list of number at least 0, at most 1 | `0.9` | `adaptive_best`, `refine`: stop at a sample with "
        "this score. A knob. |"
    )
    row = next(line for line in section(page, "Stage").splitlines() if line.startswith("| `when` |"))
    assert row == "| `when` | [when](#when) | none | left out: it runs on every problem. |"


def test_every_allocator_stands_with_whether_it_asks_an_llm():
    page = tool.allocators()
    for name in ALLOCATORS:
        assert f"| `{name}` |" in page
    assert "| `curves` | Fit saturation" in page
    asks = {line.split("`")[1] for line in page.splitlines() if line.endswith("| yes |")}
    assert asks == {"agent", "agenthpo", "agenttts", "llm_zs", "mlcopilot"}


def test_every_error_stands_with_its_exit_code():
    page = tool.errors()
    assert "| `ProviderError` | 4 | A model could not be reached, or refused. |" in page
    assert "| `TaskFileError` | 2 |" in page
    for code in (0, 1, 2, 3, 4, 130):
        assert f"\n| {code} | " in page

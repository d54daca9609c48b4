"""The page on harnesses names every option that the plug-ins take."""

from __future__ import annotations

import inspect
import re

import pytest

from tests.snippets import ROOT

PAGE = ROOT / "docs" / "howto" / "harnesses.md"
ELSEWHERE = {"self", "model_name", "base_url", "api_key", "config", "plan"}
"""What the harness itself hands over, and the plan."""


@pytest.mark.parametrize(
    ("module", "name"),
    [("agenttts.harness.inspect_model", "PlanModel"), ("agenttts.harness.lm_eval", "AgentttsLM")],
)
def test_every_option_of_a_plug_in_is_explained(module: str, name: str) -> None:
    made = getattr(pytest.importorskip(module), name)
    parameters = inspect.signature(made.__init__).parameters.values()
    options = {one.name for one in parameters if one.kind is not one.VAR_KEYWORD} - ELSEWHERE
    text = PAGE.read_text(encoding="utf-8")
    assert options <= set(re.findall(r"`(\w+)`", text))

"""Figures in words, and that the way to a run's page loads nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agenttts.report.words import chance_text


@pytest.mark.parametrize(
    ("chance", "told"), [(0.0, "below 0.1%"), (0.004, "0.4%"), (0.25, "25%"), (1.0, "100%")]
)
def test_a_chance_is_told_no_more_exactly_than_a_fit_knows_it(chance: float, told: str):
    assert chance_text(chance) == told


def test_a_run_is_reported_without_loading_comparisons():
    code = "import sys, agenttts.report.run_report; print('agenttts.report.comparison_report' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

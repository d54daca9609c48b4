"""The public names, and how quickly and quietly they come."""

import subprocess
import sys

import pytest

import agenttts

HEAVY = [
    "aiohttp",
    "datasets",
    "litellm",
    "numpy",
    "openai",
    "optuna",
    "pandas",
    "plotly",
    "pydantic",
    "rich",
    "scipy",
    "sqlalchemy",
    "yaml",
]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_the_package_and_the_command_line_loads_no_heavy_library():
    code = f"import sys, agenttts, agenttts.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = run(code)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_showing_the_help_loads_no_heavy_library():
    code = (
        "import sys\nfrom agenttts.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        f"print('loaded', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert "loaded []" in run(code).stdout


def test_the_promised_names_are_there_and_sorted():
    assert agenttts.__all__ == sorted(agenttts.__all__)
    for name in agenttts.__all__:
        assert getattr(agenttts, name) is not None
        assert name in dir(agenttts)


def test_only_public_names_are_listed():
    assert [name for name in dir(agenttts) if not name.startswith("__")] == [
        name for name in agenttts.__all__ if not name.startswith("__")
    ]


def test_the_promise_is_what_it_was():
    """A name that leaves this list breaks users; a name that enters it is a promise."""
    assert set(agenttts.__all__) == {
        "AgentTTSError",
        "Allocation",
        "Budget",
        "ComparisonResult",
        "Cost",
        "Plan",
        "Problem",
        "Run",
        "StageChoice",
        "Study",
        "StudyOptions",
        "StudyResult",
        "Task",
        "Unit",
        "__version__",
        "aoptimize",
        "compare",
        "evaluate",
        "optimize",
    }


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        agenttts.optimise  # noqa: B018

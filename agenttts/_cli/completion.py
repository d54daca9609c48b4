"""What a shell offers for a word that was begun: names of tasks, cards, runs, plans, allocators, and paths.

Runs at every press of the tab key, so it reads names and no contents, loads what it needs alone, and never fails: what
cannot be read offers nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = [
    "complete_allocators",
    "complete_answers",
    "complete_cards",
    "complete_data_file",
    "complete_listed",
    "complete_plans",
    "complete_recipes",
    "complete_runs",
    "complete_tasks",
    "complete_tasks_and_plans",
    "complete_tasks_and_runs",
    "complete_verifiers",
]

RUNS = Path("runs")
"""As `agenttts.study.study.RUNS`, which takes long to import."""
PLAN, LOG = "plan.yaml", "events.jsonl"
YAML = (".yaml", ".yml")
DATA = (".jsonl", ".csv", ".parquet", ".json", ".gz")
MOST_PATHS = 500


def _matching(names: Iterable[str], begun: str) -> list[str]:
    return sorted({name for name in names if name.startswith(begun) and name.isprintable()})


def _quietly(names: Callable[[], Iterable[str]]) -> list[str]:
    """Return names, or none: a shell shows no errors, and what is wrong is told when the command runs."""
    with suppress(Exception):
        return list(names())
    return []


# --- names


def _tasks() -> Iterable[str]:
    from agenttts.catalogue import task_names

    return task_names()


_TOP = re.compile(r"^models:\s*(?:#.*)?$")
_KEY = re.compile(r"""^(\s+)["']?([^\s"'#:][^"':]*)["']?:(?:\s|$)""")


def _cards() -> Iterator[str]:
    from agenttts.catalogue import card_files

    for path in card_files():
        yield from _keys_of_models(path.read_text(encoding="utf-8", errors="replace").splitlines())


def _keys_of_models(lines: Iterable[str]) -> Iterator[str]:
    """Yield the keys of the block `models:`. Reading the files as YAML would take longer than a key press may."""
    inside, indent = False, None
    for line in lines:
        if _TOP.match(line):
            inside = True
        elif inside and line[:1].strip() and not line.startswith("#"):
            inside = False
        elif inside and (found := _KEY.match(line)) is not None:
            indent = found[1] if indent is None else indent
            if found[1] == indent:
                yield found[2]


def _allocators() -> Iterable[str]:
    from agenttts.allocators.base import ALLOCATORS

    return ALLOCATORS


def _runs() -> Iterator[str]:
    return (path.parent.name for path in RUNS.glob(f"*/{LOG}"))


def _plans() -> Iterator[str]:
    return (str(path.parent) for path in RUNS.glob(f"*/{PLAN}"))


def _verifiers() -> Iterator[str]:
    from typing import get_args

    from agenttts.catalogue import verifier_card_files
    from agenttts.task.ways import VerifierBlock

    yield from verifier_card_files()
    yield from get_args(VerifierBlock.model_fields["kind"].annotation)


def _recipes() -> Iterable[str]:
    from agenttts.preparation.recipes import RECIPES

    return RECIPES


def _paths(begun: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Yield folders, with a slash behind them, and files with one of the endings."""
    head, slash, tail = begun.rpartition("/")
    folder = Path(head + slash).expanduser() if slash else Path()
    entries = (entry for entry in folder.iterdir() if entry.name.startswith(tail))
    for _, entry in zip(range(MOST_PATHS), entries, strict=False):
        if entry.name.startswith(".") and not tail.startswith("."):
            continue
        if entry.is_dir():
            yield f"{head}{slash}{entry.name}/"
        elif entry.name.lower().endswith(endings):
            yield f"{head}{slash}{entry.name}"


# --- what options and arguments offer


def complete_tasks(incomplete: str) -> list[str]:
    """Offer names of tasks, and task files."""
    named = _matching(_quietly(_tasks), incomplete)
    return [*named, *_matching(_quietly(lambda: _paths(incomplete, YAML)), incomplete)]


def complete_tasks_and_runs(incomplete: str) -> list[str]:
    """Offer what can be optimised: tasks, and runs to go on with."""
    runs = _quietly(lambda: (str(path.parent) for path in RUNS.glob(f"*/{LOG}")))
    return list(dict.fromkeys([*complete_tasks(incomplete), *_matching(runs, incomplete)]))


def complete_tasks_and_plans(incomplete: str) -> list[str]:
    """Offer tasks and plans."""
    return list(dict.fromkeys([*complete_tasks(incomplete), *_matching(_quietly(_plans), incomplete)]))


def complete_plans(incomplete: str) -> list[str]:
    """Offer runs that have a plan, and plan files."""
    named = _matching(_quietly(_plans), incomplete)
    paths = _matching(_quietly(lambda: _paths(incomplete, YAML)), incomplete)
    return list(dict.fromkeys([*named, *paths]))


def complete_runs(incomplete: str) -> list[str]:
    """Offer runs by name."""
    return _matching(_quietly(_runs), incomplete)


def complete_cards(incomplete: str) -> list[str]:
    """Offer names of model cards."""
    return _matching(_quietly(_cards), incomplete)


def complete_allocators(incomplete: str) -> list[str]:
    """Offer names of allocators."""
    return _matching(_quietly(_allocators), incomplete)


def complete_verifiers(incomplete: str) -> list[str]:
    """Offer kinds of verifiers and names of their cards."""
    return _matching(_quietly(_verifiers), incomplete)


def complete_recipes(incomplete: str) -> list[str]:
    """Offer names of recipes that prepare data."""
    return _matching(_quietly(_recipes), incomplete)


def complete_answers(incomplete: str) -> list[str]:
    """Offer kinds of answers."""
    from agenttts.starting.kinds import KINDS

    return _matching(KINDS, incomplete)


def complete_data_file(incomplete: str) -> list[str]:
    """Offer files of problems."""
    return _matching(_quietly(lambda: _paths(incomplete, DATA)), incomplete)


def complete_listed(one: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Return what offers names for the last part of a list with commas, without those that stand in it."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = set(before.split(","))
        return [f"{before}{comma}{name}" for name in one(last) if name not in taken]

    return complete

"""`agenttts data`: the data of tasks from published sets, and which recipes there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, print_json, say, say_aside
from agenttts._cli.words import plural
from agenttts.errors import InputError

if TYPE_CHECKING:
    from agenttts.preparation import Prepared, Recipe, Wish

__all__ = ["PrepareRequest", "run_list", "run_prepare"]


@dataclass(frozen=True)
class PrepareRequest:
    """What was asked on the command line; `None`: the recipe decides."""

    name: str
    source: str | None = None
    out: Path | None = None
    seed: int = 0
    n_search: int | None = None
    n_test: int | None = None
    from_date: date | None = None
    to_date: date | None = None
    test_mb: float | None = None
    force: bool = False
    as_json: bool = False


def run_prepare(asked: PrepareRequest) -> None:
    """Make the data of a task and say what was made."""
    from agenttts.preparation.prepared import prepare, recipe_of

    wish = _wish(asked, recipe_of(asked.name))
    done = prepare(
        asked.name,
        wish,
        source=asked.source,
        out=asked.out or Path("tasks") / asked.name,
        force=asked.force,
        report=lambda line: say_aside(clean(line)),
    )
    if asked.as_json:
        print_json(_as_json(asked.name, done))
        return
    _say(asked, wish, done)


def _wish(asked: PrepareRequest, recipe: Recipe) -> Wish:
    from agenttts.preparation import Wish

    given = {"--from-date": asked.from_date, "--to-date": asked.to_date, "--test-mb": asked.test_mb}
    unread = [name for name, value in given.items() if value is not None and not recipe.has_dates]
    if unread:
        raise InputError(f"{asked.name}: nothing reads {', '.join(unread)}; it is for livecodebench")
    if asked.from_date and asked.to_date and asked.from_date > asked.to_date:
        raise InputError(f"--from-date {asked.from_date} is after --to-date {asked.to_date}")
    usual = Wish(asked.n_search or recipe.n_search, asked.n_test or recipe.n_test)
    return Wish(
        usual.n_search,
        usual.n_test,
        asked.seed,
        asked.from_date,
        asked.to_date,
        usual.most_test_bytes if asked.test_mb is None else round(asked.test_mb * 1e6),
    )


def _say(asked: PrepareRequest, wish: Wish, done: Prepared) -> None:
    from agenttts.preparation.base import named_ids

    say(fold(clean(done.origin.source, limit=400), first="read      "))
    for split, rows, wanted in (
        ("search", done.made.search, wish.n_search),
        ("test", done.made.test, wish.n_test),
    ):
        fewer = "" if len(rows) == wanted else f" (of {wanted:,} wanted: there are no more)"
        say(f"{split:<10}{plural(len(rows), 'problem')}{fewer}")
    for fact in done.made.facts:
        say(fold(clean(fact, limit=400), first="          "))
    for reason, n in sorted(done.made.left_out.items()):
        say(
            fold(
                clean(f"{plural(n, 'row')}: {reason}{named_ids(done.made, reason)}", limit=400),
                first="left out  ",
            )
        )
    say(fold(clean(done.recipe.published.licence), first="licence   "))
    for path in done.files:
        say(f"wrote     {clean(path)}")
    if done.has_task:
        say(f"\nNext:\n  agenttts check {_task_words(asked, wish, done)}")


def _task_words(asked: PrepareRequest, wish: Wish, done: Prepared) -> str:
    """Return how the task is named on a command line; `--data` lets its splits be as small as the data are."""
    place = clean(asked.name if asked.out is None else done.folder)
    is_whole = (len(done.made.search), len(done.made.test)) == (wish.n_search, wish.n_test)
    return place if is_whole else f"{place} --data {clean(done.folder)}"


def _as_json(name: str, done: Prepared) -> dict[str, Any]:
    return {
        "name": name,
        "recipe_version": done.recipe.version,
        "folder": str(done.folder),
        "files": [str(path) for path in done.files],
        "source": done.origin.source,
        "source_files": [{"name": file, "sha256": digest} for file, digest in done.origin.files],
        "licence": done.recipe.published.licence,
        "n_search": len(done.made.search),
        "n_test": len(done.made.test),
        "n_rows": list(done.made.n_rows),
        "left_out": dict(done.made.left_out),
        "left_out_ids": {reason: list(ids) for reason, ids in done.made.left_out_ids.items()},
        "facts": list(done.made.facts),
    }


def run_list(*, as_json: bool) -> None:
    """List the recipes."""
    from agenttts.preparation import RECIPES

    if as_json:
        print_json({"recipes": [_recipe_json(name, RECIPES[name]) for name in sorted(RECIPES)]})
        return
    for name in sorted(RECIPES):
        recipe = RECIPES[name]
        revision = f" at {recipe.published.revision[:12]}" if recipe.published.revision else ""
        say(name)
        say(fold(f"{recipe.outcome}.", first="    "))
        say(
            fold(f"from {recipe.published.home}{revision}; licence: {recipe.published.licence}", first="    ")
        )
    say("\nMake one: agenttts data prepare NAME")


def _recipe_json(name: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": name,
        "version": recipe.version,
        "outcome": recipe.outcome,
        "source": recipe.published.home,
        "revision": recipe.published.revision or None,
        "licence": recipe.published.licence,
        "needs_bm25": recipe.ranks,
        "n_search": recipe.n_search,
        "n_test": recipe.n_test,
    }
